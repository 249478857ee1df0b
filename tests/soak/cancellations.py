"""Calls of one asynchronous client, many at once, that are cancelled at random instants in every way there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
from attrs import define, field

from imagesdk import AsyncClient, ImageSDKError, RateLimit, RetryPolicy
from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, OpenConnections, serving
from tests.support.streamed_answers import completed, streams
from tests.support.streamed_answers import partial as partial_image

_SMALL, _LARGE = png(), png(padding=30_000)
_GOOD = answer(_SMALL, _LARGE)
_STREAM = streams(partial_image(_SMALL), partial_image(_LARGE, 1), completed(_SMALL))
_PIECE = 5000
_BLOCK, _CROWD = 200, 20
"""Calls between two looks at what was left behind, and how many are made at once."""
_LATEST, _LAST = 60, 12
"""Passes of the event loop that a call is cancelled after at the latest: from its beginning, or from its answer."""


def run(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for begin in range(first, first + count, _BLOCK):
        numbers = range(begin, min(begin + _BLOCK, first + count))
        backend = ("asyncio", "trio")[begin // _BLOCK % 2]
        with TemporaryDirectory() as folder:
            counts += anyio.run(_block, seed, numbers, Path(folder), backend, backend=backend)
    return counts


async def _block(seed: int, numbers: range, folder: Path, backend: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    connections, server = OpenConnections(), _Server(Random(f"{seed}/{numbers[0]}"))
    limit = server.chance.choice([None, RateLimit(10**6, scope="client")])
    left = iter(numbers)
    async with serving(connections.counted(server.handler)) as listener:
        async with AsyncClient(
            base_url=listener.base_url, api_key="", rate_limit=limit, retry=RetryPolicy(backoff=0)
        ) as client:

            async def work() -> None:
                for number in left:
                    strike = _Strike(client, folder, server, Random(f"{seed}/{number}"))
                    by_task = backend == "asyncio" and strike.chance.random() < 0.5
                    counts[await (strike.by_task() if by_task else strike.by_scope())] += 1

            async with anyio.create_task_group() as tasks:
                for _ in range(_CROWD):
                    tasks.start_soon(work)
            found = [path for path in folder.rglob("*") if path.is_file()]
            assert all(path.read_bytes() in {_SMALL, _LARGE} for path in found), found
            counts["pictures kept"] += len(found)
            async with anyio.create_task_group() as tasks:
                for _ in range(2 * _CROWD):  # as many as there may be connections to use again
                    tasks.start_soon(_persistently, client)
        await connections.number(0)
    return counts


@define(eq=False)
class _Server:
    """Answers well or badly, whole or in pieces, and tells of it."""

    chance: Random
    answered: dict[str, anyio.Event] = field(factory=dict[str, anyio.Event])
    """By the names of calls, for those that want to know."""

    async def handler(self, talk: Conversation) -> None:
        while True:
            request = await talk.request()
            if request.line.startswith("GET"):
                await talk.answer(_SMALL)
            else:
                await self._answer(talk, streamed=b'"stream":true' in request.body)
            if event := self.answered.get(request.headers.get("x-call", "")):
                event.set()

    async def _answer(self, talk: Conversation, *, streamed: bool) -> None:
        kind = self.chance.choices(["good", "pieces", "urls", "busy", "hang up"], [12, 8, 1, 2, 1])[0]
        if streamed and kind in {"good", "pieces"}:
            await _STREAM(talk)
        elif kind == "hang up":
            talk.hang_up()
        elif kind == "busy":
            await talk.answer(b"", 503)
        elif kind == "urls":
            await talk.answer(answer_of_urls("/1.png", "/2.png"))
        elif kind == "good":
            await talk.answer(_GOOD)
        else:
            await talk.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(_GOOD)}\r\n\r\n".encode())
            for at in range(0, len(_GOOD), _PIECE):
                await talk.send(_GOOD[at : at + _PIECE])
                await anyio.lowlevel.checkpoint()


@define(eq=False)
class _Strike:
    """One call, and its cancellation."""

    client: AsyncClient
    folder: Path
    server: _Server
    chance: Random

    async def by_scope(self) -> str:
        ended, scope = "cancelled by scope", anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            call = self._call(tasks, scope.cancel)
            with scope:
                ended = await self._ended(call)
            tasks.cancel_scope.cancel()
        return ended

    async def by_task(self) -> str:
        ended = "cancelled by task"
        async with anyio.create_task_group() as tasks:
            call = self._call(tasks, lambda: task.cancel())  # noqa: PLW0108 - there is no task yet
            task = asyncio.create_task(self._ended(call))
            with suppress(asyncio.CancelledError):
                ended = await task
            tasks.cancel_scope.cancel()
        return ended

    async def _ended(self, call: Callable[[], Awaitable[object]]) -> str:
        try:
            await call()
        except ImageSDKError as error:
            return type(error).__name__
        return "ended before"

    def _call(
        self, tasks: anyio.abc.TaskGroup, cancel: Callable[[], object]
    ) -> Callable[[], Awaitable[object]]:
        images, name = self.client.images, f"{self.chance.randrange(10**12)}"
        event = self.server.answered[name] = anyio.Event()
        late = self.chance.random() < 0.5
        passes = self.chance.randrange(_LAST if late else _LATEST)
        options: dict[str, Any] = {"n": 2, "extra_headers": {"x-call": name}}
        if self.chance.random() < 0.4:
            options["out"] = self.folder / f"{name}-{{index}}.png"

        async def strike() -> None:
            if late:
                await event.wait()
            for _ in range(passes):
                await anyio.lowlevel.checkpoint()
            cancel()

        tasks.start_soon(strike)
        if not late and self.chance.random() < 0.3:
            return partial(images.download, "/cat.png", to=self.folder / f"{name}.png")
        if self.chance.random() < 0.3:
            return partial(images.edit, _LARGE, "a cat", **options)
        if self.chance.random() < 0.4:
            del options["n"]
            return partial(_streamed, self.client, **options)
        return partial(images.generate, "a cat", **options)


async def _streamed(client: AsyncClient, **options: Any) -> object:
    async with client.images.generate_stream("a cat", partial_images=2, **options) as stream:
        return [event.image.width async for event in stream]


async def _persistently(client: AsyncClient) -> None:
    for _ in range(20):  # the server breaks one in a few
        try:
            response = await client.images.generate("a dog")
            assert response[0].bytes == _SMALL
        except ImageSDKError:
            continue
        return
    raise AssertionError("a client that has cancelled calls makes none any more")

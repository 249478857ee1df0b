"""Calls through the whole client to a server whose answers are wrong in some way, and what may come of them."""

from __future__ import annotations

import io
import pickle
import shutil
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import SocketAttribute
from attrs import define, field

from imagesdk import AsyncClient, CompletedImage, ImagesResponse, RateLimit, RetryPolicy, Usage, errors
from tests.soak.mutations import Answer, mutated, picture, pictures, recorded, stream, urls
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, OpenConnections, RawServer, serving

_SMALL = png()
_GOOD = answer(_SMALL)
_KEY = "sk-the-key-of-this-trial"
_LONG, _SHORT = 5.0, 0.15
"""Seconds that a call may take: those of answers that never end are short."""
_RETRY = RetryPolicy(backoff=0, max_retry_after=0.01)
_BLOCK = 50
"""Calls between two looks at what is still connected: few enough for ``PATIENCE``."""
_DRIP = 0.005
_RESET = struct.pack("ii", 1, 0)

Result: TypeAlias = "ImagesResponse | bytes | None"
Call: TypeAlias = Callable[[], Awaitable[Result]]


@define
class Script:
    """What a server says to the next requests, and what it has seen of them; afterwards it is a good server."""

    answers: deque[Answer] = field(factory=deque[Answer])
    whole: int = 0
    """Requests for pictures that it has read to their end."""

    async def handler(self, talk: Conversation) -> None:
        while True:
            request = await talk.request()
            fetches = request.line.startswith("GET")
            self.whole += not fetches
            if self.answers:
                await _say(talk, self.answers.popleft())
            else:
                await talk.answer(_SMALL if fetches else _GOOD)


async def _say(talk: Conversation, made: Answer) -> None:
    for number, piece in enumerate(made.wire()):
        if number:
            await anyio.lowlevel.checkpoint()
        await talk.send(piece)
    if made.hangs:
        await _hang(talk, drips=made.ending == "drip")
    if made.ending == "reset":
        with suppress(OSError):  # the client may have closed it meanwhile
            raw = talk.stream.extra(SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if made.ending != "keep" or made.hangs:
        talk.hang_up()


async def _hang(talk: Conversation, *, drips: bool) -> None:
    """Go on for ever, until the client leaves, or takes what was said for a whole answer and asks again."""

    async def drip() -> None:
        with suppress(anyio.BrokenResourceError):
            while True:
                await talk.send(b"0")
                await anyio.sleep(_DRIP)

    async with anyio.create_task_group() as tasks:
        if drips:
            tasks.start_soon(drip)
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await talk.stream.receive()
        tasks.cancel_scope.cancel()


@define(eq=False)
class Exchanges:
    """A server, a client of it, and a count of how calls ended. Made by :func:`exchanging`."""

    seed: int
    folder: Path
    """Empty, and empty again after each call."""
    script: Script
    server: RawServer
    client: AsyncClient
    ended: Counter[str] = field(factory=Counter[str])

    async def run(self, number: int) -> None:
        chance = Random(f"{self.seed}/{number}")
        try:
            if chance.random() < 0.2:
                await self._limited(number, chance)
            else:
                await self._exchange(self.client, chance)
        except BaseException as error:
            error.add_note(f"call {number} of seed {self.seed}")
            raise

    async def _exchange(self, client: AsyncClient, chance: Random, *, limited: bool = False) -> None:
        call, sources, answers = self._choose(client, chance, limited=limited)
        self.script.answers = deque(answers)
        self.script.whole = 0
        result: Result | None = None
        error: errors.ImageSDKError | None = None
        try:
            result = await call()
        except errors.ImageSDKError as caught:
            error = caught
        self.script.answers.clear()
        if error is not None:
            self.ended[type(error).__name__] += 1
            self._check_error(error)
        elif result is None:
            self.ended["left"] += 1
        elif isinstance(result, ImagesResponse):
            self.ended["response"] += 1
            self._check_response(result)
        else:
            self.ended["picture"] += 1
            assert result
        kept = error.response if isinstance(error, errors.DownloadError) else result
        self._check_files(kept if isinstance(kept, ImagesResponse) else None)
        for source, place in sources:
            assert not source.closed
            assert source.tell() == place
        await self._check_next(client, limited=limited)

    async def _limited(self, number: int, chance: Random) -> None:
        short = RateLimit(20, per=0.05, tokens=10**6, scope="client")
        limit: dict[str, Any] = {"rate_limit": short} if chance.random() < 0.5 else {}
        async with AsyncClient(
            base_url=self.server.base_url, api_key=f"{_KEY}-{self.seed}-{number}", retry=_RETRY, **limit
        ) as client:
            await self._exchange(client, chance, limited=True)

    def _choose(
        self, client: AsyncClient, chance: Random, *, limited: bool
    ) -> tuple[Call, list[tuple[io.BytesIO, int]], list[Answer]]:
        images = client.images
        kind = chance.choice(["generate", "generate", "edit", "urls", "download", "stream", "stream"])
        good = {"download": picture, "urls": urls, "stream": stream}.get(kind, pictures)
        first = [mutated(good(chance), chance)]
        if kind == "urls":
            first += [mutated(picture(chance), chance)]
        if chance.random() < 0.4:
            first.insert(0, mutated(recorded(chance), chance))
        sources: list[tuple[io.BytesIO, int]] = []
        is_short = limited or any(each.hangs for each in first)
        options: dict[str, Any] = {"timeout": _SHORT if is_short else _LONG}
        if kind == "download":
            to = chance.choice([None, self.folder / "one.png", self.folder])
            url = chance.choice(["/pictures/1.png", f"{self.server.origin}/2.png?sig=1"])
            return partial(images.download, url, to=to, **options), sources, first
        options["out"] = chance.choice([None, self.folder, self.folder / "deep" / "{slug}-{index}.{ext}"])
        if kind == "stream":
            return partial(_streamed, client, chance.random() < 0.2, **options), sources, first
        options["n"] = chance.choice([None, 1, 2, 3])
        options["model"] = chance.choice([None, None, "dall-e-2", "gpt-image-2"])
        if kind != "edit":
            return partial(images.generate, "a cat", **options), sources, first
        source, place = io.BytesIO(b"before" + _SMALL), 6
        source.seek(place)
        image: bytes | io.BytesIO = _SMALL if chance.random() < 0.5 else source
        options["mask"] = chance.choice([None, _SMALL])
        return partial(images.edit, image, "a cat", **options), [(source, place)], first

    def _check_error(self, error: errors.ImageSDKError) -> None:
        shown = f"{error} {error!r} {vars(error)!r}"
        assert error.message
        assert _KEY not in shown
        assert _KEY.encode() not in pickle.dumps(error)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        if isinstance(error, errors.APIError):
            timed_out = isinstance(error, errors.APITimeoutError)
            assert error.attempts > 0 or (timed_out and not error.maybe_billed)
            assert error.idempotency_key
        if isinstance(error, errors.StreamError) and error.partial is not None:
            assert error.partial.image.loaded or error.partial.image.url
        was_answered = isinstance(error, (errors.APIStatusError, errors.LimitWaitError))
        if isinstance(error, errors.APIError) and not was_answered:
            assert error.maybe_billed or not self.script.whole

    def _check_response(self, response: ImagesResponse) -> None:
        for name in ("size", "quality", "background", "output_format", "request_id"):
            assert isinstance(getattr(response, name), str | None)
        assert isinstance(response.created, datetime | None)
        assert isinstance(response.usage, Usage | None)
        assert isinstance(response.cost, Decimal | None)
        assert response.attempts > 0
        assert repr(response)
        assert pickle.loads(pickle.dumps(response)) == response
        for place, image in enumerate(response):
            assert image.index == place
            assert isinstance(image.url, str | None)
            assert isinstance(image.revised_prompt, str | None)
            assert image.expires_at is None or image.expires_at.tzinfo is not None
            assert not image.loaded or (image.bytes and image.b64_json and image.data_url())

    def _check_files(self, response: ImagesResponse | None) -> None:
        named = {image.path for image in response or () if image.path is not None}
        found = {path for path in self.folder.rglob("*") if path.is_file()}
        if response is not None:
            assert found == named
        assert all(path.stat().st_size and not path.name.startswith(".") for path in found)
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def _check_next(self, client: AsyncClient, *, limited: bool) -> None:
        try:
            try:
                response = await client.images.generate("a dog", timeout=_SHORT if limited else _LONG)
            except errors.APITimeoutError as error:  # moments may be too short on a busy machine
                if not limited or isinstance(error, errors.LimitWaitError):
                    raise
                response = await client.images.generate("a dog", timeout=_LONG)
        except errors.LimitWaitError:  # the server may have said that nothing fits for a while
            assert limited
        else:
            assert response[0].bytes == _SMALL


@asynccontextmanager
async def exchanging(seed: int, folder: Path) -> AsyncGenerator[Exchanges, None]:
    script, connections = Script(), OpenConnections()
    async with serving(connections.counted(script.handler)) as server:
        async with AsyncClient(
            base_url=server.base_url, api_key=_KEY, retry=_RETRY, rate_limit=None
        ) as client:
            yield Exchanges(seed, folder, script, server, client)
        await connections.number(0)


async def _streamed(client: AsyncClient, leaves: bool, **options: Any) -> ImagesResponse | None:
    async with client.images.generate_stream("a cat", partial_images=3, **options) as stream:
        if not leaves:
            return await stream.final()
        async for event in stream:
            assert event.image.loaded or event.image.url
            if isinstance(event, CompletedImage):
                return event.response
            break
    return None


async def exchange(seed: int, first: int, count: int, folder: Path) -> Counter[str]:
    ended: Counter[str] = Counter()
    for begin in range(first, first + count, _BLOCK):
        async with exchanging(seed, folder) as exchanges:
            for number in range(begin, min(begin + _BLOCK, first + count)):
                await exchanges.run(number)
        ended += exchanges.ended
    return ended


def run(seed: int, first: int, count: int) -> Counter[str]:
    half = count // 2
    ended: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        later = first + count - half
        for backend, begin, number in (("asyncio", first, count - half), ("trio", later, half)):
            ended += anyio.run(exchange, seed, begin, number, Path(folder), backend=backend)
    return ended

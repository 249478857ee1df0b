"""Calls that are cancelled at their first instant, their second, and so on to the last: nothing of them stays behind."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio
from attrs import define, field, frozen
from sniffio import current_async_library

from imagesdk import APIConnectionError, AsyncClient, RateLimit
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.shared import LimiterRegistry, SharedLimiter
from imagesdk.events import Event, LimitWaiting
from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, Handler, OpenConnections, always, says, serving
from tests.support.stepped_calls import Threads, Way, by_scope, by_task
from tests.support.streamed_answers import completed, streams
from tests.support.streamed_answers import partial as partial_image

pytestmark = pytest.mark.anyio

SMALL, LARGE = png(), png(padding=5000)
GOOD = answer(SMALL, LARGE)
ROOMY = RateLimit(10_000)


@define(eq=False)
class Server:
    """Gives a call the answers that it is to have, and all others a good one."""

    answers: deque[Handler]
    requests: int = 0
    """Those for pictures of the call that came whole."""

    async def handler(self, talk: Conversation) -> None:
        while True:
            request = await talk.request()
            if "x-next" in request.headers:
                await talk.answer(GOOD)
            else:
                self.requests += request.line.startswith("POST")
                await (self.answers.popleft() if self.answers else says(GOOD))(talk)


class Limits(LimiterRegistry):
    """Hands out one limit, and knows it; somebody who never sends anything may come first."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter: SharedLimiter | None = None
        self.occupied = False
        self._first: Permit | None = None

    def get(self, key: tuple[str, ...], limit: RateLimit) -> SharedLimiter:
        if self.limiter is None:
            self.limiter = super().get(key, limit)
            self._first = self.limiter.enqueue(limit.images) if self.occupied else None
        return self.limiter

    def give_way(self) -> None:
        """Send away who came first."""
        if self.limiter is not None and self._first is not None:
            self.limiter.release(self._first)


@define(eq=False)
class Stage:
    """What a call is made on."""

    client: AsyncClient
    folder: Path
    limits: Limits
    waiting: anyio.Event
    """Set when the call has told that it waits for the limit."""
    pipes: list[IO[bytes]] = field(factory=list[IO[bytes]])

    def pipe(self) -> IO[bytes]:
        """Return the end of a pipe that a picture comes out of."""
        out, into = os.pipe()
        with os.fdopen(into, "wb") as file:
            file.write(SMALL)
        self.pipes.append(os.fdopen(out, "rb"))
        return self.pipes[-1]

    def path(self) -> Path:
        """Return the path of a picture."""
        path = self.folder.with_name("source.png")
        path.write_bytes(SMALL)
        return path


@frozen
class Scenario:
    """A call, what its server says to it, and what may be found when it was cancelled."""

    call: Callable[[Stage], Coroutine[Any, Any, object]]
    answers: tuple[Handler, ...] = ()
    limit: RateLimit | None = None
    files: dict[str, bytes] = field(factory=dict[str, bytes])
    """By their names, those that may be there whole."""
    counted: bool = True
    """Whether the limit counts what the server has seen."""


def generate(stage: Stage, **options: Any) -> Coroutine[Any, Any, object]:
    return stage.client.images.generate("a cat", n=2, **options)


def generate_to_files(stage: Stage) -> Coroutine[Any, Any, object]:
    return generate(stage, out=stage.folder / "{index}.png")


def edit(stage: Stage) -> Coroutine[Any, Any, object]:
    return stage.client.images.edit([stage.path(), stage.pipe()], "a cat", mask=io.BytesIO(SMALL))


def download(stage: Stage) -> Coroutine[Any, Any, object]:
    return stage.client.images.download("/cat.png", to=stage.folder / "0.png")


async def stream(stage: Stage, **options: Any) -> object:
    async with stage.client.images.generate_stream("a cat", partial_images=1, **options) as stream:
        return [event.image.media_type async for event in stream]


async def stream_to_file(stage: Stage) -> object:
    return await stream(stage, out=stage.folder / "0.png")


async def stream_left_early(stage: Stage) -> object:
    async with stage.client.images.generate_stream("a cat", partial_images=1) as stream:
        return await anext(stream)


async def keep_file(stage: Stage) -> object:
    return await stage.client.files.download("file-1", stage.folder / "0.png")


async def generate_in_line(stage: Stage) -> object:
    """Make a call that waits for one whose room is given back soon after."""

    async def give_way() -> None:
        await stage.waiting.wait()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        stage.limits.give_way()

    result: object = None
    stage.limits.occupied = True
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_way)
            result = await generate(stage)
    finally:
        stage.limits.give_way()
    return result


BOTH = {"0.png": SMALL, "1.png": LARGE}
BUSY = says(b'{"error": {"message": "busy"}}', 503)
REFUSED = says(b'{"error": {"message": "slow down"}}', 429, retry_after="0.002")
URLS = says(answer_of_urls("/0.png", "/1.png"))

STREAM = streams(partial_image(LARGE), completed(SMALL))

SCENARIOS = {
    "stream": Scenario(stream, (BUSY, STREAM), ROOMY),
    "stream to a file": Scenario(stream_to_file, (STREAM,), ROOMY, files=BOTH),
    "stream left early": Scenario(stream_left_early, (STREAM,), ROOMY),
    "stream that is none": Scenario(stream_to_file, (says(answer(SMALL)),), ROOMY, files=BOTH),
    "file of the server": Scenario(keep_file, (says(SMALL),), files=BOTH),
    "in memory": Scenario(generate),
    "in memory, limited": Scenario(generate, limit=ROOMY),
    "to files": Scenario(generate_to_files, limit=ROOMY, files=BOTH),
    "with a path and a pipe": Scenario(edit, limit=ROOMY),
    "tried again after 503": Scenario(generate_to_files, (BUSY,), ROOMY, files=BOTH),
    "tried again after 429": Scenario(generate, (REFUSED,)),
    "in line": Scenario(generate_in_line, limit=ROOMY),
    "in line again after 429": Scenario(generate, (REFUSED,), RateLimit(10_000, per=0.6), counted=False),
    "answered with urls": Scenario(
        generate_to_files, (URLS, BUSY, says(SMALL), says(LARGE)), ROOMY, files=BOTH
    ),
    "download": Scenario(download, (BUSY, says(SMALL)), files=BOTH),
}


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    threads = Threads()
    monkeypatch.setattr(anyio.to_thread, "run_sync", threads.run_sync)
    return threads


@pytest.fixture
def spools(monkeypatch: pytest.MonkeyPatch) -> list[SpooledTemporaryFile[bytes]]:
    """The temporary files that sources are copied to."""
    made: list[SpooledTemporaryFile[bytes]] = []

    def make(max_size: int) -> SpooledTemporaryFile[bytes]:
        spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size)  # noqa: SIM115 - ours closes it
        made.append(spool)
        return spool

    monkeypatch.setattr("imagesdk._calls.sources.SpooledTemporaryFile", make)
    return made


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no limit stands in front, a single call may be under way; pictures are written in small batches."""
    monkeypatch.setattr("imagesdk._ratelimit.unlimited.CONCURRENCY", 1)
    monkeypatch.setattr("imagesdk._engine.sink._LARGEST_BATCH", 1000)
    monkeypatch.setattr("imagesdk._engine.sink._SMALLEST_BATCH", 1000)


def is_idle(limits: Limits) -> bool:
    """Whether a call takes no room in the limit; it may not take any for ever."""
    if limits.limiter is None:
        return True
    now = time.monotonic()
    idle = limits.limiter.idle(now)
    assert limits.limiter.idle(now + 2 * ROOMY.per)
    return idle


@define
class Cancelled:
    """Makes the call of a scenario, cancelled at one instant after the other."""

    way: Way
    scenario: Scenario
    make_client: Callable[..., AsyncClient]
    use_limits: Callable[[Limits], None]
    threads: Threads
    spools: list[SpooledTemporaryFile[bytes]]
    folder: Path

    async def at_every_instant(self) -> int:
        """Return how many there were."""
        at = 1
        while not await self._at(at):
            at += 1
        return at

    async def _at(self, at: int) -> bool:
        """Cancel it at one instant, and return whether the call ended before."""
        try:
            return await self._cancelled(at)
        except BaseException as error:
            error.add_note(f"cancelled at instant {at}")
            raise

    async def _cancelled(self, at: int) -> bool:
        scenario, connections = self.scenario, OpenConnections()
        server, limits, waiting = Server(deque(scenario.answers)), Limits(), anyio.Event()

        def observe(event: Event) -> None:
            if isinstance(event, LimitWaiting):
                waiting.set()

        async with serving(connections.counted(server.handler)) as listener:
            self.use_limits(limits)
            async with self.make_client(
                listener.base_url, rate_limit=scenario.limit, observers=[observe]
            ) as client:
                stage = Stage(client, self.folder, limits, waiting)
                course = await self.way(scenario.call(stage), self.threads, at)
                self.threads.end()
                connected = bool(listener.connections)
                idle = is_idle(limits)
                self._check_files(whole=course.result is not None)
                assert all(spool.closed for spool in self.spools)
                for pipe in stage.pipes:
                    pipe.close()
                following = await client.images.generate("a dog", extra_headers={"x-next": "1"})
                assert [image.bytes for image in following] == [SMALL, LARGE]
            await connections.number(0)
        if scenario.limit is not None and scenario.counted:
            assert idle or connected
            assert not (idle and server.requests)
        return course.steps < at

    def _check_files(self, *, whole: bool) -> None:
        found = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        assert found.items() <= self.scenario.files.items()
        assert found or not (whole and self.scenario.files)
        for name in found:
            (self.folder / name).unlink()


@pytest.fixture
def cancelled(
    make_client: Callable[..., AsyncClient],
    threads: Threads,
    spools: list[SpooledTemporaryFile[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Way, Scenario], Cancelled]:
    folder = tmp_path / "pictures"
    folder.mkdir()

    def use_limits(limits: Limits) -> None:
        monkeypatch.setattr("imagesdk._engine.engine.PROCESS_LIMITERS", limits)

    return lambda way, scenario: Cancelled(way, scenario, make_client, use_limits, threads, spools, folder)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_call_may_be_cancelled_at_any_instant(
    cancelled: Callable[[Way, Scenario], Cancelled], name: str
) -> None:
    assert await cancelled(by_scope, SCENARIOS[name]).at_every_instant() > 5


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_its_task_may_be_cancelled_at_any_instant(
    cancelled: Callable[[Way, Scenario], Cancelled], name: str
) -> None:
    assert await cancelled(by_task, SCENARIOS[name]).at_every_instant() > 5


class MistakeError(Exception):
    """Something that goes wrong in a program beside its calls, or in what it hands to them."""


@define
class Alone:
    """A server that answers nobody, and a program that goes wrong while it waits."""

    arrived: anyio.Event = field(factory=anyio.Event)
    ended_by: list[BaseException] = field(factory=list[BaseException])
    """What left a call."""

    async def handler(self, talk: Conversation) -> None:
        await talk.request()
        self.arrived.set()
        await talk.dropped()

    async def call(self, client: AsyncClient, folder: Path) -> None:
        try:
            await client.images.generate("a cat", out=folder)
        except BaseException as error:
            self.ended_by.append(error)
            raise

    async def fail(self) -> None:
        await self.arrived.wait()
        raise MistakeError


async def side_by_side(*works: Callable[[], Coroutine[Any, Any, None]]) -> list[BaseException]:
    """Run them in the event loop's own kind of group, and return what that collects."""

    async def in_asyncio() -> None:
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(work())

    try:
        if current_async_library() == "trio":
            async with trio.open_nursery() as nursery:
                for work in works:
                    nursery.start_soon(work)
        else:
            await asyncio.create_task(in_asyncio())  # some versions leave a task marked as cancelled
    except BaseExceptionGroup as group:
        return list(group.exceptions)
    return []


async def test_a_mistake_beside_a_call_is_all_that_their_group_tells_of(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    alone = Alone()

    async with serving(alone.handler) as server, make_client(server.base_url) as client:
        errors = await side_by_side(partial(alone.call, client, tmp_path), alone.fail)

    assert [type(error) for error in errors] == [MistakeError]
    assert [type(error) for error in alone.ended_by] == [anyio.get_cancelled_exc_class()]
    assert list(tmp_path.iterdir()) == []


async def test_the_error_of_a_call_lies_in_no_group_of_its_own(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async with make_client(base_url) as client:
        errors = await side_by_side(partial(Alone().call, client, tmp_path))

    assert [type(error) for error in errors] == [APIConnectionError]


class Broken(io.BytesIO):
    """A picture that can be read for a while."""

    def __init__(self, reads: int) -> None:
        super().__init__(SMALL)
        self._reads = reads

    def read(self, size: int | None = -1) -> bytes:
        self._reads -= 1
        if self._reads < 0:
            raise MistakeError
        return super().read(size)


@pytest.mark.parametrize("reads", [0, 1])
async def test_what_a_source_of_the_caller_raises_leaves_in_no_group(
    make_client: Callable[..., AsyncClient], reads: int
) -> None:
    async with serving(always(GOOD)) as server, make_client(server.base_url) as client:
        with pytest.raises((MistakeError, APIConnectionError)):
            await client.images.edit(Broken(reads), "a cat")

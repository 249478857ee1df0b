"""Calls that are cancelled at each of their steps: afterwards limit, connections, threads and files are right."""

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
from typing import IO, Any, TypeAlias

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
from tests.support.stepped_calls import CancelMode, Threads, by_scope, by_task
from tests.support.streamed_answers import completed, streams
from tests.support.streamed_answers import partial as partial_image

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]

SMALL, LARGE = png(), png(padding=5000)
GOOD = answer(SMALL, LARGE)
ROOMY = RateLimit(10_000)


@define(eq=False)
class Server:
    """A server with given answers for one call, and a good one for all others."""

    answers: deque[Handler]
    requests: int = 0

    async def handler(self, talk: Conversation) -> None:
        while True:
            request = await talk.request()
            if "x-next" in request.headers:
                await talk.answer(GOOD)
            else:
                self.requests += request.line.startswith("POST")
                await (self.answers.popleft() if self.answers else says(GOOD))(talk)


class OneLimiter(LimiterRegistry):
    """A registry with one limiter, in which a permit that is never sent may come first."""

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
        """Release the permit that came first."""
        if self.limiter is not None and self._first is not None:
            self.limiter.release(self._first)


@define(eq=False)
class Fixture:
    """The client and the files of a call."""

    client: AsyncClient
    folder: Path
    limits: OneLimiter
    waiting: anyio.Event
    """Set when the call reports that it waits for the limit."""
    pipes: list[IO[bytes]] = field(factory=list[IO[bytes]])

    def pipe(self) -> IO[bytes]:
        """Return the end of a pipe from which an image can be read."""
        out, into = os.pipe()
        with os.fdopen(into, "wb") as file:
            file.write(SMALL)
        self.pipes.append(os.fdopen(out, "rb"))
        return self.pipes[-1]

    def path(self) -> Path:
        """Return the path of an image."""
        path = self.folder.with_name("source.png")
        path.write_bytes(SMALL)
        return path


@frozen
class Scenario:
    """A call, the answers of its server, and what may remain when it was cancelled."""

    call: Callable[[Fixture], Coroutine[Any, Any, object]]
    answers: tuple[Handler, ...] = ()
    limit: RateLimit | None = None
    files: dict[str, bytes] = field(factory=dict[str, bytes])
    """The complete files that may exist, by their names."""
    counted: bool = True
    """Whether the limit still counts the requests of the call at its end."""


def generate(fixture: Fixture, **options: Any) -> Coroutine[Any, Any, object]:
    return fixture.client.images.generate("a cat", n=2, **options)


def generate_to_files(fixture: Fixture) -> Coroutine[Any, Any, object]:
    return generate(fixture, out=fixture.folder / "{index}.png")


def edit(fixture: Fixture) -> Coroutine[Any, Any, object]:
    return fixture.client.images.edit([fixture.path(), fixture.pipe()], "a cat", mask=io.BytesIO(SMALL))


def download(fixture: Fixture) -> Coroutine[Any, Any, object]:
    return fixture.client.images.download("/cat.png", to=fixture.folder / "0.png")


async def stream(fixture: Fixture, **options: Any) -> object:
    async with fixture.client.images.generate_stream("a cat", partial_images=1, **options) as stream:
        return [event.image.media_type async for event in stream]


async def stream_to_file(fixture: Fixture) -> object:
    return await stream(fixture, out=fixture.folder / "0.png")


async def stream_left_early(fixture: Fixture) -> object:
    async with fixture.client.images.generate_stream("a cat", partial_images=1) as stream:
        return await anext(stream)


async def keep_file(fixture: Fixture) -> object:
    return await fixture.client.files.download("file-1", fixture.folder / "0.png")


async def generate_in_the_queue(fixture: Fixture) -> object:
    """Make a call that waits for a permit that is released soon after."""

    async def give_way() -> None:
        await fixture.waiting.wait()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        fixture.limits.give_way()

    result: object = None
    fixture.limits.occupied = True
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_way)
            result = await generate(fixture)
    finally:
        fixture.limits.give_way()
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
    "in the queue": Scenario(generate_in_the_queue, limit=ROOMY),
    "in the queue again after 429": Scenario(generate, (REFUSED,), RateLimit(10_000, per=0.6), counted=False),
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
    """Allow one call at a time where there is no limit, and write images in small batches."""
    monkeypatch.setattr("imagesdk._ratelimit.unlimited.CONCURRENCY", 1)
    monkeypatch.setattr("imagesdk._engine.sink._LARGEST_BATCH", 1000)
    monkeypatch.setattr("imagesdk._engine.sink._SMALLEST_BATCH", 1000)


def is_idle(limits: OneLimiter) -> bool:
    """Whether the window is empty; check that it will be."""
    if limits.limiter is None:
        return True
    now = time.monotonic()
    idle = limits.limiter.idle(now)
    assert limits.limiter.idle(now + 2 * ROOMY.per)
    return idle


@define
class CancelEverywhere:
    """A call that is made again and again, and cancelled at one step after the other."""

    make_client: MakeClient
    monkeypatch: pytest.MonkeyPatch
    threads: Threads
    spools: list[SpooledTemporaryFile[bytes]]
    folder: Path

    async def count_steps(self, mode: CancelMode, scenario: Scenario) -> int:
        """Cancel the call of a scenario at every step, and return the number of steps."""
        at = 1
        try:
            while await self._cancel(mode, scenario, at):
                at += 1
        except BaseException as error:
            error.add_note(f"cancelled at step {at}")
            raise
        return at

    async def _cancel(self, mode: CancelMode, scenario: Scenario, at: int) -> bool:
        """Cancel the call at one step, and return whether it got that far."""
        connections, server = OpenConnections(), Server(deque(scenario.answers))
        limits, waiting = OneLimiter(), anyio.Event()
        self.monkeypatch.setattr("imagesdk._engine.engine.PROCESS_LIMITERS", limits)

        def observe(event: Event) -> None:
            if isinstance(event, LimitWaiting):
                waiting.set()

        terms: dict[str, Any] = {"rate_limit": scenario.limit, "observers": [observe]}
        async with serving(connections.counted(server.handler)) as listener:
            async with self.make_client(listener.base_url, **terms) as client:
                fixture = Fixture(client, self.folder, limits, waiting)
                outcome = await mode(scenario.call(fixture), self.threads, at)
                self.threads.end()
                connected = bool(listener.connections)
                idle = is_idle(limits)
                self._check_files(scenario, whole=outcome.result is not None)
                assert all(spool.closed for spool in self.spools)
                for pipe in fixture.pipes:
                    pipe.close()
                following = await client.images.generate("a dog", extra_headers={"x-next": "1"})
                assert [image.bytes for image in following] == [SMALL, LARGE]
            await connections.number(0)
        if scenario.limit is not None and scenario.counted:
            assert idle or connected
            assert not (idle and server.requests)
        return outcome.steps >= at

    def _check_files(self, scenario: Scenario, *, whole: bool) -> None:
        found = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        assert found.items() <= scenario.files.items()
        assert found or not (whole and scenario.files)
        for name in found:
            (self.folder / name).unlink()


@pytest.fixture
def cancelled(
    make_client: MakeClient,
    threads: Threads,
    spools: list[SpooledTemporaryFile[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> CancelEverywhere:
    folder = tmp_path / "images"
    folder.mkdir()
    return CancelEverywhere(make_client, monkeypatch, threads, spools, folder)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_its_scope_may_cancel_a_call_at_any_step(cancelled: CancelEverywhere, name: str) -> None:
    assert await cancelled.count_steps(by_scope, SCENARIOS[name]) > 5


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_its_task_may_cancel_a_call_at_any_step(cancelled: CancelEverywhere, name: str) -> None:
    assert await cancelled.count_steps(by_task, SCENARIOS[name]) > 5


class MistakeError(Exception):
    """An error of a program beside its calls, or in an object that it passes to them."""


@define
class Alone:
    """A server that never answers, and a program that fails while it waits."""

    arrived: anyio.Event = field(factory=anyio.Event)
    ended_by: list[BaseException] = field(factory=list[BaseException])

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
    """Run functions in the event loop's own kind of task group, and return the exceptions of the group."""

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


async def test_an_error_beside_a_call_is_alone_in_its_group(make_client: MakeClient, tmp_path: Path) -> None:
    alone = Alone()

    async with serving(alone.handler) as server, make_client(server.base_url) as client:
        errors = await side_by_side(partial(alone.call, client, tmp_path), alone.fail)

    assert [type(error) for error in errors] == [MistakeError]
    assert [type(error) for error in alone.ended_by] == [anyio.get_cancelled_exc_class()]
    assert list(tmp_path.iterdir()) == []


async def test_the_error_of_a_call_is_in_no_group_of_its_own(make_client: MakeClient, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async with make_client(base_url) as client:
        errors = await side_by_side(partial(Alone().call, client, tmp_path))

    assert [type(error) for error in errors] == [APIConnectionError]


class Broken(io.BytesIO):
    """An image file that fails after some reads."""

    def __init__(self, reads: int) -> None:
        super().__init__(SMALL)
        self._reads = reads

    def read(self, size: int | None = -1) -> bytes:
        self._reads -= 1
        if self._reads < 0:
            raise MistakeError
        return super().read(size)


@pytest.mark.parametrize("reads", [0, 1])
async def test_the_exception_of_a_caller_s_source_is_in_no_group(make_client: MakeClient, reads: int) -> None:
    async with serving(always(GOOD)) as server, make_client(server.base_url) as client:
        with pytest.raises((MistakeError, APIConnectionError)):
            await client.images.edit(Broken(reads), "a cat")

"""One client in many event loops, consecutive and concurrent: each loop has connections of its own."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
import pytest
import trio
from anyio.from_thread import start_blocking_portal
from attrs import frozen

from imagesdk import AsyncClient, Client
from tests.support.certificates import Authority
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, OpenConnections, RawServer, always, serving

SMALL = png()
ANSWER = answer(SMALL)

Work: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
RUN: dict[str, Callable[[Work], object]] = {"asyncio": lambda work: asyncio.run(work()), "trio": trio.run}


@frozen
class Elsewhere:
    """A server in an event loop and a thread of its own."""

    seen: RawServer
    base_url: str
    wait_for_open: Callable[[int], None]
    """Wait until the server has this number of open connections."""


Start: TypeAlias = Callable[[Handler], AbstractContextManager[Elsewhere]]


@pytest.fixture(params=["http", "https"])
def start(request: pytest.FixtureRequest, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts servers, with plain HTTP or TLS."""
    secure = request.param == "https"
    authority.is_known(monkeypatch)

    @contextmanager
    def start(handler: Handler) -> Generator[Elsewhere, None, None]:
        connections = OpenConnections()
        running = serving(connections.counted(authority.secured(handler) if secure else handler))
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(running) as server:
            base_url = f"{request.param}://127.0.0.1:{server.port}/v1"
            yield Elsewhere(server, base_url, lambda number: portal.call(connections.number, number))

    return start


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """Keep the garbage collector to the objects of these tests, which call it often."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    """Collect the objects that a test has left open, so that their warnings fail it."""
    yield
    gc.collect()


@pytest.mark.parametrize(
    "loops", [("asyncio",) * 4, ("trio",) * 4, ("asyncio", "trio", "asyncio"), ("trio", "asyncio", "trio")]
)
def test_one_client_works_in_consecutive_loops_and_leaves_no_connection_open(
    start: Start, make_client: Callable[..., AsyncClient], loops: tuple[str, ...]
) -> None:
    with start(always(ANSWER)) as server:
        client = make_client(server.base_url)

        async def work() -> None:
            async with client:
                for _ in range(2):
                    assert (await client.images.generate("a cat"))[0].bytes == SMALL

        for loop in loops:
            RUN[loop](work)
            server.wait_for_open(0)

        assert server.seen.connections == len(loops)
        assert len(server.seen.requests) == 2 * len(loops)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_loops_that_end_without_closing_the_client_do_not_accumulate_connections(
    start: Start, make_client: Callable[..., AsyncClient], loop: str
) -> None:
    with start(always(ANSWER)) as server:
        call = partial(make_client(server.base_url).images.generate, "a cat")
        for _ in range(5):
            RUN[loop](call)
        gc.collect()
        server.wait_for_open(1)
        assert server.seen.connections == 5

        del call
        gc.collect()
        server.wait_for_open(0)


@pytest.mark.parametrize("loops", [("asyncio", "asyncio"), ("asyncio", "trio"), ("trio", "trio")])
def test_loops_in_two_threads_call_at_the_same_time(
    start: Start, make_client: Callable[..., AsyncClient], loops: tuple[str, str]
) -> None:
    each = 8
    arrived: list[Conversation] = []
    all_arrived = anyio.Event()

    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            arrived.append(talk)
            if len(arrived) == 2 * each:
                all_arrived.set()
            await all_arrived.wait()
            await talk.answer(ANSWER)

    with start(handler) as server, ThreadPoolExecutor() as threads:
        client = make_client(server.base_url)

        async def work() -> None:
            async with client:
                for _ in range(2):
                    async with anyio.create_task_group() as tasks:
                        for _ in range(each):
                            tasks.start_soon(client.images.generate, "a cat")

        for running in [threads.submit(RUN[loop], work) for loop in loops]:
            running.result()

        server.wait_for_open(0)
        assert (server.seen.connections, len(server.seen.requests)) == (2 * each, 4 * each)


@pytest.mark.parametrize("loops", [("asyncio", "asyncio"), ("asyncio", "trio"), ("trio", "asyncio")])
def test_closing_in_one_loop_does_not_end_the_calls_of_another(
    start: Start, make_client: Callable[..., AsyncClient], loops: tuple[str, str]
) -> None:
    waiting = anyio.Event()
    closed = anyio.Event()

    async def handler(talk: Conversation) -> None:
        if (await talk.request()).headers["x-call"] == "patient":
            waiting.set()
            await closed.wait()
            await talk.answer(ANSWER)
            await talk.dropped()
        else:
            await waiting.wait()
            await talk.answer(ANSWER)
            await talk.dropped()
            closed.set()

    with start(handler) as server, ThreadPoolExecutor() as threads:
        client = make_client(server.base_url)

        def work(call: str) -> Work:
            async def work() -> None:
                async with client:
                    await client.images.generate("a cat", extra_headers={"x-call": call})

            return work

        patient = threads.submit(RUN[loops[0]], work("patient"))
        RUN[loops[1]](work("quick"))
        patient.result()
        server.wait_for_open(0)


def test_a_blocking_client_beside_the_loops_has_a_connection_of_its_own(
    start: Start, make_client: Callable[..., AsyncClient]
) -> None:
    with start(always(ANSWER)) as server:
        with Client(base_url=server.base_url, api_key="", rate_limit=None) as blocking:
            client = make_client(server.base_url)

            async def work() -> None:
                async with client:
                    await client.images.generate("a cat")
                    server.wait_for_open(2)

            blocking.images.generate("a cat")
            for loop in ("asyncio", "trio"):
                RUN[loop](work)
                server.wait_for_open(1)
            blocking.images.generate("a cat")
            assert server.seen.connections == 3
        server.wait_for_open(0)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_garbage_collected_client_leaves_no_connection_open_and_warns_unless_it_was_closed(
    start: Start, make_client: Callable[..., AsyncClient], loop: str, closed: bool
) -> None:
    with start(always(ANSWER)) as server:

        async def work() -> None:
            client = make_client(server.base_url)
            await client.images.generate("a cat")
            if closed:
                await client.aclose()
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                del client
                gc.collect()
            ours = [str(entry.message) for entry in warned if "AsyncClient" in str(entry.message)]
            assert len(ours) == (not closed)
            assert not (closed and warned)
            assert all("is connected to 127.0.0.1: use 'async with AsyncClient" in text for text in ours)
            warned.clear()  # they hold what they are about
            gc.collect()
            await anyio.to_thread.run_sync(server.wait_for_open, 0)

        RUN[loop](work)

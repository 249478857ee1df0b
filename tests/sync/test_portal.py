"""What blocking calls may rely on: the portal and the leases on it, with an invented asynchronous client."""

import asyncio
import contextvars
import gc
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from imagesdk._sync.latch import Latch
from imagesdk._sync.lease import Lease, lease
from imagesdk._sync.lookups import LookupThreads

PATIENCE = 30
"""Seconds after which a test that should not wait at all fails."""

colour = contextvars.ContextVar("colour", default="none")


class Twin:
    """An asynchronous client that notes what happens to it."""

    def __init__(self, name: str = "twin") -> None:
        self.name = name
        self.waiting = threading.Event()
        self.cancelled = threading.Event()
        self.closed = threading.Event()

    async def aclose(self) -> None:
        self.closed.set()

    async def echo(self, text: str) -> str:
        await anyio.lowlevel.checkpoint()
        return text

    async def run(self, function: Callable[[], Any]) -> Any:
        await anyio.lowlevel.checkpoint()
        return function()

    async def wait(self) -> None:
        self.waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.set()

    async def wait_for(self, event: anyio.Event) -> str:
        self.waiting.set()
        await event.wait()
        return "it came"

    def renamed(self, name: str) -> "Twin":
        return Twin(name)


@pytest.fixture
def held() -> Iterator[Lease[Twin]]:
    held = lease(Twin)
    yield held
    held.close()


def in_thread(function: Callable[[], Any]) -> Callable[[], BaseException]:
    """Start ``function`` in a thread; the result waits for its end and returns what it raised."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - handed over
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def end() -> BaseException:
        thread.join(PATIENCE)
        return raised[0]

    return end


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_a_call_returns_what_the_coroutine_returns(held: Lease[Twin]) -> None:
    assert held.call(Twin.echo, text="hello") == "hello"


def test_an_exception_arrives_as_itself_with_the_frames_of_both_sides(held: Lease[Twin]) -> None:
    mistake = LookupError("nothing there")
    with pytest.raises(LookupError) as caught:
        held.call(Twin.run, raising(mistake))
    assert caught.value is mistake
    names = [frame.name for frame in traceback.extract_tb(mistake.__traceback__)]
    assert names[0].startswith("test_an_exception_arrives")
    assert names[-2:] == ["run", "function"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_base_exception_reaches_its_own_caller_and_nobody_else(
    held: Lease[Twin], error: BaseException
) -> None:
    event = held.call(Twin.run, anyio.Event)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(held.call, Twin.wait_for, event)
        held.twin.waiting.wait(PATIENCE)
        with pytest.raises(type(error)):
            held.call(Twin.run, raising(error))
        held.call(Twin.run, event.set)
        assert other.result(PATIENCE) == "it came"


def test_a_coroutine_that_cancels_its_own_task_is_an_error_of_that_call(held: Lease[Twin]) -> None:
    with pytest.raises(RuntimeError, match="cancelled"):
        held.call(Twin.run, raising(asyncio.CancelledError()))
    assert held.call(Twin.echo, "still there") == "still there"


def test_the_coroutine_sees_the_context_variables_of_its_caller(held: Lease[Twin]) -> None:
    held.call(Twin.echo, "the portal was started in another context")
    token = colour.set("green")
    try:
        assert held.call(Twin.run, colour.get) == "green"
    finally:
        colour.reset(token)


@pytest.mark.anyio
async def test_a_call_works_in_a_thread_that_runs_an_event_loop(held: Lease[Twin]) -> None:
    assert held.call(Twin.echo, "in Jupyter") == "in Jupyter"


def test_a_call_on_the_loops_own_thread_is_refused_at_once(held: Lease[Twin]) -> None:
    with pytest.raises(RuntimeError, match="event-loop thread"):
        held.call(Twin.run, lambda: held.call(Twin.echo, "never"))


def test_threads_that_race_for_the_first_call_share_one_loop() -> None:
    start = threading.Barrier(32)
    leases = [lease(Twin) for _ in range(32)]

    def first_call(held: Lease[Twin]) -> int:
        start.wait(PATIENCE)
        ident: int = held.call(Twin.run, threading.get_ident)
        return ident

    with ThreadPoolExecutor(32) as pool:
        idents = set(pool.map(first_call, leases))
    for held in leases:
        held.close()
    assert len(idents) == 1
    assert idents != {threading.get_ident()}


def test_calls_run_at_the_same_time(held: Lease[Twin]) -> None:
    event = held.call(Twin.run, anyio.Event)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(held.call, Twin.wait_for, event)
        held.twin.waiting.wait(PATIENCE)
        pool.submit(held.call, Twin.run, event.set)
        assert first.result(PATIENCE) == "it came"


def test_an_interrupt_leaves_the_call_and_cancels_the_coroutine(held: Lease[Twin]) -> None:
    main = threading.get_ident()

    def interrupt() -> None:
        held.twin.waiting.wait(PATIENCE)
        signal.pthread_kill(main, signal.SIGINT)

    end = threading.Thread(target=interrupt)
    end.start()
    with pytest.raises(KeyboardInterrupt):
        held.call(Twin.wait)
    assert held.twin.cancelled.is_set()
    end.join(PATIENCE)
    assert held.call(Twin.echo, "still there") == "still there"


def test_a_signal_handler_that_returns_leaves_the_call_alone(held: Lease[Twin]) -> None:
    event = held.call(Twin.run, anyio.Event)
    main = threading.get_ident()

    def disturb() -> None:
        held.twin.waiting.wait(PATIENCE)
        signal.pthread_kill(main, signal.SIGUSR1)

    def handle(number: int, frame: object) -> None:
        threading.Thread(target=held.call, args=(Twin.run, event.set)).start()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Thread(target=disturb).start()
        assert held.call(Twin.wait_for, event) == "it came"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_closing_gives_up_the_calls_under_way_and_closes_the_twin() -> None:
    held = lease(Twin)
    end = in_thread(lambda: held.call(Twin.wait))
    held.twin.waiting.wait(PATIENCE)
    held.close()
    assert held.twin.cancelled.is_set()
    assert held.twin.closed.is_set()
    assert "closed during the call" in str(end())


def test_closing_one_client_leaves_the_calls_of_another_alone(held: Lease[Twin]) -> None:
    event = held.call(Twin.run, anyio.Event)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(held.call, Twin.wait_for, event)
        held.twin.waiting.wait(PATIENCE)
        other = lease(Twin)
        other.call(Twin.echo, "hello")
        other.close()
        held.call(Twin.run, event.set)
        assert under_way.result(PATIENCE) == "it came"


def test_a_closed_client_says_so() -> None:
    held = lease(Twin)
    held.call(Twin.echo, "hello")
    held.close()
    held.close()
    with pytest.raises(RuntimeError, match="client is closed"):
        held.call(Twin.echo, "hello")


def test_what_closing_raises_reaches_whoever_closes() -> None:
    class Stubborn(Twin):
        async def aclose(self) -> None:
            raise OSError("no")

    held = lease(Stubborn)
    held.call(Stubborn.echo, "hello")
    with pytest.raises(OSError, match="no"):
        held.close()


def test_a_client_that_is_collected_closes_its_connections() -> None:
    held = lease(Twin)
    twin = held.twin
    held.call(Twin.echo, "hello")
    holders = [held]
    del held
    with pytest.warns(ResourceWarning, match="a blocking client was not closed"):
        holders.clear()
    gc.collect()
    assert twin.closed.wait(PATIENCE)


def test_an_error_of_the_constructor_stands_where_the_client_is_made() -> None:
    with pytest.raises(TypeError, match="colour"):
        lease(Twin, colour="green")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - the point


def test_a_view_is_closed_with_what_it_is_derived_from_and_closes_nothing_itself() -> None:
    held = lease(Twin)
    view = held.derive(Twin.renamed, "second")
    assert view.twin.name == "second"
    assert view.twin is view.twin
    assert view.call(Twin.echo, "hello") == "hello"
    view.close()
    assert view.call(Twin.echo, "and goodbye") == "and goodbye"
    held.close()
    with pytest.raises(RuntimeError, match="client is closed"):
        view.call(Twin.echo, "hello")


def test_a_loop_that_broke_down_is_replaced(held: Lease[Twin]) -> None:
    def break_down() -> None:
        asyncio.get_running_loop().call_soon(raising(SystemExit("a stray callback")))

    end = in_thread(lambda: held.call(Twin.wait))
    held.twin.waiting.wait(PATIENCE)
    held.call(Twin.run, break_down)
    error = end()
    assert "broke down" in str(error) or "cancelled on its event loop" in str(error)
    assert held.call(Twin.echo, "again") == "again"


def test_a_latch_opens_for_everybody_and_for_good() -> None:
    latch = Latch()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(latch.wait, PATIENCE) for _ in range(3)]
        latch.open()
        latch.open()
        assert [future.result(PATIENCE) for future in waiting] == [True, True, True]
    assert latch.wait()


def test_a_latch_that_stays_shut_ends_the_wait() -> None:
    latch = Latch()
    assert not latch.wait(0.001)
    assert not latch.is_open


def test_lookups_run_in_daemon_threads_and_report_what_they_find() -> None:
    threads = LookupThreads()
    assert threads.submit(lambda: threading.current_thread().daemon).result(PATIENCE)
    with pytest.raises(socket.gaierror):
        threads.submit(socket.getaddrinfo, "256.256.256.256", 80, flags=socket.AI_NUMERICHOST).result(
            PATIENCE
        )


def test_lookups_go_on_in_threads_that_outlive_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)  # as it is from then on
    assert LookupThreads().submit(len, "abc").result(PATIENCE) == 3

"""The portal and its leases, with an invented asynchronous client."""

import asyncio
import contextvars
import re
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from imagesdk._sync.dns_threads import LookupThreads
from imagesdk._sync.latch import Latch
from imagesdk._sync.lease import Lease, lease
from imagesdk.errors import APIConnectionError

PATIENCE = 30
"""Seconds after which a test that should not wait at all fails."""

colour = contextvars.ContextVar("colour", default="none")


class Stub:
    """An asynchronous client that records its calls."""

    def __init__(self, name: str = "stub") -> None:
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

    def renamed(self, name: str) -> "Stub":
        return Stub(name)


@pytest.fixture
def handle() -> Iterator[Lease[Stub]]:
    handle = lease(Stub)
    yield handle
    handle.close()


@contextmanager
def another_call(handle: Lease[Stub]) -> Generator[None, None, None]:
    """Have a thread wait for a call during the block; the call must return its result after it."""
    event = handle.call(Stub.run, anyio.Event)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(handle.call, Stub.wait_for, event)
        handle.async_object.waiting.wait(PATIENCE)
        try:
            yield
        finally:
            handle.call(Stub.run, event.set)
        assert call.result(PATIENCE) == "it came"


def signal_when_waiting(handle: Lease[Stub], number: signal.Signals) -> threading.Thread:
    """Send this thread a signal as soon as its call waits."""
    main = threading.get_ident()

    def send() -> None:
        handle.async_object.waiting.wait(PATIENCE)
        signal.pthread_kill(main, number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_an_exception_arrives_as_itself_with_the_frames_of_both_sides(handle: Lease[Stub]) -> None:
    mistake = LookupError("nothing there")
    with pytest.raises(LookupError) as caught:
        handle.call(Stub.run, raising(mistake))
    assert caught.value is mistake
    names = [frame.name for frame in traceback.extract_tb(mistake.__traceback__)]
    assert names[0].startswith("test_an_exception_arrives")
    assert names[-2:] == ["run", "function"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_base_exception_is_raised_in_its_own_caller_only(handle: Lease[Stub], error: BaseException) -> None:
    with another_call(handle):
        with pytest.raises(type(error)):
            handle.call(Stub.run, raising(error))


def test_a_coroutine_that_cancels_its_own_task_fails_that_call_only(handle: Lease[Stub]) -> None:
    with pytest.raises(RuntimeError, match="cancelled"):
        handle.call(Stub.run, raising(asyncio.CancelledError()))
    assert handle.call(Stub.echo, "still there") == "still there"


def test_the_coroutine_sees_the_context_variables_of_its_caller(handle: Lease[Stub]) -> None:
    handle.call(Stub.echo, "the portal was started in another context")
    token = colour.set("green")
    try:
        assert handle.call(Stub.run, colour.get) == "green"
    finally:
        colour.reset(token)


def test_threads_that_race_for_the_first_call_share_one_loop() -> None:
    start = threading.Barrier(32)
    leases = [lease(Stub) for _ in range(32)]

    def first_call(handle: Lease[Stub]) -> int:
        start.wait(PATIENCE)
        ident: int = handle.call(Stub.run, threading.get_ident)
        return ident

    with ThreadPoolExecutor(32) as pool:
        idents = set(pool.map(first_call, leases))
    for handle in leases:
        handle.close()
    assert len(idents) == 1
    assert idents != {threading.get_ident()}


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_call_and_cancels_the_coroutine(handle: Lease[Stub]) -> None:
    thread = signal_when_waiting(handle, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        handle.call(Stub.wait)
    assert handle.async_object.cancelled.is_set()
    thread.join(PATIENCE)
    assert handle.call(Stub.echo, "still there") == "still there"


def test_a_signal_handler_that_returns_does_not_end_the_call(handle: Lease[Stub]) -> None:
    event = handle.call(Stub.run, anyio.Event)

    def on_signal(number: int, frame: object) -> None:
        threading.Thread(target=handle.call, args=(Stub.run, event.set)).start()

    before = signal.signal(signal.SIGUSR1, on_signal)
    try:
        signal_when_waiting(handle, signal.SIGUSR1)
        assert handle.call(Stub.wait_for, event) == "it came"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_closing_cancels_the_running_calls_and_closes_the_asynchronous_object() -> None:
    handle = lease(Stub)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(handle.call, Stub.wait)
        handle.async_object.waiting.wait(PATIENCE)
        handle.close()
        assert "closed during the call" in str(call.exception(PATIENCE))
    assert handle.async_object.cancelled.is_set()
    assert handle.async_object.closed.is_set()


def test_closing_one_client_does_not_end_the_calls_of_another(handle: Lease[Stub]) -> None:
    with another_call(handle):
        other = lease(Stub)
        other.call(Stub.echo, "hello")
        other.close()


def test_a_loop_that_broke_down_is_replaced(handle: Lease[Stub]) -> None:
    def break_down() -> None:
        asyncio.get_running_loop().call_soon(raising(SystemExit("a stray callback")))

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(handle.call, Stub.wait)
        handle.async_object.waiting.wait(PATIENCE)
        handle.call(Stub.run, break_down)
        assert re.search("broke down|cancelled on its event loop", str(call.exception(PATIENCE)))
    assert handle.call(Stub.echo, "again") == "again"


@pytest.mark.parametrize("which", ["_thread.start_new_thread", "threading.Thread.start"])
def test_a_loop_whose_thread_cannot_be_started_is_a_typed_error_and_the_next_call_tries_again(
    which: str, handle: Lease[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    for thread in threading.enumerate():
        if thread.name == "imagesdk":  # the loop of the test before
            thread.join(PATIENCE)
    monkeypatch.setattr(which, fail)
    with pytest.raises(APIConnectionError, match=r"no thread for the blocking clients\. Nothing was sent"):
        handle.call(Stub.echo, "hello")
    monkeypatch.undo()
    assert handle.call(Stub.echo, "again") == "again"


def test_an_error_while_closing_is_raised_by_close() -> None:
    class Stubborn(Stub):
        async def aclose(self) -> None:
            raise OSError("no")

    handle = lease(Stubborn)
    handle.call(Stubborn.echo, "hello")
    with pytest.raises(OSError, match="no"):
        handle.close()


def test_a_view_is_closed_with_its_owner_and_closes_nothing_itself() -> None:
    handle = lease(Stub)
    view = handle.derive(Stub.renamed, "second")
    assert view.async_object.name == "second"
    assert view.async_object is view.async_object
    assert view.call(Stub.echo, "hello") == "hello"
    view.close()
    assert view.call(Stub.echo, "and goodbye") == "and goodbye"
    handle.close()
    with pytest.raises(RuntimeError, match="client is closed"):
        view.call(Stub.echo, "hello")


def test_a_latch_times_out_until_it_is_opened_and_then_wakes_all_waiting_threads_for_good() -> None:
    latch = Latch()
    assert not latch.wait(0.001)
    assert not latch.is_open
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(latch.wait, PATIENCE) for _ in range(3)]
        latch.open()
        latch.open()
        assert [future.result(PATIENCE) for future in waiting] == [True, True, True]
    assert latch.wait()


def test_lookups_run_in_daemon_threads_and_return_results_and_errors() -> None:
    threads = LookupThreads()
    assert threads.submit(lambda: threading.current_thread().daemon).result(PATIENCE)
    with pytest.raises(socket.gaierror):
        threads.submit(socket.getaddrinfo, "256.256.256.256", 80, flags=socket.AI_NUMERICHOST).result()


def test_lookups_still_run_after_the_end_of_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)  # as the interpreter sets it at its end
    assert LookupThreads().submit(len, "abc").result(PATIENCE) == 3

"""Worker threads for blocking calls, under a capacity limiter of the package's own.

A machine may have no thread or no memory left. Work with files then runs on the event loop, because a paid image that is
written late is better than a lost one. Everything else ends in a typed error that says whether images may have been billed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Generic, TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread

from imagesdk._runtime.loops import PerLoop, call_soon, running_loop
from imagesdk.errors import APIConnectionError

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

_THREADS = 16
"""Threads per event loop."""
_threads = PerLoop(lambda: anyio.CapacityLimiter(_THREADS))
_TRANSFERS = 8
"""Further threads per event loop, for files on other machines: a slow network keeps no local disk waiting."""
_transfers = PerLoop(lambda: anyio.CapacityLimiter(_TRANSFERS))


class _UninterruptibleWork(Generic[_T]):
    """A function that runs to its end in a thread once it has started, although its caller is cancelled."""

    def __init__(self, function: Callable[[], _T]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._loop = running_loop()
        self._ended = anyio.Event()
        self._is_running = False
        self._is_abandoned = False
        self.has_started = False

    def run(self) -> _T:
        """Run the function, unless it was abandoned before."""
        with self._lock:
            if self._is_abandoned:
                raise RuntimeError("abandoned before it started")  # its caller is gone
            self._is_running = self.has_started = True
        try:
            return self._function()
        finally:
            with self._lock:
                self._is_running = False
                if self._is_abandoned:
                    call_soon(self._loop, self._ended.set)

    async def abandon(self) -> None:
        """Keep the function from starting, or wait for its end."""
        with self._lock:
            self._is_abandoned = True
            is_running = self._is_running
        if is_running:
            with anyio.CancelScope(shield=True):
                await self._ended.wait()


def lacking(error: BaseException) -> str | None:
    """Return what this machine lacks, if an error says so: memory, or a thread."""
    if isinstance(error, MemoryError):
        return "no memory"
    return "no thread" if isinstance(error, RuntimeError) and "start new thread" in str(error) else None


@contextmanager
def nothing_sent(purpose: str) -> Generator[None, None, None]:
    """Turn a lack of memory or of a thread into an error that says that nothing was sent.

    Raises:
        APIConnectionError: If this machine lacks memory, or a thread.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (lack := lacking(error)) is None:
            raise
        raise APIConnectionError(f"This machine has {lack} {purpose}. Nothing was sent.") from error


async def run_blocking(function: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
    """Run a function that works with files in one of our threads, so that a slow disk starves no other threads.

    The function has ended, or will never start, when this returns or raises. (asyncio's own cancellation, as by its
    time-outs, passes shields. It would leave the thread behind, to write a file after all files were removed.)
    """
    return await _run(lambda: function(*args), _threads.get())


async def run_stoppable(function: Callable[[Callable[[], bool]], _T], stopped: type[Exception]) -> _T:
    """Run a function that transfers a file in one of our threads, and stop it when the caller is cancelled.

    Args:
        function: Called with a function that returns whether it should stop. Then it raises ``stopped``.
        stopped: The type of that exception. It is not raised here.
    """
    stop = threading.Event()
    results: list[_T] = []
    failure: Exception | None = None

    async def set_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(set_when_cancelled)
        try:
            results.append(await _run(lambda: function(stop.is_set), _transfers.get(), stop))
        except stopped:
            await anyio.sleep_forever()  # until the cancellation, which has set the event, is delivered
        except Exception as error:  # noqa: BLE001 - the task group would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # its traceback holds this frame
    return results[0]


async def _run(
    function: Callable[[], _T], limiter: anyio.CapacityLimiter, stop: threading.Event | None = None
) -> _T:
    work = _UninterruptibleWork(function)
    try:
        return await anyio.to_thread.run_sync(work.run, limiter=limiter)
    except BaseException as error:
        if lacking(error) and not work.has_started:
            return work.run()
        if stop is not None:
            stop.set()
        await work.abandon()
        raise

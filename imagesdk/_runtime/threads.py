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
    work = _UninterruptibleWork(lambda: function(*args))
    try:
        return await anyio.to_thread.run_sync(work.run, limiter=_threads.get())
    except BaseException as error:
        if lacking(error) and not work.has_started:
            return work.run()
        await work.abandon()
        raise

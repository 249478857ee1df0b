"""Worker threads for blocking calls, under capacity limiters of the package's own.

=====================  ==========================================================================================
function               when its caller is cancelled
=====================  ==========================================================================================
``run_blocking``       the function ends first, or never starts: it writes files, or moves in a file of the caller
``run_abandonable``    the function is left behind in its thread: it only reads, and the disk may hang
``run_in_thread``      as anyio does it
=====================  ==========================================================================================

Rules: a thread that cannot be started is an ``OSError``; a hanging disk takes no threads from other folders, nor more
than those of its own.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar, TypeVarTuple, Unpack
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from imagesdk._runtime.loops import PerLoop, call_soon, running_loop

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

_THREADS = 16
"""Threads per event loop, and per event loop and folder."""
_threads = PerLoop(lambda: anyio.CapacityLimiter(_THREADS))
_folders = PerLoop(WeakValueDictionary[str, anyio.CapacityLimiter])
_unlimited = PerLoop(lambda: anyio.CapacityLimiter(inf))


class _Work(Generic[_T]):
    """A function that runs in a thread, and whose caller may be cancelled."""

    def __init__(self, function: Callable[[], _T], on_late_end: Callable[[], object]) -> None:
        self._function = function
        self._on_late_end = on_late_end
        self._lock = threading.Lock()
        self._loop = running_loop()
        self._is_running = False
        self._is_abandoned = False

    def run(self) -> _T:
        """Run the function, unless it was abandoned before."""
        with self._lock:
            if self._is_abandoned:
                raise RuntimeError("abandoned before it started")  # its caller is gone
            self._is_running = True
        try:
            return self._function()
        finally:
            with self._lock:
                self._is_running = False
                if self._is_abandoned:
                    call_soon(self._loop, self._on_late_end)

    def abandon(self) -> bool:
        """Keep the function from starting; return whether it runs, and ``on_late_end`` is called after it."""
        with self._lock:
            self._is_abandoned = True
            return self._is_running


def no_thread(error: RuntimeError) -> OSError:
    """Return the error of a thread that cannot be started."""
    remedy = "Allow this process more threads, or make fewer calls at once"
    return OSError(errno.EAGAIN, f"No thread could be started ({error}). {remedy}")


async def run_in_thread(
    function: Callable[[Unpack[_Args]], _T],
    *args: *_Args,
    limiter: anyio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> _T:
    """Run a function in a thread.

    Raises:
        OSError: If no thread can be started.
    """
    has_begun = False

    def run() -> _T:
        nonlocal has_begun
        has_begun = True
        return function(*args)

    try:
        return await anyio.to_thread.run_sync(run, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
    except RuntimeError as error:
        if has_begun:
            raise
        raise no_thread(error) from error


async def run_blocking(function: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
    """Run a function that works with files in one of our threads, so that a slow disk starves no other threads.

    The function has ended, or will never start, when this returns or raises. (asyncio's own cancellation, as by its
    time-outs, passes shields. It would leave the thread behind, to write a file after all files were removed.)
    """
    ended = anyio.Event()
    work = _Work(lambda: function(*args), ended.set)
    try:
        return await run_in_thread(work.run, limiter=_threads.get())
    except BaseException:
        if work.abandon():
            with anyio.CancelScope(shield=True):
                await ended.wait()
        raise


async def run_abandonable(folder: str, function: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
    """Run a function that only reads a file of ``folder`` in one of the threads for it.

    A thread that was left behind counts as one of those until its function ends.
    """
    limiters = _folders.get()
    limiter = limiters.get(folder) or limiters.setdefault(folder, anyio.CapacityLimiter(_THREADS))
    work = _Work(lambda: function(*args), lambda: limiter.release_on_behalf_of(work))
    try:
        limiter.acquire_on_behalf_of_nowait(work)  # spares a pass of the event loop
    except anyio.WouldBlock:
        await limiter.acquire_on_behalf_of(work)
    is_left = False
    try:
        return await run_in_thread(work.run, limiter=_unlimited.get(), abandon_on_cancel=True)
    except BaseException:
        is_left = work.abandon()
        raise
    finally:
        if not is_left:
            limiter.release_on_behalf_of(work)

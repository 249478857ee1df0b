"""Worker threads for blocking calls, under a capacity limiter of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread

from imagesdk._runtime.loops import PerLoop, call_soon, running_loop

_T = TypeVar("_T")


_Args = TypeVarTuple("_Args")


_THREADS = 16


_threads = PerLoop(lambda: anyio.CapacityLimiter(_THREADS))


async def run_blocking(function: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
    """Run what works with files in one of our own threads, so that a slow disk cannot starve the application's.

    It has ended, or was never begun, when this returns or raises. (asyncio's own cancellation, as by its time-outs,
    goes through shields and would leave the thread behind, to make a file after all were removed.)
    """
    lock, loop, ended = threading.Lock(), running_loop(), anyio.Event()
    begun = over = given_up = False

    def work() -> _T:
        nonlocal begun, over
        with lock:
            if given_up:
                raise RuntimeError("given up")  # nobody is there to be told
            begun = True
        try:
            return function(*args)
        finally:
            with lock:
                over = True
                if given_up:
                    call_soon(loop, ended.set)

    try:
        return await anyio.to_thread.run_sync(work, limiter=_threads.get())
    except BaseException:
        with lock:
            given_up = True
            goes_on = begun and not over
        if goes_on:
            with anyio.CancelScope(shield=True):
                await ended.wait()
        raise

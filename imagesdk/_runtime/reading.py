"""Threads that read files from disks that may hang: a cancelled call leaves its thread behind.

Rules: a hanging disk takes no threads from other folders, nor more than those of its own folder; it delays no exit, as
threads of anyio do under asyncio.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeAlias, TypeVar, TypeVarTuple, Unpack, cast
from weakref import WeakValueDictionary

import anyio

from imagesdk._runtime.loops import PerLoop, call_soon, running_loop

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")
_Inbox: TypeAlias = "SimpleQueue[tuple[Callable[[], object], Callable[[], object]]]"

_THREADS = 16
"""Threads per event loop and folder."""
_IDLE_SECONDS = 5.0
"""Seconds after which a thread that reads nothing ends."""
_folders = PerLoop(WeakValueDictionary[str, anyio.CapacityLimiter])


class _Readers:
    """The threads of this process, which wait for work."""

    def __init__(self) -> None:
        self._idle: list[_Inbox] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._idle.clear)

    def start(self, work: Callable[[], object], then: Callable[[], object]) -> None:
        """Run ``work()`` and ``then()``, neither of which raises, in a thread."""
        inbox: _Inbox
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            _thread.start_new_thread(self._serve, (inbox,))
        inbox.put((work, then))

    def _serve(self, inbox: _Inbox) -> None:
        while True:
            try:
                work, then = inbox.get(timeout=_IDLE_SECONDS)
            except Empty:
                with suppress(ValueError):  # ``start`` has just chosen this thread
                    self._idle.remove(inbox)
                    return
                continue
            work()
            self._idle.append(inbox)
            then()
            del work, then  # they hold what was read


_readers = _Readers()


async def run_abandonable(folder: str, function: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
    """Run a function that only reads a file of ``folder`` in one of the threads for it, which delays no exit.

    A thread that was left behind counts as one of those until its function ends.

    Raises:
        RuntimeError: If no thread can be started.
    """
    limiters = _folders.get()
    limiter = limiters.get(folder) or limiters.setdefault(folder, anyio.CapacityLimiter(_THREADS))
    loop, ended, result = running_loop(), anyio.Event(), list[tuple[_T, None] | tuple[None, BaseException]]()

    def work() -> None:
        try:
            result.append((function(*args), None))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            result.append((None, error))

    def end() -> None:
        limiter.release_on_behalf_of(ended)
        ended.set()

    try:
        limiter.acquire_on_behalf_of_nowait(ended)  # spares a pass of the event loop
    except anyio.WouldBlock:
        await limiter.acquire_on_behalf_of(ended)
    try:
        _readers.start(work, lambda: call_soon(loop, end))
    except RuntimeError:
        limiter.release_on_behalf_of(ended)
        raise
    await ended.wait()
    value, failure = result.pop()
    if failure is None:
        return cast("_T", value)
    try:
        raise failure
    finally:
        del failure  # its traceback holds this frame: no cycle through it

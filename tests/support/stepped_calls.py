"""Calls that are run step by step and cancelled at one of their steps, in each way that event loops have."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from tests.support.socket_servers import PATIENCE

T = TypeVar("T")

HELD = 0.01
"""Seconds that work in a thread waits for the end of a cancelled call, which may wait for that work."""

CancelMode: TypeAlias = Callable[[Coroutine[Any, Any, object], "Threads", int], Awaitable["CallOutcome"]]
run_in_thread = anyio.to_thread.run_sync


class Steps(Generic[T]):
    """Awaits a coroutine, and calls a function at each of its suspensions."""

    def __init__(self, work: Coroutine[Any, Any, T], at: Callable[[int], None]) -> None:
        self._work = work
        self._at = at
        self.count = 0

    def __await__(self) -> Generator[Any, Any, T]:
        go_on: Callable[[], Any] = partial(self._work.send, None)
        while True:
            try:
                suspended = go_on()
            except StopIteration as end:
                result: T = end.value
                return result
            self.count += 1
            self._at(self.count)
            try:
                go_on = partial(self._work.send, (yield suspended))
            except BaseException as error:  # noqa: BLE001 - handed on
                go_on = partial(self._work.throw, error)


@define(eq=False)
class Work:
    """A function that runs in a thread."""

    begun: threading.Event = field(factory=threading.Event)
    gate: threading.Event = field(factory=threading.Event)
    ended: threading.Event = field(factory=threading.Event)


@define(eq=False)
class Threads:
    """The work in threads of a call that is run step by step."""

    _under_way: set[Work] = field(factory=set[Work])
    _left_behind: list[Work] = field(factory=list[Work])
    _lock: threading.Lock = field(factory=threading.Lock)
    _hold: bool = False

    async def run_sync(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        work = Work()
        abandoned = False

        def do() -> T:
            with self._lock:
                if abandoned:
                    raise RuntimeError("abandoned before it started")
                work.begun.set()
            try:
                if self._hold:
                    work.gate.wait(HELD)
                return function(*args)
            finally:
                work.ended.set()

        self._under_way.add(work)
        try:
            return await run_in_thread(do, **options)
        except BaseException:
            with self._lock:
                abandoned = True
                if work.begun.is_set():
                    self._left_behind.append(work)
            raise
        finally:
            self._under_way.remove(work)

    def step(self, at: int, cancel: Callable[[], object]) -> Callable[[int], None]:
        """Return a function to call at each step, which calls ``cancel`` at one of them, during the work in threads."""

        def take(count: int) -> None:
            self._hold = count >= at - 1
            if count == at:
                for work in self._under_way:
                    work.begun.wait(HELD)  # unless it has not been handed to a thread yet
                cancel()

        self._hold = at == 1
        return take

    def end(self) -> None:
        self._hold = False
        for work in self._left_behind:
            work.gate.set()
            assert work.ended.wait(PATIENCE)
        self._left_behind.clear()


@frozen
class CallOutcome:
    """The end of a call that was to be cancelled."""

    steps: int
    result: object = None
    """``None`` for a call that was cancelled."""


async def by_scope(work: Coroutine[Any, Any, object], threads: Threads, at: int) -> CallOutcome:
    result: object = None
    scope = anyio.CancelScope()
    steps = Steps(work, threads.step(at, scope.cancel))
    with scope:
        result = await steps
    return CallOutcome(steps.count, result)


async def by_task(work: Coroutine[Any, Any, object], threads: Threads, at: int) -> CallOutcome:
    """Cancel the task of the call once, as asyncio's own time-outs do. Later awaits are not cancelled."""

    async def run() -> object:
        return await steps

    task = asyncio.create_task(run())
    steps = Steps(work, threads.step(at, task.cancel))
    try:
        return CallOutcome(steps.count, await task)
    except asyncio.CancelledError:
        return CallOutcome(steps.count)

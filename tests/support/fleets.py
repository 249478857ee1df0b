"""Several processes that share a rate limit, inside one process and with a clock that only the test moves."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import heapq
import math
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

import anyio

from imagesdk import CoordinationError, LimitWaitError, RateLimit, SharedStore
from imagesdk._coordination.limiter import CoordinatedLimiter
from imagesdk._coordination.redis_store import RedisStore
from imagesdk._coordination.store import DocumentStore, Notice, OnNotice
from imagesdk._coordination.store_thread import StoreThread
from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.shared import SharedLimiter
from tests.support.patient_waiters import PatientWaiter

KEY = "limit-test"


class Clock:
    """Seconds that pass only when the test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TimedRedisStore(RedisStore):
    """Redis with a clock that the test moves."""

    script = RedisStore.script.replace("redis.call('TIME')", "redis.call('HMGET', 'clock', 's', 'us')")

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        super().__init__(url, url)
        self._clock = clock
        self._subscription: Any = None

    def read(self, key: str, *, known: str = "", owner: str = "") -> Any:
        self._set_clock()
        return super().read(key, known=known, owner=owner)

    def swap(self, *arguments: Any, **options: Any) -> Any:
        self._set_clock()
        return super().swap(*arguments, **options)

    def listen(self, owner: str, on_notice: OnNotice) -> None:
        self._subscription = self._client.pubsub(ignore_subscribe_messages=True)
        self._subscription.subscribe(f"imagesdk:notices:{owner}")

    def notices(self, owner: str) -> Collection[str]:
        found: list[str] = []
        while self._subscription is not None and (message := self._subscription.get_message(timeout=0)):
            found.append(message["data"].partition("\n")[0])
        return found

    def uptime(self) -> float:
        return math.inf

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        super().close()

    def _set_clock(self) -> None:
        seconds, rest = divmod(self._clock(), 1)
        self._client.hset("clock", mapping={"s": int(seconds), "us": int(rest * 1e6)})


class ManualThread(StoreThread):
    """The thread of a store, whose tasks run when the test says so."""

    def __init__(
        self, shared: SharedStore, store: DocumentStore, owner: str, clock: Callable[[], float]
    ) -> None:
        self.shared = shared
        self.owner = owner
        self.store = store
        self.is_stopped = False
        self._clock = clock
        self._tasks = []
        self._numbers = count()
        self._watchers = {}
        self._last_tasks = {}
        self._polled = set()

    def call_at(self, when: float, task: Callable[[], object]) -> None:
        heapq.heappush(self._tasks, (when, next(self._numbers), task))

    def watch(self, key: str, on_notice: OnNotice, *, at_exit: Callable[[], object] | None = None) -> None:
        self._watchers[key] = on_notice
        if at_exit is not None:
            self._last_tasks[key] = at_exit
        self.store.listen(self.owner, on_notice)

    @property
    def next_at(self) -> float:
        """When the next task is due."""
        return math.inf if self.is_stopped or not self._tasks else self._tasks[0][0]

    def run_due(self) -> bool:
        """Run what is due, and pass on notices; return whether there was anything."""
        if self.is_stopped:
            return False
        due = 0
        while self._tasks and self._tasks[0][0] <= self._clock():
            heapq.heappop(self._tasks)[2]()
            due += 1
        keys = self.store.notices(self.owner)
        for key in keys:
            self._watchers[key](Notice(key, None))
        return bool(due or keys)

    def exit(self) -> None:
        """End as a process does that exits."""
        for task in self._last_tasks.values():
            task()
        self.is_stopped = True


class Member:
    """One process of a fleet. Its clock may differ from that of the store."""

    def __init__(
        self, limiter: SharedLimiter | CoordinatedLimiter, thread: ManualThread | None, skew: float = 0.0
    ) -> None:
        self.limiter = limiter
        self.thread = thread
        self.skew = skew

    def kill(self) -> None:
        """End as a process does that is killed."""
        assert self.thread is not None
        self.thread.is_stopped = True


class Fleet:
    """Processes that share a limit, their calls, and when those were granted."""

    def __init__(
        self,
        clock: Clock,
        limit: RateLimit,
        open_store: Callable[[Clock], DocumentStore] | None,
        shared: SharedStore,
    ) -> None:
        self.clock = clock
        self.granted: list[str] = []
        self.times: dict[str, float] = {}
        self.permits: dict[str, Permit] = {}
        self.members: list[Member] = []
        self.limit = limit
        self._shared = shared
        self._open_store = open_store
        self._tasks: Any = None

    def member(self, limit: RateLimit | None = None, *, skew: float = 0.0) -> Member:
        """Return another process; without a store, the same one. Its own clock may differ."""
        if self._open_store is None:
            if not self.members:
                self.members.append(Member(SharedLimiter(self.limit, clock=self.clock), None))
            return self.members[0]
        clock = self.clock if not skew else (lambda: self.clock() + skew)
        thread = ManualThread(self._shared, self._open_store(self.clock), f"p{len(self.members)}", clock)
        limiter = CoordinatedLimiter(thread, KEY, limit or self.limit, clock=clock)
        self.members.append(Member(limiter, thread, skew))
        return self.members[-1]

    async def call(
        self, name: str, member: Member, weight: int = 1, *, deadline: float | None = None, sent: bool = True
    ) -> None:
        """Let a call of a process wait, and be sent when it is granted."""
        permit = self.permits[name] = member.limiter.enqueue(weight)
        self._tasks.start_soon(self._wait, name, member, permit, deadline, sent)
        await anyio.wait_all_tasks_blocked()

    async def again(self, name: str, member: Member, *, sent: bool = True) -> None:
        """Let a call wait again, after a 429."""
        self._tasks.start_soon(self._wait, name, member, self.permits[name], None, sent)
        await anyio.wait_all_tasks_blocked()

    async def after(self, seconds: float = 0.0) -> list[str]:
        """Let time pass, and return the calls that were granted by then, in their order."""
        end = self.clock.now + seconds
        while True:
            while sum(member.thread.run_due() for member in self.members if member.thread):
                await self._wake()
            await self._wake()
            times = [member.thread.next_at - member.skew for member in self.members if member.thread]
            at = min([*times, *self._openings(), end])
            if at >= end and self.clock.now >= end:
                return self.granted
            self.clock.now = max(self.clock.now, at)

    def _openings(self) -> list[float]:
        """Return when calls may start next."""
        now, found = self.clock.now, list[float]()
        for member in self.members:
            if isinstance(member.limiter, SharedLimiter):
                found.append(member.limiter._grant_ready(now) or now)
            else:
                found += [
                    permit.opens_at - member.skew for permit in member.limiter._waiters if permit.granted
                ]
        return [at for at in found if at > now]

    async def _wake(self) -> None:
        for member in self.members:
            if isinstance(member.limiter, SharedLimiter):
                member.limiter.release(Permit(1, -1))
            else:
                is_away = member.limiter._replica.away_since is not None
                waiters = member.limiter._waiters.items()
                member.limiter._wake(
                    [
                        permit
                        for permit, waiter in waiters
                        if is_away
                        or permit.granted
                        or waiter.deadline is not None
                        or permit.patience is not None
                    ]
                )
        await anyio.wait_all_tasks_blocked()

    async def _wait(
        self, name: str, member: Member, permit: Permit, deadline: float | None, sent: bool
    ) -> None:
        try:
            await member.limiter.wait(permit, deadline=deadline)
        except (LimitWaitError, CoordinationError) as error:
            self.granted.append(f"{name}: {type(error).__name__}")
            member.limiter.release(permit)
            return
        self.granted.append(name)
        self.times[name] = self.clock.now
        if sent:
            member.limiter.sent(permit)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Fleet]:
        """Let calls wait while the block runs."""
        ours = patch("imagesdk._ratelimit.shared.Waiter", PatientWaiter)
        shared = patch("imagesdk._coordination.limiter.Waiter", PatientWaiter)
        with ours, shared:
            async with anyio.create_task_group() as self._tasks:
                try:
                    yield self
                finally:
                    self._tasks.cancel_scope.cancel()
                    for member in self.members:
                        if member.thread is not None:
                            member.thread.store.close()

    def accept(self, name: str, member: Member, tokens: int | None = None) -> None:
        """Let the server accept a call."""
        member.limiter.accepted(self.permits[name], ServerLimits(), tokens)

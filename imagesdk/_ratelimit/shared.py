"""The rate limit of one process: a window, the calls that wait for it on any loop or thread, and the registry.

Windows are shared by all clients of the process that ask the same server with the same key for the same model,
and outlive them, because the server's memory does too.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

import anyio
import anyio.lowlevel
from anyio.lowlevel import EventLoopToken

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.limiter import OnWait
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk._runtime.loops import call_soon, running_loop
from imagesdk.errors import LimitWaitError
from imagesdk.policies import DEFAULT_RATE_LIMIT, RateLimit
from imagesdk.remedies import Remedy

_logger = logging.getLogger("imagesdk")

_LONG_WAIT = 3.0
"""Seconds: a longer wait is worth telling of."""


class _Waiter:
    """A call that stands in line, and how to wake it on its own loop."""

    def __init__(self, deadline: float | None) -> None:
        self.loop = running_loop()
        self.event = anyio.Event()
        self.deadline = deadline
        self.wake_at: float | None = None
        """When it looks again by itself; ``None`` for never."""

    def wake(self) -> bool:
        """Have it look again; ``False`` where its loop has ended without it."""
        return call_soon(self.loop, self.event.set)


class SharedLimiter:
    """A rate window for the calls of one process."""

    def __init__(
        self, limit: RateLimit, *, adaptive: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window = SlidingWindow(limit, adaptive=adaptive)
        self._tokens_each: float | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._waiters: dict[EventLoopToken, dict[Permit, _Waiter]] = {}
        self._named = set[RateLimit]() if adaptive else {limit}
        self.used_at = clock()
        """When it was last asked for anything."""

    @property
    def limit(self) -> RateLimit:
        """The limit in force."""
        return self._window.limit

    @property
    def stated(self) -> RateLimit | None:
        """The limit that a client named; ``None`` while all of them left it open."""
        return self._window.stated

    def restrict(self, limit: RateLimit) -> None:
        """Keep to another limit, too, that a client of the account names."""
        with self._lock:
            if limit not in self._named:
                self._named.add(limit)
                self._window.restrict(limit)
                self._wake_all()

    def remember(self, weight: int, sent_at: float) -> None:
        """Count images that another process asked for, while they take room."""
        with self._lock:
            self._window.remember(weight, sent_at, self._clock())

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        """Stand in line for ``weight`` images: at its end, or at the place of a permit that has been released."""
        with self._lock:
            self.used_at = self._clock()
            self._check_fit(weight)
            return self._window.enqueue(weight, self._estimate(weight), rejoin=rejoin)

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when the request may be sent."""
        with self._lock:
            self._grant_ready(self._clock())
        await anyio.lowlevel.checkpoint()
        if not permit.granted:
            await self._wait(permit, deadline, on_wait)

    async def _wait(self, permit: Permit, deadline: float | None, on_wait: OnWait | None = None) -> None:
        waiter = _Waiter(deadline)
        with self._lock:
            self._waiters.setdefault(waiter.loop, {})[permit] = waiter
        told = on_wait is None
        try:
            while True:
                now = self._clock()
                with self._lock:
                    next_at = self._grant_ready(now)
                    if permit.granted:
                        return
                    self._check_fit(permit.weight)
                    leader = self._leader(waiter.loop)
                    leads = leader is waiter
                    if leader is not None and not leads and _is_sooner(next_at, leader.wake_at):
                        leader.wake_at = next_at  # one that has just come may go before the leader would look
                        leader.wake()
                    known = deadline is None and told and not leads
                    start = now if known else self._window.expected_start(permit, now)
                    place = self._window.position(permit)
                if deadline is not None and start >= deadline:
                    raise self._too_late(start - now)
                if on_wait is not None and start - now > _LONG_WAIT and not told:
                    told = True
                    on_wait(place, start - now, self._reason(now))
                wake_at = next_at if leads else None
                if deadline is not None:
                    wake_at = deadline if wake_at is None else min(wake_at, deadline)
                waiter.wake_at = wake_at
                with anyio.move_on_after(None if wake_at is None else max(0.0, wake_at - now)):
                    await waiter.event.wait()
                if waiter.event.is_set():
                    waiter.event = anyio.Event()
        finally:
            with self._lock:
                self._waiters.get(waiter.loop, {}).pop(permit, None)
                if heir := self._leader(waiter.loop):
                    heir.wake()
                else:
                    self._waiters.pop(waiter.loop, None)

    def sent(self, permit: Permit) -> None:
        """Note that the request has been written out whole."""
        with self._lock:
            self._window.sent(permit, self._clock())
            self._wake_leaders()

    def accepted(self, permit: Permit, said: ServerLimits, tokens: int | None) -> None:
        """Note that the server took the request, what it said of its limits, and the tokens it counted."""
        with self._lock:
            before = self._window.limit
            if tokens is not None:
                self._window.correct_tokens(permit, tokens)
                each = tokens / permit.weight
                known = self._tokens_each
                self._tokens_each = each if known is None else known + (each - known) / 8
            self._window.accepted(permit, said)
            self._tell_of_change(before)
            if before.tokens is not None:
                self._wake_leaders()  # it may have taken less than was thought

    def rejected(self, permit: Permit, said: ServerLimits) -> None:
        """Note that the server answered 429, and stand in line again at the old place."""
        with self._lock:
            before, pause = self._window.limit, self._window.pause_ends
            self._window.rejected(permit, self._clock(), said)
            self._tell_of_change(before)
            if self._window.pause_ends > pause:  # some may have no hope to meet their time-outs any more
                self._wake_all(lambda waiter: waiter.deadline is not None)
            self._wake_leaders()

    def release(self, permit: Permit) -> None:
        """Leave: the line, or the limit if the request was never sent."""
        with self._lock:
            self._window.cancel(permit)
            self._wake_leaders()

    def idle(self, now: float) -> bool:
        """Whether nobody waits and nothing takes room."""
        with self._lock:
            self._window.grant_ready(now)
            return self._window.idle

    def after_fork(self) -> None:
        """Start anew in a child process: the log stays true, those who wait are the parent's."""
        self._lock = threading.Lock()
        self._waiters.clear()
        self._window.inherit(self._clock())

    def _tell_of_change(self, before: RateLimit) -> None:
        if self._window.limit != before:
            _logger.info("the server allows %s, not %s: calls keep to that", self._window.limit, before)
            self._wake_all()

    def _reason(self, now: float) -> str:
        if self._window.pause_ends > now:
            return f"the end of a pause, because the server refused more (429), and then the limit of {self.limit}"
        return f"room in the rate limit of {self.limit}"

    def _estimate(self, weight: int) -> int:
        if self.limit.tokens is None:
            return 0
        each = self._tokens_each
        return round(weight * (self.limit.tokens / self.limit.images if each is None else each))

    def _grant_ready(self, now: float) -> float | None:
        while True:
            granted, next_at = self._window.grant_ready(now)
            if not sum(self._forsaken(permit) for permit in granted):
                return next_at

    def _forsaken(self, permit: Permit) -> bool:
        """Wake the call that may go. Where its loop has ended, its permit and those of its fellows are given up."""
        for loop, waiters in self._waiters.items():
            if permit in waiters:
                if waiters[permit].wake():
                    return False
                for fellow in self._waiters.pop(loop):
                    self._window.cancel(fellow)
                return True
        return False

    def _leader(self, loop: EventLoopToken) -> _Waiter | None:
        """The one waiter of a loop that keeps its timer: the first that still stands in line."""
        waiters = self._waiters.get(loop, {})
        return next((waiter for permit, waiter in waiters.items() if not permit.granted), None)

    def _wake_all(self, who: Callable[[_Waiter], bool] = lambda _: True) -> None:
        for waiters in self._waiters.values():
            for waiter in filter(who, waiters.values()):
                waiter.wake()

    def _wake_leaders(self) -> None:
        for loop in self._waiters:
            if leader := self._leader(loop):
                leader.wake()

    def _check_fit(self, weight: int) -> None:
        if not self._window.fits(weight):
            raise LimitWaitError(
                f"{weight} images in one request can never fit a rate limit of {self.limit}.",
                retry_after=None,
                remedies=(Remedy.ASK_FOR_FEWER, Remedy.SET_RATE_LIMIT),
            )

    def _too_late(self, seconds: float) -> LimitWaitError:
        return LimitWaitError(
            f"The rate limit of {self.limit} has no room for about {seconds:.1f} s, which is past the time-out of the call.",
            retry_after=seconds,
            remedies=(Remedy.RAISE_TIMEOUT, Remedy.SET_RATE_LIMIT),
        )


def _is_sooner(one: float | None, other: float | None) -> bool:
    return one is not None and (other is None or one < other)


_registries: WeakSet[LimiterRegistry] = WeakSet()
"""All that there are, for a fork."""


class LimiterRegistry:
    """The budgets of a process, or of one client, by server, account and model."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limiters: dict[tuple[str, ...], SharedLimiter] = {}
        self._told: set[tuple[tuple[str, ...], RateLimit]] = set()
        _registries.add(self)

    def get(self, key: tuple[str, ...], limit: RateLimit) -> SharedLimiter:
        """Return the limiter for ``key``; one that stands already keeps the lower of the two limits."""
        with self._lock:
            now = self._clock()
            for old in [k for k, b in self._limiters.items() if b.used_at + 2 * b.limit.per < now]:
                if self._limiters[old].idle(now):
                    del self._limiters[old]
            limiter = self._limiters.get(key)
            if limiter is None:
                adaptive = limit is DEFAULT_RATE_LIMIT
                limiter = self._limiters[key] = SharedLimiter(limit, adaptive=adaptive, clock=self._clock)
            elif limit is not DEFAULT_RATE_LIMIT and limiter.stated != limit:
                if limiter.stated is not None and (key, limit) not in self._told:
                    self._told |= {(key, limit), (key, limiter.stated)}
                    _logger.warning(
                        "two clients of one account name different rate limits (%s and %s): the lower one holds",
                        limiter.stated,
                        limit,
                    )
                limiter.restrict(limit)
            limiter.used_at = now
            return limiter

    def after_fork(self) -> None:
        """Start anew in a child process."""
        self._lock = threading.Lock()
        for limiter in self._limiters.values():
            limiter.after_fork()


PROCESS_LIMITERS = LimiterRegistry()
"""The budgets that all clients of the process share."""


def _after_fork() -> None:
    for registry in list(_registries):
        registry.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

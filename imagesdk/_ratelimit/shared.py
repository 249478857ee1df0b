"""Rate limit of one process: a sliding window, the calls that wait for it on any loop or thread, and the registry.

All clients of the process that use the same server, key and model share a window. A window outlives them, because the
server's memory does, too.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from weakref import WeakSet

import anyio
import anyio.lowlevel
from anyio.lowlevel import EventLoopToken

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.limiter import OnWait
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.refusals import Refusals
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk._runtime.loops import call_soon, running_loop
from imagesdk.errors import LimitWaitError
from imagesdk.policies import DEFAULT_RATE_LIMIT, RateLimit
from imagesdk.remedies import Remedy

_logger = logging.getLogger("imagesdk")

NOTABLE_WAIT_SECONDS = 3.0
"""Shortest wait that is reported."""
TOKENS_AVERAGE_WEIGHT = 1 / 8
"""Weight of the latest request in the average of tokens per image."""


class Waiter:
    """A call that waits for its permit, and wakes up on its own loop."""

    def __init__(self, permit: Permit, deadline: float | None, on_wait: OnWait | None) -> None:
        self.permit = permit
        self.deadline = deadline
        self.on_wait = on_wait
        """Still to be called; ``None`` afterwards."""
        self.loop = running_loop()
        self.wake_at: float | None = None
        """When the call wakes up by itself; ``None`` for never."""
        self._event = anyio.Event()

    async def sleep(self, wake_at: float | None, now: float) -> None:
        """Sleep until :meth:`wake`, ``wake_at`` or the deadline."""
        self.wake_at = min((at for at in (wake_at, self.deadline) if at is not None), default=None)
        with anyio.move_on_after(None if self.wake_at is None else max(0.0, self.wake_at - now)):
            await self._event.wait()
        if self._event.is_set():
            self._event = anyio.Event()

    def wake(self) -> bool:
        """End the sleep, from any thread; return ``False`` if the loop of the call has ended."""
        return call_soon(self.loop, self._event.set)


class SharedLimiter:
    """Sliding window for all calls of one process.

    On each event loop the call that has waited longest is the leader: only the leader sets a timer, anybody who changes
    the window wakes the leaders, and a call that stops waiting wakes the next leader.
    """

    def __init__(
        self, limit: RateLimit, *, adaptive: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window = SlidingWindow(limit, adaptive=adaptive)
        self._refusals = Refusals()
        self._tokens_per_image: float | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._waiters: dict[EventLoopToken, dict[Permit, Waiter]] = {}
        self._stated = set[RateLimit]() if adaptive else {limit}
        self.used_at = clock()
        """When the limiter was last used."""

    @property
    def limit(self) -> RateLimit:
        """The limit in force."""
        return self._window.limit

    @property
    def stated(self) -> RateLimit | None:
        """The limit that clients stated; ``None`` if all of them use the default."""
        return self._window.stated

    def restrict(self, limit: RateLimit) -> None:
        """Keep to the limit of another client of the account, too."""
        with self._lock:
            if limit not in self._stated:
                self._stated.add(limit)
                self._window.restrict(limit)
                self._wake_all()

    def remember(self, sendings: Iterable[tuple[int, float]]) -> None:
        """Count requests that another process sent, while they take capacity."""
        with self._lock:
            self._window.remember_all(sendings, self._clock())

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        """Join the queue for ``weight`` images, at its end or at the place of a released permit."""
        with self._lock:
            self.used_at = self._clock()
            self._check_fit(weight)
            return self._window.enqueue(weight, self._estimated_tokens(weight), rejoin=rejoin)

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when the request may be sent."""
        with self._lock:
            self._grant_ready(self._clock())
        await anyio.lowlevel.checkpoint()
        if not permit.granted:
            await self._wait(Waiter(permit, deadline, on_wait))

    async def _wait(self, waiter: Waiter) -> None:
        permit = waiter.permit
        with self._lock:
            self._waiters.setdefault(waiter.loop, {})[permit] = waiter
        try:
            while True:
                now = self._clock()
                with self._lock:
                    next_at = self._grant_ready(now)
                    if permit.granted:
                        return
                    self._check_fit(permit.weight)
                    gives_up_at = self._gives_up_at(permit)
                    if now >= gives_up_at:
                        raise self._refusals.error(now)
                    leads = self._leads(waiter, next_at)
                    report = self._due_report(waiter, now)
                if report is not None:
                    report()
                wake_at = min(gives_up_at, math.inf if next_at is None or not leads else next_at)
                await waiter.sleep(None if wake_at == math.inf else wake_at, now)
        finally:
            with self._lock:
                self._waiters.get(waiter.loop, {}).pop(permit, None)
                if heir := self._leader(waiter.loop):
                    heir.wake()
                else:
                    self._waiters.pop(waiter.loop, None)

    def sent(self, permit: Permit) -> None:
        """Note that the request was written to the connection as a whole."""
        with self._lock:
            self._window.sent(permit, self._clock())
            self._wake_leaders()

    def accepted(self, permit: Permit, stated: ServerLimits, tokens: int | None) -> None:
        """Note that the server accepted the request, with the limits it stated and the tokens it counted."""
        with self._lock:
            self._refusals.clear()
            before = self._window.limit
            if tokens is not None:
                self._window.correct_tokens(permit, tokens)
                latest, average = tokens / permit.weight, self._tokens_per_image
                change = 0.0 if average is None else (latest - average) * TOKENS_AVERAGE_WEIGHT
                self._tokens_per_image = latest if average is None else average + change
            self._window.accepted(permit, stated)
            self._report_change(before)
            if before.tokens is not None:
                self._wake_leaders()  # the request may have taken fewer tokens than estimated

    def answered(self, permit: Permit, stated: ServerLimits, *, uncounted: bool) -> None:
        """Note that the server refused the request, though not for its limit, and whether it is known not to count it."""
        with self._lock:
            self._refusals.clear()
            self._window.answered(permit, stated, uncounted=uncounted)
            self._wake_leaders()

    def rejected(self, permit: Permit, stated: ServerLimits) -> None:
        """Note that the server answered 429, and return the permit to its place in the queue."""
        with self._lock:
            before, pause_ends, now = self._window.limit, self._window.pacer.pause_ends, self._clock()
            sent_at = now if permit.sent_at is None else permit.sent_at
            self._window.rejected(permit, now, stated)
            if self._refusals.add(
                sent_at, now, asked_until=pause_ends, per=before.per, message=stated.message
            ):
                seconds, count = self._refusals.lasted(now), self._refusals.count
                _logger.warning(
                    "the server has answered nothing but 429 for %.0f s (%d times)", seconds, count
                )
            self._report_change(before)
            if self._window.pacer.pause_ends > pause_ends:  # some deadlines may be out of reach now
                self._wake_all(
                    lambda each: each.deadline is not None or now >= self._gives_up_at(each.permit)
                )
            self._wake_leaders()

    def release(self, permit: Permit) -> None:
        """Give up the place in the queue, or a granted permit whose request was not sent."""
        with self._lock:
            self._window.cancel(permit)
            self._wake_leaders()

    def idle(self, now: float) -> bool:
        """Return whether no call waits and no request takes capacity."""
        with self._lock:
            self._window.grant_ready(now)
            return self._window.idle

    def after_fork(self) -> None:
        """Start anew in a child process: the log is kept, the waiting calls are the parent's."""
        self._lock = threading.Lock()
        self._waiters.clear()
        self._window.inherit(self._clock())

    def _gives_up_at(self, permit: Permit) -> float:
        return self._refusals.ends_at(permit.patience, self.limit.per)

    def _due_report(self, waiter: Waiter, now: float) -> Callable[[], None] | None:
        """Return what reports a notable wait, if that is due. Raise ``LimitWaitError`` if the deadline is too early."""
        if waiter.deadline is None and waiter.on_wait is None:
            return None
        start = self._window.expected_start(waiter.permit, now)
        if waiter.deadline is not None and start >= waiter.deadline:
            raise LimitWaitError(
                f"The rate limit of {self.limit} has no room for about {start - now:.1f} s, "
                "which is past the time-out of the call.",
                retry_after=start - now,
                remedies=(Remedy.RAISE_TIMEOUT, Remedy.SET_RATE_LIMIT),
            )
        if waiter.on_wait is None or start - now <= NOTABLE_WAIT_SECONDS:
            return None
        on_wait, waiter.on_wait = waiter.on_wait, None
        position = self._window.queue.position(waiter.permit)[0]
        reason = f"room in the rate limit of {self.limit}"
        if self._window.pacer.pause_ends > now:
            reason = f"the end of a pause, because the server refused more (429), and then the limit of {self.limit}"
        return lambda: on_wait(position, start - now, reason)

    def _report_change(self, before: RateLimit) -> None:
        if self._window.limit != before:
            _logger.info("the server allows %s, not %s: calls keep to that", self._window.limit, before)
            self._wake_all()

    def _estimated_tokens(self, weight: int) -> int:
        if self.limit.tokens is None:
            return 0
        average = self._tokens_per_image
        return round(weight * (self.limit.tokens / self.limit.images if average is None else average))

    def _grant_ready(self, now: float) -> float | None:
        """Grant all permits that may be granted, wake their calls, and return when to ask again."""
        while True:
            granted, next_at = self._window.grant_ready(now)
            if not sum(self._is_orphaned(permit) for permit in granted):
                return next_at

    def _is_orphaned(self, permit: Permit) -> bool:
        """Wake the call of a granted permit; if its loop has ended, give up all permits of the loop."""
        for loop, waiters in self._waiters.items():
            if permit in waiters:
                if waiters[permit].wake():
                    return False
                for orphan in self._waiters.pop(loop):
                    self._window.cancel(orphan)
                return True
        return False

    def _leader(self, loop: EventLoopToken) -> Waiter | None:
        waiters = self._waiters.get(loop, {})
        return next((waiter for permit, waiter in waiters.items() if not permit.granted), None)

    def _leads(self, waiter: Waiter, next_at: float | None) -> bool:
        """Return whether ``waiter`` is its loop's leader; wake a leader that would wake up after ``next_at``."""
        leader = self._leader(waiter.loop)
        if leader is None or leader is waiter:
            return leader is waiter
        if next_at is not None and (leader.wake_at is None or next_at < leader.wake_at):
            leader.wake_at = next_at
            leader.wake()
        return False

    def _wake_all(self, which: Callable[[Waiter], bool] = lambda _: True) -> None:
        for waiters in self._waiters.values():
            for waiter in filter(which, waiters.values()):
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


_registries: WeakSet[LimiterRegistry] = WeakSet()
"""All registries of the process, for a fork."""


_INSPECTED = 4
"""Limiters that each call looks at: more than the one that it may add."""


class LimiterRegistry:
    """Limiters of a process, or of one client, by server, account and model."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limiters = OrderedDict[tuple[str, ...], SharedLimiter]()
        self._warned: set[tuple[tuple[str, ...], RateLimit]] = set()
        _registries.add(self)

    def get(self, key: tuple[str, ...], limit: RateLimit) -> SharedLimiter:
        """Return the limiter for ``key``; an existing one keeps to the lower of the two limits.

        Each call looks at a few other limiters and drops the idle ones, so that its time does not depend on their number.
        """
        with self._lock:
            now = self._clock()
            self._drop_idle(now)
            limiter = self._limiters.get(key)
            if limiter is None:
                adaptive = limit is DEFAULT_RATE_LIMIT
                limiter = self._limiters[key] = SharedLimiter(limit, adaptive=adaptive, clock=self._clock)
            elif limit is not DEFAULT_RATE_LIMIT and limiter.stated != limit:
                if limiter.stated is not None and (key, limit) not in self._warned:
                    self._warned |= {(key, limit), (key, limiter.stated)}
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

    def _drop_idle(self, now: float) -> None:
        for key in [*islice(self._limiters, _INSPECTED)]:
            limiter = self._limiters[key]
            if limiter.used_at + 2 * limiter.limit.per < now and limiter.idle(now):
                del self._limiters[key]
            else:
                self._limiters.move_to_end(key)  # the others are next


PROCESS_LIMITERS = LimiterRegistry()
"""Limiters that all clients of the process share."""


def _after_fork() -> None:
    for registry in list(_registries):
        registry.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""Limiter of calls whose limit many processes share, on any event loop or thread of this one.

The calls only read and change what is in memory. A :class:`~imagesdk._coordination.replica.Replica` writes it to the
store and wakes the calls.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import anyio.lowlevel

from imagesdk._coordination.local_permits import Apply, LocalPermit, LocalPermits, Scene
from imagesdk._coordination.replica import Replica
from imagesdk._coordination.shared_window import LEASE_SECONDS, SharedWindow
from imagesdk._coordination.store_thread import PROCESS_THREADS, StoreThread
from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.limiter import OnWait
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.shared import NOTABLE_WAIT_SECONDS, Waiter
from imagesdk.errors import CoordinationError, LimitWaitError
from imagesdk.policies import DEFAULT_RATE_LIMIT, RateLimit, SharedStore
from imagesdk.remedies import Remedy

_logger = logging.getLogger("imagesdk")

FIRST_CONTACT_SECONDS = 10.0
"""How long calls wait for a store that was never reached."""
LAZY_SECONDS = 1.0
"""How long a change may be kept back that nobody waits for."""
LAZY_WINDOWS = 1 / 10, 1 / 5
"""The same in windows, for few processes and for many."""
LAZY_SECONDS_OF_OWNER = 0.02
"""How much longer it is for each process."""
STALE_SECONDS = LEASE_SECONDS / 2
"""Age of a grant from which it is returned: others may take this process for dead soon."""


class CoordinatedLimiter:
    """Sliding window for all calls of all processes that use a store."""

    def __init__(
        self, thread: StoreThread, key: str, limit: RateLimit, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._name = thread.shared.name
        self._permits = LocalPermits(limit)
        self._waiters: dict[LocalPermit, Waiter] = {}
        self._replica = Replica(thread, key, self._permits, self._wake, clock=clock)
        self.used_at = clock()
        """When the limiter was last used."""
        if limit is not DEFAULT_RATE_LIMIT:
            self._permits.limits.append(limit)

    @property
    def limit(self) -> RateLimit:
        """The limit in force, as far as this process knows."""
        return self._permits.limit

    def restrict(self, limit: RateLimit) -> None:
        """Keep to the limit of another client of the account, too."""
        with self._permits.lock:
            limits = self._permits.limits
            if limit is DEFAULT_RATE_LIMIT or limit in limits:
                return
            if limits:
                _logger.warning(
                    "two clients of one account name different rate limits (%s and %s): the lower one holds",
                    limits[-1],
                    limit,
                )
            limits.append(limit)

    def remember(self, sendings: Iterable[tuple[int, float]]) -> None:
        """Do nothing: the store knows what other processes have sent."""

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        """Join the queue for ``weight`` images, at its end or at the place of a released permit."""
        with self._permits.lock:
            now = self.used_at = self._clock()
            self._check_fit(weight)
            permit = self._permits.add(weight, now, rejoin)
        self._replica.step_by(now)
        return permit

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when the request may be sent.

        Raises:
            CoordinationError: If the store cannot be used, or is away for longer than the call can wait.
        """
        assert isinstance(permit, LocalPermit)  # noqa: S101 - all permits of this limiter are
        waiter = Waiter(permit, deadline, on_wait)
        with self._permits.lock:
            self._waiters[permit] = waiter
            permit.wants_estimate = deadline is not None or on_wait is not None
        await anyio.lowlevel.checkpoint()
        try:
            while True:
                now = self._clock()
                report = None
                with self._permits.lock:
                    if permit.granted and now - permit.opens_at > STALE_SECONDS:
                        self._permits.return_to_queue(permit, now)
                        self._replica.step_by(now)
                    if permit.granted:
                        if now >= permit.opens_at:
                            return
                        wake_at, waiter.deadline = permit.opens_at, None
                    else:
                        wake_at = self._ends_at(waiter, now)
                        report = self._due_report(waiter, now)
                if report is not None:
                    report()
                await waiter.sleep(None if wake_at == math.inf else wake_at, now)
        finally:
            with self._permits.lock:
                self._waiters.pop(permit, None)

    def sent(self, permit: Permit) -> None:
        """Note that the request was written to the connection as a whole."""
        assert isinstance(permit, LocalPermit)  # noqa: S101
        with self._permits.lock:
            if not permit.granted or permit.sent_at is not None:
                return
            number, at = permit.number, self._clock()
            permit.sent_at = at
            self._change(
                permit,
                lambda shared, scene: shared.sent(
                    scene.me, number, scene.clock.latest(at), scene.standing.now
                ),
                lazily=True,
            )

    def accepted(self, permit: Permit, stated: ServerLimits, tokens: int | None) -> None:
        """Note that the server accepted the request, with the limits it stated and the tokens it counted."""
        assert isinstance(permit, LocalPermit)  # noqa: S101
        number = permit.number
        with self._permits.lock:
            self._change(
                permit,
                lambda shared, scene: shared.accepted(scene.me, number, stated, tokens),
                lazily=True,
            )

    def answered(self, permit: Permit, stated: ServerLimits, *, uncounted: bool) -> None:
        """Note that the server refused the request, though not for its limit, and whether it is known not to count it."""
        assert isinstance(permit, LocalPermit)  # noqa: S101
        number = permit.number
        with self._permits.lock:
            self._change(
                permit, lambda shared, scene: shared.answered(scene.me, number, stated, uncounted=uncounted)
            )

    def rejected(self, permit: Permit, stated: ServerLimits) -> None:
        """Note that the server answered 429, and return the permit to its place in the queue."""
        assert isinstance(permit, LocalPermit)  # noqa: S101
        with self._permits.lock:
            number, weight, turn = permit.number, permit.weight, permit.turn or 0.0
            at, sent_at = self._clock(), permit.sent_at
            permit.waiting, permit.granted, permit.sent_at = True, False, None
            self._permits.held[number] = permit
            name = self._name

            def apply(shared: SharedWindow, scene: Scene) -> None:
                sent = None if sent_at is None else scene.clock.latest(sent_at)
                now = scene.clock.latest(at)
                if shared.rejected(scene.me, number, turn, weight, sent, now, stated):
                    seconds, count = shared.refusals.lasted(now), shared.refusals.count
                    _logger.warning(
                        "the server has answered nothing but 429 for %.0f s (%d times, in all processes at %s)",
                        seconds,
                        count,
                        name,
                    )

            self._change(permit, apply)

    def release(self, permit: Permit) -> None:
        """Give up the place in the queue, or a granted permit whose request was not sent."""
        assert isinstance(permit, LocalPermit)  # noqa: S101
        with self._permits.lock:
            if permit.waiting or (permit.granted and permit.sent_at is None):
                now = self._clock()
                self._permits.cancel(permit, now)
                self._replica.step_by(now)

    def is_over(self, now: float) -> bool:
        """Return whether the limiter was not used for two windows, and nothing of it takes capacity."""
        with self._permits.lock:
            return self.used_at + 2 * self.limit.per < now and self._permits.is_idle

    def close(self) -> None:
        """Forget the document."""
        self._replica.close()

    def _change(self, permit: LocalPermit, apply: Apply, *, lazily: bool = False) -> None:
        now = self._clock()
        delay = 0.0
        if lazily:
            few, most = (self.limit.per * part for part in LAZY_WINDOWS)
            delay = min(LAZY_SECONDS, max(few, min(most, LAZY_SECONDS_OF_OWNER * self._replica.owners)))
            delay *= random.uniform(0.5, 1.0)  # noqa: S311 - so that processes do not write at one time
        self._permits.change(permit, now + delay, apply)
        self._replica.step_by(now + delay)

    def _ends_at(self, waiter: Waiter, now: float) -> float:
        """Return when a call stops waiting at the latest, or raise why it does now."""
        permit, permits, replica = waiter.permit, self._permits, self._replica
        assert isinstance(permit, LocalPermit)  # noqa: S101
        if permit.error is not None:
            raise CoordinationError(permit.error.summary) from permit.error
        self._check_fit(permit.weight)
        if replica.away_since is None or replica.was_reached:
            refused_until = permits.refusals.ends_at(permit.patience, self.limit.per)
            ends_at = permits.clock.local(refused_until) if permits.clock.is_known else math.inf
            if now >= ends_at:
                raise permits.refusals.error(permits.clock.earliest(now))
        else:
            ends_at = math.inf
        if replica.away_since is None:
            return ends_at
        patience = math.inf if permit.patience is None else permit.patience
        lost_at = replica.away_since + (patience if replica.was_reached else FIRST_CONTACT_SECONDS)
        if now >= min(lost_at, math.inf if waiter.deadline is None else waiter.deadline):
            raise CoordinationError(
                f"The shared store {self._name} has not answered for {now - replica.away_since:.0f} s: {replica.reason}."
            )
        return min(ends_at, lost_at)

    def _due_report(self, waiter: Waiter, now: float) -> Callable[[], None] | None:
        """Return what reports a notable wait, if that is due. Raise ``LimitWaitError`` if the deadline is too early."""
        permit = waiter.permit
        assert isinstance(permit, LocalPermit)  # noqa: S101
        start = permit.expected_at
        if waiter.deadline is not None and (now >= waiter.deadline or (start or 0.0) >= waiter.deadline):
            start = max(now, start or 0.0)
            raise LimitWaitError(
                f"The rate limit of {self.limit} has no room for about {start - now:.1f} s, "
                "which is past the time-out of the call.",
                retry_after=start - now,
                remedies=(Remedy.RAISE_TIMEOUT, Remedy.SET_RATE_LIMIT),
            )
        if start is None or waiter.on_wait is None or start - now <= NOTABLE_WAIT_SECONDS:
            return None
        on_wait, waiter.on_wait = waiter.on_wait, None
        permit.wants_estimate = waiter.deadline is not None
        reason = f"room in the shared rate limit of {self.limit}"
        if self._permits.pause_ends > now:
            reason = f"the end of a pause, because the server refused more (429), and then the limit of {self.limit}"
        return lambda: on_wait(permit.position, start - now, reason)

    def _wake(self, permits: Iterable[LocalPermit] | None) -> None:
        """Wake the calls of permits, or all; give up the permits of loops that have ended."""
        with self._permits.lock:
            chosen = (
                list(self._waiters)
                if permits is None
                else [each for each in permits if each in self._waiters]
            )
            orphans = [permit for permit in chosen if not self._waiters[permit].wake()]
        for permit in orphans:
            self._waiters.pop(permit, None)
            self.release(permit)

    def _check_fit(self, weight: int) -> None:
        if weight > self._permits.largest_possible:
            raise LimitWaitError(
                f"{weight} images in one request can never fit a rate limit of {self.limit}.",
                retry_after=None,
                remedies=(Remedy.ASK_FOR_FEWER, Remedy.SET_RATE_LIMIT),
            )


_INSPECTED = 4
"""Limiters that each call looks at: more than the one that it may add."""


class CoordinatedLimiters:
    """Limiters of a process whose limits others share, by store, server, account and model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limiters = OrderedDict[tuple[SharedStore, str], CoordinatedLimiter]()

    def get(self, shared: SharedStore, account: tuple[str, ...], limit: RateLimit) -> CoordinatedLimiter:
        """Return the limiter of an account.

        Raises:
            ConfigurationError: If the URL of the store cannot be used.
        """
        key, now = document_key(account), time.monotonic()
        with self._lock:
            for place in [*islice(self._limiters, _INSPECTED)]:
                if self._limiters[place].is_over(now):
                    self._limiters.pop(place).close()
                else:
                    self._limiters.move_to_end(place)  # the others are next
            limiter = self._limiters.get((shared, key))
            if limiter is None:
                thread = PROCESS_THREADS.get(shared)
                limiter = self._limiters[shared, key] = CoordinatedLimiter(thread, key, limit)
            else:
                limiter.restrict(limit)
            limiter.used_at = now
            return limiter

    def after_fork(self) -> None:
        """Start anew in a child process."""
        self._lock = threading.Lock()
        self._limiters = OrderedDict[tuple[SharedStore, str], CoordinatedLimiter]()


def document_key(account: tuple[str, ...]) -> str:
    """Return the key of an account's document: a hash, from which neither server nor key can be computed."""
    return "limit-" + hashlib.sha256("\0".join(account).encode()).hexdigest()[:32]


PROCESS_LIMITERS: Final = CoordinatedLimiters()
"""Limiters that all clients of the process share."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS_LIMITERS.after_fork)

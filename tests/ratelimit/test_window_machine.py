"""The sliding window under any order of events, and the invariants that hold all the same."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from imagesdk._protocol.server_limits import LimitUnit, ServerLimit, ServerLimits
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk.policies import RateLimit
from tests.ratelimit.windows import AGED, starts, window

TINY = 1e-6
anywhere = st.integers(0, 99)
waiting_times = st.lists(
    st.floats(0.001, 3) | st.sampled_from([0.0, -5.0, 3600.0, math.inf, math.nan]), max_size=2
)
limits = st.dictionaries(
    st.sampled_from(["images", "requests", "tokens"]),
    st.tuples(st.integers(0, 12), st.sampled_from([None, 0.5, 1, 60])),
    max_size=2,
)
Found: TypeAlias = dict[LimitUnit, tuple[int, float | None]]


class AnyOrder(RuleBasedStateMachine):
    """Requests that are enqueued, sent, rejected, accepted and cancelled in any order, with any limits of the server."""

    @initialize(
        images=st.integers(1, 8),
        per=st.sampled_from([60.0, 1.0, 0.3]),
        requests=st.none() | st.integers(1, 4),
        tokens=st.none() | st.integers(1, 10),
        adaptive=st.booleans(),
    )
    def begin(
        self, images: int, per: float, requests: int | None, tokens: int | None, adaptive: bool
    ) -> None:
        self.stated = RateLimit(images, per, requests, tokens)
        self.window = SlidingWindow(self.stated, adaptive=adaptive)
        self.adaptive = adaptive
        self.keeps_stated = not adaptive
        """Until a shorter window was learned: requests granted before are sent into it."""
        self.now = 1000.0
        self.queue: list[Permit] = []
        self.granted: list[Permit] = []
        self.in_flight: list[Permit] = []
        """Sent, without a response."""
        self.log: dict[Permit, float] = {}
        """When each request that counts was sent."""
        self.history: list[tuple[Permit, float]] = []
        """All requests that were sent and not rejected."""
        self.heaviest = 1
        self.longest = self.window.log.window_seconds
        self.next_at: float | None = None

    def grant_ready(self) -> list[Permit]:
        self.longest = max(self.longest, self.window.log.window_seconds)
        before = copy.deepcopy((self.window, self.queue)) if len(self.queue) > 1 else None
        granted, self.next_at = self.window.grant_ready(self.now)
        self.log = {
            t: sent for t, sent in self.log.items() if sent + self.window.log.window_seconds > self.now
        }
        assert len(granted) <= 1, "there is a gap between any two"
        for permit in granted:
            passed = permit is not self.queue[0]
            self.queue.remove(permit)
            self.granted.append(permit)
            self.check_room(permit)
            if passed and before is not None:
                self.check_backfill(*before)
        return granted

    def check_backfill(self, window_before: SlidingWindow, queue_before: list[Permit]) -> None:
        """A permit that overtakes the head does not delay it, and the head could not have been granted."""
        then = self.head_start(window_before, queue_before)
        assert self.now < then < math.inf
        assert self.head_start(*copy.deepcopy((self.window, self.queue))) <= then + TINY

    def head_start(self, rate_window: SlidingWindow, queue: list[Permit]) -> float:
        """When the head is granted if no other permit is, and no request is sent or cancelled."""
        head, *others = [permit for permit in queue if permit.waiting]
        for permit in others:
            rate_window.cancel(permit)
        now = self.now
        while True:
            granted, next_at = rate_window.grant_ready(now)
            if head in granted:
                return now
            if next_at is None:
                return math.inf
            now = next_at

    def check_room(self, permit: Permit) -> None:
        """What was granted has room beside all that counts in the server's window."""
        limit = self.window.limit
        beyond = self.heaviest - 1 if self.window.pacer.pace else 0
        live = [*self.granted, *(t for t, sent in self.log.items() if sent > self.now - limit.per)]
        assert images_of(live) <= limit.images + beyond
        assert limit.requests is None or len(live) <= limit.requests
        if limit.tokens is not None:
            others = sum(t.tokens for t in live if t is not permit)
            assert others + min(permit.tokens, limit.tokens) <= limit.tokens
        if self.keeps_stated:
            since = self.now - self.stated.per
            recent = [*self.granted, *(t for t, sent in self.history if sent > since)]
            assert images_of(recent) <= self.stated.images + beyond, "more than was stated"

    def cancel_what_never_fits(self) -> None:
        """Cancel permits that can never fit, as their calls do."""
        self.keeps_stated = self.keeps_stated and self.window.limit.per >= self.stated.per
        for permit in [t for t in self.queue if not self.window.fits(t.weight)]:
            self.window.cancel(permit)
            self.queue.remove(permit)
        self.grant_ready()

    def stated_limits(self, waits: list[float], found: Found, explicit: bool) -> ServerLimits:
        per = self.stated.per
        return ServerLimits(
            waits=tuple(per * seconds for seconds in waits),
            limits={what: ServerLimit(n, scale and scale * per) for what, (n, scale) in found.items()},
            explicit=explicit,
        )

    @rule(shares=st.lists(st.floats(0, 1), min_size=1, max_size=8), tokens=st.integers(0, 12))
    def enqueue(self, shares: list[float], tokens: int) -> None:
        for share in shares:
            most = max(n for n in range(1, self.window.limit.images + 1) if self.window.fits(n))
            weight = 1 + round(share * (most - 1))
            self.heaviest = max(self.heaviest, weight)
            self.queue.append(self.window.enqueue(weight, tokens))
            self.grant_ready()

    @rule(share=st.floats(0, 2))
    def pass_time(self, share: float) -> None:
        self.now += share * self.stated.per
        self.grant_ready()

    def wake_up(self) -> None:
        """At the time to ask again a permit is granted, or there is a later time."""
        named = self.now = max(self.now, self.next_at or 0.0)
        went = self.grant_ready()
        assert went or self.next_at is None or self.next_at > named

    @precondition(lambda self: self.granted)
    @rule(at=anywhere)
    def send(self, at: int) -> None:
        permit = self.granted.pop(at % len(self.granted))
        self.window.sent(permit, self.now)
        self.window.sent(permit, self.now + 5.0)
        self.log[permit] = self.now
        self.history.append((permit, self.now))
        self.in_flight.append(permit)
        self.grant_ready()

    @rule(steps=st.integers(1, 12))
    def run_undisturbed(self, steps: int) -> None:
        for _ in range(steps):
            while self.granted:
                self.send(0)
            if self.next_at is None:
                break
            self.wake_up()

    @precondition(lambda self: self.queue or self.granted or self.in_flight)
    @rule(at=anywhere)
    def cancel(self, at: int) -> None:
        everybody = [*self.queue, *self.granted, *self.in_flight]
        permit = everybody[at % len(everybody)]
        for some in (self.queue, self.granted, self.in_flight):
            if permit in some:
                some.remove(permit)
        self.window.cancel(permit)
        self.window.cancel(permit)
        self.grant_ready()

    @precondition(lambda self: self.in_flight)
    @rule(at=anywhere, waits=waiting_times, found=limits, explicit=st.booleans())
    def reject(self, at: int, waits: list[float], found: Found, explicit: bool) -> None:
        permit = self.in_flight.pop(at % len(self.in_flight))
        self.log.pop(permit, None)
        self.history = [(t, sent) for t, sent in self.history if t is not permit]
        self.window.rejected(permit, self.now, self.stated_limits(waits, found, explicit))
        self.queue = sorted([*self.queue, permit], key=lambda waiting: waiting.number)
        self.cancel_what_never_fits()

    @precondition(lambda self: self.in_flight)
    @rule(at=anywhere, tokens=st.integers(0, 12), found=limits, explicit=st.booleans())
    def accept(self, at: int, tokens: int, found: Found, explicit: bool) -> None:
        permit = self.in_flight.pop(at % len(self.in_flight))
        self.window.correct_tokens(permit, tokens)
        assert permit not in self.log or permit.tokens == tokens
        self.window.accepted(permit, self.stated_limits([], found, explicit))
        self.cancel_what_never_fits()

    @invariant()
    def permits_wait_without_a_time_only_while_a_grant_is_unsent(self) -> None:
        assert not self.queue or self.granted or self.next_at is not None
        if self.next_at is not None:
            assert self.queue
            assert self.now < self.next_at <= self.now + 9 * self.longest

    @invariant()
    def a_limit_that_is_stated_is_never_exceeded(self) -> None:
        limit = self.window.limit
        if not self.adaptive:
            assert limit.images / limit.per <= self.stated.images / self.stated.per * (1 + TINY)
        for ours, most in ((limit.requests, self.stated.requests), (limit.tokens, self.stated.tokens)):
            assert most is None or (ours is not None and ours <= most)

    def teardown(self) -> None:
        if hasattr(self, "window"):
            self.nothing_leaks_if_everything_is_cancelled()
            self.all_are_granted_if_nothing_else_happens()

    def nothing_leaks_if_everything_is_cancelled(self) -> None:
        """Unsent requests free their capacity at once, and sent ones when they have aged."""
        other, everybody = copy.deepcopy((self.window, [*self.queue, *self.granted]))
        for permit in everybody:
            other.cancel(permit)
        assert other.grant_ready(self.now) == ([], None)
        assert other.idle or any(sent + self.longest > self.now for _, sent in self.history)
        assert other.grant_ready(self.now + self.longest) == ([], None)
        assert other.idle

    def all_are_granted_if_nothing_else_happens(self) -> None:
        """If everything is sent at once, all permits are granted, and not much later than necessary."""
        for permit in self.granted:
            self.window.sent(permit, self.now)
        limit, count = self.window.limit, len(self.queue)
        windows = (
            2 + 2 * images_of(self.queue) / limit.images
        )  # a large one may leave half of a window unused
        if self.window.pacer.pace:
            windows *= 8
        if limit.requests is not None:
            windows += count / limit.requests
        if limit.tokens is not None:
            windows += count
        latest = self.now + 9 * self.longest + windows * self.window.log.window_seconds
        went = starts(self.window, self.now, latest)
        assert sorted(permit.number for permit, _ in went) == [permit.number for permit in self.queue]
        self.window.grant_ready(latest + self.longest)
        assert self.window.idle


def images_of(permits: Iterable[Permit]) -> int:
    return sum(permit.weight for permit in permits)


def test_any_order_of_events_keeps_the_limit_and_forgets_nobody() -> None:
    terms = settings(max_examples=60, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(AnyOrder, settings=terms)


@settings(max_examples=40, deadline=None)
@given(images=st.integers(1, 20), before=st.integers(0, 30), count=st.integers(1, 60))
def test_single_images_start_when_expected(images: int, before: int, count: int) -> None:
    w = window(images)
    for _ in range(before):
        w.enqueue(1)
    now = 17.0
    starts(w, now, now + AGED - 1)
    permits = [w.enqueue(1) for _ in range(count)]
    expected = [w.expected_start(permit, now + 20) for permit in permits]

    actual = [at for permit, at in starts(w, now + 20, math.inf) if permit in permits]

    assert expected == sorted(expected)
    for at, (estimate, started) in enumerate(zip(expected, actual, strict=True)):
        assert estimate - TINY <= started <= estimate + (before + at + 1) * w.pacer.gap + TINY


@settings(max_examples=40, deadline=None)
@given(images=st.integers(4, 12), weights=st.lists(st.integers(1, 4), min_size=1, max_size=40))
def test_all_requests_are_granted_within_the_windows_that_their_images_need(
    images: int, weights: list[int]
) -> None:
    w = window(images)
    permits = [w.enqueue(weight) for weight in weights]

    went = starts(w, 0.0, math.inf)

    assert sorted(permit.number for permit, _ in went) == [permit.number for permit in permits]
    fewest = math.ceil(sum(weights) / (images - max(weights) + 1))
    assert max(at for _, at in went) <= (fewest - 1) * AGED + len(weights) * w.pacer.gap

"""Limits that a window learns from responses, and from callers who state other limits."""

from __future__ import annotations

from typing import Any

import pytest

from imagesdk._protocol.server_limits import NO_SERVER_LIMITS, ServerLimit, ServerLimits
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk.policies import RateLimit
from tests.ratelimit.windows import grants, names, sent_now, starts, window

MINUTE = 60.0
HOUR = 3600.0


def limit_of(rate_window: SlidingWindow) -> tuple[int, float]:
    return rate_window.limit.images, rate_window.limit.per


def succeed(rate_window: SlidingWindow, now: float, stated: ServerLimits) -> None:
    rate_window.accepted(sent_now(rate_window, now), stated)


def reject(rate_window: SlidingWindow, now: float, stated: ServerLimits) -> None:
    """Send a request, have it rejected, and cancel it."""
    permit = sent_now(rate_window, now)
    rate_window.rejected(permit, now, stated)
    rate_window.cancel(permit)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("explicit", [False, True])
def test_a_lower_limit_in_a_429_is_adopted(explicit: bool, adaptive: bool) -> None:
    w = window(50, adaptive=adaptive)
    reject(w, 0.0, names(20, MINUTE, explicit=explicit))
    assert limit_of(w) == (20, MINUTE)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_lower_limit_in_a_success_is_adopted_if_it_is_explicitly_one_of_images(adaptive: bool) -> None:
    w = window(50, adaptive=adaptive)
    succeed(w, 0.0, names(30, explicit=False))
    assert limit_of(w) == (50, MINUTE)
    succeed(w, 1.0, names(20))
    assert limit_of(w) == (20, MINUTE)


def test_a_lower_limit_counts_what_was_sent_before() -> None:
    w = window(50)
    for at in range(6):
        sent_now(w, float(at))
    reject(w, 6.0, names(5, MINUTE))
    permit = w.enqueue(1)
    second_ends = 1.0 + w.log.window_seconds  # it makes room: 4 are left
    assert [at for _, at in starts(w, 7.0, 100.0)] == [second_ends]
    assert permit.granted


def test_a_lower_limit_may_have_a_shorter_window() -> None:
    w = window(50)
    reject(w, 0.0, names(5, 10.0))
    assert limit_of(w) == (5, 10.0)
    first, *others = [w.enqueue(1) for _ in range(6)]
    times = dict(starts(w, 100.0, 130.0))
    assert times[others[-1]] == times[first] + w.log.window_seconds
    assert 10 < w.log.window_seconds < 10.2


def test_a_lower_limit_may_have_a_longer_window() -> None:
    w = window(50)
    permits = [w.enqueue(1) for _ in range(40)]
    went = starts(w, 0.0, 2.0)
    assert [permit for permit, _ in went] == permits
    w.rejected(permits[-1], 2.0, names(20, HOUR))
    assert limit_of(w) == (20, HOUR)
    nth_of_those_sent = dict(went)[permits[19]]  # 39 count; 20 of them must have aged
    [(permit, at)] = starts(w, 2.0, nth_of_those_sent + 1.01 * HOUR)
    assert permit is permits[-1]
    assert at == pytest.approx(nth_of_those_sent + w.log.window_seconds)


def test_a_lower_limit_with_a_longer_window_applies_beside_the_shorter_one() -> None:
    w = window(5, 1.0)
    reject(w, 0.0, names(50, MINUTE, wait=30.0))
    assert limit_of(w) == (50, MINUTE)
    for _ in range(70):
        w.enqueue(1)
    times = [at for _, at in starts(w, 0.0, 200.0)]
    assert len(times) == 70
    for at in times:
        assert sum(at <= other < at + 1.0 for other in times) <= 5
        assert sum(at <= other < at + MINUTE for other in times) <= 50
    assert times[49] < 60.0 < times[50]


@pytest.mark.parametrize("rejected", [False, True])
@pytest.mark.parametrize(
    ("adaptive", "explicit", "images"),
    [(True, True, 250), (False, True, 50), (True, False, 50)],
    ids=[
        "a default is replaced",
        "one that the caller stated is not",
        "nor by one that may not be of images",
    ],
)
def test_a_higher_limit_of_the_server_replaces_only_a_default(
    adaptive: bool, explicit: bool, images: int, rejected: bool
) -> None:
    w = window(50, adaptive=adaptive)
    (reject if rejected else succeed)(w, 0.0, names(250, explicit=explicit))
    assert limit_of(w) == (images, MINUTE)


@pytest.mark.parametrize(("adaptive", "highest"), [(False, 50), (True, 250)])
def test_a_learned_limit_rises_at_most_to_a_stated_one(adaptive: bool, highest: int) -> None:
    w = window(50, adaptive=adaptive)
    reject(w, 0.0, names(5, MINUTE))
    for at, (images, holds) in enumerate([(20, 20), (250, highest), (20, 20), (40, 40)], 1):
        succeed(w, 100.0 * at, names(images))
        assert limit_of(w) == (holds, MINUTE)


def test_a_limit_in_a_header_applies_to_a_minute() -> None:
    w = window(500, HOUR)
    succeed(w, 0.0, names(50))
    assert limit_of(w) == (500, HOUR)
    succeed(w, 1.0, names(5))
    assert limit_of(w) == (5, MINUTE)


@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_limits_of_requests_and_tokens_in_a_success_are_ignored(what: Any) -> None:
    w = window(50)
    succeed(w, 0.0, names(3, what=what))
    assert w.limit == RateLimit(50)


@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_learned_limits_of_requests_and_tokens_rise_at_most_to_the_stated_ones(what: Any) -> None:
    limits: dict[str, Any] = {what: 10}
    w = window(50, **limits)
    for at, (stated, holds) in enumerate([(20, 10), (3, 3), (7, 7), (20, 10)]):
        reject(w, 1000.0 * at, names(stated, what=what))
        assert getattr(w.limit, what) == holds


def test_a_limit_of_requests_for_another_window_is_not_learned() -> None:
    w = window(50)
    reject(w, 0.0, names(200, 24 * HOUR, what="requests"))
    assert w.limit == RateLimit(50)


def test_one_429_teaches_the_limits_of_images_requests_and_tokens() -> None:
    w = window(50)
    limits = {"images": ServerLimit(20), "requests": ServerLimit(5), "tokens": ServerLimit(900)}
    reject(w, 0.0, ServerLimits(limits=limits, explicit=True, exceeded="requests"))  # type: ignore[arg-type]
    assert w.limit == RateLimit(20, requests=5, tokens=900)


def test_a_limit_that_a_caller_states_later_replaces_a_default() -> None:
    for stated in (20, 250):
        w = window(50, adaptive=True)
        w.restrict(RateLimit(stated))
        assert (limit_of(w), w.stated) == ((stated, MINUTE), RateLimit(stated))
        succeed(w, 0.0, names(500))
        assert limit_of(w) == (stated, MINUTE)


def test_the_lower_of_two_stated_limits_applies() -> None:
    w = window(50)
    assert w.stated == RateLimit(50)
    for stated, holds in ((250, 50), (20, 20), (50, 20), (5, 5)):
        w.restrict(RateLimit(stated))
        assert (limit_of(w), w.stated) == ((holds, MINUTE), RateLimit(holds))


def test_stated_limits_are_compared_by_images_a_second() -> None:
    w = window(50)
    w.restrict(RateLimit(100, HOUR))
    assert limit_of(w) == (100, HOUR)
    w.restrict(RateLimit(1, 1.0))
    assert limit_of(w) == (100, HOUR)


def test_a_learned_limit_stays_in_force_when_a_caller_states_a_higher_one() -> None:
    w = window(50, adaptive=True)
    reject(w, 0.0, names(20, MINUTE))
    w.restrict(RateLimit(250))
    assert limit_of(w) == (20, MINUTE)
    succeed(w, 100.0, names(500))
    assert limit_of(w) == (250, MINUTE)


def test_a_learned_limit_never_counts_as_a_stated_one() -> None:
    w = window(50)
    reject(w, 0.0, names(3, MINUTE, what="requests"))
    w.restrict(RateLimit(60))
    assert w.stated == RateLimit(50)
    reject(w, 100.0, names(100, MINUTE, what="requests"))
    assert w.limit.requests == 100


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_lowest_stated_limits_of_requests_and_tokens_apply(adaptive: bool) -> None:
    w = window(50, adaptive=adaptive)
    w.restrict(RateLimit(50, tokens=9))
    w.restrict(RateLimit(100, requests=7))
    w.restrict(RateLimit(20))
    assert w.limit == RateLimit(20, requests=7, tokens=9)


def test_a_limit_that_is_stated_later_counts_what_was_sent_before() -> None:
    w = window(50)
    sent_now(w, 0.0, weight=5)
    w.restrict(RateLimit(5))
    w.enqueue(1)
    assert grants(w, 5.0) == []


def test_a_response_without_limits_or_with_a_limit_of_zero_changes_no_limit() -> None:
    w = window(50, requests=5, tokens=7, adaptive=True)
    succeed(w, 0.0, NO_SERVER_LIMITS)
    for at, stated in enumerate([NO_SERVER_LIMITS, names(0, MINUTE)], 1):
        reject(w, 100.0 * at, stated)
    assert w.limit == RateLimit(50, requests=5, tokens=7)


@pytest.mark.parametrize("later_is_lower", [True, False])
def test_two_limits_with_different_windows_both_apply(later_is_lower: bool) -> None:
    limits = [RateLimit(3, per=10.0), RateLimit(6, per=MINUTE, requests=5)]
    first, second = limits if later_is_lower else reversed(limits)
    w = SlidingWindow(first)
    w.restrict(second)
    for _ in range(12):
        w.enqueue(1)
    sent = [at for _, at in starts(w, 0.0, 300.0)]
    assert len(sent) == 12
    for at in sent:
        assert sum(at <= other < at + 10.0 for other in sent) <= 3
        assert sum(at <= other < at + MINUTE for other in sent) <= 5
    assert sent[-1] < 3 * MINUTE

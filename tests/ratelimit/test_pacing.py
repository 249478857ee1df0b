"""Pacing of requests: the pace, the return to bursts, the requests after a 429, and the observed quota."""

from __future__ import annotations

from itertools import pairwise

import pytest

from imagesdk._protocol.server_limits import NO_SERVER_LIMITS, ServerLimits
from imagesdk._ratelimit.window import SlidingWindow
from tests.ratelimit.windows import AGED, names, sent_now, starts, waits, window

SHORT, LONG = waits(1.0), waits(30.0)
EVEN = 1.03
"""Seconds between paced requests of one image, for a limit of one image a second."""


def reject(rate_window: SlidingWindow, now: float, stated: ServerLimits) -> float:
    """Send a request as soon as possible, have it rejected at once, and return the time."""
    permit = rate_window.enqueue(1)
    [(went, at)] = starts(rate_window, now, now + 1000.0)
    assert went is permit
    rate_window.rejected(permit, at, stated)
    rate_window.cancel(permit)
    return at


def paced_window(images: int = 60) -> SlidingWindow:
    """A window that got a 429 at 0 with a wait of one second although it has capacity: one image a second, evenly."""
    w = window(images)
    reject(w, 0.0, SHORT)
    assert w.pacer.pace
    return w


def apart(rate_window: SlidingWindow, now: float, *weights: int) -> list[float]:
    """The seconds between requests that are enqueued at ``now``."""
    for weight in weights:
        rate_window.enqueue(weight)
    times = [at for _, at in starts(rate_window, now, now + 300.0)]
    assert len(times) == len(weights)
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize(
    ("heaviest", "wait", "paced"),
    [(1, 0.5, True), (1, 3.5, True), (1, 3.6, False), (1, 60.0, False), (4, 8.0, True), (4, 8.1, False)],
)
def test_requests_are_paced_after_a_retry_after_that_is_short_for_an_even_server(
    heaviest: int, wait: float, paced: bool
) -> None:
    w = window(60)
    sent_now(w, 0.0, weight=heaviest)
    w.rejected(sent_now(w, 1.0), 1.0, waits(wait))
    assert bool(w.pacer.pace) is paced


@pytest.mark.parametrize("stated", [NO_SERVER_LIMITS, waits(3600.0), waits(0.0)])
@pytest.mark.parametrize(("later", "paced"), [(30.0, True), (59.0, True), (61.0, False)])
def test_requests_are_paced_after_two_429s_in_a_window_without_a_usable_retry_after(
    later: float, paced: bool, stated: ServerLimits
) -> None:
    w = window(60)
    reject(w, 0.0, stated)
    assert not w.pacer.pace
    reject(w, later, stated)
    assert bool(w.pacer.pace) is paced


def test_requests_are_not_paced_when_the_limit_is_lower_than_assumed() -> None:
    w = window(60)
    sent_now(w, 0.0)
    w.rejected(sent_now(w, 1.0), 1.0, names(1, 60.0, wait=1.0))
    assert not w.pacer.pace


def test_paced_requests_are_spaced_by_their_images() -> None:
    assert apart(paced_window(), 10.0, 1, 1, 5, 1) == pytest.approx([EVEN, EVEN, 5 * EVEN])


def test_paced_requests_are_spaced_from_the_time_of_sending() -> None:
    w = paced_window()
    first, second = w.enqueue(1), w.enqueue(1)
    assert w.grant_ready(10.0) == ([first], 10.0 + EVEN)
    w.sent(first, 10.5)
    assert w.grant_ready(10.5) == ([], 10.5 + EVEN)
    assert w.grant_ready(10.5 + EVEN)[0] == [second]


def test_a_large_paced_request_is_granted_once_those_before_it_are_worked_off() -> None:
    w = window(10)
    assert apart(w, 0.0, 1, 10) == [AGED]
    w = window(10)
    w.cancel(w.enqueue(10))
    reject(w, 0.0, SHORT)
    assert apart(w, 10.0, 1, 10) == pytest.approx([6 * EVEN])


def test_no_paced_request_overtakes_another() -> None:
    w = window(10)
    for at, weight in enumerate((4, 4, 1)):
        sent_now(w, float(at), weight)
    w.rejected(sent_now(w, 3.0), 3.0, SHORT)  # granted again, after which the log is full
    large, small = w.enqueue(4), w.enqueue(1)
    went = [permit for permit, _ in starts(w, 4.0, 100.0)]
    assert went[1:] == [large, small]


def pace_of(rate_window: SlidingWindow, now: float) -> float:
    """The seconds between two requests that are enqueued at ``now``."""
    return apart(rate_window, now, 1, 1)[0]


def test_each_429_increases_the_pace_and_one_soon_after_another_increases_it_more() -> None:
    w = paced_window()
    at = reject(w, 1.0, SHORT)
    soon = pace_of(w, at + 5.0)
    at = reject(w, at + 40.0, SHORT)
    later = pace_of(w, at + 5.0)
    assert EVEN < soon < later
    assert later / soon < soon / EVEN


def test_paced_requests_are_at_most_eight_even_intervals_apart() -> None:
    w, at = paced_window(), 1.0
    for _ in range(30):
        at = reject(w, at, SHORT)
    assert pace_of(w, at + 61.0) == pytest.approx(8.0)


def test_each_accepted_image_decreases_the_pace_down_to_an_even_one() -> None:
    w = paced_window()
    at = reject(w, 1.0, SHORT)
    before = pace_of(w, at + 3.0)
    w.accepted(sent_now(w, at + 10.0, weight=4), NO_SERVER_LIMITS)
    after = pace_of(w, at + 20.0)
    assert EVEN < after < before
    permit = sent_now(w, at + 30.0)
    for _ in range(30):
        w.accepted(permit, NO_SERVER_LIMITS)
    assert pace_of(w, at + 40.0) == pytest.approx(EVEN)


def test_bursts_are_tried_again_after_a_window_and_after_four_times_as_many_each_time_that_fails() -> None:
    w, now = window(60), 0.0
    for windows in (1, 4, 16, 64):
        refused_at = reject(w, now, SHORT)
        now = refused_at + 1.0 + windows * 60.0
        w.grant_ready(now - 0.01)
        assert w.pacer.pace
        w.grant_ready(now)
        assert not w.pacer.pace
        w.accepted(sent_now(w, now), NO_SERVER_LIMITS)


def test_bursts_are_tried_again_a_window_after_the_last_of_several_429s() -> None:
    w = paced_window()
    w.accepted(sent_now(w, 10.0), NO_SERVER_LIMITS)
    refused_at = reject(w, 50.0, SHORT)
    w.grant_ready(62.0)
    assert w.pacer.pace
    w.grant_ready(refused_at + 1.0 + 60.0)
    assert not w.pacer.pace


def test_a_burst_of_two_tries_bursts_again() -> None:
    assert apart(paced_window(), 62.0, 1, 1, 1, 1) == pytest.approx([0.2, 1.0, 0.2])


def test_after_a_429_a_single_request_a_burst_of_two_and_slower_bursts_for_two_windows_are_sent() -> None:
    w = window(60)
    reject(w, 0.0, LONG)
    assert apart(w, 31.0, 1, 1, 1, 1, 1, 1) == pytest.approx([1.0, 0.2, 1.0, 0.2, 0.2])
    assert apart(w, 110.0, 1, 1, 1) == pytest.approx([0.2, 0.2])
    assert apart(w, 121.0, 1, 1, 1) == pytest.approx([0.05, 0.05])


def test_no_request_overtakes_the_head_if_the_gap_after_it_would_delay_the_head() -> None:
    w = window(4)
    sent_now(w, 0.0, weight=2)
    reject(w, 58.5, NO_SERVER_LIMITS)  # from 59.5 one is granted, and the next a second later
    large, small = w.enqueue(3), w.enqueue(1)
    assert starts(w, 59.5, 61.0) == [(large, AGED)]
    assert starts(w, 61.0, 62.0) == [(small, AGED + 1.0)]


def test_a_success_that_was_sent_before_a_pause_does_not_reset_the_pauses() -> None:
    w = window(4)
    early, refused = sent_now(w, 0.0), sent_now(w, 1.0)
    w.rejected(refused, 2.0, NO_SERVER_LIMITS)
    w.accepted(early, NO_SERVER_LIMITS)
    [(again, at)] = starts(w, 2.0, 3.0)
    assert (again, at) == (refused, 3.0)
    w.rejected(refused, 3.0, NO_SERVER_LIMITS)
    assert w.grant_ready(3.0) == ([], 6.0)


def after_four(gap: float | None = None) -> tuple[SlidingWindow, float]:
    """A window whose server accepted four requests from 0 on, by default in a burst, and when the next may be sent."""
    w = window(60)
    gap = w.pacer.gap if gap is None else gap
    for at in range(4):
        sent_now(w, at * gap)
    return w, 4 * gap


def shared_account() -> tuple[SlidingWindow, float]:
    """A window whose server rejects all after a burst, without Retry-After, and the time of the last 429."""
    w, now = after_four()
    for _ in range(3):
        now = reject(w, now, NO_SERVER_LIMITS)
    return w, now


def test_a_shared_account_gets_what_it_accepted_when_that_has_aged_and_no_more_for_half_a_window() -> None:
    w, now = shared_account()
    assert now == pytest.approx(4 * w.pacer.gap + 1.0 + 3.0)
    assert (bool(w.pacer.pace), w.pacer.observed_quota) == (False, 4)
    for _ in range(6):
        w.enqueue(1)
    went = [at for _, at in starts(w, now, 200.0)]
    assert went[0] == AGED
    assert went[3] < AGED + 5.0
    assert went[4] == pytest.approx(AGED + 30.0)
    assert w.pacer.observed_quota is None


def test_a_shared_account_is_used_fully_and_probed_less_and_less_often() -> None:
    w, now, accepted, rejected = window(60), 0.0, list[float](), list[float]()
    for _ in range(1000):
        w.enqueue(1)
    while now < 3600.0:
        granted, next_at = w.grant_ready(now)
        for permit in granted:
            w.sent(permit, now)
            if sum(at > now - 60.0 for at in accepted) < 4:
                w.accepted(permit, NO_SERVER_LIMITS)
                accepted.append(now)
            else:
                w.rejected(permit, now, NO_SERVER_LIMITS)
                rejected.append(now)
        assert next_at is not None
        now = next_at if not granted else now
    assert len(accepted) >= 0.95 * 4 * 60
    assert len(rejected) <= 15
    assert sum(at > 1200.0 for at in rejected) <= 6


def test_the_observed_quota_shrinks_by_every_rejected_request_of_a_burst() -> None:
    w, now = shared_account()
    first, second, third, fourth = (w.enqueue(1) for _ in range(4))
    starts(w, now, AGED + 5.0)
    w.rejected(third, AGED + 5.0, NO_SERVER_LIMITS)
    w.rejected(fourth, AGED + 5.0, NO_SERVER_LIMITS)
    assert w.pacer.observed_quota == 2
    assert [first.granted, second.granted, third.granted, fourth.granted] == [True, True, False, False]


def test_a_request_larger_than_the_observed_quota_is_still_granted() -> None:
    w, now = shared_account()
    large = w.enqueue(10)
    assert [permit for permit, _ in starts(w, now, 200.0)] == [large]


def test_an_account_counts_as_shared_one_429_later_if_the_server_sends_retry_after() -> None:
    w, now = after_four()
    for _ in range(3):
        now = reject(w, now, SHORT)
        assert w.pacer.observed_quota is None
    reject(w, now, SHORT)
    assert w.pacer.observed_quota == 4


def test_a_server_that_never_accepted_a_burst_is_paced_and_gets_no_quota() -> None:
    w, now = after_four(gap=2.0)
    for _ in range(4):
        now = reject(w, now, NO_SERVER_LIMITS)
    assert (bool(w.pacer.pace), w.pacer.observed_quota) == (True, None)


def test_no_quota_is_observed_while_the_first_request_after_each_pause_is_accepted() -> None:
    w, now = after_four()
    for _ in range(4):
        now = reject(w, now, NO_SERVER_LIMITS)
        w.accepted(sent_now(w, max(now, w.pacer.pause_ends) + 0.5), NO_SERVER_LIMITS)
        now += 5.0
    assert w.pacer.observed_quota is None

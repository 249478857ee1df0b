"""When a rate window spaces requests out, how far, when it tries bursts again, and how carefully after a refusal."""

from __future__ import annotations

from itertools import pairwise

import pytest

from imagesdk._protocol.server_limits import NO_SERVER_LIMITS, ServerLimits
from imagesdk._ratelimit.window import SlidingWindow
from tests.support.rate_windows import names, sent_now, starts, waits, window

SHORT, LONG = waits(1.0), waits(30.0)
EVEN = 1.03
"""Seconds between requests that are spaced out evenly, for one image a second."""


def refuse(rate_window: SlidingWindow, now: float, said: ServerLimits) -> float:
    """Send one as soon as it may go, have it refused at once, and return when that was."""
    permit = rate_window.enqueue(1)
    [(went, at)] = starts(rate_window, now, now + 1000.0)
    assert went is permit
    rate_window.rejected(permit, at, said)
    rate_window.cancel(permit)
    return at


def paced_window(images: int = 60) -> SlidingWindow:
    """A window that was refused at 0 with a wait of one second though it has room: one image a second, evenly."""
    w = window(images)
    refuse(w, 0.0, SHORT)
    assert w.paced
    return w


def apart(rate_window: SlidingWindow, now: float, *weights: int) -> list[float]:
    """The seconds between requests that stand in line at ``now``."""
    for weight in weights:
        rate_window.enqueue(weight)
    times = [at for _, at in starts(rate_window, now, now + 300.0)]
    assert len(times) == len(weights)
    return [later - earlier for earlier, later in pairwise(times)]


class TestRequestsAreSpacedOut:
    @pytest.mark.parametrize(
        ("heaviest", "wait", "paced"),
        [(1, 0.5, True), (1, 3.5, True), (1, 3.6, False), (1, 60.0, False), (4, 8.0, True), (4, 8.1, False)],
    )
    def test_after_a_wait_as_short_as_even_servers_ask_for(
        self, heaviest: int, wait: float, paced: bool
    ) -> None:
        w = window(60)
        sent_now(w, 0.0, weight=heaviest)
        w.rejected(sent_now(w, 1.0), 1.0, waits(wait))
        assert w.paced is paced

    @pytest.mark.parametrize("said", [NO_SERVER_LIMITS, waits(3600.0), waits(0.0)])
    @pytest.mark.parametrize(("later", "paced"), [(30.0, True), (59.0, True), (61.0, False)])
    def test_after_two_refusals_in_a_window_where_no_wait_is_told(
        self, later: float, paced: bool, said: ServerLimits
    ) -> None:
        w = window(60)
        refuse(w, 0.0, said)
        assert not w.paced
        refuse(w, later, said)
        assert w.paced is paced

    def test_not_where_the_limit_was_lower_than_we_thought(self) -> None:
        w = window(60)
        sent_now(w, 0.0)
        w.rejected(sent_now(w, 1.0), 1.0, names(1, 60.0, wait=1.0))
        assert not w.paced

    def test_by_the_images_that_each_asks_for(self) -> None:
        assert apart(paced_window(), 10.0, 1, 1, 5, 1) == pytest.approx([EVEN, EVEN, 5 * EVEN])

    def test_from_when_each_was_sent(self) -> None:
        w = paced_window()
        first, second = w.enqueue(1), w.enqueue(1)
        assert w.grant_ready(10.0) == ([first], 10.0 + EVEN)
        w.sent(first, 10.5)
        assert w.grant_ready(10.5) == ([], 10.5 + EVEN)
        assert w.grant_ready(10.5 + EVEN)[0] == [second]

    def test_and_a_large_one_goes_as_soon_as_those_before_it_are_worked_off(self) -> None:
        w = window(10)
        assert apart(w, 0.0, 1, 10) == [w.window_seconds]
        w = window(10)
        w.cancel(w.enqueue(10))
        refuse(w, 0.0, SHORT)
        assert apart(w, 10.0, 1, 10) == pytest.approx([6 * EVEN])

    def test_and_nobody_passes_another(self) -> None:
        w = window(10)
        for at, weight in enumerate((4, 4, 1)):
            sent_now(w, float(at), weight)
        w.rejected(sent_now(w, 3.0), 3.0, SHORT)  # which goes again, and then the log is full
        large, small = w.enqueue(4), w.enqueue(1)
        went = [permit for permit, _ in starts(w, 4.0, 100.0)]
        assert went[1:] == [large, small]

    def test_further_with_each_refusal_and_much_further_when_they_come_soon(self) -> None:
        w = paced_window()
        at = refuse(w, 1.0, SHORT)
        assert apart(w, at + 5.0, 1, 1) == pytest.approx([EVEN * 1.3])
        at = refuse(w, at + 40.0, SHORT)
        assert apart(w, at + 5.0, 1, 1) == pytest.approx([EVEN * 1.3 * 1.08])

    def test_eight_times_as_far_at_most(self) -> None:
        w, at = paced_window(), 1.0
        for _ in range(30):
            at = refuse(w, at, SHORT)
        assert apart(w, at + 61.0, 1, 1) == pytest.approx([8.0])

    def test_nearer_with_each_image_that_succeeds_and_evenly_at_last(self) -> None:
        w = paced_window()
        at = refuse(w, 1.0, SHORT)
        w.accepted(sent_now(w, at + 5.0, weight=4), NO_SERVER_LIMITS)
        assert apart(w, at + 15.0, 1, 1) == pytest.approx([EVEN * 1.3 * 0.99**4])
        permit = sent_now(w, at + 25.0)
        for _ in range(30):
            w.accepted(permit, NO_SERVER_LIMITS)
        assert apart(w, at + 35.0, 1, 1) == pytest.approx([EVEN])


class TestBurstsAreTriedAgain:
    def test_after_a_window_without_a_refusal_and_four_times_as_many_after_each_strike(self) -> None:
        w, now = window(60), 0.0
        for windows in (1, 4, 16, 64):
            refused_at = refuse(w, now, SHORT)
            now = refused_at + 1.0 + windows * 60.0
            w.grant_ready(now - 0.01)
            assert w.paced
            w.grant_ready(now)
            assert not w.paced
            w.accepted(sent_now(w, now), NO_SERVER_LIMITS)

    def test_a_window_after_the_last_of_several_refusals(self) -> None:
        w = paced_window()
        w.accepted(sent_now(w, 10.0), NO_SERVER_LIMITS)
        refused_at = refuse(w, 50.0, SHORT)
        w.grant_ready(62.0)
        assert w.paced
        w.grant_ready(refused_at + 1.0 + 60.0)
        assert not w.paced

    def test_with_two_at_once_first_which_tells_most(self) -> None:
        assert apart(paced_window(), 62.0, 1, 1, 1, 1) == pytest.approx([0.2, 1.0, 0.2])


class TestAfterARefusal:
    def test_one_goes_alone_and_then_two_at_once(self) -> None:
        w = window(60)
        refuse(w, 0.0, LONG)
        assert apart(w, 31.0, 1, 1, 1, 1, 1, 1) == pytest.approx([1.0, 0.2, 1.0, 0.2, 0.2])

    def test_bursts_are_slower_for_two_windows(self) -> None:
        w = window(60)
        refuse(w, 0.0, LONG)
        apart(w, 31.0, 1, 1, 1, 1)
        assert apart(w, 110.0, 1, 1, 1) == pytest.approx([0.2, 0.2])
        assert apart(w, 121.0, 1, 1, 1) == pytest.approx([0.05, 0.05])

    def test_nobody_passes_the_head_in_so_little_time_before_it_that_it_would_wait(self) -> None:
        w = window(4)
        sent_now(w, 0.0, weight=2)
        refuse(w, 58.5, NO_SERVER_LIMITS)  # from 59.5 one may go, and the next a second later
        large, small = w.enqueue(3), w.enqueue(1)
        assert starts(w, 59.5, 61.0) == [(large, w.window_seconds)]
        assert starts(w, 61.0, 62.0) == [(small, w.window_seconds + 1.0)]

    def test_a_success_that_was_sent_before_the_pause_proves_nothing(self) -> None:
        w = window(4)
        early, refused = sent_now(w, 0.0), sent_now(w, 1.0)
        w.rejected(refused, 2.0, NO_SERVER_LIMITS)
        w.accepted(early, NO_SERVER_LIMITS)
        [(again, at)] = starts(w, 2.0, 3.0)
        assert (again, at) == (refused, 3.0)
        w.rejected(refused, 3.0, NO_SERVER_LIMITS)
        assert w.grant_ready(3.0) == ([], 6.0)


def silently_full(images: int = 4) -> tuple[SlidingWindow, float]:
    """A window whose server let a burst of so many in at 0, and then refuses all without a word. The time of the last."""
    w = window(60)
    for at in range(images):
        sent_now(w, at * w.gap)
    now = images * w.gap
    for _ in range(3):
        now = refuse(w, now, NO_SERVER_LIMITS)
    return w, now


class TestAServerThatIsFullAndTellsNothing:
    def test_is_asked_again_when_what_it_let_in_has_aged(self) -> None:
        w, now = silently_full()
        assert now == pytest.approx(4 * w.gap + 1.0 + 3.0)
        assert (w.paced, w.observed_quota) == (False, 4)
        w.enqueue(1)
        assert [at for _, at in starts(w, now, 100.0)] == [w.window_seconds]

    def test_is_asked_for_no_more_than_it_let_in_for_half_a_window(self) -> None:
        w, now = silently_full()
        for _ in range(6):
            w.enqueue(1)
        went = [at for _, at in starts(w, now, 200.0)]
        assert went[3] < w.window_seconds + 5.0
        assert went[4] == pytest.approx(w.window_seconds + 30.0)
        assert w.observed_quota is None

    def test_is_made_full_use_of_and_asked_for_more_ever_less_often(self) -> None:
        w, now, taken, refused = window(60), 0.0, list[float](), list[float]()
        for _ in range(1000):
            w.enqueue(1)
        while now < 3600.0:
            granted, next_at = w.grant_ready(now)
            for permit in granted:
                w.sent(permit, now)
                if sum(at > now - 60.0 for at in taken) < 4:
                    w.accepted(permit, NO_SERVER_LIMITS)
                    taken.append(now)
                else:
                    w.rejected(permit, now, NO_SERVER_LIMITS)
                    refused.append(now)
            assert next_at is not None
            now = next_at if not granted else now
        assert len(taken) >= 0.95 * 4 * 60
        assert len(refused) <= 15
        assert sum(at > 1200.0 for at in refused) <= 6

    def test_has_less_for_us_by_all_that_it_refuses_of_one_burst(self) -> None:
        w, now = silently_full()
        first, second, third, fourth = (w.enqueue(1) for _ in range(4))
        starts(w, now, w.window_seconds + 5.0)
        w.rejected(third, w.window_seconds + 5.0, NO_SERVER_LIMITS)
        w.rejected(fourth, w.window_seconds + 5.0, NO_SERVER_LIMITS)
        assert w.observed_quota == 2
        assert first.free_at is not None
        assert second.free_at is not None

    def test_still_gets_a_request_that_is_larger_than_all_it_let_in(self) -> None:
        w, now = silently_full()
        large = w.enqueue(10)
        assert [permit for permit, _ in starts(w, now, 200.0)] == [large]

    def test_is_believed_longer_when_it_tells_waits(self) -> None:
        w = window(60)
        for at in range(4):
            sent_now(w, at * w.gap)
        now = 4 * w.gap
        for _ in range(3):
            now = refuse(w, now, SHORT)
            assert w.observed_quota is None
        refuse(w, now, SHORT)
        assert w.observed_quota == 4

    def test_is_not_taken_for_one_that_counts_evenly(self) -> None:
        w = window(60)
        for at in range(4):
            sent_now(w, 2.0 * at)
        now = 8.0
        for _ in range(4):
            now = refuse(w, now, NO_SERVER_LIMITS)
        assert (w.paced, w.observed_quota) == (True, None)

    def test_is_tried_as_before_when_the_first_request_after_a_pause_is_taken(self) -> None:
        w = window(60)
        for at in range(4):
            sent_now(w, at * w.gap)
        now = 4 * w.gap
        for _ in range(4):
            now = refuse(w, now, NO_SERVER_LIMITS)
            taken = sent_now(w, max(now, w.pause_ends) + 0.5)
            w.accepted(taken, NO_SERVER_LIMITS)
            now += 5.0
        assert w.observed_quota is None

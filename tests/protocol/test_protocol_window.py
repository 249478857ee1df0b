"""The rate window under an invented clock: its promises, one by one."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from imagesdk._protocol.limits import NOTHING_SAID
from imagesdk._protocol.line import Ticket
from imagesdk._protocol.window import RateWindow
from tests.rate_windows import grants, names, sent_now, starts, waits, window


def went(w: RateWindow, now: float, until: float) -> list[Ticket]:
    return [ticket for ticket, _ in starts(w, now, until)]


def test_a_burst_goes_at_once_but_for_a_small_gap() -> None:
    w = window(images=50)
    tickets = [w.enqueue(1) for _ in range(60)]
    assert w.poll(0.0) == ([tickets[0]], w.gap)
    assert w.gap == 0.05
    assert grants(w, w.gap) == tickets[1:50]


@pytest.mark.parametrize(("images", "gap"), [(1, 0.05), (50, 0.05), (1000, 0.015)])
def test_the_gap_never_costs_more_than_a_quarter_of_the_window(images: int, gap: float) -> None:
    assert window(images=images).gap == pytest.approx(gap)
    assert images * window(images=images).gap <= 15.0


def test_room_comes_back_one_window_after_sending_and_not_after_granting() -> None:
    w = window(images=1)
    first, second = w.enqueue(1), w.enqueue(1)
    assert w.poll(0.0) == ([first], None)
    w.sent(first, 30.0)
    assert w.poll(70.0) == ([], 30.0 + w.span)
    assert w.poll(90.0)[0] == []
    assert w.poll(30.0 + w.span)[0] == [second]


@pytest.mark.parametrize("per", [0.3, 1.0, 60.0, 3600.0])
def test_our_window_is_a_little_longer_than_the_servers(per: float) -> None:
    assert per < window(per=per).span <= per * 1.01 + 0.1


def test_weight_is_counted_in_images() -> None:
    w = window(images=4)
    first, second, third = w.enqueue(3), w.enqueue(2), w.enqueue(1)
    assert grants(w, 0.0) == [first]
    assert grants(w, 61.0) == [second, third]


def test_a_small_request_passes_a_large_one_only_where_it_does_not_delay_it() -> None:
    w = window(images=4)
    sent_now(w, 0.0, weight=2)
    large, beside, after = w.enqueue(3), w.enqueue(1), w.enqueue(1)
    assert grants(w, 1.0) == [beside]  # 3 and 1 fit together when the 2 have aged; one more would not
    assert starts(w, 2.0, 61.0) == [(large, w.span)]
    assert went(w, 61.0, 130.0) == [after]


def test_what_is_larger_than_the_limit_never_fits() -> None:
    assert window(images=4).fits(4)
    assert not window(images=4).fits(5)


def test_a_grant_that_was_not_sent_gives_its_room_back_at_once() -> None:
    w = window(images=1)
    first, second = w.enqueue(1), w.enqueue(1)
    assert w.poll(0.0) == ([first], None)
    w.cancel(first)
    w.cancel(first)
    assert w.poll(w.gap)[0] == [second]


def test_what_was_sent_keeps_its_room_though_it_is_given_up() -> None:
    w = window(images=1)
    first = sent_now(w, 0.0)
    w.cancel(first)
    w.enqueue(1)
    assert w.poll(30.0)[0] == []


def test_who_leaves_the_line_lets_the_next_one_go() -> None:
    w = window(images=4)
    sent_now(w, 0.0, weight=2)
    large, small = w.enqueue(4), w.enqueue(2)
    assert grants(w, 1.0) == []
    w.cancel(large)
    assert grants(w, 1.0) == [small]


def test_a_line_can_be_forgotten_and_the_log_stays_true() -> None:
    w = window(images=1)
    sent_now(w, 0.0)
    w.enqueue(1)
    w.inherit(0.5)
    assert w.poll(1.0) == ([], None)
    assert not w.idle
    w.poll(61.0)
    assert w.idle


class TestARefusal:
    def test_keeps_the_place_in_line(self) -> None:
        w = window(images=2)
        first, second = sent_now(w, 0.0), sent_now(w, 1.0)
        third = w.enqueue(2)
        w.throttled(second, 2.0, waits(5.0))
        w.throttled(first, 2.1, waits(5.0))
        assert went(w, 10.0, 100.0) == [first, second]
        assert grants(w, 200.0) == [third]

    def test_gives_its_room_back(self) -> None:
        w = window(images=1)
        first = sent_now(w, 0.0)
        w.throttled(first, 1.0, waits(5.0))
        assert grants(w, 6.0) == [first]

    @pytest.mark.parametrize("asked", [0.5, 7.0, 60.0, 120.0])
    def test_pauses_everybody_as_long_as_the_server_asks(self, asked: float) -> None:
        w = window(images=4)
        first = sent_now(w, 0.0)
        second = w.enqueue(1)
        w.throttled(first, 1.0, waits(asked))
        assert w.poll(1.0) == ([], 1.0 + asked)
        assert w.poll(1.0 + asked - 0.01)[0] == []
        assert went(w, 1.0 + asked, 20.0 + asked) == [first, second]

    @pytest.mark.parametrize(
        "absurd", [None, 0.0, -5.0, 120.001, 3600.0, 1e308, math.inf, -math.inf, math.nan]
    )
    def test_with_an_absurd_time_or_none_pauses_a_little(self, absurd: float | None) -> None:
        w = window(images=4)
        first = sent_now(w, 0.0)
        w.throttled(first, 1.0, NOTHING_SAID if absurd is None else waits(absurd))
        assert w.poll(1.0) == ([], 2.0)
        assert grants(w, 2.0) == [first]

    def test_pauses_once_for_all_that_were_sent_before(self) -> None:
        w = window(images=4)
        tickets = [sent_now(w, float(at)) for at in range(3)]
        for at, ticket in enumerate(tickets):
            w.throttled(ticket, 3.0 + at, waits(30.0))
        assert w.poll(6.0) == ([], 33.0)
        assert went(w, 33.0, 90.0) == tickets

    def test_of_a_request_from_before_the_pause_that_comes_after_it_changes_nothing(self) -> None:
        w = window(images=4)
        early, late = sent_now(w, 0.0), sent_now(w, 1.0)
        w.throttled(early, 2.0, waits(10.0))
        assert grants(w, 12.0) == [early]
        w.throttled(late, 13.0, waits(10.0))
        assert went(w, 13.0, 90.0) == [late]

    def test_of_a_request_sent_the_moment_a_pause_ends_pauses_again(self) -> None:
        w = window(images=4, per=0.1)
        ticket = sent_now(w, 0.3)
        now = 0.3
        for _ in range(20):
            w.throttled(ticket, now, NOTHING_SAID)
            granted, next_at = w.poll(now)
            assert not granted
            assert next_at is not None
            now = next_at
            assert grants(w, now) == [ticket]

    def repeated(self, w: RateWindow, retry_after: float | None, times: int) -> list[float]:
        """The pauses after refusals that follow each other."""
        ticket, now, pauses = sent_now(w, 0.0), 0.0, list[float]()
        for _ in range(times):
            w.throttled(ticket, now, NOTHING_SAID if retry_after is None else waits(retry_after))
            next_at = w.poll(now)[1]
            assert next_at is not None
            pauses.append(next_at - now)
            now = next_at
            assert grants(w, now) == [ticket]
        return pauses

    def test_that_repeats_pauses_longer_and_a_window_at_most(self) -> None:
        pauses = self.repeated(window(images=4), None, 9)
        assert pauses == pytest.approx([1, 3, 9, 27, 60, 60, 60, 60, 60])

    def test_with_a_time_too_small_does_not_hammer(self) -> None:
        pauses = self.repeated(window(images=4), 0.5, 9)
        assert pauses == pytest.approx([0.5, 3, 9, 27, 60, 60, 60, 60, 60])

    def test_that_repeats_for_days_still_pauses_a_window(self) -> None:
        assert self.repeated(window(images=4), None, 2000)[-1] == pytest.approx(60)

    def test_after_a_success_begins_small_again(self) -> None:
        w = window(images=4)
        self.repeated(w, None, 5)
        w.proven(sent_now(w, 400.0), NOTHING_SAID)
        ticket = sent_now(w, 500.0)
        w.throttled(ticket, 500.0, NOTHING_SAID)
        assert w.poll(500.0)[1] == 501.0


class TestTheExpectedStart:
    def test_is_now_when_there_is_room(self) -> None:
        w = window()
        assert w.expected_start(w.enqueue(4), 5.0) == 5.0

    def test_counts_those_in_front(self) -> None:
        w = window(images=2)
        tickets = [w.enqueue(2) for _ in range(4)]
        starts = [w.expected_start(ticket, 0.0) for ticket in tickets]
        assert starts == pytest.approx([0, w.span, 2 * w.span, 3 * w.span])

    def test_counts_what_was_sent(self) -> None:
        w = window(images=2)
        sent_now(w, 0.0, weight=2)
        assert w.expected_start(w.enqueue(1), 10.0) == w.span

    def test_counts_a_pause(self) -> None:
        w = window()
        first = sent_now(w, 0.0)
        w.throttled(first, 1.0, waits(30.0))
        assert w.expected_start(first, 2.0) == 31.0

    def test_does_not_count_those_behind(self) -> None:
        w = window(images=2)
        first = w.enqueue(2)
        for _ in range(5):
            w.enqueue(2)
        assert w.expected_start(first, 0.0) == 0.0


def fixed_window_admits(sent: list[float]) -> bool:
    return max(Counter(int(at // 60) for at in sent).values()) <= 50


def sliding_window_admits(sent: list[float]) -> bool:
    return all(sum(1 for other in sent if at - 60 < other <= at) <= 50 for at in sent)


def token_bucket_admits(sent: list[float]) -> bool:
    level, last = 50.0, sent[0]
    for at in sent:
        level = min(50.0, level + (at - last) * 50 / 60) - 1
        last = at
        if level < 0:
            return False
    return True


@pytest.mark.parametrize("admits", [fixed_window_admits, sliding_window_admits, token_bucket_admits])
def test_no_server_of_a_known_kind_would_refuse(admits: Callable[[list[float]], bool]) -> None:
    """200 requests of one picture at once, as fast as the window lets them go."""
    w = window(images=50)
    for _ in range(200):
        w.enqueue(1)
    now, sent = 17.0, list[float]()
    while len(sent) < 200:
        granted, next_at = w.poll(now)
        for ticket in granted:
            w.sent(ticket, now)
            sent.append(now)
        now = now if next_at is None else next_at
    assert admits(sent)
    assert sent[-1] - sent[0] < 3.2 * 60


class TestALimitThatTheServerNames:
    def test_is_kept_to_when_it_is_lower(self) -> None:
        w = window(images=50)
        w.throttled(sent_now(w, 0.0), 0.1, names(20, 60.0, wait=1.0))
        assert (w.limit.images, w.limit.per) == (20, 60.0)

    def test_is_believed_when_it_is_higher_only_where_none_was_stated(self) -> None:
        for adaptive, images in ((False, 50), (True, 250)):
            w = window(images=50, adaptive=adaptive)
            w.proven(sent_now(w, 0.0), names(250))
            assert w.limit.images == images

    def test_that_may_be_of_something_else_never_raises_it(self) -> None:
        w = window(images=50, adaptive=True)
        w.proven(sent_now(w, 0.0), names(4000, surely=False))
        assert w.limit.images == 50

    def test_rises_again_to_what_was_stated_and_no_further(self) -> None:
        w = window(images=50)
        w.throttled(sent_now(w, 0.0), 0.1, names(20, 60.0))
        assert went(w, 5.0, 6.0)
        w.proven(sent_now(w, 200.0), names(30))
        assert w.limit.images == 30
        w.proven(sent_now(w, 400.0), names(500))
        assert w.limit.images == 50

    def test_may_have_another_window(self) -> None:
        w = window(images=50)
        w.throttled(sent_now(w, 0.0), 0.1, names(5, 10.0))
        assert (w.limit.images, w.limit.per) == (5, 10.0)
        assert w.span == pytest.approx(10.1)

    def test_without_a_window_is_of_a_minute(self) -> None:
        w = window(images=500, per=3600.0)
        w.proven(sent_now(w, 0.0), names(50))
        assert (w.limit.images, w.limit.per) == (500, 3600.0)

    def test_for_a_longer_window_lets_no_more_go_at_once(self) -> None:
        w = window(images=50)
        w.throttled(sent_now(w, 0.0), 0.1, names(500, 86400.0))
        assert (w.limit.images, w.limit.per) == (50, 60.0)

    def test_of_nothing_changes_nothing(self) -> None:
        w = window(images=50)
        w.throttled(sent_now(w, 0.0), 0.1, names(0, 60.0))
        assert w.limit.images == 50


class TestAnEvenServer:
    def refused_early(self, images: int = 60) -> RateWindow:
        """A window of one image a second, refused with a short wait though it has room."""
        w = window(images=images)
        sent_now(w, 0.0)
        w.throttled(sent_now(w, 0.1), 0.2, waits(1.0))
        return w

    def test_is_known_by_a_short_wait_though_there_is_room(self) -> None:
        assert self.refused_early().paced

    def test_is_not_suspected_of_a_long_wait(self) -> None:
        w = window(images=60)
        w.throttled(sent_now(w, 0.0), 0.1, waits(50.0))
        assert not w.paced

    def test_gets_requests_spaced_out_by_what_they_ask_for(self) -> None:
        w = self.refused_early()
        for weight in (1, 1, 5, 1):
            w.enqueue(weight)
        times = [at for _, at in starts(w, 1.2, 30.0)]
        steps = [later - earlier for earlier, later in pairwise(times)]
        assert len(times) == 5
        assert steps == pytest.approx([1.03, 1.03, 1.03, 5.15], rel=0.01)

    def test_that_refuses_again_gets_them_further_apart_and_nearer_again_with_each_success(self) -> None:
        w = self.refused_early()
        [(ticket, _)] = starts(w, 1.2, 1.3)
        w.throttled(ticket, 1.4, waits(1.0))
        tickets = [w.enqueue(1) for _ in range(3)]
        apart = [at for _, at in starts(w, 2.4, 8.0)]
        assert apart[1] - apart[0] > 1.2
        for _ in range(60):
            w.proven(tickets[0], NOTHING_SAID)
        w.enqueue(1)
        w.enqueue(1)
        nearer = [at for _, at in starts(w, 20.0, 25.0)]
        assert nearer[1] - nearer[0] == pytest.approx(1.03)

    def test_is_tried_with_a_burst_again_after_a_window_and_then_after_four(self) -> None:
        w = self.refused_early()
        [(ticket, _)] = starts(w, 1.2, 1.3)
        w.proven(ticket, NOTHING_SAID)
        w.poll(62.0)
        assert not w.paced
        first, second = w.enqueue(1), w.enqueue(1)
        times = dict(starts(w, 62.0, 63.0))
        assert times[second] - times[first] < 0.5
        w.throttled(second, 62.6, waits(1.0))
        w.poll(62.0 + 60.0 * 3)
        assert w.paced
        w.poll(70.0 + 60.0 * 4)
        assert not w.paced


def test_requests_and_tokens_are_limited_too() -> None:
    w = window(images=50, requests=2)
    tickets = [w.enqueue(1) for _ in range(3)]
    assert grants(w, 0.0) == tickets[:2]
    w = window(images=50, tokens=1000)
    tickets = [w.enqueue(1, tokens) for tokens in (600, 300, 200)]
    assert grants(w, 0.0) == tickets[:2]
    w.settle(tickets[0], 400)
    assert grants(w, 1.0) == tickets[2:]


def test_a_default_gives_way_to_the_first_limit_that_is_stated() -> None:
    for stated in (20, 250):
        w = window(images=50, adaptive=True)
        w.restrict(window(images=stated).limit)
        w.restrict(window(images=500).limit)
        assert w.limit.images == stated


def test_what_the_server_said_outlasts_a_higher_limit_that_is_stated_later() -> None:
    w = window(images=50, adaptive=True)
    w.throttled(sent_now(w, 0.0), 0.1, names(20, 60.0))
    w.restrict(window(images=250).limit)
    assert w.limit.images == 20

"""The rate window under an invented clock: a machine that does anything in any order, and the single promises."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from imagesdk._protocol.window import RateWindow, Ticket
from imagesdk.policies import RateLimit


class AnyOrder(RuleBasedStateMachine):
    """Calls that come, go, are sent, refused and given up in any order."""

    @initialize(images=st.integers(1, 8), per=st.sampled_from([60.0, 1.0, 0.3]))
    def begin(self, images: int, per: float) -> None:
        self.window = RateWindow(RateLimit(images=images, per=per))
        self.per = per
        self.now = 1000.0
        self.queue: list[Ticket] = []
        self.granted: list[Ticket] = []
        self.log: dict[Ticket, float] = {}
        """When each request that counts was sent."""
        self.next_at: float | None = None

    def poll(self) -> list[Ticket]:
        granted, self.next_at = self.window.poll(self.now)
        assert granted == self.queue[: len(granted)], "first come, first served"
        del self.queue[: len(granted)]
        self.granted += granted
        return granted

    @rule(share=st.floats(0, 1))
    def come(self, share: float) -> None:
        weight = 1 + round(share * (self.window.limit.images - 1))
        assert self.window.fits(weight)
        self.queue.append(self.window.enqueue(weight))
        self.poll()

    @rule(share=st.floats(0, 2))
    def pass_time(self, share: float) -> None:
        self.now += share * self.per
        self.poll()

    @precondition(lambda self: self.next_at is not None)
    @rule()
    def wake_up(self) -> None:
        """At the time that was named, the first in line goes, or a later time is named: nobody sleeps on."""
        assert self.next_at is not None
        named = self.now = max(self.now, self.next_at)
        if not self.poll() and self.queue:
            assert self.next_at is not None
            assert self.next_at > named

    @precondition(lambda self: self.granted)
    @rule(at=st.integers(0, 99))
    def be_sent(self, at: int) -> None:
        ticket = self.granted.pop(at % len(self.granted))
        self.window.sent(ticket, self.now)
        self.window.sent(ticket, self.now + 5.0)
        self.log[ticket] = self.now
        self.poll()

    @precondition(lambda self: self.granted)
    @rule(at=st.integers(0, 99))
    def give_up_a_grant(self, at: int) -> None:
        self.window.cancel(self.granted.pop(at % len(self.granted)))
        self.poll()

    @precondition(lambda self: self.queue)
    @rule(at=st.integers(0, 99))
    def leave_the_line(self, at: int) -> None:
        self.window.cancel(self.queue.pop(at % len(self.queue)))
        self.poll()

    @precondition(lambda self: self.log)
    @rule(at=st.integers(0, 99))
    def give_up_what_was_sent(self, at: int) -> None:
        self.window.cancel(list(self.log)[at % len(self.log)])
        self.poll()

    @precondition(lambda self: self.log)
    @rule(at=st.integers(0, 99), retry_after=st.none() | st.floats() | st.floats(0, 3))
    def be_refused(self, at: int, retry_after: float | None) -> None:
        ticket = list(self.log)[at % len(self.log)]
        del self.log[ticket]
        self.window.throttled(ticket, self.now, retry_after)
        self.queue = sorted([*self.queue, ticket], key=lambda waiting: waiting.number)
        self.poll()

    @rule()
    def succeed(self) -> None:
        self.window.proven()

    @invariant()
    def never_more_than_the_limit_in_any_window(self) -> None:
        for end in self.log.values():
            within = sum(t.weight for t, sent in self.log.items() if end - self.per < sent <= end)
            assert within <= self.window.limit.images

    @invariant()
    def what_is_granted_counts_until_it_has_aged(self) -> None:
        recent = [t for t, sent in self.log.items() if sent > self.now - self.per]
        assert sum(t.weight for t in [*self.granted, *recent]) <= self.window.limit.images

    @invariant()
    def nobody_waits_without_a_time_unless_a_grant_is_unsent(self) -> None:
        if self.queue and self.next_at is None:
            unsent = sum(ticket.weight for ticket in self.granted)
            assert unsent + self.queue[0].weight > self.window.limit.images
        if self.next_at is not None:
            assert self.queue
            assert self.now < self.next_at <= self.now + 3 * self.per

    @invariant()
    def idle_means_that_nothing_is_left(self) -> None:
        if self.window.idle:
            assert not self.queue
            assert not self.granted
            assert all(sent <= self.now - self.per for sent in self.log.values())

    def teardown(self) -> None:
        """All who wait start when it was said that they would, if everything is sent at once."""
        if not hasattr(self, "window"):
            return
        for ticket in self.granted:
            self.window.sent(ticket, self.now)
        self.granted.clear()
        expected = {ticket: self.window.expected_start(ticket, self.now) for ticket in self.queue}
        assert list(expected.values()) == sorted(expected.values())
        while True:
            granted = self.poll()
            for ticket in granted:
                assert self.now == pytest.approx(expected[ticket], abs=1e-6)
                self.window.sent(ticket, self.now)
            if not granted:
                if self.next_at is None:
                    break
                self.now = self.next_at
        assert not self.queue
        self.window.poll(self.now + 2 * self.per)
        assert self.window.idle


def test_any_order_of_events_keeps_the_limit_and_forgets_nobody() -> None:
    run_state_machine_as_test(
        AnyOrder, settings=settings(max_examples=80, stateful_step_count=40, deadline=None)
    )


def window(images: int = 4, per: float = 60.0) -> RateWindow:
    return RateWindow(RateLimit(images=images, per=per))


def grants(window_: RateWindow, now: float) -> list[Ticket]:
    """All that go within a burst that begins now, each sent at once."""
    found: list[Ticket] = []
    while True:
        granted, next_at = window_.poll(now)
        for ticket in granted:
            window_.sent(ticket, now)
        found += granted
        if next_at is None or next_at > now + 2 * window_.gap:
            return found
        now = next_at


def sent_now(window_: RateWindow, now: float, weight: int = 1) -> Ticket:
    ticket = window_.enqueue(weight)
    assert grants(window_, now) == [ticket]
    return ticket


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


def test_a_small_request_does_not_pass_a_large_one() -> None:
    w = window(images=4)
    sent_now(w, 0.0, weight=2)
    large, small = w.enqueue(3), w.enqueue(1)
    assert grants(w, 1.0) == []
    assert grants(w, 61.0) == [large, small]


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
    w.clear_queue()
    assert w.poll(1.0) == ([], None)
    assert not w.idle
    w.poll(61.0)
    assert w.idle


class TestARefusal:
    def test_keeps_the_place_in_line(self) -> None:
        w = window(images=2)
        first, second = sent_now(w, 0.0), sent_now(w, 1.0)
        third = w.enqueue(2)
        w.throttled(second, 2.0, 5.0)
        w.throttled(first, 2.1, 5.0)
        assert grants(w, 10.0) == [first, second]
        assert grants(w, 200.0) == [third]

    def test_gives_its_room_back(self) -> None:
        w = window(images=1)
        first = sent_now(w, 0.0)
        w.throttled(first, 1.0, 5.0)
        assert grants(w, 6.0) == [first]

    @pytest.mark.parametrize("asked", [0.5, 7.0, 60.0, 120.0])
    def test_pauses_everybody_as_long_as_the_server_asks(self, asked: float) -> None:
        w = window(images=4)
        first = sent_now(w, 0.0)
        second = w.enqueue(1)
        w.throttled(first, 1.0, asked)
        assert w.poll(1.0) == ([], 1.0 + asked)
        assert w.poll(1.0 + asked - 0.01)[0] == []
        assert grants(w, 1.0 + asked) == [first, second]

    @pytest.mark.parametrize(
        "absurd", [None, 0.0, -5.0, 120.001, 3600.0, 1e308, math.inf, -math.inf, math.nan]
    )
    def test_with_an_absurd_time_or_none_pauses_a_little(self, absurd: float | None) -> None:
        w = window(images=4)
        first = sent_now(w, 0.0)
        w.throttled(first, 1.0, absurd)
        assert w.poll(1.0) == ([], 2.0)
        assert grants(w, 2.0) == [first]

    def test_pauses_once_for_all_that_were_sent_before(self) -> None:
        w = window(images=4)
        tickets = [sent_now(w, float(at)) for at in range(3)]
        for at, ticket in enumerate(tickets):
            w.throttled(ticket, 3.0 + at, 30.0)
        assert w.poll(6.0) == ([], 33.0)
        assert grants(w, 33.0) == tickets

    def test_of_a_request_from_before_the_pause_that_comes_after_it_changes_nothing(self) -> None:
        w = window(images=4)
        early, late = sent_now(w, 0.0), sent_now(w, 1.0)
        w.throttled(early, 2.0, 10.0)
        assert grants(w, 12.0) == [early]
        w.throttled(late, 13.0, 10.0)
        assert grants(w, 13.0) == [late]

    def test_of_a_request_sent_the_moment_a_pause_ends_pauses_again(self) -> None:
        w = window(images=4, per=0.1)
        ticket = sent_now(w, 0.3)
        now = 0.3
        for _ in range(20):
            w.throttled(ticket, now, None)
            granted, next_at = w.poll(now)
            assert not granted
            assert next_at is not None
            now = next_at
            assert grants(w, now) == [ticket]

    def repeated(self, w: RateWindow, retry_after: float | None, times: int) -> list[float]:
        """The pauses after refusals that follow each other."""
        ticket, now, pauses = sent_now(w, 0.0), 0.0, list[float]()
        for _ in range(times):
            w.throttled(ticket, now, retry_after)
            next_at = w.poll(now)[1]
            assert next_at is not None
            pauses.append(next_at - now)
            now = next_at
            assert grants(w, now) == [ticket]
        return pauses

    def test_that_repeats_pauses_longer_and_a_window_at_most(self) -> None:
        pauses = self.repeated(window(images=4), None, 9)
        assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_with_a_time_too_small_does_not_hammer(self) -> None:
        pauses = self.repeated(window(images=4), 0.5, 9)
        assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])

    def test_that_repeats_for_days_still_pauses_a_window(self) -> None:
        assert self.repeated(window(images=4), None, 2000)[-1] == pytest.approx(60)

    def test_after_a_success_begins_small_again(self) -> None:
        w = window(images=4)
        self.repeated(w, None, 5)
        w.proven()
        ticket = sent_now(w, 500.0)
        w.throttled(ticket, 500.0, None)
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
        w.throttled(first, 1.0, 30.0)
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

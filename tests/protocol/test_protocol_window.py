"""The rate limit against every order of events: never too much in a window, first come first served."""

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imagesdk import RateLimit
from imagesdk._protocol.window import RateWindow, Ticket

PER = 60.0
IMAGES = 10


def _window(images: int = IMAGES) -> RateWindow:
    return RateWindow(RateLimit(images=images, per=PER))


def _granted(window: RateWindow, now: float) -> list[Ticket]:
    return window.poll(now)[0]


def _run(window: RateWindow, now: float, tickets: int) -> list[tuple[float, Ticket]]:
    """Send every grant at once, moving time to where the window says, until so many went out."""
    sent: list[tuple[float, Ticket]] = []
    while len(sent) < tickets:
        granted, next_at = window.poll(now)
        for ticket in granted:
            window.sent(ticket, now)
            sent.append((now, ticket))
        if len(sent) < tickets:
            next_at = window.poll(now)[1]
            assert next_at is not None
            assert next_at > now
            now = next_at
    return sent


def test_a_burst_of_a_whole_window_goes_out_with_small_gaps_and_the_rest_one_window_later() -> None:
    window = _window()
    for _ in range(15):
        window.enqueue(1)
    times = [at for at, _ in _run(window, 0.0, 15)]
    assert times[9] < 1.0
    assert times[10] >= PER
    assert all(b - a >= window.gap * 0.999 for a, b in pairwise(times))


def test_weight_is_counted_in_images() -> None:
    window = _window()
    for weight in (4, 4, 4):
        window.enqueue(weight)
    times = [at for at, _ in _run(window, 0.0, 3)]
    assert times[1] < 1.0
    assert times[2] >= PER


def test_the_head_of_the_line_is_never_passed() -> None:
    window = _window()
    first, big, small = window.enqueue(8), window.enqueue(8), window.enqueue(1)
    assert [ticket for _, ticket in _run(window, 0.0, 3)] == [first, big, small]


def test_the_window_counts_from_the_moment_of_sending() -> None:
    window = _window(1)
    ticket, waiting = window.enqueue(1), window.enqueue(1)
    assert _granted(window, 0.0) == [ticket]
    assert window.poll(50.0) == ([], None)
    window.sent(ticket, 50.0)
    granted, next_at = window.poll(51.0)
    assert granted == []
    assert next_at is not None
    assert next_at >= 50.0 + PER
    assert _granted(window, next_at) == [waiting]


def test_a_grant_that_was_never_sent_gives_its_room_back_and_one_that_was_sent_does_not() -> None:
    window = _window(1)
    ticket, second, third = window.enqueue(1), window.enqueue(1), window.enqueue(1)
    assert _granted(window, 0.0) == [ticket]
    window.cancel(ticket)
    assert _granted(window, 1.0) == [second]
    window.sent(second, 1.0)
    window.cancel(second)
    assert _granted(window, 2.0) == []
    window.cancel(third)
    assert window.poll(PER * 2) == ([], None)
    assert window.idle


def test_what_can_never_fit_is_known_beforehand() -> None:
    assert _window().fits(IMAGES)
    assert not _window().fits(IMAGES + 1)


def _throttled_window(count: int) -> tuple[RateWindow, list[Ticket], float]:
    window = _window()
    for _ in range(count):
        window.enqueue(1)
    sent = _run(window, 0.0, count)
    return window, [ticket for _, ticket in sent], sent[-1][0]


def test_429_pauses_everybody_once_for_all_requests_that_were_under_way() -> None:
    window, tickets, now = _throttled_window(3)
    for ticket in tickets:
        window.throttled(ticket, now + 1, 5.0)
    late = window.enqueue(1)
    assert _granted(window, now + 5.9) == []
    order = [ticket for _, ticket in _run(window, now + 6.1, 4)]
    assert order == [*tickets, late]


@pytest.mark.parametrize("wrong", [None, 0.0, -3.0, 3600.0])
def test_a_wait_that_is_missing_or_absurd_becomes_a_back_off_within_one_window(wrong: float | None) -> None:
    window, [ticket], now = _throttled_window(1)
    pauses: list[float] = []
    for _ in range(12):
        window.throttled(ticket, now, wrong)
        next_at = window.poll(now)[1]
        assert next_at is not None
        pauses.append(next_at - now)
        now = next_at
        assert _granted(window, now) == [ticket]
        window.sent(ticket, now)
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] <= 1.0
    assert pauses[-1] == pytest.approx(PER)


def test_a_success_lets_pauses_begin_small_again() -> None:
    window, [ticket], now = _throttled_window(1)
    pauses: list[float] = []
    for proven in (False, False, True):
        if proven:
            window.proven()
        window.throttled(ticket, now, None)
        next_at = window.poll(now)[1]
        assert next_at is not None
        pauses.append(next_at - now)
        now = next_at
        assert _granted(window, now) == [ticket]
        window.sent(ticket, now)
    assert pauses[0] < pauses[1]
    assert pauses[2] == pytest.approx(pauses[0])


def test_the_expected_start_is_when_it_then_goes() -> None:
    window = _window()
    tickets = [window.enqueue(weight) for weight in (3, 4, 5, 1, 10, 2, 2)]
    expected = [window.expected_start(ticket, 0.0) for ticket in tickets]
    actual = [at for at, _ in _run(window, 0.0, len(tickets))]
    assert actual == pytest.approx(expected, abs=1.0)


class Limited(RuleBasedStateMachine):
    """Every order of joining, sending, giving up, being refused and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.window = _window()
        self.now = 0.0
        self.waiting: deque[Ticket] = deque()
        self.unsent: list[Ticket] = []
        self.sent: list[Ticket] = []
        self.log: list[tuple[float, Ticket]] = []

    @rule(weight=st.integers(1, IMAGES))
    def join(self, weight: int) -> None:
        self.waiting.append(self.window.enqueue(weight))

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 1.0, 7.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._poll()

    @rule()
    def wait_as_told(self) -> None:
        next_at = self._poll()
        if next_at is not None:
            before = len(self.waiting)
            self.now = max(self.now, next_at)
            later = self._poll()
            # No lost wake-up: the time it named was right, or it names a later one.
            assert len(self.waiting) < before or (later is not None and later > next_at)

    def _poll(self) -> float | None:
        granted, next_at = self.window.poll(self.now)
        for ticket in granted:
            assert ticket is self.waiting.popleft()
            self.unsent.append(ticket)
        if self.waiting and next_at is None:
            assert self.unsent, "someone waits and nothing will wake them"
        return None if granted else next_at

    @precondition(lambda self: self.unsent)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        ticket = self.unsent.pop(data.draw(st.integers(0, len(self.unsent) - 1)))
        self.window.sent(ticket, self.now)
        self.sent.append(ticket)
        self.log.append((self.now, ticket))

    @precondition(lambda self: self.unsent)
    @rule()
    def give_a_grant_back(self) -> None:
        self.window.cancel(self.unsent.pop())

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave_the_line(self, data: st.DataObject) -> None:
        ticket = self.waiting[data.draw(st.integers(0, len(self.waiting) - 1))]
        self.waiting.remove(ticket)
        self.window.cancel(ticket)

    @precondition(lambda self: self.sent)
    @rule(retry_after=st.sampled_from([None, 0.0, 0.5, 20.0, 3600.0]))
    def be_refused(self, retry_after: float | None) -> None:
        ticket = self.sent.pop()
        # Refused work was not done, so it does not count; and it stands again where it stood.
        self.log = [(at, other) for at, other in self.log if other is not ticket]
        self.window.throttled(ticket, self.now, retry_after)
        place = next(
            (i for i, other in enumerate(self.waiting) if other.number > ticket.number), len(self.waiting)
        )
        self.waiting.insert(place, ticket)

    @invariant()
    def never_more_than_the_limit_in_any_window(self) -> None:
        recent = [ticket.weight for at, ticket in self.log if at > self.now - PER]
        assert sum(recent) + sum(ticket.weight for ticket in self.unsent) <= IMAGES

    def teardown(self) -> None:
        """Nothing leaks: when all have left, and a window has passed, the limit is as new."""
        for ticket in (*self.waiting, *self.unsent):
            self.window.cancel(ticket)
        self.window.poll(self.now + 2 * PER)
        assert self.window.idle


TestLimited = Limited.TestCase
TestLimited.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""Promises of the sliding window, with a clock that the test moves."""

import math
from typing import Any

import pytest

from imagesdk._protocol.server_limits import NO_SERVER_LIMITS, ServerLimit, ServerLimits
from imagesdk._ratelimit.queue import Permit
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk.policies import RateLimit
from tests.ratelimit.windows import AGED, grants, sent_now, starts, waits, window


def went(w: SlidingWindow, now: float, until: float) -> list[Permit]:
    return [permit for permit, _ in starts(w, now, until)]


def test_a_burst_is_granted_with_a_small_gap() -> None:
    w = window(images=50)
    permits = [w.enqueue(1) for _ in range(60)]
    assert w.grant_ready(0.0) == ([permits[0]], w.pacer.gap)
    assert w.pacer.gap == 0.05
    assert grants(w, w.pacer.gap) == permits[1:50]


@pytest.mark.parametrize(("images", "gap"), [(1, 0.05), (50, 0.05), (1000, 0.015)])
def test_the_gap_never_costs_more_than_a_quarter_of_the_window(images: int, gap: float) -> None:
    assert window(images=images).pacer.gap == pytest.approx(gap)
    assert images * window(images=images).pacer.gap <= 15.0


def test_capacity_is_free_one_window_after_sending_not_after_granting() -> None:
    w = window(images=1)
    first, second = w.enqueue(1), w.enqueue(1)
    assert w.grant_ready(0.0) == ([first], None)
    w.sent(first, 30.0)
    assert w.grant_ready(70.0) == ([], 30.0 + AGED)
    assert w.grant_ready(90.0)[0] == []
    assert w.grant_ready(30.0 + AGED)[0] == [second]


@pytest.mark.parametrize("per", [0.3, 1.0, 60.0, 3600.0])
def test_the_window_is_a_little_longer_than_the_one_of_the_server(per: float) -> None:
    assert per < window(per=per).log.window_seconds <= per * 1.01 + 0.1


def test_what_another_process_sent_takes_capacity_until_its_window_ends() -> None:
    w = window(images=4)
    w.remember(1, 90.0, 100.0)
    w.remember(2, 40.0, 100.0)
    w.remember(4, 10.0, 100.0)  # its window has ended
    first, second = w.enqueue(2), w.enqueue(1)
    assert w.expected_start(first, 100.0) == 40.0 + AGED
    assert grants(w, 100.0) == [second]
    assert grants(w, 40.0 + AGED) == [first]


GRANTS: dict[str, Any] = {
    "a limit of images counts the images of a request": ({}, [(3,), (2,), (1,)], [[0], [1, 2]]),
    "a limit of requests applies beside it": ({"requests": 2}, [(1,), (1,), (1,), (4,)], [[0, 1], [2], [3]]),
    "a limit of tokens applies beside it": ({"tokens": 1000}, [(1, 600), (1, 400), (1, 1)], [[0, 1], [2]]),
    "more tokens than the limit are granted alone": (
        {"tokens": 1000},
        [(1, 1), (1, 5000), (1, 1)],
        [[0], [1], [2]],
    ),
}


@pytest.mark.parametrize(("limits", "waiting", "by_window"), GRANTS.values(), ids=GRANTS)
def test_each_window_grants_what_its_limits_allow(
    limits: Any, waiting: Any, by_window: list[list[int]]
) -> None:
    w = window(images=4, **limits)
    permits = [w.enqueue(*request) for request in waiting]
    for at, granted in enumerate(by_window):
        assert grants(w, at * 61.0) == [permits[number] for number in granted]


@pytest.mark.parametrize("limits", [{"images": 1}, {"images": 4, "requests": 1}, {"images": 4, "tokens": 1}])
def test_a_cancelled_grant_that_was_not_sent_frees_its_capacity_at_once(limits: Any) -> None:
    w = window(**limits)
    first, second = w.enqueue(1, 1), w.enqueue(1, 1)
    assert w.grant_ready(0.0) == ([first], None)
    w.cancel(first)
    w.cancel(first)
    assert w.grant_ready(w.pacer.gap)[0] == [second]


def test_a_cancelled_request_that_was_sent_keeps_its_capacity() -> None:
    w = window(images=1)
    first = sent_now(w, 0.0)
    w.cancel(first)
    w.enqueue(1)
    assert w.grant_ready(30.0)[0] == []


OVERTAKING: dict[str, Any] = {
    "if it does not delay it": ({}, [(0.0, 2)], [(3,), (1,), (1,)], [(1, 11.0), (0, AGED), (2, 11.0 + AGED)]),
    "not if it would delay it": ({}, [(0.0, 2)], [(4,), (1,)], [(0, AGED), (1, 2 * AGED)]),
    "on freed capacity": ({"images": 8}, [(0.0, 4), (10.0, 4)], [(5,), (3,)], [(1, AGED), (0, 10.0 + AGED)]),
    "and others": ({"images": 8}, [(0.0, 4)], [(7,), (6,), (5,), (1,)], [(3, 11.0), (0, AGED)]),
    "not if requests are limited": ({"requests": 1}, [(0.0, 2)], [(3,), (1,)], [(0, AGED), (1, 2 * AGED)]),
    "within a limit of tokens": (
        {"tokens": 10},
        [(0.0, 1, 5)],
        [(1, 8), (1, 5), (1, 2)],
        [(2, 11.0), (0, AGED)],
    ),
}


@pytest.mark.parametrize(("limits", "sent", "waiting", "expected"), OVERTAKING.values(), ids=OVERTAKING)
def test_a_small_request_overtakes_a_large_one(limits: Any, sent: Any, waiting: Any, expected: Any) -> None:
    w = window(**limits)
    for request in sent:
        sent_now(w, *request)
    permits = [w.enqueue(*request) for request in waiting]
    found = starts(w, 11.0, expected[-1][1] + 1.0)
    assert [(permits.index(permit), at) for permit, at in found] == expected


def test_a_small_request_waits_while_the_start_of_the_large_one_is_unknown() -> None:
    w = window(images=4)
    unsent, large, small = w.enqueue(2), w.enqueue(3), w.enqueue(1)
    assert w.grant_ready(0.0) == ([unsent], None)
    assert w.grant_ready(1.0) == ([], None)
    w.sent(unsent, 2.0)
    assert w.grant_ready(2.0)[0] == [small]
    assert starts(w, 2.0, 100.0) == [(large, 2.0 + AGED)]


def test_the_tokens_of_a_response_replace_the_estimate() -> None:
    w = window(images=50, tokens=1000)
    first, second = sent_now(w, 0.0, tokens=1000), w.enqueue(1, 300)
    w.correct_tokens(first, 800)
    assert grants(w, 1.0) == []
    w.correct_tokens(first, 700)
    assert grants(w, 2.0) == [second]


def test_a_request_that_took_more_tokens_than_estimated_delays_the_next_one() -> None:
    w = window(images=50, tokens=1000)
    first, second = sent_now(w, 0.0, tokens=100), sent_now(w, 1.0, tokens=100)
    w.correct_tokens(first, 1500)
    third = w.enqueue(1, 900)
    assert starts(w, 2.0, 61.0) == [(third, AGED)]
    w.correct_tokens(second, 50)


@pytest.mark.parametrize("cancelled", [False, True])
def test_tokens_of_a_cancelled_request_and_of_one_whose_window_has_ended_change_nothing(
    cancelled: bool,
) -> None:
    w = window(images=50, tokens=1000)
    gone = w.enqueue(1, 900)
    assert w.grant_ready(0.0)[0] == [gone]
    w.cancel(gone) if cancelled else w.sent(gone, 0.0)
    w.grant_ready(61.0)
    w.correct_tokens(gone, 100)
    first, second = w.enqueue(1, 1000), w.enqueue(1, 1)
    assert grants(w, 62.0) == [first]
    assert second.waiting


def test_a_permit_that_rejoins_is_granted_before_all_later_ones() -> None:
    w = window(images=2)
    first, second = sent_now(w, 0.0), sent_now(w, 1.0)
    third, fourth = w.enqueue(1), w.enqueue(1)
    w.cancel(first)
    w.cancel(second)
    again = w.enqueue(1, rejoin=second)
    assert [w.queue.position(permit)[0] for permit in (again, third, fourth)] == [0, 1, 2]
    assert went(w, 2.0, 100.0) == [again, third]
    assert grants(w, 130.0) == [fourth]


def test_rejected_requests_keep_their_places_in_the_queue_and_free_their_capacity() -> None:
    w = window(images=2)
    first, second = sent_now(w, 0.0), sent_now(w, 1.0)
    third = w.enqueue(2)
    w.rejected(second, 2.0, waits(5.0))
    w.rejected(first, 2.1, waits(5.0))
    assert went(w, 10.0, 59.0) == [first, second]
    assert grants(w, 200.0) == [third]


@pytest.mark.parametrize("asked", [0.5, 7.0, 60.0, 120.0])
def test_a_429_pauses_all_requests_as_long_as_the_server_asks(asked: float) -> None:
    w = window(images=4)
    first = sent_now(w, 0.0)
    second = w.enqueue(1)
    w.rejected(first, 1.0, waits(asked))
    assert w.grant_ready(1.0) == ([], 1.0 + asked)
    assert w.grant_ready(1.0 + asked - 0.01)[0] == []
    assert went(w, 1.0 + asked, 20.0 + asked) == [first, second]


@pytest.mark.parametrize("absurd", [None, 0.0, -5.0, 120.001, 3600.0, 1e308, math.inf, -math.inf, math.nan])
def test_a_429_without_a_usable_retry_after_pauses_for_a_sixtieth_of_a_window(absurd: float | None) -> None:
    w = window(images=4)
    first = sent_now(w, 0.0)
    w.rejected(first, 1.0, NO_SERVER_LIMITS if absurd is None else waits(absurd))
    assert w.grant_ready(1.0) == ([], 2.0)
    assert grants(w, 2.0) == [first]


def test_429s_of_requests_sent_before_a_pause_start_no_other() -> None:
    w = window(images=4)
    *permits, late = [sent_now(w, float(at)) for at in range(3)]
    for at, permit in enumerate(permits):
        w.rejected(permit, 3.0 + at, waits(30.0))
    assert w.grant_ready(5.0) == ([], 33.0)
    assert went(w, 33.0, 40.0) == permits
    w.rejected(late, 41.0, waits(30.0))
    assert went(w, 41.0, 60.0) == [late]


def test_a_429_of_a_request_sent_at_the_end_of_a_pause_starts_another() -> None:
    w = window(images=4, per=0.1)
    permit = sent_now(w, 0.3)
    now = 0.3
    for _ in range(20):
        w.rejected(permit, now, NO_SERVER_LIMITS)
        granted, next_at = w.grant_ready(now)
        assert not granted
        assert next_at is not None
        now = next_at
        assert grants(w, now) == [permit]


def repeated_pauses(w: SlidingWindow, retry_after: float | None, times: int) -> list[float]:
    """The pauses after repeated 429s."""
    permit, now, pauses = sent_now(w, 0.0), 0.0, list[float]()
    for _ in range(times):
        w.rejected(permit, now, NO_SERVER_LIMITS if retry_after is None else waits(retry_after))
        next_at = w.grant_ready(now)[1]
        assert next_at is not None
        pauses.append(next_at - now)
        now = next_at
        assert grants(w, now) == [permit]
    return pauses


@pytest.mark.parametrize(("retry_after", "first", "times"), [(None, 1, 2000), (0.5, 0.5, 9)])
def test_repeated_429s_pause_longer_and_at_most_a_window(
    retry_after: float | None, first: float, times: int
) -> None:
    pauses = repeated_pauses(window(images=4), retry_after, times)
    assert pauses == pytest.approx([first, 3, 9, 27, *[60] * (times - 4)])


def test_pauses_start_small_again_after_a_success() -> None:
    w = window(images=4)
    repeated_pauses(w, None, 5)
    w.accepted(sent_now(w, 400.0), NO_SERVER_LIMITS)
    permit = sent_now(w, 500.0)
    w.rejected(permit, 500.0, NO_SERVER_LIMITS)
    assert w.grant_ready(500.0)[1] == 501.0


EXPECTED_STARTS: dict[str, Any] = {
    "now if there is capacity": ({"images": 4}, [], [(4,)], 5.0, [5.0]),
    "earlier permits count, and later ones do not": (
        {"images": 2},
        [],
        [(2,)] * 4,
        0.0,
        [0.0, AGED, 2 * AGED, 3 * AGED],
    ),
    "sent requests count": ({"images": 2}, [(0.0, 2)], [(1,)], 10.0, [AGED]),
    "requests count if they are limited": (
        {"images": 50, "requests": 2},
        [(0.0, 1), (10.0, 1)],
        [(1,)] * 5,
        20.0,
        [AGED, 10 + AGED, 2 * AGED, 10 + 2 * AGED, 3 * AGED],
    ),
    "tokens count as if earlier requests took as many": (
        {"images": 50, "tokens": 1000},
        [(0.0, 1, 900)],
        [(1, 600)] * 3,
        10.0,
        [AGED, 2 * AGED, 2 * AGED],
    ),
    "now for a request that overtakes": ({"images": 4}, [(0.0, 2)], [(3,), (1,)], 1.0, [AGED, 1.0]),
}


@pytest.mark.parametrize(
    ("limits", "sent", "waiting", "now", "expected"), EXPECTED_STARTS.values(), ids=EXPECTED_STARTS
)
def test_the_expected_start_counts_all_that_comes_before(
    limits: Any, sent: Any, waiting: Any, now: float, expected: list[float]
) -> None:
    w = window(**limits)
    for request in sent:
        sent_now(w, *request)
    permits = [w.enqueue(*request) for request in waiting]
    assert [w.expected_start(permit, now) for permit in permits] == pytest.approx(expected)


def test_the_expected_start_follows_changes_of_the_log() -> None:
    w = window(images=2)
    first = sent_now(w, 0.0)
    waiting = w.enqueue(2)
    assert w.expected_start(waiting, 5.0) == AGED
    w.remember(1, 8.0, 10.0)
    assert w.expected_start(waiting, 10.0) == 8.0 + AGED
    w.rejected(first, 20.0, waits(100.0))
    assert w.expected_start(first, 20.0) == 120.0
    assert w.expected_start(waiting, 20.0) == 120.0 + AGED
    w.cancel(first)
    assert w.expected_start(waiting, 20.0) == 120.0


def test_the_expected_start_counts_the_pace() -> None:
    w = window(images=60)
    w.rejected(sent_now(w, 0.0), 0.0, waits(1.0))
    permits = [w.enqueue(2) for _ in range(3)]
    starts = [w.expected_start(permit, 0.0) for permit in permits]
    assert starts == pytest.approx([1 + 1.03, 1 + 3 * 1.03, 1 + 5 * 1.03])


def test_the_expected_start_counts_every_limit_that_applies() -> None:
    w = window(images=2, per=1.0)
    w.restrict(RateLimit(3, per=60.0))
    permits = [w.enqueue(1) for _ in range(4)]
    assert w.expected_start(permits[2], 0.0) < 1.2
    assert w.expected_start(permits[3], 0.0) > 60.0


def test_the_expected_start_of_a_granted_request_is_now() -> None:
    w = window()
    assert w.expected_start(sent_now(w, 0.0), 5.0) == 5.0


def test_very_many_requests_of_an_earlier_run_count_in_few_entries() -> None:
    w = window(200_000, 3600.0, requests=150_000)

    w.remember_all([(1, at / 50) for at in range(100_000)], now=2000.0)

    assert (w.log.images, w.log.requests) == (100_000, 100_000)
    assert len(list(w.log.sent())) <= 1001
    w.grant_ready(3600.0 + 1000.0)
    assert w.log.requests == pytest.approx(50_000, rel=0.03)


def test_only_what_the_server_does_not_count_gives_its_capacity_back() -> None:
    w = window(2)
    for at, (uncounted, remaining, images) in enumerate(
        ((False, None, 1), (True, None, 1), (False, 1, 1), (False, 0, 2)), 1
    ):
        stated = ServerLimits(limits={"images": ServerLimit(2)}, remaining_images=remaining)
        w.answered(sent_now(w, float(at)), stated, uncounted=uncounted)
        assert w.log.images == images

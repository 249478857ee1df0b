"""The simulator itself: its limits count as such servers do, and its optimum is one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesdk._protocol.api_errors import status_failure
from tests.simulator.accounts import KINDS, account_of, mixed
from tests.simulator.fan_out import fan_out
from tests.simulator.faults import USUAL, Fault, Faults
from tests.simulator.headers import WAITS, ServerStyle, Wait
from tests.simulator.limits import Account, FixedWindow, Gcra, Refusal, SlidingLog, steadily
from tests.simulator.optimum import last_admission
from tests.simulator.server import SimulatedServer

arrivals = st.lists(st.tuples(st.sampled_from([0.0, 0.05, 0.7, 3.0, 20.0]), st.sampled_from([1, 4, 10])))


@pytest.mark.parametrize("kind", KINDS)
@given(arrivals=arrivals)
@settings(max_examples=50, deadline=None)
def test_a_request_that_waits_as_long_as_it_is_told_is_let_in_and_not_a_moment_sooner(
    kind: str, arrivals: list[tuple[float, int]]
) -> None:
    account, now = account_of(kind, 20)(), 0.0
    for pause, weight in arrivals:
        now += pause
        refusal = account.admit(weight, now)
        if refusal is None:
            continue
        then = now + refusal.retry_after
        if refusal.retry_after > 1e-6:
            assert account.admit(weight, then - 1e-7) is not None
        assert account.admit(weight, then) is None
        now = then


@given(arrivals=arrivals)
@settings(max_examples=50, deadline=None)
def test_a_sliding_log_never_lets_in_more_than_its_limit_in_any_window(
    arrivals: list[tuple[float, int]],
) -> None:
    account, now = account_of("sliding", 20)(), 0.0
    admitted: list[tuple[float, int]] = []
    for pause, weight in arrivals:
        now += pause
        if account.admit(weight, now) is None:
            admitted.append((now, weight))
    for until, _ in admitted:
        assert sum(weight for since, weight in admitted if until - 60 + 1e-6 < since <= until) <= 20


def test_a_fixed_window_starts_anew_at_its_phase() -> None:
    account = Account(FixedWindow(2, 60, phase=0.25))

    assert [account.admit(2, 0), account.admit(2, 15), account.admit(2, 75)] == [None] * 3
    assert account.admit(1, 80) == Refusal(55, 2, 60, 3)


def test_a_bucket_refills_evenly_and_one_of_a_single_image_goes_into_debt_for_more() -> None:
    whole, single = Account(Gcra(50, burst=50)), Account(Gcra(50))

    assert whole.admit(50, 0) is None
    assert whole.limit.wait(1, 0) == pytest.approx(1.2)
    assert single.admit(10, 0) is None
    assert single.limit.wait(1, 0) == pytest.approx(12)
    assert (single.remaining(0), single.remaining(12)) == (0, 1)


def test_others_have_their_images_without_asking() -> None:
    account = Account(SlidingLog(50), others=[(0.0, 30), *steadily(5, every=10, until=20)])

    assert account.admit(20, 0) is not None
    assert account.admit(15, 0) is None
    assert account.remaining(10) == 0
    assert account.next_room(1, 10) == 60


def test_requests_that_were_refused_can_count_too() -> None:
    strict = Account(SlidingLog(2), counts_refused=True)

    assert strict.admit(2, 0) is None
    assert strict.admit(1, 30) == Refusal(30, 2, 60, 3)
    assert strict.admit(2, 60) == Refusal(60, 2, 60, 3)


def test_the_optimum_of_200_pictures_is_the_one_that_can_be_computed_by_hand() -> None:
    one_by_one = [1] * 200

    assert last_admission(account_of("sliding")(), one_by_one) == 180
    assert last_admission(account_of("gcra50")(), one_by_one) == pytest.approx(180)
    assert last_admission(account_of("gcra1")(), one_by_one) == pytest.approx(199 * 1.2)
    assert last_admission(account_of("fixed", phase=0.25)(), one_by_one) == 15 + 120
    assert last_admission(account_of("sliding")(), [30, 30, 20, 1]) == 120


@pytest.mark.parametrize("wait", WAITS)
def test_a_refusal_says_its_wait_in_the_way_that_is_asked_for(wait: Wait) -> None:
    headers, body = ServerStyle(wait=wait).refuse(Refusal(25.1234, 50, 60.0, 51))

    failure = status_failure(429, headers, body, now=datetime.now(UTC), requested=1)

    assert b"Limit: 50/1min. Current: 51/1min." in body
    if wait in {"nothing", "-5", "soon"}:
        assert failure.retry_after is None
    elif wait in {"0", "1", "3600"}:
        assert failure.retry_after == float(wait)
    elif wait == "retry after":
        assert b"Please retry after 26 seconds" in body
    else:
        assert failure.retry_after is not None
        assert 25.1234 <= failure.retry_after <= 27.1234


def test_answers_tell_how_much_of_the_limit_is_left() -> None:
    account = Account(SlidingLog(50))
    account.admit(4, 0.0)

    assert ServerStyle(family="requests").headers(account, 1.5) == {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "46",
        "x-ratelimit-reset-requests": "58.5s",
    }
    assert ServerStyle().headers(account, 1.5) == {}


def test_faults_come_as_often_as_they_are_to() -> None:
    faults = Faults(USUAL, seed=1)
    drawn = [faults.draw() for _ in range(20_000)]

    for fault, share in USUAL.items():
        assert drawn.count(fault) / len(drawn) == pytest.approx(share, rel=0.25)
    assert drawn.count(None) / len(drawn) == pytest.approx(0.83, rel=0.02)


@pytest.mark.parametrize("fault", [*USUAL, "drip"])
def test_a_fault_is_billed_unless_it_came_before_the_work(fault: Fault) -> None:
    server = SimulatedServer(faults=Faults({fault: 1.0}))

    fan_out(server, [4])

    billed = server.books.arrivals * 4
    assert server.books.images == (0 if fault in {"500", "503", "reset before"} else billed)


def test_a_simulation_goes_the_same_way_each_time() -> None:
    def once() -> str:
        server = SimulatedServer(account_of("gcra1"), faults=Faults(USUAL, seed=5))
        report = fan_out(server, mixed(60), seed=3)
        return f"{report} {report.books.admissions}"

    assert once() == once()

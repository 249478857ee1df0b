"""What is billed, retried and raised on a bad day of the server, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagesdk import (
    APIResponseError,
    APITimeoutError,
    InternalServerError,
    OutcomeUnknownError,
    RateLimit,
    RetryPolicy,
    Timeouts,
)
from tests.simulator.accounts import account_of
from tests.simulator.fan_out import FIFTY, Terms, fan_out
from tests.simulator.faults import USUAL, Fault, Faults
from tests.simulator.headers import ServerStyle, Wait
from tests.simulator.server import SimulatedServer

SEEDS = (1, 2)
LATE = 0.25
"""Seconds by which a call may exceed its time-out."""
TIMEOUT = 30.0
UNREADABLE = {"truncated", "garbage"}
"""Faults with a success status, after which nothing is sent again."""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "terms",
    [
        pytest.param(Terms(limit=None, retry=RetryPolicy(delivery="at_most_once")), id="calls"),
        pytest.param(Terms(limit=None, delivery="at_most_once"), id="run"),
    ],
)
def test_at_most_once_pays_nothing_twice_and_says_of_every_failure_that_it_may_have_been_billed(
    terms: Terms, seed: int
) -> None:
    server = SimulatedServer(faults=Faults(USUAL, seed=seed))

    report = fan_out(server, [1] * 300, terms=terms, seed=seed)

    paid_twice_for = [fault for work in server.books.billed.values() for _, fault in work[:-1]]
    assert set(paid_twice_for) <= {"500 after"}, report
    assert report.success >= 0.8, report
    assert len(report.errors) >= 15, report
    for error in report.errors:
        assert isinstance(error, (OutcomeUnknownError, APIResponseError, InternalServerError))
        assert error.maybe_billed


@pytest.mark.parametrize(
    ("seed", "limit"), [(1, None), (2, None), (3, FIFTY)], ids=["unlimited", "unlimited again", "limited"]
)
def test_at_least_once_delivers_what_is_readable_and_pays_twice_only_for_what_was_lost(
    seed: int, limit: RateLimit | None
) -> None:
    account = None if limit is None else account_of("sliding")
    server = SimulatedServer(account, faults=Faults(USUAL, seed=seed))

    report = fan_out(server, [1] * 300, terms=Terms(limit, delivery="at_least_once"), seed=seed)

    unreadable = [fault for work in server.books.billed.values() for _, fault in work if fault in UNREADABLE]
    assert report.failures == {"APIResponseError": len(unreadable)}, report
    assert 300 < report.books.images < 360, report
    paid_twice_for = {fault for work in server.books.billed.values() for _, fault in work[:-1]}
    assert paid_twice_for <= {"reset after", "hang", "slow", "500 after"}


def test_a_call_that_is_made_again_does_not_lose_its_place_in_line() -> None:
    server = SimulatedServer(account_of("sliding"), faults=Faults({"503": 0.05}, seed=2))

    report = fan_out(server, [1] * 400)

    times: dict[str, list[float]] = {}
    for admission in report.books.admissions:
        times.setdefault(admission.job, []).append(admission.time)
    again = [found for found in times.values() if len(found) > 1]
    assert len(again) > 10
    assert report.last_admission > 400
    for first, second, *_ in again:
        assert second - first < 62  # in the next window at the latest


def test_a_single_call_pays_twice_at_most() -> None:
    server = SimulatedServer(faults=Faults(USUAL, seed=3))

    report = fan_out(server, [1] * 300, terms=Terms(limit=None), seed=3)

    readable = 1 - report.failures["APIResponseError"] / 300
    assert report.success >= 0.95 * readable, report
    assert max(len(work) for work in server.books.billed.values()) == 2


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(lambda: SimulatedServer(down=500), id="answers 500"),
        pytest.param(lambda: SimulatedServer(refuses_connections=True), id="refuses connections"),
    ],
)
def test_a_server_that_is_down_is_not_buried_under_repeated_attempts(
    server: Callable[[], SimulatedServer],
) -> None:
    """A run pauses instead: see tests/fan_out/test_outages.py."""
    report = fan_out(server(), [1] * 500, terms=Terms(limit=None))

    assert report.success == 0
    assert report.attempts <= 1.1 * 500, report


@pytest.mark.parametrize("fault", ["drip", "hang"])
def test_a_call_ends_at_its_time_out_whatever_the_server_does(fault: Fault) -> None:
    server = SimulatedServer(faults=Faults({fault: 1.0}))

    report = fan_out(server, [1] * 40, terms=Terms(limit=None, timeouts=Timeouts(total=TIMEOUT)))

    assert report.failures == {"OutcomeUnknownTimeoutError": 40}, report
    assert report.overshoot(TIMEOUT) <= LATE


@pytest.mark.parametrize("wait", ["seconds", "nothing", "1", "3600"])
@pytest.mark.parametrize("kind", ["sliding", "gcra1"])
def test_a_call_ends_at_its_time_out_however_long_the_line_is(kind: str, wait: Wait) -> None:
    account = account_of(kind, others=[(0.0, 10)])
    server = SimulatedServer(account, style=ServerStyle(wait=wait))

    report = fan_out(server, [1] * 200, terms=Terms(FIFTY, timeouts=Timeouts(total=TIMEOUT)))

    assert len(report.errors) > 100, report
    assert all(isinstance(error, APITimeoutError) for error in report.errors), report
    assert report.overshoot(TIMEOUT) <= LATE, report

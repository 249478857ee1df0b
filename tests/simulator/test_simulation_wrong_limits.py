"""Clients that know less than the truth: a limit that is too high, 429s by chance, and 429s without end."""

from __future__ import annotations

import logging
from itertools import product
from statistics import median
from typing import Final, NamedTuple, TypeAlias

import pytest

from imagesdk import LimitWaitError, RateLimit, RateLimitError, RetryPolicy, Timeouts
from tests.simulator.accounts import KINDS, MakeAccount, account_of
from tests.simulator.fan_out import FIFTY, Report, Terms, fan_out
from tests.simulator.headers import ServerStyle, Wait
from tests.simulator.limits import Account, Chance, Gcra
from tests.simulator.server import SimulatedServer

SEMANTICS: Final = (*KINDS, "gcra5")
"""The usual kinds of server, and a bucket that holds a quarter of a minute."""
MODES: Final[tuple[Wait, ...]] = (
    "seconds", "date", "milliseconds", "try again in", "nothing", "0", "1", "3600",
)  # fmt: skip


class Scale(NamedTuple):
    """How fast everything is."""

    per: float
    work: tuple[float, float]
    network: float


MINUTES: Final = Scale(60.0, (5.0, 15.0), 0.05)
SECONDS: Final = Scale(3.0, (0.05, 0.2), 0.003)
"""A server on the same machine, whose minute is three seconds: whole seconds are a third of it."""
Case: TypeAlias = tuple[Scale, str, Wait, bool, bool]
EVERY: Final[tuple[Case, ...]] = tuple(
    product((MINUTES, SECONDS), SEMANTICS, MODES, (False, True), (False, True))
)
"""What ``python -m tests.soak limits`` tries: also whether the words of a 429 and the headers name the limit."""
SOME: Final = EVERY[::13]
"""A part of it, in which everything occurs."""


def account(kind: str, images: int, per: float) -> MakeAccount:
    if kind == "gcra5":
        return lambda: Account(Gcra(images, per, burst=5))
    return account_of(kind, images, per=per)


def wrong_limit(
    scale: Scale, kind: str, wait: Wait, named: bool, headers: bool, *, images: int = 20, seed: int = 1
) -> Report:
    """Make as many calls as fit three windows, by a client that believes in two and a half times the limit."""
    style = ServerStyle(wait=wait, names_limit=named, family="images" if headers else None)
    server = SimulatedServer(account(kind, images, scale.per), style=style, work=scale.work, seed=seed)
    terms = Terms(RateLimit(images * 5 // 2, per=scale.per))
    return fan_out(server, [1] * 3 * images, terms=terms, seed=seed, network=scale.network)


def check_wrong_limit(report: Report, *, stated: bool) -> None:
    assert report.success == 1, report
    assert report.books.duplicates == 0, report
    assert report.refusals <= (5 if stated else 15), report


@pytest.mark.parametrize(("scale", "kind", "wait", "named", "headers"), SOME)
def test_a_limit_that_is_believed_to_be_much_higher_costs_few_refusals(
    scale: Scale, kind: str, wait: Wait, named: bool, headers: bool
) -> None:
    report = wrong_limit(scale, kind, wait, named, headers)

    check_wrong_limit(report, stated=named or headers)


@pytest.mark.parametrize("scale", [MINUTES, SECONDS])
@pytest.mark.parametrize("kind", ["gcra1", "gcra5"])
def test_an_even_server_that_tells_nothing_is_used_almost_fully(kind: str, scale: Scale) -> None:
    report = wrong_limit(scale, kind, "nothing", named=False, headers=False)

    report.check(refusals=15, lateness=1.5)


def test_an_even_server_with_a_long_honest_wait_is_recognized() -> None:
    report = wrong_limit(MINUTES, "gcra1", "seconds", named=False, headers=False, images=5)

    report.check(refusals=10, lateness=1.5)


@pytest.mark.parametrize("wait", ["seconds", "nothing"])
@pytest.mark.parametrize("scale", [MINUTES, SECONDS])
def test_a_server_that_lets_in_one_at_a_time_refuses_at_most_ten(scale: Scale, wait: Wait) -> None:
    server = SimulatedServer(
        account("gcra1", 50, scale.per), style=ServerStyle(wait=wait, names_limit=False), work=scale.work
    )

    report = fan_out(server, [1] * 200, terms=Terms(RateLimit(50, per=scale.per)), network=scale.network)

    report.check(refusals=10, lateness=1.6)


def by_chance(chance: float, seed: int, wait: Wait, *, calls: int, terms: Terms = Terms()) -> Report:  # noqa: B008
    """Make calls to a server that answers 429 by chance."""
    style = ServerStyle(wait, None, names_limit=False)
    server = SimulatedServer(lambda: Account(Chance(chance, seed=seed)), style=style)
    return fan_out(server, [1] * calls, terms=terms, seed=seed)


@pytest.mark.parametrize("wait", ["seconds", "nothing"])
def test_429s_by_chance_are_mostly_no_lower_limit(wait: Wait) -> None:
    """Three or more in a row look like an account that others use up: one fan-out of three is late."""
    reports = [by_chance(0.3, seed, wait, calls=30) for seed in range(12)]

    assert all(report.success == 1 for report in reports), reports
    assert median(report.last_admission for report in reports) <= 40, reports


def endless(terms: Terms) -> Report:
    """Make calls to a server that answers nothing but 429."""
    return by_chance(1.0, 0, "nothing", calls=20, terms=terms)


def test_calls_end_after_a_quarter_of_an_hour_of_nothing_but_429(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "imagesdk")

    report = endless(Terms())

    assert report.failures == {"LimitWaitError": 20}, report
    assert all(900 <= call.seconds < 901 for call in report.calls), report.calls
    asked = next(error for error in report.errors if error.__cause__ is not None)
    assert isinstance(asked.__cause__, RateLimitError)
    assert isinstance(asked, LimitWaitError)
    assert f"nothing but 429 for 900 s ({report.refusals} times since " in str(asked)
    assert "Rate limit reached." in str(asked)
    assert "max_limit_wait" in str(asked)
    [warning] = [record.getMessage() for record in caplog.records if "nothing but 429" in record.getMessage()]
    assert "Rate limit reached" not in warning


def test_the_wait_for_an_end_of_the_429s_can_be_shorter_and_can_have_no_end() -> None:
    short = endless(Terms(retry=RetryPolicy(max_limit_wait=2.0)))
    without = endless(Terms(retry=RetryPolicy(max_limit_wait=None), timeouts=Timeouts(total=2000.0)))

    assert all(2 <= call.seconds < 3 for call in short.calls), short.calls
    assert max(call.seconds for call in without.calls) > 1800
    assert not any("nothing but 429" in str(error) for error in without.errors)


def test_a_queue_that_moves_may_take_longer_than_the_wait_for_an_end_of_the_429s() -> None:
    server = SimulatedServer(account_of("sliding", 5))

    report = fan_out(server, [1] * 60, terms=Terms(FIFTY, retry=RetryPolicy(max_limit_wait=120.0)))

    assert report.refusals > 0, report
    assert report.success == 1, report
    assert report.last_admission > 600, report

"""Fan-outs against every kind of rate limit, in virtual time: how fast, and how many refusals on the way."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean

import pytest

from imagesdk import RateLimit
from imagesdk.policies import DEFAULT_RATE_LIMIT
from tests.simulator.accounts import KINDS, account_of, mixed
from tests.simulator.fan_out import FIFTY, Terms, fan_out
from tests.simulator.headers import WAITS, ServerStyle, Wait
from tests.simulator.limits import steadily
from tests.simulator.server import SimulatedServer

BOUNDS = [("sliding", 1.05, 0), ("gcra50", 1.05, 0), ("gcra1", 1.10, 10)]
"""Lateness and refusals of a fan-out, by kind of server; ``python -m tests.soak fan-outs`` has longer lists."""
ALREADY_USED = [(0.0, 30)]
"""What others have of the account when a fan-out begins."""
every_list = pytest.mark.parametrize("weights", [[1] * 200, mixed(200)], ids=["200 of 1", "200 mixed"])


@pytest.mark.parametrize(
    "weights", [[1] * 200, mixed(200), mixed(500)], ids=["200 of 1", "200 mixed", "500 mixed"]
)
@pytest.mark.parametrize(("kind", "lateness", "refusals"), BOUNDS)
@pytest.mark.parametrize("seed", [1])
def test_a_fan_out_is_almost_as_fast_as_the_limit_allows(
    kind: str, lateness: float, refusals: int, weights: list[int], seed: int
) -> None:
    report = fan_out(SimulatedServer(account_of(kind), seed=seed), weights, seed=seed)

    report.check(refusals=refusals, lateness=lateness)
    assert report.books.images == sum(weights)


@pytest.mark.parametrize("phases", [(0.1, 0.5, 0.9)], ids=["three phases"])
@every_list
def test_a_fan_out_meets_no_fixed_window_and_is_not_much_slower_for_not_knowing_its_phase(
    weights: list[int], phases: Iterable[float]
) -> None:
    reports = [fan_out(SimulatedServer(account_of("fixed", phase=phase)), weights) for phase in phases]

    assert all(report.success == 1 and report.refusals == 0 for report in reports), reports
    assert mean(report.lateness for report in reports) <= 1.30, reports


@pytest.mark.parametrize("kind", ["sliding", "gcra1"])
@pytest.mark.parametrize(
    "style",
    [
        *(ServerStyle(wait=wait, names_limit=at % 2 == 0) for at, wait in enumerate(WAITS)),
        *(ServerStyle(wait="nothing", family=family, names_limit=False) for family in ("images", "requests")),
    ],
    ids=lambda style: f"{style.wait}, {style.family}, {'named' if style.names_limit else 'unnamed'}",
)
def test_what_others_have_used_is_found_out_with_few_refusals_however_the_server_speaks_of_it(
    kind: str, style: ServerStyle
) -> None:
    report = fan_out(SimulatedServer(account_of(kind, others=ALREADY_USED), style=style), [1] * 100)

    report.check(refusals=10, lateness=2.5)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_a_limit_that_is_lower_than_the_client_believes_is_learnt(kind: str, named: bool) -> None:
    server = SimulatedServer(account_of(kind, 20), style=ServerStyle(names_limit=named))

    report = fan_out(server, [1] * 80)

    report.check(refusals=10, lateness=1.30)


@pytest.mark.parametrize("used", [0, 30])
@pytest.mark.parametrize("kind", ["sliding", "gcra50", "fixed"])
def test_a_server_that_counts_refused_requests_too_is_not_asked_to_death(kind: str, used: int) -> None:
    account = account_of(kind, others=[(0.0, used)], counts_refused=True)

    report = fan_out(SimulatedServer(account), [1] * 150)

    report.check(refusals=15 if used else 0, lateness=2.0)


@pytest.mark.parametrize(
    ("limit", "most", "seconds"), [(DEFAULT_RATE_LIMIT, 250, 240), (FIFTY, 50, 560)], ids=["default", "named"]
)
def test_a_higher_limit_that_the_server_proves_replaces_only_the_default(
    limit: RateLimit, most: int, seconds: float
) -> None:
    server = SimulatedServer(account_of("sliding", 250), style=ServerStyle(family="images"))

    report = fan_out(server, [1] * 500, terms=Terms(limit))

    assert report.success == 1, report
    assert report.refusals <= 10, report
    assert report.books.worst(60.0) <= most, report
    assert report.last_admission <= seconds, report  # 50 in a minute take 540


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wait", ["seconds", "nothing", "1"])
def test_two_processes_share_an_account_without_knowing_of_each_other(kind: str, wait: Wait) -> None:
    report = fan_out(SimulatedServer(account_of(kind), style=ServerStyle(wait=wait)), [1] * 100, processes=2)

    assert len(report.calls) == 200
    report.check(refusals=20 if wait == "nothing" and kind in {"fixed", "sliding"} else 25, lateness=1.5)


@pytest.mark.parametrize("wait", ["nothing", "1"])
@pytest.mark.parametrize("kind", ["sliding", "gcra50"])
def test_what_others_go_on_using_is_left_to_them_though_the_server_tells_nothing(
    kind: str, wait: Wait
) -> None:
    account = account_of(kind, others=steadily(5, every=10, until=1200))

    report = fan_out(SimulatedServer(account, style=ServerStyle(wait=wait)), [1] * 200)

    report.check(refusals=20, lateness=1.25)

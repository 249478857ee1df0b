"""Rate limits at length: every fan-out of the simulator with its bounds, and any order of events in a window."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from statistics import mean

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from imagesdk import RateLimit
from tests.ratelimit.test_window_machine import AnyOrder
from tests.simulator.accounts import KINDS, account_of, mixed
from tests.simulator.fan_out import FIFTY, Terms, fan_out
from tests.simulator.faults import USUAL, Faults
from tests.simulator.headers import WAITS, ServerStyle, Wait
from tests.simulator.server import SimulatedServer

_LISTS = ([1] * 200, [1] * 500, mixed(200), mixed(500))
_BOUNDS = {"sliding": (1.05, 0), "gcra50": (1.05, 0), "gcra1": (1.10, 10)}
"""Lateness and refusals of a fan-out, by kind of server."""
_WAITS: tuple[Wait, ...] = ("seconds", "fraction", "nothing", "1", "3600")
_PHASES = (0.1, 0.3, 0.5, 0.7, 0.9)


def fan_outs(seed: int, first: int, count: int) -> Counter[str]:
    """Run so many fan-outs of the list, in turn; the seed changes nothing."""
    every = list(_every_fan_out())
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        counts[every[number % len(every)]()] += 1
    return counts


def windows(seed: int, first: int, count: int) -> Counter[str]:
    """Search for an order of events that breaks an invariant of the sliding window."""
    random.seed(f"{seed}/{first}")  # Hypothesis draws its own seed from there
    at_length = settings(
        max_examples=count,
        stateful_step_count=50,
        derandomize=False,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(AnyOrder, settings=at_length)
    return Counter(orders=count)


def _every_fan_out() -> Iterator[Callable[[], str]]:
    for (kind, bounds), weights, seed in product(_BOUNDS.items(), _LISTS, (0, 1, 2)):
        yield partial(_alone, kind, *bounds, weights, seed)
    for weights in _LISTS:
        yield partial(_fixed, weights)
    for kind, wait in product(KINDS, _WAITS):
        yield partial(_two_processes, kind, ServerStyle(wait=wait))
    for kind, wait, named in product(("sliding", "gcra1"), WAITS, (True, False)):
        yield partial(_used_by_others, kind, ServerStyle(wait=wait, names_limit=named))
    families = ServerStyle(family="images"), ServerStyle(family="requests")
    for kind, style in product(("sliding", "gcra1"), families):
        yield partial(_used_by_others, kind, style)
    for seed, limit in product(range(1, 6), (None, FIFTY)):
        yield partial(_at_least_once, seed, limit)


def _alone(kind: str, lateness: float, refusals: int, weights: list[int], seed: int) -> str:
    report = fan_out(SimulatedServer(account_of(kind), seed=seed), weights, seed=seed)
    assert report.success == 1, report
    assert report.lateness <= lateness, report
    assert report.refusals <= refusals, report
    return kind


def _fixed(weights: list[int]) -> str:
    reports = [fan_out(SimulatedServer(account_of("fixed", phase=phase)), weights) for phase in _PHASES]
    assert all(report.success == 1 and report.refusals == 0 for report in reports), reports
    assert mean(report.lateness for report in reports) <= 1.30, reports
    return "fixed"


def _two_processes(kind: str, style: ServerStyle) -> str:
    report = fan_out(SimulatedServer(account_of(kind), style=style), [1] * 100, processes=2)
    assert report.success == 1, report
    assert report.refusals <= 25, report
    assert report.lateness <= 1.5, report
    return "two processes"


def _used_by_others(kind: str, style: ServerStyle) -> str:
    account = account_of(kind, others=[(0.0, 30)])
    report = fan_out(SimulatedServer(account, style=style), [1] * 100)
    assert report.success == 1, report
    assert report.refusals <= 10, report
    assert report.lateness <= 2.5, report
    return "used by others"


def _at_least_once(seed: int, limit: RateLimit | None) -> str:
    server = SimulatedServer(
        None if limit is None else account_of("sliding"), faults=Faults(USUAL, seed=seed)
    )
    report = fan_out(server, [1] * 300, terms=Terms(limit, delivery="at_least_once"), seed=seed)
    assert report.success == 1, report
    assert 300 < report.books.images < 360, report
    return "at least once"

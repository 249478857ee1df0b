"""Rate limits at length: every fan-out of the simulator with its bounds, and any order of events in a window."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ratelimit.test_window_machine import AnyOrder
from tests.simulator import test_simulation_fan_outs as tests
from tests.simulator import test_simulation_wrong_limits as wrong
from tests.simulator.accounts import KINDS, mixed
from tests.simulator.fan_out import FIFTY
from tests.simulator.headers import WAITS, ServerStyle, Wait
from tests.simulator.test_simulation_faults import (
    test_at_least_once_delivers_what_is_readable_and_pays_twice_only_for_what_was_lost,
)

_LISTS = ([1] * 200, [1] * 500, mixed(200), mixed(500))
_WAITS: tuple[Wait, ...] = ("seconds", "fraction", "nothing", "1", "3600")
_STYLES = (
    *(ServerStyle(wait=wait, names_limit=named) for wait, named in product(WAITS, (True, False))),
    *(ServerStyle(family="images"), ServerStyle(family="requests")),
)
_PHASES = (0.1, 0.3, 0.5, 0.7, 0.9)


def fan_outs(seed: int, first: int, count: int) -> Counter[str]:
    every = list(_every_fan_out())
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        kind, run = every[number % len(every)]
        run()
        counts[kind] += 1
    return counts


def wrong_limits(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        scale, kind, wait, named, headers = wrong.EVERY[number % len(wrong.EVERY)]
        report = wrong.wrong_limit(scale, kind, wait, named, headers, seed=seed + number // len(wrong.EVERY))
        wrong.check_wrong_limit(report, stated=named or headers)
        counts[kind] += 1
    return counts


def windows(seed: int, first: int, count: int) -> Counter[str]:
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


def _every_fan_out() -> Iterator[tuple[str, Callable[[], None]]]:
    for (kind, lateness, refusals), weights, seed in product(tests.BOUNDS, _LISTS, (0, 1, 2)):
        alone = tests.test_a_fan_out_is_almost_as_fast_as_the_limit_allows
        yield kind, partial(alone, kind, lateness, refusals, weights, seed)
    for weights in _LISTS:
        fixed = tests.test_a_fan_out_meets_no_fixed_window_and_is_not_much_slower_for_not_knowing_its_phase
        yield "fixed", partial(fixed, weights, _PHASES)
    for kind, wait in product(KINDS, _WAITS):
        together = tests.test_two_processes_share_an_account_without_knowing_of_each_other
        yield "two processes", partial(together, kind, wait)
    for kind, style in product(("sliding", "gcra1"), _STYLES):
        used = tests.test_what_others_have_used_is_found_out_with_few_refusals_however_the_server_speaks_of_it
        yield "used by others", partial(used, kind, style)
    for seed, limit in product(range(1, 6), (None, FIFTY)):
        again = test_at_least_once_delivers_what_is_readable_and_pays_twice_only_for_what_was_lost
        yield "at least once", partial(again, seed, limit)

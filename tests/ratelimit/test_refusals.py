"""The count of successive 429s, and the time at which calls stop waiting for their end."""

from __future__ import annotations

import math

import pytest

from imagesdk._ratelimit.refusals import Refusals
from imagesdk.policies import DEFAULT_MAX_LIMIT_WAIT


def after(*times: float, per: float = 60.0) -> tuple[Refusals, list[float]]:
    """429s at these times, each for a request that was sent a second before, and when to warn."""
    refusals, warned = Refusals(), list[float]()
    for at in times:
        if refusals.add(at - 1, at, asked_until=at - 1, per=per, message="too much"):
            warned.append(at)
    return refusals, warned


@pytest.mark.parametrize(
    ("patience", "per", "ends"),
    [
        (None, 60.0, math.inf),
        (5.0, 60.0, 15.0),
        (5.0, 3600.0, 15.0),
        (DEFAULT_MAX_LIMIT_WAIT, 60.0, 910.0),
        (DEFAULT_MAX_LIMIT_WAIT, 3600.0, 7210.0),
    ],
)
def test_the_wait_begins_at_the_first_429_and_by_default_lasts_two_long_windows(
    patience: float | None, per: float, ends: float
) -> None:
    refusals, _ = after(10.0, 400.0, per=per)
    assert refusals.ends_at(patience, per) == ends


def test_a_success_begins_the_wait_anew() -> None:
    refusals, _ = after(10.0)
    refusals.clear()
    assert refusals.ends_at(5.0, 60.0) == math.inf
    refusals.add(99.0, 100.0, asked_until=99.0, per=60.0, message="")
    assert refusals.ends_at(5.0, 60.0) == 105.0


def test_an_account_that_nobody_asked_for_two_windows_begins_anew() -> None:
    refusals, _ = after(10.0)
    refusals.add(140.0, 141.0, asked_until=19.0, per=60.0, message="")
    assert (refusals.count, refusals.ends_at(5.0, 60.0)) == (1, 146.0)


def test_one_warning_comes_after_two_windows() -> None:
    _, warned = after(10.0, 70.0, 129.0, 131.0, 200.0, 300.0)
    assert warned == [131.0]

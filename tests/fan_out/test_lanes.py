"""Rules of the lanes: times that callers name, and the margin before a deadline."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import ConfigurationError
from imagesdk.fan_out import lanes
from imagesdk.fan_out.lanes import Rates, parse_deadline

RATES = st.builds(
    Rates,
    images_a_second=st.none() | st.floats(0.01, 100),
    live_seconds=st.none() | st.floats(0, 600),
    cancel_seconds=st.none() | st.floats(0, 3600),
    bytes_a_second=st.floats(1000, 1e9),
)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("20h", 72_000),
        ("90m", 5400),
        ("1.5 hours", 5400),
        ("45 sec", 45),
        ("2d", 172_800),
        (12, 12),
        (timedelta(minutes=1), 60),
    ],
)
def test_a_deadline_is_a_text_a_number_or_a_timedelta(given: str | float | timedelta, seconds: float) -> None:
    assert parse_deadline(given) == seconds


@pytest.mark.parametrize("given", ["", "soon", "20", "-1h", 0, -5, float("inf"), timedelta(0), True])
def test_any_other_deadline_is_refused(given: str | float | timedelta) -> None:
    with pytest.raises(ConfigurationError, match="deadline"):
        parse_deadline(given)


@given(RATES, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10**10))
def test_the_margin_grows_with_what_is_left_to_do(rates: Rates, one: int, more: int, size: int) -> None:
    assert rates.margin(one, size) <= rates.margin(one + more, size)
    assert rates.margin(one, size) >= rates.live(one)
    assert rates.live(0) == 0


@given(RATES, st.integers(1, 10_000))
def test_what_the_rates_promise_fits_into_the_time_that_they_ask_for(rates: Rates, images: int) -> None:
    fits = rates.in_time(rates.live(images))
    assert images - 1 <= fits <= images + 1
    assert rates.in_time(0) == 0


def test_an_unmeasured_cancellation_takes_as_long_as_the_server_may_take() -> None:
    assert Rates().margin(0, 0) == lanes.CANCEL_SECONDS == 600
    assert Rates(cancel_seconds=4).margin(0, 0) == 4

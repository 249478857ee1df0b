"""Policies are checked when they are made, and say what they mean."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk.errors import ConfigurationError
from imagesdk.policies import RateLimit, RetryPolicy, Timeouts


def test_the_defaults_are_the_documented_ones() -> None:
    assert RateLimit() == RateLimit(images=50, per=60.0, scope="account")
    assert Timeouts() == Timeouts(connect=5.0, attempt=600.0, total=None)
    policy = RetryPolicy()
    assert (policy.max_attempts, policy.delivery, policy.max_ambiguous) == (4, "at_least_once", 1)
    assert (policy.budget, policy.budget_refill) == (50, 0.5)
    assert not policy.server_idempotent


def test_a_limit_prints_all_that_it_counts() -> None:
    assert str(RateLimit()) == "50 images / 60 s"
    assert str(RateLimit(5, 1.0, requests=3, tokens=100_000)) == "5 images, 3 requests, 100000 tokens / 1 s"


@pytest.mark.parametrize("header", ["idempotency-key", "X-Request-Key", "~key~"])
def test_the_key_of_a_call_may_go_under_any_name_of_a_header(header: str) -> None:
    assert RetryPolicy(idempotency_header=header).idempotency_header == header


@pytest.mark.parametrize(
    ("text", "images", "per"),
    [
        ("50/min", 50, 60),
        ("50/m", 50, 60),
        ("50/minute", 50, 60),
        ("5/s", 5, 1),
        ("5/sec", 5, 1),
        ("5/second", 5, 1),
        ("500/h", 500, 3600),
        ("500/hour", 500, 3600),
        ("9/day", 9, 86400),
        ("50/10s", 50, 10),
        ("1/0.5s", 1, 0.5),
        ("3/2 hour", 3, 7200),
        (" 50 / 1 MIN ", 50, 60),
    ],
)
def test_a_limit_is_read_from_text(text: str, images: int, per: float) -> None:
    assert RateLimit.parse(text) == RateLimit(images=images, per=per)


@pytest.mark.parametrize(
    "text",
    ["", "50", "50/", "/min", "50/fortnight", "0/min", "-5/min", "5.5/min", "50/0s", "50/-1s", "50 per min"],
)
def test_a_limit_in_another_form_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError):
        RateLimit.parse(text)


@given(st.text(st.sampled_from("0123456789/. smhd") | st.characters(), max_size=12))
def test_any_text_is_a_limit_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigurationError):
        limit = RateLimit.parse(text)
        assert limit.images >= 1
        assert 0 < limit.per < math.inf


@given(st.integers(1, 10_000), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_a_limit_survives_being_written(images: int, unit: tuple[str, int]) -> None:
    assert RateLimit.parse(f"{images}/{unit[0]}") == RateLimit(images, float(unit[1]))


@pytest.mark.parametrize("counted", ["images", "requests", "tokens"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "50"])
def test_a_limit_counts_whole_images_requests_and_tokens(counted: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{counted} must be a whole number of at least 1"):
        RateLimit(**{counted: value})


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("images", [None], "a whole number of at least 1"),
        ("per", [0, -1.0, math.inf, math.nan, None], "a number greater than 0"),
        ("scope", ["process", "", None], '"account" or "client"'),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(name: str, values: list[Any], allowed: str) -> None:
    for value in values:
        with pytest.raises(ConfigurationError, match=f"{name} must be {allowed}"):
            RateLimit(**{name: value})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"max_attempts": 0}, "max_attempts must be a whole number of at least 1"),
        ({"max_attempts": 2.0}, "max_attempts must be a whole number of at least 1"),
        ({"max_ambiguous": -1}, "max_ambiguous must be a whole number of at least 0"),
        ({"max_ambiguous": True}, "max_ambiguous must be a whole number of at least 0"),
        ({"delivery": "exactly_once"}, 'delivery must be "at_least_once" or "at_most_once"'),
        ({"backoff": -0.1}, "backoff must be a number of at least 0"),
        ({"max_backoff": math.nan}, "max_backoff must be a number of at least 0"),
        ({"max_retry_after": -1}, "max_retry_after must be a number of at least 0"),
        ({"budget": 0}, "budget must be a number greater than 0, or None"),
        ({"budget": math.nan}, "budget must be a number greater than 0, or None"),
        ({"budget": math.inf}, "budget must be a number greater than 0, or None"),
        ({"budget_refill": -0.1}, "budget_refill must be a number of at least 0"),
    ],
)
def test_retries_that_make_no_sense_are_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RetryPolicy(**facts)


def test_a_policy_may_have_no_delays_no_retries_and_no_budget() -> None:
    RetryPolicy(max_attempts=1, max_ambiguous=0, backoff=0, max_backoff=0, max_retry_after=0, budget=None)


@pytest.mark.parametrize("name", ["connect", "attempt", "total"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_a_time_out_is_positive_or_none(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a number greater than 0, or None"):
        Timeouts(**{name: value})
    assert getattr(Timeouts(**{name: None}), name) is None

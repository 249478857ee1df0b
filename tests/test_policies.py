"""Policies are checked when they are made, and say what they mean."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk.errors import ConfigurationError
from imagesdk.policies import RateLimit, RetryPolicy, Timeouts


def test_the_default_limit_is_the_documented_one() -> None:
    assert RateLimit() == RateLimit(images=50, per=60.0, scope="account")
    assert str(RateLimit()) == "50 images / 60 s"


def test_a_limit_says_all_that_it_counts() -> None:
    assert str(RateLimit(5, 1.0, requests=3, tokens=100_000)) == "5 images, 3 requests, 100000 tokens / 1 s"


def test_the_default_retries_repeat_what_may_be_billed_once_at_most() -> None:
    policy = RetryPolicy()
    assert policy.max_attempts == 4
    assert policy.delivery == "at_least_once"
    assert policy.max_ambiguous == 1
    assert not policy.server_idempotent


def test_the_default_retries_stop_when_half_of_a_budget_of_fifty_failures_is_used_up() -> None:
    policy = RetryPolicy()
    assert (policy.budget, policy.budget_refill) == (50, 0.5)
    assert RetryPolicy(budget=None).budget is None


@pytest.mark.parametrize("header", ["idempotency-key", "X-Request-Key", "~key~"])
def test_the_key_of_a_call_may_go_under_any_name_of_a_header(header: str) -> None:
    assert RetryPolicy(idempotency_header=header).idempotency_header == header


def test_the_default_time_of_a_call_has_no_end_and_that_of_an_attempt_has() -> None:
    assert Timeouts() == Timeouts(connect=5.0, attempt=600.0, total=None)


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


@pytest.mark.parametrize("images", [0, -1, 1.5, True, "50", None])
def test_a_limit_counts_whole_images(images: Any) -> None:
    with pytest.raises(ConfigurationError, match="images must be a whole number of at least 1"):
        RateLimit(images=images)


@pytest.mark.parametrize("counted", ["requests", "tokens"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "50"])
def test_a_limit_counts_whole_requests_and_tokens(counted: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{counted} must be a whole number of at least 1"):
        RateLimit(**{counted: value})


@pytest.mark.parametrize("per", [0, -1.0, math.inf, math.nan, None])
def test_a_window_has_a_length(per: Any) -> None:
    with pytest.raises(ConfigurationError, match="per must be a number greater than 0"):
        RateLimit(per=per)


@pytest.mark.parametrize("scope", ["process", "", None])
def test_a_limit_holds_for_an_account_or_a_client(scope: Any) -> None:
    with pytest.raises(ConfigurationError, match='scope must be "account" or "client"'):
        RateLimit(scope=scope)


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


def test_delays_of_nothing_are_allowed() -> None:
    policy = RetryPolicy(max_attempts=1, max_ambiguous=0, backoff=0, max_backoff=0, max_retry_after=0)
    assert (policy.backoff, policy.max_backoff, policy.max_retry_after) == (0, 0, 0)


@pytest.mark.parametrize("name", ["connect", "attempt", "total"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_a_time_out_is_positive_or_none(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a number greater than 0, or None"):
        Timeouts(**{name: value})
    assert getattr(Timeouts(**{name: None}), name) is None

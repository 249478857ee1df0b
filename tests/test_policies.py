"""Policies: defaults, limits as text, and errors that name a wrong value and what is allowed."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk.errors import ConfigurationError
from imagesdk.policies import Caps, RateLimit, RetryPolicy, Timeouts


def test_the_defaults_are_the_documented_ones() -> None:
    assert RateLimit() == RateLimit(images=50, per=60.0, scope="account")
    assert Timeouts() == Timeouts(connect=5.0, attempt=600.0, total=None)
    policy = RetryPolicy(
        max_attempts=4, delivery="at_least_once", max_ambiguous=1, budget=50, budget_refill=0.5
    )
    assert RetryPolicy() == policy
    assert not policy.server_idempotent


def test_a_limit_as_text_names_all_that_it_counts() -> None:
    assert str(RateLimit()) == "50 images / 60 s"
    assert str(RateLimit(5, 1.0, requests=3, tokens=100_000)) == "5 images, 3 requests, 100000 tokens / 1 s"


@pytest.mark.parametrize("header", ["idempotency-key", "X-Request-Key", "~key~"])
def test_the_idempotency_header_may_have_any_valid_name(header: str) -> None:
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
        ("9/d", 9, 86400),
        ("50/10s", 50, 10),
        ("1/0.5s", 1, 0.5),
        ("3/2 hour", 3, 7200),
        (" 50 / 1 MIN ", 50, 60),
    ],
)
def test_a_limit_is_parsed_from_text(text: str, images: int, per: float) -> None:
    assert RateLimit.parse(text) == RateLimit(images=images, per=per)


MALFORMED = ["50", "50/", "/min", "50/fortnight", "0/min", "-5/min", "5.5/min", "50/0s", "50/-1s"]


@pytest.mark.parametrize("text", [*MALFORMED, "", "50 per min", 5])
def test_a_limit_in_another_form_is_a_configuration_error(text: Any) -> None:
    with pytest.raises(ConfigurationError):
        RateLimit.parse(text)


@given(st.text(st.sampled_from("0123456789/. smhd") | st.characters(), max_size=12))
def test_any_text_is_a_limit_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigurationError):
        limit = RateLimit.parse(text)
        assert limit.images >= 1
        assert 0 < limit.per < math.inf


WHOLE = "must be a whole number of at least"
POSITIVE = "must be a number greater than 0"
NOT_NEGATIVE = "must be a number of at least 0"


@pytest.mark.parametrize(
    ("policy", "field", "values", "message"),
    [
        (RateLimit, "images", (0, -1, 1.5, True, "50", None), f"{WHOLE} 1"),
        (RateLimit, "requests", (0, -1, 1.5, True, "50"), f"{WHOLE} 1"),
        (RateLimit, "tokens", (0, -1, 1.5, True, "50"), f"{WHOLE} 1"),
        (RateLimit, "per", (0, -1.0, math.inf, math.nan, None, "60"), POSITIVE),
        (RateLimit, "scope", ("process", "", None, ["client"]), 'must be "account" or "client"'),
        (RetryPolicy, "max_attempts", (0, 2.0), f"{WHOLE} 1"),
        (RetryPolicy, "max_ambiguous", (-1, True), f"{WHOLE} 0"),
        (RetryPolicy, "delivery", ("once", ["at_most_once"]), 'must be "at_least_once" or "at_most_once"'),
        (RetryPolicy, "backoff", (-0.1, "1"), NOT_NEGATIVE),
        (RetryPolicy, "max_backoff", (math.nan, None), NOT_NEGATIVE),
        (RetryPolicy, "max_retry_after", (-1,), NOT_NEGATIVE),
        (RetryPolicy, "budget", (0, math.nan, math.inf, "5"), f"{POSITIVE}, or None"),
        (RetryPolicy, "budget_refill", (-0.1,), NOT_NEGATIVE),
        (RetryPolicy, "idempotency_header", ("", "my key", "key:", "a\r\nb", "clé", 5), "not a header name"),
        (RetryPolicy, "idempotency_header", ("Host", "content-length"), "is reserved"),
        *(
            (Timeouts, name, (0, -1, math.inf, math.nan, True, "3", [1]), f"{POSITIVE}, or None")
            for name in ("connect", "attempt", "total")
        ),
        (Caps, "image", (0, "1"), f"{WHOLE} 1"),
        (Caps, "response", (-1, 1.5), f"{WHOLE} 1"),
    ],
)
def test_a_wrong_value_is_refused(
    policy: type[Any], field: str, values: tuple[Any, ...], message: str
) -> None:
    for value in values:
        with pytest.raises(ConfigurationError, match=f"^{field} .*{message}"):
            policy(**{field: value})


def test_delays_may_be_zero_and_limits_may_be_absent() -> None:
    policy = RetryPolicy(
        max_attempts=1, max_ambiguous=0, backoff=0, max_backoff=0, max_retry_after=0, budget=None
    )
    assert (policy.backoff, policy.max_backoff, policy.max_retry_after, policy.budget) == (0, 0, 0, None)
    assert Timeouts(connect=None, attempt=None, total=None).attempt is None

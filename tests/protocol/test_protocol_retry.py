"""What follows a failure: a table over what happened, the policy and what is left."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    OutcomeUnknownError,
    OutcomeUnknownTimeoutError,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
)
from imagesdk._protocol.retry import Again, Decision, Failure, GiveUp, WaitForLimit, classify, decide

UNSENT = APIConnectionError("x")
UNKNOWN = OutcomeUnknownError("x")
LOST = APIResponseError("x")
FAILED = InternalServerError("x", status_code=500)
LIMITED = RateLimitError("x", status_code=429)
REFUSED = BadRequestError("x", status_code=400)
BUSY = ConflictError("x", status_code=409)
SLOW = APIStatusError("x", status_code=408)
ONCE = RetryPolicy(delivery="at_most_once")


def _decide(
    error: APIError,
    *,
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
    attempt: int = 1,
    ambiguous: int = 0,
    limited: bool = False,
    remaining: float | None = None,
    chance: float = 1.0,
    retry_after: float | None = None,
    should_retry: bool | None = None,
    never_fits: bool = False,
) -> Decision:
    failure = Failure(error, classify(error), retry_after, should_retry, never_fits)
    return decide(
        failure,
        policy=policy,
        attempt=attempt,
        ambiguous=ambiguous,
        limited=limited,
        remaining=remaining,
        chance=chance,
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UNSENT, "never_sent"),
        (APITimeoutError("x"), "never_sent"),
        (REFUSED, "refused"),
        (BUSY, "refused"),
        (LIMITED, "refused"),
        (FAILED, "unknown"),
        (InternalServerError("x", status_code=503), "unknown"),
        (UNKNOWN, "unknown"),
        (OutcomeUnknownTimeoutError("x"), "unknown"),
        (LOST, "lost"),
    ],
)
def test_every_error_has_its_class(error: APIError, kind: str) -> None:
    assert classify(error) == kind


@pytest.mark.parametrize("error", [UNSENT, BUSY, SLOW, LIMITED])
def test_what_was_not_worked_on_is_made_again_until_the_attempts_are_used_up(error: APIError) -> None:
    policy = RetryPolicy(max_attempts=3)
    assert [type(_decide(error, policy=policy, attempt=n)) for n in (1, 2, 3)] == [Again, Again, GiveUp]
    assert isinstance(_decide(error, policy=ONCE), Again)


@pytest.mark.parametrize("error", [UNKNOWN, FAILED, LOST])
def test_what_may_have_been_billed_is_made_again_at_most_as_often_as_the_policy_says(error: APIError) -> None:
    assert isinstance(_decide(error), Again)
    assert isinstance(_decide(error, attempt=2, ambiguous=1), GiveUp)
    assert isinstance(_decide(error, policy=RetryPolicy(max_ambiguous=2), attempt=2, ambiguous=1), Again)
    assert isinstance(_decide(error, policy=RetryPolicy(max_ambiguous=0)), GiveUp)
    assert isinstance(_decide(error, policy=ONCE), GiveUp)


def test_a_refusal_for_good_is_final_unless_the_server_says_otherwise() -> None:
    assert isinstance(_decide(REFUSED), GiveUp)
    assert isinstance(_decide(REFUSED, should_retry=True), Again)


@pytest.mark.parametrize("error", [UNKNOWN, FAILED, LIMITED, BUSY, LOST])
def test_a_server_that_advises_against_it_is_heard(error: APIError) -> None:
    assert isinstance(_decide(error, should_retry=False, limited=True), GiveUp)


def test_the_advice_to_retry_does_not_pay_twice_behind_the_policy() -> None:
    assert isinstance(_decide(FAILED, policy=ONCE, should_retry=True), GiveUp)


@pytest.mark.parametrize("limited", [True, False])
def test_waiting_does_not_help_an_empty_account_or_a_limit_that_never_fits(limited: bool) -> None:
    assert isinstance(_decide(QuotaExceededError("x", status_code=429), limited=limited), GiveUp)
    assert isinstance(_decide(LIMITED, limited=limited, never_fits=True), GiveUp)


def test_429_behind_a_limit_waits_in_line_and_uses_up_no_attempt() -> None:
    policy = RetryPolicy(max_attempts=1)
    assert _decide(LIMITED, limited=True, policy=policy, attempt=99, retry_after=7.0) == WaitForLimit(7.0)


def test_retry_after_is_waited_for_and_jitter_comes_on_top() -> None:
    assert _decide(LIMITED, retry_after=7.0, chance=0.0) == Again(7.0)
    assert _decide(LIMITED, retry_after=7.0, chance=1.0) == Again(7.5)
    assert isinstance(_decide(LIMITED, retry_after=301.0), GiveUp)


def test_there_is_no_waiting_past_the_time_that_is_left() -> None:
    assert isinstance(_decide(UNSENT, remaining=0.5), GiveUp)
    assert isinstance(_decide(UNSENT, remaining=0.51), Again)
    assert isinstance(_decide(UNSENT, remaining=-1.0, chance=0.0), GiveUp)


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_delays_grow_to_a_cap_and_never_beyond(attempt: int, chance: float) -> None:
    policy = RetryPolicy(max_attempts=20_000)
    decision = _decide(UNSENT, policy=policy, attempt=attempt, chance=chance)
    assert isinstance(decision, Again)
    assert math.isfinite(decision.delay)
    assert 0 <= decision.delay <= min(0.5 * 2 ** min(attempt - 1, 50), 20.0)

"""Retry decisions: a table of failures, attempts and remaining time."""

import itertools
import math
from typing import Any, get_args

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from imagesdk import errors
from imagesdk._protocol.retry import (
    Decision,
    Failure,
    FailureClass,
    GiveUp,
    Requeue,
    RetryAfter,
    RetryThrottle,
    classify,
    decide,
    policy_of_run,
)
from imagesdk._protocol.server_limits import NO_SERVER_LIMITS, ServerLimits
from imagesdk.policies import RetryPolicy

FAILURES: dict[str, Failure] = {
    "no connection": Failure(errors.APIConnectionError("x"), "never_sent"),
    "not sent in time": Failure(errors.APITimeoutError("x"), "never_sent"),
    "no answer": Failure(errors.OutcomeUnknownError("x"), "unknown"),
    "no answer in time": Failure(errors.OutcomeUnknownTimeoutError("x"), "unknown"),
    "500": Failure(errors.InternalServerError("x", status_code=500), "unknown"),
    "503": Failure(errors.InternalServerError("x", status_code=503), "unknown"),
    "answer lost": Failure(errors.APIResponseError("x"), "unreadable"),
    "408": Failure(errors.APIStatusError("x", status_code=408), "refused"),
    "409": Failure(errors.ConflictError("x", status_code=409), "refused"),
    "425": Failure(errors.APIStatusError("x", status_code=425), "refused"),
    "429": Failure(errors.RateLimitError("x", status_code=429), "refused"),
    "quota": Failure(errors.QuotaExceededError("x", status_code=429), "refused"),
    "400": Failure(errors.BadRequestError("x", status_code=400), "refused"),
    "moderation": Failure(errors.ModerationError("x", status_code=400), "refused"),
    "401": Failure(errors.AuthenticationError("x", status_code=401), "refused"),
    "403": Failure(errors.PermissionDeniedError("x", status_code=403), "refused"),
    "404": Failure(errors.NotFoundError("x", status_code=404), "refused"),
    "413": Failure(errors.APIStatusError("x", status_code=413), "refused"),
    "422": Failure(errors.UnprocessableEntityError("x", status_code=422), "refused"),
}
SAFE = {"no connection", "not sent in time", "408", "409", "425", "429"}
AMBIGUOUS = {"no answer", "no answer in time", "500", "503", "answer lost"}
HOPELESS = set(FAILURES) - SAFE - AMBIGUOUS


def decided(failure: Failure, policy: RetryPolicy = RetryPolicy(), **facts: Any) -> Decision:  # noqa: B008 - a frozen value
    usual: dict[str, Any] = {
        "attempt": 1,
        "maybe_billed_retries": 0,
        "limited": False,
        "remaining": None,
        "chance": 0.5,
        **facts,
    }
    return decide(failure, policy=policy, **usual)


def asking(name: str, seconds: float | None) -> Failure:
    """Return a failure with a delay that the server asks for."""
    return evolve(FAILURES[name], server_limits=ServerLimits(waits=() if seconds is None else (seconds,)))


def test_the_table_covers_every_class_of_failure() -> None:
    assert {failure.kind for failure in FAILURES.values()} == set(get_args(FailureClass))


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_an_error_determines_its_class_of_failure(failure: Failure) -> None:
    assert classify(failure.error) == failure.kind


def test_an_unknown_error_may_be_billed() -> None:
    assert classify(errors.APIError("x")) == "unknown"
    assert classify(errors.StreamError("x")) == "unknown"


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_is_decided_by_its_row(name: str) -> None:
    for limited, delivery, remaining, ambiguous, attempt in itertools.product(
        (False, True), ("at_least_once", "at_most_once"), (None, 60.0, 0.1), (0, 1, 2), (1, 3, 4)
    ):
        facts = {"attempt": attempt, "remaining": remaining, "maybe_billed_retries": ambiguous}
        terms: dict[str, Any] = {"max_attempts": 4, "max_ambiguous": 2, "delivery": delivery, "backoff": 1.0}
        expected: Decision = GiveUp()
        if name == "429" and limited:
            expected = Requeue(NO_SERVER_LIMITS)
        elif attempt < 4 and remaining != 0.1:
            repeats = delivery == "at_least_once" and ambiguous < 2 and name != "answer lost"
            if name in SAFE or (name in AMBIGUOUS and repeats):
                expected = RetryAfter(0.5 * 2 ** (attempt - 1))
        assert decided(FAILURES[name], RetryPolicy(**terms), limited=limited, **facts) == expected, facts


def test_a_rate_limit_error_after_work_is_not_requeued() -> None:
    """A stream may end like this after an image. A retry would be billed twice."""
    failure = Failure(errors.RateLimitError("x", status_code=200, maybe_billed=True), "unknown")
    assert isinstance(decided(failure, RetryPolicy(max_ambiguous=1), limited=True), RetryAfter)
    assert decided(failure, RetryPolicy(delivery="at_most_once"), limited=True) == GiveUp()
    assert decided(failure, RetryPolicy(max_ambiguous=1), limited=True, maybe_billed_retries=1) == GiveUp()


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_what_came_with_a_success_status_is_not_asked_for_again(delivery: Any) -> None:
    policy = RetryPolicy(delivery=delivery, max_ambiguous=10, max_attempts=10)
    assert decided(FAILURES["answer lost"], policy) == GiveUp()
    assert decided(FAILURES["answer lost"], policy_of_run(policy, delivery)) == GiveUp()
    assert isinstance(decided(FAILURES["answer lost"], policy, billed=False), RetryAfter)


@pytest.mark.parametrize("name", sorted(AMBIGUOUS - {"answer lost"}))
def test_a_maybe_billed_attempt_is_retried_once_by_default_and_never_at_most_once(name: str) -> None:
    policy = RetryPolicy(delivery="at_most_once", max_ambiguous=10)
    for advice in (None, True):
        assert decided(evolve(FAILURES[name], should_retry=advice), policy) == GiveUp()
    assert isinstance(decided(FAILURES[name], maybe_billed_retries=0), RetryAfter)
    assert decided(FAILURES[name], attempt=2, maybe_billed_retries=1) == GiveUp()
    assert decided(FAILURES[name], RetryPolicy(max_ambiguous=0)) == GiveUp()


@pytest.mark.parametrize("name", sorted(AMBIGUOUS))
@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_an_idempotent_server_allows_retries_of_maybe_billed_attempts(name: str, delivery: Any) -> None:
    policy = RetryPolicy(server_idempotent=True, delivery=delivery, max_ambiguous=0, max_attempts=6)
    decisions = [
        decided(FAILURES[name], policy, attempt=attempt, maybe_billed_retries=attempt - 1)
        for attempt in range(1, 7)
    ]
    assert all(isinstance(decision, RetryAfter) for decision in decisions[:5])
    assert decisions[5] == GiveUp()


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("limited", [False, True])
def test_x_should_retry_false_always_prevents_a_retry(name: str, limited: bool) -> None:
    assert decided(evolve(FAILURES[name], should_retry=False), limited=limited) == GiveUp()


@pytest.mark.parametrize("name", sorted(HOPELESS - {"quota"}))
def test_x_should_retry_true_allows_a_retry_of_a_rejected_request(name: str) -> None:
    assert isinstance(decided(evolve(FAILURES[name], should_retry=True)), RetryAfter)


@pytest.mark.parametrize("name", sorted(HOPELESS))
def test_an_idempotent_server_does_not_allow_retries_of_rejected_requests(name: str) -> None:
    assert decided(FAILURES[name], RetryPolicy(server_idempotent=True)) == GiveUp()


def test_x_should_retry_true_overrides_neither_quota_nor_max_attempts() -> None:
    assert decided(evolve(FAILURES["quota"], should_retry=True)) == GiveUp()
    assert decided(evolve(FAILURES["400"], should_retry=True), attempt=4) == GiveUp()


def test_a_429_is_requeued_without_using_an_attempt() -> None:
    requeue = Requeue(ServerLimits(waits=(7.0,)))
    assert decided(asking("429", 7.0), limited=True) == requeue
    assert decided(asking("429", 7.0), RetryPolicy(max_attempts=1), limited=True, attempt=99) == requeue


@pytest.mark.parametrize("limited", [False, True])
def test_a_used_up_quota_and_a_request_above_the_limit_are_not_retried(limited: bool) -> None:
    assert decided(evolve(FAILURES["429"], never_fits=True), limited=limited) == GiveUp()
    assert decided(asking("quota", 1.0), limited=limited) == GiveUp()


@pytest.mark.parametrize("name", ["503", "429", "no connection"])
def test_the_delay_is_retry_after_plus_jitter(name: str) -> None:
    assert decided(asking(name, 7.0), RetryPolicy(backoff=2.0), chance=0.5) == RetryAfter(8.0)


@pytest.mark.parametrize(("asked", "maximum", "remaining", "retried"), [
    (30.0, 30.0, None, True), (30.001, 30.0, None, False), (math.inf, 30.0, None, False),
    (7.0, 30.0, 7.1, True), (7.0, 30.0, 7.0, False), (None, 30.0, 0.0, False), (None, 30.0, -1.0, False),
])  # fmt: skip
def test_a_delay_beyond_its_maximum_or_the_remaining_time_prevents_a_retry(
    asked: float | None, maximum: float, remaining: float | None, retried: bool
) -> None:
    policy = RetryPolicy(max_retry_after=maximum)
    decision = decided(asking("503", asked), policy, remaining=remaining, chance=0)
    assert decision == (RetryAfter(asked or 0.0) if retried else GiveUp())


def test_the_backoff_doubles_up_to_its_maximum() -> None:
    policy = RetryPolicy(max_attempts=10**9, backoff=0.5, max_backoff=20.0)
    delays = [
        decided(FAILURES["408"], policy, attempt=attempt, chance=1.0) for attempt in (*range(1, 9), 10**8)
    ]
    assert delays == [RetryAfter(seconds) for seconds in (0.5, 1, 2, 4, 8, 16, 20, 20, 20)]


def throttle_after(capacity: float, refill: float, *failures: str) -> RetryThrottle:
    throttle = RetryThrottle(capacity, refill)
    for name in failures:
        throttle.record_failure(FAILURES[name])
    return throttle


def test_a_closed_throttle_prevents_a_retry_that_is_not_free() -> None:
    empty = throttle_after(4, 0.1, *["503"] * 1000)
    assert decided(FAILURES["503"], throttle=empty) == GiveUp(throttled=True)
    assert decided(FAILURES["408"], throttle=empty, chance=0) == RetryAfter(0.0)
    assert isinstance(decided(FAILURES["no connection"], throttle=empty), RetryAfter)
    assert decided(FAILURES["503"], throttle=throttle_after(4, 0.1, "503"), chance=0) == RetryAfter(0.0)
    assert decided(FAILURES["429"], throttle=empty, limited=True) == Requeue(NO_SERVER_LIMITS)


@pytest.mark.parametrize(
    ("name", "facts"),
    [("503", {"attempt": 4}), ("503", {"maybe_billed_retries": 1}), ("503", {"remaining": 0.0}), ("400", {})],
)
def test_a_call_without_a_retry_is_not_throttled(name: str, facts: dict[str, Any]) -> None:
    assert decided(FAILURES[name], throttle=throttle_after(4, 0.1, *["503"] * 1000), **facts) == GiveUp()


# One failure of each class, so that each occurs often in a course.
STEPS = st.sampled_from(["success", "503", "answer lost", "400", "429", "no connection"])


@given(st.lists(STEPS, max_size=80), st.integers(1, 20), st.floats(0, 2))
@example(["no connection"] * 10 + ["success"] + ["no connection"] * 11 + ["503"], 1, 1.0)
@example(["503"] * 1000 + ["success"] * 3, 4, 1.0)
@example(["success"] * 100 + ["503"] * 2, 4, 1.0)
@example(["503"] * 8 + ["success"] * 13 + ["503"], 10, 0.25)
@example(["503"] * 100 + ["no connection"] * 11, 4, 0.1)
@example(["no connection"] * 12, 4, 0.1)
def test_the_throttle_matches_a_simple_model(course: list[str], capacity: int, refill: float) -> None:
    throttle, left, row = RetryThrottle(capacity, refill), float(capacity), 0
    for name in course:
        if name == "success":
            throttle.record_success()
            left, row = min(capacity, left + refill), 0
        else:
            throttle.record_failure(FAILURES[name])
            row += name == "no connection"
        free = {"refused", "never_sent"} if row <= 10 else {"refused"}
        if name != "success" and FAILURES[name].kind not in free:
            left = max(0.0, left - 1)
        for failure in FAILURES.values():
            assert throttle.allows(failure) is (failure.kind in free or left > capacity / 2)

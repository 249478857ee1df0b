"""Circuit breaker of a run, without a clock: what pauses, continues and ends it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesdk import (
    APIConnectionError,
    APIError,
    APIResponseError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    LimitWaitError,
    ModerationError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    Remedy,
    RetiredError,
    RunStoppedError,
)
from imagesdk._protocol.retry import Failure, classify
from imagesdk.fan_out.breaker import FIRST_PAUSE, IN_A_ROW, LONGEST_PAUSE, Breaker, Meaning, meaning

AWAY = APIConnectionError("no connection")
LOST = OutcomeUnknownError("no response")
GATEWAY = InternalServerError("bad gateway", status_code=502)
BROKEN = InternalServerError("oops", status_code=500)
REVOKED = AuthenticationError("no such key", status_code=401)
NO_MODEL = NotFoundError("no such model", status_code=404)
REFUSED = BadRequestError("no", status_code=400)
BUSY = RateLimitError("slow down", status_code=429)
EVERY = [AWAY, LOST, GATEWAY, BROKEN, REVOKED, NO_MODEL, REFUSED, BUSY]


def fail(breaker: Breaker, error: APIError, jobs: Iterable[int], now: float = 0.0) -> None:
    for job in jobs:
        breaker.failed(job, Failure(error, classify(error)), now)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AWAY, "away"),
        (LOST, "lost"),
        (GATEWAY, "lost"),
        (InternalServerError("", status_code=521), "lost"),
        (BROKEN, "broken"),
        (APIResponseError("a page in HTML"), "broken"),
        (REVOKED, "fatal"),
        (PermissionDeniedError("not verified", status_code=400), "fatal"),
        (QuotaExceededError("no credit", status_code=429), "fatal"),
        (NO_MODEL, "fatal"),
        (RetiredError("gone", status_code=404), "fatal"),
        (BadRequestError("no such model", status_code=400, code="model_not_found"), "fatal"),
        (NotFoundError("no such file", status_code=404, param="image"), "answered"),
        (ModerationError("no", status_code=400), "answered"),
        (BUSY, "answered"),
    ],
)
def test_a_failure_has_one_meaning(error: APIError, expected: Meaning) -> None:
    assert meaning(error) == expected


@pytest.mark.parametrize(("error", "jobs"), [(AWAY, 1), (LOST, 2), (GATEWAY, 2), (BROKEN, IN_A_ROW)])
def test_failures_in_a_row_pause_a_run_if_they_are_not_of_too_few_jobs(error: APIError, jobs: int) -> None:
    breaker = Breaker()
    fail(breaker, error, [number % (jobs - 1) for number in range(50)] if jobs > 1 else [])
    fail(breaker, error, [0] * (IN_A_ROW - 1) if jobs == 1 else [])
    assert not breaker.paused
    fail(breaker, error, [jobs - 1])
    assert breaker.paused


@pytest.mark.parametrize("answer", [REFUSED, BUSY, None])
def test_an_answer_between_failures_keeps_a_run_going(answer: APIError | None) -> None:
    breaker = Breaker()
    for job in range(100):
        fail(breaker, AWAY, [job])
        if job % (IN_A_ROW - 1) == 0:
            breaker.succeeded(job) if answer is None else fail(breaker, answer, [job])
        assert breaker.enter(job, 0.0) is None


def test_one_job_at_a_time_probes_a_paused_run_after_growing_pauses_and_each_time_another_one() -> None:
    breaker, now, probes = Breaker(give_up_after=None), 0.0, list[int]()
    fail(breaker, AWAY, range(IN_A_ROW))
    for pause in (FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE):
        assert [breaker.enter(job, now) for job in range(3)] == [pause] * 3
        now += pause
        [probe] = [job for job in range(3) if breaker.enter(job, now) is None]
        probes.append(probe)
        fail(breaker, AWAY, [probe], now)
    assert sorted(probes) == [0, 1, 2]
    for _ in range(20):
        now += LONGEST_PAUSE
        [probe] = [job for job in range(3) if breaker.enter(job, now) is None]
        fail(breaker, AWAY, [probe], now)
    assert [breaker.enter(job, now) for job in range(3)] == [LONGEST_PAUSE] * 3


def test_a_job_that_has_used_up_its_attempts_without_a_connection_pauses_the_run() -> None:
    breaker = Breaker()
    fail(breaker, AWAY, [0])
    breaker.gave_up(GATEWAY, 0.0)
    assert not breaker.paused
    breaker.gave_up(AWAY, 0.0)
    assert breaker.paused


def test_a_rate_limit_that_never_has_room_ends_the_run_and_one_without_room_in_time_does_not() -> None:
    breaker = Breaker()
    breaker.gave_up(LimitWaitError("no room in 5 s", remedies=(Remedy.RAISE_TIMEOUT,)), 0.0)
    assert breaker.error is None
    assert not breaker.paused
    endless = LimitWaitError("nothing but 429 for 900 s", remedies=(Remedy("raise_limit_wait"),))
    breaker.gave_up(endless, 0.0)
    assert isinstance(breaker.error, RunStoppedError)
    assert breaker.error.last_error is endless


def test_a_run_without_a_success_for_long_enough_ends_with_the_last_failure() -> None:
    breaker = Breaker(give_up_after=60.0)
    fail(breaker, AWAY, range(IN_A_ROW), now=5.0)
    assert breaker.enter(0, 64.9) is None
    fail(breaker, GATEWAY, [0], now=64.9)
    assert breaker.error is None
    assert breaker.enter(1, 64.9) == pytest.approx(0.1)
    breaker.enter(1, 65.0)
    assert isinstance(breaker.error, RunStoppedError)
    assert (breaker.error.reason, breaker.error.last_error) == ("server_away", GATEWAY)
    assert breaker.error.__cause__ is GATEWAY
    assert not breaker.admits(0)


def test_the_second_fatal_answer_ends_the_run_if_its_attempt_began_after_the_first() -> None:
    breaker = Breaker()
    again = AuthenticationError("still no such key", status_code=401)
    fail(breaker, REVOKED, [0, 1, 2])  # 1 and 2 were in flight when 0 was answered
    assert breaker.paused
    assert breaker.error is None
    breaker.succeeded(3)  # as was 3
    assert breaker.enter(4, 0.0) is None
    assert breaker.enter(5, 0.0) is not None
    fail(breaker, again, [4])
    assert breaker.error is again


def test_a_probe_that_succeeds_after_a_fatal_answer_continues_the_run() -> None:
    breaker = Breaker()
    for job in range(0, 100, 2):
        fail(breaker, REVOKED, [job])
        assert breaker.enter(job + 1, 0.0) is None
        breaker.succeeded(job + 1)
        assert not breaker.paused
        assert breaker.error is None


def test_a_429_for_the_probe_neither_confirms_nor_refutes_a_fatal_answer() -> None:
    breaker = Breaker()
    fail(breaker, REVOKED, [0])
    assert breaker.enter(1, 0.0) is None
    fail(breaker, BUSY, [1])
    assert breaker.admits(1)
    fail(breaker, REVOKED, [1])
    assert breaker.error is REVOKED


def test_a_missing_model_ends_no_run_in_which_a_job_has_succeeded() -> None:
    breaker = Breaker()
    breaker.succeeded(0)
    fail(breaker, NO_MODEL, range(1, 50))
    assert not breaker.paused


def test_fatal_answers_change_nothing_if_the_caller_says_so() -> None:
    breaker = Breaker(stop_on_fatal=False)
    fail(breaker, REVOKED, range(100))
    assert not breaker.paused


def test_a_probe_that_ends_without_a_result_lets_another_job_probe() -> None:
    breaker = Breaker()
    fail(breaker, AWAY, range(IN_A_ROW))
    for job in (0, 1):
        breaker.enter(job, 0.0)
    assert breaker.enter(0, FIRST_PAUSE) is None
    breaker.leave(0, FIRST_PAUSE)
    assert breaker.enter(1, 3 * FIRST_PAUSE) is None


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.sampled_from(EVERY)), max_size=80), st.data())
def test_whatever_happens_one_probe_at_most_is_out_and_nothing_waits_for_ever(
    steps: list[tuple[int, APIError | None]], data: st.DataObject
) -> None:
    breaker, now, out, asking = Breaker(give_up_after=900.0), 0.0, set[int](), set[int]()
    for job, error in steps:
        if job in out:
            out.discard(job)
            if error is None:
                breaker.succeeded(job)
            else:
                fail(breaker, error, [job], now)
            if error is BUSY or data.draw(st.booleans()):
                breaker.leave(job, now)
        elif breaker.enter(job, now) is None:
            asking.discard(job)
            out.add(job)
        else:
            asking.add(job)
        if breaker.error is not None:
            break
        assert breaker.probe is None or (breaker.paused and breaker.probe in out)
        now += data.draw(st.sampled_from([0.0, 0.5, 40.0]))
    for job in out:
        breaker.leave(job, now)
    while asking and breaker.error is None:
        seconds = {job: breaker.enter(job, now) for job in sorted(asking)}
        entered = {job for job, wait in seconds.items() if wait is None}
        asking -= entered
        for job in entered:
            breaker.succeeded(job)
        if not entered and breaker.error is None:
            now += max(0.001, min(wait for wait in seconds.values() if wait is not None))
            assert now < 1e6

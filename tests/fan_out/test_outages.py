"""Runs whose server is away, answers with errors that every job would get, or fails often. In virtual time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import httpx
import pytest

from imagesdk import (
    APIConnectionError,
    AsyncClient,
    AuthenticationError,
    ConfigurationError,
    ImageSDKError,
    InternalServerError,
    NotFoundError,
    QuotaExceededError,
    RetryPolicy,
    RunStoppedError,
)
from imagesdk.fan_out import breaker
from imagesdk.fan_out.journal import read_records
from tests.support.runs import Runs, statuses, until
from tests.support.virtual_runs import Handler, connect, night

JOBS = [f"image {number}" for number in range(100)]
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
every_delivery = pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])


def between(start: float, end: float) -> Callable[[float], bool]:
    return lambda now: start <= now < end


def away(start: float, end: float, status: int) -> Handler:
    async def handler(prompt: str, now: float) -> httpx.Response | None:
        return error(status, "server_error") if start <= now < end else None

    return handler


def error(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": "no", "code": code, "type": code}})


@every_delivery
@pytest.mark.parametrize("concurrency", [1, None])
@pytest.mark.parametrize("seconds", [5, 300])
def test_a_server_that_cannot_be_reached_for_a_while_costs_no_job(
    delivery: str, concurrency: int | None, seconds: float
) -> None:
    found = night(JOBS[:60], refuses=between(2, 2 + seconds), delivery=delivery, concurrency=concurrency)
    assert found.error is None
    assert found.statuses == {"done": 60}
    assert max(found.billed.values()) == 1
    assert found.seconds < seconds + 60 * 0.5 + breaker.LONGEST_PAUSE + 5


def test_a_run_whose_client_makes_one_attempt_a_call_outlasts_an_outage_too() -> None:
    retry = RetryPolicy(max_attempts=1)
    found = night(JOBS[:40], refuses=between(1, 60), concurrency=1, client={"retry": retry})
    assert (found.error, found.statuses) == (None, {"done": 40})


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_is_away_costs_no_job_if_attempts_may_be_repeated(status: int) -> None:
    found = night(JOBS, away(1, 120, status), delivery="at_least_once", concurrency=8)
    assert (found.error, found.statuses) == (None, {"done": 100})


def test_a_gateway_that_is_away_costs_a_run_that_repeats_nothing_only_its_probes() -> None:
    found = night(JOBS, away(1, 120, 503), concurrency=8)
    assert found.error is None
    assert found.statuses["unknown"] <= 8 + breaker.IN_A_ROW + 10
    assert found.statuses["unknown"] + found.statuses["done"] == 100


def test_while_the_server_is_away_one_job_at_a_time_is_sent() -> None:
    found = night(JOBS, refuses=between(1, 300), concurrency=20)
    refused = [at for at in found.refused if at > 10]
    assert 5 <= len(refused) <= 15
    assert all(later - earlier >= 4 for earlier, later in pairwise(refused))


@every_delivery
@pytest.mark.parametrize("refuses", [connect, between(0, 1e9)], ids=["answers 500", "refuses connections"])
def test_a_server_that_is_down_is_not_buried_under_the_attempts_of_a_run(
    delivery: str, refuses: Callable[[float], bool]
) -> None:
    found = night(JOBS, away(0, 1e9, 500), refuses=refuses, delivery=delivery)
    assert isinstance(found.error, RunStoppedError)
    assert len(found.asked) + len(found.refused) <= 64 + 40  # those in flight at first, and the probes
    assert found.seconds >= 900


def test_a_run_ends_with_a_typed_error_if_the_server_stays_away() -> None:
    found = night(JOBS, refuses=between(3, 1e9), concurrency=4, give_up_after=120)
    assert isinstance(found.error, RunStoppedError)
    assert found.error.reason == "server_away"
    assert isinstance(found.error.last_error, APIConnectionError)
    assert found.error.__cause__ is found.error.last_error
    assert set(found.statuses) == {"done"}
    assert 120 <= found.seconds <= 130
    assert found.progress is not None
    assert (found.progress.in_flight, found.progress.finished) == (0, len(found.outcomes))


def test_jobs_that_may_have_been_billed_are_unknown_when_the_run_gives_up() -> None:
    found = night(JOBS, away(3, 1e9, 503), concurrency=4, delivery="at_least_once", give_up_after=120)
    assert isinstance(found.error, RunStoppedError)
    assert isinstance(found.error.last_error, InternalServerError)
    asked = {prompt for prompt, _ in found.asked}
    assert {outcome.prompt for outcome in found.outcomes} == asked
    unknown = [outcome for outcome in found.outcomes if outcome.status == "unknown"]
    assert len(unknown) == len(asked) - found.statuses["done"] > 0
    assert all(outcome.attempts and outcome.error for outcome in unknown)


@pytest.mark.parametrize("share", [0.35, 0.6])
@pytest.mark.parametrize("status", [503, None])
def test_at_least_once_delivers_every_job_however_many_attempts_fail(
    share: float, status: int | None
) -> None:
    chance = Random(7)

    async def handler(prompt: str, now: float) -> httpx.Response | None:
        if chance.random() >= share:
            return None
        if status is None:
            raise httpx.ReadError("connection reset")
        return error(status, "server_error")

    found = night(JOBS[:50], handler, delivery="at_least_once")
    assert (found.error, found.statuses) == (None, {"done": 50})


@pytest.mark.parametrize("concurrency", [1, 5, None])
def test_one_bad_job_that_a_gateway_always_times_out_ends_no_run(concurrency: int | None) -> None:
    async def handler(prompt: str, now: float) -> httpx.Response | None:
        return error(504, "timeout") if prompt == "image 3" else None

    found = night(JOBS[:40], handler, delivery="at_least_once", concurrency=concurrency)
    assert (found.error, found.statuses) == (None, {"done": 39, "unknown": 1})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_api_key", AuthenticationError),
        (403, "permission_error", ImageSDKError),
        (429, "insufficient_quota", QuotaExceededError),
        (404, "model_not_found", NotFoundError),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 8])
def test_an_answer_that_every_job_would_get_ends_the_run_once_a_probe_confirms_it(
    status: int, code: str, kind: type[Exception], concurrency: int
) -> None:
    async def handler(prompt: str, now: float) -> httpx.Response | None:
        return error(status, code) if now > 1 or code == "model_not_found" else None

    found = night(iter(JOBS), handler, concurrency=concurrency)
    assert isinstance(found.error, kind)
    assert found.statuses["failed"] <= concurrency + 1
    assert found.error is found.outcomes[-1].error
    assert len(found.asked) == len(found.outcomes) <= 4 * concurrency + 2


@every_delivery
def test_a_fatal_answer_that_no_probe_confirms_fails_its_job_only(delivery: str) -> None:
    async def handler(prompt: str, now: float) -> httpx.Response | None:
        return error(401, "invalid_api_key") if prompt in {"image 3", "image 30"} else None

    found = night(JOBS[:60], handler, concurrency=4, delivery=delivery)
    assert (found.error, found.statuses) == (None, {"done": 58, "failed": 2})


def test_stop_on_never_makes_every_job_fail() -> None:
    async def handler(prompt: str, now: float) -> httpx.Response | None:
        return error(401, "invalid_api_key")

    found = night(JOBS[:50], handler, stop_on="never")
    assert (found.error, found.statuses) == (None, {"failed": 50})


def test_max_failures_ends_the_run_after_the_jobs_concurrency() -> None:
    async def handler(prompt: str, now: float) -> httpx.Response | None:
        return error(500, "server_error") if int(prompt.split()[1]) % 3 == 0 else None

    found = night(JOBS, handler, concurrency=4, max_failures=7)
    assert isinstance(found.error, RunStoppedError)
    assert found.error.reason == "max_failures"
    assert isinstance(found.error.last_error, InternalServerError)
    assert found.error.__cause__ is found.error.last_error
    assert 7 <= found.statuses["unknown"] <= 7 + 3
    assert len(found.asked) == len(found.outcomes) < 30


def test_a_second_collect_returns_what_the_first_had_when_the_run_ended() -> None:
    async def main() -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            return error(401, "invalid_api_key")

        transport = httpx.MockTransport(handle)
        async with AsyncClient(
            base_url="http://127.0.0.1:9/v1",
            api_key="",
            http_client=lambda: httpx.AsyncClient(transport=transport),
        ) as client:
            async with client.images.fan_out(JOBS, concurrency=1) as run:
                with pytest.raises(AuthenticationError):
                    await run.collect()
                assert statuses(await run.collect()) == ["failed", "failed"]

    anyio.run(main)


@pytest.mark.anyio
@both_loops
async def test_jobs_that_a_run_did_not_begin_stay_planned_and_the_next_run_makes_them(
    runs: Runs, make_client: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.01)
    base_url = runs.server.base_url
    runs.client = make_client("http://127.0.0.1:9/v1", retry=RetryPolicy(backoff=0))
    with pytest.raises(RunStoppedError):
        await runs.saved("a", "b", "c", give_up_after=0.1)
    records = [*read_records(runs.out / "journal.db")]
    assert records
    assert {record.state for record in records} == {"planned"}
    runs.client = make_client(base_url)
    assert statuses(await runs.saved("a", "b", "c")) == ["done"] * 3
    assert runs.server.billed == {"a": 1, "b": 1, "c": 1}


@pytest.mark.anyio
async def test_the_next_run_sends_again_what_at_least_once_could_not_deliver(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 0.01)
    jobs = [f"spoil 999 {number}" for number in range(8)]
    with pytest.raises(RunStoppedError):
        await runs.saved(*jobs, delivery="at_least_once", concurrency=8, give_up_after=0.001)
    runs.server.billed.update(dict.fromkeys(jobs, 999))
    assert statuses(await runs.saved(*jobs, delivery="at_least_once")) == ["done"] * 8


@pytest.mark.anyio
@both_loops
async def test_stop_ends_a_paused_run_at_once(
    runs: Runs, make_client: Callable[..., AsyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    runs.client = make_client("http://127.0.0.1:9/v1", retry=RetryPolicy(max_attempts=1))
    with anyio.fail_after(20):
        async with runs.begin(["a", "b", "c"], concurrency=2, give_up_after=None) as run:
            await until(lambda: "the run pauses" in caplog.text)
            run.stop()
            assert await run.collect() == []
    assert run.progress.in_flight == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    "options",
    [
        {"stop_on": "always"},
        {"max_failures": 0},
        {"max_failures": "3"},
        {"give_up_after": 0},
        {"give_up_after": "x"},
    ],
)
async def test_the_options_that_end_a_run_are_checked(runs: Runs, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await runs.all(["a"], **options)
    assert caught.value.param == next(iter(options))

"""Runs that are run again: which jobs are sent, restored or reported."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from imagesdk import (
    APIConnectionError,
    AsyncClient,
    AuthenticationError,
    DownloadError,
    Edit,
    Generate,
    InternalServerError,
    InvalidRequestError,
    JobLike,
    JournalError,
    Labelled,
    ModerationError,
    Outcome,
    OutcomeUnknownError,
    RateLimit,
    RetryPolicy,
    RunStoppedError,
)
from imagesdk.fan_out.journal import acknowledge, open_journal, read_records
from tests.support.runs import Runs, statuses, wait_for
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


async def test_the_same_list_again_sends_nothing_and_returns_the_same_outcomes(runs: Runs) -> None:
    jobs: list[JobLike] = ["a", "b", Generate("c", size="auto")]
    first, again = await runs.saved(*jobs), await runs.saved(*jobs)
    assert runs.server.billed == {"a": 1, "b": 1, "c": 1}
    assert [outcome.id for outcome in again] == [outcome.id for outcome in first]
    assert [outcome.unwrap()[0].bytes for outcome in again] == [one.unwrap()[0].bytes for one in first]
    assert all(outcome.resumed and outcome.attempts == 0 for outcome in again)
    assert not any(outcome.resumed for outcome in first)


async def test_the_same_list_in_another_order_sends_nothing(runs: Runs) -> None:
    await runs.saved("a", "b", "a")
    assert statuses(await runs.saved("b", "a", "a")) == ["done"] * 3
    assert runs.server.billed == {"a": 2, "b": 1}


async def test_one_new_line_on_top_of_many_sends_one_job(runs: Runs) -> None:
    jobs = [f"image {n % 90}" for n in range(100)]
    await runs.saved(*jobs)
    assert runs.server.billed.total() == 100
    again = await runs.saved("new", *jobs)
    assert runs.server.billed.total() == 101
    assert [outcome.place for outcome in again if not outcome.resumed] == [0]
    assert len(runs.pngs()) == 101


async def test_an_edit_of_a_changed_image_is_sent_again(runs: Runs, tmp_path: Path) -> None:
    lounge = tmp_path / "lounge.png"
    lounge.write_bytes(png(2, 2))
    jobs = [Edit(lounge, "a pool"), Edit(png(2, 2), "a pool")]
    assert statuses(await runs.saved(*jobs)) == ["done", "done"]
    lounge.write_bytes(png(3, 3))
    assert statuses(await runs.saved(*jobs)) == ["done", "done"]
    assert len(runs.server.asked) == 3


async def test_a_folder_can_be_moved_with_its_journal(runs: Runs, tmp_path: Path) -> None:
    await runs.saved("a")
    shutil.move(runs.out, tmp_path / "there")
    [outcome] = await runs.saved("a", out=tmp_path / "there")
    assert outcome.unwrap()[0].path == tmp_path / "there" / Path(outcome.unwrap()[0].path or "").name
    assert runs.server.billed == {"a": 1}


async def test_a_failed_job_is_sent_again_and_a_refused_job_is_not(runs: Runs, tmp_path: Path) -> None:
    lounge = tmp_path / "lounge.png"
    jobs: list[JobLike] = [Edit(lounge, "a pool"), "refuse me"]
    assert statuses(await runs.saved(*jobs)) == ["failed", "refused"]
    lounge.write_bytes(png())
    again = await runs.saved(*jobs)
    assert statuses(again) == ["done", "refused"]
    assert isinstance(again[1].error, ModerationError)
    assert runs.server.asked.count("refuse me") == 1


async def test_an_unknown_job_is_reported_until_retry_unknown_sends_it_again(runs: Runs) -> None:
    [first], [again] = await runs.saved("break me"), await runs.saved("break me")
    assert first.status == again.status == "unknown"
    assert isinstance(again.error, InternalServerError)
    assert "retry_unknown=True" in str(again.error)
    assert again.error.maybe_billed
    assert runs.server.billed == {"break me": 1}
    await runs.saved("break me", retry_unknown=True)
    assert runs.server.billed == {"break me": 2}
    assert len(set(runs.server.keys["break me"])) == 1


async def test_a_remedy_of_an_unknown_job_is_named_once_however_often_it_is_reported(runs: Runs) -> None:
    async with runs.begin(["hold on"], out=runs.out):
        await wait_for(runs.server.arrived)
    for _ in range(3):
        [again] = await runs.saved("hold on")
        assert again.status == "unknown"
        assert str(again.error).count("retry_unknown=True") == 1


async def test_a_failed_download_fails_the_job_and_the_next_run_fetches_the_image(runs: Runs) -> None:
    runs.server.broken_downloads = True
    for _ in range(2):
        [outcome] = await runs.saved("url please")
        assert outcome.status == "failed"
        assert isinstance(outcome.error, DownloadError)
    runs.server.broken_downloads = False
    [last] = await runs.saved("url please")
    assert last.unwrap()[0].bytes == png(2, 2)
    assert runs.server.billed == {"url please": 1}


async def test_only_the_images_whose_download_failed_are_fetched_by_the_next_run(runs: Runs) -> None:
    runs.server.broken_ending = "b"
    job = Generate("urls please", n=2)
    [first] = await runs.saved(job)
    assert isinstance(first.error, DownloadError)
    runs.server.broken_ending = None
    runs.server.downloads.clear()
    [last] = await runs.saved(job)
    assert len(runs.server.downloads) == 1
    assert len({image.path for image in last.unwrap()}) == len(runs.pngs()) == 2
    assert statuses(await runs.saved(job)) == ["done"]
    assert runs.server.billed == {"urls please": 1}


@pytest.mark.parametrize("journal", [False, None])
async def test_a_run_without_a_journal_sends_everything_again(runs: Runs, journal: bool | None) -> None:
    for _ in range(2):
        await runs.saved("a", journal=journal)
    assert runs.server.billed == {"a": 2}
    assert len(list(runs.out.iterdir())) == 2


@both_loops
async def test_a_run_that_was_left_early_is_resumed(runs: Runs) -> None:
    jobs = [f"image {n}" for n in range(20)]
    async with runs.begin(jobs, out=runs.out, concurrency=2) as run:
        await anext(run)
    found = statuses(await runs.saved(*jobs))
    assert found.count("unknown") <= 2
    assert found.count("unknown") + found.count("done") == len(jobs)
    assert max(runs.server.billed.values()) == 1


async def test_a_label_finds_its_job_at_any_place(runs: Runs) -> None:
    first = await runs.saved(Labelled("x", "a"), Labelled("y", "a"))
    again = await runs.saved(Labelled("y", "a"), Labelled("x", "a"))
    assert [outcome.id for outcome in again] == ["y", "x"]
    assert first[0].unwrap()[0].path == again[1].unwrap()[0].path
    assert runs.server.billed == {"a": 2}


async def test_a_label_can_be_given_to_a_job_of_an_earlier_run(runs: Runs) -> None:
    await runs.saved("a")
    [outcome] = await runs.saved(Labelled("x", "a"))
    assert (outcome.id, outcome.resumed) == ("x", True)
    with pytest.raises(InvalidRequestError, match="'x' belongs to another job"):
        (await runs.saved(Labelled("x", "b")))[0].unwrap()


async def test_a_label_belongs_to_one_job(runs: Runs) -> None:
    outcomes = await runs.saved(Labelled("x", "a"), Labelled("x", "a"), Labelled("x", "b"))
    assert statuses(outcomes) == ["done", "refused", "refused"]
    assert "Two jobs of this run have the id 'x'" in str(outcomes[1].error)
    assert runs.server.billed == {"a": 1}


@pytest.mark.parametrize("harm", ["is missing", "was changed"])
async def test_a_missing_or_changed_file_is_reported_and_generated_again_only_with_retry_unknown(
    runs: Runs, harm: str
) -> None:
    [first] = await runs.saved("a")
    path = first.unwrap()[0].path
    assert path is not None
    path.unlink()
    if harm == "was changed":
        path.write_bytes(b"retouched")
    async with runs.begin(["a"], out=runs.out) as run:
        [again] = await run.collect()
    assert again.status == "missing"
    assert (run.progress.missing, run.progress.finished, run.progress.resumed) == (1, 1, 1)
    assert isinstance(again.error, JournalError)
    assert harm in str(again.error)
    assert runs.server.billed == {"a": 1}
    assert statuses(await runs.saved("a", retry_unknown=True)) == ["done"]
    if harm == "was changed":
        assert path.read_bytes() == b"retouched"
    assert statuses(await runs.saved("a")) == ["done"]
    assert runs.server.billed == {"a": 2}


def change_records(runs: Runs, change: str) -> None:
    db = sqlite3.connect(runs.out / "journal.db")
    db.execute(f"UPDATE jobs SET {change}")
    db.commit()
    db.close()


@pytest.fixture
async def interrupted(runs: Runs) -> Runs:
    """Runs of which one was killed while its job was sent."""
    await runs.saved("a")
    change_records(runs, "state = 'sending', answer = NULL")
    return runs


async def test_an_interrupted_attempt_is_reported_with_its_idempotency_key(interrupted: Runs) -> None:
    for _ in range(2):
        [outcome] = await interrupted.saved("a")
        assert outcome.status == "unknown"
        assert isinstance(outcome.error, OutcomeUnknownError)
        assert outcome.error.idempotency_key == interrupted.server.keys["a"][0]
    assert interrupted.server.billed == {"a": 1}


@pytest.mark.parametrize("options", [{"retry_unknown": True}, {"delivery": "at_least_once"}])
async def test_an_interrupted_attempt_can_be_sent_again_under_its_idempotency_key(
    interrupted: Runs, options: dict[str, Any]
) -> None:
    assert statuses(await interrupted.saved("a", **options)) == ["done"]
    assert interrupted.server.billed == {"a": 2}
    assert len(set(interrupted.server.keys["a"])) == 1


async def until_given_up(runs: Runs, client: AsyncClient, *jobs: JobLike, **options: Any) -> list[Outcome]:
    """Run jobs with another client, until the run ends because nothing succeeds. Return the outcomes."""
    taken = list[Outcome]()
    with pytest.raises(RunStoppedError):  # noqa: PT012
        async with client, client.images.fan_out(jobs, out=runs.out, give_up_after=0.01, **options) as run:
            async for outcome in run:
                taken.append(outcome)
    return taken


@pytest.fixture
def no_server(interrupted: Runs, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    """A client whose server is down, for the job that was being sent when a run was killed."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return make_client(f"http://127.0.0.1:{port}/v1", retry=RetryPolicy(max_attempts=2, backoff=0))


@pytest.mark.parametrize("options", [{"retry_unknown": True}, {"delivery": "at_least_once"}])
@pytest.mark.parametrize("before", ["sending", "unknown"])
async def test_a_job_that_may_have_been_billed_stays_so_though_the_server_is_down(
    interrupted: Runs, no_server: AsyncClient, options: dict[str, Any], before: str
) -> None:
    change_records(interrupted, f"state = '{before}', error = NULL")
    options = options if before == "sending" else {"retry_unknown": True}
    [outcome] = await until_given_up(interrupted, no_server, "a", **options)
    assert outcome.status == "unknown"
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.maybe_billed
    assert statuses(await interrupted.saved("a")) == ["unknown"]
    assert interrupted.server.billed == {"a": 1}
    assert statuses(await interrupted.saved("a", retry_unknown=True)) == ["done"]


async def test_at_least_once_sends_an_interrupted_job_again_after_a_run_without_a_server(
    interrupted: Runs, no_server: AsyncClient
) -> None:
    await until_given_up(interrupted, no_server, "a", delivery="at_least_once")
    assert statuses(await interrupted.saved("a", delivery="at_least_once")) == ["done"]
    assert interrupted.server.billed == {"a": 2}


async def test_an_attempt_that_was_not_recorded_does_not_change_what_was_recorded_before(
    interrupted: Runs,
) -> None:
    async with open_journal(interrupted.out / "journal.db") as opened:
        [record] = read_records(interrupted.out / "journal.db")
        await opened.not_sent(record)
    [record] = read_records(interrupted.out / "journal.db")
    assert record.state == "sending"


async def test_a_missing_file_stays_missing_though_the_server_is_down(
    interrupted: Runs, no_server: AsyncClient
) -> None:
    assert statuses(await interrupted.saved("a", retry_unknown=True)) == ["done"]
    for path in interrupted.out.glob("*.png"):
        path.unlink()
    await until_given_up(interrupted, no_server, "a", retry_unknown=True)
    assert statuses(await interrupted.saved("a")) == ["missing"]


async def test_an_unknown_job_that_no_longer_fits_the_budget_stays_unknown(interrupted: Runs) -> None:
    job = Generate("a")
    options: dict[str, Any] = {"retry_unknown": True, "budget": "0 USD"}
    assert statuses(await interrupted.saved(job, **options)) == ["unknown"]
    assert statuses(await interrupted.saved(job)) == ["unknown"]
    assert interrupted.server.billed == {"a": 1}


async def test_an_acknowledged_job_rests_until_retry_unknown(runs: Runs) -> None:
    jobs = ["deny me", "refuse me", "a"]
    options: dict[str, Any] = {"stop_on": "never", "concurrency": 1}
    assert statuses(await runs.saved(*jobs, **options)) == ["failed", "refused", "done"]
    assert acknowledge(runs.out / "journal.db") == 2
    assert acknowledge(runs.out / "journal.db") == 0
    outcomes = await runs.saved(*jobs, **options)
    assert [(outcome.status, outcome.acknowledged) for outcome in outcomes] == [
        ("failed", True),
        ("refused", True),
        ("done", False),
    ]
    assert isinstance(outcomes[0].error, AuthenticationError)
    assert runs.server.asked.count("deny me") == 1
    [again, *_] = await runs.saved(*jobs, **options, retry_unknown=True)
    assert (again.status, again.acknowledged) == ("failed", False)
    assert runs.server.asked.count("deny me") == 2
    await runs.saved(*jobs, **options)
    assert runs.server.asked.count("deny me") == 3


async def test_the_rate_limit_counts_what_an_earlier_process_has_sent(
    runs: Runs, make_client: Callable[..., AsyncClient]
) -> None:
    runs.client = make_client(runs.server.base_url, rate_limit=RateLimit(3, per=600))
    await runs.saved("a", "b")
    change_records(runs, "process = 'another'")
    runs.client = make_client(runs.server.base_url, rate_limit=RateLimit(3, per=600, scope="client"))
    async with runs.begin(["c", "d"], out=runs.out) as run:
        assert (await anext(run)).status == "done"
        await anyio.wait_all_tasks_blocked()
        assert run.progress.in_flight == 1
        assert "d" not in runs.server.asked

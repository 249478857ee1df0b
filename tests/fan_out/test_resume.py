"""Runs that are run again: which jobs are sent, restored or reported."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from imagesdk import (
    AsyncClient,
    DownloadError,
    Edit,
    Generate,
    InternalServerError,
    InvalidRequestError,
    JobLike,
    JournalError,
    Labelled,
    ModerationError,
    OutcomeUnknownError,
    RateLimit,
)
from imagesdk._ratelimit.shared import LimiterRegistry
from tests.support.billing_server import BillingServer
from tests.support.runs import run_all, statuses
from tests.support.small_images import png

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


async def test_the_same_list_again_sends_nothing_and_returns_the_same_outcomes(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    jobs: list[JobLike] = ["a", "b", Generate("c", size="auto")]
    first = await run_all(client, jobs, tmp_path)
    again = await run_all(client, jobs, tmp_path)
    assert server.billed == {"a": 1, "b": 1, "c": 1}
    assert [outcome.id for outcome in again] == [outcome.id for outcome in first]
    assert [outcome.unwrap()[0].bytes for outcome in again] == [
        outcome.unwrap()[0].bytes for outcome in first
    ]
    assert all(outcome.resumed and outcome.attempts == 0 for outcome in again)
    assert not any(outcome.resumed for outcome in first)


async def test_the_same_list_in_another_order_sends_nothing(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    await run_all(client, ["a", "b", "a"], tmp_path)
    again = await run_all(client, ["b", "a", "a"], tmp_path)
    assert statuses(again) == ["done"] * 3
    assert server.billed == {"a": 2, "b": 1}


async def test_one_new_line_on_top_of_many_sends_one_job(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    jobs: list[JobLike] = [f"image {n % 90}" for n in range(100)]
    await run_all(client, jobs, tmp_path)
    assert server.billed.total() == 100
    again = await run_all(client, ["new", *jobs], tmp_path)
    assert server.billed.total() == 101
    assert [outcome.place for outcome in again if not outcome.resumed] == [0]
    assert len(list(tmp_path.glob("*.png"))) == 101


async def test_an_edit_of_a_changed_image_is_sent_again(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    lounge = tmp_path / "lounge.png"
    lounge.write_bytes(png(2, 2))
    jobs: list[JobLike] = [Edit(lounge, "a pool"), Edit(png(2, 2), "a pool")]
    first = await run_all(client, jobs, tmp_path / "out")
    lounge.write_bytes(png(3, 3))
    again = await run_all(client, jobs, tmp_path / "out")
    assert statuses(first) == statuses(again) == ["done", "done"]
    assert len(server.asked) == 3


async def test_a_folder_can_be_moved_with_its_journal(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    await run_all(client, ["a"], tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    [outcome] = await run_all(client, ["a"], tmp_path / "there")
    assert outcome.unwrap()[0].path == tmp_path / "there" / Path(outcome.unwrap()[0].path or "").name
    assert server.billed == {"a": 1}


async def test_a_failed_job_is_sent_again_and_a_refused_job_is_not(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    lounge = tmp_path / "lounge.png"
    jobs: list[JobLike] = [Edit(lounge, "a pool"), "refuse me"]
    first = await run_all(client, jobs, tmp_path / "out")
    lounge.write_bytes(png())
    again = await run_all(client, jobs, tmp_path / "out")
    assert statuses(first) == ["failed", "refused"]
    assert statuses(again) == ["done", "refused"]
    assert isinstance(again[1].error, ModerationError)
    assert server.asked.count("refuse me") == 1


async def test_an_unknown_job_is_reported_until_retry_unknown_sends_it_again(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    first = await run_all(client, ["break me"], tmp_path)
    again = await run_all(client, ["break me"], tmp_path)
    assert statuses(first) == statuses(again) == ["unknown"]
    assert isinstance(again[0].error, InternalServerError)
    assert "retry_unknown=True" in str(again[0].error)
    assert again[0].error.maybe_billed
    assert server.billed == {"break me": 1}
    await run_all(client, ["break me"], tmp_path, retry_unknown=True)
    assert server.billed == {"break me": 2}
    assert len(set(server.keys["break me"])) == 1


async def test_a_failed_download_is_fetched_by_the_next_run_and_nothing_is_generated(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    server.broken_downloads = True
    [first] = await run_all(client, ["url please"], tmp_path)
    [again] = await run_all(client, ["url please"], tmp_path)
    assert isinstance(first.error, DownloadError)
    assert isinstance(again.error, DownloadError)
    server.broken_downloads = False
    [last] = await run_all(client, ["url please"], tmp_path)
    assert last.unwrap()[0].bytes == png(2, 2)
    assert server.billed == {"url please": 1}


async def test_only_the_images_whose_download_failed_are_fetched_by_the_next_run(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    server.broken_ending = "b"
    jobs: list[JobLike] = [Generate("urls please", n=2)]
    [first] = await run_all(client, jobs, tmp_path)
    assert isinstance(first.error, DownloadError)
    server.broken_ending = None
    server.downloads.clear()
    [last] = await run_all(client, jobs, tmp_path)
    assert len(server.downloads) == 1
    assert len({image.path for image in last.unwrap()}) == len(list(tmp_path.glob("*.png"))) == 2
    assert statuses(await run_all(client, jobs, tmp_path)) == ["done"]
    assert server.billed == {"urls please": 1}


@pytest.mark.parametrize("journal", [False, None])
async def test_a_run_without_a_journal_sends_everything_again(
    client: AsyncClient, server: BillingServer, tmp_path: Path, journal: bool | None
) -> None:
    for _ in range(2):
        await run_all(client, ["a"], tmp_path, journal=journal)
    assert server.billed == {"a": 2}
    assert len(list(tmp_path.iterdir())) == 2


@both_loops
async def test_a_run_that_was_left_early_is_resumed(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    jobs: list[JobLike] = [f"image {n}" for n in range(20)]
    async with client, client.images.fan_out(jobs, out=tmp_path, concurrency=2) as run:
        await anext(run)
    outcomes = await run_all(client, jobs, tmp_path)
    given_up = [outcome for outcome in outcomes if outcome.status == "unknown"]
    assert len(given_up) <= 2
    assert len(outcomes) - len(given_up) == statuses(outcomes).count("done")
    assert max(server.billed.values()) == 1


async def test_a_label_finds_its_job_at_any_place(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    first = await run_all(client, [Labelled("x", "a"), Labelled("y", "a")], tmp_path)
    again = await run_all(client, [Labelled("y", "a"), Labelled("x", "a")], tmp_path)
    assert [outcome.id for outcome in again] == ["y", "x"]
    assert first[0].unwrap()[0].path == again[1].unwrap()[0].path
    assert server.billed == {"a": 2}


async def test_a_label_can_be_given_to_a_job_of_an_earlier_run(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    await run_all(client, ["a"], tmp_path)
    [outcome] = await run_all(client, [Labelled("x", "a")], tmp_path)
    assert (outcome.id, outcome.resumed) == ("x", True)
    with pytest.raises(InvalidRequestError, match="'x' belongs to another job"):
        (await run_all(client, [Labelled("x", "b")], tmp_path))[0].unwrap()


async def test_a_label_belongs_to_one_job(client: AsyncClient, server: BillingServer, tmp_path: Path) -> None:
    outcomes = await run_all(client, [Labelled("x", "a"), Labelled("x", "a"), Labelled("x", "b")], tmp_path)
    assert statuses(outcomes) == ["done", "refused", "refused"]
    assert "Two jobs of this run have the id 'x'" in str(outcomes[1].error)
    assert server.billed == {"a": 1}


@pytest.mark.parametrize("harm", ["delete", "change"])
async def test_a_missing_or_changed_file_is_reported_and_generated_again_only_with_retry_unknown(
    client: AsyncClient, server: BillingServer, tmp_path: Path, harm: str
) -> None:
    [first] = await run_all(client, ["a"], tmp_path)
    path = first.unwrap()[0].path
    assert path is not None
    path.unlink()
    if harm == "change":
        path.write_bytes(b"retouched")
    [again] = await run_all(client, ["a"], tmp_path)
    assert again.status == "failed"
    assert isinstance(again.error, JournalError)
    assert ("is missing" if harm == "delete" else "was changed") in str(again.error)
    assert server.billed == {"a": 1}
    [remade] = await run_all(client, ["a"], tmp_path, retry_unknown=True)
    assert remade.status == "done"
    if harm == "change":
        assert path.read_bytes() == b"retouched"
    assert statuses(await run_all(client, ["a"], tmp_path)) == ["done"]
    assert server.billed == {"a": 2}


async def set_state(client: AsyncClient, path: Path, state: str) -> None:
    await run_all(client, ["a"], path)
    db = sqlite3.connect(path / "journal.db")
    db.execute("UPDATE jobs SET state = ?, answer = NULL", (state,))
    db.commit()
    db.close()


async def test_an_interrupted_attempt_is_reported_with_its_idempotency_key(
    client: AsyncClient, server: BillingServer, tmp_path: Path
) -> None:
    await set_state(client, tmp_path, "sending")
    for _ in range(2):
        [outcome] = await run_all(client, ["a"], tmp_path)
        assert outcome.status == "unknown"
        assert isinstance(outcome.error, OutcomeUnknownError)
        assert outcome.error.idempotency_key == server.keys["a"][0]
    assert server.billed == {"a": 1}


@pytest.mark.parametrize("options", [{"retry_unknown": True}, {"delivery": "at_least_once"}])
async def test_an_interrupted_attempt_can_be_sent_again_under_its_idempotency_key(
    client: AsyncClient, server: BillingServer, tmp_path: Path, options: dict[str, Any]
) -> None:
    await set_state(client, tmp_path, "sending")
    [outcome] = await run_all(client, ["a"], tmp_path, **options)
    assert outcome.status == "done"
    assert server.billed == {"a": 2}
    assert len(set(server.keys["a"])) == 1


async def test_the_rate_limit_counts_what_an_earlier_process_has_sent(
    server: BillingServer, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    client = make_client(server.base_url, rate_limit=RateLimit(3, per=600))
    await run_all(client, ["a", "b"], tmp_path)
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("UPDATE jobs SET process = 'another'")
    db.commit()
    db.close()
    fresh = make_client(server.base_url, rate_limit=RateLimit(3, per=600, scope="client"))
    async with fresh, fresh.images.fan_out(["c", "d"], out=tmp_path) as run:
        assert (await anext(run)).status == "done"
        await anyio.wait_all_tasks_blocked()
        assert run.progress.in_flight == 1
        assert "d" not in server.asked


def test_what_was_sent_long_ago_takes_no_room(fresh_limits: LimiterRegistry) -> None:
    limiter = fresh_limits.get(("x",), RateLimit(1, per=1))
    limiter.remember(1, time.monotonic() - 5)
    assert limiter.idle(time.monotonic())
    limiter.remember(1, time.monotonic())
    assert not limiter.idle(time.monotonic())

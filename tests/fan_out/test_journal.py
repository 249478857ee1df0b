"""Journal of a run: where it is, what it refuses, and what happens when it cannot be written."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import anyio
import pytest

from imagesdk import AsyncClient, ConfigurationError, Generate, JournalError, Outcome
from imagesdk.fan_out import database as journal_file
from imagesdk.fan_out import journal
from imagesdk.fan_out.group_commit import GroupCommit
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.journal import Journal, open_journal, read_records
from tests.support.billing_server import BillingServer
from tests.support.runs import Runs, statuses

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])

KEY = "sk-the-sentinel-of-these-tests"
FULL_DISK = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def client(server: BillingServer, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url, api_key=KEY)


async def test_a_journal_is_beside_the_images_private_and_without_the_key(runs: Runs) -> None:
    async with runs.begin(["a", "url please", "refuse me", "break me"], out=runs.out) as run:
        await run.collect()
        files = list(runs.out.glob("journal.db*"))
        assert len(files) == 4
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
            assert KEY.encode() not in path.read_bytes()
    responses = [dict(record.response or {}) for record in read_records(runs.out / "journal.db")]
    assert len(responses) == 4
    assert "/images/" not in json.dumps(responses)


async def test_a_journal_can_be_elsewhere(runs: Runs, tmp_path: Path) -> None:
    await runs.saved("a", journal=tmp_path / "books" / "one.db")
    assert [path.suffix for path in runs.out.iterdir()] == [".png"]
    [again] = await runs.saved("a", journal=tmp_path / "books" / "one.db")
    assert again.resumed


async def test_a_journal_needs_out(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="journal is given without out"):
        await runs.all(["a"], journal=tmp_path / "one.db")


@both_loops
async def test_a_journal_serves_one_run_at_a_time(runs: Runs) -> None:
    async with runs.begin(["hold on"], out=runs.out):
        with pytest.raises(JournalError, match=rf"Another run uses .*process {os.getpid()}"):
            async with runs.client.images.fan_out(["a"], out=runs.out):
                pass
    assert statuses(await runs.saved("a")) == ["done"]


async def test_a_damaged_journal_is_refused_and_nothing_is_sent(runs: Runs) -> None:
    await runs.saved(*(f"image {n}" for n in range(50)))
    path = runs.out / "journal.db"
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 3] = os.urandom(4096 * 2)
    path.write_bytes(data)
    before = len(runs.server.asked)
    with pytest.raises(JournalError, match="Move the journal away"):
        await runs.saved("new")
    assert len(runs.server.asked) == before
    assert len(runs.pngs()) == 50


async def test_a_journal_with_torn_commits_continues_from_the_commit_before(
    runs: Runs, tmp_path: Path
) -> None:
    jobs = [f"image {n}" for n in range(4)]
    async with runs.begin(jobs, out=runs.out, concurrency=1) as run:
        await run.collect()
        shutil.copytree(runs.out, tmp_path / "kept")
    log = (tmp_path / "kept" / "journal.db-wal").read_bytes()
    assert len(log) > 20_000
    for number, end in enumerate(range(0, len(log), 7001), 1):
        out = tmp_path / str(number)
        shutil.copytree(tmp_path / "kept", out)
        (out / "journal.db-wal").write_bytes(log[:end])
        (out / "journal.db-shm").unlink()
        before = {path: path.read_bytes() for path in out.glob("*.png")}
        outcomes = await runs.saved(*jobs, out=out)
        assert set(statuses(outcomes)) <= {"done", "unknown"}
        assert {path: path.read_bytes() for path in before} == before


def database(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "content", ["some other file of the user, long enough to be no header", "x", "CREATE TABLE mine (x)"]
)
async def test_another_file_is_never_used_as_a_journal(runs: Runs, tmp_path: Path, content: str) -> None:
    mine = tmp_path / "mine.db"
    if content.startswith("CREATE"):
        database(mine, content)
    else:
        mine.write_text(content)
    before = mine.read_bytes()
    with pytest.raises(JournalError, match="not a journal of imagesdk"):
        await runs.saved("a", journal=mine)
    assert mine.read_bytes() == before


async def test_a_journal_of_a_later_version_is_refused(runs: Runs) -> None:
    await runs.saved("a")
    database(runs.out / "journal.db", "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="later version"):
        await runs.saved("a")


async def test_a_journal_is_written_before_the_first_byte_and_if_it_fails_nothing_is_sent(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    monkeypatch.setattr(journal, "write_sending", Mock(side_effect=full))
    with pytest.raises(JournalError, match=r"disk is full.*Free disk space and run the same list again"):
        await runs.saved("a", "b")
    assert runs.server.asked == []
    monkeypatch.undo()
    assert statuses(await runs.saved("a", "b")) == ["done", "done"]


async def outcomes_until(runs: Runs, error: type[Exception], message: str, *jobs: str) -> list[Outcome]:
    """Run jobs one after the other until an error that ends the run. Return the outcomes before it."""
    taken = list[Outcome]()
    with pytest.raises(error, match=message):  # noqa: PT012
        async with runs.begin(jobs, out=runs.out, concurrency=1) as run:
            async for outcome in run:
                taken.append(outcome)
    return taken


@both_loops
async def test_an_image_is_kept_though_the_journal_cannot_record_it(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "received", Mock(side_effect=JournalError("The disk is full.")))
    taken = await outcomes_until(runs, JournalError, "The disk is full", "a", "b", "c")
    assert statuses(taken) == ["done"]
    assert len(runs.pngs()) == 1
    monkeypatch.undo()
    [kept] = runs.pngs()
    outcomes = await runs.saved("a", "b", "c")
    assert statuses(outcomes) == ["done", "done", "done"]
    assert outcomes[0].unwrap()[0].path == runs.out / kept
    assert runs.server.billed == {"a": 1, "b": 1, "c": 1}
    assert not [path for path in runs.out.iterdir() if path.name.startswith(".")]


@both_loops
async def test_a_full_disk_ends_the_run_and_no_further_job_is_sent(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [f"image {n}" for n in range(10)]
    some = Mock(wraps=os.write, side_effect=[DEFAULT] * 3 + [FULL_DISK] * 10)
    monkeypatch.setattr("imagesdk._engine.sink.os.write", some)
    message = r"No space left.*Free disk space and run the same list again"
    taken = statuses(await outcomes_until(runs, OSError, message, *jobs))
    monkeypatch.undo()
    assert (taken.count("done"), taken.count("unknown")) == (len(runs.server.asked) - 1, 1)
    outcomes = statuses(await runs.saved(*jobs))
    assert (outcomes.count("done"), outcomes.count("unknown")) == (9, 1)
    assert max(runs.server.billed.values()) == 1
    assert not list(runs.out.glob("*.part"))


async def test_a_full_disk_at_the_final_names_ends_the_run_and_nothing_is_billed_again(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesdk.fan_out.output_files.move_if_free", Mock(side_effect=FULL_DISK))
    taken = await outcomes_until(runs, OSError, "No space left.*run the same list again", "a", "b")
    monkeypatch.undo()
    assert statuses(taken) == ["unknown"]
    assert statuses(await runs.saved("a", "b")) == ["done", "done"]
    assert runs.server.billed == {"a": 1, "b": 1}


async def open_and_close(path: Path) -> None:
    async with open_journal(path):
        pass


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_lock_is_released_if_asyncio_cancels_the_opening_of_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connected: Callable[[Path, bool], sqlite3.Connection] = vars(journal_file)["connected"]
    task = asyncio.ensure_future(open_and_close(tmp_path / "journal.db"))

    def cancelled(path: Path, writes: bool) -> sqlite3.Connection:
        loop.call_soon_threadsafe(task.cancel)
        return connected(path, writes)

    monkeypatch.setattr(journal_file, "connected", cancelled)
    await asyncio.wait([task])
    assert task.cancelled()
    monkeypatch.undo()
    await open_and_close(tmp_path / "journal.db")


@both_loops
async def test_a_lock_is_released_if_its_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", Mock(side_effect=FULL_DISK))
    with pytest.raises(OSError, match="No space left"):
        await open_and_close(tmp_path / "journal.db")
    monkeypatch.undo()
    async with open_journal(tmp_path / "journal.db"):
        with pytest.raises(JournalError, match=rf"Another run uses .*\(process {os.getpid()}\)"):
            await open_and_close(tmp_path / "journal.db")


async def test_a_file_system_without_locks_is_an_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    with pytest.raises(OSError, match="No locks available"):
        await open_and_close(tmp_path / "journal.db")


async def test_an_output_folder_that_cannot_be_written_to_is_an_error_before_anything_is_sent(
    runs: Runs,
) -> None:
    runs.out.write_bytes(b"")
    with pytest.raises(OSError, match="out"):
        await runs.saved("a", out=runs.out / "below")
    assert runs.server.asked == []


async def test_all_writes_that_wait_at_once_share_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = list[int]()
    commit: Callable[[GroupCommit, list[object]], None] = vars(GroupCommit)["_commit"]

    def counted(self: GroupCommit, batch: list[object]) -> None:
        batches.append(len(batch))
        commit(self, batch)

    monkeypatch.setattr(GroupCommit, "_commit", counted)
    async with open_journal(tmp_path / "journal.db") as opened, anyio.create_task_group() as tasks:
        for n in range(50):
            item = Item(n, Generate(f"image {n}"), None)
            tasks.start_soon(opened.claim, item, f"content {n}", 1, None)
    assert sum(batches) == 50
    assert len(batches) <= 2
    assert len(list(read_records(tmp_path / "journal.db"))) == 50

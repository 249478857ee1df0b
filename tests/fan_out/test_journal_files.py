"""Files of a journal: names, links, locks, removals, damaged rows, and journals of earlier versions."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from imagesdk import JournalError, Labelled
from imagesdk.cli import run as run_command
from imagesdk.fan_out.journal import acknowledge, check_journal, open_journal, read_records
from tests.support.runs import Runs, statuses, wait_for

pytestmark = pytest.mark.anyio
both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
Capture = pytest.CaptureFixture[str]


async def test_two_names_of_one_journal_are_one_journal(runs: Runs, tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "two.db").symlink_to("one.db")
    async with open_journal(books / "one.db"):
        with pytest.raises(JournalError, match="Another run uses"):
            await runs.saved("a", journal=books / "two.db")
    await runs.saved("a", journal=books / "two.db")
    [outcome] = await runs.saved("a", journal=books / "one.db")
    assert outcome.resumed
    assert runs.server.billed == {"a": 1}


@pytest.mark.parametrize("content", ["precious", ""])
async def test_a_link_in_the_place_of_a_lock_is_refused_and_its_target_unchanged(
    runs: Runs, tmp_path: Path, content: str
) -> None:
    target = tmp_path / "target"
    target.write_text(content)
    runs.out.mkdir()
    (runs.out / "journal.db-lock").symlink_to(target)
    with pytest.raises(JournalError, match=r"journal\.db-lock is a link"):
        await runs.saved("a")
    assert target.read_text() == content
    assert runs.server.asked == []


async def test_a_file_of_another_kind_in_the_place_of_a_lock_is_not_changed(runs: Runs) -> None:
    runs.out.mkdir()
    lock = runs.out / "journal.db-lock"
    for content in ("a file with a text of the user that is long", "short"):
        lock.write_text(content)
        await runs.saved("a")
        assert lock.read_text() == content
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(JournalError, match="no regular file"):
        await runs.saved("a")


def remove_journal(out: Path) -> None:
    (out / "journal.db").unlink()


def replace_journal(out: Path) -> None:
    shutil.copy(out / "journal.db", out / "copy.db")
    (out / "copy.db").replace(out / "journal.db")


def remove_folder(out: Path) -> None:
    out.rename(out.with_name("elsewhere"))


def remove_lock(out: Path) -> None:
    (out / "journal.db-lock").unlink()


@both_loops
@pytest.mark.parametrize("removal", [remove_journal, replace_journal, remove_folder, remove_lock])
async def test_a_journal_that_is_removed_ends_the_run_before_anything_more_is_sent(
    runs: Runs, removal: Callable[[Path], None]
) -> None:
    taken = list[str]()
    jobs = [f"image {n}" for n in range(20)]
    with pytest.raises(JournalError, match=r"was removed or replaced.*Put the journal back"):  # noqa: PT012
        async with runs.begin(["hold on", *jobs], out=runs.out, concurrency=1) as run:
            await wait_for(runs.server.arrived)
            await anyio.to_thread.run_sync(removal, runs.out)
            runs.server.released.set()
            taken += [outcome.status async for outcome in run]
    assert runs.server.asked == ["hold on"]
    assert taken == []


def change(out: Path, column: str, value: object) -> None:
    """Change a value of the job ``b``. Bytes become a text that is not UTF-8."""
    db = sqlite3.connect(out / "journal.db")
    given = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    db.execute(f"UPDATE jobs SET {column} = {given} WHERE label = 'b'", (value,))
    db.commit()
    db.close()


FILE = '{"path": "%s", "temporary": "b", "sha256": "c", "size": 1}'
DAMAGES: list[tuple[str, object]] = [
    ("answer", "{"),
    ("answer", "[]"),
    ("answer", "[" * 100_000),
    ("answer", '{"images": [{"index": 0, "file": {}}]}'),
    ("answer", '{"images": [{"index": 0, "file": %s}]}' % (FILE % "a\\u0000")),
    ("answer", '{"images": [{"index": "x", "file": %s}]}' % (FILE % "a")),
    ("answer", '{"images": [], "cost": "much"}'),
    ("answer", '{"images": [{"index": 0, "url": 5}]}'),
    ("answer", b"\xff\xfe"),
    ("answer", None),
    ("params", "nonsense"),
    ("params", "[1]"),
    ("params", b"\xff"),
    ("error", '{"error": "RateLimitError", "message": "x", "remedies": [1]}'),
    ("state", "sleeping"),
    ("state", 7),
    ("idempotency_key", b"\xff"),
    ("cost", "much"),
    ("cost", "NaN"),
    ("images", "many"),
    ("kind", b"\xfe"),
    ("sent_at", "yesterday"),
    ("occurrence", 5),
]


@pytest.mark.parametrize(("column", "value"), DAMAGES)
async def test_a_damaged_row_is_named_with_what_to_do_and_leaves_no_transaction_open(
    runs: Runs, column: str, value: object, capsys: Capture
) -> None:
    await runs.saved("a", Labelled("b", "b"))
    keys = {record.id: record.key for record in read_records(runs.out / "journal.db")}
    change(runs.out, column, value)
    for _ in range(2):
        with pytest.raises(JournalError) as caught:
            await runs.saved(Labelled("b", "b"), "a", concurrency=1)
        assert str(caught.value).startswith("The row '")
        assert "DELETE FROM jobs WHERE key = " in str(caught.value)
    assert runs.server.billed == {"a": 1, "b": 1}
    assert run_command(["log", str(runs.out), "--check"]) == 1
    shown = capsys.readouterr()
    assert f"The row '{keys['b']}' of the journal" in shown.out
    assert shown.err == "1 damaged rows\n"


async def test_a_damaged_amount_is_named_when_a_budget_needs_it(runs: Runs) -> None:
    await runs.saved("a", Labelled("b", "b"))
    change(runs.out, "reserved", "much")
    with pytest.raises(JournalError, match=r"The row .* is damaged: 'much' is no amount of dollars"):
        await runs.saved("a", budget="5 USD", unknown_price="allow")


async def test_a_row_that_is_deleted_while_its_job_is_sent_ends_the_run_with_its_name(runs: Runs) -> None:
    def delete() -> None:
        db = sqlite3.connect(runs.out / "journal.db")
        db.execute("DELETE FROM jobs")
        db.commit()
        db.close()

    with pytest.raises(JournalError, match=r"The row .* is damaged: it is gone"):  # noqa: PT012
        async with runs.begin(["hold on", "a"], out=runs.out, concurrency=1) as run:
            await wait_for(runs.server.arrived)
            await anyio.to_thread.run_sync(delete)
            runs.server.released.set()
            await run.collect()
    assert runs.server.asked == ["hold on"]
    assert len(runs.pngs()) == 1


async def test_a_sound_journal_is_called_sound(runs: Runs, capsys: Capture) -> None:
    await runs.saved("a", "refuse me", "url please", "break me")
    assert run_command(["log", str(runs.out), "--check"]) == 0
    assert capsys.readouterr().err == f"{runs.out / 'journal.db'} is sound\n"


def to_first_version(out: Path) -> None:
    """Take from a journal what later versions have added."""
    db = sqlite3.connect(out / "journal.db")
    db.execute("ALTER TABLE jobs DROP COLUMN acknowledged")
    db.commit()
    db.close()


async def test_a_journal_of_the_first_version_is_read_extended_and_resumed(runs: Runs) -> None:
    await runs.saved("a", "refuse me")
    to_first_version(runs.out)
    assert [record.acknowledged for record in read_records(runs.out / "journal.db")] == [False, False]
    assert (await runs.client.images.dry_run(["a"], out=runs.out)).resumed == 1
    assert acknowledge(runs.out / "journal.db") == 1
    outcomes = await runs.saved("a", "refuse me")
    assert statuses(outcomes) == ["done", "refused"]
    assert [outcome.acknowledged for outcome in outcomes] == [False, True]


async def test_a_journal_that_a_run_uses_cannot_be_acknowledged(runs: Runs) -> None:
    async with runs.begin(["hold on"], out=runs.out):
        await wait_for(runs.server.arrived)
        with pytest.raises(JournalError, match="Another run uses"):
            acknowledge(runs.out / "journal.db")


async def test_a_journal_without_a_file_is_not_created_by_its_checks(runs: Runs, tmp_path: Path) -> None:
    for check in (check_journal, acknowledge):
        with pytest.raises(FileNotFoundError):
            check(tmp_path / "nowhere.db")
    assert not list(tmp_path.glob("nowhere*"))

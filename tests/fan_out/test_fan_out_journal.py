"""Runs that are run again: what the journal remembers, and what becomes of it when the disk does harm."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from imagesdk import (
    AsyncClient,
    ConfigurationError,
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
    Progress,
    RateLimit,
)
from imagesdk._ratelimit.shared import LimiterRegistry
from imagesdk.fan_out import journal
from imagesdk.fan_out.journal import Journal, open_journal, read_records
from tests.support.billing_server import Till, till
from tests.support.small_images import png

pytestmark = pytest.mark.anyio

KEY = "sk-the-sentinel-of-these-tests"


@pytest.fixture
def server() -> Iterator[Till]:
    with till() as server:
        yield server


@pytest.fixture
def client(server: Till, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url, api_key=KEY)


async def run_all(client: AsyncClient, jobs: list[JobLike], out: Path, **terms: Any) -> list[Outcome]:
    async with client, client.images.fan_out(jobs, out=out, **terms) as run:
        return await run.collect()


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


class TestTheSameListAgain:
    async def test_makes_nothing_and_returns_what_was_made(
        self, client: AsyncClient, server: Till, tmp_path: Path
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

    async def test_in_another_order_makes_nothing(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        await run_all(client, ["a", "b", "a"], tmp_path)
        again = await run_all(client, ["b", "a", "a"], tmp_path)
        assert statuses(again) == ["done"] * 3
        assert server.billed == {"a": 2, "b": 1}

    async def test_with_one_line_on_top_of_a_thousand_makes_one_picture(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        jobs: list[JobLike] = [f"picture {n % 900}" for n in range(1000)]
        await run_all(client, jobs, tmp_path)
        assert server.billed.total() == 1000
        again = await run_all(client, ["new", *jobs], tmp_path)
        assert server.billed.total() == 1001
        assert [outcome.place for outcome in again if not outcome.resumed] == [0]
        assert len(list(tmp_path.glob("*.png"))) == 1001

    async def test_with_a_changed_picture_to_edit_makes_that_anew(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        lounge = tmp_path / "lounge.png"
        lounge.write_bytes(png(2, 2))
        jobs: list[JobLike] = [Edit(lounge, "a pool"), Edit(png(2, 2), "a pool")]
        first = await run_all(client, jobs, tmp_path / "out")
        lounge.write_bytes(png(3, 3))
        again = await run_all(client, jobs, tmp_path / "out")
        assert statuses(first) == statuses(again) == ["done", "done"]
        assert len(server.asked) == 3

    async def test_works_after_the_folder_was_moved(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        await run_all(client, ["a"], tmp_path / "here")
        shutil.move(tmp_path / "here", tmp_path / "there")
        [outcome] = await run_all(client, ["a"], tmp_path / "there")
        assert outcome.unwrap()[0].path == tmp_path / "there" / Path(outcome.unwrap()[0].path or "").name
        assert server.billed == {"a": 1}

    async def test_asks_again_for_what_failed_and_not_for_what_was_refused(
        self, client: AsyncClient, server: Till, tmp_path: Path
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

    async def test_reports_what_may_have_been_billed_until_it_is_told_to_send_it_again(
        self, client: AsyncClient, server: Till, tmp_path: Path
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

    async def test_fetches_what_could_not_be_fetched_and_generates_nothing(
        self, client: AsyncClient, server: Till, tmp_path: Path
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

    async def test_fetches_only_those_of_several_pictures_that_could_not_be_fetched(
        self, client: AsyncClient, server: Till, tmp_path: Path
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

    async def test_makes_everything_again_when_told_to_keep_no_journal(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        for _ in range(2):
            await run_all(client, ["a"], tmp_path, journal=None)
        assert server.billed == {"a": 2}
        assert len(list(tmp_path.iterdir())) == 2

    async def test_left_in_its_midst_goes_on(self, client: AsyncClient, server: Till, tmp_path: Path) -> None:
        jobs: list[JobLike] = [f"picture {n}" for n in range(20)]
        async with client, client.images.fan_out(jobs, out=tmp_path, concurrency=2) as run:
            await anext(run)
        outcomes = await run_all(client, jobs, tmp_path)
        given_up = [outcome for outcome in outcomes if outcome.status == "unknown"]
        assert len(given_up) <= 2
        assert len(outcomes) - len(given_up) == statuses(outcomes).count("done")
        assert max(server.billed.values()) == 1


class TestNames:
    async def test_find_their_jobs_wherever_they_stand(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        first = await run_all(client, [Labelled("x", "a"), Labelled("y", "a")], tmp_path)
        again = await run_all(client, [Labelled("y", "a"), Labelled("x", "a")], tmp_path)
        assert [outcome.id for outcome in again] == ["y", "x"]
        assert first[0].unwrap()[0].path == again[1].unwrap()[0].path
        assert server.billed == {"a": 2}

    async def test_can_be_given_later(self, client: AsyncClient, server: Till, tmp_path: Path) -> None:
        await run_all(client, ["a"], tmp_path)
        [outcome] = await run_all(client, [Labelled("x", "a")], tmp_path)
        assert (outcome.id, outcome.resumed) == ("x", True)
        with pytest.raises(InvalidRequestError, match="'x' belongs to another job"):
            (await run_all(client, [Labelled("x", "b")], tmp_path))[0].unwrap()

    async def test_belong_to_one_job_each(self, client: AsyncClient, server: Till, tmp_path: Path) -> None:
        outcomes = await run_all(
            client, [Labelled("x", "a"), Labelled("x", "a"), Labelled("x", "b")], tmp_path
        )
        assert statuses(outcomes) == ["done", "refused", "refused"]
        assert "Two jobs of this run have the id 'x'" in str(outcomes[1].error)
        assert server.billed == {"a": 1}


class TestFiles:
    @pytest.mark.parametrize("harm", ["delete", "change"])
    async def test_that_are_gone_are_reported_and_made_again_only_when_told(
        self, client: AsyncClient, server: Till, tmp_path: Path, harm: str
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
        assert ("not there" if harm == "delete" else "not as it was written") in str(again.error)
        assert server.billed == {"a": 1}
        [remade] = await run_all(client, ["a"], tmp_path, retry_unknown=True)
        assert remade.status == "done"
        if harm == "change":
            assert path.read_bytes() == b"retouched"
        assert statuses(await run_all(client, ["a"], tmp_path)) == ["done"]
        assert server.billed == {"a": 2}


class TestTheJournal:
    async def test_is_beside_the_pictures_for_its_owner_and_without_the_key(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        jobs: list[JobLike] = ["a", "url please", "refuse me", "break me"]
        async with client, client.images.fan_out(jobs, out=tmp_path / "{job}.{ext}") as run:
            await run.collect()
            files = [path for path in tmp_path.iterdir() if path.name.startswith("journal.db")]
            assert len(files) == 4
            for path in files:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
                assert KEY.encode() not in path.read_bytes()
        kept = (tmp_path / "journal.db").read_bytes()
        assert b"/pictures/" not in b"".join(
            json.dumps(dict(entry.response or {})).encode() for entry in read_records(tmp_path / "journal.db")
        )
        assert kept

    async def test_can_be_elsewhere(self, client: AsyncClient, server: Till, tmp_path: Path) -> None:
        await run_all(client, ["a"], tmp_path / "out", journal=tmp_path / "books" / "one.db")
        assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png"]
        [again] = await run_all(client, ["a"], tmp_path / "out", journal=tmp_path / "books" / "one.db")
        assert again.resumed

    async def test_needs_files_to_remember(self, client: AsyncClient, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="needs out="):
            async with client, client.images.fan_out(["a"], journal=tmp_path / "one.db"):
                pass

    async def test_has_one_runner_at_a_time(self, client: AsyncClient, server: Till, tmp_path: Path) -> None:
        async with client, client.images.fan_out(["hold on"], out=tmp_path):
            with pytest.raises(JournalError, match=rf"Another run uses .*process {os.getpid()}"):
                async with client.images.fan_out(["a"], out=tmp_path):
                    pass
        assert statuses(await run_all(client, ["a"], tmp_path)) == ["done"]

    async def test_that_is_damaged_is_not_used_and_nothing_is_sent(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        await run_all(client, [f"picture {n}" for n in range(50)], tmp_path)
        path = tmp_path / "journal.db"
        data = bytearray(path.read_bytes())
        data[4096 : 4096 * 3] = os.urandom(4096 * 2)
        path.write_bytes(data)
        before = len(server.asked)
        with pytest.raises(JournalError, match="Move the journal away"):
            await run_all(client, ["new"], tmp_path)
        assert len(server.asked) == before
        assert len(list(tmp_path.glob("*.png"))) == 50

    async def test_whose_last_commits_were_torn_goes_on_from_those_before(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        jobs: list[JobLike] = [f"picture {n}" for n in range(4)]
        async with client, client.images.fan_out(jobs, out=tmp_path / "0", concurrency=1) as run:
            await run.collect()
            shutil.copytree(tmp_path / "0", tmp_path / "kept")
        log = (tmp_path / "kept" / "journal.db-wal").read_bytes()
        assert len(log) > 20_000
        for number, end in enumerate(range(0, len(log), 7001), 1):
            out = tmp_path / str(number)
            shutil.copytree(tmp_path / "kept", out)
            (out / "journal.db-wal").write_bytes(log[:end])
            (out / "journal.db-shm").unlink()
            before = {path: path.read_bytes() for path in out.glob("*.png")}
            outcomes = await run_all(client, jobs, out)
            assert set(statuses(outcomes)) <= {"done", "unknown"}
            assert {path: path.read_bytes() for path in before} == before

    @pytest.mark.parametrize("content", [b"some other file of the user, long enough to be no header", b"x"])
    async def test_is_never_another_file(
        self, client: AsyncClient, server: Till, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "mine.db").write_bytes(content)
        with pytest.raises(JournalError):
            await run_all(client, ["a"], tmp_path, journal=tmp_path / "mine.db")
        assert (tmp_path / "mine.db").read_bytes() == content

    async def test_is_never_another_database_or_one_of_a_later_version(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        other = sqlite3.connect(tmp_path / "other.db")
        other.execute("CREATE TABLE mine (x)")
        other.commit()
        other.close()
        with pytest.raises(JournalError, match="not a journal of imagesdk"):
            await run_all(client, ["a"], tmp_path, journal=tmp_path / "other.db")
        await run_all(client, ["a"], tmp_path)
        later = sqlite3.connect(tmp_path / "journal.db")
        later.execute("PRAGMA user_version = 99")
        later.close()
        with pytest.raises(JournalError, match="later version"):
            await run_all(client, ["a"], tmp_path)

    async def test_is_written_before_the_first_byte_and_a_job_it_refuses_is_not_sent(
        self, client: AsyncClient, server: Till, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(db: sqlite3.Connection, *_: object) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        monkeypatch.setattr(journal, "_sending", full)
        with pytest.raises(JournalError, match=r"disk is full.*goes on from here when the disk has room"):
            await run_all(client, ["a", "b"], tmp_path)
        assert server.asked == []
        monkeypatch.undo()
        assert statuses(await run_all(client, ["a", "b"], tmp_path)) == ["done", "done"]

    async def test_that_is_full_when_the_answer_comes_costs_no_picture(
        self, client: AsyncClient, server: Till, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def full(*_: object) -> None:
            raise JournalError("The disk is full.")

        monkeypatch.setattr(Journal, "received", full)
        taken = list[Outcome]()
        with pytest.raises(JournalError, match="The disk is full"):  # noqa: PT012
            async with client, client.images.fan_out(["a", "b", "c"], out=tmp_path, concurrency=1) as run:
                async for outcome in run:
                    taken.append(outcome)
        assert statuses(taken) == ["done"]
        assert len(list(tmp_path.glob("*.png"))) == 1
        monkeypatch.undo()
        assert statuses(await run_all(client, ["a", "b", "c"], tmp_path)) == ["unknown", "done", "done"]


class TestTheLockOfAJournal:
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_is_gone_after_a_call_that_asyncio_cancelled_while_it_was_opened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = asyncio.get_running_loop()
        connected: Callable[[Path, bool], sqlite3.Connection] = vars(journal)["_connected"]

        async def hold() -> None:
            async with open_journal(tmp_path / "journal.db"):
                await anyio.sleep_forever()

        task = asyncio.ensure_future(hold())

        def cancelled(path: Path, writes: bool) -> sqlite3.Connection:
            loop.call_soon_threadsafe(task.cancel)
            return connected(path, writes)

        monkeypatch.setattr(journal, "_connected", cancelled)
        await asyncio.wait([task])
        assert task.cancelled()
        monkeypatch.undo()
        async with open_journal(tmp_path / "journal.db"):
            pass

    async def test_is_gone_when_it_could_not_be_signed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "truncate", full)
        with pytest.raises(OSError, match="No space left"):
            async with open_journal(tmp_path / "journal.db"):
                raise AssertionError("there is no room")
        monkeypatch.undo()
        async with open_journal(tmp_path / "journal.db"):
            with pytest.raises(JournalError, match=rf"Another run uses .*\(process {os.getpid()}\)"):
                async with open_journal(tmp_path / "journal.db"):
                    raise AssertionError("there is another")

    async def test_is_not_taken_for_held_where_there_are_no_locks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", unknown)
        with pytest.raises(OSError, match="No locks available"):
            async with open_journal(tmp_path / "journal.db"):
                raise AssertionError("it cannot be held alone")


class TestADiskThatIsFull:
    async def test_ends_the_run_with_a_message_and_no_more_is_bought(
        self, client: AsyncClient, server: Till, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs: list[JobLike] = [f"picture {n}" for n in range(10)]
        write, written = os.write, 0

        def some(descriptor: int, data: bytes) -> int:
            nonlocal written
            written += 1
            if written > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, data)

        monkeypatch.setattr("imagesdk._engine.sink.os.write", some)
        taken = list[Outcome]()
        with pytest.raises(OSError, match=r"No space left.*goes on from here when there is room"):  # noqa: PT012
            async with client, client.images.fan_out(jobs, out=tmp_path, concurrency=1) as run:
                async for outcome in run:
                    taken.append(outcome)
        monkeypatch.undo()
        bought = len(server.asked)
        assert statuses(taken).count("done") == bought - 1
        assert statuses(taken).count("unknown") == 1
        outcomes = await run_all(client, jobs, tmp_path)
        assert statuses(outcomes).count("done") == 9
        assert statuses(outcomes).count("unknown") == 1
        assert max(server.billed.values()) == 1
        assert not list(tmp_path.glob("*.part"))

    async def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_sent(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(OSError, match="file"):
            await run_all(client, ["a"], tmp_path / "file" / "below")
        assert server.asked == []


class TestAfterAKill:
    """What a journal says whose process ended at once; the kills themselves are in another module."""

    async def prepare(self, client: AsyncClient, path: Path, state: str) -> None:
        await run_all(client, ["a"], path)
        db = sqlite3.connect(path / "journal.db")
        db.execute("UPDATE jobs SET state = ?, answer = NULL", (state,))
        db.commit()
        db.close()

    async def test_what_was_being_sent_is_reported_with_its_key(
        self, client: AsyncClient, server: Till, tmp_path: Path
    ) -> None:
        await self.prepare(client, tmp_path, "sending")
        for _ in range(2):
            [outcome] = await run_all(client, ["a"], tmp_path)
            assert outcome.status == "unknown"
            assert isinstance(outcome.error, OutcomeUnknownError)
            assert outcome.error.idempotency_key == server.keys["a"][0]
        assert server.billed == {"a": 1}

    @pytest.mark.parametrize("terms", [{"retry_unknown": True}, {"delivery": "at_least_once"}])
    async def test_what_was_being_sent_is_sent_again_under_its_key_when_told(
        self, client: AsyncClient, server: Till, tmp_path: Path, terms: dict[str, Any]
    ) -> None:
        await self.prepare(client, tmp_path, "sending")
        [outcome] = await run_all(client, ["a"], tmp_path, **terms)
        assert outcome.status == "done"
        assert server.billed == {"a": 2}
        assert len(set(server.keys["a"])) == 1

    async def test_the_rate_limit_knows_what_the_process_before_has_sent(
        self, server: Till, make_client: Callable[..., AsyncClient], tmp_path: Path
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


def test_progress_is_a_value() -> None:
    assert Progress(total=3, done=1) == Progress(total=3, done=1)
    assert Progress(total=3, done=1, in_flight=1).waiting == 1


def test_what_was_sent_long_ago_takes_no_room(fresh_limits: LimiterRegistry) -> None:
    limiter = fresh_limits.get(("x",), RateLimit(1, per=1))
    limiter.remember(1, time.monotonic() - 5)
    assert limiter.idle(time.monotonic())
    limiter.remember(1, time.monotonic())
    assert not limiter.idle(time.monotonic())

"""Batches to outcomes: a batch is watched until it ends, then its files are read line by line.

Lines become outcomes at once, several at a time. What is in no file is judged by :func:`.fate_of_rest`. A batch that is
still cancelling at the deadline stays in the journal: its jobs are unknown, and the next run looks again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import anyio
import anyio.abc
from attrs import define, field

from imagesdk._calls.batch_calls import is_passing
from imagesdk._calls.batch_lines import LineReader, ReceivedLine
from imagesdk._calls.batch_watch import WAKEUPS
from imagesdk._engine.sink import discard
from imagesdk._protocol.batch_rules import FIRST_POLL, fate_of_rest, is_token_limited, poll_delay
from imagesdk._protocol.retry import Failure
from imagesdk.errors import (
    APIError,
    APIStatusError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitError,
)
from imagesdk.fan_out.batch_board import Entry, LaneBoard, OpenBatch, away_error
from imagesdk.fan_out.batch_results import rest_error
from imagesdk.fan_out.batch_submission import Submitter
from imagesdk.fan_out.batch_worker import end_line, take_line
from imagesdk.fan_out.outcomes import JobResult, Outcome
from imagesdk.fan_out.worker import disk_failure, status_of
from imagesdk.remedies import Remedy
from imagesdk.reports import Batch

_CANCELLABLE = frozenset({"validating", "in_progress"})
"""States in which the server still works on lines."""
_AT_ONCE = 8
"""Lines whose images are put in place at the same time."""

_DOWNLOADS = 2
"""Batches whose results are read at the same time, so that memory does not grow with the number of batches."""


@define(eq=False)
class _Found:
    """Lines of the files of a batch so far."""

    lines: set[int] = field(factory=set[int])
    gone: list[str] = field(factory=list[str])
    """Files that could not be fetched."""


@define(eq=False)
class Deliverer:
    """Watcher of the batches of one run."""

    board: LaneBoard
    submitter: Submitter
    _downloads: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(_DOWNLOADS))

    async def run(self, batch: OpenBatch) -> None:
        """Watch a batch, and deliver its results."""
        ended = await self._wait(batch)
        if ended is None:
            return
        batch.snapshot = ended
        self.submitter.batch_ended()
        if is_token_limited(ended):
            await self._all_known(batch)
            await self.submitter.token_limited(batch)
            return
        self.submitter.accepted()
        await self._all_known(batch)
        async with self._downloads:
            found = await self._deliver(batch, ended)
        if found is not None:
            await self._end_rest(batch, ended, found)
            await self.board.store.close(batch.intent)
            self.board.close(batch)

    async def _all_known(self, batch: OpenBatch) -> None:
        """Wait until the jobs of a batch that an earlier process has begun are all read."""
        while batch.restored and not self.board.all_read:
            await self.board.changes.wait()

    async def _wait(self, batch: OpenBatch) -> Batch | None:
        """Return a batch when it has ended; ``None`` if the run does not wait any longer."""
        board, looks, before = self.board, 0, ""
        asked_at: float | None = None
        seen_at = time.monotonic()
        while True:
            wish: float | None = None
            try:
                snapshot, wish = await board.calls.retrieve(batch.id or "")
                seen_at = time.monotonic()
                if snapshot.ended:
                    if asked_at is not None:
                        board.cancel_seconds = max(board.cancel_seconds or 0.0, time.monotonic() - asked_at)
                    return snapshot
                batch.snapshot = snapshot
                if snapshot.status != "validating":
                    self.submitter.accepted()
                if board.cut and asked_at is None and snapshot.status in _CANCELLABLE:
                    batch.snapshot = await board.calls.cancel(batch.id or "")
                    asked_at = time.monotonic()
                    board.changes.notify()
                    continue
                board.changes.notify()
                shown = f"{snapshot.status} {snapshot.counts}"
                looks, before = (looks if shown == before else 0), shown
            except APIError as error:
                if isinstance(error, NotFoundError):
                    await self._lose(batch, error)
                    return None
                if not is_passing(error):
                    board.fail(error)
                    return None
                if board.gives_up(seen_at):
                    board.fail(away_error(error))
                    return None
                wish = error.retry_after if isinstance(error, RateLimitError) else None
            if batch.restored and board.all_read and not batch.entries:  # no job of this run is in it
                await board.store.close(batch.intent)
                board.close(batch)
                return None
            if board.over:
                await self._all_known(batch)
                self._leave(batch)
                return None
            delay = poll_delay(looks, board.poll, wish)
            if asked_at is not None:
                delay = min(delay, FIRST_POLL)  # what is left must go live in time
            if board.deadline is not None:
                delay = min(delay, max(0.05, board.deadline - board.clock()))
            looks += 1
            await WAKEUPS.sleep(batch.id or "", delay)

    async def _lose(self, batch: OpenBatch, error: APIError) -> None:
        """End the jobs of a batch that the server does not know."""
        await self._all_known(batch)
        summary = f"The server does not know the batch {batch.id}: {error.summary}"
        await self._end_all(batch, OutcomeUnknownError(summary, maybe_billed=True))
        await self.board.store.close(batch.intent)
        self.board.close(batch)

    def _leave(self, batch: OpenBatch) -> None:
        """Report the jobs of a batch that has not ended at the deadline. The journal keeps it for the next run."""
        status = None if batch.snapshot is None else batch.snapshot.status
        summary = f"The deadline has come, and the batch {batch.id} has not ended (status {status})."
        for entry in batch.entries.values():
            remedies = (Remedy.USE_BATCH_LANE,)
            error = OutcomeUnknownError(summary, maybe_billed=True, remedies=remedies)
            self._post(entry, error)
        batch.entries.clear()
        self.board.close(batch)

    def _post(self, entry: Entry, error: APIError) -> None:
        self.board.worker.spending.settle(entry.amount, entry.amount)
        item = entry.item
        outcome = Outcome(item.job, entry.id, item.place, status_of(error), error=error, attempts=1)
        self.board.post(JobResult(outcome))

    async def _deliver(self, batch: OpenBatch, ended: Batch) -> _Found | None:
        """Read the files of a batch; return ``None`` if they cannot be read, which ends the run."""
        found = _Found()
        if not batch.entries:
            return found
        files = [each for each in (ended.output_file_id, ended.error_file_id) if each is not None]
        for file_id in files:
            if not await self._read_persistently(batch, file_id, found):
                return None
        return found

    async def _read_persistently(self, batch: OpenBatch, file_id: str, found: _Found) -> bool:
        """Read a file, again while the server is away; return whether it was read, or is gone."""
        board, tries, began = self.board, 0, time.monotonic()
        while True:
            try:
                await self._read(batch, file_id, found)
            except NotFoundError:
                found.gone.append(file_id)
            except OSError as error:  # no image could be written
                board.fail(disk_failure(error) or error)
                return False
            except APIError as error:
                tries += 1
                if not is_passing(error):
                    board.fail(error)
                    return False
                if board.gives_up(began):
                    board.fail(away_error(error))
                    return False
                await anyio.sleep(poll_delay(tries, None, None))
                continue
            return True

    async def _read(self, batch: OpenBatch, file_id: str, found: _Found) -> None:
        board = self.board
        template = board.worker.template
        folder = None if template is None else template.temporary_folder
        reader = LineReader(board.worker.context, file_id, folder, owner=board.worker.owner, fsync=True)
        slots = anyio.Semaphore(_AT_ONCE)
        began = time.monotonic()
        problem: APIError | OSError | None = None
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(reader)
                tasks = await stack.enter_async_context(anyio.create_task_group())
                while problem is None:
                    try:
                        received = await reader.next()
                    except (APIError, OSError) as error:  # the task group would wrap it
                        problem = error
                        break
                    if received is None:
                        break
                    await self._start(batch, received, found, slots, tasks)
        finally:
            board.fetched_bytes += reader.offset
            board.fetch_seconds += time.monotonic() - began
        if problem is not None:
            raise problem

    async def _start(
        self,
        batch: OpenBatch,
        received: ReceivedLine,
        found: _Found,
        slots: anyio.Semaphore,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        line = line_number(received.line.custom_id)
        if line is not None:
            found.lines.add(line)
        entry = None if line is None else batch.entries.pop(line, None)
        if entry is None or line is None:  # repeated, of another program, or of a job that is not in the list
            await discard(received.sink)
            return
        await slots.acquire()
        tasks.start_soon(self._take, batch, line, entry, received, slots)

    async def _take(
        self, batch: OpenBatch, line: int, entry: Entry, received: ReceivedLine, slots: anyio.Semaphore
    ) -> None:
        board = self.board
        try:
            record = await board.store.record(batch.intent, line)
            if record is None:
                await discard(received.sink)
                return
            result = await take_line(board.worker, entry.item, record, entry.amount, received)
            if isinstance(result, Failure):
                await board.store.release(batch.intent, [line])
                if status_of(result.error) == "failed" and board.goes_live:
                    board.give_back(entry)
                    board.to_live(entry.item, entry.id)
                    return
                board.give_back(entry)
                result = await end_line(board.worker, entry.item, record, result.error)
            board.post(result)
        except Exception as error:  # noqa: BLE001 - not the job's own: raised after the last outcome
            board.fail(error)
        finally:
            slots.release()

    async def _end_rest(self, batch: OpenBatch, ended: Batch, found: _Found) -> None:
        """End the jobs that are in no file."""
        if not batch.entries:
            return
        fate = fate_of_rest(ended, sent=batch.lines, found=len(found.lines), gone=bool(found.gone))
        error = rest_error(ended, sent=batch.lines, found=len(found.lines), gone=found.gone)
        if fate == "unknown":
            await self._end_all(batch, error)
            return
        if ended.status == "failed" and ended.problems:
            error = _validation_error(ended)
        await self._release_all(batch, error)

    async def _release_all(self, batch: OpenBatch, error: APIError) -> None:
        board = self.board
        lines = list(batch.entries)
        records = {line: await board.store.record(batch.intent, line) for line in lines}
        await board.store.release(batch.intent, lines)
        for line in lines:
            entry, record = batch.entries.pop(line), records[line]
            board.give_back(entry)
            if board.goes_live:
                board.to_live(entry.item, entry.id)
            elif record is not None:
                board.post(await end_line(board.worker, entry.item, record, error))

    async def _end_all(self, batch: OpenBatch, error: APIError) -> None:
        for line in list(batch.entries):
            entry = batch.entries.pop(line)
            record = await self.board.store.record(batch.intent, line)
            if record is None:
                continue
            self.board.worker.spending.settle(entry.amount, entry.amount)
            self.board.post(await end_line(self.board.worker, entry.item, record, error))


def line_number(custom_id: str | None) -> int | None:
    """Return the line that a ``custom_id`` of a run begins with."""
    number = (custom_id or "").partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) <= 12 else None


def custom_id_of(line: int, name: str) -> str:
    """Return the ``custom_id`` of a line: its number, and the name of its job for people who read the file."""
    return f"{line}-{name}"[:64]


def _validation_error(batch: Batch) -> APIError:
    first: Sequence[str | None] = [batch.problems[0].code, batch.problems[0].message]
    shown = ": ".join(filter(None, first)) or "no reason is given"
    line = batch.problems[0].line
    where = "" if line is None else f" (line {line})"
    summary = f"The server has rejected the input file of the batch {batch.id}{where}: {shown}"
    return APIStatusError(
        summary, status_code=400, code=batch.problems[0].code, param=batch.problems[0].param
    )

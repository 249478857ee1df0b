"""Shards to batches: each shard is uploaded, recorded and created, one after the other.

====================================================  ==========================================================
answer                                                effect
====================================================  ==========================================================
created                                               the batch is watched
too many enqueued tokens, here or in validation       its jobs go into batches of half the size, after a wait
                                                      or when another batch ends
429, 5xx or no connection at the upload               again, until ``give_up_after``
any other refusal                                     its jobs go live, or fail
no answer, and not found by listing                   its jobs are unknown; the next run looks again
====================================================  ==========================================================
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from attrs import define

from imagesdk._calls.batch_calls import is_passing, new_intent
from imagesdk._protocol.batch_api import TOKEN_LIMIT
from imagesdk._protocol.batch_input import ShardLimits, halved
from imagesdk._protocol.batch_rules import poll_delay, token_wait
from imagesdk.errors import APIError, APIStatusError, RateLimitError
from imagesdk.fan_out.batch_board import LaneBoard, OpenBatch, OpenShard, away_error
from imagesdk.fan_out.batch_store import StoredBatch
from imagesdk.fan_out.breaker import meaning
from imagesdk.fan_out.outcomes import JobResult, Outcome
from imagesdk.reports import Batch

_T = TypeVar("_T")


@define(eq=False)
class Submitter:
    """Creator of the batches of one run."""

    board: LaneBoard
    watch: Callable[[OpenBatch], None]
    """Starts to watch a batch."""
    _refusals: int = 0
    """Batches in succession that were refused for their tokens."""
    _not_before: float = 0.0
    _ended: int = 0
    """Batches that have ended."""

    async def run(self) -> None:
        """Create a batch for each complete shard, until cancelled."""
        board = self.board
        while True:
            if not board.complete:
                await board.changes.wait()
                continue
            if board.cut or board.over:
                await self.drop(board.complete.popleft(), board.late())
                continue
            wait = self._not_before - time.monotonic()
            if wait > 0 and board.batches:
                with anyio.move_on_after(wait):
                    await board.changes.wait()
                continue
            if wait > 0:
                with anyio.move_on_after(min(wait, 1.0)):
                    await board.changes.wait()
                continue
            await self._submit(board.complete.popleft())

    async def resume(self, stored: StoredBatch, batch: OpenBatch) -> None:
        """Find or create a batch that an earlier process was about to create."""
        await self._create(stored, batch, look_first=True)

    def batch_ended(self) -> None:
        """Let the next batch be created: one that has ended has made room for its tokens."""
        self._not_before = 0.0
        self.board.changes.notify()

    def accepted(self) -> None:
        """Record that a batch has passed its validation."""
        self._refusals = 0

    async def token_limited(self, batch: OpenBatch) -> None:
        """Divide the jobs of a batch, which has failed because of too many tokens, among smaller ones."""
        board = self.board
        await board.store.release(batch.intent, batch.entries)
        await board.store.close(batch.intent)
        self._refusals += 1
        self._not_before = time.monotonic() + token_wait(self._refusals)
        limits = board.limits.get(batch.kind, ShardLimits())
        board.limits[batch.kind] = halved(limits, batch.lines)
        for entry in batch.entries.values():
            board.give_back(entry)
            if board.cut:
                board.not_begun(entry, board.late())
            else:
                board.again.append(entry.item)
        batch.entries.clear()
        board.close(batch)

    async def drop(self, shard: OpenShard, error: APIError) -> None:
        """Let the jobs of a shard that has no batch go live, or fail."""
        await shard.writer.discard()
        for entry in shard.entries:
            self.board.not_begun(entry, error)
        self.board.changes.notify()

    async def _submit(self, shard: OpenShard) -> None:
        board = self.board
        board.submitting += 1
        try:
            path = await shard.writer.finish()
            try:
                await board.pace.wait()
                file = await self._persistently(lambda: board.calls.upload_input(path))
            except APIError as error:
                await self.drop(shard, error)
                self._end_if_fatal(error)
                return
            finally:
                await shard.writer.discard()
            endpoint, model = shard.kind
            lines = {entry.item.place: entry for entry in shard.entries}
            stored = StoredBatch(new_intent(), None, endpoint, model, file.id, len(lines), time.time())
            batch = OpenBatch(stored.intent, shard.kind, len(lines), stored.began, file.id, entries=lines)
            board.batches[batch.intent] = batch
            await board.store.begin(
                stored,
                [
                    (entry.key, line, str(entry.amount) if entry.amount else None)
                    for line, entry in lines.items()
                ],
            )
            for entry in lines.values():
                entry.key = ""
            await self._create(stored, batch, look_first=False)
        finally:
            board.submitting -= 1
            board.changes.notify()

    async def _create(self, stored: StoredBatch, batch: OpenBatch, *, look_first: bool) -> None:
        board, looks = self.board, look_first

        async def ask() -> Batch:
            nonlocal looks
            arguments = stored.intent, stored.input_file, stored.endpoint, dict[str, str]()
            try:
                return await board.calls.create(*arguments, began=stored.began, look_first=looks)
            except APIError as error:
                looks = looks or error.maybe_billed
                raise

        try:
            found = await self._persistently(ask)
        except APIError as error:
            await self._not_created(batch, error)
            return
        batch.id, batch.snapshot = found.id, found
        await board.store.created(stored.intent, found.id)
        self.watch(batch)

    async def _not_created(self, batch: OpenBatch, error: APIError) -> None:
        board = self.board
        if error.maybe_billed:  # the next run looks for it again
            board.close(batch)
            for entry in batch.entries.values():
                item = entry.item
                board.worker.spending.settle(entry.amount, entry.amount)
                board.post(
                    JobResult(Outcome(item.job, entry.id, item.place, "unknown", error=error, attempts=1))
                )
            return
        if isinstance(error, APIStatusError) and error.code == TOKEN_LIMIT:
            await self.token_limited(batch)
            return
        await board.store.release(batch.intent, batch.entries)
        await board.store.close(batch.intent)
        for entry in batch.entries.values():
            board.not_begun(entry, error)
        board.close(batch)
        self._end_if_fatal(error)

    def _end_if_fatal(self, error: APIError) -> None:
        """End a run without a live lane, if the server is away or its answer is one that every batch would get."""
        board = self.board
        if board.lane == "auto" or board.cut:
            return
        if is_passing(error):
            board.fail(away_error(error))
        elif board.worker.options.stop_on == "fatal" and meaning(error) == "fatal":
            board.fail(error)

    async def _persistently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Repeat a request while the server is away or busy."""
        board, tries = self.board, 0
        began = time.monotonic()
        while True:
            try:
                return await ask()
            except APIError as error:
                tries += 1
                late = board.gives_up(began)
                token_limited = isinstance(error, APIStatusError) and error.code == TOKEN_LIMIT
                if late or board.cut or token_limited or not is_passing(error):
                    raise
                wish = error.retry_after if isinstance(error, RateLimitError) else None
                delay = poll_delay(tries, None, wish)
            with anyio.move_on_after(delay):
                await self._until_cut()

    async def _until_cut(self) -> None:
        while not self.board.cut:
            await self.board.changes.wait()

"""Batch lane of a run: reads the jobs, puts them into batches, and hands to the live scheduler what does not belong there.

For the scheduler, the lane is the reader of jobs: :meth:`BatchLane.next` returns jobs that go live, and jobs whose outcome
is in the journal. The outcomes of all others are posted.

==============================  ==================================  ================================
job                             ``"batch"``                         ``"auto"``
==============================  ==================================  ================================
variation                       refused                             live
of an open batch                waits for the batch                 the same
sent or finished before         by the journal                      the same
any other                       in a batch                          in a batch, until the cut
begun by no batch               fails; another run sends it again   live
==============================  ==================================  ================================

The cut is the time at which open batches are cancelled, so that what is left can be made live before the deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Final

import anyio
import anyio.abc
from anyio.streams.memory import MemoryObjectSendStream
from attrs import define, field

from imagesdk._calls.build import PreparedCall, build_call
from imagesdk._protocol.batch_input import BatchLine, ShardLimits, check_batchable
from imagesdk._runtime.threads import run_blocking
from imagesdk._transport.exchange import RELEASE_LIMIT
from imagesdk.errors import BudgetExceededError, ImageSDKError, JournalError
from imagesdk.fan_out.batch_board import Entry, Kind, LaneBoard, OpenBatch, OpenShard
from imagesdk.fan_out.batch_delivery import Deliverer, custom_id_of
from imagesdk.fan_out.batch_inputs import ImageUploads, InputWriter, line_of
from imagesdk.fan_out.batch_store import StoredBatch
from imagesdk.fan_out.batch_submission import Submitter
from imagesdk.fan_out.fingerprint import Hashes, digest
from imagesdk.fan_out.job_source import ODD_VALUES, Item, JobReader, odd_value
from imagesdk.fan_out.outcomes import JobResult, LaneProgress, Notice, Outcome
from imagesdk.fan_out.output_files import hashes_of, state_of
from imagesdk.fan_out.resume import next_action
from imagesdk.fan_out.scheduler import Scheduler
from imagesdk.fan_out.serialization import files_of
from imagesdk.fan_out.spending import Reservation, priced, unknown_price
from imagesdk.fan_out.store import JobRecord
from imagesdk.fan_out.worker import not_prepared, unsent_status
from imagesdk.jobs import Variation
from imagesdk.remedies import Remedy

_AT_ONCE: Final = 16
"""Jobs that are prepared at the same time, so that they share commits of the journal."""
_IDLE_SECONDS: Final = 30.0
"""Time without a new job after which shards that are not full are sent."""
_LOOK_SECONDS: Final = 5.0
"""Longest time between two looks at the deadline."""
_SHORTEST_LOOK: Final = 0.05


@define(eq=False)
class BatchLane:
    """The batch lane of one run."""

    reader: JobReader
    board: LaneBoard
    uploads: ImageUploads
    shard_limits: ShardLimits = field(factory=ShardLimits)
    counts_jobs: bool = field(default=True, init=False)
    """Whether the lane, rather than the scheduler, counts the jobs that were read."""
    _scope: anyio.CancelScope | None = field(default=None, init=False)
    _ended: anyio.Event = field(factory=anyio.Event, init=False)
    _closed: bool = field(default=False, init=False)
    _tasks: anyio.abc.TaskGroup | None = field(default=None, init=False)
    _deliverer: Deliverer | None = field(default=None, init=False)
    _adding: anyio.Lock = field(factory=anyio.Lock, init=False)

    @property
    def lane(self) -> LaneProgress:
        """The batches of the run. Thread-safe."""
        return self.board.progress

    @property
    def total(self) -> int | None:
        """Number of jobs, if it is known."""
        return self.reader.total

    async def next(self) -> Item | None:
        """Return the next job for the live scheduler, or ``None`` when every job has an outcome or went live."""
        board = self.board
        while True:
            if board.live:
                item, name = board.live.popleft()
                if name is None or not board.over:
                    return item
                board.post(JobResult(Outcome(item.job, name, item.place, "failed", error=board.late())))
            elif board.has_ended:
                return None
            else:
                await board.changes.wait()

    def measure_call(self, seconds: float) -> None:
        """Take the time of a live call, from its permit to its end."""
        self.board.calls_measured += 1
        self.board.longest_call = max(self.board.longest_call, seconds)

    async def aclose(self) -> None:
        """End the lane. Batches that have not ended stay in the journal."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()
            await self._ended.wait()
        await self.reader.aclose()

    async def run(self, scheduler: Scheduler) -> None:
        """Process all jobs of the lane."""
        board = self.board
        board.post, board.fail, board.took = scheduler.post, scheduler.fail, scheduler.took
        try:
            if not self._closed:
                with anyio.CancelScope() as self._scope:
                    async with anyio.create_task_group() as self._tasks:
                        await self._guarded(self._run)
        finally:
            self._ended.set()
            with anyio.move_on_after(RELEASE_LIMIT, shield=True):
                for shard in [*board.shards.values(), *board.complete]:
                    await shard.writer.discard()
            board.changes.notify()

    async def _run(self) -> None:
        board = self.board
        submitter = Submitter(board, self._watch)
        self._deliverer = Deliverer(board, submitter)
        board.ended_before = await board.store.ended_jobs()
        resumed = await board.store.open_batches()
        for each in resumed:
            board.batches[each.intent] = OpenBatch.resumed(each)
        self._start(self._watch_deadline)
        for each in resumed:
            batch = board.batches[each.intent]
            if each.id is None:
                self._start(partial(self._resume, submitter, each, batch))
            else:
                self._watch(batch)
        self._start(submitter.run)
        await self._read_all()
        while not board.has_ended:
            if board.again:
                await self._admit_again()
            else:
                await board.changes.wait()
        if not board.over:
            await board.store.finished()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
        board.changes.notify()

    async def _resume(self, submitter: Submitter, stored: StoredBatch, batch: OpenBatch) -> None:
        while not self.board.all_read:
            await self.board.changes.wait()  # its jobs are not all known yet
        await submitter.resume(stored, batch)

    def _watch(self, batch: OpenBatch) -> None:
        assert self._deliverer is not None  # noqa: S101 - _run has set it
        self._start(partial(self._deliverer.run, batch))

    def _start(self, function: Callable[[], Awaitable[None]]) -> None:
        assert self._tasks is not None  # noqa: S101 - run has set it
        self._tasks.start_soon(self._guarded, function)

    async def _guarded(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a part of the lane. An error of it ends the run, and is raised after the last outcome."""
        try:
            await function()
        except Exception as error:  # noqa: BLE001
            self.board.fail(error)

    async def _read_all(self) -> None:
        board = self.board
        sending, receiving = anyio.create_memory_object_stream[Item](_AT_ONCE)
        slots = anyio.Semaphore(_AT_ONCE)
        self._start(partial(self._feed, sending))
        with receiving:
            while True:
                item: Item | None = None
                try:
                    with anyio.move_on_after(_IDLE_SECONDS):
                        item = await receiving.receive()
                except anyio.EndOfStream:
                    break
                if item is None:
                    await self._complete_all()
                    continue
                board.took()
                board.read += 1
                await slots.acquire()
                board.admitting += 1
                self._start(partial(self._admit_one, item, slots))
        while board.admitting:
            await board.changes.wait()
        await self._complete_all()
        board.all_read = True
        board.changes.notify()

    async def _feed(self, sending: MemoryObjectSendStream[Item]) -> None:
        with sending:
            while (item := await self.reader.next()) is not None:
                await sending.send(item)

    async def _admit_again(self) -> None:
        slots = anyio.Semaphore(_AT_ONCE)
        while self.board.again:
            await slots.acquire()
            self.board.admitting += 1
            self._start(partial(self._admit_one, self.board.again.popleft(), slots))
        while self.board.admitting:
            await self.board.changes.wait()
        await self._complete_all()

    async def _admit_one(self, item: Item, slots: anyio.Semaphore) -> None:
        try:
            try:
                await self._admit(item)
            except (JournalError, *ODD_VALUES) as error:
                if isinstance(error, (JournalError, ImageSDKError)):
                    raise
                raise odd_value(error) from error
        except JournalError:
            raise
        except (ImageSDKError, OSError) as error:
            self.board.post(not_prepared(item, error))
        finally:
            self.board.admitting -= 1
            slots.release()
            self.board.changes.notify()

    async def _admit(self, item: Item) -> None:
        """Put a job into a shard, into the batch that has it, or into the live scheduler."""
        board, worker = self.board, self.board.worker
        if item.problem is not None:
            raise item.problem
        if isinstance(item.job, Variation) and board.lane == "auto":
            board.to_live(item)
            return
        check_batchable(item.job)
        async with build_call(item.job, {}, worker.context, template=worker.template) as prepared:
            hashes = await hashes_of(prepared.inputs)
            request = prepared.call.request
            record = await worker.store.claim(item, digest(item.job, hashes), request.weight, request.model)
            worker.model = request.model
            if record.state == "sending" and await self._join(item, record, request.weight):
                return
            if not await self._sends(record):
                board.ended_before = max(0, board.ended_before - 1)
                board.to_live(item)
            elif board.cut or board.over:
                self._refuse_late(item, record)
            else:
                await self._enter(item, prepared, record, hashes)

    async def _join(self, item: Item, record: JobRecord, images: int) -> bool:
        """Let a job wait for the open batch that has it; return whether there is one."""
        batch = self.board.batches.get(record.batch or "")
        found = await self.board.store.line_of(record.key)
        if batch is None or found is None:
            return False
        line, reserved = found
        amount = Decimal(0) if reserved is None or self.board.worker.spending.limit is None else reserved
        before = await self.board.store.record(batch.intent, line)
        self.board.worker.spending.reopen(amount)
        status = unsent_status(before or record)
        batch.entries[line] = Entry(item, "", record.id, amount, images, 0, 0, status)
        return True

    async def _sends(self, record: JobRecord) -> bool:
        """Return whether a job is to be sent. Files are only checked if that decides it."""
        worker, files = self.board.worker, None
        policy = worker.options.resume_policy(worker.context.engine)
        if record.state in {"received", "done"}:
            if not (policy.retry_unknown or policy.repeats or policy.server_idempotent):
                return False
            if record.response is not None:
                files = await run_blocking(state_of, files_of(record.response, worker.store.folder))
        return next_action(record, files, policy) == "send"

    def _refuse_late(self, item: Item, record: JobRecord) -> None:
        board = self.board
        if board.goes_live:
            board.to_live(item, record.id)
            return
        status = unsent_status(record)
        board.post(JobResult(Outcome(item.job, record.id, item.place, status, error=board.late())))

    async def _enter(self, item: Item, prepared: PreparedCall, record: JobRecord, hashes: Hashes) -> None:
        """Reserve money for a job, upload its images, and write its line into a shard."""
        board, worker, status = self.board, self.board.worker, unsent_status(record)
        price = priced(prepared.job, list_prices=worker.context.host.uses_list_prices, batch=True)
        amount = board.amounts.setdefault(price.at_most or Decimal(0), price.at_most or Decimal(0))
        error: BudgetExceededError | None = None
        if (
            worker.spending.limit is not None
            and price.at_most is None
            and worker.options.unknown_price == "stop"
        ):
            error = unknown_price(price)
        elif await self._reserve(amount) is Reservation.REFUSED:
            error = worker.spending.refusal(amount)
        if error is not None:
            board.post(JobResult(Outcome(item.job, record.id, item.place, status, error=error)))
            return
        try:
            line = await line_of(prepared, custom_id_of(item.place, record.id), hashes, self.uploads)
        except BaseException:
            worker.spending.settle(amount, Decimal(0))
            raise
        weight = prepared.call.request.weight
        sizes = weight, line.output_bytes, line.tokens
        await self._add(line, Entry(item, record.key, record.id, amount, *sizes, status))

    async def _reserve(self, amount: Decimal) -> Reservation:
        spending = self.board.worker.spending
        while (reservation := spending.reserve(amount)) is Reservation.WAIT:
            await self._complete_all()
            await self.board.changes.wait()
        return reservation

    async def _add(self, line: BatchLine, entry: Entry) -> None:
        async with self._adding:
            board = self.board
            shard = board.shards.get(line.kind)
            if shard is not None and not shard.writer.shard.takes(line):
                self._complete(line.kind)
                shard = None
            if shard is None:
                worker = board.worker
                assert worker.template is not None  # noqa: S101 - a lane needs out=
                limits = board.limits.get(line.kind, self.shard_limits)
                writer = InputWriter.of(worker.template.temporary_folder, worker.owner, limits)
                shard = board.shards[line.kind] = OpenShard(line.kind, writer)
            shard.entries.append(entry)
            await shard.writer.add(line)

    async def _complete_all(self) -> None:
        async with self._adding:
            for kind in list(self.board.shards):
                self._complete(kind)

    def _complete(self, kind: Kind) -> None:
        self.board.complete.append(self.board.shards.pop(kind))
        self.board.changes.notify()

    async def _watch_deadline(self) -> None:
        """Cut the batches off in time, and wake everything that waits when the time is over."""
        board, deadline = self.board, self.board.deadline
        if deadline is None:
            return
        while not board.cut:
            left = deadline - board.clock() - board.margin(self.reader.total)
            if left <= 0:
                await self._cut(deadline)
                break
            await anyio.sleep(min(left, max(_SHORTEST_LOOK, min(left / 10, _LOOK_SECONDS))))
        await anyio.sleep(max(0.0, deadline - board.clock()))
        board.wake()

    async def _cut(self, deadline: float) -> None:
        board = self.board
        board.cut = True
        left, images = max(0.0, deadline - board.clock()), board.images_open(self.reader.total)
        if board.lane == "auto" and board.rates.live(images) > left:
            fit = min(images, board.rates.in_time(left))
            summary = (
                f"{images} images are open {left:.0f} s before the deadline, and about {fit} of them can be made live "
                "until then."
            )
            board.note(Notice(summary, (Remedy.RAISE_DEADLINE,)))
        await self._complete_all()
        board.wake()

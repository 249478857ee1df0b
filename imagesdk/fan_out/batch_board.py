"""State that the parts of a batch lane share: jobs in batches, jobs that go live, and the outcomes of the others."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from attrs import define, evolve, field

from imagesdk._calls.batch_calls import BatchCalls
from imagesdk._calls.batch_watch import WAKEUPS
from imagesdk._protocol.batch_input import ShardLimits
from imagesdk._runtime.notify import Notifier
from imagesdk.errors import APIConnectionError, APIError, RunStoppedError
from imagesdk.fan_out.batch_inputs import InputWriter, UploadPace
from imagesdk.fan_out.batch_store import BatchStore, StoredBatch
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.lanes import Lane, Rates
from imagesdk.fan_out.outcomes import JobResult, LaneProgress, Notice, Outcome, Status
from imagesdk.fan_out.worker import JobWorker
from imagesdk.remedies import Remedy
from imagesdk.reports import Batch

Kind = tuple[str, str | None]
"""Endpoint and model."""
_ENOUGH_CALLS = 5
"""Live calls whose longest one replaces the assumed time of a call."""
_logger = logging.getLogger("imagesdk")


@define(eq=False)
class Entry:
    """A job that is in a batch, or on its way to one. A run may have 50,000 of them in memory."""

    item: Item
    key: str
    """Key of its record; empty once the journal has its line."""
    id: str
    """Name that users see."""
    amount: Decimal
    """US dollars that are reserved for it."""
    images: int
    output_bytes: int
    tokens: int
    unsent: Status
    """Status of the job if it is not sent."""


@define(eq=False)
class OpenShard:
    """Jobs of one input file that is not complete yet."""

    kind: Kind
    writer: InputWriter
    entries: list[Entry] = field(factory=list[Entry])


@define(eq=False)
class OpenBatch:
    """A batch that has not ended, as far as the run knows."""

    intent: str
    kind: Kind
    lines: int
    began: float
    input_file: str
    id: str | None = None
    entries: dict[int, Entry] = field(factory=dict[int, Entry])
    """Open jobs, by their line."""
    snapshot: Batch | None = None
    restored: bool = False
    """Whether an earlier process has begun it."""

    @classmethod
    def resumed(cls, stored: StoredBatch) -> OpenBatch:
        """Return a batch that an earlier process has begun."""
        kind = stored.endpoint, stored.model
        known = (stored.intent, kind, stored.lines, stored.began, stored.input_file, stored.id)
        return cls(*known, restored=True)

    @property
    def left(self) -> int:
        """Lines that the server has not worked on, by its counts."""
        counts = None if self.snapshot is None else self.snapshot.counts
        return max(0, len(self.entries) - (0 if counts is None else counts.ended))

    @property
    def images_left(self) -> int:
        """Images of the lines that the server has not worked on."""
        images = sum(entry.images for entry in self.entries.values())
        return -(-images * self.left // max(1, len(self.entries)))

    @property
    def results_bytes(self) -> int:
        """Expected bytes of the results that the server has by now."""
        expected = sum(entry.output_bytes for entry in self.entries.values())
        return expected * (len(self.entries) - self.left) // max(1, len(self.entries))


@define(eq=False)
class LaneBoard:
    """Shared state of one batch lane. It belongs to one event loop."""

    worker: JobWorker
    calls: BatchCalls
    store: BatchStore
    changes: Notifier
    lane: Lane
    poll: float | None
    give_up_after: float | None
    deadline: float | None = None
    """The end of the time of the run, in seconds since 1970."""
    pace: UploadPace = field(factory=UploadPace)
    """The limit of uploads, of images and input files together."""
    post: Callable[[JobResult], None] = lambda result: None
    """Takes the outcome of a job."""
    fail: Callable[[Exception], None] = lambda error: None
    """Ends the run with an error."""
    clock: Callable[[], float] = time.time
    shards: dict[Kind, OpenShard] = field(factory=dict[Kind, OpenShard])
    complete: deque[OpenShard] = field(factory=deque[OpenShard])
    """Shards that wait for their batches."""
    again: deque[Item] = field(factory=deque[Item])
    """Jobs of batches that were refused for their tokens. They go into smaller ones."""
    batches: dict[str, OpenBatch] = field(factory=dict[str, OpenBatch])
    """By intent."""
    live: deque[tuple[Item, str | None]] = field(factory=deque[tuple[Item, str | None]])
    """Jobs for the live scheduler, and the name of each that would be late after the deadline."""
    limits: dict[Kind, ShardLimits] = field(factory=dict[Kind, ShardLimits])
    """Limits of the shards of a kind, where they are not the default."""
    took: Callable[[], None] = lambda: None
    """Counts a job that was read."""
    read: int = 0
    """Number of jobs that were read."""
    ended_before: int = 0
    """Number of jobs with an end in the journal that were not read yet."""
    all_read: bool = False
    admitting: int = 0
    """Jobs that are being prepared."""
    submitting: int = 0
    """Shards that are being uploaded or created."""
    cut: bool = False
    """Whether open batches are cancelled, and no further one is created."""
    amounts: dict[Decimal, Decimal] = field(factory=dict[Decimal, Decimal])
    """Each amount of reserved money once: jobs have few different prices."""
    calls_measured: int = 0
    longest_call: float = 0.0
    """Time of the longest live call in seconds."""
    cancel_seconds: float | None = None
    fetched_bytes: float = 0.0
    fetch_seconds: float = 0.0

    @property
    def rates(self) -> Rates:
        """The rates so far."""
        limit, rates = self.worker.limit(), Rates(cancel_seconds=self.cancel_seconds)
        if limit is not None:
            rates = evolve(rates, images_a_second=limit.images / limit.per)
        if self.calls_measured >= _ENOUGH_CALLS:
            rates = evolve(rates, live_seconds=self.longest_call)
        if self.fetch_seconds > 1:
            rates = evolve(rates, bytes_a_second=max(1.0, self.fetched_bytes / self.fetch_seconds))
        return rates

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.clock() >= self.deadline

    @property
    def goes_live(self) -> bool:
        """Whether jobs that no batch has begun are sent live."""
        return self.lane == "auto" and not self.over

    @property
    def progress(self) -> LaneProgress:
        """A snapshot of the lane. Thread-safe."""
        batches = list(self.batches.copy().values())
        shards = [*self.shards.copy().values(), *self.complete.copy()]
        return LaneProgress(
            batches=tuple(batch.snapshot for batch in batches if batch.snapshot is not None),
            waiting=sum(len(shard.entries) for shard in shards) + len(self.again),
            enqueued_tokens=sum(entry.tokens for batch in batches for entry in batch.entries.copy().values()),
            deadline=None if self.deadline is None else datetime.fromtimestamp(self.deadline, UTC),
            cut=self.cut,
        )

    @property
    def has_ended(self) -> bool:
        """Whether every job has an outcome or goes live."""
        open_work = self.shards or self.complete or self.again or self.batches
        return self.all_read and not open_work and not self.admitting and not self.submitting

    def images_open(self, total: int | None) -> int:
        """Return the images that no batch has made, of ``total`` jobs, with one image for each job that was not read."""
        unread = max(0, (total or 0) - self.read - self.ended_before)
        shards = [*self.shards.values(), *self.complete]
        waiting = sum(entry.images for shard in shards for entry in shard.entries)
        return unread + waiting + len(self.again) + sum(batch.images_left for batch in self.batches.values())

    def margin(self, total: int | None) -> float:
        """Return the seconds before the deadline at which open batches are cut off."""
        images = self.images_open(total) if self.lane == "auto" else 0
        return self.rates.margin(images, sum(batch.results_bytes for batch in self.batches.values()))

    def gives_up(self, since: float) -> bool:
        """Return whether the server was away for too long, since a time on the monotonic clock."""
        return self.give_up_after is not None and time.monotonic() - since > self.give_up_after

    def give_back(self, entry: Entry) -> None:
        """Give back the money that is reserved for a job which no batch has begun."""
        self.worker.spending.settle(entry.amount, Decimal(0))

    def not_begun(self, entry: Entry, error: APIError) -> None:
        """Let a job go live that no batch has begun; without a live lane, end it with an error."""
        self.give_back(entry)
        if self.goes_live:
            self.to_live(entry.item, entry.id)
            return
        outcome = Outcome(entry.item.job, entry.id, entry.item.place, entry.unsent, error=error)
        self.post(JobResult(outcome))

    def to_live(self, item: Item, name: str | None = None) -> None:
        """Hand a job to the live scheduler. Without a ``name`` it has no deadline: its outcome is in the journal."""
        self.live.append((item, name))
        self.changes.notify()

    def late(self) -> APIConnectionError:
        """Return the error of a job for which there is no time."""
        summary = "The deadline has come before this job could be sent."
        return APIConnectionError(summary, remedies=(Remedy.RAISE_DEADLINE,))

    def note(self, notice: Notice) -> None:
        """Give the caller a notice."""
        self.worker.notices = (*self.worker.notices, notice)
        _logger.warning("%s", notice)

    def wake(self) -> None:
        """Let all batches be looked at."""
        for batch in self.batches.values():
            if batch.id is not None:
                WAKEUPS.wake(batch.id)
        self.changes.notify()

    def close(self, batch: OpenBatch) -> None:
        """Forget a batch that has ended."""
        self.batches.pop(batch.intent, None)
        self.changes.notify()


def away_error(error: APIError) -> RunStoppedError:
    """Return the error of a run that ends because the server was away for too long."""
    summary = f"The server was away for too long, so the run ended. Its batches continue. The last failure: {error.summary}"
    remedies = (Remedy.RESUME_RUN, Remedy.RAISE_GIVE_UP_AFTER)
    return RunStoppedError(summary, reason="server_away", last_error=error, remedies=remedies)

"""Prediction of a run: counts, cost and time, without sending or writing anything."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from attrs import define, field, frozen

from imagesdk._calls.build import ClientContext, build_call
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import ImageSDKError, JournalError
from imagesdk.fan_out.fingerprint import Hashes, digest
from imagesdk.fan_out.job_source import Item, JobReader
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.output_files import hashes_of, state_as_is
from imagesdk.fan_out.resume import next_action
from imagesdk.fan_out.serialization import files_of
from imagesdk.fan_out.spending import priced
from imagesdk.fan_out.store import JobStore
from imagesdk.policies import RateLimit

__all__ = ["DryRun"]

_PROBLEMS = 20


@frozen(kw_only=True)
class DryRun:
    """Prediction of a run. Returned by ``client.images.dry_run``."""

    jobs: int
    """Number of jobs."""
    sent: int
    """Jobs that the run would send."""
    images: int
    """Images that these jobs ask for."""
    resumed: int
    """Jobs that the journal has as finished, or that the run can finish without sending them."""
    refused: int
    """Jobs that the run would not send: they break a rule, or an input image cannot be read."""
    problems: tuple[tuple[int, Exception], ...] = ()
    """The first 20 refused jobs: the place of each, counted from 0, and its error."""
    cost: Decimal | None = None
    """Expected cost in US dollars; ``None`` if the cost of a job is unknown."""
    at_most: Decimal | None = None
    """Maximum cost in US dollars if each job is sent once; ``None`` if that of a job is unknown."""
    unpriced: int = 0
    """Jobs whose maximum cost is unknown."""
    seconds: float | None = None
    """Seconds until the rate limit allows the last job; ``None`` without a rate limit."""


@define
class _Counts:
    context: ClientContext
    store: JobStore
    options: RunOptions
    jobs: int = 0
    sent: int = 0
    resumed: int = 0
    refused: int = 0
    unpriced: int = 0
    problems: list[tuple[int, Exception]] = field(factory=list[tuple[int, Exception]])
    cost: Decimal | None = field(default=Decimal(0))
    at_most: Decimal | None = field(default=Decimal(0))
    images: Counter[str | None] = field(factory=Counter[str | None])
    """By model, because each model has its own rate limit."""

    async def add(self, item: Item) -> None:
        """Count a job.

        Raises:
            ImageSDKError: If the job would be refused.
            JournalError: If the journal cannot be read.
            OSError: If an input image cannot be read.
        """
        context, store = self.context, self.store
        async with build_call(item.job, {}, context) as prepared:
            request = prepared.call.request
            hashes = await hashes_of(prepared.inputs) if store.persistent else Hashes()
            record = await store.claim(item, digest(item.job, hashes), request.weight, request.model)
        files = None
        if record.response is not None:
            files = await run_blocking(state_as_is, files_of(record.response, store.folder))
        if next_action(record, files, self.options.resume_policy(context.engine)) != "send":
            self.resumed += 1
            return
        price = priced(prepared.job, list_prices=context.host.uses_list_prices)
        self.sent += 1
        self.images[request.model] += request.weight
        self.unpriced += price.at_most is None
        self.cost = None if self.cost is None or price.cost is None else self.cost + price.cost
        self.at_most = None if self.at_most is None or price.at_most is None else self.at_most + price.at_most


async def dry_run(reader: JobReader, context: ClientContext, store: JobStore, options: RunOptions) -> DryRun:
    """Read and check all jobs.

    Raises:
        JournalError: If the journal cannot be read.
    """
    counts = _Counts(context, store, options)
    while (item := await reader.next()) is not None:
        counts.jobs += 1
        try:
            await counts.add(item)
        except JournalError:
            raise
        except (ImageSDKError, OSError) as error:
            counts.refused += 1
            if len(counts.problems) < _PROBLEMS:
                counts.problems.append((item.place, error))
    limit_for = context.engine.limit_for
    waits = [seconds_under(limit_for(model), images) for model, images in counts.images.items()]
    return DryRun(
        jobs=counts.jobs,
        sent=counts.sent,
        images=counts.images.total(),
        resumed=counts.resumed,
        refused=counts.refused,
        problems=tuple(counts.problems),
        cost=counts.cost,
        at_most=counts.at_most,
        unpriced=counts.unpriced,
        seconds=max((wait for wait in waits if wait is not None), default=None),
    )


def seconds_under(limit: RateLimit | None, images: int) -> float | None:
    """Return how long the last of ``images`` requests for one image each waits for the rate limit."""
    return None if limit is None else max(0, images - 1) // limit.images * limit.per


DryRun.__module__ = "imagesdk"

"""What a run would do, cost and take, without sending anything."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

from attrs import define, field, frozen

from imagesdk._calls.build import ClientContext, build_call
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import ImageSDKError, JournalError
from imagesdk.fan_out import resume as recovery
from imagesdk.fan_out.fingerprint import Hashes, digest
from imagesdk.fan_out.job_source import Item, JobReader
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.output_files import hashes_of, state_as_is
from imagesdk.fan_out.serialization import files_of
from imagesdk.fan_out.spending import priced
from imagesdk.fan_out.store import JobStore
from imagesdk.policies import RateLimit

__all__ = ["DryRun"]

_PROBLEMS = 20


@frozen(kw_only=True)
class DryRun:
    """What a run would do. Returned by ``client.images.dry_run``."""

    jobs: int
    """Jobs in all."""
    sent: int
    """Jobs that would be sent."""
    images: int
    """Pictures that they ask for."""
    resumed: int
    """Jobs that the journal knows the end of, or can finish without sending them."""
    refused: int
    """Jobs that break a rule, or whose pictures cannot be read: they would not be sent."""
    problems: tuple[tuple[int, Exception], ...] = ()
    """The places of the first of those, from 0, and why they would not."""
    cost: Decimal | None = None
    """Expected, in US dollars; ``None`` when it cannot be known for one of the jobs."""
    at_most: Decimal | None = None
    """An upper bound in US dollars, likewise, if each job is sent once."""
    unpriced: int = 0
    """Jobs that no upper bound is known for."""
    seconds: float | None = None
    """Until the last of them may be sent under the rate limit; ``None`` where there is none."""


@define
class _Sums:
    sent: int = 0
    resumed: int = 0
    refused: int = 0
    unpriced: int = 0
    problems: list[tuple[int, Exception]] = field(factory=list[tuple[int, Exception]])
    cost: Decimal | None = field(default=Decimal(0))
    at_most: Decimal | None = field(default=Decimal(0))
    images: Counter[str | None] = field(factory=Counter[str | None])
    """By model: each has a limit of its own."""


async def dry_run(
    reader: JobReader, context: ClientContext, book: JobStore, folder: Path, terms: RunOptions
) -> DryRun:
    """Read all jobs and check them.

    Raises:
        JournalError: the journal cannot be read.
    """
    sums, jobs = _Sums(), 0
    while (item := await reader.next()) is not None:
        jobs += 1
        try:
            await _count(item, sums, context, book, folder, terms)
        except JournalError:
            raise
        except (ImageSDKError, OSError) as error:
            sums.refused += 1
            if len(sums.problems) < _PROBLEMS:
                sums.problems.append((item.place, error))
    waits = [seconds_under(context.engine.limit_for(model), images) for model, images in sums.images.items()]
    return DryRun(
        jobs=jobs,
        sent=sums.sent,
        images=sums.images.total(),
        resumed=sums.resumed,
        refused=sums.refused,
        problems=tuple(sums.problems),
        cost=sums.cost,
        at_most=sums.at_most,
        unpriced=sums.unpriced,
        seconds=max((wait for wait in waits if wait is not None), default=None),
    )


def seconds_under(limit: RateLimit | None, images: int) -> float | None:
    """Return how long the last of so many pictures waits for the limit, each asked for by itself."""
    return None if limit is None else max(0, images - 1) // limit.images * limit.per


async def _count(
    item: Item,
    sums: _Sums,
    context: ClientContext,
    book: JobStore,
    folder: Path,
    terms: RunOptions,
) -> None:
    async with build_call(item.job, {}, context) as ready:
        request = ready.call.request
        hashes = await hashes_of(ready.inputs) if book.persistent else Hashes()
        entry = await book.claim(item, digest(item.job, hashes), request.weight, request.model)
    files = None
    if entry.answer is not None:
        files = await run_blocking(state_as_is, files_of(entry.answer, folder))
    if recovery.next_action(entry, files, terms.resume_policy(context.engine)) != "send":
        sums.resumed += 1
        return
    found = priced(ready.job, list_prices=context.engine.host.uses_list_prices)
    sums.sent += 1
    sums.images[request.model] += request.weight
    sums.unpriced += found.at_most is None
    sums.cost = None if sums.cost is None or found.cost is None else sums.cost + found.cost
    sums.at_most = None if sums.at_most is None or found.at_most is None else sums.at_most + found.at_most


DryRun.__module__ = "imagesdk"

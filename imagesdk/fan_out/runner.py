"""Start and end of a run. Options are checked before any job is read or sent."""

from __future__ import annotations

import os
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from attrs import evolve, frozen

from imagesdk._calls.build import ClientContext
from imagesdk._media.output import OutputTemplate, check_output, expand_local_path
from imagesdk._runtime.notify import Notifier
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import ConfigurationError
from imagesdk.events import RunStarted
from imagesdk.fan_out.breaker import Breaker
from imagesdk.fan_out.database import real_path
from imagesdk.fan_out.dry_run import dry_run
from imagesdk.fan_out.gate import Gate
from imagesdk.fan_out.job_source import JobReader
from imagesdk.fan_out.journal import FILE_NAME, Journal, open_journal
from imagesdk.fan_out.lanes import check_lane
from imagesdk.fan_out.options import RunOptions
from imagesdk.fan_out.outcomes import DryRun, Jobs
from imagesdk.fan_out.output_files import run_template
from imagesdk.fan_out.progress import run_ended
from imagesdk.fan_out.recovery import owner_of
from imagesdk.fan_out.run import AsyncRun
from imagesdk.fan_out.scheduler import Scheduler
from imagesdk.fan_out.spending import SpendingLimit, parse_budget
from imagesdk.fan_out.store import JobStore
from imagesdk.fan_out.worker import JobWorker
from imagesdk.jobs import Generate
from imagesdk.policies import RetryPolicy, is_positive
from imagesdk.remedies import Remedy

if TYPE_CHECKING:
    from imagesdk.fan_out.batch_lane import BatchLane

_LONGEST_WINDOW = 24 * 3600.0
"""Longest window of a rate limit, in seconds."""


@frozen
class Runner:
    """Factory for the runs of one client."""

    context: ClientContext

    @asynccontextmanager
    async def run(
        self, jobs: Jobs, *, defaults: Generate | None, options: RunOptions
    ) -> AsyncGenerator[AsyncRun, None]:
        """Process jobs until the block ends."""
        reader, template, path = _prepare(jobs, defaults, options)
        budget = None if options.budget is None else parse_budget(options.budget)
        async with AsyncExitStack() as stack:
            owner = ""
            if template is not None:
                if path is not None:
                    path = await run_blocking(real_path, path)
                    if not isinstance(template.folder, Path):
                        template = evolve(template, spool=path.parent)
                    owner = owner_of(path, template.temporary_folder)
                await run_blocking(check_output, template, owner)
            store = JobStore()
            spent = Decimal(0)
            if path is not None and template is not None:
                store = journal = await stack.enter_async_context(open_journal(path))
                await journal.recover(template)
                await self._count_sent(journal)
                if budget is not None:
                    spent = await journal.spent()
            changes = Notifier()
            spending = SpendingLimit(budget, spent)
            breaker = Breaker(options.give_up_after, options.stop_on == "fatal")
            gate = Gate(breaker, changes)
            run_id = secrets.token_hex(4)
            worker = JobWorker(self.context, options, template, store, spending, gate, changes, owner, run_id)
            lane = None
            if isinstance(store, Journal) and options.lane != "live":
                from imagesdk.fan_out.lane_setup import open_lane

                lane = await open_lane(reader, worker, store, changes, options)
            scheduler = Scheduler(
                lane or reader,
                worker,
                changes,
                concurrency=options.concurrency,
                bounded_memory=template is None,
                max_failures=options.max_failures,
            )
            stack.enter_context(self._observed(run_id, reader.total, scheduler))
            yield await stack.enter_async_context(_running(scheduler, lane))

    @contextmanager
    def _observed(self, run_id: str, total: int | None, scheduler: Scheduler) -> Generator[None]:
        """Report the start and the end of the run to the observers."""
        engine, error = self.context.engine, None
        if not engine.is_observed:
            yield
            return
        engine.observe(RunStarted(run_id, total))
        try:
            yield
        except BaseException as raised:
            error = type(raised).__name__ if isinstance(raised, Exception) else "Cancelled"
            raise
        finally:
            engine.observe(run_ended(run_id, scheduler.progress(), error))

    async def dry_run(self, jobs: Jobs, *, defaults: Generate | None, options: RunOptions) -> DryRun:
        """Predict a run, without sending or writing anything."""
        reader, _, path = _prepare(jobs, defaults, options)
        async with AsyncExitStack() as stack:
            store = JobStore()
            if path is not None and await run_blocking(path.exists):
                store = await stack.enter_async_context(open_journal(path, writes=False))
            return await dry_run(reader, self.context, store, options)

    async def _count_sent(self, journal: Journal) -> None:
        """Count images that an earlier process has sent against the rate limit."""
        now = time.time()
        by_model = defaultdict[str | None, list[tuple[int, float]]](list)
        for model, images, at in await journal.sent_since(now - _LONGEST_WINDOW):
            by_model[model].append((images, max(0.0, now - at)))
        for model, sendings in by_model.items():
            self.context.engine.remember(model, sendings)


def _prepare(
    jobs: Jobs, defaults: Generate | None, options: RunOptions
) -> tuple[JobReader, OutputTemplate | None, Path | None]:
    """Check the options of a run, and return its jobs, its parsed ``out=`` and the path of its journal."""
    for name in ("concurrency", "max_failures"):
        count = getattr(options, name)
        if count is not None and (type(count) is not int or count < 1):
            raise ConfigurationError.for_parameter(name, count, allowed="a whole number of at least 1")
    if options.give_up_after is not None and not is_positive(options.give_up_after):
        allowed = "a number of seconds greater than 0, or None"
        raise ConfigurationError.for_parameter("give_up_after", options.give_up_after, allowed=allowed)
    if options.stop_on not in {"fatal", "never"}:
        raise ConfigurationError.for_parameter("stop_on", options.stop_on, allowed='"fatal" or "never"')
    RetryPolicy(delivery=options.delivery)  # raises if delivery is not valid
    if options.unknown_price not in {"stop", "allow"}:
        allowed = '"stop" or "allow"'
        raise ConfigurationError.for_parameter("unknown_price", options.unknown_price, allowed=allowed)
    check_lane(options.lane, options.deadline, options.poll)
    reader = JobReader(jobs, defaults)
    template = None if options.out is None else run_template(options.out)
    path = _journal_path(options.journal, template)
    if path is None and options.lane != "live":
        summary = f"The lane {options.lane!r} needs output files and a journal: a batch can take a day, and must be found again."
        raise ConfigurationError(summary, param="lane", remedies=(Remedy.PASS_OUT,))
    return reader, template, path


def _journal_path(
    journal: str | os.PathLike[str] | bool | None, template: OutputTemplate | None
) -> Path | None:
    if journal is None or journal is False or (journal is True and template is None):
        return None
    if template is None:
        summary = "journal is given without out, but a journal records the output files of a run."
        raise ConfigurationError(summary, param="journal", remedies=(Remedy.PASS_OUT,))
    if journal is not True:
        return Path(expand_local_path("journal", journal, Remedy.PASS_LOCAL_JOURNAL))
    if isinstance(template.folder, Path):
        return template.folder / FILE_NAME
    summary = f"out is the URL {template.folder}, and the journal of a run must be a local file."
    raise ConfigurationError(summary, param="journal", remedies=(Remedy.PASS_LOCAL_JOURNAL,))


@asynccontextmanager
async def _running(scheduler: Scheduler, lane: BatchLane | None) -> AsyncGenerator[AsyncRun, None]:
    """Process jobs until the block ends, and cancel those in flight then. Raise the error that ended the run early."""
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    try:
        if lane is not None:
            tasks.start_soon(lane.run, scheduler)
        tasks.start_soon(scheduler.run, tasks)
        yield AsyncRun(scheduler)
    finally:
        # The task group would wrap an exception of the block in a group.
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)
    if scheduler.failure is not None:
        raise scheduler.failure

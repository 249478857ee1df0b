"""How a run begins and ends. What the caller asked for is looked at before anything is read or sent."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import anyio
from attrs import frozen

from imagesdk._calls.build import ClientContext
from imagesdk._media.output import check_writable, expand_output_path
from imagesdk._runtime.threads import run_blocking
from imagesdk.errors import ConfigurationError
from imagesdk.fan_out.dry_run import DryRun, dry_run
from imagesdk.fan_out.job_source import JobReader
from imagesdk.fan_out.journal import FILE_NAME, Journal, open_journal
from imagesdk.fan_out.options import Beside, RunOptions
from imagesdk.fan_out.outcomes import Jobs
from imagesdk.fan_out.output_files import destination_of
from imagesdk.fan_out.run import AsyncRun
from imagesdk.fan_out.scheduler import Scheduler
from imagesdk.fan_out.spending import SpendingLimit, parse_budget
from imagesdk.fan_out.store import JobStore, NullStore
from imagesdk.fan_out.worker import JobWorker
from imagesdk.jobs import Generate

_LONGEST_WINDOW = 24 * 3600.0
"""Seconds: no rate limit counts for longer."""


@frozen
class Runner:
    """What the runs of a client have in common."""

    context: ClientContext

    @asynccontextmanager
    async def run(
        self, jobs: Jobs, *, defaults: Generate | None, concurrency: int | None, terms: RunOptions
    ) -> AsyncGenerator[AsyncRun, None]:
        """Make jobs while the block runs.

        Raises:
            ConfigurationError: an option makes no sense.
            InvalidRequestError: the names of the files would not keep the jobs apart.
            JournalError: the journal is in use, or cannot be used.
            OSError: no files can be made where they are to go.
        """
        _check(concurrency, terms)
        limit = None if terms.budget is None else parse_budget(terms.budget)
        reader = JobReader(jobs, defaults)
        path = journal_of(terms)
        async with AsyncExitStack() as stack:
            if terms.out is not None:
                destination = destination_of(terms.out)
                await run_blocking(check_writable, destination.folder, destination.template)
            book: JobStore = NullStore()
            spent = Decimal(0)
            if path is not None:
                book = journal = await stack.enter_async_context(open_journal(path))
                await self._count_sent(journal)
                if limit is not None:
                    spent = await journal.spent()
            folder = Path() if path is None else path.parent
            maker = JobWorker(self.context, book, SpendingLimit(limit, spent), folder, terms)
            feeder = Scheduler(reader, maker, concurrency=concurrency, bounded_memory=terms.out is None)
            yield await stack.enter_async_context(_running(feeder))

    async def dry_run(self, jobs: Jobs, *, defaults: Generate | None, terms: RunOptions) -> DryRun:
        """Say what a run would do. Nothing is sent or written.

        Raises:
            ConfigurationError: an option makes no sense.
            InvalidRequestError: the names of the files would not keep the jobs apart.
            JournalError: the journal cannot be read.
        """
        _check(None, terms)
        reader = JobReader(jobs, defaults)
        path = journal_of(terms)
        async with AsyncExitStack() as stack:
            book: JobStore = NullStore()
            if path is not None and await run_blocking(path.exists):
                book = await stack.enter_async_context(open_journal(path, writes=False))
            folder = Path() if path is None else path.parent
            return await dry_run(reader, self.context, book, folder, terms)

    async def _count_sent(self, journal: Journal) -> None:
        """Have the rate limit know what the process before this one has sent."""
        now = time.time()
        for sending in await journal.sent_since(now - _LONGEST_WINDOW):
            self.context.engine.remember(sending.model, sending.images, max(0.0, now - sending.at))


def journal_of(terms: RunOptions) -> Path | None:
    """Return where the journal of a run is; ``None`` for a run without one.

    Raises:
        ConfigurationError: it has a journal and no files to go with it.
        InvalidRequestError: the names of the files would not keep the jobs apart.
    """
    if terms.out is None:
        if not isinstance(terms.journal, Beside) and terms.journal is not None:
            raise ConfigurationError(
                "A journal remembers the files of a run, so that journal= needs out= beside it: a folder, or a template."
            )
        return None
    if isinstance(terms.journal, Beside):
        return destination_of(terms.out).folder / FILE_NAME
    return None if terms.journal is None else Path(expand_output_path("journal", terms.journal))


def _check(concurrency: int | None, terms: RunOptions) -> None:
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ConfigurationError(
            f"concurrency is a whole number of at least 1, or None, not {concurrency!r}."
        )
    if terms.delivery not in {"at_least_once", "at_most_once"}:
        raise ConfigurationError(f'delivery is "at_least_once" or "at_most_once", not {terms.delivery!r}.')
    if terms.unknown_price not in {"stop", "allow"}:
        raise ConfigurationError(f'unknown_price is "stop" or "allow", not {terms.unknown_price!r}.')


@asynccontextmanager
async def _running(feeder: Scheduler) -> AsyncGenerator[AsyncRun, None]:
    """Make jobs while the block runs; what is under way when it is left is given up.

    Raises:
        Exception: what ended the run before its time, if the block has not been told, and has not failed itself.
    """
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    try:
        tasks.start_soon(feeder.run, tasks)
        yield AsyncRun(feeder)
    finally:
        # What the block raised is not for the group, which would wrap it.
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)
    if feeder.failure is not None:
        raise feeder.failure

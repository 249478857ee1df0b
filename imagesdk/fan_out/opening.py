"""How a run begins and ends. What the caller asked for is looked at before anything is read or sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
from attrs import frozen

from imagesdk._engine import Engine
from imagesdk._files import on_disk
from imagesdk._finishing import Finisher
from imagesdk._preparing import Defaults
from imagesdk._saving import check_writable
from imagesdk.errors import ConfigurationError
from imagesdk.fan_out.book import NoBook
from imagesdk.fan_out.feeding import Feeder
from imagesdk.fan_out.files import destination_of
from imagesdk.fan_out.making import JobMaker, Terms
from imagesdk.fan_out.outcomes import Jobs
from imagesdk.fan_out.reading import JobReader
from imagesdk.fan_out.run import AsyncRun
from imagesdk.jobs import Generate


@frozen(kw_only=True)
class Runner:
    """What the runs of a client have in common."""

    engine: Engine
    finisher: Finisher
    defaults: Defaults

    @asynccontextmanager
    async def run(
        self, jobs: Jobs, *, jobs_like: Generate | None, concurrency: int | None, terms: Terms
    ) -> AsyncGenerator[AsyncRun, None]:
        """Make jobs while the block runs.

        Raises:
            ConfigurationError: an option makes no sense.
            InvalidRequestError: the names of the files would not keep the jobs apart.
            OSError: no files can be made where they are to go.
        """
        _check_concurrency(concurrency)
        reader = JobReader(jobs, jobs_like)
        async with AsyncExitStack() as stack:
            folder = Path()
            if terms.out is not None:
                destination = destination_of(terms.out)
                folder = destination.folder
                await on_disk(check_writable, folder, destination.template)
            maker = JobMaker(self.engine, self.finisher, self.defaults, NoBook(), folder, terms)
            feeder = Feeder(reader, maker, concurrency=concurrency, holds_back=terms.out is None)
            yield await stack.enter_async_context(_running(feeder))


def _check_concurrency(concurrency: int | None) -> None:
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ConfigurationError(
            f"concurrency is a whole number of at least 1, or None, not {concurrency!r}."
        )


@asynccontextmanager
async def _running(feeder: Feeder) -> AsyncGenerator[AsyncRun, None]:
    """Make jobs while the block runs; what is under way when it is left is given up.

    Raises:
        Exception: what ended the run before its time, if the block has not been told, and has not failed itself.
    """
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    try:
        tasks.start_soon(feeder.feed, tasks)
        yield AsyncRun(feeder)
    finally:
        # What the block raised is not for the group, which would wrap it.
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)
    if feeder.failure is not None:
        raise feeder.failure

"""Run of many jobs, as users hold it."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Self

from imagesdk.fan_out.outcomes import Notice, Outcome, Progress

if TYPE_CHECKING:  # loaded by the first run
    from imagesdk.fan_out.scheduler import Scheduler

__all__ = ["AsyncRun"]


class AsyncRun:
    """Run of many jobs. Iterate over it for their outcomes as they finish. Created by ``client.images.fan_out``.

    Example:
        ```python
        async with client.images.fan_out(["a river", "a lake"], out="waters/") as run:
            async for outcome in run:
                print(outcome.status, outcome.id)
        ```
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._collected = False
        self._outcomes: list[Outcome] = []
        """Outcomes of a collection that an error has ended."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        """Wait for the next outcome. Several tasks may iterate: each outcome goes to one of them.

        These errors are raised after the last outcome.

        Raises:
            APIStatusError: If two answers in a row would hit every job (``stop_on="fatal"``); the run started no further job.
            RunStoppedError: If ``max_failures`` jobs failed, or no job succeeded for ``give_up_after`` seconds.
            JournalError: If the journal cannot be written; the run started no further job.
            CoordinationError: If the store of the shared limit cannot be used; the run started no further job.
            OSError: If images cannot be written; the run started no further job.
            Exception: If the iterator of the jobs raised it.
        """
        outcome = await self._scheduler.next()
        if outcome is None:
            raise StopAsyncIteration
        return outcome

    async def collect(self) -> list[Outcome]:
        """Wait for all outcomes that were not taken yet. Return them in the order of the jobs.

        A run can be collected once, because it does not keep the outcomes. If ``collect`` raises an error that ended the
        run, call it again: it returns the outcomes so far.

        Raises:
            RuntimeError: If the run was collected before.
            APIStatusError: If two answers in a row would hit every job (``stop_on="fatal"``); the run started no further job.
            RunStoppedError: If ``max_failures`` jobs failed, or no job succeeded for ``give_up_after`` seconds.
            JournalError: If the journal cannot be written; the run started no further job.
            CoordinationError: If the store of the shared limit cannot be used; the run started no further job.
            OSError: If images cannot be written; the run started no further job.
            Exception: If the iterator of the jobs raised it.
        """
        if self._collected:
            raise RuntimeError(
                "The outcomes of this run were collected before, and are not kept: keep the list that collect() returned."
            )
        async for outcome in self:
            self._outcomes.append(outcome)
        self._collected = True
        outcomes, self._outcomes = self._outcomes, []
        outcomes.sort(key=attrgetter("place"))
        return outcomes

    @property
    def progress(self) -> Progress:
        """Snapshot of the run. It returns at once, from any thread."""
        return self._scheduler.progress()

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Advice about the run, such as how to reserve less of its budget. It may come with the first job."""
        return self._scheduler.notices

    def stop(self) -> None:
        """Start no further job. Jobs in flight finish, and iteration ends with them. Callable from any thread."""
        self._scheduler.stop()


AsyncRun.__module__ = "imagesdk"

"""``client.images.fan_out``: what users hold of a run."""

from __future__ import annotations

from typing import Self

from imagesdk.fan_out.outcomes import Outcome, Progress
from imagesdk.fan_out.scheduler import Scheduler

__all__ = ["AsyncRun"]


class AsyncRun:
    """Many jobs under way: iterate over it for their outcomes as they finish. Made by ``client.images.fan_out``.

    Example:
        async with client.images.fan_out(["a river", "a lake"], out="waters/") as run:
            async for outcome in run:
                print(outcome.status, outcome.id)
    """

    def __init__(self, feeder: Scheduler) -> None:
        self._feeder = feeder
        self._collected = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        """Wait for the next outcome. Several tasks may iterate: each outcome goes to one of them.

        Raises:
            JournalError: the journal cannot be written; no further job was begun.
            OSError: pictures cannot be written; no further job was begun.
            Exception: what the iterator of the jobs raised. Like the others, after the last outcome.
        """
        outcome = await self._feeder.next()
        if outcome is None:
            raise StopAsyncIteration
        return outcome

    async def collect(self) -> list[Outcome]:
        """Wait for all outcomes that were not taken yet, and return them in the order of the jobs. Once: keep the list.

        Raises:
            RuntimeError: they were collected before.
            JournalError: as on iteration, and likewise for the others.
            OSError: pictures cannot be written.
            Exception: what the iterator of the jobs raised.
        """
        if self._collected:
            raise RuntimeError(
                "The outcomes of this run were collected before, and are not kept: keep the list that collect() returned."
            )
        outcomes = [outcome async for outcome in self]
        self._collected = True
        outcomes.sort(key=_place)
        return outcomes

    @property
    def progress(self) -> Progress:
        """How far it has come. Immediate, from any thread."""
        return self._feeder.progress()

    def stop(self) -> None:
        """Begin no further job, and let those under way finish: iteration ends with them. From any thread."""
        self._feeder.stop()


def _place(outcome: Outcome) -> int:
    return outcome.place


AsyncRun.__module__ = "imagesdk"

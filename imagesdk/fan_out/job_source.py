"""Reader of the jobs of a run, one by one. The scheduler reads a job only when it can start.

=========================================  ==============================================
jobs                                       each step
=========================================  ==============================================
list, tuple, set, dict, deque              on the event loop
async iterable                             awaited
any other iterable (it may block)          in a worker thread
=========================================  ==============================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterator, Sized
from contextlib import suppress
from typing import Any, Final, cast

import anyio
import anyio.to_thread
import attrs
from attrs import frozen

from imagesdk.errors import InvalidRequestError, excerpt
from imagesdk.fan_out.outcomes import JobLike, Jobs, Labelled, LaneProgress
from imagesdk.jobs import Edit, Generate, Job, Variation

_IN_MEMORY = (list, tuple, set, frozenset, dict, deque)
_LONGEST_ID = 200
_END: Final = object()
ODD_VALUES = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""Errors of a job whose values are of kinds that no check expects."""


@frozen
class Item:
    """One job and its place in the list, counted from 0."""

    place: int
    job: Job
    """The job, or what was given in the place of one if there is a ``problem``."""
    label: str | None
    problem: InvalidRequestError | None = None
    """Why it is not a valid job."""


class JobReader:
    """Reader of jobs.

    Raises:
        TypeError: If ``jobs`` is a single job or is not iterable.
    """

    counts_jobs: bool = False
    """Whether the reader, rather than the scheduler, counts the jobs that were read."""
    lane: LaneProgress | None = None
    """The batches of the run: none."""

    def __init__(self, jobs: Jobs, defaults: Generate | None) -> None:
        if isinstance(jobs, (str, bytes, Generate, Edit, Variation, Labelled)):
            given = type(jobs).__name__
            raise TypeError(f"fan_out takes several jobs, such as a list of them, not one {given}.")
        self.total: int | None
        self.total = len(jobs) if isinstance(jobs, Sized) else None
        """Number of jobs, if ``jobs`` has a length."""
        self._defaults = defaults
        self._read = 0
        self._awaited: AsyncIterator[JobLike] | None = None
        self._stepped: Iterator[JobLike] | None = None
        self._blocks = not isinstance(jobs, _IN_MEMORY)
        self._closed = False
        if isinstance(jobs, AsyncIterable):
            self._awaited = aiter(jobs)
        else:
            self._stepped = iter(jobs)
        self._generator: Any = self._stepped if _is_started(self._stepped, jobs) else None
        self._limiter: anyio.CapacityLimiter | None = None

    async def next(self) -> Item | None:
        """Return the next job, or ``None`` after the last one. Raise what the iterator raises."""
        given = await self._given()
        if given is _END:
            return None
        self._read += 1
        return as_item(given, self._read - 1, self._defaults)

    def measure_call(self, seconds: float) -> None:
        """Do nothing: only a lane with a deadline needs the time of a call."""

    async def aclose(self) -> None:
        """Close a generator that was not read to its end: an async one, or one that ``iter(jobs)`` started."""
        self._closed = True
        close: Callable[[], Awaitable[None]] | None = getattr(self._awaited, "aclose", None)
        if close is not None:
            await close()
        if self._generator is not None:
            await anyio.to_thread.run_sync(self._close_generator, abandon_on_cancel=True)

    def _close_generator(self) -> None:
        # ValueError: the thread of a cancelled run is in it still, and closes it in _step().
        if self._generator is not None:
            with suppress(ValueError):
                self._generator.close()

    async def _given(self) -> object:
        if self._awaited is not None:
            return await anext(self._awaited, _END)
        assert self._stepped is not None  # noqa: S101 - __init__ sets one of the two
        if not self._blocks:
            return next(self._stepped, _END)
        # The iterator may block forever, for example on a pipe. A cancelled run leaves that thread behind.
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(
            self._step, self._stepped, limiter=self._limiter, abandon_on_cancel=True
        )

    def _step(self, iterator: Iterator[JobLike]) -> object:
        try:
            return next(iterator, _END)
        finally:
            if self._closed:
                self._close_generator()


def _is_started(iterator: object, jobs: object) -> bool:
    """Return whether ``iter(jobs)`` started a generator, which nobody else closes."""
    return isinstance(iterator, Generator) and iterator is not jobs


def as_item(given: object, place: int, defaults: Generate | None) -> Item:
    """Convert what the caller gave to an :class:`Item`."""
    label, job = (given.id, given.job) if isinstance(given, Labelled) else (None, cast("Job | str", given))
    try:
        if label is not None:
            check_label(label)
        if isinstance(job, str):
            return Item(
                place, Generate(job) if defaults is None else attrs.evolve(defaults, prompt=job), label
            )
        if not isinstance(cast("object", job), Job):
            kind, allowed = (
                f"a {type(job).__name__}",
                "Generate, Edit or Variation, a prompt, or Labelled(id, job)",
            )
            raise InvalidRequestError.for_parameter("job", kind, allowed=allowed, shown=kind)
    except InvalidRequestError as problem:
        return Item(place, cast("Job", job), None, problem)
    return Item(place, job, label)


def odd_value(error: Exception) -> InvalidRequestError:
    """Return the error of a job that no check expects."""
    summary = f"This job cannot be turned into a request ({type(error).__name__}: {excerpt(str(error))})."
    return InvalidRequestError(summary)


def is_label(label: object) -> bool:
    """Return whether a value can name a job."""
    return isinstance(label, str) and 0 < len(label) <= _LONGEST_ID and label.isprintable()


def check_label(label: Any) -> None:
    """Raise ``InvalidRequestError`` if the label of a job is empty, too long, or has more than one line."""
    if not is_label(label):
        allowed = f"one line of 1 to {_LONGEST_ID} printable characters"
        raise InvalidRequestError.for_parameter("id", label, allowed=allowed)

"""The jobs of a run, one by one, from whatever holds them.

Rule: nothing is read before there is room for it. What is in memory is read as it is; another iterator may block (it may
read a file, or a database), so that each of its steps is made in a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sized
from typing import Any, Final

import anyio
import anyio.to_thread
import attrs
from attrs import frozen

from imagesdk.errors import InvalidRequestError
from imagesdk.fan_out.outcomes import JobLike, Jobs, Labelled
from imagesdk.jobs import Edit, Generate, Job, Variation

_IN_MEMORY = (list, tuple, set, frozenset, dict, deque)
_LONGEST_ID = 200
_END: Final = object()


@frozen
class Item:
    """One job, and where it stands."""

    place: int
    job: Job
    label: str | None


class JobReader:
    """Reads jobs.

    Raises:
        TypeError: they are nothing that jobs can be read from.
    """

    def __init__(self, jobs: Jobs, defaults: Generate | None) -> None:
        if isinstance(jobs, (str, bytes, Generate, Edit, Variation, Labelled)):
            raise TypeError(
                f"fan_out takes several jobs, such as a list of them, not one {type(jobs).__name__}."
            )
        self.total = len(jobs) if isinstance(jobs, Sized) else None
        """How many there are, where that is known beforehand."""
        self._defaults = defaults
        self._read = 0
        self._awaited: AsyncIterator[JobLike] | None = None
        self._stepped: Iterator[JobLike] | None = None
        self._blocks = not isinstance(jobs, _IN_MEMORY)
        if isinstance(jobs, AsyncIterable):
            self._awaited = aiter(jobs)
        else:
            self._stepped = iter(jobs)
        self._limiter: anyio.CapacityLimiter | None = None

    async def next(self) -> Item | None:
        """Return the next job; ``None`` after the last one.

        Raises:
            TypeError: it is no job.
            Exception: whatever the iterator raises.
        """
        given = await self._given()
        if given is _END:
            return None
        place = self._read
        self._read += 1
        return as_item(given, place, self._defaults)

    async def aclose(self) -> None:
        """End an async generator that was not read to its end."""
        close: Callable[[], Awaitable[None]] | None = getattr(self._awaited, "aclose", None)
        if close is not None:
            await close()

    async def _given(self) -> object:
        if self._awaited is not None:
            return await anext(self._awaited, _END)
        assert self._stepped is not None  # noqa: S101 - it is the one or the other
        if not self._blocks:
            return next(self._stepped, _END)
        # It may wait for ever for the other end of a pipe: then the thread is left behind, and nobody misses it.
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(
            next, self._stepped, _END, limiter=self._limiter, abandon_on_cancel=True
        )


def as_item(given: object, place: int, defaults: Generate | None) -> Item:
    """Return what was given as a job.

    Raises:
        TypeError: it is no job.
        InvalidRequestError: its name cannot be one.
    """
    label, job = (given.id, given.job) if isinstance(given, Labelled) else (None, given)
    if label is not None:
        check_label(label)
    if isinstance(job, str):
        return Item(place, Generate(job) if defaults is None else attrs.evolve(defaults, prompt=job), label)
    if isinstance(job, (Generate, Edit, Variation)):
        return Item(place, job, label)
    raise TypeError(
        f"job {place} (counted from 0) is a {type(job).__name__}; pass Generate, Edit or Variation, a prompt, or "
        "Labelled(id, job)."
    )


def check_label(label: Any) -> None:
    """Refuse what cannot be the name of a job.

    Raises:
        InvalidRequestError: it is empty, too long, or more than a line.
    """
    if not isinstance(label, str) or not 0 < len(label) <= _LONGEST_ID or not label.isprintable():
        allowed = f"one line of 1 to {_LONGEST_ID} printable characters"
        raise InvalidRequestError.for_parameter("id", label, allowed=allowed)

"""What a scenario is made of: cases, the goals they are held to, and what a sample of one brings back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, TypeAlias

from attrs import field, frozen

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import Caller, Opener
from tests.benchmarks.meter import Readings, measured

BASELINE = "openai"
"""The contender that all are read against."""

Unit: TypeAlias = Literal["ms", "MB", "x", ""]


@frozen
class Goal:
    """A limit that a contender is to keep."""

    contender: str
    measure: str
    """``wall``, ``cpu``, ``rss``, ``lag``, or the name of a count."""
    limit: float
    """At most this: milliseconds, megabytes, a number, or a share of what the baseline took."""
    relative: bool = False
    """Whether the limit is a share of the baseline's."""


@frozen
class Trial:
    """What the work of one sample is given."""

    folder: Path
    """Empty, and the sample's own."""
    readings: Readings
    counts: dict[str, float]
    """Numbers beside the readings, by a name for the table: the fewer, the better."""
    ticker: bool

    def measured(self) -> AbstractAsyncContextManager[None]:
        """Measure the block. What stands before it is preparation."""
        return measured(self.readings, ticker=self.ticker)


@frozen
class Case:
    """A piece of work for contenders that call a server from one event loop."""

    name: str
    title: str
    work: Callable[[Caller, Trial], Awaitable[None]]
    contenders: Mapping[str, Opener]
    answer: Answer = Answer()  # noqa: RUF009 - a frozen value
    tls: bool = False
    warm: bool = True
    """Whether another client of the process has called before."""
    ticker: bool = True
    """Whether to measure the lag of the loop."""
    goals: tuple[Goal, ...] = ()
    note: str = ""
    """A line under the table."""


@frozen
class ProgramCase:
    """A piece of work for a whole interpreter: programs that print how many seconds something took.

    A program is given the base URL of a server with TLS and the certificate to trust as its arguments.
    """

    name: str
    title: str
    contenders: Mapping[str, str]
    """The text of each contender's program."""
    goals: tuple[Goal, ...] = ()
    note: str = ""


AnyCase: TypeAlias = Case | ProgramCase


@frozen
class Sample:
    """One contender's doing a case once."""

    readings: Readings = field(factory=Readings)
    counts: Mapping[str, float] = field(factory=dict[str, float])
    failure: str | None = None
    """Why there are no readings."""

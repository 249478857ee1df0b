"""The cases of all scenarios, their goals, and what a sample of one brings back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from attrs import field, frozen

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import Caller, Opener
from tests.benchmarks.meter import Readings, measured


@frozen
class Goal:
    """A limit that a contender is to keep."""

    contender: str
    measure: str
    limit: float
    """At most this: milliseconds, megabytes, a number, or a share of what the baseline took."""
    relative: bool


def goals(*contenders: str, **limits: float | str) -> tuple[Goal, ...]:
    """Return a goal for each measure and contender; the limit ``"0.4x"`` is a share of the baseline's."""
    return tuple(
        Goal(contender, measure, float(str(limit).removesuffix("x")), isinstance(limit, str))
        for measure, limit in limits.items()
        for contender in contenders
    )


@frozen
class Trial:
    """What the work of one sample is given."""

    folder: Path
    """Empty, and the sample's own."""
    answer: Answer
    ticker: bool
    readings: Readings = field(factory=Readings)
    counts: dict[str, float] = field(factory=dict[str, float])
    """Numbers beside the readings, by a name for the table: the fewer, the better."""

    def measured(self) -> AbstractAsyncContextManager[None]:
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
    goals: tuple[Goal, ...] = ()
    note: str = ""


@frozen
class ProgramCase:
    """A piece of work for a whole interpreter: programs that print how many seconds something took.

    A program is given the base URL of a server with TLS and the certificate to trust as its arguments.
    """

    name: str
    title: str
    contenders: Mapping[str, str]
    goals: tuple[Goal, ...] = ()
    note: str = ""


AnyCase: TypeAlias = Case | ProgramCase


@frozen
class Sample:
    """One contender's doing a case once."""

    readings: Readings = field(factory=Readings)
    counts: Mapping[str, float] = field(factory=dict[str, float])
    failure: str | None = None


_SCENARIOS = (
    *("answers", "concurrency", "uploads", "streams", "overhead", "stacks", "startup", "cancellation"),
    *("deadlines", "limits", "line", "path", "batches"),
)


def every(*, quick: bool) -> list[AnyCase]:
    modules = [import_module(f"tests.benchmarks.bench_{name}") for name in _SCENARIOS]
    return [case for module in modules for case in module.cases(quick=quick)]


def select(names: Iterable[str], *, quick: bool) -> list[AnyCase]:
    """Return the cases whose names begin with one of ``names``; all of them for no names."""
    found = every(quick=quick)
    names = tuple(names)
    for name in names:
        if not any(case.name.startswith(name) for case in found):
            raise LookupError(f"there is no {name!r}; there are {', '.join(case.name for case in found)}")
    return [case for case in found if not names or case.name.startswith(names)]

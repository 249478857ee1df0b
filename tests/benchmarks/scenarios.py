"""The list of all scenarios, and how to find a case in it."""

from __future__ import annotations

from collections.abc import Iterable

from tests.benchmarks import (
    bench_answers,
    bench_cancellation,
    bench_concurrency,
    bench_deadlines,
    bench_limits,
    bench_line,
    bench_overhead,
    bench_path,
    bench_stacks,
    bench_startup,
    bench_streams,
    bench_uploads,
)
from tests.benchmarks.cases import AnyCase


def every(*, quick: bool) -> list[AnyCase]:
    """Return all cases in the order of the tables."""
    modules = (
        bench_answers,
        bench_concurrency,
        bench_uploads,
        bench_streams,
        bench_overhead,
        bench_stacks,
        bench_startup,
        bench_cancellation,
        bench_deadlines,
        bench_limits,
        bench_line,
        bench_path,
    )
    return [case for module in modules for case in module.cases(quick=quick)]


def find(name: str, *, quick: bool) -> AnyCase:
    """Return the case of that name."""
    return next(case for case in every(quick=quick) if case.name == name)


def select(names: Iterable[str], *, quick: bool) -> list[AnyCase]:
    """Return the cases whose names begin with one of ``names``; all of them for no names.

    Raises:
        LookupError: no case begins with a name.
    """
    found = every(quick=quick)
    names = tuple(names)
    for name in names:
        if not any(case.name.startswith(name) for case in found):
            raise LookupError(f"there is no {name!r}; there are {', '.join(case.name for case in found)}")
    return [case for case in found if not names or case.name.startswith(names)]

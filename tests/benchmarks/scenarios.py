"""The list of all scenarios, and how to find a case in it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from tests.benchmarks.cases import AnyCase

_NAMES = (
    *("answers", "concurrency", "uploads", "streams", "overhead", "stacks", "startup", "cancellation"),
    *("deadlines", "limits", "line"),
)


def every(*, quick: bool) -> list[AnyCase]:
    """Return all cases in the order of the tables."""
    modules = [import_module(f"tests.benchmarks.bench_{name}") for name in _NAMES]
    return [case for module in modules for case in module.cases(quick=quick)]


def select(names: Iterable[str], *, quick: bool) -> list[AnyCase]:
    """Return the cases whose names begin with one of ``names``; all of them for no names.

    Raises:
        LookupError: If no case begins with a name.
    """
    found = every(quick=quick)
    names = tuple(names)
    for name in names:
        if not any(case.name.startswith(name) for case in found):
            raise LookupError(f"there is no {name!r}; there are {', '.join(case.name for case in found)}")
    return [case for case in found if not names or case.name.startswith(names)]

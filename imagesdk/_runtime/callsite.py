"""Warnings at the line of the user's code that called the package.

The line is that of the first frame outside this package and the libraries that run it. A blocking call runs in another
thread than its caller, without such a frame: there the line is carried in the context of the call.
"""

from __future__ import annotations

import inspect
import warnings
from contextvars import ContextVar
from typing import NamedTuple

_SKIPPED = frozenset(
    {"imagesdk", "contextlib", "asyncio", "anyio", "trio", "outcome", "concurrent", "threading"}
)
"""Packages whose frames lie between the package and the line of the user."""


class _Line(NamedTuple):
    file: str
    number: int
    module: str


_carried: ContextVar[_Line | None] = ContextVar("imagesdk_calling_line", default=None)


def carry() -> None:
    """Store the line of the caller in the current context."""
    line = _user_line()
    if line is not None:
        _carried.set(line)


def warn(warning: Warning) -> None:
    """Warn at the line of the user, or at the line of this call where there is none."""
    line = _user_line() or _carried.get()
    if line is None:
        warnings.warn(warning, stacklevel=2)
    else:
        warnings.warn_explicit(warning, type(warning), line.file, line.number, line.module)


def _user_line() -> _Line | None:
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in _SKIPPED:
            return _Line(frame.f_code.co_filename, frame.f_lineno, module)
        frame = frame.f_back
    return None

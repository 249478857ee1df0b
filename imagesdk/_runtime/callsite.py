"""The line of the user's code that led to a call of ours, for warnings to point at.

It is found by walking up the frames until one is not of this package or of what runs it. A blocking call is made in
another thread than its caller's, where no such frame is: the line is carried there in the context of the call.
"""

from __future__ import annotations

import inspect
import warnings
from contextvars import ContextVar
from typing import NamedTuple

_BETWEEN = frozenset(
    {"imagesdk", "contextlib", "asyncio", "anyio", "trio", "outcome", "concurrent", "threading"}
)
"""Packages whose frames stand between a call of ours and the line of the user that led to it."""


class _Line(NamedTuple):
    file: str
    number: int
    module: str


_carried: ContextVar[_Line | None] = ContextVar("imagesdk_calling_line", default=None)


def carry() -> None:
    """Have what runs in the present context know the line from which this is called."""
    line = _found()
    if line is not None:
        _carried.set(line)


def warn(warning: Warning) -> None:
    """Warn at the line of the user; where none is in sight, at our own."""
    line = _found() or _carried.get()
    if line is None:
        warnings.warn(warning, stacklevel=2)
    else:
        warnings.warn_explicit(warning, type(warning), line.file, line.number, line.module)


def _found() -> _Line | None:
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in _BETWEEN:
            return _Line(frame.f_code.co_filename, frame.f_lineno, module)
        frame = frame.f_back
    return None

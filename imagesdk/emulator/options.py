"""Options of an emulator: their names and types, and how a JSON object of them is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import TypedDict, cast

__all__ = ["EmulatorOptions", "read_options"]


class EmulatorOptions(TypedDict, total=False):
    """Options of an emulator, which :func:`~imagesdk.emulator.create_app` describes."""

    limit: str | None
    seed: int
    as_of: date | None
    require_key: bool
    done_marker: bool
    verified: bool
    clock: Callable[[], float]
    quirks: str | None
    upload_limit: str | None
    file_ranges: bool
    batch_delay: float
    batch_tokens: int | None
    batch_drawings: int
    poll_after_ms: int | None
    webhook_url: str | None
    webhook_secret: str


_TEXTS = frozenset({"limit", "quirks", "upload_limit", "webhook_url", "webhook_secret"})
_FLAGS = frozenset({"require_key", "done_marker", "verified", "file_ranges"})
_NUMBERS = frozenset({"seed", "batch_delay", "batch_tokens", "batch_drawings", "poll_after_ms"})


def read_options(given: Mapping[str, object]) -> EmulatorOptions:
    """Read options from a JSON object. ``as_of`` is a date such as ``"2026-12-01"``.

    Raises:
        ValueError: If a name is not known, or a value is not of its type.
    """
    options: dict[str, object] = {}
    for name, value in given.items():
        if name == "as_of":
            options[name] = None if value is None else date.fromisoformat(str(value))
            continue
        kind = str if name in _TEXTS else bool if name in _FLAGS else int if name in _NUMBERS else None
        if kind is None:
            known = ", ".join(sorted({"as_of", *_TEXTS, *_FLAGS, *_NUMBERS}))
            raise ValueError(f"an option is one of {known}, not {name!r}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (value is None or (number if kind is int else isinstance(value, kind))):
            raise ValueError(f"{name} has a value of the wrong type: {value!r}")
        options[name] = value
    return cast("EmulatorOptions", options)

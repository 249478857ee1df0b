"""JSON values: parsing within limits, serialization, type guards and conversions of fields.

A text that may have too many values is refused before it is parsed, by counting its commas and brackets. So the time of
parsing, and of every function that walks over a parsed response, is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeGuard

MAX_DEPTH = 100
"""Maximum nesting of a response. Recursive functions over parsed responses rely on it."""
MAX_VALUES = 20_000
"""Maximum number of values in a response."""


class TooManyValuesError(ValueError):
    """A JSON text with more values than a limit."""


def count_values(content: bytes | bytearray) -> int:
    """Return a number that the values of a JSON text do not exceed by more than one."""
    return content.count(b",") + content.count(b"[") + content.count(b"{")


def parse_json(content: bytes, *, max_values: int = MAX_VALUES) -> Any:
    """Parse a JSON text.

    Raises:
        TooManyValuesError: If the text may have more than ``max_values`` values.
        RecursionError: If the text is nested deeper than :data:`MAX_DEPTH`.
        ValueError: If the text is not JSON.
    """
    marks = count_values(content)
    if marks > max_values:
        raise TooManyValuesError(f"more than {max_values} values")
    value = json.loads(content)
    if marks > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise RecursionError(f"nested deeper than {MAX_DEPTH}")
    return value


def dump_json(value: object) -> bytes:
    """Serialize a value as compact JSON. Raise ``ValueError`` if JSON cannot represent it, or it is too deep."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value is a JSON array."""
    return isinstance(value, list)


def text(value: object) -> str | None:
    """Convert a value that should be a text to ``str``. ``None`` stays ``None``."""
    return value if isinstance(value, str) else None if value is None else str(value)


def timestamp(value: object) -> datetime | None:
    """Convert seconds since 1970, a number or digits, to a datetime. Return ``None`` for any other value."""
    if not isinstance(value, (int, float, str)):
        return None
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _is_deeper(value: object, depth: int) -> bool:
    level: list[Any] = [value]
    for _ in range(depth):
        level = [inner for item in level for inner in _items(item)]
    return any(is_object(item) or is_list(item) for item in level)


def _items(value: object) -> Iterable[Any]:
    return value.values() if is_object(value) else value if is_list(value) else ()

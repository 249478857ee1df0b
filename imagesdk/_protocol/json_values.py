"""JSON values: parsing with a depth limit, serialization, type guards and conversions of fields."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeGuard

MAX_DEPTH = 100
"""Maximum nesting of a response. Recursive functions over parsed responses rely on it."""


def parse_json(content: bytes) -> Any:
    """Parse a JSON text. Raise ``RecursionError`` if it is nested deeper than :data:`MAX_DEPTH`."""
    value = json.loads(content)
    if _is_deeper(value, MAX_DEPTH):
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
    items = value.values() if is_object(value) else value if is_list(value) else None
    return items is not None and (depth == 0 or any(_is_deeper(item, depth - 1) for item in items))

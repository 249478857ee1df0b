"""JSON: to a server, and from it with a limit on its depth, told apart in a form that type checkers follow."""

from __future__ import annotations

import json
from typing import Any, TypeGuard

MAX_DEPTH = 100
"""How deeply an answer may be nested. None needs a tenth of it; whoever walks through one relies on it."""


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested deeper than :data:`MAX_DEPTH`.
    """
    value = json.loads(content)
    if _is_deeper(value, MAX_DEPTH):
        raise RecursionError(f"nested deeper than {MAX_DEPTH}")
    return value


def dump_json(value: object) -> bytes:
    """Return a value as compact JSON.

    Raises:
        ValueError: JSON has nothing for it, or it is nested too deeply.
    """
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
    """Return a value that should be a text as one; ``None`` stays ``None``."""
    return value if isinstance(value, str) else None if value is None else str(value)


def _is_deeper(value: object, depth: int) -> bool:
    items = value.values() if is_object(value) else value if is_list(value) else None
    return items is not None and (depth == 0 or any(_is_deeper(item, depth - 1) for item in items))

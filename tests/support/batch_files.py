"""Files and requests of the Batch API, for tests of the emulator and of its clients."""

from __future__ import annotations

import json
from collections.abc import Iterable

__all__ = ["EDITS", "GENERATIONS", "edit_line", "jsonl", "line"]

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"


def line(custom_id: str, **body: object) -> dict[str, object]:
    """Return the cheapest generation."""
    request = {"model": "gpt-image-2", "prompt": f"an otter {custom_id}", "quality": "low", **body}
    return {"custom_id": custom_id, "method": "POST", "url": GENERATIONS, "body": request}


def edit_line(custom_id: str, **body: object) -> dict[str, object]:
    """Return an edit, whose images a test names."""
    return {**line(custom_id, **body), "url": EDITS}


def jsonl(lines: Iterable[object]) -> bytes:
    """Return JSON lines."""
    return "".join(f"{json.dumps(one)}\n" for one in lines).encode()

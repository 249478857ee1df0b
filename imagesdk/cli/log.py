"""``imagesdk log JOURNAL``: what a run has done so far."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import OK
from imagesdk.cli.remedies import in_words
from imagesdk.cli.session import flag, note

if TYPE_CHECKING:
    from imagesdk.fan_out.store import JobRecord

_PROMPT_SHOWN = 60
_BILLED = frozenset({"sending", "received", "done", "unknown"})
"""States of jobs that were or may have been billed."""


def run(options: Namespace) -> int:
    """Print its jobs, one a line; with ``--json`` all that is known of each."""
    from imagesdk.cli.batch_display import spent
    from imagesdk.fan_out.journal import FILE_NAME, read_records

    path = Path(options.path)
    path = path / FILE_NAME if path.is_dir() else path
    states, cost, unpriced = Counter[str](), Decimal(0), 0
    for entry in read_records(path):
        states[entry.state] += 1
        cost += Decimal(entry.cost or 0)
        unpriced += entry.cost is None and entry.state in _BILLED
        if options.state is None or entry.state == options.state:
            print(
                json.dumps(_facts(entry, path.parent, options))
                if flag(options, "json")
                else _line(entry, path.parent, options)
            )
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no jobs"
    note(options, f"{counts}; {spent(cost, unpriced)}")
    return OK


def _line(entry: JobRecord, folder: Path, options: Namespace) -> str:
    prompt = _printable(" ".join(str(entry.params.get("prompt", entry.kind)).split()))
    prompt = prompt if len(prompt) <= _PROMPT_SHOWN else f"{prompt[: _PROMPT_SHOWN - 1]}…"
    found = ", ".join(_paths(entry, folder)) or _printable((_error(entry, options) or {}).get("message", ""))
    return f"{entry.state:<9}{entry.id:<16}{prompt:<{_PROMPT_SHOWN}}  {found}".rstrip()


def _error(entry: JobRecord, options: Namespace) -> dict[str, Any] | None:
    """Return the error of a job, with its message in the words of the command line."""
    if entry.error is None:
        return None
    from imagesdk.fan_out.serialization import error_of

    return {**entry.error, "message": in_words(error_of(entry.error), options)}


def _printable(text: str) -> str:
    """Take out what a terminal would obey."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _paths(entry: JobRecord, folder: Path) -> list[str]:
    images = (entry.response or {}).get("images", [])
    return [str(folder / image["file"]["path"]) for image in images if "file" in image]


def _facts(entry: JobRecord, folder: Path, options: Namespace) -> dict[str, Any]:
    sent = entry.sent_at
    answer = entry.response or {}
    return {
        "id": entry.id,
        "state": entry.state,
        "kind": entry.kind.lower(),
        "parameters": entry.params,
        "images": entry.images,
        "paths": _paths(entry, folder),
        "sha256": [image["file"]["sha256"] for image in answer.get("images", []) if "file" in image],
        "cost_usd": entry.cost,
        "usage": answer.get("usage"),
        "request_id": answer.get("request_id"),
        "idempotency_key": entry.idempotency_key,
        "sent_at": None if sent is None else datetime.fromtimestamp(sent, UTC).isoformat(),
        "error": _error(entry, options),
    }

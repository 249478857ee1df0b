"""``imagesdk log JOURNAL``: list the jobs of a run, check the journal, or let refused and failed jobs rest."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import FAILED, OK, UsageError
from imagesdk.cli.remedies import error_text
from imagesdk.cli.session import has_flag, note, print_json

if TYPE_CHECKING:
    from imagesdk.fan_out.store import JobRecord

_MAX_PROMPT = 60
_BILLED = frozenset({"sending", "received", "done", "unknown"})
"""The states of jobs that are or may be billed."""


def run(options: Namespace) -> int:
    """Print one line per job. ``--json`` prints all facts."""
    from imagesdk.cli.batch_display import format_cost
    from imagesdk.fan_out.database import real_path
    from imagesdk.fan_out.journal import FILE_NAME, read_records

    path = Path(options.path)
    is_folder = path.is_dir()
    path = path / FILE_NAME if is_folder else path
    if not path.exists():
        what = f"no {FILE_NAME} in" if is_folder else "no journal"
        raise FileNotFoundError(f"{what} {options.path!r}: pass the --out folder of a batch")
    path = real_path(path)
    if options.check:
        return _check(path, options)
    if options.ack:
        return _acknowledge(path, options)
    states, cost, unpriced = Counter[str](), Decimal(0), 0
    for record in read_records(path):
        states[record.state] += 1
        cost += Decimal(record.cost or 0)
        unpriced += record.cost is None and record.state in _BILLED
        if options.state is None or record.state == options.state:
            if has_flag(options, "json"):
                print_json(facts_of(record, path.parent, options))
            else:
                print(_line(record, path.parent, options))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no jobs"
    note(options, f"{counts}; {format_cost(cost, unpriced)}")
    return OK


def _check(path: Path, options: Namespace) -> int:
    """Print the damaged rows of a journal."""
    from imagesdk.fan_out.journal import check_journal

    errors = check_journal(path)
    for error in errors:
        text = error_text(error, options)
        print_json({"error": text}) if has_flag(options, "json") else print(text)
    note(options, f"{len(errors)} damaged rows" if errors else f"{path} is sound")
    return FAILED if errors else OK


def _acknowledge(path: Path, options: Namespace) -> int:
    """Let refused and failed jobs rest, or those in one of the two states."""
    from imagesdk.fan_out.journal import acknowledge

    if options.state not in {None, "refused", "failed"}:
        raise UsageError(f"--ack is for refused and failed jobs, not for {options.state} ones")
    count = acknowledge(path) if options.state is None else acknowledge(path, (options.state,))
    note(
        options,
        f"{count} jobs acknowledged: the next run does not send them, and they do not count as failures",
    )
    return OK


def _line(record: JobRecord, folder: Path, options: Namespace) -> str:
    from imagesdk.errors import printable

    prompt = " ".join(str(record.params.get("prompt", record.kind)).split())
    prompt = prompt if len(prompt) <= _MAX_PROMPT else f"{prompt[: _MAX_PROMPT - 1]}…"
    message = (error_of_record(record, options) or {}).get("message", "")
    details = ", ".join(paths_of(record, folder)) or message
    details = f"(acknowledged) {details}" if record.acknowledged else details
    return printable(f"{record.state:<9}{record.id:<16}{prompt:<{_MAX_PROMPT}}  {details}".rstrip())


def error_of_record(record: JobRecord, options: Namespace) -> dict[str, Any] | None:
    """Return the error of a job, with its message worded for the command line."""
    if record.error is None:
        return None
    from imagesdk.fan_out.serialization import error_of

    return {**record.error, "message": error_text(error_of(record.error), options)}


def paths_of(record: JobRecord, folder: Path) -> list[str]:
    """Return the paths or URLs of the images of a job."""
    from imagesdk.fan_out.serialization import place_of

    images = (record.response or {}).get("images", [])
    return [str(place_of(image["file"], folder)) for image in images if "file" in image]


def facts_of(record: JobRecord, folder: Path, options: Namespace) -> dict[str, Any]:
    """Return all facts of a job, for ``--json``."""
    sent = record.sent_at
    answer = record.response or {}
    return {
        "id": record.id,
        "state": record.state,
        "acknowledged": record.acknowledged,
        "kind": record.kind.lower(),
        "parameters": record.params,
        "images": record.images,
        "paths": paths_of(record, folder),
        "sha256": [image["file"]["sha256"] for image in answer.get("images", []) if "file" in image],
        "cost_usd": record.cost,
        "usage": answer.get("usage"),
        "request_id": answer.get("request_id"),
        "idempotency_key": record.idempotency_key,
        "sent_at": None if sent is None else datetime.fromtimestamp(sent, UTC).isoformat(),
        "error": error_of_record(record, options),
    }

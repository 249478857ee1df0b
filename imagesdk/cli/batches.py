"""``imagesdk batches list|show|wait|cancel|fetch``: the batches of the account."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import FAILED, OK, batch_exit_code, exit_code_of
from imagesdk.cli.remedies import error_text
from imagesdk.cli.session import has_flag, note, open_client, print_json

if TYPE_CHECKING:
    from imagesdk import Batch, Client

_HEAD = ("BATCH", "STATUS", "DONE", "FAILED", "TOTAL", "MODEL", "CREATED")


def run(options: Namespace) -> int:
    """Do what the action names, and print the batches or the paths of the images."""
    with open_client(options) as client:
        match options.action:
            case "list":
                batches = client.batches.list(limit=options.limit)
                if has_flag(options, "json"):
                    print_json({"batches": [_facts(batch) for batch in batches]})
                else:
                    _print_table(batches)
            case "fetch":
                return _fetch(options, client)
            case "show":
                _print_batch(options, client.batches.retrieve(options.batch))
            case "cancel":
                _print_batch(options, client.batches.cancel(options.batch))
            case _:
                batch = client.batches.wait(options.batch, poll=options.poll, timeout=options.timeout)
                _print_batch(options, batch)
                return OK if batch.status == "completed" else FAILED
    return OK


def _fetch(options: Namespace, client: Client) -> int:
    codes, done = set[int](), 0
    with client.batches.attach(options.batch, out=options.out, poll=options.poll) as results:
        for outcome in results:
            paths = [image.path for image in outcome.response or ()]
            done += outcome.status == "done"
            if outcome.error is not None:
                codes.add(exit_code_of(outcome.error))
                print(
                    f"imagesdk: {outcome.id} {outcome.status}: {error_text(outcome.error, options)}",
                    file=sys.stderr,
                )
            if has_flag(options, "json"):
                facts = {"id": outcome.id, "place": outcome.place, "status": outcome.status, "paths": paths}
                print_json({**facts, "cost_usd": outcome.cost})
            else:
                for path in paths:
                    print(path, flush=True)
        note(options, f"{results.batch.id} is {results.batch.status}: {done} jobs done")
    return batch_exit_code(codes)


def _print_batch(options: Namespace, batch: Batch) -> None:
    facts = _facts(batch)
    if has_flag(options, "json"):
        print_json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        if value not in (None, [], {}):
            print(f"{name.replace('_', ' '):{width}}  {value}")


def _print_table(batches: tuple[Batch, ...]) -> None:
    rows = [_HEAD, *(_row(batch) for batch in batches)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(batch: Batch) -> tuple[str, ...]:
    counts = batch.counts
    numbers = ("-", "-", "-") if counts is None else map(str, (counts.completed, counts.failed, counts.total))
    return (batch.id, batch.status, *numbers, batch.model or "-", _time(batch.created) or "-")


def _facts(batch: Batch) -> dict[str, Any]:
    counts = batch.counts
    return {
        "id": batch.id,
        "status": batch.status,
        "endpoint": batch.endpoint,
        "model": batch.model,
        "total": None if counts is None else counts.total,
        "completed": None if counts is None else counts.completed,
        "failed": None if counts is None else counts.failed,
        "created": _time(batch.created),
        "expires_at": _time(batch.expires_at),
        "ended_at": _time(batch.ended_at),
        "input_file_id": batch.input_file_id,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "problems": [f"{problem.code}: {problem.message}" for problem in batch.problems],
        "metadata": dict(batch.metadata),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M UTC")

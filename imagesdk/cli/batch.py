"""``imagesdk batch FILE``: many jobs from a file, as a run that can be watched, stopped and gone on with."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from argparse import Namespace
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import BROKEN_PIPE, INTERRUPTED, OK, PARTIAL, UsageError, printed
from imagesdk.cli.parameters import given
from imagesdk.cli.remedies import in_words
from imagesdk.cli.session import flag, note, open_client

if TYPE_CHECKING:
    from imagesdk import DryRun, Labelled, Outcome, Run
    from imagesdk.cli.batch_files import Reading
    from imagesdk.jobs import Job

_BAD_LINES_SHOWN = 20


def run(options: Namespace) -> int:
    """Make the jobs, print where the pictures are, and how to go on."""
    from imagesdk.cli.batch_display import plan, summary, watching

    listed = JobList(options)
    listed.check()
    limits = _limit(options)
    terms: dict[str, Any] = {
        "out": options.out,
        "delivery": options.delivery.replace("-", "_"),
        "retry_unknown": options.retry_unknown,
    }
    if options.journal is not None:
        terms["journal"] = options.journal
    unread = False
    with open_client(options, sends=not options.dry_run, **limits) as client:
        found = client.images.dry_run(listed, **terms)
        listed.refuse(found)
        if options.dry_run:
            print(_plan_facts(found) if flag(options, "json") else plan(found))
            return OK
        if options.budget is not None:
            terms |= {"budget": options.budget, "unknown_price": options.unknown_price}
        with (
            client.images.fan_out(listed, concurrency=options.concurrency, **terms) as running,
            _interruptible(options, running) as stopped,
            watching(options, running) as told,
        ):
            for outcome in running:
                printed(sys.stderr, partial(told, outcome, listed.line_of))
                if not printed(sys.stdout, partial(_print, options, outcome)):
                    # What was sent is paid for, whether its paths are read or not.
                    unread = True
                    running.stop()
                    said = "the reader of stdout went away: finishing what was sent"
                    printed(sys.stderr, partial(note, options, said))
    if options.gallery:
        note(options, f"gallery: {_gallery(options)}")
    progress = running.progress
    note(options, summary(progress))
    if stopped() or unread:
        note(options, _go_on())
        return INTERRUPTED if stopped() else BROKEN_PIPE
    return OK if progress.done == progress.finished else PARTIAL


class JobList:
    """The jobs of a file, read anew each time that they are gone through, so that none is kept."""

    def __init__(self, options: Namespace) -> None:
        from imagesdk.cli.batch_files import Reading, form_of

        self._options = options
        self._name: str = options.file
        self._text = sys.stdin.buffer.read().decode("utf-8-sig") if self._name == "-" else None
        form = options.format or form_of(self._name, self._text or "")
        self._reading: Reading = Reading(
            form=form, prompt=options.prompt, id_column=options.id_column, given=given(options)
        )
        self._places = array("Q")

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Job | Labelled]:
        from imagesdk import Labelled

        for row in islice(self._rows(), len(self)):  # what was checked, though the file may have grown
            yield row.job if row.id is None else Labelled(row.id, row.job)

    def check(self) -> None:
        """Read all of it.

        Raises:
            UsageError: a line says no job, or a name stands twice.
        """
        from imagesdk.cli.batch_files import LineError, rows
        from imagesdk.errors import InvalidRequestError
        from imagesdk.fan_out.job_source import check_label

        bad, names = list[str](), dict[str, int]()
        with self._lines() as lines:
            for row in rows(lines, self._reading):
                if isinstance(row, LineError):
                    bad.append(str(row))
                    continue
                self._places.append(row.line)
                if row.id is None:
                    continue
                try:
                    check_label(row.id)
                except InvalidRequestError as error:
                    bad.append(f"line {row.line}: {in_words(error, self._options)}")
                if names.setdefault(row.id, row.line) != row.line:
                    bad.append(f"line {row.line}: the id {row.id!r} stands in line {names[row.id]}, too")
        self._complain(bad)
        if not self._places:
            raise UsageError(f"{self._name} has no jobs in it")

    def refuse(self, found: DryRun) -> None:
        """Go on only if no job breaks a rule.

        Raises:
            UsageError: some do.
        """
        bad = [
            f"line {self.line_of(place)}: {in_words(error, self._options)}" for place, error in found.problems
        ]
        self._complain(bad, found.refused - len(bad))

    def line_of(self, place: int) -> int:
        """Return the line where a job stands."""
        return self._places[place]

    def _complain(self, bad: list[str], further: int = 0) -> None:
        if not bad:
            return
        shown = bad[:_BAD_LINES_SHOWN]
        further += len(bad) - len(shown)
        if further:
            shown.append(f"and {further} more")
        raise UsageError("\n  ".join([f"{self._name} cannot be used, and nothing was sent:", *shown]))

    def _rows(self) -> Generator[Any, None, None]:
        from imagesdk.cli.batch_files import Row, rows

        with self._lines() as lines:
            yield from (row for row in rows(lines, self._reading) if isinstance(row, Row))

    @contextmanager
    def _lines(self) -> Generator[Iterable[str], None, None]:
        if self._text is not None:
            yield StringIO(self._text, newline="")
            return
        with open(self._name, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - a name as it was typed
            try:
                yield file
            except UnicodeDecodeError as problem:
                raise UsageError(f"{self._name} is not text in UTF-8: {problem}") from None


def _limit(options: Namespace) -> dict[str, Any]:
    if options.limit is None:
        return {}
    from imagesdk._calls.client_options import parse_rate_limit

    return {"rate_limit": parse_rate_limit("--limit", options.limit)}


@contextmanager
def _interruptible(options: Namespace, running: Run) -> Generator[Callable[[], bool], None, None]:
    """Have the first Ctrl-C end the run well, and the second at once."""
    stopped = False

    def interrupt(*_: object) -> None:
        nonlocal stopped
        if stopped:
            os.write(2, f"{_go_on()}\n".encode())
            raise KeyboardInterrupt
        stopped = True
        running.stop()
        if not flag(options, "quiet"):
            # print() may be what was interrupted
            os.write(2, b"\nfinishing what was sent; Ctrl-C again gives it up\n")

    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread, which has no Ctrl-C
        yield lambda: stopped
        return
    try:
        yield lambda: stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _gallery(options: Namespace) -> Path:
    from imagesdk.fan_out.gallery import write_gallery

    journal, folder = _places(options)
    return write_gallery(journal, folder / "index.html")


def _places(options: Namespace) -> tuple[Path, Path]:
    """Return where the journal is, and the folder of the pictures."""
    from imagesdk._media.output import expand_output_path
    from imagesdk.fan_out.journal import FILE_NAME
    from imagesdk.fan_out.output_files import run_template

    folder = run_template(options.out).folder
    journal = None if options.journal is None else Path(expand_output_path("journal", options.journal))
    return journal or folder / FILE_NAME, folder


def _go_on() -> str:
    return f"To go on: {shlex.join(['imagesdk', *sys.argv[1:]])}"


def _print(options: Namespace, outcome: Outcome) -> None:
    images = outcome.response or ()
    if not flag(options, "json"):
        for image in images:
            print(image.path, flush=True)
        return
    facts = {
        "id": outcome.id,
        "place": outcome.place,
        "status": outcome.status,
        "paths": [str(image.path) for image in images],
        "cost_usd": None if outcome.cost is None else str(outcome.cost),
        "attempts": outcome.attempts,
        "resumed": outcome.resumed,
        "error": None
        if outcome.error is None
        else {"type": type(outcome.error).__name__, "message": in_words(outcome.error, options)},
    }
    print(json.dumps(facts), flush=True)


def _plan_facts(found: DryRun) -> str:
    return json.dumps(
        {
            "jobs": found.jobs,
            "sent": found.sent,
            "images": found.images,
            "resumed": found.resumed,
            "cost_usd": None if found.cost is None else str(found.cost),
            "at_most_usd": None if found.at_most is None else str(found.at_most),
            "unpriced": found.unpriced,
            "seconds": found.seconds,
        }
    )

"""``imagesdk batch FILE``: run the jobs of a file, with progress, signals and resumption."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import BROKEN_PIPE, OK, UsageError, batch_exit_code, exit_code_of, try_print
from imagesdk.cli.interruption import Interrupted, Interruption, handle_signals
from imagesdk.cli.parameters import job_parameters
from imagesdk.cli.remedies import error_text
from imagesdk.cli.session import has_flag, note, note_emulator, open_client, print_json

if TYPE_CHECKING:
    from imagesdk import Client, DryRun, Labelled, Outcome, Run
    from imagesdk.jobs import Job

_MAX_BAD_LINES = 20


def run(options: Namespace) -> int:
    """Run the jobs, and print the paths of the images and how to resume."""
    with handle_signals(options.grace, quiet=has_flag(options, "quiet")) as interruption:
        try:
            return _check_and_run(options, interruption)
        except Interrupted:  # before the run began, or after it
            print(_resume_hint(), file=sys.stderr)
            return interruption.exit_code


def _check_and_run(options: Namespace, interruption: Interruption) -> int:
    """Check all jobs before the first one is sent, and run them."""
    from imagesdk._calls.client_options import parse_rate_limit
    from imagesdk.cli.batch_display import plan

    jobs = JobList(options)
    jobs.check()
    limits = {} if options.limit is None else {"rate_limit": parse_rate_limit("--limit", options.limit)}
    run_options: dict[str, Any] = {
        "out": options.out,
        "delivery": options.delivery.replace("-", "_"),
        "retry_unknown": options.retry_unknown,
        **({} if options.journal is None else {"journal": options.journal}),
    }
    with open_client(options, sends=not options.dry_run, **limits) as client:
        dry_run = client.images.dry_run(jobs, **run_options, lane=options.lane)
        jobs.reject(dry_run)
        for notice in () if options.budget is None else dry_run.notices:
            note(options, f"imagesdk: {error_text(notice, options)}")
        if options.dry_run:
            if has_flag(options, "json"):
                print_json(_plan_facts(dry_run))
            else:
                print(plan(dry_run))
            return OK
        if options.budget is not None:
            run_options |= {"budget": options.budget, "unknown_price": options.unknown_price}
        run_options |= {
            name: getattr(options, name)
            for name in (
                "concurrency",
                "stop_on",
                "max_failures",
                "give_up_after",
                "lane",
                "deadline",
                "poll",
            )
        }
        note_emulator(options)
        return _run(options, interruption, client, jobs, run_options)


def _run(
    options: Namespace,
    interruption: Interruption,
    client: Client,
    jobs: JobList,
    run_options: Mapping[str, Any],
) -> int:
    """Run the jobs and return the exit code. A run that ends early prints the command that resumes it."""
    from imagesdk import ImageSDKError
    from imagesdk.cli.batch_display import show_progress, summary

    running: Run | None = None
    codes, unread, failure = set[int](), False, None
    try:
        with (
            client.images.fan_out(jobs, **run_options) as running,
            show_progress(options, running) as report,
        ):
            interruption.watch(running)
            shown = 0
            for outcome in running:
                for notice in running.notices[shown:] if options.lane != "live" else ():
                    try_print(sys.stderr, partial(note, options, f"imagesdk: {error_text(notice, options)}"))
                    shown += 1
                if outcome.error is not None and not outcome.acknowledged:
                    codes.add(exit_code_of(outcome.error))
                try_print(sys.stderr, partial(report, outcome, jobs.line_of))
                if not try_print(sys.stdout, partial(_print, options, outcome)):
                    # The jobs that were sent are billed, even if their paths are not read.
                    unread = True
                    running.stop()
                    message = "the reader of stdout closed the pipe: waiting for the jobs that were sent"
                    try_print(sys.stderr, partial(note, options, message))
    except Interrupted:
        pass
    except (ImageSDKError, OSError) as error:
        failure = error
    if running is not None:
        progress = running.progress
        if options.gallery:
            note(options, f"gallery: {_write_gallery(options)}")
        try_print(sys.stderr, lambda: note(options, summary(progress)))
    if (running is not None and failure is not None) or interruption.signal is not None or unread:
        try_print(sys.stderr, lambda: print(_resume_hint(), file=sys.stderr))
    if failure is not None:
        raise failure
    if interruption.signal is not None:
        return interruption.exit_code
    return BROKEN_PIPE if unread else batch_exit_code(codes)


class JobList:
    """The jobs of a file. Each iteration reads the file again, so that no job stays in memory."""

    def __init__(self, options: Namespace) -> None:
        from imagesdk.cli.batch_files import ReadOptions, detect_format

        self._options = options
        self._name: str = options.file
        self._text = sys.stdin.buffer.read().decode("utf-8-sig") if self._name == "-" else None
        form = options.format or detect_format(self._name, self._text or "")
        self._read_options = ReadOptions(
            format=form, prompt=options.prompt, id_column=options.id_column, defaults=job_parameters(options)
        )
        self._line_numbers = array("Q")

    def __len__(self) -> int:
        return len(self._line_numbers)

    def __iter__(self) -> Iterator[Job | Labelled]:
        from imagesdk import Labelled
        from imagesdk.cli.batch_files import Row, rows

        with self._lines() as lines:
            valid = (row for row in rows(lines, self._read_options) if isinstance(row, Row))
            for row in islice(valid, len(self)):  # only the checked lines, if the file has grown
                yield row.job if row.id is None else Labelled(row.id, row.job)

    def check(self) -> None:
        """Raise if a line is not a valid job, an id occurs twice, or there are no jobs."""
        from imagesdk.cli.batch_files import LineError, rows
        from imagesdk.errors import InvalidRequestError
        from imagesdk.fan_out.job_source import check_label

        bad, names = list[str](), dict[str, int]()
        with self._lines() as lines:
            for row in rows(lines, self._read_options):
                if isinstance(row, LineError):
                    bad.append(str(row))
                    continue
                self._line_numbers.append(row.line)
                if row.id is None:
                    continue
                try:
                    check_label(row.id)
                except InvalidRequestError as error:
                    bad.append(f"line {row.line}: {error_text(error, self._options)}")
                if names.setdefault(row.id, row.line) != row.line:
                    bad.append(f"line {row.line}: line {names[row.id]} has the id {row.id!r}, too")
        self._raise_bad_lines(bad, len(bad))
        if not self._line_numbers:
            raise UsageError(f"{self._name} contains no jobs")

    def reject(self, dry_run: DryRun) -> None:
        """Raise if a job breaks a rule, by the result of a dry run."""
        problems = dry_run.problems
        bad = [f"line {self.line_of(place)}: {error_text(error, self._options)}" for place, error in problems]
        self._raise_bad_lines(bad, dry_run.refused)

    def line_of(self, place: int) -> int:
        """Return the line number of a job."""
        return self._line_numbers[place]

    def _raise_bad_lines(self, bad: list[str], total: int) -> None:
        shown = bad[:_MAX_BAD_LINES]
        if total > len(shown):
            shown.append(f"and {total - len(shown)} more")
        if shown:
            raise UsageError("\n  ".join([f"{self._name} has errors, and nothing was sent:", *shown]))

    @contextmanager
    def _lines(self) -> Generator[Iterable[str], None, None]:
        if self._text is not None:
            yield StringIO(self._text, newline="")
            return
        with open(self._name, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - the name as typed
            try:
                yield file
            except UnicodeDecodeError as problem:
                raise UsageError(f"{self._name} is not text in UTF-8: {problem}") from None


def _write_gallery(options: Namespace) -> Path:
    from imagesdk._media.output import expand_output_path
    from imagesdk.fan_out.gallery import write_gallery
    from imagesdk.fan_out.journal import FILE_NAME
    from imagesdk.fan_out.output_files import run_template

    folder = run_template(options.out).folder
    named = None if options.journal is None else Path(expand_output_path("journal", options.journal))
    if not isinstance(folder, Path):  # remote images have no links; the page is beside the journal
        folder = (named or Path()).parent
    return write_gallery(named or folder / FILE_NAME, folder / "index.html")


def _resume_hint() -> str:
    return f"To resume: {shlex.join(['imagesdk', *sys.argv[1:]])}"


def _print(options: Namespace, outcome: Outcome) -> None:
    images = outcome.response or ()
    if not has_flag(options, "json"):
        for image in images:
            print(image.location, flush=True)
        return
    error = outcome.error
    print_json(
        {
            "id": outcome.id,
            "place": outcome.place,
            "status": outcome.status,
            "paths": [image.location for image in images],
            "cost_usd": outcome.cost,
            "attempts": outcome.attempts,
            "resumed": outcome.resumed,
            "error": error and {"type": type(error).__name__, "message": error_text(error, options)},
        }
    )


def _plan_facts(dry_run: DryRun) -> dict[str, Any]:
    return {
        "jobs": dry_run.jobs,
        "sent": dry_run.sent,
        "images": dry_run.images,
        "resumed": dry_run.resumed,
        "cost_usd": dry_run.cost,
        "at_most_usd": dry_run.at_most,
        "unpriced": dry_run.unpriced,
        "seconds": dry_run.seconds,
    }

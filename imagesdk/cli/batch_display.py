"""How far a batch is, on stderr: a display that is kept up to date on a terminal that has rich, else plain lines."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from imagesdk.cli.remedies import error_text
from imagesdk.cli.session import has_flag, note

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.console import RenderableType

    from imagesdk import DryRun, Outcome, Progress, Run

_REPORT_SECONDS = 10.0
"""Seconds between plain lines."""

_MAX_EQUAL_ERRORS = 5
"""Errors of the same words that are told one by one."""
_MAX_MESSAGES = 1000
"""Errors of different words that are kept, to know them again."""

OutcomeReporter: TypeAlias = "Callable[[Outcome, Callable[[int], int]], None]"
"""Takes an outcome, and what says the line of a place."""


@contextmanager
def show_progress(options: Namespace, running: Run) -> Generator[OutcomeReporter, None, None]:
    """Show how far a run is while the block runs; what it gives is told of every outcome."""
    errors = Counter[str]()
    with _live_display(options, running) as lines:
        yield _outcome_reporter(options, running, errors, lines=lines)
    for message, count in errors.items():
        if count > _MAX_EQUAL_ERRORS:
            note(options, f"imagesdk: and {count - _MAX_EQUAL_ERRORS} more: {message}")


@contextmanager
def _live_display(options: Namespace, running: Run) -> Generator[bool, None, None]:
    """Show a display while the block runs, or say that lines are to be shown in its place."""
    if has_flag(options, "quiet") or not sys.stderr.isatty():
        yield True
        return
    try:
        from rich.console import Console
        from rich.live import Live
    except ModuleNotFoundError:
        yield True
        return
    with Live(
        console=Console(stderr=True),
        get_renderable=lambda: _render(running.progress),
        refresh_per_second=4,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ):
        yield False


def _outcome_reporter(
    options: Namespace, running: Run, errors: Counter[str], *, lines: bool
) -> OutcomeReporter:
    reported_at = time.monotonic()

    def report(outcome: Outcome, line_of: Callable[[int], int]) -> None:
        nonlocal reported_at
        if outcome.error is not None:
            message = f"{outcome.status}: {error_text(outcome.error, options)}"
            if message in errors or len(errors) < _MAX_MESSAGES:
                errors[message] += 1
            if errors[message] <= _MAX_EQUAL_ERRORS:
                note(options, f"imagesdk: line {line_of(outcome.place)} ({outcome.id}) {message}")
        if lines and time.monotonic() - reported_at >= _REPORT_SECONDS:
            reported_at = time.monotonic()
            note(options, line(running.progress))

    return report


def line(progress: Progress) -> str:
    """Return how far a run is, in one line."""
    parts = [
        f"{progress.finished}/{'?' if progress.total is None else progress.total}",
        _count_outcomes(progress),
    ]
    parts.append(_pace(progress))
    if progress.cost or progress.unpriced:
        parts.append(format_cost(progress.cost, progress.unpriced))
    if progress.seconds_left:
        parts.append(f"about {duration(progress.seconds_left)} left")
    return ", ".join(parts)


def summary(progress: Progress) -> str:
    """Return how a run has ended, in one line."""
    before = f" ({progress.resumed} known from before)" if progress.resumed else ""
    cost = f", {format_cost(progress.cost, progress.unpriced)}" if progress.cost or progress.unpriced else ""
    pictures = f"{progress.images} picture{'' if progress.images == 1 else 's'}"
    return f"{_count_outcomes(progress)}{before}; {pictures} in {duration(progress.seconds)}{cost}"


def format_cost(cost: Decimal, unpriced: int) -> str:
    """Return what was spent, where the cost of so many jobs is not known."""
    if unpriced and not cost:
        return "cost unknown"
    return f"at least ${cost}" if unpriced else f"${cost}"


def plan(dry_run: DryRun) -> str:
    """Return what a run would do, a fact a line."""
    facts = [
        ("jobs", str(dry_run.jobs)),
        ("known from before", str(dry_run.resumed)),
        ("to be sent", str(dry_run.sent)),
        ("pictures", str(dry_run.images)),
        ("cost", "unknown" if dry_run.cost is None else f"${dry_run.cost:.4f}"),
        ("at most", "unknown" if dry_run.at_most is None else f"${dry_run.at_most:.4f}"),
        (
            "under the limit",
            "no limit" if dry_run.seconds is None else f"{duration(dry_run.seconds)} to send",
        ),
    ]
    return "\n".join(f"{name:<19}{value}" for name, value in facts)


def duration(seconds: float) -> str:
    """Return seconds in words that a reader takes in at a glance."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _count_outcomes(progress: Progress) -> str:
    counts = [(progress.done, "done")]
    counts += [
        (count, name)
        for count, name in (
            (progress.refused, "refused"),
            (progress.failed, "failed"),
            (progress.unknown, "unknown"),
        )
        if count
    ]
    return ", ".join(f"{count} {name}" for count, name in counts)


def _pace(progress: Progress) -> str:
    limit = progress.limit
    against = "" if limit is None else f" of {limit.images * 60 / limit.per:.0f}"
    return f"{progress.images_per_minute}{against} images/min"


def _render(progress: Progress) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    waiting = "?" if progress.waiting is None else progress.waiting
    rows = Table.grid()
    rows.add_row(ProgressBar(total=progress.total, completed=progress.finished, pulse=progress.total is None))
    rows.add_row(Text(line(progress)))
    rows.add_row(Text(f"{progress.in_flight} under way, {waiting} waiting", style="dim"))
    return rows

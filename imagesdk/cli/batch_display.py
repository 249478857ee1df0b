"""Progress of a batch on stderr: a live display on a terminal with rich, otherwise plain lines."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from imagesdk.cli.remedies import error_text
from imagesdk.cli.session import has_flag, note

if TYPE_CHECKING:
    from decimal import Decimal

    from rich.console import RenderableType

    from imagesdk import DryRun, Outcome, Progress, Run

_REPORT_SECONDS = 10.0
"""The interval of plain lines in seconds."""

_MAX_EQUAL_ERRORS = 5
"""The number of equal errors to print. Further ones are counted."""
_MAX_MESSAGES = 1000
"""The number of different errors to remember."""

OutcomeReporter: TypeAlias = "Callable[[Outcome, Callable[[int], int]], None]"
"""A function of an outcome and of a function that returns the line number of a job."""


@contextmanager
def _live_display(options: Namespace, running: Run) -> Generator[bool, None, None]:
    """Show a live display until the block ends. Yield whether to print lines instead."""
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


@contextmanager
def show_progress(options: Namespace, running: Run) -> Generator[OutcomeReporter, None, None]:
    """Show the progress of a run until the block ends. Yield the function to call with each outcome."""
    errors = Counter[str]()
    reported_at = time.monotonic()

    def report(outcome: Outcome, line_of: Callable[[int], int]) -> None:
        nonlocal reported_at
        if outcome.error is not None:
            message = f"{outcome.status}: {error_text(outcome.error, options)}"
            if message in errors or len(errors) < _MAX_MESSAGES:
                errors[message] += 1
            if errors[message] <= _MAX_EQUAL_ERRORS:
                print(f"imagesdk: line {line_of(outcome.place)} ({outcome.id}) {message}", file=sys.stderr)
        if lines and time.monotonic() - reported_at >= _REPORT_SECONDS:
            reported_at = time.monotonic()
            progress = running.progress
            note(options, "; ".join([line(progress), *lane_lines(progress)]))

    with _live_display(options, running) as lines:
        yield report
    for message, count in errors.items():
        if count > _MAX_EQUAL_ERRORS:
            print(f"imagesdk: and {count - _MAX_EQUAL_ERRORS} more: {message}", file=sys.stderr)


def line(progress: Progress) -> str:
    """Format the progress of a run as one line."""
    limit = progress.limit
    against = "" if limit is None else f" of {limit.images * 60 / limit.per:.0f}"
    parts = [
        f"{progress.finished}/{'?' if progress.total is None else progress.total}",
        _count_outcomes(progress),
        f"{progress.images_per_minute}{against} images/min",
    ]
    if progress.cost or progress.unpriced:
        parts.append(format_cost(progress.cost, progress.unpriced))
    if progress.seconds_left:
        parts.append(f"about {duration(progress.seconds_left)} left")
    return ", ".join(parts)


def lane_lines(progress: Progress) -> list[str]:
    """Format the open batches of a run: their states and counts, their tokens, and the clock."""
    lane = progress.lane
    if lane is None:
        return []
    states = Counter(batch.status for batch in lane.batches)
    counts = [batch.counts for batch in lane.batches if batch.counts is not None]
    ended, total = sum(each.ended for each in counts), sum(each.total for each in counts)
    named = [f"{count} {state}" for state, count in states.items()]
    facts = [f"batches: {', '.join(named) or 'none'}", f"{ended}/{total} requests"]
    facts += [f"about {lane.enqueued_tokens} tokens enqueued"] if lane.enqueued_tokens else []
    facts += [f"{lane.waiting} jobs wait for a batch"] if lane.waiting else []
    lines = [", ".join(facts)]
    if lane.deadline is not None:
        left = (lane.deadline - datetime.now(UTC)).total_seconds()
        clock = f"{duration(left)} to the deadline" if left > 0 else "the deadline has passed"
        lines.append(f"{clock}{', batches are cut off' if lane.cut else ''}")
    return lines


def summary(progress: Progress) -> str:
    """Format the result of a run as one line."""
    before = f" ({progress.resumed} from an earlier run)" if progress.resumed else ""
    cost = f", {format_cost(progress.cost, progress.unpriced)}" if progress.cost or progress.unpriced else ""
    images = f"{progress.images} image{'' if progress.images == 1 else 's'}"
    return f"{_count_outcomes(progress)}{before}; {images} in {duration(progress.seconds)}{cost}"


def format_cost(cost: Decimal, unpriced: int) -> str:
    """Format a cost; ``unpriced`` is the number of jobs of unknown cost."""
    if unpriced and not cost:
        return "cost unknown"
    return f"at least ${cost}" if unpriced else f"${cost}"


def plan(dry_run: DryRun) -> str:
    """Format a dry run, one fact per line."""
    seconds = dry_run.seconds
    facts = [
        ("jobs", str(dry_run.jobs)),
        ("from an earlier run", str(dry_run.resumed)),
        ("to send", str(dry_run.sent)),
        ("images", str(dry_run.images)),
        ("cost", "unknown" if dry_run.cost is None else f"${dry_run.cost:.4f}"),
        ("at most", "unknown" if dry_run.at_most is None else f"${dry_run.at_most:.4f}"),
        ("by the rate limit", "no limit" if seconds is None else f"{duration(seconds)} to send"),
    ]
    return "\n".join(f"{name:<21}{value}" for name, value in facts)


def duration(seconds: float) -> str:
    """Format seconds with at most two units."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, rest = divmod(rounded, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _count_outcomes(progress: Progress) -> str:
    counts = {name: getattr(progress, name) for name in ("done", "refused", "failed", "unknown", "missing")}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "done")


def _render(progress: Progress) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    waiting = "?" if progress.waiting is None else progress.waiting
    rows = Table.grid()
    rows.add_row(ProgressBar(total=progress.total, completed=progress.finished, pulse=progress.total is None))
    rows.add_row(Text(line(progress)))
    rows.add_row(Text(f"{progress.in_flight} in progress, {waiting} waiting", style="dim"))
    for text in lane_lines(progress):
        rows.add_row(Text(text, style="dim"))
    return rows

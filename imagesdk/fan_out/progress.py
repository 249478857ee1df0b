"""Counts of a run. Pure: the caller passes the time, in seconds of a monotonic clock."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from attrs import evolve

from imagesdk.errors import DownloadError
from imagesdk.events import RunEnded
from imagesdk.fan_out.outcomes import Outcome, Progress
from imagesdk.policies import RateLimit

_MINUTE = 60.0


class ProgressCounter:
    """Counter of jobs, images and cost of one run.

    Each change replaces all counts at once. Another thread therefore always reads consistent counts.
    """

    def __init__(self, total: int | None, began: float) -> None:
        self._began = began
        self._read = 0
        self._counts = Progress(total=total), dict[int, int]()
        """Counts so far, and the images that arrived in each second of the last minute."""

    def started(self) -> None:
        """Count a job that was read."""
        self._read += 1
        self._add({"in_flight": 1})

    def cancelled(self) -> None:
        """Uncount a job that was cancelled before it had an outcome."""
        self._add({"in_flight": -1})

    def complete(self) -> None:
        """Record that all jobs were read."""
        counts, latest = self._counts
        self._counts = evolve(counts, total=self._read), latest

    def ended(self, outcome: Outcome, now: float) -> None:
        """Count the end of a job."""
        if outcome.resumed:
            self._add({outcome.status: 1, "in_flight": -1, "resumed": 1})
            return
        images = 0 if outcome.response is None else len(outcome.response)
        latest = {second: count for second, count in self._counts[1].items() if second > now - _MINUTE}
        if images:
            latest[int(now)] = latest.get(int(now), 0) + images
        amounts: dict[str, int | Decimal] = {outcome.status: 1, "in_flight": -1, "images": images}
        self._add({**amounts, "unpriced": _is_unpriced(outcome), "cost": outcome.cost or 0}, latest)

    def snapshot(self, now: float, limit: RateLimit | None) -> Progress:
        """Return the progress of the run at ``now``."""
        counts, latest = self._counts
        seconds = max(0.0, now - self._began)
        return evolve(
            counts,
            seconds=seconds,
            images_per_minute=sum(images for second, images in latest.items() if second > now - _MINUTE),
            limit=limit,
            seconds_left=_seconds_left(counts, seconds, limit),
        )

    def _add(self, amounts: Mapping[str, int | Decimal], latest: dict[int, int] | None = None) -> None:
        counts, before = self._counts
        changed = {name: getattr(counts, name) + amount for name, amount in amounts.items()}
        self._counts = evolve(counts, **changed), before if latest is None else latest


def _is_unpriced(outcome: Outcome) -> bool:
    """Return whether a job was or may have been billed at an unknown cost."""
    billed = outcome.status in {"done", "unknown"} or isinstance(outcome.error, DownloadError)
    return billed and outcome.cost is None


def _seconds_left(counts: Progress, seconds: float, limit: RateLimit | None) -> float | None:
    """Return the longer of two estimates: one from the speed so far, one from the rate limit."""
    if counts.total is None:
        return None
    left, ended_here = max(0, counts.total - counts.finished), counts.finished - counts.resumed
    if not left:
        return 0.0
    if not ended_here:
        return None
    as_before = left * seconds / ended_here
    if limit is None:
        return as_before
    each = max(1.0, counts.images / ended_here)
    return max(as_before, left * each * limit.per / limit.images)


def run_ended(run_id: str, progress: Progress, error: str | None) -> RunEnded:
    """Return the event for a run that has ended."""
    return RunEnded(
        run_id=run_id,
        seconds=progress.seconds,
        done=progress.done,
        refused=progress.refused,
        failed=progress.failed,
        unknown=progress.unknown,
        missing=progress.missing,
        images=progress.images,
        cost=progress.cost,
        error=error,
    )

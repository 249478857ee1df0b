"""Counts of a run. Pure: the caller passes the time, in seconds of a monotonic clock.

All counts are one frozen value that each change replaces. Another thread therefore always reads consistent counts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
from attrs import field, frozen

from imagesdk.errors import DownloadError
from imagesdk.fan_out.outcomes import Outcome, Progress
from imagesdk.policies import RateLimit

_MINUTE = 60.0


@frozen
class _Counts:
    read: int = 0
    total: int | None = None
    in_flight: int = 0
    done: int = 0
    refused: int = 0
    failed: int = 0
    unknown: int = 0
    resumed: int = 0
    images: int = 0
    cost: Decimal = field(default=Decimal(0))
    unpriced: int = 0
    latest: tuple[tuple[int, int], ...] = ()
    """Pairs of a second and the images that arrived in it, for the last minute."""


class ProgressCounter:
    """Counter of jobs, images and cost of one run."""

    def __init__(self, total: int | None, began: float) -> None:
        self._began = began
        self._counts = _Counts(total=total)

    def started(self) -> None:
        """Count a job that was read."""
        self._change(read=self._counts.read + 1, in_flight=self._counts.in_flight + 1)

    def cancelled(self) -> None:
        """Uncount a job that was cancelled before it had an outcome."""
        self._change(in_flight=self._counts.in_flight - 1)

    def complete(self) -> None:
        """Record that all jobs were read."""
        self._change(total=self._counts.read)

    def ended(self, outcome: Outcome, now: float) -> None:
        """Count the end of a job."""
        counts, status = self._counts, outcome.status
        changes: dict[str, Any] = {status: getattr(counts, status) + 1, "in_flight": counts.in_flight - 1}
        if outcome.resumed:
            self._change(**changes, resumed=counts.resumed + 1)
            return
        images = 0 if outcome.response is None else len(outcome.response)
        self._change(
            **changes,
            images=counts.images + images,
            cost=counts.cost + (outcome.cost or 0),
            unpriced=counts.unpriced + _is_unpriced(outcome),
            latest=_with(counts.latest, int(now), images, now),
        )

    def snapshot(self, now: float, limit: RateLimit | None) -> Progress:
        """Return the progress of the run at ``now``."""
        counts, seconds = self._counts, max(0.0, now - self._began)
        recent = sum(images for second, images in counts.latest if second > now - _MINUTE)
        return Progress(
            total=counts.total,
            in_flight=counts.in_flight,
            done=counts.done,
            refused=counts.refused,
            failed=counts.failed,
            unknown=counts.unknown,
            resumed=counts.resumed,
            images=counts.images,
            cost=counts.cost,
            seconds=seconds,
            images_per_minute=recent,
            limit=limit,
            seconds_left=_seconds_left(counts, seconds, limit),
            unpriced=counts.unpriced,
        )

    def _change(self, **changes: Any) -> None:
        self._counts = attrs.evolve(self._counts, **changes)


def _is_unpriced(outcome: Outcome) -> bool:
    """Return whether a job was or may have been billed at an unknown cost."""
    billed = outcome.status in {"done", "unknown"} or isinstance(outcome.error, DownloadError)
    return billed and outcome.cost is None


def _with(
    latest: tuple[tuple[int, int], ...], second: int, images: int, now: float
) -> tuple[tuple[int, int], ...]:
    kept = [pair for pair in latest if pair[0] > now - _MINUTE]
    if images and kept and kept[-1][0] == second:
        kept[-1] = (second, kept[-1][1] + images)
    elif images:
        kept.append((second, images))
    return tuple(kept)


def _seconds_left(counts: _Counts, seconds: float, limit: RateLimit | None) -> float | None:
    """Return the longer of two estimates: one from the speed so far, one from the rate limit."""
    if counts.total is None:
        return None
    ended = counts.done + counts.refused + counts.failed + counts.unknown
    left, ended_here = max(0, counts.total - ended), ended - counts.resumed
    if not left:
        return 0.0
    if not ended_here:
        return None
    as_before = left * seconds / ended_here
    if limit is None:
        return as_before
    each = max(1.0, counts.images / ended_here)
    return max(as_before, left * each * limit.per / limit.images)

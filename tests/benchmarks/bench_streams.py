"""Partial pictures as server-sent events."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import Caller, open_imagesdk, open_openai
from tests.benchmarks.cases import BASELINE, AnyCase, Case, Goal, Trial

_EVENTS = 4


async def _stream(caller: Caller, trial: Trial, *, events: int) -> None:
    async with trial.measured():
        came = await caller.stream()
    assert came == events, came


def cases(*, quick: bool) -> list[AnyCase]:
    """Return the cases."""
    return [
        Case(
            f"streams-{size / 1e6:g}",
            f"{_EVENTS} events of {size / 1e6:g} MB each",
            partial(_stream, events=_EVENTS),
            {BASELINE: open_openai, "imagesdk": open_imagesdk},
            Answer(size=size, events=_EVENTS),
            goals=(
                Goal("imagesdk", "cpu", 0.4, relative=True),
                Goal("imagesdk", "rss", 0.35, relative=True),
                Goal("imagesdk", "lag", 5),
            ),
        )
        for size in ((1_500_000,) if quick else (1_500_000, 12_000_000))
    ]

"""Partial images as server-sent events."""

from __future__ import annotations

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import BASELINE, OURS, Caller, openers
from tests.benchmarks.cases import AnyCase, Case, Trial, goals


async def _stream(caller: Caller, trial: Trial) -> None:
    async with trial.measured():
        came = await caller.stream()
    assert came == trial.answer.events, came


def cases(*, quick: bool) -> list[AnyCase]:
    return [
        Case(
            f"streams-{size / 1e6:g}",
            f"4 events of {size / 1e6:g} MB each",
            _stream,
            openers(BASELINE, OURS),
            Answer(size=size, events=4),
            goals=goals(OURS, cpu="0.4x", rss="0.35x", lag=5),
        )
        for size in ((1_500_000,) if quick else (1_500_000, 12_000_000))
    ]

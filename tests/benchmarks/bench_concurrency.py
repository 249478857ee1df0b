"""Many calls at once: large answers that come together, and tiny ones in thousands."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import (
    Caller,
    open_aiohttp,
    open_httpx,
    open_imagesdk,
    open_imagesdk_unbounded,
    open_openai,
)
from tests.benchmarks.cases import BASELINE, AnyCase, Case, Goal, Trial

_OURS, _UNBOUNDED = "imagesdk", "imagesdk, unbounded"
_NOTE = (
    "All tasks are started at once and wait for a semaphore of that size, as a user would write it; without a rate "
    "limit imagesdk itself sends 64 at a time, and the row *unbounded* lifts that."
)


async def _together(caller: Caller, trial: Trial, *, calls: int, concurrency: int, files: bool) -> None:
    gate = asyncio.Semaphore(concurrency)
    failed: list[Exception] = []

    async def one(folder: Path | None) -> None:
        async with gate:
            try:
                await caller.generate(1, folder)
            except Exception as error:  # noqa: BLE001 - how many fail is what is measured
                failed.append(error)

    async with trial.measured():
        await asyncio.gather(*(one(trial.folder if files else None) for _ in range(calls)))
    trial.counts["failed"] = len(failed)


def cases(*, quick: bool) -> list[AnyCase]:
    """Return the cases."""
    large = Answer(size=3_000_000, latency=1000)
    tiny = Answer(latency=50)
    calls = 200 if quick else 2000
    found: list[AnyCase] = [
        Case(
            "concurrency-large",
            "128 calls, 64 at once, 3 MB each after 1 s, to files",
            partial(_together, calls=64 if quick else 128, concurrency=64, files=True),
            {BASELINE: open_openai, _OURS: open_imagesdk, "aiohttp": open_aiohttp},
            large,
            goals=(
                Goal(_OURS, "lag", 0.15, relative=True),
                Goal(_OURS, "rss", 0.12, relative=True),
                Goal(_OURS, "cpu", 0.5, relative=True),
                Goal(_OURS, "connections", 64),
            ),
        )
    ]
    for concurrency, share in ((10, None), (100, 0.6), (1000, 0.4)):
        contenders = {BASELINE: open_openai, _OURS: open_imagesdk}
        goals = [Goal(_OURS, "connections", concurrency), Goal(_OURS, "failed", 0)]
        if share is not None:
            contenders[_UNBOUNDED] = open_imagesdk_unbounded
            goals += [Goal(ours, "cpu", share, relative=True) for ours in (_OURS, _UNBOUNDED)]
            goals.append(Goal(_UNBOUNDED, "connections", concurrency))
            goals.append(Goal(_OURS, "lag", 60))
        found.append(
            Case(
                f"concurrency-{concurrency}",
                f"{calls} calls, {concurrency} at once, tiny answers after 50 ms",
                partial(_together, calls=calls, concurrency=concurrency, files=False),
                {**contenders, "httpx": open_httpx, "aiohttp": open_aiohttp},
                tiny,
                goals=tuple(goals),
                note=_NOTE,
            )
        )
    return found

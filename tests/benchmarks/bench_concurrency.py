"""Many calls at once: large answers that come together, and tiny ones in thousands."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import BASELINE, OURS, Caller, openers
from tests.benchmarks.cases import AnyCase, Case, Trial, goals

_UNBOUNDED = f"{OURS}, unbounded"
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
    calls = 200 if quick else 2000
    found: list[AnyCase] = [
        Case(
            "concurrency-large",
            "128 calls, 64 at once, 3 MB each after 1 s, to files",
            partial(_together, calls=64 if quick else 128, concurrency=64, files=True),
            openers(BASELINE, OURS, "aiohttp"),
            Answer(size=3_000_000, latency=1000),
            goals=goals(OURS, lag="0.15x", rss="0.12x", cpu="0.5x", connections=64),
        )
    ]
    for concurrency, share in ((10, None), (100, "0.6x"), (1000, "0.4x")):
        contenders, held_to = [BASELINE, OURS], goals(OURS, connections=concurrency, failed=0)
        if share is not None:
            contenders.append(_UNBOUNDED)
            held_to += goals(OURS, _UNBOUNDED, cpu=share)
            held_to += goals(_UNBOUNDED, connections=concurrency) + goals(OURS, lag=60)
        found.append(
            Case(
                f"concurrency-{concurrency}",
                f"{calls} calls, {concurrency} at once, tiny answers after 50 ms",
                partial(_together, calls=calls, concurrency=concurrency, files=False),
                openers(*contenders, "httpx", "aiohttp"),
                Answer(latency=50),
                goals=held_to,
                note=_NOTE,
            )
        )
    return found

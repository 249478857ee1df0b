"""A storm of cancelled calls, and whether the client is any the worse for it."""

from __future__ import annotations

import asyncio
import random
from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import BASELINE, OURS, Caller, openers
from tests.benchmarks.cases import AnyCase, Case, Trial, goals

_WAVE = 100
_PLAIN = 30
_PATIENCE = 10.0


async def _storm(caller: Caller, trial: Trial, *, calls: int) -> None:
    chances = random.Random(5000)

    async def doomed() -> None:
        task = asyncio.ensure_future(caller.generate(1, None))
        await asyncio.sleep(chances.random() * 1.5 * trial.answer.latency / 1000)
        task.cancel()
        await asyncio.wait([task])

    async with trial.measured():
        for _ in range(calls // _WAVE):
            await asyncio.gather(*(doomed() for _ in range(_WAVE)))
        plain = [asyncio.wait_for(caller.generate(1, None), _PATIENCE) for _ in range(_PLAIN)]
        results = await asyncio.gather(*plain, return_exceptions=True)
    trial.counts[f"failed of the {_PLAIN}"] = sum(isinstance(result, BaseException) for result in results)


def cases(*, quick: bool) -> list[AnyCase]:
    calls = 500 if quick else 5000
    return [
        Case(
            "cancellation",
            f"{calls} calls cancelled at random moments, then {_PLAIN} plain ones",
            partial(_storm, calls=calls),
            openers(BASELINE, OURS, "httpx", "aiohttp"),
            Answer(size=30_000, latency=40),
            goals=goals(OURS, **{f"failed of the {_PLAIN}": 0}),
        )
    ]

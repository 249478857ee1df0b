"""Fan-outs that meet a rate limit: how many calls succeed, how soon, and with how many refusals on the way."""

from __future__ import annotations

import asyncio
from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import (
    Caller,
    open_imagesdk_limited,
    open_openai,
    open_openai_aiolimiter,
    open_openai_persistent,
    open_openai_tenacity,
)
from tests.benchmarks.cases import BASELINE, AnyCase, Case, Goal, Trial
from tests.benchmarks.limits import CONTESTS, IMAGES, MINUTE, Contest

_OURS = "imagesdk"
_WORK = 500
"""Milliseconds that an answer takes: seven seconds of a real minute."""
_LATENESS = {"sliding": 105, "gcra50": 105, "gcra1": 110, "fixed": 130}
_REFUSALS = {"sliding": 0, "gcra50": 0, "gcra1": 10, "fixed": 0}
_KINDS = {
    "fixed": "a fixed window, half over at the beginning",
    "sliding": "a sliding window",
    "gcra50": f"a bucket of {IMAGES} images",
    "gcra1": "a bucket of one image",
}
_NOTE = (
    f"{IMAGES} images in {MINUTE:g} s, all calls made at once; tenacity and aiolimiter stand before the official "
    "client. The optimum is the last admission of all calls, in their order, by one who knows the server: who fails "
    "is early, and so is who lets a small call go before a large one."
)


async def _fan_out(caller: Caller, trial: Trial, *, contest: Contest) -> None:
    async with trial.measured():
        results = await asyncio.gather(
            *(caller.generate(n, None) for n in contest.weights), return_exceptions=True
        )
    good = sum(not isinstance(result, BaseException) for result in results)
    trial.counts["failed %"] = round(100 * (1 - good / len(results)), 1)


def _goals(contest: Contest) -> tuple[Goal, ...]:
    return (
        Goal(_OURS, "failed %", 0),
        Goal(_OURS, "last admission, % of optimum", _LATENESS[contest.kind]),
        Goal(_OURS, "429s", _REFUSALS[contest.kind]),
    )


def cases(*, quick: bool) -> list[AnyCase]:
    """Return the cases."""
    contenders = {
        BASELINE: open_openai,
        f"{BASELINE}, 10 retries": open_openai_persistent,
        "tenacity": open_openai_tenacity,
        "aiolimiter": open_openai_aiolimiter,
        _OURS: open_imagesdk_limited,
    }
    return [
        Case(
            f"limits-{contest.kind}-{contest.jobs}",
            f"{len(contest.weights)} calls for {sum(contest.weights)} images against {_KINDS[contest.kind]}",
            partial(_fan_out, contest=contest),
            contenders,
            Answer(latency=_WORK, limit=number),
            ticker=False,
            goals=() if quick else _goals(contest),
            note=_NOTE,
        )
        for number, contest in enumerate(CONTESTS, start=1)
        if (contest.jobs == "few") == quick
    ]

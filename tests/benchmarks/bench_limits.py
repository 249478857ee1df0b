"""Fan-outs that meet a rate limit: how many calls succeed, how soon, and with how many refusals on the way."""

from __future__ import annotations

import asyncio
from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import BASELINE, OURS, Caller, open_imagesdk_limited, openers
from tests.benchmarks.cases import AnyCase, Case, Trial, goals
from tests.benchmarks.limits import CONTESTS, IMAGES, MINUTE, Contest

_WORK = 500
"""Milliseconds that an answer takes: seven seconds of a real minute."""
_BOUNDS: dict[str, dict[str, float]] = {
    kind: {"failed %": 0, "last admission, % of optimum": lateness, "429s": refusals}
    for kind, lateness, refusals in (
        ("sliding", 105, 0),
        ("gcra50", 105, 0),
        ("gcra1", 110, 10),
        ("fixed", 130, 0),
    )
}
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


def cases(*, quick: bool) -> list[AnyCase]:
    contenders = openers(BASELINE, f"{BASELINE}, 10 retries", "tenacity", "aiolimiter")
    contenders[OURS] = open_imagesdk_limited
    return [
        Case(
            f"limits-{contest.kind}-{contest.jobs}",
            f"{len(contest.weights)} calls for {sum(contest.weights)} images against {_KINDS[contest.kind]}",
            partial(_fan_out, contest=contest),
            contenders,
            Answer(latency=_WORK, limit=number),
            ticker=False,
            goals=() if quick else goals(OURS, **_BOUNDS[contest.kind]),
            note=_NOTE,
        )
        for number, contest in enumerate(CONTESTS, start=1)
        if (contest.jobs == "few") == quick
    ]

"""What a library and its blocking facade add to a call that costs the server nothing."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.callers import BASELINE, OURS, Caller, openers
from tests.benchmarks.cases import AnyCase, Case, Trial


async def in_turn(caller: Caller, trial: Trial, *, calls: int) -> None:
    await caller.generate(1, None)
    async with trial.measured():
        for _ in range(calls):
            await caller.generate(1, None)


async def _first(caller: Caller, trial: Trial) -> None:
    async with trial.measured():
        await caller.generate(1, None)


def cases(*, quick: bool) -> list[AnyCase]:
    calls = 100 if quick else 1000
    return [
        Case(
            "overhead",
            f"{calls} tiny calls, one after the other",
            partial(in_turn, calls=calls),
            openers(BASELINE, f"{BASELINE}, blocking", OURS, f"{OURS}, blocking", "httpx", "aiohttp"),
            ticker=False,
        ),
        Case(
            "overhead-first",
            "the first call of a process, client made beforehand",
            _first,
            openers(BASELINE, OURS, "httpx", "aiohttp"),
            warm=False,
            note="What a library defers until its first call, it imports while the event loop is blocked.",
        ),
    ]

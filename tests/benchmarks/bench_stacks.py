"""What the HTTP library costs: the same calls over connections of our own and over clients that users bring."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.bench_answers import to_files
from tests.benchmarks.bench_overhead import in_turn
from tests.benchmarks.callers import BASELINE, OURS, openers
from tests.benchmarks.cases import AnyCase, Case

_LIBRARY = "by HTTP library"


def cases(*, quick: bool) -> list[AnyCase]:
    calls = 100 if quick else 1000
    in_order, ten = partial(in_turn, calls=calls), Answer(pictures=4 if quick else 10, size=4_000_000)
    contenders = openers(
        BASELINE, OURS, *(f"{OURS}, {name}" for name in ("httpx", "httpx2", "httpx-aiohttp"))
    )
    overhead = f"{calls} tiny calls, one after the other, {_LIBRARY}"
    return [
        Case("stacks-overhead", overhead, in_order, contenders, ticker=False),
        Case("stacks-files", f"{ten.pictures} x 4 MB to files, {_LIBRARY}", to_files, contenders, ten),
    ]

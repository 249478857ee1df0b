"""What the HTTP library costs: the same calls over connections of our own and over clients that users bring."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.bench_answers import to_files
from tests.benchmarks.bench_overhead import in_turn
from tests.benchmarks.callers import Opener, open_imagesdk, open_imagesdk_over, open_openai
from tests.benchmarks.cases import BASELINE, AnyCase, Case

_CONTENDERS: dict[str, Opener] = {
    BASELINE: open_openai,
    "imagesdk": open_imagesdk,
    "imagesdk, httpx": partial(open_imagesdk_over, library="httpx", name="AsyncClient"),
    "imagesdk, httpx2": partial(open_imagesdk_over, library="httpx2", name="AsyncClient"),
    "imagesdk, httpx-aiohttp": partial(
        open_imagesdk_over, library="httpx_aiohttp", name="HttpxAiohttpClient"
    ),
}


def cases(*, quick: bool) -> list[AnyCase]:
    """Return the cases."""
    calls = 100 if quick else 1000
    ten = Answer(pictures=4 if quick else 10, size=4_000_000)
    return [
        Case(
            "stacks-overhead",
            f"{calls} tiny calls, one after the other, by HTTP library",
            partial(in_turn, calls=calls),
            _CONTENDERS,
            ticker=False,
        ),
        Case(
            "stacks-files",
            f"{ten.pictures} x 4 MB to files, by HTTP library",
            partial(to_files, answer=ten),
            _CONTENDERS,
            ten,
        ),
    ]

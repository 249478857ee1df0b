"""What OpenTelemetry spans and metrics add to a call: to a tiny one, and to one that brings an image."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.bench_overhead import in_turn
from tests.benchmarks.callers import OURS, openers
from tests.benchmarks.cases import AnyCase, Case


def cases(*, quick: bool) -> list[AnyCase]:
    calls = 50 if quick else 500
    contenders = openers(OURS, f"{OURS}, instrumented")
    work = partial(in_turn, calls=calls)
    return [
        Case(
            "telemetry",
            f"{calls} tiny calls, with and without spans and metrics",
            work,
            contenders,
            ticker=False,
        ),
        Case(
            "telemetry-images",
            f"{calls} calls for an image of 2 MB, with and without spans and metrics",
            work,
            contenders,
            Answer(size=2_000_000),
            ticker=False,
        ),
    ]

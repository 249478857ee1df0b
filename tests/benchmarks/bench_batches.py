"""Results of batches: gigabytes that pass through a run to files. The server is in the process, and repeats one image."""

from __future__ import annotations

from functools import partial

from imagesdk import Generate
from tests.benchmarks.callers import OURS, Caller, openers
from tests.benchmarks.cases import AnyCase, Case, Trial, goals
from tests.support.batch_servers import BatchServer
from tests.support.small_images import png

_IMAGE = 112_000
"""Bytes of an image, so that 20 000 of them are 3 GB of results."""
_WARM = 64


async def _results(lines: int, _: Caller, trial: Trial) -> None:
    server = BatchServer(png(2, 2, padding=_IMAGE))
    await _run(server, "warm", _WARM, trial)
    before = server.sent_bytes
    async with trial.measured():
        await _run(server, "image", lines, trial)
    assert server.sent_bytes - before > lines * _IMAGE


async def _run(server: BatchServer, name: str, count: int, trial: Trial) -> None:
    usual = Generate("", model="gpt-image-2", quality="low", size="1024x1024")
    prompts, done = (f"{name} {number}" for number in range(count)), 0
    out = trial.folder / name
    async with server.client() as client:
        async with client.images.fan_out(prompts, out=out, defaults=usual, lane="batch", poll=0.01) as run:
            async for outcome in run:
                done += len(outcome.unwrap())
    assert done == count


def cases(*, quick: bool) -> list[AnyCase]:
    lines = 500 if quick else 20_000
    title = f"{lines} lines and {lines * 1.34 * _IMAGE / 1e9:.1f} GB of results to files"
    work = partial(_results, lines)
    return [Case("batches-results", title, work, openers(OURS), ticker=True, goals=goals(OURS, rss=60))]

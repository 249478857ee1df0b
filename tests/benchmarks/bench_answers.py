"""Large answers: what it costs to have pictures brought, to files and to memory."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import (
    Caller,
    open_aiohttp,
    open_httpx,
    open_imagesdk_fast,
    open_imagesdk_plain,
    open_openai,
)
from tests.benchmarks.cases import BASELINE, AnyCase, Case, Goal, Trial

_FAST, _PLAIN = "imagesdk", "imagesdk without pybase64"
_OURS = {BASELINE: open_openai, _FAST: open_imagesdk_fast, _PLAIN: open_imagesdk_plain}
_ALL = {**_OURS, "httpx": open_httpx, "aiohttp": open_aiohttp}


async def to_files(caller: Caller, trial: Trial, *, answer: Answer) -> None:
    """Have an answer brought to files."""
    async with trial.measured():
        await caller.generate(answer.pictures, trial.folder)
    written = sorted(path.stat().st_size for path in trial.folder.iterdir())
    assert written == [answer.size] * answer.pictures, written


async def _to_memory(caller: Caller, trial: Trial, *, answer: Answer) -> None:
    async with trial.measured():
        pictures = await caller.generate(answer.pictures, None)
    assert [len(picture) for picture in pictures] == [answer.size] * answer.pictures


def cases(*, quick: bool) -> list[AnyCase]:
    """Return the cases."""
    ten = Answer(pictures=4 if quick else 10, size=4_000_000)
    one = Answer(size=12_000_000)
    zipped, chunked = (Answer(ten.pictures, ten.size, **how) for how in ({"gzip": 1}, {"chunk": 16384}))
    named = f"{ten.pictures} x 4 MB"
    megabytes = ten.size / 1e6
    goals = (
        *(Goal(ours, "rss", 0.03, relative=True) for ours in (_FAST, _PLAIN)),
        *(Goal(ours, "rss", 8) for ours in (_FAST, _PLAIN)),
        *(Goal(ours, "lag", 5) for ours in (_FAST, _PLAIN)),
        Goal(_FAST, "cpu", 0.4, relative=True),
        Goal(_PLAIN, "cpu", 0.7, relative=True),
    )
    in_memory = (Goal(_FAST, "rss", 1.15 * ten.pictures * megabytes + megabytes), Goal(_FAST, "lag", 5))
    return [
        Case("answers-files", f"{named} to files", partial(to_files, answer=ten), _ALL, ten, goals=goals),
        Case(
            "answers-memory",
            f"{named} to memory",
            partial(_to_memory, answer=ten),
            _ALL,
            ten,
            goals=in_memory,
        ),
        Case("answers-one", "1 x 12 MB to a file", partial(to_files, answer=one), _OURS, one),
        Case(
            "answers-gzip",
            f"{named} to files, compressed",
            partial(to_files, answer=zipped),
            _OURS,
            zipped,
            goals=(Goal(_FAST, "lag", 10), Goal(_FAST, "rss", 8)),
            note="imagesdk asks for no compression; this server compresses unasked.",
        ),
        Case(
            "answers-chunked",
            f"{named} to files, in chunks of 16 KiB",
            partial(to_files, answer=chunked),
            _OURS,
            chunked,
            goals=(Goal(_FAST, "lag", 5),),
        ),
        Case(
            "answers-tls",
            f"{named} to files, over TLS",
            partial(to_files, answer=ten),
            _ALL,
            ten,
            tls=True,
            goals=(Goal(_FAST, "lag", 5), Goal(_FAST, "cpu", 0.65, relative=True)),
        ),
    ]

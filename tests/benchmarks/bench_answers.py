"""Large answers: what it costs to have images brought, to files and to memory."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import BASELINE, OURS, Caller, open_imagesdk_fast, openers
from tests.benchmarks.cases import AnyCase, Case, Trial, goals

_PLAIN = f"{OURS} without pybase64"


async def to_files(caller: Caller, trial: Trial) -> None:
    async with trial.measured():
        await caller.generate(trial.answer.pictures, trial.folder)
    written = sorted(path.stat().st_size for path in trial.folder.iterdir())
    assert written == [trial.answer.size] * trial.answer.pictures, written


async def _to_memory(caller: Caller, trial: Trial) -> None:
    async with trial.measured():
        images = await caller.generate(trial.answer.pictures, None)
    assert [len(image) for image in images] == [trial.answer.size] * trial.answer.pictures


def cases(*, quick: bool) -> list[AnyCase]:
    ours = openers(BASELINE, OURS, _PLAIN) | {OURS: open_imagesdk_fast}
    everybody = ours | openers("httpx", "aiohttp")
    ten = Answer(pictures=4 if quick else 10, size=4_000_000)
    zipped, chunked = (Answer(ten.pictures, ten.size, **how) for how in ({"gzip": 1}, {"chunk": 16384}))
    named = f"{ten.pictures} x 4 MB"
    files = partial(Case, work=to_files)
    of_files = (
        *goals(OURS, _PLAIN, rss="0.03x"),
        *goals(OURS, _PLAIN, rss=8, lag=5),
        *goals(OURS, cpu="0.4x"),
        *goals(_PLAIN, cpu="0.7x"),
    )
    megabytes = ten.size / 1e6
    of_memory = goals(OURS, rss=1.15 * ten.pictures * megabytes + megabytes, lag=5)
    return [
        files("answers-files", f"{named} to files", contenders=everybody, answer=ten, goals=of_files),
        Case("answers-memory", f"{named} to memory", _to_memory, everybody, ten, goals=of_memory),
        files("answers-one", "1 x 12 MB to a file", contenders=ours, answer=Answer(size=12_000_000)),
        files(
            "answers-gzip",
            f"{named} to files, compressed",
            contenders=ours,
            answer=zipped,
            goals=goals(OURS, lag=10, rss=8),
            note="imagesdk asks for no compression; this server compresses unasked.",
        ),
        files(
            "answers-chunked",
            f"{named} to files, in chunks of 16 KiB",
            contenders=ours,
            answer=chunked,
            goals=goals(OURS, lag=5),
        ),
        files(
            "answers-tls",
            f"{named} to files, over TLS",
            contenders=everybody,
            answer=ten,
            tls=True,
            goals=goals(OURS, lag=5, cpu="0.65x"),
        ),
    ]

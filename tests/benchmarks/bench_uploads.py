"""Edits: what it costs to send files, from a good disk and from one that stalls."""

from __future__ import annotations

import builtins
import io
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.answers import picture
from tests.benchmarks.callers import BASELINE, OURS, Caller, openers
from tests.benchmarks.cases import AnyCase, Case, Trial, goals

_STALL = 0.05
"""Seconds that the first read of each file takes."""


async def _edit(caller: Caller, trial: Trial, *, files: int, size: int, stalling: bool) -> None:
    paths = [trial.folder / f"{number}.png" for number in range(files)]
    for path in paths:
        with path.open("wb") as file:
            file.write(picture(1_000_000))
            for _ in range(size // 1_000_000 - 1):
                file.write(os.urandom(1_000_000))
    with _stalling(trial.folder) if stalling else nullcontext():
        async with trial.measured():
            await caller.edit(paths)


class _StallingFile(io.BufferedReader):
    """A file whose disk takes its time over the first read, however often it is opened."""

    touched: set[str]

    def read(self, size: int | None = -1, /) -> bytes:
        name = str(self.name)
        if name not in self.touched:
            self.touched.add(name)
            time.sleep(_STALL)
        return super().read(size)


@contextmanager
def _stalling(folder: Path) -> Generator[None, None, None]:
    """Have every file of ``folder`` that is opened for reading stall once."""
    plain = io.open
    touched: set[str] = set()

    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if mode != "rb" or not str(file).startswith(f"{folder}/"):
            return plain(file, mode, *args, **options)
        stalling = _StallingFile(io.FileIO(file, "rb"))
        stalling.touched = touched
        return stalling

    io.open = builtins.open = opened
    try:
        yield
    finally:
        io.open = builtins.open = plain


def cases(*, quick: bool) -> list[AnyCase]:
    files = 4 if quick else 16
    edit = partial(_edit, files=files, size=20_000_000)
    contenders = openers(BASELINE, f"{BASELINE}, open files", OURS)
    return [
        Case(
            "uploads",
            f"an edit of {files} x 20 MB, given as paths",
            partial(edit, stalling=False),
            contenders,
            goals=goals(OURS, rss=8, lag=10, cpu="0.7x"),
        ),
        Case(
            "uploads-stalling",
            f"an edit of {files} x 20 MB from a disk that stalls {_STALL * 1e3:.0f} ms over each file",
            partial(edit, stalling=True),
            contenders,
            goals=goals(OURS, rss=8, lag=10),
        ),
    ]

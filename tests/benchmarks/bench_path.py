"""How many functions a call passes through, and how often it moves from one room of the package to another."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field

import imagesdk
from tests.benchmarks.callers import PROMPT, Caller, open_imagesdk_roomy
from tests.benchmarks.cases import AnyCase, Case, Trial, goals

if TYPE_CHECKING:
    from imagesdk import AsyncClient

_OURS = "imagesdk"
_PACKAGE = str(Path(imagesdk.__file__).parent)
_FEW, _MANY = 5, 15
"""Jobs of two runs, whose difference is what one job adds."""
_GOALS = {"functions": 150, "moves between rooms": 60}
_BEFORE = (
    "Before the rooms, with each time that a coroutine is resumed: 197 functions and 155 moves for a call, 293 and 356 "
    "for a job of a run. In rooms, counted as here, but with the old engine: 205 and 73 for a call, 301 and 136 for a job."
)


@define
class _Path:
    """The functions of the package that the event loop's thread has called, in order.

    A coroutine that is resumed is not called again: how often that happens depends on the network.
    """

    codes: list[tuple[str, CodeType]] = field(factory=list[tuple[str, CodeType]])
    _frames: dict[int, FrameType] = field(factory=dict[int, FrameType])
    """Every frame that was entered, kept so that none has the address of an earlier one."""

    @property
    def functions(self) -> int:
        return len({code for _, code in self.codes if not code.co_name.startswith("<")})

    @property
    def between_modules(self) -> int:
        return _changes([module for module, _ in self.codes])

    @property
    def between_rooms(self) -> int:
        """The number of moves from one module or folder directly under the package to another."""
        return _changes([".".join(module.split(".")[:2]) for module, _ in self.codes])

    @contextmanager
    def recorded(self) -> Generator[None]:
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        is_ours = frame.f_code.co_filename.startswith(_PACKAGE)
        if event == "call" and is_ours and id(frame) not in self._frames:
            self._frames[id(frame)] = frame
            self.codes.append((frame.f_globals["__name__"], frame.f_code))


def _changes(names: list[str]) -> int:
    return sum(one != other for one, other in pairwise(names))


async def _call(caller: Caller, trial: Trial) -> None:
    path = _Path()
    await caller.generate(1, None)  # what is made at first need is no part of the way
    with path.recorded():
        await caller.generate(1, None)
    trial.counts["functions"] = path.functions
    trial.counts["moves between rooms"] = path.between_rooms
    trial.counts["moves between modules"] = path.between_modules


async def _run(caller: Caller, trial: Trial) -> None:
    client: AsyncClient = cast("Any", caller).client
    few, many = _Path(), _Path()
    for path, count in ((_Path(), 1), (few, _FEW), (many, _MANY)):
        jobs, folder = [f"{PROMPT} {number}" for number in range(count)], trial.folder / str(count)
        with path.recorded():
            async with client.images.fan_out(jobs, out=folder, concurrency=1) as run:
                assert [outcome.status async for outcome in run] == ["done"] * count
    jobs_more = _MANY - _FEW
    trial.counts["functions"] = many.functions
    trial.counts["moves between rooms"] = round((many.between_rooms - few.between_rooms) / jobs_more)
    trial.counts["moves between modules"] = round((many.between_modules - few.between_modules) / jobs_more)


def cases(*, quick: bool) -> list[AnyCase]:
    return [
        Case(
            f"path-{name}",
            title,
            work,
            {_OURS: open_imagesdk_roomy},
            ticker=False,
            goals=goals(_OURS, **{measure: times * limit for measure, limit in _GOALS.items()}),
            note=_BEFORE,
        )
        for name, title, work, times in (
            ("call", "the way of one call through the package", _call, 1),
            ("job", "the way of one job of a run to files, with the functions of the whole run", _run, 2),
        )
    ]

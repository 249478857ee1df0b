"""What a batch does wrong on request: see :meth:`imagesdk.emulator.Faults.batch`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Literal, TypeAlias, cast, get_args

from attrs import field, fields, frozen

from imagesdk.emulator.batch_input import BatchInput, Entry

__all__ = ["BatchFault", "LineOrder", "Lines", "read_batch_fault"]

Lines: TypeAlias = int | Sequence[str]
"""A number of lines, or their ``custom_id``s."""
LineOrder: TypeAlias = Literal["shuffled", "given", "reversed"]


@frozen
class BatchFault:
    """Faults of one batch, as :meth:`imagesdk.emulator.Faults.batch` describes them."""

    missing: Lines = 0
    duplicated: Lines = 0
    no_status: Lines = 0
    garbled: Lines = 0
    failed: Lines = 0
    counts: Mapping[str, int] = field(factory=dict[str, int])
    no_output_file: bool = False
    files_gone: bool = False
    rest_missing: bool = False
    error: str | None = None
    delay: float | None = None
    stuck: float | None = None
    cancel_hangs: bool = False
    unlisted: float = 0
    order: LineOrder = "shuffled"
    webhooks: int = 1

    def __attrs_post_init__(self) -> None:
        if self.stuck is not None and not 0 <= self.stuck <= 1:
            raise ValueError(f"stuck is a share between 0 and 1, not {self.stuck!r}")
        if self.delay is not None and not self.delay >= 0:
            raise ValueError(f"delay is a number of seconds of at least 0, not {self.delay!r}")
        if self.order not in get_args(LineOrder):
            raise ValueError(f"order is one of {', '.join(get_args(LineOrder))}, not {self.order!r}")
        if unknown := set(self.counts) - {"total", "completed", "failed"}:
            raise ValueError(f"counts has total, completed and failed, not {', '.join(sorted(unknown))}")

    @property
    def name(self) -> str:
        """The words that change something."""
        usual = BatchFault()
        return ", ".join(
            one.name for one in fields(BatchFault) if getattr(self, one.name) != getattr(usual, one.name)
        )

    def bent(self, entries: list[Entry], given: BatchInput, dice: random.Random) -> list[Entry]:
        """Return the entries of an output file as this batch writes them."""
        free = [index for _, index in entries]
        chosen: list[frozenset[int]] = []
        for lines in (self.missing, self.no_status, self.garbled, self.duplicated):
            chosen.append(_chosen(lines, free, given, dice))
            free = [index for index in free if index not in chosen[-1]]
        lost, bare, cut, twice = chosen
        found: list[Entry] = []
        for kind, index in entries:
            if index in lost:
                continue
            entry: Entry = ("no_status" if index in bare else "half" if index in cut else kind, index)
            found += [entry, entry] if index in twice else [entry]
        if self.order == "shuffled":
            dice.shuffle(found)
        elif self.order == "reversed":
            found.reverse()
        return found

    def failing(self, given: BatchInput, dice: random.Random) -> frozenset[int]:
        """Return the lines that fail with a server error."""
        return _chosen(self.failed, range(len(given)), given, dice)


def _chosen(lines: Lines, among: Sequence[int], given: BatchInput, dice: random.Random) -> frozenset[int]:
    if isinstance(lines, int):
        return frozenset(dice.sample(among, min(lines, len(among))))
    wanted = set(lines)
    return frozenset(index for index in among if wanted and given[index].custom_id in wanted)


def read_batch_fault(given: Mapping[str, object]) -> tuple[BatchFault, int]:
    """Read a fault and the number of its batches from a JSON object: ``{"missing": 2, "times": 3}``.

    Raises:
        ValueError: If a name is not known, or a value is not of its type.
    """
    words = dict(given)
    times = words.pop("times", 1)
    if not _is_number(times, int):
        raise ValueError(f"times is a number of batches, not {times!r}")
    known = {one.name: one.default for one in fields(BatchFault)}
    for name, value in words.items():
        if name not in known:
            raise ValueError(f"a fault of a batch has {', '.join(known)}, not {name!r}")
        if not _fits(name, value, known[name]):
            raise ValueError(f"{name} has a value of the wrong type: {value!r}")
    return BatchFault(**words), cast("int", times)  # type: ignore[arg-type]  # the values were checked


def _fits(name: str, value: object, default: object) -> bool:
    if name in {"missing", "duplicated", "no_status", "garbled", "failed"}:
        if not isinstance(value, list):
            return _is_number(value, int)
        return all(isinstance(one, str) for one in cast("list[object]", value))
    if name == "counts":
        counts = cast("dict[str, object]", value) if isinstance(value, dict) else {"": None}
        return all(_is_number(one, int) for one in counts.values())
    if name in {"delay", "stuck", "unlisted"}:
        return _is_number(value, int | float)
    if isinstance(default, bool):
        return isinstance(value, bool)
    return _is_number(value, int) if name == "webhooks" else isinstance(value, str)


def _is_number(value: object, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and cast("float", value) >= 0

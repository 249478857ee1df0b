"""What a batch does wrong on request: see :meth:`imagesdk.emulator.Faults.batch`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from attrs import field, frozen

from imagesdk.emulator.batch_input import BatchInput, Entry

__all__ = ["BatchFault", "LineOrder", "Lines"]

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
    error: str | None = None
    delay: float | None = None
    stuck: float | None = None
    cancel_hangs: bool = False
    unlisted: float = 0
    order: LineOrder = "shuffled"
    webhooks: int = 1

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

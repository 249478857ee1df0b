"""What goes wrong at a server, drawn by chance from a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Fault: TypeAlias = Literal[
    "500", "503", "reset before", "reset after", "truncated", "garbage", "hang", "slow", "500 after", "drip"
]
"""``500``, ``503`` and ``reset before`` come instead of the work, all others after it, so that it is billed: a
connection that breaks, half an answer, an answer that is no JSON, none at all, a late one, a 500 all the same, and
one of a byte now and then."""

FREE: Final = frozenset[Fault]({"500", "503", "reset before"})
"""Those that come before anything was made."""

USUAL: Final[Mapping[Fault, float]] = {
    "500": 0.03,
    "503": 0.02,
    "reset before": 0.02,
    "reset after": 0.03,
    "truncated": 0.02,
    "garbage": 0.02,
    "hang": 0.01,
    "slow": 0.01,
    "500 after": 0.01,
}
"""A bad day: 17 of 100 requests go wrong."""


class Faults:
    """Draws a fault, or none, for each request in turn."""

    def __init__(self, chances: Mapping[Fault, float], *, seed: int = 0) -> None:
        self._chances = dict(chances)
        self._random = random.Random(seed)

    def draw(self) -> Fault | None:
        """Return what goes wrong with the next request."""
        chance = self._random.random()
        for fault, share in self._chances.items():
            chance -= share
            if chance < 0:
                return fault
        return None

"""The accounts that simulations are run against: four kinds of server, and lists of jobs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from tests.simulator.limits import Account, FixedWindow, Gcra, Limit, SlidingLog

MakeAccount: TypeAlias = Callable[[], Account]

KINDS: Final = ("fixed", "sliding", "gcra50", "gcra1")
"""Windows of fixed phase, a sliding log, a bucket that holds a whole minute, and one that holds one image."""


def account_of(
    kind: str,
    images: int = 50,
    *,
    per: float = 60.0,
    phase: float = 0.5,
    others: Iterable[tuple[float, int]] = (),
    counts_refused: bool = False,
) -> MakeAccount:
    """Return what makes an account of a kind, in its state at time 0."""
    others = tuple(others)

    def make() -> Account:
        return Account(_limit(kind, images, per, phase), others=others, counts_refused=counts_refused)

    return make


def _limit(kind: str, images: int, per: float, phase: float) -> Limit:
    match kind:
        case "fixed":
            return FixedWindow(images, per, phase=phase)
        case "sliding":
            return SlidingLog(images, per)
        case "gcra1":
            return Gcra(images, per, burst=1)
        case "gcra50":
            return Gcra(images, per, burst=images)
        case _:
            raise LookupError(f"there is no kind {kind!r}")


def mixed(jobs: int, *, seed: int = 4) -> list[int]:
    """Return what so many jobs ask for: 1, 4 or 10 images, by chance.

    A total of a few images over a number of full windows is unfair against a bucket of a whole window: it refills
    evenly and has room for the few soon, where all who cannot know that it is a bucket wait for one more window. The
    default seed gives no such total for 200 and 500 jobs.
    """
    chance = random.Random(seed)
    return [chance.choice((1, 4, 10)) for _ in range(jobs)]

"""How soon the last request could have been let in, had the client known everything."""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulator.limits import Account


def last_admission(account: Account, weights: Iterable[int]) -> float:
    """Return when the last of ``weights`` is let in by a fresh account, from 0 on, each as soon as it can, in order.

    The account is used up by it.
    """
    now = 0.0
    for weight in weights:
        now = account.next_room(weight, now)
        account.limit.charge(weight, now)
    return now

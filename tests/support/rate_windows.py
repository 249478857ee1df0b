"""Rate windows under an invented clock: short names for what tests do with them."""

from __future__ import annotations

from typing import Any

from imagesdk._protocol.limits import Counted, SaidLimit, SaidLimits
from imagesdk._protocol.line import Ticket
from imagesdk._protocol.window import RateWindow
from imagesdk.policies import RateLimit


def window(images: int = 4, per: float = 60.0, *, adaptive: bool = False, **limits: Any) -> RateWindow:
    return RateWindow(RateLimit(images, per, **limits), adaptive=adaptive)


def waits(*seconds: float) -> SaidLimits:
    """An answer that says how long to wait, and nothing else."""
    return SaidLimits(waits=seconds)


def names(
    limit: int,
    per: float | None = None,
    *,
    what: Counted = "images",
    surely: bool = True,
    wait: float | None = None,
) -> SaidLimits:
    """An answer that names a limit."""
    return SaidLimits(
        waits=() if wait is None else (wait,),
        limits={what: SaidLimit(limit, per)},
        surely=surely,
        refused=what,
    )


def starts(rate_window: RateWindow, now: float, until: float) -> list[tuple[Ticket, float]]:
    """Who goes from ``now`` to ``until``, each sent at once, and when."""
    found: list[tuple[Ticket, float]] = []
    while now <= until:
        granted, next_at = rate_window.poll(now)
        for ticket in granted:
            rate_window.sent(ticket, now)
            found.append((ticket, now))
        if granted:
            next_at = rate_window.poll(now)[1]
        if next_at is None:
            break
        now = next_at
    return found


def grants(rate_window: RateWindow, now: float) -> list[Ticket]:
    """All that go within a burst that begins now, each sent at once."""
    found: list[Ticket] = []
    while True:
        granted, next_at = rate_window.poll(now)
        for ticket in granted:
            rate_window.sent(ticket, now)
        found += granted
        if next_at is None or next_at > now + 2 * rate_window.gap:
            return found
        now = next_at


def sent_now(rate_window: RateWindow, now: float, weight: int = 1, tokens: int = 0) -> Ticket:
    ticket = rate_window.enqueue(weight, tokens)
    assert grants(rate_window, now) == [ticket]
    return ticket

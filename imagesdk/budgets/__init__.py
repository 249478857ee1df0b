"""Who may send, and when: the permits that stand before every attempt.

A :class:`Budget` hosts the state of a rate limit (:mod:`imagesdk._protocol.window`) and lets calls wait for it. A
ticket goes through ``enqueue``, ``wait``, ``sent``, and then ``proven`` or ``throttled`` (which puts it back in
line); ``release`` ends it at any point, and gives back what was not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from imagesdk._protocol.limits import SaidLimits
from imagesdk._protocol.line import Ticket
from imagesdk.policies import RateLimit

OnWait: TypeAlias = Callable[[int, float, str], None]


class Budget(Protocol):
    """A shared limit. Every method but ``wait`` is immediate and may be called from any thread."""

    @property
    def limit(self) -> RateLimit | None:
        """The limit in force."""
        ...

    def remember(self, weight: int, sent_at: float) -> None:
        """Count images that another process asked for (at a time of ``time.monotonic``)."""
        ...

    def enqueue(self, weight: int, *, place_of: Ticket | None = None) -> Ticket:
        """Stand in line for ``weight`` images: at its end, or at the place of a ticket that has been released.

        Raises:
            LimitWaitError: it can never fit.
        """
        ...

    async def wait(self, ticket: Ticket, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when the request may be sent.

        ``on_wait`` is told once, where that will take seconds: how many stand before it, the seconds until its turn,
        about, and what for.

        Raises:
            LimitWaitError: that will not be before ``deadline`` (of ``time.monotonic``).
        """
        ...

    def sent(self, ticket: Ticket) -> None:
        """Note that the request has been written out whole."""
        ...

    def proven(self, ticket: Ticket, said: SaidLimits, tokens: int | None) -> None:
        """Note that the server took the request, what it said of its limits, and the tokens it counted."""
        ...

    def throttled(self, ticket: Ticket, said: SaidLimits) -> None:
        """Note that the server answered 429, and stand in line again at the old place."""
        ...

    def release(self, ticket: Ticket) -> None:
        """Leave: the line, or the limit if the request was never sent."""
        ...

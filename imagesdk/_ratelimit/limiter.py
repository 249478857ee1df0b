"""Who may send, and when: the permits that stand before every attempt.

A :class:`Limiter` hosts the state of a rate limit (:mod:`imagesdk._ratelimit.window`) and lets calls wait for it. A
permit goes through ``enqueue``, ``wait``, ``sent``, and then ``proven`` or ``throttled`` (which puts it back in
line); ``release`` ends it at any point, and gives back what was not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.queue import Permit
from imagesdk.policies import RateLimit

OnWait: TypeAlias = Callable[[int, float, str], None]


class Limiter(Protocol):
    """A shared limit. Every method but ``wait`` is immediate and may be called from any thread."""

    @property
    def limit(self) -> RateLimit | None:
        """The limit in force."""
        ...

    def remember(self, weight: int, sent_at: float) -> None:
        """Count images that another process asked for (at a time of ``time.monotonic``)."""
        ...

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        """Stand in line for ``weight`` images: at its end, or at the place of a permit that has been released.

        Raises:
            LimitWaitError: it can never fit.
        """
        ...

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when the request may be sent.

        ``on_wait`` is told once, where that will take seconds: how many stand before it, the seconds until its turn,
        about, and what for.

        Raises:
            LimitWaitError: that will not be before ``deadline`` (of ``time.monotonic``).
        """
        ...

    def sent(self, permit: Permit) -> None:
        """Note that the request has been written out whole."""
        ...

    def accepted(self, permit: Permit, said: ServerLimits, tokens: int | None) -> None:
        """Note that the server took the request, what it said of its limits, and the tokens it counted."""
        ...

    def rejected(self, permit: Permit, said: ServerLimits) -> None:
        """Note that the server answered 429, and stand in line again at the old place."""
        ...

    def release(self, permit: Permit) -> None:
        """Leave: the line, or the limit if the request was never sent."""
        ...

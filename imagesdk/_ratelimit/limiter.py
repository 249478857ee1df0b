"""Interface of a limiter: the permits that a call needs before every attempt.

A permit goes through ``enqueue``, ``wait``, ``sent``, and then ``accepted`` or ``rejected``, which returns it to the
queue. ``release`` ends it at any point, and frees what was not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.queue import Permit
from imagesdk.policies import RateLimit

OnWait: TypeAlias = Callable[[int, float, str], None]
"""Called with the position in the queue, the estimated seconds of waiting, and the reason."""


class Limiter(Protocol):
    """A limit that calls share. All methods but ``wait`` are immediate, and may be called from any thread."""

    @property
    def limit(self) -> RateLimit | None:
        """The limit in force; ``None`` for none."""

    def remember(self, sendings: Iterable[tuple[int, float]]) -> None:
        """Count requests that another process sent: their images, and when (of ``time.monotonic``)."""

    def enqueue(self, weight: int, *, rejoin: Permit | None = None) -> Permit:
        """Join the queue for ``weight`` images, at its end or at the place of a released permit.

        Raises:
            LimitWaitError: If so many images can never fit the limit.
        """
        ...

    async def wait(self, permit: Permit, *, deadline: float | None, on_wait: OnWait | None = None) -> None:
        """Return when the request may be sent. Call ``on_wait`` once, if the wait takes seconds.

        Raises:
            LimitWaitError: If the permit will not be granted before the deadline (of ``time.monotonic``), or the
                server answered nothing but 429 for longer than the permit has patience.
        """

    def sent(self, permit: Permit) -> None:
        """Note that the request was written to the connection as a whole."""

    def accepted(self, permit: Permit, stated: ServerLimits, tokens: int | None) -> None:
        """Note that the server accepted the request, with the limits it stated and the tokens it counted."""

    def answered(self, permit: Permit, stated: ServerLimits, *, uncounted: bool) -> None:
        """Note that the server refused the request, though not for its limit, and whether it is known not to count it."""

    def rejected(self, permit: Permit, stated: ServerLimits) -> None:
        """Note that the server answered 429, and return the permit to its place in the queue."""

    def release(self, permit: Permit) -> None:
        """Give up the place in the queue, or a granted permit whose request was not sent."""

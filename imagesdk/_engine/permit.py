"""The place of one call in the rate limit, from its first attempt to its end."""

from __future__ import annotations

from attrs import define, field

from imagesdk._protocol.server_limits import ServerLimits
from imagesdk._ratelimit.limiter import Limiter, OnWait
from imagesdk._ratelimit.queue import Permit


@define
class CallPermit:
    """A permit of the limiter that a call holds, loses between two attempts, and asks for again."""

    _limiter: Limiter
    _weight: int
    limited: bool
    """Whether a rate limit is in force, in which the call can wait after a 429."""
    patience: float | None
    """Seconds of nothing but 429s after which it stops waiting; ``None`` for no end."""
    _permit: Permit | None = field(default=None, init=False)
    _is_held: bool = field(default=False, init=False)
    _is_sent: bool = field(default=False, init=False)

    async def acquire(self, *, deadline: float | None, on_wait: OnWait) -> None:
        """Wait until a request may be sent. A call that asks again keeps its place in the queue."""
        if self._permit is None or not self._is_held:
            self._permit = self._limiter.enqueue(self._weight, rejoin=self._permit)
            self._permit.patience = self.patience
            self._is_held = True
        self._is_sent = False
        await self._limiter.wait(self._permit, deadline=deadline, on_wait=on_wait)

    def sent(self) -> None:
        """Report that the request was written out, once an attempt."""
        if self._permit is not None and not self._is_sent:
            self._is_sent = True
            self._limiter.sent(self._permit)

    def accepted(self, server_limits: ServerLimits, tokens: int | None) -> None:
        """Report that the server accepted the request, its limits, and the tokens that it counted."""
        if self._permit is not None:
            self._limiter.accepted(self._permit, server_limits, tokens)

    def answered(self, server_limits: ServerLimits, *, uncounted: bool) -> None:
        """Report an error that is no 429, and whether the server is known not to count the request."""
        if self._permit is not None:
            self._limiter.answered(self._permit, server_limits, uncounted=uncounted)

    def rejected(self, server_limits: ServerLimits) -> None:
        """Report a 429. The call is in the queue again, at its old place."""
        if self._permit is not None:
            self._limiter.rejected(self._permit, server_limits)

    def release(self) -> None:
        """Leave the queue, or the window if the request was never sent."""
        if self._permit is not None and self._is_held:
            self._is_held = False
            self._limiter.release(self._permit)

"""Waiting calls for limiters whose clock only the test moves: real time must not wake them."""

from __future__ import annotations

import anyio

from imagesdk._ratelimit.shared import Waiter


class PatientWaiter(Waiter):
    """A call that sleeps until it is woken."""

    async def sleep(self, wake_at: float | None, now: float) -> None:
        self.wake_at = min((at for at in (wake_at, self.deadline) if at is not None), default=None)
        await self._event.wait()
        self._event = anyio.Event()

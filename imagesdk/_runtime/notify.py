"""A broadcast event that wakes every waiter at each change."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio


class Notifier:
    """A broadcast event."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake every waiter."""
        self._event.set()
        self._event = anyio.Event()

    def wait(self) -> Awaitable[None]:
        """Wait for the next notification."""
        return self._event.wait()

"""A broadcast event: wakes every waiter each time something changes."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio


class Notifier:
    """Wakes all who wait for something to change."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake them."""
        self._event.set()
        self._event = anyio.Event()

    def wait(self) -> Awaitable[None]:
        """Wait for the next change."""
        return self._event.wait()

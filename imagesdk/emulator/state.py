"""What the emulator remembers: the requests it saw, what it billed, its queued faults, its window, results and files.

Tests read it and queue faults; the application writes it, on its own event loop. No key is ever kept: only
whether one came.
"""

from __future__ import annotations

import time

from attrs import define, field

from imagesdk.emulator.faults import CloseConnection, Faults
from imagesdk.emulator.files import FileStore
from imagesdk.emulator.limits import ImageWindow
from imagesdk.emulator.results import ResultStore

__all__ = ["EmulatorState", "RequestRecord"]

_MAX_RECORDS = 10_000


@define
class RequestRecord:
    """A request as it came. What its body did not tell, or was not read for, is ``None``."""

    method: str
    path: str
    user_agent: str | None
    idempotency_key: str | None
    authorized: bool
    """Whether an ``Authorization`` header came with it."""
    model: str | None = None
    n: int | None = None
    prompt: str | None = None
    status: int | None = None
    """The status of the answer; ``None`` while there is none."""
    stream: bool = False
    """Whether the answer is a stream of events."""
    events: int = 0
    """How many whole events of the stream were sent."""


@define
class EmulatorState:
    """The memory of one emulator."""

    requests: list[RequestRecord] = field(factory=list[RequestRecord])
    """Every request, oldest first, downloads among them; the last 10 000."""
    billed_images: int = 0
    """How many pictures were worked on, whether or not they arrived."""
    faults: Faults = field(factory=Faults)
    """What to do wrong next."""
    window: ImageWindow | None = None
    results: ResultStore = field(factory=lambda: ResultStore(time.time))
    files: FileStore = field(factory=lambda: FileStore(time.time))
    """What was uploaded to the Files API."""
    open_streams: int = 0
    """How many streams are being sent at the moment."""
    close_connection: CloseConnection | None = None
    """Set by a server that can close a connection."""

    def remember(self, record: RequestRecord) -> None:
        """Add a request."""
        self.requests.append(record)
        del self.requests[:-_MAX_RECORDS]

    def reset(self) -> None:
        """Forget everything, as if the emulator had just been started."""
        self.requests.clear()
        self.billed_images = 0
        self.faults.clear()
        self.results.clear()
        self.files.clear()
        if self.window is not None:
            self.window.clear()

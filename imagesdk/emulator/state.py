"""State of an emulator: recorded requests, billed images, faults, rate limit, results and files.

Tests read it and queue faults. The application writes it on its own event loop. It records whether a request
had a key, but never the key.
"""

from __future__ import annotations

import time

from attrs import define, field

from imagesdk.emulator.batches import BatchStore
from imagesdk.emulator.billing import Bill
from imagesdk.emulator.clock import VirtualClock
from imagesdk.emulator.faults import CloseConnection, Faults
from imagesdk.emulator.files import FileStore
from imagesdk.emulator.limits import ImageWindow, UploadWindow
from imagesdk.emulator.provenance import DrawnImages
from imagesdk.emulator.results import ResultStore

__all__ = ["EmulatorState", "RequestRecord"]

_MAX_RECORDS = 10_000


@define
class RequestRecord:
    """Received request. A field is ``None`` if the body lacks it or was not read."""

    method: str
    path: str
    user_agent: str | None
    idempotency_key: str | None
    authorized: bool
    """Whether the request had an ``Authorization`` header."""
    model: str | None = None
    n: int | None = None
    prompt: str | None = None
    status: int | None = None
    """Status of the response, or ``None`` before there is one."""
    stream: bool = False
    """Whether the response is a stream of events."""
    events: int = 0
    """Number of complete events that were sent."""


@define
class EmulatorState:
    """State of one emulator."""

    requests: list[RequestRecord] = field(factory=list[RequestRecord])
    """The last 10 000 requests, oldest first, including downloads."""
    bill: Bill = field(factory=Bill)
    """Images and dollars, of single requests and of batches."""
    clock: VirtualClock = field(factory=VirtualClock)
    """The time, which :meth:`Emulator.advance` advances."""
    faults: Faults = field(factory=Faults)
    """Queued faults."""
    window: ImageWindow | None = None
    results: ResultStore = field(factory=lambda: ResultStore(time.time))
    files: FileStore = field(factory=lambda: FileStore(time.time))
    """Uploads of the Files API."""
    uploads: UploadWindow | None = None
    batches: BatchStore = field(factory=lambda: BatchStore(time.time, FileStore(time.time)))
    """Batches of the Batch API."""
    drawn: DrawnImages = field(factory=DrawnImages)
    """Images that a provenance check recognizes."""
    open_streams: int = 0
    """Number of streams that are being sent."""
    close_connection: CloseConnection | None = None
    """Set by a server that can close a connection."""

    @property
    def billed_images(self) -> int:
        """Number of images that were billed, whether or not the client received them."""
        return self.bill.images.total()

    def remember(self, record: RequestRecord) -> None:
        """Record a request."""
        self.requests.append(record)
        del self.requests[:-_MAX_RECORDS]

    def reset(self) -> None:
        """Forget everything that was recorded, queued and stored."""
        self.requests.clear()
        self.clock.reset()
        self.faults.clear()
        self.results.clear()
        self.files.clear()
        self.batches.clear()
        self.bill.clear()
        if self.uploads is not None:
            self.uploads.clear()
        self.drawn.clear()
        if self.window is not None:
            self.window.clear()

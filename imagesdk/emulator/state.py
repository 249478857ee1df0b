"""State of an emulator: recorded requests, billed images, faults, rate limit, results and files.

Tests read it and queue faults. The application writes it on its own event loop. It records whether a request
had a key, but never the key.
"""

from __future__ import annotations

import time
from collections.abc import Container

from attrs import define, field

from imagesdk.emulator.batches import BatchStore
from imagesdk.emulator.billing import Bill
from imagesdk.emulator.clock import VirtualClock
from imagesdk.emulator.faults import CloseConnection, Fault, Faults, FaultTarget
from imagesdk.emulator.files import FileStore
from imagesdk.emulator.limits import ImageWindow, UploadWindow
from imagesdk.emulator.log import ConnectionLog, RequestRecord
from imagesdk.emulator.provenance import DrawnImages
from imagesdk.emulator.results import ResultStore
from imagesdk.emulator.verdict import Evidence, Verdict

__all__ = ["EmulatorState", "RequestRecord"]

_MAX_RECORDS = 10_000


@define
class EmulatorState:
    """State of one emulator."""

    requests: list[RequestRecord] = field(factory=list[RequestRecord])
    """The last 10 000 requests, oldest first, including downloads."""
    billed_images: int = 0
    """Number of images that were drawn, whether or not the client received them."""
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
    connections: ConnectionLog = field(factory=ConnectionLog)
    """Connections of clients, if the emulator runs on a socket."""
    open_streams: int = 0
    """Number of streams that are being sent."""
    close_connection: CloseConnection | None = None
    """Set by a server that can close a connection."""

    _count: int = 0

    def remember(self, record: RequestRecord) -> None:
        """Record a request, and give it its number."""
        self._count += 1
        record.number = self._count
        self.requests.append(record)
        del self.requests[:-_MAX_RECORDS]

    def take_fault(self, record: RequestRecord, target: FaultTarget = "images") -> Fault | None:
        """Remove the next queued fault for a request, record and return it."""
        fault = self.faults.take(target)
        if fault is not None:
            record.fault = fault.name
            record.error = fault.error
        return fault

    def verdict(self, *, ignore: Container[str] = ()) -> Verdict:
        """Return the verdict on the recorded requests.

        Args:
            ignore: Names of rules that do not count, from :data:`imagesdk.emulator.detectors.RULES`.
        """
        from imagesdk.emulator.detectors import judge

        window = self.window
        evidence = Evidence(
            list(self.requests),
            list(self.connections.records),
            None if window is None else window.limit,
            60.0 if window is None else window.seconds,
        )
        return judge(evidence, ignore=ignore)

    def reset(self) -> None:
        """Forget everything that was recorded, queued and stored."""
        self.requests.clear()
        self.connections.clear()
        self._count = 0
        self.clock.reset()
        self.billed_images = 0
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

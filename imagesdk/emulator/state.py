"""State of an emulator: recorded requests, billed images, faults, rate limit, results and files.

Tests read it and queue faults. The application writes it on its own event loop. It records whether a request
had a key, but never the key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from attrs import define, field

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.batches import BatchStore
from imagesdk.emulator.billing import Bill
from imagesdk.emulator.clock import VirtualClock
from imagesdk.emulator.exhibits import Exhibits
from imagesdk.emulator.fault_words import fault_in_prompt, parse_fault
from imagesdk.emulator.faults import CloseConnection, Fault, Faults, FaultTarget
from imagesdk.emulator.files import FileStore
from imagesdk.emulator.limits import ImageWindow, UploadWindow
from imagesdk.emulator.log import ConnectionLog, RequestRecord
from imagesdk.emulator.options import EmulatorOptions
from imagesdk.emulator.provenance import DrawnImages
from imagesdk.emulator.results import ResultStore
from imagesdk.emulator.verdict import Evidence, Verdict

__all__ = ["FAULT_HEADER", "EmulatorState", "RequestRecord"]

FAULT_HEADER = "X-Emulator-Fault"
"""Header of a request that asks for a fault."""

_MAX_RECORDS = 10_000


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
    exhibits: Exhibits = field(factory=Exhibits)
    """Images and responses for the page at ``/``."""
    connections: ConnectionLog = field(factory=ConnectionLog)
    """Connections of clients, if the emulator runs on a socket."""
    open_streams: int = 0
    """Number of streams that are being sent."""
    close_connection: CloseConnection | None = None
    """Set by a server that can close a connection."""
    configure: Callable[[EmulatorOptions], None] | None = None
    """Set by a server that can change the options of its application."""

    prepare: Callable[[EmulatorState], None] | None = None
    """Called after each reset, to add what the emulator starts with."""
    changes: int = 0
    """Number of requests that may have changed the state."""
    _count: int = 0
    _faulty_attempts: dict[str, int] = field(factory=dict[str, int])
    """How often each request with a fault of its own arrived."""

    @property
    def billed_images(self) -> int:
        """Number of images that were billed, whether or not the client received them."""
        return self.bill.images.total()

    def remember(self, record: RequestRecord) -> None:
        """Record a request, and give it its number."""
        self._count += 1
        record.number = self._count
        self.requests.append(record)
        del self.requests[:-_MAX_RECORDS]

    def take_fault(self, record: RequestRecord, target: FaultTarget = "images") -> Fault | None:
        """Remove the next queued fault for a request, record and return it."""
        fault = self.faults.take(target)
        return None if fault is None else _applied(record, fault)

    def requested_fault(self, record: RequestRecord, header: str | None) -> Fault | None:
        """Return the fault that a request asks for in its header or its prompt. Later attempts are served."""
        text = header or fault_in_prompt(record.prompt or "")
        if text is None:
            return None
        try:
            requested = parse_fault(text)
        except ValueError as error:
            where = FAULT_HEADER if header else "prompt"
            raise Refusal(
                f"Invalid fault in '{where}': {error}.", param=where, code="invalid_value"
            ) from None
        attempts = self._faulty_attempts
        key = f"{record.call or record.path} {text}"
        attempts[key] = attempts.get(key, 0) + 1
        if len(attempts) > _MAX_RECORDS:
            del attempts[next(iter(attempts))]
        if attempts[key] > requested.times:
            return None
        return _applied(record, requested.fault)

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
        self._faulty_attempts.clear()
        self.clock.reset()
        self.faults.clear()
        self.results.clear()
        self.files.clear()
        self.batches.clear()
        self.bill.clear()
        if self.uploads is not None:
            self.uploads.clear()
        self.drawn.clear()
        self.exhibits.clear()
        if self.window is not None:
            self.window.clear()
        self.changes += 1
        if self.prepare is not None:
            self.prepare(self)


def _applied(record: RequestRecord, fault: Fault) -> Fault:
    record.fault = fault.name or "fault"
    record.error = fault.error
    return fault

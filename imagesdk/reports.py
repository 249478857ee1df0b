"""Results of calls that make no images, as frozen data: provenance checks, models of a server, and batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from attrs import field, frozen


@frozen
class ProvenanceSignal:
    """One kind of proof of origin that was looked for in a file."""

    type: str
    """``"c2pa"``, a signed manifest in the file, or ``"synthid"``, a watermark in its pixels."""
    outcome: str
    """``"detected"`` or ``"not_detected"``."""
    model: str | None = None
    """The model that the signal names."""
    generated_at: datetime | None = None
    issuer: str | None = None
    """The issuer of the C2PA manifest."""
    validation_state: str | None = None
    """State of the C2PA manifest: ``"trusted"``, ``"valid"``, ``"invalid"`` or ``"not_present"``."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any])
    """Fields of the response without an attribute of their own."""

    @property
    def detected(self) -> bool:
        """Whether the signal was found."""
        return self.outcome == "detected"


@frozen
class ProvenanceCheck:
    """The signals that a server found in an image, as ``client.provenance.check`` returns them.

    An image without a signal may still be made by a model: metadata can be removed, and other companies have signals of
    their own.
    """

    results: tuple[ProvenanceSignal, ...]
    created: datetime | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any])
    """Fields of the response without an attribute of their own."""

    @property
    def detected(self) -> bool:
        """Whether any signal was found."""
        return any(signal.detected for signal in self.results)

    @property
    def c2pa(self) -> ProvenanceSignal | None:
        """The result for C2PA manifests; ``None`` if the server did not look for one."""
        return self._of_type("c2pa")

    @property
    def synthid(self) -> ProvenanceSignal | None:
        """The result for SynthID watermarks; ``None`` if the server did not look for one."""
        return self._of_type("synthid")

    def _of_type(self, name: str) -> ProvenanceSignal | None:
        return next((signal for signal in self.results if signal.type == name), None)


@frozen
class ServedModel:
    """A model of a server, as ``client.models`` returns it. Profiles of known models are in ``imagesdk.models``."""

    id: str
    """The name for ``model=``."""
    created: datetime | None = None
    owned_by: str | None = None
    shut_down: date | None = None
    """The day on which the server ends the model (``shutdown_date``); ``None`` if it names none."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any])
    """Fields of the response without an attribute of their own."""


@frozen
class BatchCounts:
    """Requests of a batch by their state, as the server counts them."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        """Requests that were completed or have failed."""
        return self.completed + self.failed


@frozen
class BatchProblem:
    """A problem that the server found in a batch while it validated the input file."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    line: int | None = None
    """Line number in the input file."""


@frozen
class Batch:
    """Snapshot of a batch, as ``client.batches`` returns it."""

    id: str
    status: str
    """``"validating"``, ``"failed"``, ``"in_progress"``, ``"finalizing"``, ``"completed"``, ``"expired"``,
    ``"cancelling"`` or ``"cancelled"``."""
    endpoint: str | None = None
    """The path of its requests, such as ``"/v1/images/generations"``."""
    model: str | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    """The file of the successful requests; ``None`` if there are none yet, or if all have failed."""
    error_file_id: str | None = None
    """The file of the requests that have failed."""
    counts: BatchCounts | None = None
    """``None`` if the server states no counts."""
    problems: tuple[BatchProblem, ...] = ()
    """Why the input file was rejected."""
    created: datetime | None = None
    expires_at: datetime | None = None
    """The end of the completion window."""
    ended_at: datetime | None = None
    """The time at which the batch was completed, failed, expired or was cancelled."""
    metadata: Mapping[str, str] = field(factory=dict[str, str])
    extra: Mapping[str, Any] = field(factory=dict[str, Any])
    """Fields of the response without an attribute of their own."""

    @property
    def ended(self) -> bool:
        """Whether the batch does not change any more."""
        return self.status in {"completed", "failed", "expired", "cancelled"}


for _type in (ProvenanceSignal, ProvenanceCheck, ServedModel, BatchCounts, BatchProblem, Batch):
    _type.__module__ = "imagesdk"

"""Storage interface for job state. Its base class keeps nothing, and :mod:`.journal` implements it in SQLite.

A run writes before each step of a job. Each write is durable before the step begins.

============  ========================================  ====================================
write         when                                      state afterwards
============  ========================================  ====================================
``claim``     the job was read                          ``planned``, if the job is new
``sending``   before the first byte of each attempt     ``sending``
``not_sent``  after an attempt that did no work         the state before ``sending``: a job that
                                                        may have been billed stays such a job
``received``  the response has arrived                  ``received``
``done``      all files have their final names          ``done``
``ended``     the job ended without its images          ``refused``, ``failed`` or ``unknown``
============  ========================================  ====================================
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from imagesdk.errors import CoordinationError, JournalError
from imagesdk.fan_out.fingerprint import Hashes, digest, name_of
from imagesdk.fan_out.job_source import Item
from imagesdk.fan_out.output_files import WrittenFile
from imagesdk.types import ImagesResponse

State: TypeAlias = Literal["planned", "sending", "received", "done", "refused", "failed", "unknown"]
"""State of a job. ``planned`` also means that no attempt can have reached the server.

The last four are final, as in :data:`~imagesdk.fan_out.outcomes.Status`.
"""
Files: TypeAlias = Sequence[WrittenFile]
STORE_ERRORS = (JournalError, CoordinationError)
"""Errors of a journal, and of a ledger that processes share."""


@frozen
class JobRecord:
    """Stored state of one job."""

    key: str
    """Identity in the store."""
    id: str
    """Name that users see."""
    idempotency_key: str
    state: State = "planned"
    response: Mapping[str, Any] | None = None
    """JSON of the response, in ``received`` and ``done``. See :mod:`imagesdk.fan_out.serialization`."""
    error: Mapping[str, Any] | None = None
    """JSON of the error, if the job ended without its images."""
    cost: str | None = None
    """US dollars."""
    params: Mapping[str, Any] = field(factory=dict[str, Any])
    kind: str = "Generate"
    images: int = 1
    model: str | None = None
    sent_at: float | None = None
    """Start of the latest attempt, in seconds since 1970."""
    acknowledged: bool = False
    """Whether the user lets the job rest, although it was refused or has failed."""
    batch: str | None = None
    """Intent of the batch that the job was last part of; ``None`` if it was last sent live."""

    @property
    def maybe_billed(self) -> bool:
        """Whether the server may have worked on an attempt of an earlier run."""
        return self.state in {"sending", "received", "done", "unknown"}


class JobStore:
    """Storage of job state. This class keeps nothing, for runs without a journal.

    Every method raises one of :data:`STORE_ERRORS` if it cannot write.
    """

    persistent = False
    """Whether records survive the process."""
    folder = Path()
    """Folder that file paths in records are relative to."""

    async def claim(self, item: Item, content: str, images: int, model: str | None) -> JobRecord:
        """Return the record of a job. Create it if there is none.

        Raises:
            InvalidRequestError: If the label of the job belongs to another job.
        """
        name = item.label or name_of(digest(item.job, Hashes([str(item.place)])), 0)  # unique in the run
        return JobRecord("", name, new_idempotency_key(), images=images, model=model)

    async def sending(self, record: JobRecord, reserved: str | None) -> None:
        """Record that an attempt begins, and how many US dollars it may cost."""

    async def not_sent(self, record: JobRecord) -> None:
        """Record that the latest attempt did no work: it was not sent, or was refused."""

    async def received(self, record: JobRecord, response: ImagesResponse, files: Files) -> None:
        """Record a response whose files do not all have their final names yet."""

    async def set_aside(
        self, record: JobRecord, response: ImagesResponse, files: Files, folder: Path
    ) -> None:
        """Keep a response that could not be recorded, in a file beside the images, for the next run."""

    async def done(self, record: JobRecord, response: ImagesResponse, files: Files) -> None:
        """Record a response whose files all have their final names."""

    async def ended(self, record: JobRecord, state: State, error: Exception) -> None:
        """Record that a job ended without its images."""


def new_idempotency_key() -> str:
    """Return a new idempotency key."""
    return f"imagesdk-{uuid.uuid4()}"

"""What a run keeps of its jobs: a seam with two sides, a journal on disk or nothing at all."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

from attrs import field, frozen

from imagesdk.fan_out.fingerprint import Hashes, digest, name_of
from imagesdk.fan_out.job_source import Item

State: TypeAlias = Literal["planned", "sending", "received", "done", "refused", "failed", "unknown"]
"""How far a job has come.

``planned``: nothing was sent, or nothing that can have been worked on. ``sending``: about to be sent, or sent. ``received``:
the answer is there, its files are not all in place. The others are ends, as in :data:`~imagesdk.fan_out.outcomes.Status`.
"""


@frozen
class JobRecord:
    """A job as the book has it."""

    key: str
    """What the book knows it by."""
    id: str
    """What users know it by."""
    idempotency_key: str
    state: State = "planned"
    answer: Mapping[str, Any] | None = None
    """From ``received`` on: see :mod:`imagesdk.fan_out.serialization`."""
    error: Mapping[str, Any] | None = None
    """Of a job that ended without its pictures."""
    cost: str | None = None
    """US dollars that it cost."""
    params: Mapping[str, Any] = field(factory=dict[str, Any])
    kind: str = "Generate"
    images: int = 1
    model: str | None = None
    sent_at: float | None = None
    """Seconds since 1970, of the latest attempt."""


class JobStore(Protocol):
    """Is told how far every job has come, before it goes on.

    Every method raises :class:`~imagesdk.errors.JournalError` when that cannot be kept.
    """

    @property
    def persistent(self) -> bool:
        """Whether it is there after the process."""
        ...

    async def claim(self, item: Item, content: str, images: int, model: str | None) -> JobRecord:
        """Return the entry of a job, made if there is none.

        Raises:
            InvalidRequestError: its name belongs to another job.
        """
        ...

    async def sending(self, entry: JobRecord, reserved: str | None) -> None:
        """It is about to be sent, and may cost so much."""
        ...

    async def not_sent(self, entry: JobRecord) -> None:
        """What was about to be sent was not, or was refused: nothing can have come of it."""
        ...

    async def received(self, entry: JobRecord, answer: Mapping[str, Any]) -> None:
        """The answer is there."""
        ...

    async def done(self, entry: JobRecord, answer: Mapping[str, Any], cost: str | None) -> None:
        """All its files are in place."""
        ...

    async def ended(self, entry: JobRecord, state: State, error: Mapping[str, Any]) -> None:
        """It has ended without its pictures."""
        ...


class NullStore:
    """Keeps nothing: for runs without a journal."""

    persistent = False

    async def claim(self, item: Item, content: str, images: int, model: str | None) -> JobRecord:
        """Return an entry with a name that no other job of the run has."""
        name = item.label or name_of(digest(item.job, Hashes([str(item.place)])), 0)
        return JobRecord("", name, new_idempotency_key(), images=images, model=model)

    async def sending(self, entry: JobRecord, reserved: str | None) -> None:
        """Agree."""

    async def not_sent(self, entry: JobRecord) -> None:
        """Forget."""

    async def received(self, entry: JobRecord, answer: Mapping[str, Any]) -> None:
        """Forget."""

    async def done(self, entry: JobRecord, answer: Mapping[str, Any], cost: str | None) -> None:
        """Forget."""

    async def ended(self, entry: JobRecord, state: State, error: Mapping[str, Any]) -> None:
        """Forget."""


def new_idempotency_key() -> str:
    """Return a fresh idempotency key."""
    return f"imagesdk-{uuid.uuid4()}"

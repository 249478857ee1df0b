"""Interface of the stores that processes share: documents that change by compare-and-swap, and the store's clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from attrs import frozen


class StoreUnavailable(Exception):  # noqa: N818 - it names a state of the store
    """The store cannot be reached at the moment. The text says why, without a password."""


@frozen
class Reply:
    """What a store returned."""

    swapped: bool
    """Whether the document was replaced."""
    version: str
    """Version of the document that the store has now; empty if it has none."""
    document: str
    """The document of that version; empty after a swap."""
    now: float
    """The store's clock, in seconds."""


@frozen
class Page:
    """Part of a scan."""

    documents: Sequence[tuple[str, Reply]]
    """Keys and documents."""
    after: str
    """Where the next page begins; empty after the last one."""


class DocumentStore(Protocol):
    """Documents by key. All methods block, may be called from one thread at a time, and raise ``StoreUnavailable``."""

    poll_seconds: float | None
    """How often an owner that waits looks for changes; ``None`` if the store sends notices."""

    def read(self, key: str) -> Reply:
        """Return the document."""
        ...

    def swap(
        self, key: str, expected: str, version: str, document: str, *, notify: Collection[str], keep: float
    ) -> Reply:
        """Replace the document if its version is ``expected``, keep it for so many seconds, and notify owners."""
        ...

    def scan(self, prefix: str, after: str) -> Page:
        """Return some of the documents whose keys begin with ``prefix``; ``after`` is empty, or that of the page before."""
        ...

    def delete(self, key: str, version: str) -> bool:
        """Delete the document if it has this version. Return whether it had."""
        ...

    def listen(self, owner: str, on_notice: Callable[[], None]) -> None:
        """Call ``on_notice``, from any thread, when this owner is notified."""

    def uptime(self) -> float:
        """Return for how many seconds the store has kept its documents; infinity if it never loses any."""
        ...

    def close(self) -> None:
        """Close the connections."""

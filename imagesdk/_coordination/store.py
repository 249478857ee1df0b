"""Interface of the stores that processes share: documents that change by compare-and-swap, and the store's clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from attrs import field, frozen


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
    """The document of that version; empty after a swap, and if the caller knows the version."""
    now: float
    """The store's clock, in seconds."""
    seen: Mapping[str, float] = field(factory=dict[str, float])
    """When each owner of the document was last seen."""
    heard: int = 0
    """Owners that were asked for a document that the store does not have."""


@frozen
class Notice:
    """A document that an owner should look at."""

    key: str
    """Empty for all documents, because notices may have been lost."""
    reply: Reply | None
    """The document, if the store sent it with the notice."""


@frozen
class Page:
    """Part of a scan."""

    documents: Sequence[tuple[str, Reply]]
    """Keys and documents."""
    after: str
    """Where the next page begins; empty after the last one."""


OnNotice: TypeAlias = Callable[[Notice], None]


class DocumentStore(Protocol):
    """Documents by key. All methods block, are called from one thread at a time, and raise ``StoreUnavailable``.

    A caller that is an ``owner`` of the document leaves a sign of life with every call.
    """

    poll_seconds: float | None
    """How often an owner that waits asks for notices; ``None`` if the store sends them."""

    def read(self, key: str, *, known: str = "", owner: str = "") -> Reply:
        """Return the document, unless it is of the ``known`` version."""
        ...

    def swap(
        self,
        key: str,
        expected: str,
        version: str,
        document: str,
        *,
        notify: Collection[str],
        keep: float,
        owner: str = "",
    ) -> Reply:
        """Replace the document if its version is ``expected``, keep it for so many seconds, and notify owners.

        A document that is kept for ever (infinity) is on the disk before this returns, if the store has one.
        """
        ...

    def listen(self, owner: str, on_notice: OnNotice) -> None:
        """Call ``on_notice``, from any thread, when this owner is notified."""

    def attend(self, key: str) -> None:
        """Be notified of a document, too, when another owner looks for it and the store does not have it."""

    def notices(self, owner: str) -> Collection[str]:
        """Return the keys of the documents about which this owner was notified, once."""
        ...

    def uptime(self) -> float:
        """Return for how many seconds the store has run; infinity if its documents survive a restart."""
        ...

    def close(self) -> None:
        """Close the connections."""


class LedgerStore(DocumentStore, Protocol):
    """Store whose documents can be listed and deleted."""

    def scan(self, prefix: str, after: str = "") -> Page:
        """Return some of the documents whose keys begin with ``prefix``, from ``after`` of the page before."""
        ...

    def delete(self, key: str, version: str) -> bool:
        """Delete the document if it has this version. Return whether it had."""
        ...

"""What a process may use of a limit while the store is away: its share, in a document of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from attrs import evolve

from imagesdk._coordination.store import OnNotice, Reply
from imagesdk.policies import RateLimit

PROBE_SECONDS = 1.0
"""Distance of attempts to reach the store."""


class LocalShare:
    """A store in memory, for one document and one process."""

    poll_seconds: float | None = None

    def __init__(self, limit: RateLimit, now: Callable[[], float]) -> None:
        self.limit = limit
        """The share."""
        self.probe_at = -math.inf
        """When the real store is tried next, in local time."""
        self._now = now
        self._version = self._document = ""

    def read(self, key: str, *, known: str = "", owner: str = "") -> Reply:
        """Return the document."""
        return Reply(False, self._version, "" if known == self._version else self._document, self._now())

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
        """Replace the document: nobody else does."""
        self._version, self._document = version, document
        return Reply(True, version, "", self._now())

    def listen(self, owner: str, on_notice: OnNotice) -> None:
        """Do nothing: there is nobody else."""

    def attend(self, key: str) -> None:
        """Do nothing: there is nobody else."""

    def notices(self, owner: str) -> Collection[str]:
        """Return nothing."""
        return ()

    def uptime(self) -> float:
        """Return infinity: the owner adds what it has sent."""
        return math.inf

    def close(self) -> None:
        """Do nothing."""


def share_of(limit: RateLimit, owners: int) -> RateLimit | None:
    """Return the part of a limit for each of so many owners; ``None`` if there is less than one image for each."""
    if limit.images < owners:
        return None
    return evolve(
        limit,
        images=limit.images // owners,
        requests=None if limit.requests is None else max(1, limit.requests // owners),
        tokens=None if limit.tokens is None else max(1, limit.tokens // owners),
    )

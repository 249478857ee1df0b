"""One logical call, as the engine takes it: the request, how to read its answer, the caller's terms, and who is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from attrs import field, frozen

from imagesdk._engine.sink import ImageSink
from imagesdk._protocol.hosts import CLIENT_REQUEST_ID, Host
from imagesdk._protocol.requests import Request
from imagesdk._protocol.retry import Failure
from imagesdk.models import ModelProfile
from imagesdk.policies import Delivery, Timeouts

T = TypeVar("T")


class Ledger(Protocol):
    """Is told of every attempt, before its first byte and after its end. May refuse it by raising."""

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """An attempt has its grant and is about to be sent."""
        ...

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """An attempt has ended: well (``None``), or not."""
        ...


class NoLedger:
    """Keeps nothing: for single calls."""

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """Agree."""

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """Forget."""


def _no_tokens(_: object) -> None:
    return None


@frozen
class Call(Generic[T]):
    """One logical call: a request, how to read its answer, and the caller's terms."""

    request: Request
    parse: Callable[[Any], T]
    """Reads the parsed body of a good answer; raises ``ScanError`` for one that is no answer to the request."""
    timeouts: Timeouts
    idempotency_key: str
    deadline: float | None = None
    """The end of the total time, if the call began before it came here; else it is counted from here."""
    headers: tuple[tuple[str, str], ...] = ()
    query: Mapping[str, str] | None = None
    folder: Path | None = None
    """Where the pictures are to end up, for temporary files; ``None`` for memory."""
    fsync: bool = False
    """Whether those files are to be on the disk itself before the call returns."""
    tokens: Callable[[T], int | None] = field(default=_no_tokens)
    """Reads from a good answer how many tokens it counted."""
    ledger: Ledger = field(factory=NoLedger)
    on_granted: Callable[[], None] | None = None
    """Called each time the rate limit has granted a permit, before the ledger."""
    profile: ModelProfile | None = None
    """That of the model, where it is known."""
    delivery: Delivery | None = None
    """Of a job of a run: whether what may have been billed is repeated. ``None`` leaves it to the client's policy."""
    raw: bool = False
    """Whether a good answer is a file itself, which goes to the sink as its only picture."""
    good_below: int = 300
    """The lowest status that is an error."""
    server: Host | None = None
    """Who is asked, for what an error can say about it."""

    @property
    def client_request_id(self) -> str:
        """What the server is told to call the request in its logs."""
        return dict(self.headers).get(CLIENT_REQUEST_ID, self.idempotency_key)

    @property
    def id(self) -> str:
        """A short name of the call, for observers and file names."""
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest()[:8]


@frozen
class Result(Generic[T]):
    """A good answer."""

    parsed: T
    headers: Mapping[str, str]
    sink: ImageSink
    """Holds the pictures; whoever takes the result moves them on or discards them."""
    attempts: int
    maybe_billed_before: bool
    status: int = 200

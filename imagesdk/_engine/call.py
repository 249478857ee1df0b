"""One API call: the request, the response parser, its options, and the ledger that records attempts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from attrs import field, frozen

from imagesdk._engine.sink import ImageSink
from imagesdk._protocol.hosts import CLIENT_REQUEST_ID
from imagesdk._protocol.requests import Request
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._protocol.retry import Failure
from imagesdk.jobs import Job
from imagesdk.models import ModelProfile
from imagesdk.policies import Delivery, Timeouts

T = TypeVar("T")


class Ledger(Protocol):
    """A record of every attempt, written before its first byte and after its end. It may refuse one by raising."""

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """Record an attempt that has its permit and is about to be sent."""

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """Record the end of an attempt: a success (``None``), or its failure."""


class NoLedger:
    """The ledger of single calls, which records nothing."""

    async def before_send(self, attempt: int, idempotency_key: str) -> None:
        """Agree."""

    async def settled(self, attempt: int, failure: Failure | None) -> None:
        """Do nothing."""


def total_tokens(parsed: ParsedResponse) -> int | None:
    """Return the number of tokens that an image response reports."""
    return None if parsed.usage is None else parsed.usage.total_tokens


@frozen
class Call(Generic[T]):
    """One API call: a request, the parser of its response, and the caller's options."""

    request: Request
    parse: Callable[[Any], T]
    """Parses the JSON of a success. It raises ``ScanError`` for what is no response to the request."""
    timeouts: Timeouts
    idempotency_key: str
    deadline: float | None = None
    """The end of the total time, on the engine's clock; ``None`` without one."""
    headers: tuple[tuple[str, str], ...] = ()
    query: Mapping[str, str] | None = None
    folder: Path | None = None
    """The folder of the output files, for temporary files; ``None`` for memory."""
    owner: str = ""
    """The run that owns the temporary files; empty for a single call."""
    fsync: bool = False
    tokens: Callable[[T], int | None] = lambda _: None
    """Returns the number of tokens that a response reports."""
    ledger: Ledger = field(factory=NoLedger)
    on_granted: Callable[[], None] | None = None
    """Called each time that the rate limit grants a permit, before the ledger."""
    may_retry: Callable[[Failure], bool] | None = None
    """Called with each failed attempt of a run. It returns whether the engine may retry."""
    profile: ModelProfile | None = None
    delivery: Delivery | None = None
    """The delivery of a job of a run; ``None`` leaves it to the client's retry policy."""
    job: Job | None = field(default=None, repr=False)
    """The job that the call carries out; ``None`` for a call that makes no images."""
    run_id: str | None = None
    """The run that the job belongs to."""
    price: Callable[[T], Decimal | None] = lambda _: None
    """Returns the cost of a response in US dollars."""
    raw: bool = False
    """Whether the body of a success is a file, which goes to the sink as its only image."""
    max_ok_status: int = 299

    @property
    def client_request_id(self) -> str:
        """The value of the header that names the request in the server's logs."""
        return dict(self.headers).get(CLIENT_REQUEST_ID, self.idempotency_key)

    @property
    def id(self) -> str:
        """A short name of the call, for observers and file names."""
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest()[:8]


@frozen
class Result(Generic[T]):
    """A successful response."""

    parsed: T
    headers: Mapping[str, str]
    sink: ImageSink
    """The images of the response. The caller moves them into place or discards them."""
    attempts: int
    maybe_billed_before: bool
    status: int = 200

"""Log of an emulator: requests as facts, and the connections that they came on. It holds no keys and no bytes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

from attrs import asdict, define, field, frozen

from imagesdk.emulator.bodies import Body, SentFile

__all__ = ["ConnectionLog", "ConnectionRecord", "RequestRecord", "SentImage", "describe_body"]

_MAX_RECORDS = 10_000
_LONGEST = 1000
"""Characters of a parameter that are kept. Longer ones are data URLs, as a rule."""


@frozen
class SentImage:
    """Facts of one file of a request."""

    field: str
    """Name of the form field."""
    filename: str
    media_type: str
    size: int
    """Number of bytes."""
    sha256: str


@define
class ConnectionRecord:
    """Connection of a client. The times are seconds since the epoch, by the emulator's clock."""

    number: int
    client: tuple[str, int]
    opened: float
    closed: float | None = None
    requests: int = 0
    """Number of requests that arrived on it."""
    left: bool = False
    """Whether the client closed it, and not the emulator."""


class ConnectionLog:
    """Connections of the emulator's sockets: the open ones, and the last 10 000 of all."""

    def __init__(self) -> None:
        self.records: list[ConnectionRecord] = []
        self._open: dict[tuple[str, int], ConnectionRecord] = {}
        self._count = 0

    def open(self, client: tuple[str, int], now: float) -> ConnectionRecord:
        """Record a new connection."""
        self._count += 1
        record = ConnectionRecord(self._count, client, now)
        self.records.append(record)
        del self.records[:-_MAX_RECORDS]
        self._open[client] = record
        return record

    def close(self, record: ConnectionRecord, now: float, *, left: bool) -> None:
        """Record the end of a connection."""
        record.closed, record.left = now, left
        if self._open.get(record.client) is record:
            del self._open[record.client]

    def find(self, client: object) -> ConnectionRecord | None:
        """Return the open connection of a client's address."""
        return self._open.get(cast("tuple[str, int]", client))

    def clear(self) -> None:
        """Forget all connections but the open ones."""
        self.records = list(self._open.values())
        for record in self.records:
            record.requests = 0


@define
class RequestRecord:
    """Received request. A field is ``None`` if the body lacks it or was not read.

    The times are seconds since the epoch, by the emulator's clock.
    """

    method: str
    path: str
    user_agent: str | None
    idempotency_key: str | None
    authorized: bool
    """Whether the request had an ``Authorization`` header."""
    model: str | None = None
    n: int | None = None
    prompt: str | None = None
    status: int | None = None
    """Status of the response, or ``None`` before there is one."""
    stream: bool = False
    """Whether the response is a stream of events."""
    events: int = 0
    """Number of complete events that were sent."""
    completed: bool = False
    """Whether the last of them was the completed image."""
    id: str = ""
    """``x-request-id`` of the response."""
    number: int = 0
    """Position since the start of the emulator or its last reset, from 1."""
    connection: int | None = None
    """Number of the connection, if a socket is between client and emulator."""
    parameters: dict[str, object] = field(factory=dict[str, object])
    """Fields of the body. Of a long one, the length alone is kept."""
    images: list[SentImage] = field(factory=list[SentImage])
    """Files of the body."""
    fingerprint: str | None = None
    """Hash of method, path and body. Requests for the same have the same one."""
    began: float = 0.0
    """When the headers of the request had arrived."""
    answered: float | None = None
    """When the response started."""
    ended: float | None = None
    """When the response was handed over, or its connection was lost."""
    complete: bool = False
    """Whether the whole response was handed over to an open connection."""
    error: str | None = None
    """Code of the error that was sent, or its message if it has no code."""
    fault: str | None = None
    """Fault that was applied."""
    billed: int = 0
    """Number of images that were billed."""
    retry_after: float | None = None
    """Seconds that the response asked the client to wait."""
    remaining: int | None = None
    """Images of the limit that were left, as the response reported."""
    download: bool = False
    """Whether the request was for a result URL."""
    expired: bool = False
    """Whether the request was for a result URL that had expired."""
    expected: bool = True
    """Whether the emulator serves the path, and the test expected the request."""

    @property
    def call(self) -> str | None:
        """Identity of the client's call: its idempotency key, or the content of the request."""
        return self.idempotency_key or self.fingerprint

    def to_json(self) -> dict[str, object]:
        """Return the record as a JSON object."""
        return asdict(self)


def describe_body(record: RequestRecord, body: Body) -> None:
    """Record the fields and files of a body. This hashes the files, so it belongs in a thread if there are any."""
    record.parameters = {
        name: _short(values[0] if len(values) == 1 else values) for name, values in body.fields.values.items()
    }
    record.images = [_facts(file) for file in body.files]
    content = json.dumps(
        [record.method, record.path, body.fields.values, [asdict(image) for image in record.images]],
        sort_keys=True,
    )
    record.fingerprint = hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32]


def _facts(file: SentFile) -> SentImage:
    digest = hashlib.sha256(file.data).hexdigest()
    return SentImage(file.name, file.filename, file.media_type, file.size, digest)


def _short(value: object) -> object:
    """Return a value without its long texts, as JSON can hold it."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:40]}... ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {name: _short(one) for name, one in cast("Mapping[str, object]", value).items()}
    if isinstance(value, Sequence):
        return [_short(one) for one in cast("Sequence[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # no JSON can hold it
    return value

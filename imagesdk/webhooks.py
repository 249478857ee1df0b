"""Signed webhooks of OpenAI: check who sent one, and when, before reading it.

The signature follows https://www.standardwebhooks.com: HMAC-SHA256 over ``webhook-id.webhook-timestamp.body``.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from imagesdk.errors import (
    ConfigurationError,
    WebhookError,
    WebhookSignatureError,
    WebhookTimestampError,
    preview,
)
from imagesdk.remedies import Remedy

__all__ = ["BatchStatus", "HeaderMapping", "Headers", "WebhookEvent", "verify"]

BatchStatus: TypeAlias = Literal["completed", "failed", "expired", "cancelled"]
"""How a batch ended."""


class HeaderMapping(Protocol):
    """Headers of a web framework, or a plain dictionary."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return names and values."""
        ...


Headers: TypeAlias = HeaderMapping | Iterable[tuple[str | bytes, str | bytes]]
"""Headers of a request: a mapping, or the pairs that ASGI servers pass."""

_BATCH_EVENTS: Final[Mapping[str, BatchStatus]] = {
    "batch.completed": "completed",
    "batch.failed": "failed",
    "batch.expired": "expired",
    "batch.cancelled": "cancelled",
}
_NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")
_MOST_DIGITS = 12
"""Digits of a time that a datetime can hold."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """A webhook whose signature is right."""

    id: str
    """The id of the event. A webhook may arrive more than once: remember the id to recognize it."""
    type: str
    """The name of the event, such as ``"batch.completed"``."""
    created_at: datetime
    """When the event happened."""
    batch_id: str | None
    """The id of the batch that ended; ``None`` for an event about something else."""
    data: Mapping[str, Any] = field(repr=False)
    """What the event says about its subject."""

    @property
    def status(self) -> BatchStatus | None:
        """How the batch ended; ``None`` for an event about something else."""
        return _BATCH_EVENTS.get(self.type)


def verify(
    body: bytes | str,
    headers: Headers,
    secret: str | Iterable[str] | None,
    *,
    tolerance: float = 300,
    now: float | None = None,
) -> WebhookEvent:
    """Return the event of a webhook if its signature is right and it was sent just now.

    Example:
        ```python
        event = webhooks.verify(await request.body(), request.headers, os.environ["OPENAI_WEBHOOK_SECRET"])
        if event.batch_id is not None:
            client.batches.notify(event)
        ```

    Args:
        body: The body as it arrived, not parsed and written anew.
        headers: The headers of the request. Upper and lower case are the same.
        secret: The signing secret of the endpoint (``whsec_...``), or several while one replaces another. ``None``, as
            from an environment variable that is not set, is an error.
        tolerance: Maximum distance in seconds between the time of the webhook and now, in both directions.
        now: The time in seconds since the epoch. Default: that of the system.

    Raises:
        WebhookSignatureError: If a header is missing, or no signature fits one of the secrets.
        WebhookTimestampError: If the webhook is older or newer than ``tolerance`` allows.
        WebhookError: If the body has a right signature and is not an event.
        ConfigurationError: If ``secret`` is empty or unreadable, or ``body`` is neither bytes nor a text.
    """
    keys = [_key(one) for one in ([secret] if secret is None or isinstance(secret, str) else secret)]
    if not keys:
        raise _bad_secret()
    if not isinstance(body, bytes | str):  # pyright: ignore[reportUnnecessaryIsInstance] - a parsed body is a usual mistake
        raise ConfigurationError(
            f"body must be the bytes of the request, not {type(body).__name__}.",
            param="body",
            remedies=[Remedy.PASS_RAW_BODY],
        )
    raw = _encoded(body) if isinstance(body, str) else body
    webhook_id, timestamp, signatures = _read(headers)
    _check_signature(b".".join((_encoded(webhook_id), _encoded(timestamp), raw)), signatures, keys)
    _check_time(timestamp, time.time() if now is None else now, tolerance)
    return _event(raw)


def _key(secret: str | None) -> bytes:
    named = (secret or "").strip()
    encoded = named.removeprefix("whsec_")
    try:
        key = named.encode() if encoded == named else b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not key:
        # The message of the cause would have the secret.
        raise _bad_secret() from None
    return key


def _bad_secret() -> ConfigurationError:
    summary = "secret is empty, or its part after whsec_ is not base64."
    return ConfigurationError(summary, param="secret", remedies=[Remedy.PASS_WEBHOOK_SECRET])


def _read(headers: Headers) -> list[str]:
    """Return the id, the time and the signatures of a webhook."""
    items = getattr(headers, "items", None)
    pairs = cast("Iterable[tuple[str | bytes, str | bytes]]", headers if items is None else items())
    found = {_text(name).lower(): _text(value) for name, value in pairs}
    missing = [name for name in _NAMES if not found.get(name)]
    if missing:
        summary = f"The webhook has no header {' and no '.join(missing)}."
        raise WebhookSignatureError(summary, remedies=[Remedy.PASS_WEBHOOK_HEADERS])
    return [found[name] for name in _NAMES]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _check_signature(content: bytes, signatures: str, keys: Iterable[bytes]) -> None:
    expected = [b64encode(hmac.new(key, content, hashlib.sha256).digest()) for key in keys]
    right = False
    for one in signatures.split():
        version, _, signature = one.partition(",")
        for each in expected:
            right |= hmac.compare_digest(each, _encoded(signature)) and version == "v1"
    if not right:
        summary = "No signature of the webhook fits its content and the secret."
        raise WebhookSignatureError(summary, remedies=[Remedy.PASS_WEBHOOK_SECRET, Remedy.PASS_RAW_BODY])


def _check_time(timestamp: str, now: float, tolerance: float) -> None:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _MOST_DIGITS):
        raise WebhookTimestampError(
            f"The time of the webhook is not a number of seconds: {preview(timestamp)}."
        )
    age = now - int(timestamp)
    if abs(age) > tolerance:
        where = "old" if age > 0 else "in the future"
        summary = f"The webhook is {abs(age):.0f} seconds {where}; allowed: {tolerance:g} seconds."
        raise WebhookTimestampError(summary, age=age, remedies=[Remedy.CHECK_SYSTEM_CLOCK])


def _event(raw: bytes) -> WebhookEvent:
    try:
        found: object = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise WebhookError("The webhook is signed, but its body is not a JSON object.")
    event = cast("Mapping[str, object]", found)
    name, kind, created, data = (event.get(key) for key in ("id", "type", "created_at", "data"))
    if not (isinstance(name, str) and isinstance(kind, str) and isinstance(data, dict)):
        raise WebhookError("The webhook is signed, but has no id, type and data of an event.")
    about = cast("Mapping[str, Any]", data)
    batch_id = about.get("id") if kind.startswith("batch.") else None
    if kind in _BATCH_EVENTS and not isinstance(batch_id, str):
        raise WebhookError(f"The webhook {preview(kind)} is signed, but names no batch.")
    if isinstance(created, bool) or not isinstance(created, int | float):
        raise WebhookError(f"The webhook {preview(kind)} is signed, but has no time.")
    try:
        moment = datetime.fromtimestamp(created, UTC)
    except (ValueError, OverflowError, OSError):
        raise WebhookError(f"The webhook {preview(kind)} is signed, but its time is out of range.") from None
    return WebhookEvent(name, kind, moment, batch_id if isinstance(batch_id, str) else None, about)

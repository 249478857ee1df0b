"""Store of images behind signed URLs, which expire after an hour.

The signature covers the name and the expiry, so that an expired URL is recognized even when its image is
gone. Expired images are dropped first, then the oldest.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode
from xml.sax.saxutils import escape

__all__ = ["LIFETIME", "ResultStore", "azure_error"]

LIFETIME = 3600
"""Lifetime of a URL in seconds."""

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


class ResultStore:
    """Store of at most ``max_count`` images and ``max_bytes`` in total. It is thread-safe."""

    def __init__(
        self, clock: Callable[[], float], *, max_count: int = 2000, max_bytes: int = 256 * 1024 * 1024
    ) -> None:
        self._clock = clock
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._images: dict[str, tuple[bytes, float]] = {}
        """Images by name, and when they expire."""
        self._bytes = 0
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._images)

    def put(self, data: bytes) -> str:
        """Store a PNG and return the path and query of its URL."""
        now = self._clock()
        name = f"img-{secrets.token_urlsafe(18)}.png"
        with self._lock:
            self._images[name] = data, now + LIFETIME
            self._bytes += len(data)
            self._shrink(now)
        start, end = (datetime.fromtimestamp(when, UTC).strftime(_FORMAT) for when in (now, now + LIFETIME))
        query = {"st": start, "se": end, "sp": "r", "sr": "b", "rsct": "image/png"}
        return f"/images/{name}?{urlencode({**query, 'sig': self._sign(name, start, end)})}"

    def get(self, name: str, query: Mapping[str, str]) -> bytes | Literal["forbidden", "expired", "gone"]:
        """Return the image of a URL, or the reason why there is none."""
        start, end = query.get("st", ""), query.get("se", "")
        if not hmac.compare_digest(self._sign(name, start, end).encode(), query.get("sig", "").encode()):
            return "forbidden"
        if datetime.strptime(end, _FORMAT).replace(tzinfo=UTC).timestamp() <= self._clock():
            return "expired"
        return self._images[name][0] if name in self._images else "gone"

    def dump(self) -> tuple[bytes, list[tuple[str, bytes, float]]]:
        """Return the secret of the signatures, and name, content and expiry of each image."""
        with self._lock:
            self._shrink(self._clock())
            return self._secret, [(name, data, until) for name, (data, until) in self._images.items()]

    def restore(self, secret: bytes, images: Iterable[tuple[str, bytes, float]]) -> None:
        """Replace the secret and the images."""
        with self._lock:
            self._secret = secret
            self._images = {name: (data, until) for name, data, until in images}
            self._bytes = sum(len(data) for data, _ in self._images.values())

    def clear(self) -> None:
        """Delete every image."""
        with self._lock:
            self._images.clear()
            self._bytes = 0

    def _shrink(self, now: float) -> None:
        # The dict keeps the order of insertion, so the first image is always the first to expire.
        while self._images:
            name, (data, until) = next(iter(self._images.items()))
            full = len(self._images) > self._max_count or self._bytes > self._max_bytes
            if until > now and not full:
                break
            del self._images[name]
            self._bytes -= len(data)

    def _sign(self, name: str, start: str, end: str) -> str:
        return hmac.new(self._secret, f"{name}\n{start}\n{end}".encode(), hashlib.sha256).hexdigest()


def azure_error(code: str, message: str, detail: str | None = None) -> str:
    """Return an error body of the blob storage behind OpenAI's result URLs."""
    more = f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>" if detail else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>{more}</Error>"
    )

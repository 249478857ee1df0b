"""What the page of the emulator shows beside its log: the last images, and the beginning and end of each response.

Both stores are bounded, whatever the number of requests. They hold nothing that a request sent, and so no key.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping

from attrs import define, field

from imagesdk.emulator.references import sniffed_media_type

__all__ = ["Answer", "Exhibits"]

_HEAD, _TAIL = 3000, 1500
_BASE64 = re.compile(r"[A-Za-z0-9+/=]{120,}")


@define
class Answer:
    """Response: its headers, and the first and last bytes of its body."""

    status: int
    headers: Mapping[str, str]
    size: int = 0
    """Bytes of the body."""
    head: bytes = b""
    tail: bytes = b""

    def add(self, piece: bytes) -> None:
        """Add a piece of the body."""
        start = max(0, min(len(piece), _HEAD - self.size))
        self.head += piece[:start]
        self.tail = (self.tail + piece[start:][-_TAIL:])[-_TAIL:]
        self.size += len(piece)

    def text(self) -> str:
        """Return the body as text, without what is left out of the middle and without long runs of base64."""
        left_out = self.size - len(self.head) - len(self.tail)
        parts = [self.head + self.tail] if not left_out else [self.head, self.tail]
        shown = [_BASE64.sub(lambda run: f"{run[0][:20]}…", part.decode(errors="replace")) for part in parts]
        return f"\n… {left_out} bytes …\n".join(shown)


@define
class Exhibits:
    """Images of the last requests and responses of the last requests, by request id. It is thread-safe."""

    max_bytes: int = 32 * 1024 * 1024
    """Bytes of all images. The oldest are dropped first."""
    max_requests: int = 500
    """Requests whose images, and requests whose responses are kept."""
    epoch: str = field(factory=lambda: secrets.token_hex(4), init=False)
    """Another text after each reset."""
    _images: dict[str, list[bytes]] = field(factory=dict[str, list[bytes]], init=False)
    _bytes: int = field(default=0, init=False)
    _answers: dict[str, Answer] = field(factory=dict[str, Answer], init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def keep_image(self, request_id: str, data: bytes) -> None:
        """Keep an image of a response. Of a stream, the last one is the completed one."""
        with self._lock:
            self._images.setdefault(request_id, []).append(data)
            self._bytes += len(data)
            while self._bytes > self.max_bytes or len(self._images) > self.max_requests:
                oldest = next(iter(self._images))
                self._bytes -= sum(map(len, self._images.pop(oldest)))

    def count(self, request_id: str) -> int:
        """Return how many images of a request are kept."""
        return len(self._images.get(request_id, ()))

    def image(self, request_id: str, index: int) -> tuple[bytes, str] | None:
        """Return an image and its media type."""
        images = self._images.get(request_id, [])
        if not 0 <= index < len(images):
            return None
        data, found = images[index], sniffed_media_type(images[index])
        return data, "image/svg+xml" if found == "application/octet-stream" else found

    def begin_answer(self, request_id: str, status: int, headers: Mapping[str, str]) -> Answer:
        """Keep a response that begins."""
        answer = Answer(status, headers)
        with self._lock:
            self._answers[request_id] = answer
            if len(self._answers) > self.max_requests:
                del self._answers[next(iter(self._answers))]
        return answer

    def answer(self, request_id: str) -> Answer | None:
        """Return the response to a request."""
        return self._answers.get(request_id)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.epoch = secrets.token_hex(4)
            self._images.clear()
            self._answers.clear()
            self._bytes = 0

"""Provenance checks: images that this emulator drew are recognized, as if they had a watermark.

The emulator draws no watermark. It remembers the digests of the images that it sent, so an image that was changed
afterwards is not recognized. A C2PA manifest is looked for, but not validated. The JSON follows the types of
openai-python 3.57.0.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from imagesdk.emulator.answers import Refusal, invalid_type, missing_parameter, quoted_list, unknown_parameter
from imagesdk.emulator.bodies import Body
from imagesdk.emulator.references import sniffed_media_type

__all__ = ["DrawnImages", "read_checked_file"]

_MEDIA_TYPES = ("image/gif", "image/jpeg", "image/png", "image/webp")
_MAX_COUNT = 10_000


class DrawnImages:
    """Digests of the last images that were drawn, with their models and times. It is thread-safe."""

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def remember(self, data: bytes, model: str, created: int) -> None:
        """Record an image."""
        with self._lock:
            self._found[hashlib.sha256(data).digest()] = model, created
            while len(self._found) > _MAX_COUNT:
                del self._found[next(iter(self._found))]

    def dump(self) -> list[tuple[bytes, str, int]]:
        """Return digest, model and time of each image."""
        with self._lock:
            return [(digest, *known) for digest, known in self._found.items()]

    def restore(self, images: Iterable[tuple[bytes, str, int]]) -> None:
        """Replace the images."""
        with self._lock:
            self._found = {digest: (model, created) for digest, model, created in images}

    def report(self, data: bytes, now: float) -> dict[str, object]:
        """Return the response of the API for a file."""
        with self._lock:
            known = self._found.get(hashlib.sha256(data).digest())
        signed = b"c2pa" in data  # the label of the manifest store, in each of the formats
        model, created = known or (None, None)
        moment = None if created is None else datetime.fromtimestamp(created, UTC).isoformat()
        return {
            "object": "content_provenance_check",
            "created_at": int(now),
            "results": [
                {
                    "type": "c2pa",
                    "outcome": "not_detected",
                    "issuer": None,
                    "model": None,
                    "generated_at": None,
                    "validation_state": "valid" if signed else "not_present",
                },
                {
                    "type": "synthid",
                    "outcome": "not_detected" if known is None else "detected",
                    "model": model,
                    "generated_at": None if moment is None else moment.replace("+00:00", "Z"),
                },
            ],
        }

    def clear(self) -> None:
        """Forget every image."""
        with self._lock:
            self._found.clear()


def read_checked_file(body: Body) -> bytes:
    """Return the image of a request, which must be in a format that the API takes."""
    for name, values in body.fields.values.items():
        raise invalid_type("file", "a file", values[0]) if name == "file" else unknown_parameter(name)
    files = [file for file in body.files if file.name == "file"]
    if not files:
        raise missing_parameter("file")
    found = sniffed_media_type(files[0].data)
    if found not in _MEDIA_TYPES:
        text = f"Invalid file 'file': unsupported mimetype ('{found}'). Supported file formats are"
        raise Refusal(f"{text} {quoted_list(_MEDIA_TYPES)}.", param="file", code="unsupported_file_mimetype")
    return files[0].data

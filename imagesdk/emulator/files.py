"""Store behind the Files API: uploads are kept in memory until they are deleted or expire.

The JSON follows https://platform.openai.com/docs/api-reference/files. A full store rejects the next file. It
never drops a file before its time.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from attrs import field, frozen

from imagesdk.emulator.answers import Refusal, invalid_type, missing_parameter, unknown_parameter
from imagesdk.emulator.batch_input import MAX_INPUT
from imagesdk.emulator.bodies import Body, SentFile
from imagesdk.emulator.parameters import Choice, Integer

__all__ = ["MAX_FILE", "PURPOSES", "FileStore", "StoredFile", "read_upload"]

MAX_FILE = 512 * 1024 * 1024
"""Largest size of a file in bytes, as in the API."""

_BATCH_LIFE = 30 * 24 * 3600  # default lifetime in seconds of a file for a batch
_PIECE = 1024 * 1024
PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
_NOT_DOWNLOADED = frozenset({"assistants", "user_data"})
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"


class MadeContent(Protocol):
    """Content that is made whenever it is read."""

    @property
    def size(self) -> int:
        """The length in bytes."""
        ...

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``."""
        ...


@frozen
class StoredFile:
    """Stored file. Its content is ``data``, or ``made``."""

    id: str
    filename: str
    purpose: str
    created_at: int
    expires_at: int | None
    data: bytes = field(repr=False)
    made: MadeContent | None = None

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self.data) if self.made is None else self.made.size

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``. This may be slow and belongs in a thread."""
        if self.made is not None:
            yield from self.made.pieces(start, stop)
            return
        for begin in range(start, stop, _PIECE):
            yield self.data[begin : min(stop, begin + _PIECE)]

    def to_json(self) -> dict[str, object]:
        """Return the file as a JSON object of the API."""
        return {
            "object": "file",
            "id": self.id,
            "purpose": self.purpose,
            "filename": self.filename,
            "bytes": self.size,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "status": "processed",
            "status_details": None,
        }


class FileStore:
    """Store of at most ``max_count`` files and ``max_bytes`` in total. It is thread-safe."""

    def __init__(
        self, clock: Callable[[], float], *, max_count: int = 10_000, max_bytes: int = 1024 * 1024 * 1024
    ) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._files: dict[str, StoredFile] = {}

    def __len__(self) -> int:
        return len(self._unexpired())

    def add(self, file: SentFile, purpose: str, life: int | None) -> StoredFile:
        """Store a file. ``life`` is its lifetime in seconds."""
        with self._lock:
            sizes = [len(stored.data) for stored in self._unexpired() if stored.made is None]
            if len(sizes) >= self._max_count or sum(sizes) + len(file.data) > self._max_bytes:
                text = "You have exceeded your file storage quota. Delete files to make room."
                raise Refusal(text, code="storage_quota_exceeded")
            return self._keep(file.filename or "upload", purpose, int(self._clock()), life, file.data)

    def put(self, filename: str, purpose: str, created_at: int, life: int, made: MadeContent) -> StoredFile:
        """Store a file of the server itself, whose content is made whenever it is read."""
        with self._lock:
            return self._keep(filename, purpose, created_at, life, b"", made)

    def get(self, name: str) -> StoredFile:
        """Return a file."""
        stored = next((stored for stored in self._unexpired() if stored.id == name), None)
        if stored is None:
            raise Refusal(f"No such File object: {name}", status=404, param="id")
        return stored

    def content(self, name: str) -> StoredFile:
        """Return a file whose purpose allows downloads."""
        stored = self.get(name)
        if stored.purpose in _NOT_DOWNLOADED:
            raise Refusal(f"Not allowed to download files of purpose: {stored.purpose}")
        return stored

    def delete(self, name: str) -> dict[str, object]:
        """Delete a file and return the response of the API."""
        with self._lock:
            del self._files[self.get(name).id]
        return {"object": "file", "id": name, "deleted": True}

    def page(self, purpose: str | None, after: str | None, limit: int, order: str) -> dict[str, object]:
        """Return one page of the list, newest first unless ``order`` is ``asc``."""
        found = self._unexpired()
        if order == "desc":
            found.reverse()
        if after is not None:
            found = found[found.index(self.get(after)) + 1 :]
        found = [stored for stored in found if purpose in {None, stored.purpose}]
        shown = found[:limit]
        return {
            "object": "list",
            "data": [stored.to_json() for stored in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": len(shown) < len(found),
        }

    def stored(self) -> list[StoredFile]:
        """Return every file, oldest first."""
        return self._unexpired()

    def restore(self, files: Iterable[StoredFile]) -> None:
        """Add files as they are."""
        with self._lock:
            self._files |= {file.id: file for file in files}

    def clear(self) -> None:
        """Delete every file."""
        with self._lock:
            self._files.clear()

    def _keep(
        self,
        filename: str,
        purpose: str,
        created_at: int,
        life: int | None,
        data: bytes,
        made: MadeContent | None = None,
    ) -> StoredFile:
        stored = StoredFile(
            id=f"file-{secrets.token_hex(12)}",
            filename=filename,
            purpose=purpose,
            created_at=created_at,
            expires_at=None if life is None else created_at + life,
            data=data,
            made=made,
        )
        self._files[stored.id] = stored
        return stored

    def _unexpired(self) -> list[StoredFile]:
        """Delete expired files and return the others, oldest first."""
        now = self._clock()
        with self._lock:
            for stored in list(self._files.values()):
                if stored.expires_at is not None and stored.expires_at <= now:
                    del self._files[stored.id]
            return list(self._files.values())


def read_upload(body: Body) -> tuple[SentFile, str, int | None]:
    """Return the file, purpose and lifetime of an upload."""
    for name in body.fields.values:
        if name == "file":
            raise invalid_type("file", "a file", body.fields.values[name][0])
        if name not in {"purpose", _ANCHOR, _SECONDS}:
            raise unknown_parameter(name)
    files = [file for file in body.files if file.name == "file"]
    if not files:
        raise missing_parameter("file")
    given = {name: values[0] for name, values in body.fields.values.items()}
    if "purpose" not in given:
        raise missing_parameter("purpose")
    purpose = Choice(PURPOSES).read("purpose", given["purpose"], form=True)
    if files[0].size > MAX_FILE:
        text = f"File is too large. Maximum file size is {MAX_FILE} bytes."
        raise Refusal(text, status=413, code="file_too_large")
    if purpose == "batch":
        _check_batch_file(files[0])
    life = _BATCH_LIFE if purpose == "batch" else None
    if _ANCHOR in given or _SECONDS in given:
        for name in (_ANCHOR, _SECONDS):
            if name not in given:
                raise missing_parameter(name)
        Choice(("created_at",)).read(_ANCHOR, given[_ANCHOR], form=True)
        life = Integer(3600, 2_592_000).read(_SECONDS, given[_SECONDS], form=True)
    return files[0], purpose, life


def _check_batch_file(file: SentFile) -> None:
    # https://github.com/BerriAI/litellm/pull/37527: the lines are not looked at before the batch is validated.
    if not file.filename.endswith(".jsonl"):
        raise Refusal("Invalid file format for Batch API. Must be .jsonl")
    if file.size > MAX_INPUT:
        raise Refusal("File is too large.", param="file", code="file_too_large")

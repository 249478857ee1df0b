"""Requests and responses of the Files API.

Pure functions. Parsers raise a :class:`.ScanError` if a response is not the expected one. https://platform.openai.com/docs/api-reference/files
"""

from __future__ import annotations

import re
from typing import Any, Final

from imagesdk._protocol.bodies import FormBody, FormField
from imagesdk._protocol.json_values import is_list, is_object, text, timestamp
from imagesdk._protocol.requests import Request
from imagesdk._protocol.scanner import ScanError, without_images
from imagesdk.errors import InvalidRequestError
from imagesdk.types import FileId, FileObject, Upload

PATH: Final = "/files"
EXPIRY: Final = (3600, 2_592_000)
"""Minimum and maximum lifetime of a file in seconds: one hour and 30 days after its upload."""

_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_FIELDS = {"object", "id", "bytes", "created_at", "expires_at", "filename", "purpose", "status"}


def upload_request(file: Upload, purpose: str, *, expires_after: int | None) -> Request:
    """Build the request that uploads a file. Refuse an empty purpose, and a lifetime outside :data:`EXPIRY`."""
    if not purpose.strip():
        allowed = '"vision" for images, "batch" for the requests of a batch'
        raise InvalidRequestError.for_parameter("purpose", purpose, allowed=allowed)
    parts = [FormField("purpose", purpose)]
    if expires_after is not None:
        if type(expires_after) is not int or not EXPIRY[0] <= expires_after <= EXPIRY[1]:
            allowed = f"{EXPIRY[0]} to {EXPIRY[1]} seconds"
            raise InvalidRequestError.for_parameter("expires_after", expires_after, allowed=allowed)
        parts.append(FormField("expires_after[anchor]", "created_at"))
        parts.append(FormField("expires_after[seconds]", str(expires_after)))
    parts.append(FormField("file", file))
    return Request(PATH, 0, None, FormBody(tuple(parts)))


def file_request(file: str | FileId | FileObject, method: str, suffix: str = "") -> Request:
    """Build a request about one file. Refuse an invalid id."""
    file_id = file if isinstance(file, str) else file.id
    if not _ID.fullmatch(file_id) or set(file_id) == {"."}:
        raise InvalidRequestError.for_parameter("file", file_id, allowed='an id such as "file-abc123"')
    return Request(f"{PATH}/{file_id}{suffix}", 0, None, b"", method)


def parse_file(document: Any) -> FileObject:
    """Parse a response that describes a file."""
    if not is_object(document) or not isinstance(document.get("id"), str):
        raise ScanError("the response describes no file")
    size = document.get("bytes")
    return FileObject(
        id=document["id"],
        bytes=size if type(size) is int else None,
        created=timestamp(document.get("created_at")),
        expires_at=timestamp(document.get("expires_at")),
        filename=text(document.get("filename")),
        purpose=text(document.get("purpose")),
        status=text(document.get("status")),
        extra=without_images({key: value for key, value in document.items() if key not in _FIELDS}),
    )


def parse_list(document: Any) -> tuple[FileObject, ...]:
    """Parse a response that lists files."""
    if not is_object(document) or not is_list(document.get("data")):
        raise ScanError("the response lists no files")
    return tuple(parse_file(item) for item in document["data"])


def parse_deleted(document: Any) -> bool:
    """Parse the response to a deletion, and return whether the file was deleted."""
    if not is_object(document) or not isinstance(document.get("deleted"), bool):
        raise ScanError("the response does not say whether the file was deleted")
    return bool(document["deleted"])

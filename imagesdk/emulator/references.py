"""Images that a JSON request references by data URL, URL or file id.

The emulator never fetches a URL over the network. It looks up URLs of its own origin. Any other URL leads to
the error of the API for an image that it could not download.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen

from imagesdk.emulator.answers import (
    Refusal,
    invalid_type,
    missing_parameter,
    mutually_exclusive,
    out_of_bounds,
)
from imagesdk.emulator.bodies import SentFile
from imagesdk.emulator.files import FileStore
from imagesdk.emulator.parameters import Text, object_members
from imagesdk.emulator.results import ResultStore
from imagesdk.emulator.rules import Fields

__all__ = ["ReferencedImages", "sniffed_media_type"]

_MAX_URL = 20_971_520  # maximum length of an ``image_url``, from OpenAI's OpenAPI description
_PROXY_STATUS = 407  # status that the API reported when its own proxy did not let it fetch an image
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


@frozen
class ReferencedImages:
    """Lookup of the images that a JSON request references."""

    origin: str
    files: FileStore
    results: ResultStore

    def sent(self, fields: Fields) -> tuple[SentFile, ...]:
        """Return the images of a JSON request in the form of file parts."""
        items = _image_list(fields.first("images"))
        overlays = [name for name in ("mask", "markup") if fields.first(name) is not None]
        return (
            *(self._image(f"images[{index}]", "image[]", item) for index, item in enumerate(items)),
            *(self._image(name, name, fields.first(name)) for name in overlays),
        )

    def _image(self, name: str, part: str, item: object) -> SentFile:
        given = object_members(name, item, {"image_url", "file_id"})
        url, file_id = given.get("image_url"), given.get("file_id")
        if url is not None and file_id is not None:
            raise mutually_exclusive(f"{name}.image_url", f"{name}.file_id")
        if file_id is None and url is None:
            raise missing_parameter(f"{name}.image_url")
        if file_id is not None:
            media_type, data = None, self._file(f"{name}.file_id", file_id)
        else:
            name = f"{name}.image_url"
            text = Text(_MAX_URL).read(name, url, form=False)
            is_data = text.startswith("data:")
            media_type, data = _decode_data_url(name, text) if is_data else (None, self._load_url(name, text))
        return SentFile(part, media_type or sniffed_media_type(data), len(data), data)

    def _file(self, name: str, file_id: object) -> bytes:
        wanted = Text().read(name, file_id, form=False)
        try:
            return self.files.get(wanted).data
        except Refusal as missing:
            raise Refusal(missing.message, param=name, code="invalid_value") from missing

    def _load_url(self, name: str, url: str) -> bytes:
        try:
            parts = urlsplit(url)
            origin = f"{parts.scheme}://{parts.netloc}".lower()
        except ValueError:
            parts, origin = urlsplit(""), ""
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            text = f"Invalid '{name}'. Expected a valid URL, but got a value with an invalid format."
            raise Refusal(text, param=name, code="invalid_value")
        found: bytes | int = _PROXY_STATUS
        if origin == self.origin.lower():
            found = self._own_url(parts.path, dict(parse_qsl(parts.query)))
        if isinstance(found, int):
            text = f"Error while downloading file. Upstream status code: {found}."
            raise Refusal(text, param=name, code="invalid_value")
        return found

    def _own_url(self, path: str, query: Mapping[str, str]) -> bytes | int:
        """Return the content of a URL of the emulator, or the status of its response."""
        result = re.fullmatch(r"/images/([^/]+)", path)
        if result is not None:
            found = self.results.get(result[1], query)
            return found if isinstance(found, bytes) else 404 if found == "gone" else 403
        file = re.fullmatch(r"/v1/files/([^/]+)/content", path)
        if file is None:
            return 404
        try:
            return self.files.content(file[1]).data
        except Refusal as refusal:
            return refusal.status


def _image_list(value: object) -> list[object]:
    if value is None:
        raise missing_parameter("images")
    if not isinstance(value, list):
        raise invalid_type("images", "an array of objects", value)
    if not value:
        expected = "an array with minimum length 1"
        raise out_of_bounds("images", "empty array", expected, "an empty array", "empty_array")
    return cast("list[object]", value)


def _decode_data_url(name: str, url: str) -> tuple[str, bytes]:
    match = re.match(r"data:([\w.+/-]*)((?:;[\w.+=-]*)*),", url)
    if match is None or not match[1].startswith("image/") or not match[2].endswith(";base64"):
        raise Refusal(
            f"Invalid '{name}'. Expected a base64-encoded data URL with an image MIME type (e.g. "
            "'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got a value without the 'data:image/' and "
            "';base64,' parts.",
            param=name,
            code="invalid_value",
        )
    try:
        return match[1], base64.b64decode(url[match.end() :], validate=True)
    except (ValueError, binascii.Error):
        raise Refusal(f"Invalid '{name}'. Invalid base64 data.", param=name, code="invalid_value") from None


def sniffed_media_type(data: bytes) -> str:
    """Return the media type of an image by its first bytes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    kinds = (kind for start, kind in _SIGNATURES if data.startswith(start))
    return next(kinds, "application/octet-stream")

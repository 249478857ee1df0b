"""The pictures of a job, made ready to be sent, and the JSON that can hold them.

A picture is bytes of ours (:class:`~imagesdk.types.Upload`) or something that the server fetches itself
(:class:`Remote`). A form holds uploads only. JSON holds both: an upload goes into it as a data URL, which is encoded
while it is sent.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator
from typing import Final, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

from attrs import frozen

from imagesdk._media.sniff import named_media_type, sniff
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Job
from imagesdk.types import Upload

_UNKNOWN = "application/octet-stream"
_FALLBACK = "image/png"
_URLS = ("http://", "https://", "data:")
_FILE_URL: Final = re.compile(r"file:(?://[^/]*)?(?:/(?=[A-Za-z]:))?", re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=\s-]+")
_URL_SAFE: Final = str.maketrans("-_", "+/", " \t\r\n")
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 4096
_SHOWN: Final = 40
"""Characters of what was given instead of a path that a message shows."""


@frozen(repr=False)
class Remote:
    """A picture that the server has, or fetches: a URL or the id of an uploaded file."""

    url: str | None = None
    file_id: str | None = None

    @property
    def name(self) -> str:
        """What to call it in a message: without the query, which may hold a signature."""
        return (self.url or "").split("?")[0] or self.file_id or ""

    def __repr__(self) -> str:
        return f"<Remote {self.name}>"


Picture: TypeAlias = "Upload | Remote"


@frozen
class Pictures:
    """What was found where the caller said that the pictures are."""

    images: tuple[Picture, ...] = ()
    mask: Picture | None = None
    markup: Picture | None = None

    def __iter__(self) -> Iterator[Picture]:
        yield from self.images
        yield from (picture for picture in (self.mask, self.markup) if picture is not None)


@frozen
class AsBase64:
    """A piece of a body: an upload as base64 text."""

    upload: Upload

    @property
    def size(self) -> int:
        """Characters of the text."""
        return 4 * ((self.upload.size + 2) // 3)


Segment: TypeAlias = "bytes | Upload | AsBase64"
"""A part of a body. Whoever sends it reads the uploads."""


@frozen
class Document:
    """A JSON body that holds pictures: the length is known beforehand, every part can be sent again."""

    parts: tuple[bytes | AsBase64, ...]

    @property
    def content_type(self) -> str:
        """The value of the ``content-type`` header."""
        return "application/json"

    @property
    def length(self) -> int:
        """The whole body in bytes."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)

    def segments(self) -> Iterator[bytes | AsBase64]:
        """Yield the body in order."""
        yield from self.parts


def needs_json(job: Job, pictures: Pictures) -> bool:
    """Whether an edit can only be said in JSON: the form has neither URLs nor file ids nor ``moderation``."""
    return isinstance(job, Edit) and (
        job.moderation is not None or any(isinstance(picture, Remote) for picture in pictures)
    )


def document(fields: bytes, pictures: Pictures, *, without: frozenset[str]) -> Document:
    """Add pictures to the JSON object ``fields``, but for those that ``without`` names."""
    parts: list[bytes | AsBase64] = [fields[:-1]]
    for name, found in (("images", pictures.images), ("mask", pictures.mask), ("markup", pictures.markup)):
        if found is None or name in without:
            continue
        parts.append((b"" if parts == [b"{"] else b",") + f'"{name}":'.encode())
        if isinstance(found, tuple):
            for number, picture in enumerate(found):
                parts += [b"," if number else b"[", *_entry(picture)]
            parts.append(b"]")
        else:
            parts += _entry(found)
    return Document((*parts, b"}"))


def image_url_length(picture: Picture) -> int:
    """Characters of the ``image_url`` that a picture has in JSON; 0 for a file id."""
    if isinstance(picture, Remote):
        return len(picture.url or "")
    return len(_data_url_head(picture)) + AsBase64(picture).size


def declared(upload: Upload) -> str:
    """Return the media type that a server is told.

    The API refuses ``application/octet-stream`` outright, and looks at the bytes of everything else. So what is not
    recognised goes by what the caller says, or by the extension of its file, and for want of both as a PNG.
    """
    if upload.media_type != _UNKNOWN:
        return upload.media_type
    return upload.stated_type or named_media_type(upload.name) or _FALLBACK


def is_url(text: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return text[:8].lower().startswith(_URLS)


def check_path(param: str, text: str) -> None:
    """Refuse a text that is no path, and say what it was taken for.

    Raises:
        InvalidRequestError: it is empty, the URL of a file, or base64.
    """
    if not text or "\0" in text:
        said = "holds a NUL" if text else "is an empty text"
        raise InvalidRequestError(
            f"{param} {said}: pass a path, a URL, bytes or a file.", param=param, value=text, allowed="a path"
        )
    if text[:6].lower() == "file:/":
        path = unquote(_FILE_URL.sub("", text, count=1))
        raise InvalidRequestError(
            f"{param} is the URL of a file, {text!r:.200}: pass the path itself, {path!r:.200}.",
            param=param,
            value=text,
            allowed="a path",
        )
    if len(text) <= _LONGEST_NAME:
        return
    encoded = _BASE64.fullmatch(text[:_LONGEST_PATH]) is not None
    if len(text) > _LONGEST_PATH or (encoded and ("/" not in text or _begins_as_picture(text))):
        said = (
            f"looks like base64 ({text[:_SHOWN]}...): pass base64.b64decode(...), or a data: URL"
            if encoded
            else f"is a text of {len(text)} characters ({text[:_SHOWN]}...), longer than any path"
        )
        raise InvalidRequestError(
            f"{param} {said}.", param=param, value=text[:_SHOWN], allowed="a path, a URL, bytes or a file"
        )


def _begins_as_picture(text: str) -> bool:
    head = text[:_LONGEST_NAME].translate(_URL_SAFE)
    try:
        return sniff(binascii.a2b_base64(head[: len(head) // 4 * 4])).media_type is not None
    except ValueError:
        return False


def decoded_data_url(param: str, url: str) -> bytes:
    """Return the bytes in a ``data:`` URL. https://www.rfc-editor.org/rfc/rfc2397

    Raises:
        InvalidRequestError: it is not one.
    """
    head, comma, text = url.partition(",")
    try:
        if not comma:
            raise ValueError("there is no comma in it")
        data = unquote_to_bytes(text)
        if not head.rstrip().lower().endswith(";base64"):
            return data
        plain = data.translate(None, b" \t\r\n")
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except ValueError as error:
        raise InvalidRequestError(
            f"{param} is a data URL that cannot be read: {error}.",
            param=param,
            value=url[:40],
            allowed="data:image/png;base64,...",
        ) from None


def _entry(picture: Picture) -> tuple[bytes | AsBase64, ...]:
    if isinstance(picture, Upload):
        return f'{{"image_url":"{_data_url_head(picture)}'.encode(), AsBase64(picture), b'"}'
    key, value = ("file_id", picture.file_id) if picture.url is None else ("image_url", picture.url)
    return (json.dumps({key: value}, separators=(",", ":")).encode(),)


def _data_url_head(upload: Upload) -> str:
    return f"data:{declared(upload)};base64,"

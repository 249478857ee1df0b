"""The pictures of a job, made ready to be sent, and the JSON that can hold them.

A picture is bytes of ours (:class:`~imagesdk.types.Upload`) or something that the server fetches itself
(:class:`Remote`). A form holds uploads only. JSON holds both: an upload goes into it as a data URL, which is encoded
while it is sent.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from attrs import frozen

from imagesdk._sniff import named_media_type
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Job
from imagesdk.types import Upload

_UNKNOWN = "application/octet-stream"
_FALLBACK = "image/png"
_URLS = ("http://", "https://", "data:")


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
    recognised goes by the extension of its file, and for want of one as a PNG.
    """
    if upload.media_type != _UNKNOWN:
        return upload.media_type
    return named_media_type(upload.name) or _FALLBACK


def is_url(text: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return text[:8].lower().startswith(_URLS)


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

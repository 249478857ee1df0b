"""Request bodies of known length: JSON that can hold images, and ``multipart/form-data``.

Both yield bytes, :class:`~imagesdk.types.Upload` and base64 segments in order, and can be sent again. The sender reads
the uploads. https://www.rfc-editor.org/rfc/rfc7578
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TypeAlias

from attrs import frozen

from imagesdk._media.sniff import OCTET_STREAM, named_media_type
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk.jobs import Edit, Job
from imagesdk.types import Upload


@frozen
class FormField:
    """One field of a form: a text or a file."""

    name: str
    value: str | Upload


@frozen
class FormBody:
    """A form and the boundary that separates its parts (given, so that an encoding can be repeated)."""

    parts: tuple[FormField, ...]
    boundary: str

    @property
    def content_type(self) -> str:
        """The value of the ``content-type`` header."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """The whole body in bytes."""
        return sum(len(s) if isinstance(s, bytes) else s.size for s in self.segments())

    def segments(self) -> Iterator[bytes | Upload]:
        """Yield the body in order."""
        for part in self.parts:
            yield self._head(part)
            yield part.value if isinstance(part.value, Upload) else part.value.encode()
            yield b"\r\n"
        yield f"--{self.boundary}--\r\n".encode()

    def _head(self, part: FormField) -> bytes:
        disposition = f'form-data; name="{_quoted(part.name)}"'
        lines = [f"--{self.boundary}"]
        if isinstance(part.value, Upload):
            lines.append(f'Content-Disposition: {disposition}; filename="{_quoted(part.value.name)}"')
            lines.append(f"Content-Type: {declared_media_type(part.value)}")
        else:
            lines.append(f"Content-Disposition: {disposition}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode(errors="replace")  # file names may be no text


def _quoted(text: str) -> str:
    # https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


_FALLBACK = "image/png"


@frozen
class Base64Segment:
    """A piece of a body: an upload as base64 text."""

    upload: Upload

    @property
    def size(self) -> int:
        """Characters of the text."""
        return 4 * ((self.upload.size + 2) // 3)


BodySegment: TypeAlias = "bytes | Upload | Base64Segment"
"""A part of a body. Whoever sends it reads the uploads."""


@frozen
class JsonBody:
    """A JSON body that holds pictures: the length is known beforehand, every part can be sent again."""

    parts: tuple[bytes | Base64Segment, ...]

    @property
    def content_type(self) -> str:
        """The value of the ``content-type`` header."""
        return "application/json"

    @property
    def length(self) -> int:
        """The whole body in bytes."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)

    def segments(self) -> Iterator[bytes | Base64Segment]:
        """Yield the body in order."""
        yield from self.parts


def json_body(fields: bytes, pictures: InputImages, *, without: frozenset[str]) -> JsonBody:
    """Add pictures to the JSON object ``fields``, but for those that ``without`` names."""
    parts: list[bytes | Base64Segment] = [fields[:-1]]
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
    return JsonBody((*parts, b"}"))


def declared_media_type(upload: Upload) -> str:
    """Return the media type that a server is told.

    The API refuses ``application/octet-stream`` outright, and looks at the bytes of everything else. So what is not
    recognised goes by what the caller says, or by the extension of its file, and for want of both as a PNG.
    """
    if upload.media_type != OCTET_STREAM:
        return upload.media_type
    return upload.stated_type or named_media_type(upload.name) or _FALLBACK


def _entry(picture: InputImage) -> tuple[bytes | Base64Segment, ...]:
    if isinstance(picture, Upload):
        return f'{{"image_url":"{_data_url_prefix(picture)}'.encode(), Base64Segment(picture), b'"}'
    key, value = ("file_id", picture.file_id) if picture.url is None else ("image_url", picture.url)
    return (json.dumps({key: value}, separators=(",", ":")).encode(),)


def _data_url_prefix(upload: Upload) -> str:
    return f"data:{declared_media_type(upload)};base64,"


def needs_json(job: Job, pictures: InputImages) -> bool:
    """Whether an edit can only be said in JSON: the form has neither URLs nor file ids nor ``moderation``."""
    return isinstance(job, Edit) and (
        job.moderation is not None or any(isinstance(picture, RemoteImage) for picture in pictures)
    )


def image_url_length(picture: InputImage) -> int:
    """Characters of the ``image_url`` that a picture has in JSON; 0 for a file id."""
    if isinstance(picture, RemoteImage):
        return len(picture.url or "")
    return len(_data_url_prefix(picture)) + Base64Segment(picture).size

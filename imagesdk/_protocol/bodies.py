"""Request bodies of known length: JSON with embedded images, and ``multipart/form-data``.

A body yields segments in order and can be yielded again for a retry. The engine reads the files of the segments:

==================  ===========================
segment             bytes on the wire
==================  ===========================
``bytes``           the same
``Upload``          its file
``Base64Segment``   its file as base64 text
==================  ===========================

The boundary of a form is a hash of its fields and of the names and sizes of its files, so that the same request has the
same bytes. It must not occur in a part: texts and images in memory are checked here, files by the engine while it reads
them. https://www.rfc-editor.org/rfc/rfc7578
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import count
from typing import ClassVar, TypeAlias

from attrs import Factory, field, frozen

from imagesdk._media.sniff import OCTET_STREAM, named_media_type
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk.jobs import Edit, Job
from imagesdk.types import Upload


@frozen
class FormField:
    """A field of a form: a text or a file."""

    name: str
    value: str | Upload


def form_boundary(parts: tuple[FormField, ...]) -> str:
    """Return the boundary of a form: the same for the same parts, and in none of their texts and images in memory."""
    facts = [(part.name, *_described(part.value)) for part in parts]
    contents = [
        part.value.source if isinstance(part.value, Upload) else part.value.encode() for part in parts
    ]
    in_memory = [content for content in contents if isinstance(content, bytes)]
    texts = (json.dumps([number, facts]).encode() for number in count())
    boundaries = (f"imagesdk-{hashlib.sha256(text).hexdigest()[:32]}" for text in texts)
    return next(each for each in boundaries if not any(each.encode() in content for content in in_memory))


def _described(value: str | Upload) -> tuple[str | int, ...]:
    return (value.name, declared_media_type(value), value.size) if isinstance(value, Upload) else (value,)


@frozen
class FormBody:
    """A ``multipart/form-data`` body."""

    parts: tuple[FormField, ...]
    boundary: str = field(default=Factory(lambda self: form_boundary(self.parts), takes_self=True))

    @property
    def content_type(self) -> str:
        """The media type with the boundary."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """The length of the body in bytes."""
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
        if isinstance(part.value, Upload):
            disposition += f'; filename="{_quoted(part.value.name)}"'
            disposition += f"\r\nContent-Type: {declared_media_type(part.value)}"
        head = f"--{self.boundary}\r\nContent-Disposition: {disposition}\r\n\r\n"
        return head.encode(errors="replace")  # file names may contain surrogates


def _quoted(text: str) -> str:
    # https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@frozen
class Base64Segment:
    """A segment that contains an upload as base64 text."""

    upload: Upload

    @property
    def size(self) -> int:
        """The length of the text in characters."""
        return 4 * ((self.upload.size + 2) // 3)


BodySegment: TypeAlias = "bytes | Upload | Base64Segment"
"""A segment of a body. The engine reads the files of uploads."""


@frozen
class JsonBody:
    """A JSON body with embedded images."""

    parts: tuple[bytes | Base64Segment, ...]
    content_type: ClassVar[str] = "application/json"

    @property
    def length(self) -> int:
        """The length of the body in bytes."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)

    def segments(self) -> Iterator[bytes | Base64Segment]:
        """Yield the body in order."""
        yield from self.parts


def json_body(fields: bytes, images: InputImages, *, without: frozenset[str]) -> JsonBody:
    """Add images to the JSON object ``fields``, except for the fields in ``without``."""
    parts: list[bytes | Base64Segment] = [fields[:-1]]
    for name, value in (("images", images.images), ("mask", images.mask), ("markup", images.markup)):
        if value is None or name in without:
            continue
        parts.append((b"" if parts == [b"{"] else b",") + f'"{name}":'.encode())
        if isinstance(value, tuple):
            for number, image in enumerate(value):
                parts += [b"," if number else b"[", *_entry(image)]
            parts.append(b"]")
        else:
            parts += _entry(value)
    return JsonBody((*parts, b"}"))


def declared_media_type(upload: Upload) -> str:
    """Return the media type to declare: the recognized one, the stated one, that of the extension, otherwise PNG."""
    # The API rejects application/octet-stream but inspects the bytes of any other type.
    if upload.media_type != OCTET_STREAM:
        return upload.media_type
    return upload.stated_type or named_media_type(upload.name) or "image/png"


def _entry(image: InputImage) -> tuple[bytes | Base64Segment, ...]:
    if isinstance(image, Upload):
        return f'{{"image_url":"{_data_url_prefix(image)}'.encode(), Base64Segment(image), b'"}'
    key, value = ("file_id", image.file_id) if image.url is None else ("image_url", image.url)
    return (json.dumps({key: value}, separators=(",", ":")).encode(),)


def _data_url_prefix(upload: Upload) -> str:
    return f"data:{declared_media_type(upload)};base64,"


def needs_json(job: Job, images: InputImages) -> bool:
    """Whether an edit must be JSON, because a form has no URLs, no file ids and no ``moderation``."""
    return isinstance(job, Edit) and (
        job.moderation is not None or any(isinstance(image, RemoteImage) for image in images)
    )


def image_url_length(image: InputImage) -> int:
    """Return the length of an image's ``image_url`` in JSON, in characters; 0 for a file id."""
    if isinstance(image, RemoteImage):
        return len(image.url or "")
    return len(_data_url_prefix(image)) + Base64Segment(image).size

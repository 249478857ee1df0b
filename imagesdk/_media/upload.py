"""Uploads: where the bytes of an input file are, and what its first bytes reveal."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeAlias, cast

from attrs import frozen

from imagesdk.errors import InvalidRequestError

_MEDIA_TYPE: Final = re.compile(
    r"(?:application|audio|font|image|model|text|video)/[\w.+-]+(?:;[\w.+ =;-]*)?", re.ASCII | re.IGNORECASE
)


class AsyncReadable(Protocol):
    """A file whose reading is awaited: Starlette's ``UploadFile``, anyio's ``AsyncFile``."""

    def read(self, size: int = ..., /) -> Awaitable[bytes]:
        """Return up to so many bytes; none at the end."""
        ...


Content: TypeAlias = "bytes | bytearray | memoryview | IO[bytes] | AsyncReadable"
"""A picture as its bytes, or as the open file."""
Named: TypeAlias = "tuple[str | None, Content] | tuple[str | None, Content, str | None]"
"""A picture with the name of its file, and perhaps its media type: as httpx and the official client have it."""
Encoded: TypeAlias = "str | os.PathLike[str] | Content | Named"
"""A picture as a file: its path or URL, its bytes, or the open file, which may be named."""


@frozen(repr=False)
class Upload:
    """A picture made ready to be sent: where its bytes are, and what they were found to be."""

    name: str
    """The file name that the server is told."""
    media_type: str
    """Found from the first bytes; ``application/octet-stream`` for what is not a known picture (and is sent under the
    type of its extension)."""
    size: int
    """In bytes."""
    width: int | None = None
    """In pixels, as the picture is shown: its EXIF orientation is applied."""
    height: int | None = None
    """In pixels, likewise."""
    alpha: bool | None = None
    """Whether pixels can be transparent; ``None`` when the header does not tell."""
    source: bytes | Path | IO[bytes] = b""
    start: int = 0
    """Where in a file object the picture begins."""
    transparent: bool | None = None
    """Whether some pixel is; ``None`` when nobody looked. Masks and markups are looked at."""
    cmyk: bool | None = None
    """Whether it is in inks rather than light: a JPEG for print."""
    several: bool | None = None
    """Whether there are further pictures in the file: an MPO, as many phones write them."""
    stated_type: str | None = None
    """The media type that the caller named. The server is told it where the bytes do not tell."""

    def __repr__(self) -> str:
        return f"<Upload {self.name!r} {self.media_type} {self.size} bytes>"


@frozen
class NamedParts:
    """What is in a :data:`Named`."""

    name: str | None
    content: Any
    media_type: str | None


def named_parts(source: object) -> NamedParts | None:
    """Return what is in a picture that is given with its name; ``None`` for anything else.

    A tuple of a text and of bytes or a file is one; so it is with a media type. Any other tuple is several pictures.

    Raises:
        InvalidRequestError: it has headers of its own, which are not sent.
    """
    if not isinstance(source, tuple):
        return None
    parts = cast("tuple[object, ...]", source)
    if not 2 <= len(parts) <= 4:
        return None
    name, content, media_type, headers = (*parts, None, None)[:4]
    if not (name is None or isinstance(name, str)) or not _is_content(content):
        return None
    if media_type is not None and not (isinstance(media_type, str) and _MEDIA_TYPE.fullmatch(media_type)):
        return None
    if isinstance(headers, Mapping):
        raise InvalidRequestError(
            "image is a tuple with headers; allowed: (name, data) or (name, data, media type).",
            param="image",
            value=f"a tuple of {len(parts)}",
            allowed="(name, data) or (name, data, media type)",
        )
    return None if headers is not None else NamedParts(name or None, content, media_type)


def _is_content(value: object) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview)) or callable(getattr(value, "read", None))


def as_list(value: object) -> tuple[Any, ...] | None:
    """Return the members of a list of pictures, which an answer is as well; ``None`` for one picture."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray, memoryview)):
        return None
    several = cast("Sequence[object]", value)
    return None if named_parts(several) is not None else tuple(several)


Upload.__module__ = "imagesdk"

"""Uploads: the location of the bytes of an input file, and facts from its header."""

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


UNKNOWN_START: Final = 12
"""Number of bytes that a message shows of a file in an unknown format."""


class AsyncReadable(Protocol):
    """A file with an async ``read``, such as Starlette's ``UploadFile`` or anyio's ``AsyncFile``."""

    def read(self, size: int = ..., /) -> Awaitable[bytes]:
        """Return up to ``size`` bytes; none at the end."""
        ...


Content: TypeAlias = "bytes | bytearray | memoryview | IO[bytes] | AsyncReadable"
"""An image as bytes, or as an open file."""
Named: TypeAlias = "tuple[str | None, Content] | tuple[str | None, Content, str | None]"
"""An image with its file name, and optionally its media type, as in httpx and the official client."""
Encoded: TypeAlias = "str | os.PathLike[str] | Content | Named"
"""An encoded image: its path or URL, its bytes, or an open file, optionally with a name."""


@frozen(repr=False)
class Upload:
    """An input file that is ready to be sent: the location of its bytes, and facts from its header."""

    name: str
    """The file name that is sent to the server."""
    media_type: str
    """Media type according to the first bytes; ``application/octet-stream`` for an unknown format, which is sent with
    the type of its extension."""
    size: int
    """Size in bytes."""
    width: int | None = None
    """Pixels, after the EXIF orientation is applied; ``None`` if unknown."""
    height: int | None = None
    """Pixels, after the EXIF orientation is applied; ``None`` if unknown."""
    alpha: bool | None = None
    """Whether pixels can be transparent; ``None`` if unknown."""
    source: bytes | Path | IO[bytes] = b""
    start: int = 0
    """Offset of the image in a file object."""
    transparent: bool | None = None
    """Whether some pixel is transparent; ``None`` if not checked. Masks and markups are checked."""
    cmyk: bool | None = None
    """Whether the channels are inks (CMYK), as in a JPEG for print."""
    several: bool | None = None
    """Whether the file is an MPO with further images, as many phones write it."""
    stated_type: str | None = None
    """The media type that the caller named. It is sent if the format is unknown."""
    unknown_start: bytes = b""
    """The first bytes of a file in an unknown format."""

    def __repr__(self) -> str:
        return f"<Upload {self.name!r} {self.media_type} {self.size} bytes>"


@frozen
class NamedParts:
    """The parts of a :data:`Named`."""

    name: str | None
    content: Any
    media_type: str | None


def named_parts(source: object) -> NamedParts | None:
    """Return the parts of a :data:`Named`; ``None`` for anything else, such as a tuple of images."""
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
        allowed, shown = "(name, data) or (name, data, media type)", "a tuple with headers"
        given = f"a tuple of {len(parts)}"
        raise InvalidRequestError.for_parameter("image", given, allowed=allowed, shown=shown)
    return None if headers is not None else NamedParts(name or None, content, media_type)


def _is_content(value: object) -> bool:
    return isinstance(value, (bytes, bytearray, memoryview)) or callable(getattr(value, "read", None))


def as_list(value: object) -> tuple[Any, ...] | None:
    """Return the members of a list of images, such as a response; ``None`` for a single image."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray, memoryview)):
        return None
    several = cast("Sequence[object]", value)
    return None if named_parts(several) is not None else tuple(several)


Upload.__module__ = "imagesdk"

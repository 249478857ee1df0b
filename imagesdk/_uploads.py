"""What can be given as a picture to send (:data:`Source`), and what it becomes (:class:`Upload`)."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    import numpy
    import numpy.typing
    import PIL.Image

    from imagesdk.types import FileId, FileObject, Image


class AsyncReadable(Protocol):
    """A file whose reading is awaited: Starlette's ``UploadFile``, anyio's ``AsyncFile``."""

    def read(self, size: int = ..., /) -> Awaitable[bytes]:
        """Return up to so many bytes; none at the end."""
        ...


Encoded: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | AsyncReadable"
"""A picture as a file: its path or URL, its bytes, or the open file."""
Decoded: TypeAlias = (
    "PIL.Image.Image | numpy.typing.NDArray[numpy.uint8] | numpy.typing.NDArray[numpy.floating[Any]]"
)
"""A picture as pixels."""
Source: TypeAlias = "Encoded | Decoded | Image | FileId | FileObject"
"""A picture to send.

- A path; or a URL, which is a ``str`` that begins with ``http://``, ``https://`` or ``data:``.
- Bytes of any kind.
- A binary file object, also one whose ``read`` is awaited. It is read from where it stands, left standing there if it
  can seek, and never closed.
- A Pillow image: its pixels as they are, alpha included, as PNG.
- A numpy array of shape (height, width), (height, width, 3) or (height, width, 4): ``uint8``, or floats from 0 to 1.
- An :class:`Image` of another answer.
- For an edit, a file that was uploaded before: :class:`FileId` or :class:`FileObject`.

The server fetches http URLs and uploaded files itself; only edits by GPT Image models take them.
"""


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

    def __repr__(self) -> str:
        return f"<Upload {self.name!r} {self.media_type} {self.size} bytes>"


Upload.__module__ = "imagesdk"

"""What goes in and comes out, as frozen data that is the same for the async and the blocking client.

Nothing here talks to a server. ``Image.save`` and its like read and write files and therefore block; async
code passes ``out=`` to the call or awaits ``client.images.download(image, to=...)``.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from attrs import field, frozen

from imagesdk._media.atomic import write_file
from imagesdk._media.output import image_path
from imagesdk._media.pillow import eight_bit, require_pillow
from imagesdk._media.sniff import HEAD_SIZE, extension, sniff
from imagesdk._media.upload import AsyncReadable, Encoded, Upload
from imagesdk.errors import APIResponseError, ImageNotLoadedError
from imagesdk.remedies import Remedy

if TYPE_CHECKING:
    import numpy
    import numpy.typing
    import PIL.Image

    from imagesdk._media.notebook import MimeBundle

__all__ = [
    "AsyncReadable",
    "CompletedImage",
    "FileId",
    "FileObject",
    "Image",
    "ImagesResponse",
    "PartialImage",
    "RawResponse",
    "Source",
    "SvgUsage",
    "Upload",
    "Usage",
]

_DECODED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are handed to Pillow. Others have decoders that run programs: EPS goes to Ghostscript."""

_Bytes: TypeAlias = bytes  # Image has an attribute of the name


def _plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return dict(mapping)


def _texts(mapping: Mapping[str, str]) -> dict[str, str]:
    return dict(mapping)


@frozen(repr=False)
class Image:
    """One picture of a response: its bytes, a file, or a URL, and what is known about it."""

    index: int = 0
    """Its place in the response, from 0."""
    url: str | None = None
    """Where the server keeps it, if it answered with URLs."""
    path: Path | None = None
    """The file it was written to, if ``out=`` was given."""
    media_type: str | None = None
    """Read from the bytes themselves, e.g. ``"image/png"``."""
    width: int | None = None
    """In pixels."""
    height: int | None = None
    """In pixels."""
    revised_prompt: str | None = None
    """The prompt that the model made of yours, where it says so."""
    expires_at: datetime | None = None
    """When the URL stops working, where that is known: an hour after it was made in the 2023 API."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the answer that have no attribute of their own."""
    _data: _Bytes | None = field(default=None, alias="data")

    @property
    def bytes(self) -> _Bytes:
        """The encoded picture. Reads the file, each time, if it has a path.

        Raises:
            ImageNotLoadedError: it is only a URL so far.
        """
        if self._data is not None:
            return self._data
        if self.path is not None:
            return self.path.read_bytes()
        where = f" ({self.url.split('?')[0]})" if self.url else ""
        raise ImageNotLoadedError(f"This image is only a URL so far{where}.", remedies=(Remedy.LOAD_IMAGE,))

    @property
    def loaded(self) -> bool:
        """Whether the picture itself is at hand, in memory or in a file."""
        return self._data is not None or self.path is not None

    @property
    def b64_json(self) -> str | None:
        """The picture as base64 text, made anew each time; ``None`` if it is only a URL."""
        if not self.loaded:
            return None
        return base64.b64encode(self.bytes).decode("ascii")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to ``path`` (whole or not at all) and return the path. Blocks.

        A folder, or a path that ends with ``/``, gets the name ``image-INDEX.EXT``. ``{index}`` and ``{ext}`` in a path
        are filled in, and ``~/`` is the home folder, as in ``out=``.

        Raises:
            InvalidRequestError: there is no such path.
            ImageNotLoadedError: it is only a URL so far.
            OSError: the file cannot be written.
        """
        final = image_path("path", path, self.index, extension(self.media_type))
        return write_file(final, self.bytes)

    def to_pil(self) -> PIL.Image.Image:
        """Return it as a Pillow image, fully loaded. Blocks; needs the extra ``pillow``.

        Of an animation the first frame is loaded; ``seek`` goes to the others.

        Raises:
            PIL.UnidentifiedImageError: it is an SVG, which has no pixels, or no picture.
            PIL.Image.DecompressionBombError: it has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``.
            ModuleNotFoundError: Pillow is missing.
        """
        require_pillow("to_pil")
        import PIL
        import PIL.Image

        data = self.bytes
        if sniff(data[:HEAD_SIZE]).media_type == "image/svg+xml":
            raise PIL.UnidentifiedImageError("an SVG has no pixels: save() it, or show its data_url()")
        picture = PIL.Image.open(io.BytesIO(data), formats=_DECODED)
        most = PIL.Image.MAX_IMAGE_PIXELS
        if most is not None and picture.width * picture.height > most:  # of which Pillow itself only warns
            raise PIL.Image.DecompressionBombError(
                f"{picture.width}x{picture.height} pixels are more than PIL.Image.MAX_IMAGE_PIXELS ({most})"
            )
        picture.load()
        return picture

    def to_numpy(self) -> numpy.typing.NDArray[numpy.uint8]:
        """Return it as an array of shape (height, width, 3), or 4 with transparency. Blocks; needs Pillow and numpy.

        Of an animation, the first frame; sixteen bits are scaled to eight.

        Raises:
            ModuleNotFoundError: Pillow or numpy is missing.
        """
        try:
            import numpy
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_numpy needs numpy: pip install numpy", name="numpy") from error

        picture = self.to_pil()
        if picture.mode not in {"RGB", "RGBA"} or picture.has_transparency_data:
            picture = eight_bit(picture)
        return numpy.asarray(picture, dtype=numpy.uint8)

    def data_url(self) -> str:
        """Return it as a ``data:`` URL, ready for an ``<img src>``. Blocks if it is in a file."""
        text = base64.b64encode(self.bytes).decode("ascii")
        return f"data:{self.media_type or 'application/octet-stream'};base64,{text}"

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> MimeBundle:
        from imagesdk._media.notebook import image_bundle

        return image_bundle(self, repr(self), include=include, exclude=exclude)

    def __repr__(self) -> str:
        facts = [str(self.index)]
        if self.media_type:
            facts.append(self.media_type)
        if self.width and self.height:
            facts.append(f"{self.width}x{self.height}")
        if self.path is not None:
            facts.append(f"path={str(self.path)!r}")
        elif self._data is not None:
            facts.append(f"{len(self._data)} bytes")
        elif self.url:
            facts.append(f"url={self.url.split('?')[0]!r}")
        return f"<Image {' '.join(facts)}>"


@frozen
class Usage:
    """Tokens that the server counted. All are what it said; a count it left out is ``None``."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_text_tokens: int | None = None
    input_image_tokens: int | None = None
    output_text_tokens: int | None = None
    output_image_tokens: int | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Counts that have no attribute of their own."""


@frozen
class SvgUsage:
    """Tokens that the text model took which wrote an SVG: billed at that model's own prices."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Facts that have no attribute of their own."""


@frozen(repr=False)
class ImagesResponse(Sequence[Image]):
    """The answer to one call: a sequence of :class:`Image` and what came with it."""

    data: tuple[Image, ...] = ()
    """The pictures, in the server's order."""
    created: datetime | None = None
    """When the server says that it made them (UTC)."""
    usage: Usage | None = None
    """Tokens, from models that count them."""
    svg_usage: SvgUsage | None = None
    """Tokens of the text model, where it wrote an SVG."""
    cost: Decimal | None = None
    """What it cost in US dollars by the price table; ``None`` when that is not known, never 0."""
    request_id: str | None = None
    """The server's id of the request: what support asks for."""
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    safety_identifier: str | None = None
    """The id of the end user that the request carried, where the server says it back."""
    attempts: int = 1
    """How many times the request was started."""
    maybe_billed_before: bool = False
    """Whether an earlier attempt of the same call may have been billed as well."""
    idempotency_key: str | None = None
    """The key that the request carried."""
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=_texts)
    """Headers of the answer; names in lower case."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the answer that have no attribute of their own."""

    def __iter__(self) -> Iterator[Image]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Image, ...]: ...
    def __getitem__(self, index: int | slice) -> Image | tuple[Image, ...]:
        return self.data[index]

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> MimeBundle:
        from imagesdk._media.notebook import grid_bundle

        return grid_bundle(self.data, repr(self), include=include, exclude=exclude)

    def __repr__(self) -> str:
        return f"<ImagesResponse {list(self.data)!r}{f' {self.request_id}' if self.request_id else ''}>"


@frozen
class PartialImage:
    """An event of a stream: how the picture looks so far."""

    image: Image
    """The picture as it is: smaller or rougher than the last one will be. Always in memory."""
    partial_image_index: int | None = None
    """Counts the partial images from 0."""
    type: str = "image_generation.partial_image"
    """The API's name of the event; for an edit it is ``"image_edit.partial_image"``."""
    created: datetime | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the event that have no attribute of their own."""

    @property
    def b64_json(self) -> str | None:
        """The picture as base64 text."""
        return self.image.b64_json

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> MimeBundle:
        from imagesdk._media.notebook import image_bundle

        text = f"<PartialImage {self.partial_image_index} of {self.image!r}>"
        return image_bundle(self.image, text, include=include, exclude=exclude)


@frozen
class CompletedImage:
    """The last event of a stream: the picture is whole."""

    response: ImagesResponse
    """What a call without a stream would have returned, usage and cost included."""
    type: str = "image_generation.completed"
    """The API's name of the event; for an edit it is ``"image_edit.completed"``."""

    @property
    def image(self) -> Image:
        """The picture."""
        return self.response[0]

    @property
    def usage(self) -> Usage | None:
        """Tokens that the server counted."""
        return self.response.usage

    @property
    def b64_json(self) -> str | None:
        """The picture as base64 text; ``None`` if it is only a URL."""
        return self.image.b64_json

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> MimeBundle:
        from imagesdk._media.notebook import grid_bundle

        return grid_bundle(self.response.data, repr(self), include=include, exclude=exclude)


@frozen
class FileId:
    """A file that was uploaded before, by its id: a picture for an edit in place of its bytes."""

    id: str
    """``"file-..."``"""


@frozen
class FileObject:
    """A file on the server, as ``client.files`` knows it. It can be given to an edit as a picture."""

    id: str
    """``"file-..."``"""
    bytes: int | None = None
    """Its size."""
    created: datetime | None = None
    expires_at: datetime | None = None
    filename: str | None = None
    purpose: str | None = None
    """What it is for: ``"vision"`` for pictures, ``"batch"`` for the requests of a batch."""
    status: str | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the answer that have no attribute of their own."""


@frozen
class RawResponse:
    """The answer to ``client.request``, as it came."""

    status_code: int
    """Below 400: what is above it is raised as an error."""
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=_texts)
    """Names in lower case."""
    content: bytes = field(default=b"", repr=lambda content: f"<{len(content)} bytes>")
    """The whole body, inflated."""

    @property
    def request_id(self) -> str | None:
        """The server's id of the request: what support asks for."""
        return self.headers.get("x-request-id")

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body, parsed.

        Raises:
            APIResponseError: it is not JSON.
        """
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            raise APIResponseError(
                f"The answer ({self.status_code}, {len(self.content)} bytes) is not JSON: see its content.",
                request_id=self.request_id,
            ) from None


for _type in (
    Image,
    Usage,
    SvgUsage,
    ImagesResponse,
    PartialImage,
    CompletedImage,
    FileId,
    FileObject,
    RawResponse,
):
    _type.__module__ = "imagesdk"


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
- A tuple of a file name and the bytes or the file, ``("cat.png", data)``, and perhaps its media type: the name that the
  server is told. (Several pictures are a list; a tuple of paths is several pictures, too.)
- A Pillow image: its pixels as they are, alpha included, as PNG.
- A numpy array of shape (height, width), (height, width, 3) or (height, width, 4): ``uint8``, or floats from 0 to 1.
- An :class:`Image` of another answer.
- For an edit, a file that was uploaded before: :class:`FileId` or :class:`FileObject`.

The server fetches http URLs and uploaded files itself; only edits by GPT Image models take them.
"""

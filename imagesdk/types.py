"""Inputs and results of calls, as frozen data, for the async and the blocking client alike.

Nothing here talks to a server. ``Image.save`` and other methods read and write files, so they block. Async code passes
``out=`` to the call, or awaits ``client.images.download(image, to=...)``.
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
from imagesdk._media.output import expand_local_path, image_path
from imagesdk._media.pillow import eight_bit, require_pillow
from imagesdk._media.remote_path import RemotePath
from imagesdk._media.sniff import HEAD_SIZE, OCTET_STREAM, extension, sniff
from imagesdk._media.upload import AsyncReadable, Encoded, Upload
from imagesdk.errors import APIResponseError, ImageNotLoadedError, printable
from imagesdk.remedies import Remedy

if TYPE_CHECKING:
    import numpy
    import numpy.typing
    import PIL.Image

    from imagesdk._media.notebook import MimeBundle

# fmt: off
__all__ = [
    "AsyncReadable", "CompletedImage", "FileId", "FileObject", "Image", "ImagesResponse", "PartialImage",
    "RawResponse", "Source", "SvgUsage", "Upload", "Usage",
]
# fmt: on

_DECODED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that Pillow may decode. Some of its other decoders run programs: EPS runs Ghostscript."""

_Bytes: TypeAlias = bytes  # Image has an attribute of the name
_MediaTypes: TypeAlias = Container[str] | None


def _plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return dict(mapping)


def _texts(mapping: Mapping[str, str]) -> dict[str, str]:
    return dict(mapping)


@frozen(repr=False)
class Image:
    """One image of a response: its bytes, its file or its URL, and facts about it."""

    index: int = 0
    """Position in the response, from 0."""
    url: str | None = None
    """The URL of the image, if the server returned URLs."""
    path: Path | None = None
    """The local file of the image, if ``out=`` was given."""
    media_type: str | None = None
    """Media type according to the bytes, e.g. ``"image/png"``."""
    width: int | None = None
    """In pixels."""
    height: int | None = None
    """In pixels."""
    revised_prompt: str | None = None
    """The prompt as the model rewrote it, if the server returns it."""
    expires_at: datetime | None = None
    """Expiry of the URL, if known. In the API of 2023 it is an hour after the creation."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the response without an attribute of their own."""
    _data: _Bytes | None = field(default=None, alias="data")
    _remote: RemotePath | None = field(default=None, alias="remote")

    @property
    def location(self) -> str | None:
        """Where ``out=`` has put the image: its path, or its URL such as ``s3://bucket/cat.png``, without a password."""
        place = self.path or self._remote
        return None if place is None else str(place)

    @property
    def bytes(self) -> _Bytes:
        """The encoded image. Reads the file on every access if the image is in a file, and not in memory.

        Raises:
            ImageNotLoadedError: If the image is only a URL so far.
            OSError: If the file cannot be read.
        """
        if self._data is not None:
            return self._data
        if self.path is not None:
            return self.path.read_bytes()
        if self._remote is not None:
            from imagesdk._media.remote_files import read

            return read(self._remote)
        where = f" ({self.url.split('?')[0]})" if self.url else ""
        raise ImageNotLoadedError(f"This image is only a URL so far{where}.", remedies=(Remedy.LOAD_IMAGE,))

    @property
    def loaded(self) -> bool:
        """Whether the image is in memory or in a file, local or remote."""
        return self._data is not None or self.location is not None

    @property
    def b64_json(self) -> str | None:
        """The image as base64 text, encoded on every access; ``None`` if it is only a URL."""
        return base64.b64encode(self.bytes).decode("ascii") if self.loaded else None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the image to a file, and return its path. Blocks. The file is never half written.

        Args:
            path: A file; a folder, or a path that ends with ``/``, for a file ``image-INDEX.EXT`` in it; or a template
                with ``{index}`` and ``{ext}``. ``~/`` is the home folder.

        Raises:
            InvalidRequestError: If ``path`` is not a path.
            ImageNotLoadedError: If the image is only a URL so far.
            OSError: If the file cannot be written.
        """
        local = expand_local_path("path", path, Remedy.DOWNLOAD_TO_URL)
        final = image_path("path", local, self.index, extension(self.media_type))
        assert isinstance(final, Path)  # noqa: S101 - a local path was checked
        return write_file(final, self.bytes)

    def to_pil(self) -> PIL.Image.Image:
        """Return the image as a decoded Pillow image. Blocks, and needs the extra ``pillow``.

        The first frame of an animation is decoded. ``seek`` selects another one.

        Raises:
            ImageNotLoadedError: If the image is only a URL so far.
            APIResponseError: If the bytes cannot be decoded: an SVG, which has no pixels, not an image, a broken one, or one
                with more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``. The error of Pillow is its ``__cause__``.
            ModuleNotFoundError: If Pillow is missing.
            OSError: If the file cannot be read.
        """
        require_pillow("to_pil")
        import PIL.Image

        data = self.bytes
        if sniff(data[:HEAD_SIZE]).media_type == "image/svg+xml":
            raise self._undecodable("an SVG has no pixels", Remedy.SHOW_SVG)
        try:
            image = PIL.Image.open(io.BytesIO(data), formats=_DECODED)
            limit = PIL.Image.MAX_IMAGE_PIXELS
            if limit is None or image.width * image.height <= limit:  # else Pillow itself only warns
                image.load()
                return image
            problem = (
                f"{image.width}x{image.height} pixels are more than PIL.Image.MAX_IMAGE_PIXELS ({limit})"
            )
        except PIL.Image.DecompressionBombError as error:
            raise self._undecodable(str(error), Remedy.RAISE_MAX_PIXELS) from error
        except Exception as error:
            raise self._undecodable(str(error) or type(error).__name__) from error
        raise self._undecodable(problem, Remedy.RAISE_MAX_PIXELS)

    def _undecodable(self, problem: str, *remedies: Remedy) -> APIResponseError:
        summary = f"Image {self.index} cannot be decoded: {problem.rstrip('.')}."
        return APIResponseError(summary, remedies=remedies)

    def to_numpy(self) -> numpy.typing.NDArray[numpy.uint8]:
        """Return the image as an array of shape (height, width, 3), or 4 with transparency. Blocks.

        The first frame of an animation is decoded. Sixteen bits are scaled to eight.

        Raises:
            ImageNotLoadedError: If the image is only a URL so far.
            APIResponseError: If the bytes cannot be decoded.
            ModuleNotFoundError: If Pillow or numpy is missing.
        """
        try:
            import numpy
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_numpy needs numpy: pip install numpy", name="numpy") from error

        image = self.to_pil()
        if image.mode not in {"RGB", "RGBA"} or image.has_transparency_data:
            image = eight_bit(image)
        return numpy.asarray(image, dtype=numpy.uint8)

    def data_url(self) -> str:
        """Return the image as a ``data:`` URL for an ``<img src>``. Blocks if the image is in a file."""
        text = base64.b64encode(self.bytes).decode("ascii")
        return f"data:{self.media_type or OCTET_STREAM};base64,{text}"

    def _repr_mimebundle_(self, include: _MediaTypes = None, exclude: _MediaTypes = None) -> MimeBundle:
        from imagesdk._media.notebook import image_bundle

        return image_bundle(self, repr(self), include=include, exclude=exclude)

    def __repr__(self) -> str:
        facts = [str(self.index)]
        if self.media_type:
            facts.append(self.media_type)
        if self.width and self.height:
            facts.append(f"{self.width}x{self.height}")
        if self.location is not None:
            facts.append(f"{'path' if self.path else 'location'}={self.location!r}")
        elif self._data is not None:
            facts.append(f"{len(self._data)} bytes")
        elif self.url:
            facts.append(f"url={self.url.split('?')[0]!r}")
        return f"<Image {' '.join(facts)}>"


@frozen
class Usage:
    """Tokens as the server counted them. ``None`` for counts that the server left out."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_text_tokens: int | None = None
    input_image_tokens: int | None = None
    output_text_tokens: int | None = None
    output_image_tokens: int | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Counts without an attribute of their own."""


@frozen
class SvgUsage:
    """Tokens of the text model that wrote an SVG, billed at the prices of that model."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields without an attribute of their own."""


@frozen(repr=False)
class ImagesResponse(Sequence[Image]):
    """The response to one call: a sequence of :class:`Image`, with facts about the call."""

    data: tuple[Image, ...] = ()
    """The images, in the order of the server."""
    created: datetime | None = None
    """Time of creation according to the server (UTC)."""
    usage: Usage | None = None
    """Token counts, from models that are billed by token."""
    svg_usage: SvgUsage | None = None
    """Token counts of the text model that wrote an SVG."""
    cost: Decimal | None = None
    """Cost in US dollars according to the price table; ``None`` if unknown, never 0."""
    request_id: str | None = None
    """The id of the request on the server, which support asks for."""
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    safety_identifier: str | None = None
    """The id of the end user in the request, if the server returns it."""
    attempts: int = 1
    """Number of attempts, including the first."""
    maybe_billed_before: bool = False
    """Whether an earlier attempt of the call may have been billed, too."""
    missing: int = field(default=0, kw_only=True)
    """The number of requested images that did not arrive."""
    idempotency_key: str | None = None
    """The idempotency key of the request."""
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=_texts)
    """Headers of the response. Names are in lower case."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the response without an attribute of their own."""

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

    def _repr_mimebundle_(self, include: _MediaTypes = None, exclude: _MediaTypes = None) -> MimeBundle:
        from imagesdk._media.notebook import grid_bundle

        return grid_bundle(self.data, repr(self), include=include, exclude=exclude)

    def __repr__(self) -> str:
        return f"<ImagesResponse {list(self.data)!r}{f' {printable(self.request_id)}' if self.request_id else ''}>"


@frozen
class PartialImage:
    """An event of a stream: an intermediate state of the image."""

    image: Image
    """The partial image, smaller or rougher than the final one. Always in memory."""
    partial_image_index: int | None = None
    """Position among the partial images, from 0."""
    type: str = "image_generation.partial_image"
    """The name of the event in the API; ``"image_edit.partial_image"`` for an edit."""
    created: datetime | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the event without an attribute of their own."""

    @property
    def b64_json(self) -> str | None:
        """The image as base64 text."""
        return self.image.b64_json

    def _repr_mimebundle_(self, include: _MediaTypes = None, exclude: _MediaTypes = None) -> MimeBundle:
        text = f"<PartialImage {self.partial_image_index} of {self.image!r}>"
        from imagesdk._media.notebook import image_bundle

        return image_bundle(self.image, text, include=include, exclude=exclude)


@frozen
class CompletedImage:
    """The last event of a stream, with the final image."""

    response: ImagesResponse
    """The same response as that of a call without a stream, with usage and cost."""
    type: str = "image_generation.completed"
    """The name of the event in the API; ``"image_edit.completed"`` for an edit."""

    @property
    def image(self) -> Image:
        """The final image."""
        return self.response[0]

    @property
    def usage(self) -> Usage | None:
        """Token counts of the server."""
        return self.response.usage

    @property
    def b64_json(self) -> str | None:
        """The image as base64 text; ``None`` if it is only a URL."""
        return self.image.b64_json

    def _repr_mimebundle_(self, include: _MediaTypes = None, exclude: _MediaTypes = None) -> MimeBundle:
        from imagesdk._media.notebook import grid_bundle

        return grid_bundle(self.response.data, repr(self), include=include, exclude=exclude)


@frozen
class FileId:
    """The id of an uploaded file, as an image for an edit."""

    id: str
    """``"file-..."``"""


@frozen
class FileObject:
    """A file on the server, as ``client.files`` returns it. It can be an image for an edit."""

    id: str
    """``"file-..."``"""
    bytes: int | None = None
    """Size in bytes."""
    created: datetime | None = None
    expires_at: datetime | None = None
    filename: str | None = None
    purpose: str | None = None
    """Purpose: ``"vision"`` for images, ``"batch"`` for the requests of a batch."""
    status: str | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any], converter=_plain)
    """Fields of the response without an attribute of their own."""


@frozen
class RawResponse:
    """The unparsed response to ``client.request``."""

    status_code: int
    """Always below 400: a status of 400 and above is raised as an error."""
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=_texts)
    """Headers of the response. Names are in lower case."""
    content: bytes = field(default=b"", repr=lambda content: f"<{len(content)} bytes>")
    """The whole body, decompressed."""

    @property
    def request_id(self) -> str | None:
        """The id of the request on the server, which support asks for."""
        return self.headers.get("x-request-id")

    @property
    def text(self) -> str:
        """The body as text. Bytes that are not UTF-8 are replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body, parsed as JSON.

        Raises:
            APIResponseError: If the body is not JSON.
        """
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            raise APIResponseError(
                f"The response ({self.status_code}, {len(self.content)} bytes) is not JSON: see its content.",
                request_id=self.request_id,
            ) from None


for _type in (Image, Usage, SvgUsage, ImagesResponse, PartialImage, CompletedImage, FileId, FileObject):
    _type.__module__ = "imagesdk"
RawResponse.__module__ = "imagesdk"


Decoded: TypeAlias = (
    "PIL.Image.Image | numpy.typing.NDArray[numpy.uint8] | numpy.typing.NDArray[numpy.floating[Any]]"
)
"""An image as pixels."""


Source: TypeAlias = "Encoded | Decoded | Image | FileId | FileObject"
"""An input image.

- A path; or a URL, which is a ``str`` that begins with ``http://``, ``https://`` or ``data:``.
- ``bytes``, ``bytearray`` or ``memoryview``.
- A binary file object, also one with an async ``read``. It is read from its current position and never closed. If it
  can seek, its position is restored.
- A tuple of a file name for the server, the bytes or the file, and optionally the media type: ``("cat.png", data)``.
  Any other tuple, such as one of paths, is a list of images.
- A Pillow image, whose pixels are sent as PNG, with alpha.
- A numpy array of shape (height, width), (height, width, 3) or (height, width, 4): ``uint8``, or floats from 0 to 1.
- An :class:`Image` of another response.
- For an edit, an uploaded file: :class:`FileId` or :class:`FileObject`.

The server itself fetches http URLs and uploaded files. Only edits with GPT Image models accept them.
"""

"""Preparation of input images: conversion to a format that models accept, and masks. Needs the extra ``pillow``.

Both functions block: they read files, decode and encode. Async code runs them in a thread:

```python
data = await anyio.to_thread.run_sync(partial(prepare_image, "phone.jpg", size=1024, square="crop"))
```
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from imagesdk._media.pillow import (
    array_as_png,
    check_pixels,
    eight_bit,
    encode_image,
    is_array,
    is_pillow,
    open_image,
    require_pillow,
    upright,
)
from imagesdk._media.source_text import check_path, decode_data_url, is_url
from imagesdk._media.upload import named_parts
from imagesdk.errors import InvalidRequestError
from imagesdk.models.sizes import parse_size
from imagesdk.remedies import Remedy
from imagesdk.types import FileId, FileObject, Image, Source

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["Box", "make_mask", "prepare_image"]

Box: TypeAlias = "tuple[int, int, int, int]"
"""Left, top, right and bottom in pixels, from the upper left corner. Right and bottom are exclusive."""

_Wanted: TypeAlias = "tuple[int, int] | int | None"
"""The requested width and height, or the requested long edge."""
_FORMATS = ("png", "jpeg", "webp")
_MIN_EDGE = 16
"""Minimum length in pixels of the short edge of an image that is made smaller for ``max_bytes``."""
_CLEAR = (255, 255, 255, 0)


def prepare_image(
    source: Source,
    *,
    size: str | tuple[int, int] | int | None = None,
    square: Literal["crop", "pad"] | None = None,
    alpha: bool = False,
    max_bytes: int | None = None,
    format: Literal["png", "jpeg", "webp"] = "png",  # noqa: A002 - the word of the field
) -> bytes:
    """Return an upright image of eight bits in sRGB, without metadata such as places and dates. Blocks.

    Input formats are PNG, JPEG (also CMYK, and the MPO of phones), WebP, GIF, BMP, TIFF, AVIF and HEIC (with pillow-heif
    registered), also with palettes or sixteen bits. Of several frames the first is used. The EXIF orientation is
    applied, and the colour profile if Pillow can. Transparency is preserved, except in JPEG, where it becomes white.

    Example:
        ```python
        image = prepare_image("phone.jpg", size=1024, square="crop", max_bytes=4 * 1024 * 1024)
        client.images.create_variation(image)
        ```

    Args:
        source: A path, bytes, a binary file, a Pillow image, a numpy array, a data URL or an :class:`Image`.
        size: ``"1024x1024"`` or ``(1024, 1024)`` for an exact size, cropped around the centre and never stretched.
            ``1024`` for the long edge. Smaller images are enlarged. Default: the size of the source.
        square: ``"crop"`` keeps the middle. ``"pad"`` keeps everything and adds margins, which are transparent if the
            result has an alpha channel, otherwise white. Default: the shape of the source.
        alpha: Whether to add an alpha channel if the source has none.
        max_bytes: Exclusive upper bound of the result in bytes. To stay below, the result may have fewer pixels than
            ``size``. Default: no bound.
        format: ``"png"``, or ``"jpeg"`` or ``"webp"`` with quality 90.

    Raises:
        InvalidRequestError: If ``source`` is not an image, if it has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``,
            or if the arguments contradict each other or cannot be met.
        OSError: If a file cannot be read.
        ModuleNotFoundError: If Pillow is missing.
    """
    require_pillow("prepare_image")
    wanted = _wanted(size, square)
    if format not in _FORMATS:
        raise InvalidRequestError.for_parameter("format", format, allowed="png, jpeg or webp")
    if alpha and format == "jpeg":
        allowed = "False with jpeg, which has no alpha channel"
        raise InvalidRequestError.for_parameter("alpha", alpha, allowed=allowed)
    if max_bytes is not None and max_bytes < 1:
        raise InvalidRequestError.for_parameter("max_bytes", max_bytes, allowed="a number of bytes")
    image = _plain(_decoded("source", source))
    if alpha and image.mode != "RGBA":
        image = image.convert("RGBA")
    image = _resized(_shaped(image, wanted, square), wanted)
    return _within(image, max_bytes, format)


def make_mask(
    image_or_size: Source | tuple[int, int],
    *,
    boxes: Sequence[Box] | None = None,
    from_alpha: bool = False,
    invert: bool = False,
) -> bytes:
    """Return a mask for an edit: a PNG of the size of the image, transparent where it is to be repainted. Blocks.

    Example:
        ```python
        mask = make_mask("lounge.png", boxes=[(600, 400, 900, 700)])
        client.images.edit("lounge.png", "a lounge with a flamingo in the pool", mask=mask)
        ```

    Args:
        image_or_size: The image to edit, as for :func:`prepare_image`, or its size: ``(1024, 1024)`` or
            ``"1024x1024"``.
        boxes: The areas to repaint, each as (left, top, right, bottom) in pixels.
        from_alpha: Whether to repaint the transparent pixels of the image, in place of ``boxes``.
        invert: Whether to repaint everything else instead.

    Raises:
        InvalidRequestError: If a box is empty or outside the image, if nothing would be repainted, or if
            ``image_or_size`` is not an image.
        OSError: If a file cannot be read.
        ModuleNotFoundError: If Pillow is missing.
    """
    require_pillow("make_mask")
    import PIL.Image
    import PIL.ImageChops

    if from_alpha == (boxes is not None):
        raise InvalidRequestError.for_parameter("boxes", boxes, allowed="either boxes or from_alpha=True")
    size = _size_alone(image_or_size)
    if from_alpha:
        if size is not None:
            allowed = "an image, for from_alpha=True"
            raise InvalidRequestError.for_parameter("image_or_size", image_or_size, allowed=allowed)
        image = _plain(_decoded("image_or_size", cast("Source", image_or_size)))
        opacity = image.getchannel("A") if image.mode == "RGBA" else PIL.Image.new("L", image.size, 255)
    else:
        if size is None:
            size = upright(_decoded("image_or_size", cast("Source", image_or_size))).size
        opacity = PIL.Image.new("L", size, 255)
        for box in boxes or ():
            opacity.paste(0, _checked_box(box, size))
    if invert:
        opacity = PIL.ImageChops.invert(opacity)
    if opacity.getextrema()[0] == 255:
        param, allowed = "from_alpha" if from_alpha else "boxes", "something that is to be repainted"
        raise InvalidRequestError.for_parameter(param, boxes or from_alpha, allowed=allowed)
    mask = PIL.Image.new("RGBA", opacity.size)
    mask.putalpha(opacity)
    return encode_image(mask, "png")


def _decoded(param: str, source: Source) -> PIL.Image.Image:
    if is_pillow(source):
        check_pixels(param, *source.size)
        try:
            source.load()
        except Exception as error:
            shown, allowed = repr(source), f"a Pillow image that can be read ({error})"
            raise InvalidRequestError.for_parameter(param, shown, allowed=allowed, shown=shown) from error
        return source
    return open_image(param, _data(param, source))


def _data(param: str, source: Any) -> bytes:
    if (named := named_parts(source)) is not None:
        source = named.content
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", source))
    if isinstance(source, str) and is_url(source):
        if source[:5].lower() != "data:":
            url, remedies = source.split("?")[0], (Remedy.DOWNLOAD_IMAGE,)
            raise InvalidRequestError.for_parameter(param, url, allowed="an image", remedies=remedies)
        return decode_data_url(param, source)
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(cast("str", source))
        check_path(param, path)
        return Path(path).read_bytes()
    if isinstance(source, Image):
        return source.bytes
    if is_array(source):
        return array_as_png(param, source)
    if callable(getattr(source, "read", None)) and not isinstance(source, (FileId, FileObject)):
        return _read(param, source)
    kind = type(source).__name__
    allowed = "a path, bytes, a binary file, or an image of Pillow, numpy or imagesdk"
    raise InvalidRequestError.for_parameter(param, kind, allowed=allowed, shown=f"of type {kind}")


def _read(param: str, file: Any) -> bytes:
    data: object = None
    if not inspect.iscoroutinefunction(file.read) and not isinstance(file, io.TextIOBase):
        seekable = callable(getattr(file, "seekable", None)) and file.seekable()
        position = file.tell() if seekable else None
        with suppress(UnicodeDecodeError):  # a wrapper of a text file
            data = file.read()
        if position is not None:
            file.seek(position)
    if isinstance(data, bytes):
        return data
    kind, allowed = type(file).__name__, "a file opened in binary mode and read without await"
    shown, remedies = f"of type {kind}", (Remedy.OPEN_AS_BINARY, Remedy.READ_FILE)
    raise InvalidRequestError.for_parameter(param, kind, allowed=allowed, remedies=remedies, shown=shown)


def _plain(image: PIL.Image.Image) -> PIL.Image.Image:
    try:
        return eight_bit(upright(image))
    except ValueError as error:
        shown, allowed = f"an image in mode {image.mode}", f"modes that Pillow can convert ({error})"
        raise InvalidRequestError.for_parameter("source", shown, allowed=allowed, shown=shown) from error


def _wanted(size: object, square: str | None) -> _Wanted:
    if square not in {None, "crop", "pad"}:
        raise InvalidRequestError.for_parameter("square", square, allowed='"crop" or "pad"')
    exact = _exact(size)
    if exact is None and size is not None and not (type(size) is int and size > 0):
        allowed = '"1024x1024", (1024, 1024), or 1024 for the long edge'
        raise InvalidRequestError.for_parameter("size", size, allowed=allowed)
    if exact is not None and square is not None and exact[0] != exact[1]:
        raise InvalidRequestError.for_parameter("size", size, allowed=f'a square with square="{square}"')
    wanted = exact if exact is not None else cast("int | None", size)
    if wanted is not None:
        check_pixels("size", *(wanted if isinstance(wanted, tuple) else (wanted, wanted)))
    return wanted


def _exact(size: object) -> tuple[int, int] | None:
    if isinstance(size, str):
        return parse_size(size)
    if isinstance(size, tuple):
        edges = cast("tuple[object, ...]", size)
        if len(edges) == 2 and all(type(edge) is int and edge > 0 for edge in edges):
            return cast("tuple[int, int]", edges)
    return None


def _size_alone(image_or_size: object) -> tuple[int, int] | None:
    size = _exact(image_or_size)
    if size is not None:
        check_pixels("image_or_size", *size)
    elif isinstance(image_or_size, tuple):
        given = cast("object", image_or_size)
        if named_parts(given) is None:
            allowed = "an image, or its width and height"
            raise InvalidRequestError.for_parameter("image_or_size", given, allowed=allowed)
    return size


def _shaped(image: PIL.Image.Image, wanted: _Wanted, square: str | None) -> PIL.Image.Image:
    """Crop or pad an image to the requested shape."""
    import PIL.Image

    width, height = image.size
    if square == "pad":
        edge = max(width, height)
        check_pixels("source (padded)", edge, edge)
        ground = PIL.Image.new(image.mode, (edge, edge), _CLEAR if image.mode == "RGBA" else "white")
        ground.paste(image, ((edge - width) // 2, (edge - height) // 2))
        return ground
    across, down = wanted if isinstance(wanted, tuple) else ((1, 1) if square else (width, height))
    new_width = min(width, max(1, round(height * across / down)))
    new_height = min(height, max(1, round(width * down / across)))
    left, top = (width - new_width) // 2, (height - new_height) // 2
    return image.crop((left, top, left + new_width, top + new_height))


def _resized(image: PIL.Image.Image, wanted: _Wanted) -> PIL.Image.Image:
    import PIL.Image

    if wanted is None:
        return image
    if not isinstance(wanted, tuple):
        scale = wanted / max(image.size)
        wanted = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if wanted == image.size else image.resize(wanted, PIL.Image.Resampling.LANCZOS)


def _within(image: PIL.Image.Image, max_bytes: int | None, file_format: str) -> bytes:
    data = encode_image(image, file_format)
    whole = image
    while max_bytes is not None and len(data) >= max_bytes:
        scale = min(0.9, 0.95 * (max_bytes / len(data)) ** 0.5)
        size = round(image.width * scale), round(image.height * scale)
        if min(size) < _MIN_EDGE:
            taken = f"{image.width}x{image.height} pixels still take {len(data)} bytes as {file_format}"
            raise InvalidRequestError.for_parameter("max_bytes", max_bytes, allowed=f"more: {taken}")
        image = _resized(whole, size)
        data = encode_image(image, file_format)
    return data


def _checked_box(box: Any, size: tuple[int, int]) -> Box:
    edges = tuple(cast("Sequence[object]", box)) if hasattr(box, "__len__") else ()
    if len(edges) == 4 and all(type(edge) is int for edge in edges):
        left, top, right, bottom = found = cast("Box", edges)
        if 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]:
            return found
    within = f"within {size[0]}x{size[1]}, left < right, top < bottom"
    allowed = f"(left, top, right, bottom) in whole pixels {within}"
    raise InvalidRequestError.for_parameter("boxes", box, allowed=allowed)


prepare_image.__module__ = make_mask.__module__ = "imagesdk"

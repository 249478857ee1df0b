"""Make what a model accepts out of the pictures that people have, and masks for them. Needs the extra ``pillow``.

Both functions block: they read files, decode and encode. Async code runs them in a thread::

    data = await anyio.to_thread.run_sync(partial(prepare_image, "phone.jpg", size=1024, square="crop"))
"""

from __future__ import annotations

import inspect
import io
import os
import re
from collections.abc import Sequence
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
from imagesdk.remedies import Remedy
from imagesdk.types import FileId, FileObject, Image, Source

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["Box", "make_mask", "prepare_image"]

Box: TypeAlias = "tuple[int, int, int, int]"
"""Left, top, right and bottom in pixels, from the upper left corner; right and bottom are the first outside."""

_SIZE = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")
_FORMATS = ("png", "jpeg", "webp")
_SMALLEST = 16
"""Pixels of the short edge: a picture is not made smaller than that to save bytes."""
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
    """Return a plain picture of eight bits in sRGB, set upright, without metadata such as places and dates. Blocks.

    It takes what Pillow can open of PNG, JPEG (also CMYK, and the MPO of phones), WebP, GIF, BMP, TIFF, AVIF and HEIC
    (with pillow-heif registered), with palettes or sixteen bits; of several frames, the first. Its EXIF orientation
    is applied, and its colour profile, if Pillow can. What is transparent stays so, but in JPEG, where it turns white.

    Example:
        image = prepare_image("phone.jpg", size=1024, square="crop", max_bytes=4 * 1024 * 1024)
        client.images.create_variation(image)

    Args:
        source: A path, bytes, a binary file, a Pillow image, a numpy array, a data URL or an :class:`Image`.
        size: ``"1024x1024"`` or ``(1024, 1024)``: exactly that, cropped around the centre where the shape is another,
            never stretched. ``1024``: the long edge. Smaller pictures are enlarged.
        square: ``"crop"`` keeps the middle; ``"pad"`` keeps all and adds margins, which are transparent where the
            result has an alpha channel, else white.
        alpha: Whether the result has an alpha channel in any case.
        max_bytes: The result is smaller than this. If it would not be, it gets fewer pixels than ``size`` says.
        format: ``"png"``, or ``"jpeg"`` or ``"webp"`` of quality 90.

    Raises:
        InvalidRequestError: ``source`` is no picture, has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, or the
            parameters contradict each other or cannot be met.
        OSError: a file cannot be read.
        ModuleNotFoundError: Pillow is missing.
    """
    require_pillow("prepare_image")
    wanted = _wanted(size, square)
    if format not in _FORMATS:
        raise InvalidRequestError.for_parameter("format", format, allowed="png, jpeg or webp")
    if alpha and format == "jpeg":
        raise InvalidRequestError.for_parameter(
            "alpha", alpha, allowed="False with jpeg, which has no alpha channel"
        )
    if max_bytes is not None and max_bytes < 1:
        raise InvalidRequestError.for_parameter("max_bytes", max_bytes, allowed="a number of bytes")
    picture = _plain(_decoded("source", source))
    if alpha and picture.mode != "RGBA":
        picture = picture.convert("RGBA")
    picture = _resized(_shaped(picture, wanted, square), wanted)
    return _within(picture, max_bytes, format)


def make_mask(
    image_or_size: Source | tuple[int, int],
    *,
    boxes: Sequence[Box] | None = None,
    from_alpha: bool = False,
    invert: bool = False,
) -> bytes:
    """Return a mask for an edit: a PNG of the picture's size that is transparent where it is to be repainted. Blocks.

    Example:
        mask = make_mask("lounge.png", boxes=[(600, 400, 900, 700)])
        client.images.edit("lounge.png", "a lounge with a flamingo in the pool", mask=mask)

    Args:
        image_or_size: The picture that is to be edited, as for :func:`prepare_image`, or its size: ``(1024, 1024)`` or
            ``"1024x1024"``.
        boxes: Where to repaint: (left, top, right, bottom) of each place.
        from_alpha: Repaint where the picture itself is transparent, instead of ``boxes``.
        invert: Repaint everything else.

    Raises:
        InvalidRequestError: a box is empty or outside of the picture, nothing would be repainted, or
            ``image_or_size`` is no picture.
        OSError: a file cannot be read.
        ModuleNotFoundError: Pillow is missing.
    """
    require_pillow("make_mask")
    import PIL.Image
    import PIL.ImageChops

    if from_alpha == (boxes is not None):
        raise InvalidRequestError.for_parameter("boxes", boxes, allowed="either boxes or from_alpha=True")
    size = _size_alone(image_or_size)
    if from_alpha and size is not None:
        raise InvalidRequestError.for_parameter(
            "image_or_size", image_or_size, allowed="an image, for from_alpha=True"
        )
    if from_alpha:
        picture = _plain(_decoded("image_or_size", cast("Source", image_or_size)))
        opacity = picture.getchannel("A") if picture.mode == "RGBA" else PIL.Image.new("L", picture.size, 255)
    else:
        if size is None:
            size = upright(_decoded("image_or_size", cast("Source", image_or_size))).size
        opacity = PIL.Image.new("L", size, 255)
        for box in boxes or ():
            opacity.paste(0, _checked_box(box, size))
    if invert:
        opacity = PIL.ImageChops.invert(opacity)
    if opacity.getextrema()[0] == 255:
        raise InvalidRequestError.for_parameter(
            "from_alpha" if from_alpha else "boxes",
            boxes or from_alpha,
            allowed="something that is to be repainted",
        )
    mask = PIL.Image.new("RGBA", opacity.size)
    mask.putalpha(opacity)
    return encode_image(mask, "png")


def _decoded(param: str, source: Source) -> PIL.Image.Image:
    if is_pillow(source):
        check_pixels(param, *source.size)
        try:
            source.load()
        except Exception as error:
            allowed = f"a Pillow image that can be read ({error})"
            raise InvalidRequestError.for_parameter(
                param, repr(source), allowed=allowed, shown=repr(source)
            ) from error
        return source
    return open_image(param, _data(param, source))


def _data(param: str, source: Any) -> bytes:
    if (named := named_parts(source)) is not None:
        source = named.content
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", source))
    if isinstance(source, str) and is_url(source):
        if source[:5].lower() != "data:":
            raise InvalidRequestError.for_parameter(
                param,
                source.split("?")[0],
                allowed="an image",
                remedies=(Remedy.DOWNLOAD_IMAGE,),
            )
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
    raise InvalidRequestError.for_parameter(
        param,
        type(source).__name__,
        shown=f"of type {type(source).__name__}",
        allowed="a path, bytes, a binary file, or an image of Pillow, numpy or imagesdk",
    )


def _read(param: str, file: Any) -> bytes:
    data: object = None
    if not inspect.iscoroutinefunction(file.read) and not isinstance(file, io.TextIOBase):
        seekable = callable(getattr(file, "seekable", None)) and file.seekable()
        stood = file.tell() if seekable else None
        data = file.read()
        if stood is not None:
            file.seek(stood)
    if isinstance(data, bytes):
        return data
    raise InvalidRequestError.for_parameter(
        param,
        type(file).__name__,
        allowed="a file opened in binary mode and read without await",
        remedies=(Remedy.OPEN_AS_BINARY, Remedy.READ_FILE),
        shown=f"of type {type(file).__name__}",
    )


def _plain(picture: PIL.Image.Image) -> PIL.Image.Image:
    try:
        return eight_bit(upright(picture))
    except ValueError as error:
        raise InvalidRequestError.for_parameter(
            "source",
            f"an image in mode {picture.mode}",
            allowed=f"modes that Pillow can convert ({error})",
            shown=f"an image in mode {picture.mode}",
        ) from error


def _wanted(size: object, square: str | None) -> tuple[int, int] | int | None:
    """Return the size that is asked for: width and height, or the long edge."""
    if square not in {None, "crop", "pad"}:
        raise InvalidRequestError.for_parameter("square", square, allowed='"crop" or "pad"')
    exact = _exact(size)
    if exact is None and size is not None and not (type(size) is int and size > 0):
        raise InvalidRequestError.for_parameter(
            "size", size, allowed='"1024x1024", (1024, 1024), or 1024 for the long edge'
        )
    if exact is not None and square is not None and exact[0] != exact[1]:
        raise InvalidRequestError.for_parameter("size", size, allowed=f'a square with square="{square}"')
    wanted = exact if exact is not None else cast("int | None", size)
    if wanted is not None:
        check_pixels("size", *(wanted if isinstance(wanted, tuple) else (wanted, wanted)))
    return wanted


def _exact(size: object) -> tuple[int, int] | None:
    if isinstance(size, str) and (found := _SIZE.fullmatch(size)):
        return int(found[1]), int(found[2])
    if isinstance(size, tuple):
        edges = cast("tuple[object, ...]", size)
        if len(edges) == 2 and all(type(edge) is int and edge > 0 for edge in edges):
            return cast("tuple[int, int]", edges)
    return None


def _size_alone(image_or_size: object) -> tuple[int, int] | None:
    size = _exact(image_or_size)
    if (
        size is None
        and isinstance(image_or_size, tuple)
        and named_parts(cast("object", image_or_size)) is None
    ):
        raise InvalidRequestError.for_parameter(
            "image_or_size", cast("object", image_or_size), allowed="an image, or its width and height"
        )
    if size is not None:
        check_pixels("image_or_size", *size)
    return size


def _shaped(
    picture: PIL.Image.Image, wanted: tuple[int, int] | int | None, square: str | None
) -> PIL.Image.Image:
    """Crop or pad the picture to the shape that is asked for."""
    import PIL.Image

    width, height = picture.size
    if square == "pad":
        edge = max(width, height)
        check_pixels("source (padded)", edge, edge)
        ground = PIL.Image.new(picture.mode, (edge, edge), _CLEAR if picture.mode == "RGBA" else "white")
        ground.paste(picture, ((edge - width) // 2, (edge - height) // 2))
        return ground
    across, down = wanted if isinstance(wanted, tuple) else ((1, 1) if square else (width, height))
    new_width = min(width, max(1, round(height * across / down)))
    new_height = min(height, max(1, round(width * down / across)))
    left, top = (width - new_width) // 2, (height - new_height) // 2
    return picture.crop((left, top, left + new_width, top + new_height))


def _resized(picture: PIL.Image.Image, wanted: tuple[int, int] | int | None) -> PIL.Image.Image:
    import PIL.Image

    if wanted is None:
        return picture
    if not isinstance(wanted, tuple):
        scale = wanted / max(picture.size)
        wanted = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if wanted == picture.size:
        return picture
    return picture.resize(wanted, PIL.Image.Resampling.LANCZOS)


def _within(picture: PIL.Image.Image, max_bytes: int | None, file_format: str) -> bytes:
    data = encode_image(picture, file_format)
    whole = picture
    while max_bytes is not None and len(data) >= max_bytes:
        scale = min(0.9, 0.95 * (max_bytes / len(data)) ** 0.5)
        size = round(picture.width * scale), round(picture.height * scale)
        if min(size) < _SMALLEST:
            raise InvalidRequestError.for_parameter(
                "max_bytes",
                max_bytes,
                allowed=f"more: {picture.width}x{picture.height} pixels still take {len(data)} bytes as {file_format}",
            )
        picture = _resized(whole, size)
        data = encode_image(picture, file_format)
    return data


def _checked_box(box: Any, size: tuple[int, int]) -> Box:
    edges = tuple(cast("Sequence[object]", box)) if hasattr(box, "__len__") else ()
    if len(edges) == 4 and all(type(edge) is int for edge in edges):
        left, top, right, bottom = found = cast("Box", edges)
        if 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]:
            return found
    raise InvalidRequestError.for_parameter(
        "boxes",
        box,
        allowed=f"(left, top, right, bottom) in whole pixels within {size[0]}x{size[1]}, left < right, top < bottom",
    )


prepare_image.__module__ = make_mask.__module__ = "imagesdk"

"""What is done with Pillow: opened within limits, set upright, made eight bits of sRGB, encoded, looked through.

Pillow is imported inside the functions, so that nobody pays for it who does not use it. Functions here decode and
encode, and therefore take their time: async code calls them in a thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from imagesdk._media.sniff import HEAD_SIZE, sniff
from imagesdk.errors import InvalidRequestError
from imagesdk.remedies import Remedy

if TYPE_CHECKING:
    import numpy
    import numpy.typing
    import PIL.Image

MAX_LOOK = 16 * 1024 * 1024
"""Bytes of a file that is looked through for transparent pixels before it is sent."""
_MAX_LOOK_PIXELS = 25_000_000
"""Of such a file; a picture of the largest size that any model takes has a third."""

_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
}
"""What is handed to Pillow. It has decoders for others that run programs: EPS goes to Ghostscript."""

_PLAIN = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Modes that a PNG can hold and every server can read."""
_QUALITY = 90
_ORIENTATION = 0x0112


def is_pillow(value: object) -> TypeGuard[PIL.Image.Image]:
    """Whether a value is a Pillow image. Where Pillow was not imported, nothing is."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def is_array(value: object) -> TypeGuard[numpy.typing.NDArray[Any]]:
    """Whether a value is a numpy array. Where numpy was not imported, nothing is."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def require_pillow(what: str) -> None:
    """Raise a ``ModuleNotFoundError`` that says what to install, if Pillow is missing."""
    try:
        import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{what} needs Pillow: pip install pillow, or the extra `pillow` of imagesdk", name="PIL"
        ) from error


def open_image(param: str, data: bytes) -> PIL.Image.Image:
    """Return the decoded picture (of several frames, the first).

    Raises:
        InvalidRequestError: it is no picture, is broken, or has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    import PIL.Image

    facts = sniff(data[:HEAD_SIZE])
    name = _FORMATS.get(facts.media_type or "")
    if name is None:
        what = "an SVG, which has no pixels" if facts.media_type else "not an image of a known format"
        allowed = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
        raise InvalidRequestError.for_parameter(param, what, allowed=allowed, shown=what)
    if name not in PIL.Image.OPEN:
        PIL.Image.init()
    if name not in PIL.Image.OPEN:
        remedy = {"HEIF": Remedy.INSTALL_HEIF, "AVIF": Remedy.UPGRADE_PILLOW}.get(
            name, Remedy.REINSTALL_PILLOW
        )
        raise InvalidRequestError(
            f"{param} is {name}, for which this Pillow has no decoder.",
            param=param,
            value=name,
            remedies=(remedy,),
        )
    check_pixels(param, facts.width or 0, facts.height or 0)
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=(name,))
        check_pixels(param, *picture.size)
        picture.load()
    except InvalidRequestError:
        raise
    except Exception as error:
        raise InvalidRequestError(f"{param} cannot be decoded: {error}.", param=param, value=name) from error
    return picture


def check_pixels(param: str, width: int, height: int) -> None:
    """Refuse more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, which is there against decompression bombs."""
    import PIL.Image

    most = PIL.Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise InvalidRequestError(
            f"{param} has {width}x{height} pixels, more than PIL.Image.MAX_IMAGE_PIXELS ({most}).",
            param=param,
            value=f"{width}x{height}",
            allowed=f"up to {most} pixels",
            remedies=(Remedy.RAISE_MAX_PIXELS,),
        )


def upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return the picture as its EXIF orientation wants it shown. Broken EXIF wants nothing."""
    import PIL.Image

    orientation = None
    with suppress(Exception):
        orientation = picture.getexif().get(_ORIENTATION)
    turn = PIL.Image.Transpose
    method = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }.get(orientation or 1)
    return picture if method is None else picture.transpose(method)


def eight_bit(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return a copy in mode RGB, or RGBA where pixels can be transparent, in sRGB and without metadata.

    A colour profile is applied where Pillow can. Sixteen bits are scaled to eight.

    Raises:
        ValueError: Pillow cannot convert its mode.
    """
    alpha = None
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.has_transparency_data and not picture.mode.startswith("I"):
        alpha = picture.convert("RGBA").getchannel("A")
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _scaled(picture)
    elif picture.mode not in {"L", "RGB", "CMYK", "LAB"}:
        profile = picture.info.get("icc_profile")
        picture = picture.convert("L" if picture.mode == "LA" else "RGB")
        picture.info["icc_profile"] = profile
    plain = _in_srgb(picture)
    if alpha is not None:
        plain.putalpha(alpha)
    plain.info = {}
    return plain


def _scaled(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode != "F":
        sixteen = picture.mode != "I"
        picture = picture.convert("I")
        _, highest = _extrema(picture)
        top = 65535.0 if sixteen or 255 < highest <= 65535 else max(255.0, highest)
    else:
        _, highest = _extrema(picture)
        top = 1.0 if highest <= 1 else 255.0
    return picture.point(lambda value: value * (255 / top) + 0.5).convert("L")


def _extrema(picture: PIL.Image.Image) -> tuple[float, float]:
    low, high = cast("tuple[float, float]", picture.getextrema())  # of several bands: one for each
    return low, high


def _in_srgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    profile = picture.info.get("icc_profile")
    if profile or picture.mode == "LAB":
        with suppress(Exception):  # a broken profile, or a Pillow without a colour engine
            from PIL import ImageCms

            make: Callable[[str], Any] = getattr(ImageCms, "createProfile")  # noqa: B009 - it is half untyped
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else make("LAB")
            converted = ImageCms.profileToProfile(picture, source, make("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return picture.convert("RGB")


def encode_image(picture: PIL.Image.Image, file_format: str) -> bytes:
    """Return the picture as a file: ``"png"``, ``"jpeg"`` (on white, quality 90) or ``"webp"`` (quality 90)."""
    import PIL.Image

    if file_format == "jpeg" and picture.mode == "RGBA":
        ground = PIL.Image.new("RGBA", picture.size, "white")
        picture = PIL.Image.alpha_composite(ground, picture).convert("RGB")
    out = io.BytesIO()
    picture.save(out, file_format.upper(), **({} if file_format == "png" else {"quality": _QUALITY}))
    return out.getvalue()


def image_as_png(param: str, picture: PIL.Image.Image) -> bytes:
    """Return a PNG of what a Pillow image holds: its pixels, alpha and colour profile, and no other metadata.

    Raises:
        InvalidRequestError: it cannot be read or written, e.g. because its file was closed.
    """
    try:
        if picture.mode not in _PLAIN:
            picture = eight_bit(picture)
        out = io.BytesIO()
        picture.save(out, "PNG", exif=b"")
    except Exception as error:
        raise InvalidRequestError(
            f"{param} is a Pillow image that cannot be written as PNG: {error}.",
            param=param,
            value=repr(picture),
        ) from error
    return out.getvalue()


def array_as_png(param: str, array: numpy.typing.NDArray[Any]) -> bytes:
    """Return a PNG of an array.

    Raises:
        InvalidRequestError: it has another type or shape than pictures have.
        ModuleNotFoundError: Pillow is missing.
    """
    require_pillow("to send an array")
    import PIL.Image

    return image_as_png(param, PIL.Image.fromarray(_bytes_of(param, array)))


def _bytes_of(param: str, array: numpy.typing.NDArray[Any]) -> numpy.typing.NDArray[numpy.uint8]:
    import numpy

    allowed = (
        "uint8, or floats from 0 to 1, of shape (height, width), (height, width, 3) or (height, width, 4)"
    )
    found = f"an array of {array.dtype}, shape {array.shape}"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in {3, 4})
    if not fits or array.size == 0 or not (array.dtype == numpy.uint8 or array.dtype.kind == "f"):
        raise InvalidRequestError.for_parameter(param, found, allowed=allowed, shown=found)
    if array.dtype == numpy.uint8:
        return array
    if not (array.min() >= 0 and array.max() <= 1):  # nor a NaN
        found = f"{found}, with values from {array.min()} to {array.max()}"
        raise InvalidRequestError.for_parameter(param, found, allowed=allowed, shown=found)
    scaled: numpy.typing.NDArray[numpy.uint8] = numpy.rint(array * 255).astype(numpy.uint8)
    return scaled


def some_transparent(data: bytes) -> bool | None:
    """Whether a PNG has a pixel that is at least partly transparent; ``None`` where that cannot be found out."""
    facts = sniff(data[:HEAD_SIZE])
    if (facts.width or 0) * (facts.height or 0) > _MAX_LOOK_PIXELS:
        return None
    try:
        import PIL.Image

        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if not picture.has_transparency_data:
                return False
            with_alpha = picture if picture.mode in {"LA", "RGBA"} else picture.convert("RGBA")
            lowest, _ = _extrema(with_alpha.getchannel("A"))
            return lowest < 255
    except Exception:  # noqa: BLE001 - no Pillow, or a file that the server may understand better
        return None

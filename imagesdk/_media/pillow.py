"""Pillow helpers: open within limits, apply orientation, convert to eight bits of sRGB, encode, and find transparency.

Functions import Pillow themselves, so that it is loaded only when it is needed. They decode and encode, which takes time,
so async code runs them in a thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from imagesdk._media.sniff import HEAD_SIZE, sniff
from imagesdk._media.source_text import refused
from imagesdk.errors import InvalidRequestError
from imagesdk.remedies import Remedy

if TYPE_CHECKING:
    import numpy
    import numpy.typing
    import PIL.Image

MAX_LOOK = 16 * 1024 * 1024
"""Maximum size in bytes of a file that is searched for transparent pixels before it is sent."""
_MAX_LOOK_PIXELS = 25_000_000
"""Maximum number of pixels of such a file: three times the largest size that any model takes."""

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
"""Formats that Pillow may decode. Some of its other decoders run programs: EPS runs Ghostscript."""

_PLAIN = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Modes that PNG supports and every server can read."""
_QUALITY = 90
_ORIENTATION = 0x0112


def is_pillow(value: object) -> TypeGuard[PIL.Image.Image]:
    """Return whether a value is a Pillow image. Does not import Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def is_array(value: object) -> TypeGuard[numpy.typing.NDArray[Any]]:
    """Return whether a value is a numpy array. Does not import numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def require_pillow(what: str) -> None:
    """Raise an error that names the package to install if Pillow is missing."""
    try:
        import_module("PIL.Image")
    except ModuleNotFoundError as error:
        text = f"{what} needs Pillow: pip install pillow, or the extra `pillow` of imagesdk"
        raise ModuleNotFoundError(text, name="PIL") from error


def open_image(param: str, data: bytes) -> PIL.Image.Image:
    """Return the decoded image, or the first of several frames."""
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
        remedies = {"HEIF": Remedy.INSTALL_HEIF, "AVIF": Remedy.UPGRADE_PILLOW}
        remedy = remedies.get(name, Remedy.REINSTALL_PILLOW)
        raise refused(param, f"is {name}, for which this Pillow has no decoder", name, None, remedy)
    check_pixels(param, facts.width or 0, facts.height or 0)
    try:
        image = PIL.Image.open(io.BytesIO(data), formats=(name,))
        check_pixels(param, *image.size)
        image.load()
    except InvalidRequestError:
        raise
    except Exception as error:
        raise refused(param, f"cannot be decoded: {error}", name) from error
    return image


def check_pixels(param: str, width: int, height: int) -> None:
    """Raise an error for more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, the limit against decompression bombs."""
    import PIL.Image

    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        size, allowed = f"{width}x{height}", f"up to {limit} pixels"
        problem = f"has {size} pixels, more than PIL.Image.MAX_IMAGE_PIXELS ({limit})"
        raise refused(param, problem, size, allowed, Remedy.RAISE_MAX_PIXELS)


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the image with its EXIF orientation applied. Broken EXIF is ignored."""
    import PIL.Image

    orientation = None
    with suppress(Exception):
        orientation = image.getexif().get(_ORIENTATION)
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
    return image if method is None else image.transpose(method)


def eight_bit(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return a copy in mode RGB, or RGBA where pixels can be transparent, in sRGB and without metadata."""
    alpha = None
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data and not image.mode.startswith("I"):
        alpha = image.convert("RGBA").getchannel("A")
    if image.mode.startswith("I") or image.mode == "F":
        image = _scaled(image)
    elif image.mode not in {"L", "RGB", "CMYK", "LAB"}:
        profile = image.info.get("icc_profile")
        image = image.convert("L" if image.mode == "LA" else "RGB")
        image.info["icc_profile"] = profile
    plain = _in_srgb(image)
    if alpha is not None:
        plain.putalpha(alpha)
    plain.info = {}
    return plain


def _scaled(image: PIL.Image.Image) -> PIL.Image.Image:
    sixteen = image.mode not in {"I", "F"}
    if image.mode != "F":
        image = image.convert("I")
    highest = _extrema(image)[1]
    if image.mode == "F":
        top = 1.0 if highest <= 1 else 255.0
    else:
        top = 65535.0 if sixteen or 255 < highest <= 65535 else max(255.0, highest)
    return image.point(lambda value: value * (255 / top) + 0.5).convert("L")


def _extrema(image: PIL.Image.Image) -> tuple[float, float]:
    return cast("tuple[float, float]", image.getextrema())  # of one band


def _in_srgb(image: PIL.Image.Image) -> PIL.Image.Image:
    profile = image.info.get("icc_profile")
    if profile or image.mode == "LAB":
        with suppress(Exception):  # a broken profile, or a Pillow without a colour engine
            from PIL import ImageCms

            make: Callable[[str], Any] = getattr(ImageCms, "createProfile")  # noqa: B009 - it is half untyped
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else make("LAB")
            converted = ImageCms.profileToProfile(image, source, make("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def encode_image(image: PIL.Image.Image, file_format: str) -> bytes:
    """Return the image encoded as ``"png"``, ``"jpeg"`` (on white, quality 90) or ``"webp"`` (quality 90)."""
    import PIL.Image

    if file_format == "jpeg" and image.mode == "RGBA":
        ground = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(ground, image).convert("RGB")
    out = io.BytesIO()
    image.save(out, file_format.upper(), **({} if file_format == "png" else {"quality": _QUALITY}))
    return out.getvalue()


def image_as_png(param: str, image: PIL.Image.Image) -> bytes:
    """Return a Pillow image as PNG, with alpha and colour profile but no other metadata."""
    try:
        if image.mode not in _PLAIN:
            image = eight_bit(image)
        out = io.BytesIO()
        image.save(out, "PNG", exif=b"")
    except Exception as error:
        problem = f"is a Pillow image that cannot be written as PNG: {error}"
        raise refused(param, problem, repr(image)) from error
    return out.getvalue()


def array_as_png(param: str, array: numpy.typing.NDArray[Any]) -> bytes:
    """Return an array as PNG."""
    require_pillow("to send an array")
    import PIL.Image

    return image_as_png(param, PIL.Image.fromarray(_bytes_of(param, array)))


def _bytes_of(param: str, array: numpy.typing.NDArray[Any]) -> numpy.typing.NDArray[numpy.uint8]:
    import numpy

    found = f"an array of {array.dtype}, shape {array.shape}"
    shapes = "(height, width), (height, width, 3) or (height, width, 4)"
    allowed = f"uint8, or floats from 0 to 1, of shape {shapes}"
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
    """Return whether a PNG has a pixel that is at least partly transparent; ``None`` if that cannot be determined."""
    facts = sniff(data[:HEAD_SIZE])
    if (facts.width or 0) * (facts.height or 0) > _MAX_LOOK_PIXELS:
        return None
    try:
        import PIL.Image

        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if not image.has_transparency_data:
                return False
            with_alpha = image if image.mode in {"LA", "RGBA"} else image.convert("RGBA")
            return _extrema(with_alpha.getchannel("A"))[0] < 255
    except Exception:  # noqa: BLE001 - no Pillow, or a file that the server may understand better
        return None

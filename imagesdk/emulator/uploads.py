"""Decoder and checks of the images of a request.

The content decides the format. The declared media type is checked too, as the API has done since it started
to reject ``application/octet-stream``. Images are decoded completely before the request is accepted, so that
a broken image is never billed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import date
from io import BytesIO

from attrs import frozen
from PIL import Image, ImageOps

from imagesdk.emulator.answers import Refusal, invalid_type, missing_parameter, out_of_bounds, quoted_list
from imagesdk.emulator.bodies import Body, SentFile
from imagesdk.emulator.models import UploadRule

__all__ = ["InputImages", "decode"]

_MEDIA_TYPES_SINCE = date(2024, 1, 1)
"""Approximate date. The client of 2023 sent every image as octet-stream and was served."""
_MAX_PIXELS = 64_000_000
_OVERLAY = ("image/png",)
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})


@frozen
class InputImages:
    """Decoded images of a request."""

    images: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None
    markup: Image.Image | None = None


def decode(body: Body, rule: UploadRule, day: date | None) -> InputImages:
    """Check and decode the images of a request. This is slow and belongs in a thread."""
    if body.fields.form:
        for name in ("image", "image[]", "mask", "markup"):
            for value in body.fields.values.get(name, []):
                raise invalid_type(name, "a file", value)
    files = [file for file in body.files if file.name in {"image", "image[]"}]
    if not files:
        raise missing_parameter("image")
    if len(files) > rule.max_images:
        name = "image" if body.fields.form else "images"
        expected = f"an array with maximum length {rule.max_images}"
        given = f"an array with length {len(files)}"
        raise out_of_bounds(name, "array too long", expected, given, "array_above_max_length")
    overlays = {file.name: file for file in body.files if file.name in {"mask", "markup"}}
    if day is None or day >= _MEDIA_TYPES_SINCE:
        _check_media_types(files, rule.media_types)
        _check_media_types(list(overlays.values()), _OVERLAY)
    images = tuple(_open(file, number, rule, rule.media_types) for number, file in enumerate(files, start=1))
    if rule.square and images[0].width != images[0].height:
        raise Refusal("Uploaded image must be square.", param="image", code="invalid_image_format")
    drawn = {name: _open(file, 1, rule, _OVERLAY) for name, file in overlays.items()}
    for name, overlay in drawn.items():
        _check_overlay(name, overlay, images[0])
    if rule.alpha_without_mask and not drawn and not images[0].has_transparency_data:
        text = f"Invalid input image - format must be in ['RGBA', 'LA', 'L'], got {images[0].mode}."
        raise Refusal(text, param="image", code="invalid_image_format")
    return InputImages(images, drawn.get("mask"), drawn.get("markup"))


def _check_media_types(files: Sequence[SentFile], allowed: tuple[str, ...]) -> None:
    for number, file in enumerate(files):
        if file.media_type.partition(";")[0].strip().lower() not in allowed:
            name = file.name if len(files) == 1 else f"image[{number}]"
            text = f"Invalid file '{name}': unsupported mimetype ('{file.media_type}'). Supported file formats are"
            raise Refusal(f"{text} {quoted_list(allowed)}.", param=name, code="unsupported_file_mimetype")


def _check_overlay(name: str, overlay: Image.Image, image: Image.Image) -> None:
    problem = None
    if overlay.size != image.size:
        problem = f"{name} size does not match image size"
    elif not overlay.has_transparency_data:
        problem = f"{name} image missing alpha channel"
    elif name == "markup" and overlay.convert("RGBA").getchannel("A").getextrema()[0] == 255:
        problem = "markup image must contain transparent pixels"
    if problem is not None:
        raise Refusal(f"Invalid {name} image format - {problem}.", param=name, code="invalid_image_format")


def _open(file: SentFile, number: int, rule: UploadRule, media_types: tuple[str, ...]) -> Image.Image:
    megabytes = rule.max_bytes // (1024 * 1024)
    too_large = file.size >= rule.max_bytes
    if not too_large and (image := _load(file.data, media_types)) is not None:
        return image
    if rule.media_types == ("image/png",):
        what = "image" if file.name == "image[]" else file.name
        text = f"Uploaded {what} must be a PNG and less than {megabytes} MB."
        raise Refusal(text, param=what, code="invalid_image_format")
    if too_large:
        text = f"Invalid file '{file.name}': file too large. Files must be smaller than {megabytes} MB."
        raise Refusal(text, param=file.name, code="image_too_large")
    # https://github.com/lofcz/LLMTornado/issues/105
    text = f"Invalid image file or mode for image {number}, please check your image file."
    raise Refusal(text, type="image_generation_user_error", code="invalid_image_file")


def _load(data: bytes, media_types: tuple[str, ...]) -> Image.Image | None:
    formats = [_FORMATS[media_type] for media_type in media_types]
    try:
        image = Image.open(BytesIO(data), formats=formats)
        # A JPEG of several images, as phones write it, opens as MPO. The API rejects it, as it does CMYK.
        fits = image.format in formats and image.width * image.height <= _MAX_PIXELS
        if not fits or (image.format != "PNG" and image.mode not in _PLAIN_MODES):
            return None
        image.load()
        # The mask is drawn for the image as it is seen, so the rotation of the camera is applied first.
        return ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, struct.error, *_BOMBS):
        return None

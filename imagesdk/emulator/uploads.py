"""The pictures that come with a request: what they must be, and the decoded result.

The content decides what a picture is; its declared media type is judged as well, as the API has done since
it began to refuse ``application/octet-stream``. A picture is decoded whole before any work is accepted, so
that a broken one is never billed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from io import BytesIO

from attrs import frozen
from PIL import Image

from imagesdk.emulator.answers import Refusal, invalid_type, listed, missing_parameter
from imagesdk.emulator.bodies import Body, SentFile
from imagesdk.emulator.rules import UploadRule

__all__ = ["Pictures", "decode"]

_MEDIA_TYPES_SINCE = date(2024, 1, 1)
"""The 2023 client sent every picture as octet-stream and was served; the exact day of the change is not known."""
_MAX_PIXELS = 64_000_000
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})


@frozen
class Pictures:
    """What was sent, decoded."""

    images: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None


def decode(body: Body, rule: UploadRule, day: date | None) -> Pictures:
    """Check the pictures of a request and decode them. Slow: to be called in a thread."""
    for name in ("image", "image[]", "mask"):
        for value in body.fields.values.get(name, []):
            raise invalid_type(name, "a file", value)
    files = [file for file in body.files if file.name in {"image", "image[]"}]
    masks = [file for file in body.files if file.name == "mask"]
    if not files:
        raise missing_parameter("image")
    if len(files) > rule.max_images:
        raise Refusal(
            f"Invalid 'image': array too long. Expected an array with maximum length {rule.max_images}, but got an "
            f"array with length {len(files)} instead.",
            param="image",
            code="array_above_max_length",
        )
    if day is None or day >= _MEDIA_TYPES_SINCE:
        _judge_media_types(files, rule.media_types)
        _judge_media_types(masks, ("image/png",))
    images = tuple(_open(file, number, rule, rule.media_types) for number, file in enumerate(files, start=1))
    mask = _open(masks[0], 1, rule, ("image/png",)) if masks else None
    if rule.square and images[0].width != images[0].height:
        raise Refusal("Uploaded image must be square.", param="image", code="invalid_image_format")
    if mask is not None:
        _judge_mask(mask, images[0])
    elif rule.alpha_without_mask and not images[0].has_transparency_data:
        raise Refusal(
            f"Invalid input image - format must be in ['RGBA', 'LA', 'L'], got {images[0].mode}.",
            param="image",
            code="invalid_image_format",
        )
    return Pictures(images, mask)


def _judge_media_types(files: Sequence[SentFile], allowed: tuple[str, ...]) -> None:
    for number, file in enumerate(files):
        if file.media_type.partition(";")[0].strip().lower() not in allowed:
            name = file.name if len(files) == 1 else f"image[{number}]"
            raise Refusal(
                f"Invalid file '{name}': unsupported mimetype ('{file.media_type}'). Supported file formats are "
                f"{listed(allowed)}.",
                param=name,
                code="unsupported_file_mimetype",
            )


def _judge_mask(mask: Image.Image, image: Image.Image) -> None:
    problem = None
    if mask.size != image.size:
        problem = "mask size does not match image size"
    elif not mask.has_transparency_data:
        problem = "mask image missing alpha channel"
    if problem is not None:
        raise Refusal(f"Invalid mask image format - {problem}.", param="mask", code="invalid_image_format")


def _open(file: SentFile, number: int, rule: UploadRule, media_types: tuple[str, ...]) -> Image.Image:
    only_png = rule.media_types == ("image/png",)
    if file.size >= rule.max_bytes and not only_png:
        raise Refusal(
            f"Invalid file '{file.name}': file too large. Files must be smaller than "
            f"{rule.max_bytes // (1024 * 1024)} MB.",
            param=file.name,
            code="image_too_large",
        )
    image = None if file.size >= rule.max_bytes else _load(file.data, media_types)
    if image is not None:
        return image
    if only_png:
        what = "image" if file.name == "image[]" else file.name
        raise Refusal(
            f"Uploaded {what} must be a PNG and less than {rule.max_bytes // (1024 * 1024)} MB.",
            param=what,
            code="invalid_image_format",
        )
    raise Refusal(
        f"Invalid image file or mode for image {number}, please check your image file.",
        param=file.name,
        code="invalid_image_file",
    )


def _load(data: bytes, media_types: tuple[str, ...]) -> Image.Image | None:
    formats = [_FORMATS[media_type] for media_type in media_types]
    try:
        image = Image.open(BytesIO(data), formats=formats)
        # A phone's JPEG of several pictures opens as MPO: the API refuses it, as it does CMYK.
        fits = image.format in formats and image.width * image.height <= _MAX_PIXELS
        if not fits or (image.format != "PNG" and image.mode not in _PLAIN_MODES):
            return None
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return image

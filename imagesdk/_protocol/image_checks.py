"""Checks of a job's images against the profile of its model.

Pure functions of facts that were read from the files. They raise :class:`~imagesdk.errors.InvalidRequestError` with the
parameter, the image, the rule and the remedies. The rules are data in :mod:`imagesdk.models`.
"""

from __future__ import annotations

from typing import NoReturn

from imagesdk._protocol.bodies import image_url_length, needs_json
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk.errors import InvalidRequestError, preview
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models import ImageRule, ModelProfile
from imagesdk.models.catalog import MAX_IMAGE_URL
from imagesdk.remedies import Remedy
from imagesdk.types import Upload


def check_images(job: Job, images: InputImages, profile: ModelProfile) -> None:
    """Check the images of a job against its profile."""
    rule = profile.variation if isinstance(job, Variation) else profile.edit
    if rule is None or isinstance(job, Generate):
        return
    if len(images.images) > rule.max_images:
        allowed = "one image" if rule.max_images == 1 else f"1 to {rule.max_images} images"
        raise _invalid("image", f"{len(images.images)} images", allowed, profile)
    overlays = (("mask", images.mask, profile.mask), ("markup", images.markup, profile.markup))
    for param, image, image_rule in (*(("image", image, rule) for image in images.images), *overlays):
        if isinstance(image, RemoteImage):
            if isinstance(job, Edit):  # build_request() rejects a variation of a remote image
                _check_remote(param, image, profile)
        elif image is not None and image_rule is not None:
            _check_upload(param, image, image_rule, profile)
        if image is not None and needs_json(job, images):
            _check_url_length(param, image, profile)
    _check_overlays(images, rule, profile)


def _check_upload(param: str, upload: Upload, rule: ImageRule, profile: ModelProfile) -> None:
    if not upload.media_type.startswith("image/"):
        _reject_unknown_format(param, upload, rule)
    kind, *remedies = _format(upload)
    if upload.media_type not in rule.media_types or upload.several or upload.cmyk:
        allowed = " or ".join(_kind(media_type) for media_type in rule.media_types)
        raise _invalid(param, f"{upload.name} ({kind})", f"a {allowed} file", profile, *remedies)
    if upload.size >= rule.max_bytes:
        shown = f"{upload.name} ({upload.size} bytes)"
        allowed = f"a file of less than {rule.max_bytes} bytes ({rule.max_bytes // 1024**2} MiB)"
        raise _invalid(param, shown, allowed, profile, Remedy.SHRINK_IMAGE.of(rule.max_bytes))
    if rule.square and upload.width != upload.height:
        shown = f"{upload.name} ({upload.width}x{upload.height})"
        raise _invalid(param, shown, "a square image", profile, Remedy.PREPARE_SQUARE)


def _reject_unknown_format(param: str, upload: Upload, rule: ImageRule) -> NoReturn:
    start = upload.unknown_start.decode("utf-8", "replace")
    shown = f" (starts with {preview(start)})" if start else ""
    supported = ", ".join(map(_kind, rule.media_types)).replace("WEBP", "WebP")
    raise InvalidRequestError(
        f"{param} {upload.name} is not an image{shown}. Supported: {supported}.",
        param=param,
        value=upload.name,
        allowed=supported,
        remedies=(Remedy.SKIP_CHECK,),
    )


def _format(upload: Upload) -> tuple[str, Remedy] | tuple[str]:
    """Return the name of a file's format, and the remedy if there is one."""
    if upload.several:
        return "several images in one JPEG, an MPO, as phones write them", Remedy.CONVERT_IMAGE
    if upload.cmyk:
        return f"{_kind(upload.media_type)} in CMYK, the inks of print", Remedy.CONVERT_IMAGE
    if upload.media_type == "image/svg+xml":
        return "SVG", Remedy.RENDER_SVG
    return _kind(upload.media_type), Remedy.CONVERT_IMAGE


def _kind(media_type: str) -> str:
    return media_type.removeprefix("image/").upper()


def _check_remote(param: str, image: RemoteImage, profile: ModelProfile) -> None:
    # The models of 2023 accept forms only, and a form has no URLs. They are the models with a response_format.
    if profile.response_formats:
        what = "a URL" if image.url else "the id of an uploaded file"
        remedies = (Remedy.DOWNLOAD_IMAGE,) if image.url else ()
        raise _invalid(param, f"{image.name} ({what})", "a path, bytes or a file", profile, *remedies)


def _check_url_length(param: str, image: InputImage, profile: ModelProfile) -> None:
    length = image_url_length(image)
    if length > MAX_IMAGE_URL:
        shown = f"{image.name} ({length} characters as a URL)"
        allowed = f"at most {MAX_IMAGE_URL} characters in an edit that is sent as JSON (for a URL, a file id or moderation)"
        raise _invalid(param, shown, allowed, profile, Remedy.UPLOAD_IMAGE)


def _check_overlays(images: InputImages, rule: ImageRule, profile: ModelProfile) -> None:
    first = images.images[0]
    if images.mask is not None and images.markup is not None:
        raise _invalid("markup", images.markup.name, "a mask or a markup, not both", profile)
    if isinstance(images.mask, Upload):
        _check_overlay("mask", images.mask, first, "so nothing would be repainted", Remedy.MAKE_MASK)
    elif (
        images.mask is None and rule.alpha_without_mask and isinstance(first, Upload) and first.alpha is False
    ):
        raise InvalidRequestError(
            f"image ({first.name}) has no transparency and there is no mask, so {profile.name} cannot know where to "
            "paint.",
            param="image",
            value=first.name,
            allowed="a PNG with transparency, or a mask",
            remedies=(Remedy.PASS_MASK, Remedy.MAKE_MASK),
        )
    if isinstance(images.markup, Upload):
        _check_overlay("markup", images.markup, first, "so it would hide the image", Remedy.DRAW_MARKUP)


def _check_overlay(param: str, overlay: Upload, image: InputImage, consequence: str, remedy: Remedy) -> None:
    """Check that a mask or markup has the size of its image, and transparent pixels."""
    sizes = [(overlay.width, overlay.height)]
    if isinstance(image, Upload):
        sizes.append((image.width, image.height))
    if all(None not in size for size in sizes) and len(set(sizes)) > 1:
        value, allowed = (f"{width}x{height}" for width, height in sizes)
        raise InvalidRequestError(
            f"{param} is {value} and image is {allowed}: they must have the same width and height (as shown, if EXIF "
            "turns one).",
            param=param,
            value=value,
            allowed=allowed,
            remedies=(remedy, Remedy.SKIP_CHECK),
        )
    if overlay.alpha is False or overlay.transparent is False:
        lack = "no alpha channel" if overlay.alpha is False else "no transparent pixel"
        message, value = f"{param} ({overlay.name}) has {lack}, {consequence}.", f"{overlay.name} ({lack})"
        allowed, remedies = "a PNG with transparent pixels", (remedy, Remedy.SKIP_CHECK)
        raise InvalidRequestError(message, param=param, value=value, allowed=allowed, remedies=remedies)


def _invalid(
    param: str, value: str, allowed: str, profile: ModelProfile, *remedies: Remedy
) -> InvalidRequestError:
    remedies = (*remedies, Remedy.SKIP_CHECK)
    return InvalidRequestError.for_parameter(
        param, value, allowed=allowed, model=profile.name, remedies=remedies, shown=value
    )

"""Checks of a job's images against the profile of its model, before a byte is sent.

Pure functions over what was found in the files. They raise :class:`~imagesdk.errors.InvalidRequestError` naming the
parameter, the image, what is allowed and the remedies. The rules themselves are data, in :mod:`imagesdk.models`.
"""

from __future__ import annotations

from imagesdk._protocol.bodies import image_url_length, needs_json
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models import ImageRule, ModelProfile
from imagesdk.models.catalog import MAX_IMAGE_URL
from imagesdk.remedies import Remedy
from imagesdk.types import Upload


def check_images(job: Job, pictures: InputImages, profile: ModelProfile) -> None:
    """Refuse pictures that the profile of the job's model rules out."""
    rule = profile.variation if isinstance(job, Variation) else profile.edit
    if rule is None or isinstance(job, Generate):
        return
    if len(pictures.images) > rule.max_images:
        allowed = "one image" if rule.max_images == 1 else f"1 to {rule.max_images} images"
        raise _refused("image", f"{len(pictures.images)} images", allowed, profile)
    named = [("image", image, rule) for image in pictures.images]
    for param, picture, its_rule in (
        *named,
        ("mask", pictures.mask, profile.mask),
        ("markup", pictures.markup, profile.markup),
    ):
        if isinstance(picture, RemoteImage):
            if isinstance(
                job, Edit
            ):  # a variation of it cannot be sent at all, which is said where it is encoded
                _check_remote(param, picture, profile)
        elif picture is not None and its_rule is not None:
            _check_upload(param, picture, its_rule, profile)
        if picture is not None and needs_json(job, pictures):
            _check_url_length(param, picture, profile)
    _check_overlays(pictures, rule, profile)


def _check_upload(param: str, picture: Upload, rule: ImageRule, profile: ModelProfile) -> None:
    found, *remedies = _format(picture)
    if picture.media_type not in rule.media_types or picture.several or picture.cmyk:
        kinds = " or ".join(kind.removeprefix("image/").upper() for kind in rule.media_types)
        raise _refused(param, f"{picture.name} ({found})", f"a {kinds} file", profile, *remedies)
    if picture.size >= rule.max_bytes:
        raise _refused(
            param,
            f"{picture.name} ({picture.size} bytes)",
            f"a file of less than {rule.max_bytes} bytes ({rule.max_bytes // 1024**2} MiB)",
            profile,
            Remedy.SHRINK_IMAGE.of(rule.max_bytes),
        )
    if rule.square and picture.width != picture.height:
        raise _refused(
            param,
            f"{picture.name} ({picture.width}x{picture.height})",
            "a square image",
            profile,
            Remedy.PREPARE_SQUARE,
        )


def _format(picture: Upload) -> tuple[str, Remedy] | tuple[str]:
    """Return what a file is and, where no model takes it, a remedy."""
    if picture.several:
        return "several images in one JPEG, an MPO, as phones write them", Remedy.CONVERT_IMAGE
    if picture.cmyk:
        return f"{_kind(picture)} in CMYK, the inks of print", Remedy.CONVERT_IMAGE
    if not picture.media_type.startswith("image/"):
        return ("not an image",)
    if picture.media_type == "image/svg+xml":
        return "SVG", Remedy.RENDER_SVG
    return _kind(picture), Remedy.CONVERT_IMAGE


def _kind(picture: Upload) -> str:
    return picture.media_type.removeprefix("image/").upper()


def _check_remote(param: str, picture: RemoteImage, profile: ModelProfile) -> None:
    # The models of 2023 know the form only, and JSON is what URLs are in. They are those with a response_format.
    if profile.response_formats:
        what = "a URL" if picture.url else "the id of an uploaded file"
        remedies = (Remedy.DOWNLOAD_IMAGE,) if picture.url else ()
        raise _refused(param, f"{picture.name} ({what})", "a path, bytes or a file", profile, *remedies)


def _check_url_length(param: str, picture: InputImage, profile: ModelProfile) -> None:
    length = image_url_length(picture)
    if length > MAX_IMAGE_URL:
        raise _refused(
            param,
            f"{picture.name} ({length} characters as a URL)",
            f"at most {MAX_IMAGE_URL} characters in an edit that is sent as JSON (for a URL, a file id or moderation)",
            profile,
            Remedy.UPLOAD_IMAGE,
        )


def _check_overlays(pictures: InputImages, rule: ImageRule, profile: ModelProfile) -> None:
    first = pictures.images[0]
    if pictures.mask is not None and pictures.markup is not None:
        raise _refused("markup", pictures.markup.name, "a mask or a markup, not both", profile)
    if isinstance(pictures.mask, Upload):
        _check_overlay("mask", pictures.mask, first, "so nothing would be repainted", Remedy.MAKE_MASK)
    elif (
        pictures.mask is None
        and rule.alpha_without_mask
        and isinstance(first, Upload)
        and first.alpha is False
    ):
        raise InvalidRequestError(
            f"image ({first.name}) has no transparency and there is no mask, so {profile.name} cannot know where to "
            "paint.",
            param="image",
            value=first.name,
            allowed="a PNG with transparency, or a mask",
            remedies=(Remedy.PASS_MASK, Remedy.MAKE_MASK),
        )
    if isinstance(pictures.markup, Upload):
        _check_overlay("markup", pictures.markup, first, "so it would hide the image", Remedy.DRAW_MARKUP)


def _check_overlay(param: str, overlay: Upload, image: InputImage, consequence: str, remedy: Remedy) -> None:
    """Refuse a mask or markup that does not lie on its image, or through which nothing shows."""
    sizes = [(overlay.width, overlay.height)]
    if isinstance(image, Upload):
        sizes.append((image.width, image.height))
    if all(None not in size for size in sizes) and len(set(sizes)) > 1:
        raise InvalidRequestError(
            f"{param} is {overlay.width}x{overlay.height} and image is {sizes[1][0]}x{sizes[1][1]}: they must have the "
            "same width and height (as shown, if EXIF turns one).",
            param=param,
            value=f"{overlay.width}x{overlay.height}",
            allowed=f"{sizes[1][0]}x{sizes[1][1]}",
            remedies=(remedy, Remedy.SKIP_CHECK),
        )
    if overlay.alpha is False or overlay.transparent is False:
        lack = "no alpha channel" if overlay.alpha is False else "no transparent pixel"
        raise InvalidRequestError(
            f"{param} ({overlay.name}) has {lack}, {consequence}.",
            param=param,
            value=f"{overlay.name} ({lack})",
            allowed="a PNG with transparent pixels",
            remedies=(remedy, Remedy.SKIP_CHECK),
        )


def _refused(
    param: str, value: str, allowed: str, profile: ModelProfile, *remedies: Remedy
) -> InvalidRequestError:
    return InvalidRequestError.for_parameter(
        param,
        value,
        allowed=allowed,
        model=profile.name,
        remedies=(*remedies, Remedy.SKIP_CHECK),
        shown=value,
    )

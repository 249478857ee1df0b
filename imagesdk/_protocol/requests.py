"""From a job to a request: which model is meant, what its profile rules out, and what goes over the wire.

Pure functions. Checks raise :class:`~imagesdk.errors.InvalidRequestError` naming the parameter, the value and
what is allowed, before a byte is sent. The rules themselves are data, in :mod:`imagesdk.models`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import attrs
from attrs import frozen

from imagesdk import models
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.multipart import Form, Part
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models import ImageRule, ModelProfile
from imagesdk.types import Upload

Value: TypeAlias = "str | int | float | bool | Mapping[str, Any] | Sequence[Any] | None"

PATHS: Final[Mapping[type[Job], str]] = {
    Generate: "/images/generations",
    Edit: "/images/edits",
    Variation: "/images/variations",
}

_SIZE = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


@frozen
class Pictures:
    """The pictures of a job, made ready to be sent."""

    images: tuple[Upload, ...] = ()
    mask: Upload | None = None


@frozen
class Request:
    """One request, ready for the wire but for the server's address and the key."""

    path: str
    weight: int
    """Images that it asks for: what the rate limit counts."""
    model: str | None
    content: bytes | Form

    @property
    def content_type(self) -> str:
        """The value of the ``content-type`` header."""
        return self.content.content_type if isinstance(self.content, Form) else "application/json"

    @property
    def length(self) -> int:
        """The body in bytes."""
        return self.content.length if isinstance(self.content, Form) else len(self.content)

    def segments(self) -> Iterable[bytes | Upload]:
        """Yield the body in order."""
        return self.content.segments() if isinstance(self.content, Form) else (self.content,)


def resolve(job: Job, host: Host, *, has_out: bool) -> Job:
    """Fill in what the client decides: the model where the host needs one, and base64 when files are wanted."""
    if job.model is None and (model := host.default_model(job)):
        job = attrs.evolve(job, model=model)
    if (
        has_out
        and job.response_format is None
        and (profile := models.lookup(job.model))
        and profile.response_formats
    ):
        job = attrs.evolve(job, response_format="b64_json")
    return job


def check_shape(job: Job) -> None:
    """Refuse what no server could read: a prompt that is not text, an ``n`` that is not a count."""
    prompt = cast("object", "" if isinstance(job, Variation) else job.prompt)
    if not isinstance(prompt, str):
        raise _refused("prompt", prompt, "a text")
    for name, value in attrs.asdict(job, recurse=False).items():
        if isinstance(value, str) and name not in {"image", "mask"}:
            _check_text(name, value)
    if job.n is not None and (type(job.n) is not int or job.n < 1):
        raise _refused("n", job.n, "a whole number of at least 1")


def check_parameters(job: Job, profile: ModelProfile) -> None:
    """Refuse what the profile of the job's model rules out."""
    if not isinstance(job, Variation):
        _check_prompt(job.prompt, profile)
    elif profile.variation is None:
        raise _refused("model", profile.name, "a model that makes variations (dall-e-2)", profile)
    if job.n is not None and profile.max_n is not None and job.n > profile.max_n:
        raise _refused("n", job.n, f"1 to {profile.max_n}", profile)
    if job.size is not None:
        _check_size(job.size, profile)
    for name in profile.rejected:
        if getattr(job, name, None) is not None:
            raise InvalidRequestError(
                f"{profile.name} takes no {name}{_hint(name, profile)}. Leave it out, or pass check=False.",
                param=name,
                value=getattr(job, name),
                allowed="not given",
            )
    for name, allowed in (
        ("quality", profile.qualities),
        ("background", profile.backgrounds),
        ("output_format", profile.output_formats),
        ("response_format", profile.response_formats),
    ):
        value = getattr(job, name, None)
        if value is not None and allowed and value not in allowed:
            raise _refused(name, value, _one_of(allowed), profile)
    _check_output(job, profile)


def check_pictures(job: Job, pictures: Pictures, profile: ModelProfile) -> None:
    """Refuse pictures that the profile of the job's model rules out."""
    rule = profile.variation if isinstance(job, Variation) else profile.edit
    if rule is None or isinstance(job, Generate):
        return
    if len(pictures.images) > rule.max_images:
        allowed = "one picture" if rule.max_images == 1 else f"1 to {rule.max_images} pictures"
        raise _refused("image", f"{len(pictures.images)} pictures", allowed, profile)
    for image in pictures.images:
        _check_picture("image", image, rule, profile)
    if pictures.mask is not None:
        if profile.mask is not None:
            _check_picture("mask", pictures.mask, profile.mask, profile)
        _check_mask(pictures.images[0], pictures.mask)
    elif rule.alpha_without_mask and pictures.images[0].alpha is False:
        raise InvalidRequestError(
            f"image ({pictures.images[0].name}) has no transparency and there is no mask, so {profile.name} cannot "
            "know where to paint: pass mask=, a PNG that is transparent where the picture is to change, or make the "
            "image itself transparent there.",
            param="image",
            value=pictures.images[0].name,
            allowed="a PNG with transparency, or a mask",
        )


def build(job: Job, pictures: Pictures, *, boundary: str, extra_body: Mapping[str, Any] | None) -> Request:
    """Encode a job. Parameters that are ``None`` are not sent; ``extra_body`` has the last word."""
    fields: dict[str, Any] = {
        name: value
        for name, value in attrs.asdict(job, recurse=False).items()
        if value is not None and name not in {"image", "mask"}
    }
    for name, value in (extra_body or {}).items():
        fields.pop(name, None)
        if value is not None:
            fields[name] = value
    path, weight = PATHS[type(job)], _weight(fields.get("n"))
    model = fields.get("model")
    if isinstance(job, Generate):
        return Request(path, weight, model, _json(fields))
    several = isinstance(job, Edit) and _is_list(job.image)
    parts = [Part("image[]" if several else "image", image) for image in pictures.images]
    if pictures.mask is not None:
        parts.append(Part("mask", pictures.mask))
    parts += [Part(name, text) for key, value in fields.items() for name, text in _form_fields(key, value)]
    return Request(path, weight, model, Form(tuple(parts), boundary))


def sources(job: Job) -> tuple[tuple[Any, ...], Any]:
    """Return a job's pictures as the caller gave them: the images, and the mask or ``None``."""
    if isinstance(job, Generate):
        return (), None
    if isinstance(job, Variation):
        return (job.image,), None
    images: tuple[Any, ...] = tuple(job.image) if _is_list(job.image) else (job.image,)  # type: ignore[arg-type]
    if not images:
        raise _refused("image", "an empty list", "at least one picture")
    return images, job.mask


def _json(fields: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"extra_body cannot be written as JSON: {error}.",
            param="extra_body",
            allowed="values that JSON has",
        ) from None


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _weight(n: object) -> int:
    return (
        n
        if type(n) is int and n > 0
        else int(n)
        if isinstance(n, str) and n.isdecimal() and int(n) > 0
        else 1
    )


def _form_fields(name: str, value: Value) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _form_fields(f"{name}[{key}]", item)]
    if isinstance(value, (list, tuple)):
        return [pair for item in value for pair in _form_fields(f"{name}[]", item)]
    if isinstance(value, bool):
        return [(name, "true" if value else "false")]
    if value is None:
        return []
    return [(name, _check_text(name, str(value)))]


def _check_text(name: str, text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _refused(name, "a text with half a character", "a text without lone surrogates")
    return text


def _check_prompt(prompt: str, profile: ModelProfile) -> None:
    if not prompt.strip():
        raise _refused("prompt", prompt, "a description of the picture", profile)
    if profile.prompt_length is not None and len(prompt) > profile.prompt_length:
        raise InvalidRequestError(
            f"prompt has {len(prompt)} characters; {profile.name} takes 1 to {profile.prompt_length}.",
            param="prompt",
            value=f"{len(prompt)} characters",
            allowed=f"1 to {profile.prompt_length} characters",
        )


def _check_size(size: object, profile: ModelProfile) -> None:
    if not profile.sizes or size in profile.sizes:
        return
    rule, found = profile.size_rule, _SIZE.fullmatch(size) if isinstance(size, str) else None
    if rule is None:
        raise _refused("size", size, _one_of(profile.sizes), profile)
    problem = rule.problem(int(found[1]), int(found[2])) if found else "a size is written WIDTHxHEIGHT"
    if problem:
        raise _refused("size", size, f"{_one_of(profile.sizes)}, or a free size: {problem}", profile)


def _check_output(job: Job, profile: ModelProfile) -> None:
    if isinstance(job, Variation):
        return
    compression, output = job.output_compression, job.output_format or "png"
    if compression is not None and "output_compression" not in profile.rejected and profile.output_formats:
        if type(compression) is not int or not 0 <= compression <= 100:
            raise _refused("output_compression", compression, "0 to 100", profile)
        if output == "png":
            raise _refused(
                "output_compression", compression, "not given with png, only with jpeg or webp", profile
            )
    if job.background == "transparent" and output == "jpeg":
        raise _refused("background", "transparent", 'opaque or auto with output_format="jpeg"', profile)


def _check_picture(param: str, picture: Upload, rule: ImageRule, profile: ModelProfile) -> None:
    kinds = " or ".join(kind.removeprefix("image/").upper() for kind in rule.media_types)
    if picture.media_type not in rule.media_types:
        found = (
            picture.media_type.removeprefix("image/").upper()
            if "image/" in picture.media_type
            else "no picture"
        )
        raise _refused(param, f"{picture.name} ({found})", f"a {kinds} file", profile)
    if picture.size >= rule.max_bytes:
        raise _refused(
            param,
            f"{picture.name} ({picture.size} bytes)",
            f"a file of less than {rule.max_bytes} bytes ({rule.max_bytes // 1024**2} MiB)",
            profile,
        )
    if rule.square and picture.width != picture.height:
        raise _refused(
            param, f"{picture.name} ({picture.width}x{picture.height})", "a square picture", profile
        )


def _check_mask(image: Upload, mask: Upload) -> None:
    sizes = [(p.width, p.height) for p in (image, mask)]
    if None not in sizes[0] + sizes[1] and sizes[0] != sizes[1]:
        raise InvalidRequestError(
            f"mask is {mask.width}x{mask.height} and image is {image.width}x{image.height}: "
            "they must have the same width and height.",
            param="mask",
            value=f"{mask.width}x{mask.height}",
            allowed=f"{image.width}x{image.height}",
        )


def _hint(name: str, profile: ModelProfile) -> str:
    return ": it always answers with the picture itself" if name == "response_format" else ""


def _one_of(values: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))


def _refused(
    param: str, value: object, allowed: str, profile: ModelProfile | None = None
) -> InvalidRequestError:
    shown = value if isinstance(value, str) and " (" in value else repr(value)
    if len(str(shown)) > 80:
        shown = f"{str(shown)[:77]}..."
    way_out = " check=False sends it anyway." if profile else ""
    model = f" for {profile.name}" if profile else ""
    return InvalidRequestError(
        f"{param} is {shown}; allowed{model}: {allowed}.{way_out}", param=param, value=value, allowed=allowed
    )

"""Checks of a job's parameters against the profile of its model, before a byte is sent.

Pure functions. They raise :class:`~imagesdk.errors.InvalidRequestError` naming the parameter, the value and what is
allowed. The rules themselves are data, in :mod:`imagesdk.models`. Images are checked in ``picture_checks.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from imagesdk import models
from imagesdk._protocol.json_values import is_object
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Job, Variation
from imagesdk.models import ModelProfile, catalog
from imagesdk.models.sizes import parse_size
from imagesdk.remedies import Remedy

PICTURES = frozenset({"image", "mask", "markup"})
"""Parameters that are images."""

_LISTS = {
    "quality": "qualities",
    "background": "backgrounds",
    "output_format": "output_formats",
    "moderation": "moderations",
    "style": "styles",
    "complexity": "complexities",
    "input_fidelity": "input_fidelities",
    "response_format": "response_formats",
}
"""Parameters that are one of a few words, and where a profile lists them."""
_ONLY_WITH = {"frame_count": "gif", "frame_duration_ms": "gif", "svg": "svg"}
"""Parameters that one format of output has."""
_NOT_WITH = {
    "gif": ("mask", "partial_images", "output_compression"),
    "svg": ("partial_images", "output_compression"),
}
"""What these formats rule out, by the parameter types of the openai package, beside a stream."""
_COMPRESSED = ("jpeg", "webp")
_NUMBERS = {
    "frame_count": catalog.GIF_FRAMES,
    "frame_duration_ms": (1, catalog.MAX_FRAME_DURATION),
    "partial_images": (0, catalog.MAX_PARTIAL_IMAGES),
}
_HINTS = {
    "response_format": ": it always returns the image itself",
    "style": ": the prompt describes the style",
    "input_fidelity": ": it always keeps what the images show",
}


def check_shape(job: Job) -> None:
    """Refuse what no server could read: a prompt that is not text, an ``n`` that is not a count."""
    prompt = cast("object", "" if isinstance(job, Variation) else job.prompt)
    if not isinstance(prompt, str):
        raise InvalidRequestError(
            f"prompt must be str, got {type(prompt).__name__}.",
            param="prompt",
            value=prompt,
            allowed="a text",
        )
    for name, value in job.parameters().items():
        if isinstance(value, str) and name not in PICTURES:
            check_text(name, value)
    if job.n is not None and (type(job.n) is not int or job.n < 1):
        raise InvalidRequestError.for_parameter("n", job.n, allowed="a whole number of at least 1")


def check_parameters(job: Job, profile: ModelProfile, *, stream: bool = False) -> None:
    """Refuse what the profile of the job's model rules out; ``stream`` says whether the answer is to be a stream."""
    given = job.parameters()
    _check_endpoint(job, profile)
    if not isinstance(job, Variation):
        _check_prompt(job.prompt, profile)
    if job.n is not None and profile.max_n is not None and job.n > profile.max_n:
        raise _refused("n", job.n, f"1 to {profile.max_n}" if profile.max_n > 1 else "1", profile)
    if job.size is not None:
        _check_size(job.size, given.get("output_format"), profile)
    for name in sorted(profile.rejected & given.keys()):
        raise InvalidRequestError(
            f"{profile.name} takes no {name}{_hint(name)}.",
            param=name,
            value=given[name],
            allowed="not given",
            remedies=(Remedy.LEAVE_OUT.of(name), Remedy.SKIP_CHECK),
        )
    for name, attribute in _LISTS.items():
        value, allowed = given.get(name), getattr(profile, attribute)
        if value is not None and allowed and value not in allowed:
            raise _refused(name, value, _one_of(allowed), profile)
    _check_output(job, given, profile)
    _check_values(given, profile)
    _check_stream(job, profile, stream=stream)


def check_text(name: str, text: str) -> str:
    """Return a text that can be encoded.

    Raises:
        InvalidRequestError: If it contains a lone surrogate.
    """
    lone = next((character for character in text if "\ud800" <= character <= "\udfff"), None)
    if lone is not None:
        raise InvalidRequestError(
            f"{name} contains a lone surrogate (U+{ord(lone):04X}).",
            param=name,
            value="a text with a lone surrogate",
            allowed="a text without lone surrogates",
        )
    return text


def _check_prompt(prompt: str, profile: ModelProfile) -> None:
    if not prompt.strip():
        raise _refused("prompt", prompt, "a description of the image", profile)
    if profile.prompt_length is not None and len(prompt) > profile.prompt_length:
        allowed = f"1 to {profile.prompt_length} characters"
        raise _refused("prompt", f"{len(prompt)} characters", allowed, profile, described=True)


def _check_endpoint(job: Job, profile: ModelProfile) -> None:
    if not profile.endpoints or job.endpoint in profile.endpoints:
        return
    able = [other for other in models.known() if job.endpoint in other.endpoints]
    able.sort(key=lambda other: (other.shut_down is not None, other.name != catalog.OPENAI_EDIT_MODEL))
    remedies = [Remedy.USE_EDIT] if isinstance(job, Variation) else []
    remedies += [Remedy.USE_MODEL.of(other.name) for other in able[:1]]
    raise InvalidRequestError(
        f"{profile.name} has no {job.endpoint} endpoint.",
        param="model",
        value=profile.name,
        allowed=f"a model with the {job.endpoint} endpoint",
        remedies=(*remedies, Remedy.SKIP_CHECK),
    )


def _check_size(size: object, output_format: str | None, profile: ModelProfile) -> None:
    if not profile.sizes or size in profile.sizes:
        return
    rule, found = profile.size_rule, parse_size(size)
    if rule is None:
        nearest = [Remedy.USE_SIZE.of(models.nearest_size(*found, profile))] if found else []
        raise _refused("size", size, _one_of(profile.sizes), profile, *nearest)
    listed = f"{_one_of(profile.sizes)}, or a free size"
    if found is None:
        raise _refused("size", size, f"{listed}: a size is written WIDTHxHEIGHT", profile)
    if output_format == "gif":
        if problem := rule.frame_problem(*found):
            raise _refused("size", size, f"{listed}: {problem}", profile)
    elif problem := rule.problem(*found):
        size_to_use = models.nearest_size(*found, profile)
        raise _refused("size", size, f"{listed}: {problem}", profile, Remedy.USE_SIZE.of(size_to_use))


def _check_output(job: Job, given: Mapping[str, Any], profile: ModelProfile) -> None:
    """Check what goes together, where the model has formats of output at all."""
    if isinstance(job, Variation) or not profile.output_formats:
        return
    output = job.output_format or profile.output_formats[0]
    for name, only in _ONLY_WITH.items():
        if name in given and output != only:
            needed = Remedy.CHOOSE_FORMAT.of(only)
            raise _refused(name, given[name], f"only given with output format {only}", profile, needed)
    if job.output_compression is not None:
        _check_number("output_compression", job.output_compression, *catalog.COMPRESSION, profile)
        if output not in _COMPRESSED:
            allowed = f"not given with {output}, only with {_one_of(_COMPRESSED)}"
            raise _refused("output_compression", job.output_compression, allowed, profile)
    for name in _NOT_WITH.get(output, ()):
        if given.get(name) not in (None, 0):
            shown = "an image" if name in PICTURES else given[name]
            leave_out = Remedy.LEAVE_OUT.of(name)
            allowed = f"not given with output format {output}"
            raise _refused(name, shown, allowed, profile, leave_out, described=name in PICTURES)
    if job.background == "transparent" and output == "jpeg":
        raise _refused("background", "transparent", "opaque or auto with output format jpeg", profile)
    if output == "svg" and job.n is not None and job.n > 1:
        raise _refused("n", job.n, "1 with output format svg", profile)
    if isinstance(job, Edit) and job.mask is not None and job.markup is not None:
        raise _refused("markup", "an image", "not given with a mask: one of the two", profile, described=True)


def _check_values(given: Mapping[str, Any], profile: ModelProfile) -> None:
    """Check the values that the API itself limits, of parameters that the model takes."""
    accepted = {name: value for name, value in given.items() if name in profile.accepted}
    for name, (least, most) in _NUMBERS.items():
        if name in accepted:
            _check_number(name, accepted[name], least, most, profile)
    if "svg" in accepted:
        _check_svg(accepted["svg"], profile)
    for name, longest in (("safety_identifier", catalog.MAX_SAFETY_IDENTIFIER), ("user", None)):
        value = accepted.get(name, "")
        if not isinstance(value, str):
            raise _refused(name, value, "a text", profile)
        if longest is not None and len(value) > longest:
            allowed = f"at most {longest} characters"
            raise _refused(name, f"{len(value)} characters", allowed, profile, described=True)


def _check_number(name: str, value: object, least: int, most: int, profile: ModelProfile) -> None:
    if type(value) is not int or not least <= value <= most:
        raise _refused(name, value, f"{least} to {most}", profile)


def _check_svg(svg: object, profile: ModelProfile) -> None:
    """Check its shape; fields that this version does not know are the server's business."""
    author = svg if is_object(svg) else {}
    thinking = author.get("reasoning")
    reasoning = thinking if is_object(thinking) else {}
    if (
        not is_object(svg)
        or not isinstance(author.get("model", ""), str)
        or thinking not in (None, reasoning)
    ):
        raise _refused("svg", svg, 'such as {"model": "...", "reasoning": {"effort": "low"}}', profile)
    effort = reasoning.get("effort")
    if effort is not None and effort not in catalog.SVG_EFFORTS:
        raise _refused("svg", svg, f"a reasoning effort of {_one_of(catalog.SVG_EFFORTS)}", profile)


def _check_stream(job: Job, profile: ModelProfile, *, stream: bool) -> None:
    if isinstance(job, Variation):
        return
    if not stream:
        if job.partial_images:
            method = Remedy.USE_STREAM.of("edit_stream" if isinstance(job, Edit) else "generate_stream")
            raise _refused(
                "partial_images", job.partial_images, "not given without a stream", profile, method
            )
        return
    if profile.streams is None:
        return
    if not profile.streams:
        remedies = (Remedy.USE_MODEL.of(catalog.OPENAI_GENERATE_MODEL),)
        raise _refused("model", profile.name, "a model that streams", profile, *remedies)
    if job.n is not None and job.n > 1:
        raise _refused("n", job.n, "1 in a stream", profile)
    if job.output_format in _NOT_WITH:
        raise _refused("output_format", job.output_format, "png, jpeg or webp in a stream", profile)


def _hint(name: str) -> str:
    if name in _HINTS:
        return _HINTS[name]
    able = [
        profile.name for profile in models.known() if name in profile.accepted and profile.shut_down is None
    ]
    return f" ({able[0]} does)" if able else ""


def _one_of(values: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))


def _refused(
    param: str,
    value: object,
    allowed: str,
    profile: ModelProfile,
    *remedies: Remedy,
    described: bool = False,
) -> InvalidRequestError:
    return InvalidRequestError.for_parameter(
        param,
        value,
        allowed=allowed,
        model=profile.name,
        remedies=(*remedies, Remedy.SKIP_CHECK),
        shown=str(value) if described else None,
    )

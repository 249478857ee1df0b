"""Checks of a job's parameters against the profile of its model.

Pure functions. They raise :class:`~imagesdk.errors.InvalidRequestError` with the parameter, the value, the rule and the
remedies. The rules are data in :mod:`imagesdk.models`. :mod:`.image_checks` checks the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import attrs

from imagesdk import models
from imagesdk._protocol.json_values import is_object
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Job, Variation
from imagesdk.models import ModelProfile, catalog
from imagesdk.models.sizes import parse_size
from imagesdk.remedies import Remedy

IMAGE_PARAMETERS = frozenset({"image", "mask", "markup"})

# Parameters with listed values, and the attribute of a profile that lists them.
_CHOICES = {
    "quality": "qualities", "background": "backgrounds", "output_format": "output_formats",
    "moderation": "moderations", "style": "styles", "complexity": "complexities",
    "input_fidelity": "input_fidelities", "response_format": "response_formats",
}  # fmt: skip
_ONLY_WITH = {"frame_count": "gif", "frame_duration_ms": "gif", "svg": "svg"}
# Besides streams, by the parameter types of the openai package.
_UNCOMPRESSED = ("partial_images", "output_compression")
_NOT_WITH = {"gif": ("mask", *_UNCOMPRESSED), "svg": _UNCOMPRESSED}
_COMPRESSED = ("jpeg", "webp")
_NUMBERS = {
    "frame_count": catalog.GIF_FRAMES,
    "frame_duration_ms": (1, catalog.MAX_FRAME_DURATION),
    "partial_images": (0, catalog.MAX_PARTIAL_IMAGES),
}
_WHOLE_NUMBERS = frozenset({*_NUMBERS, "output_compression"})
_ANY_KIND = frozenset({*IMAGE_PARAMETERS, "n", "svg"})
_MOST_IMAGES = 10_000  # far above every limit, and countable everywhere
_HINTS = {
    "response_format": ": it always returns the image itself",
    "style": ": the prompt describes the style",
    "input_fidelity": ": it always keeps what the images show",
}


def check_shape(job: Job) -> None:
    """Check what every server needs, whatever the model: a prompt and other texts without surrogates, a count as ``n``."""
    prompt = cast("object", "" if isinstance(job, Variation) else job.prompt)
    if not isinstance(prompt, str):
        message = f"prompt must be str, got {type(prompt).__name__}."
        raise InvalidRequestError(message, param="prompt", value=prompt, allowed="a text")
    for name, value in job.parameters().items():
        if isinstance(value, str) and name not in IMAGE_PARAMETERS:
            check_text(name, value)
    if job.n is not None and (type(job.n) is not int or job.n < 1):
        raise InvalidRequestError.for_parameter("n", job.n, allowed="a whole number of at least 1")


def check_kinds(job: Job) -> None:
    """Check that each parameter is a text or a number as the API has it. Rules of a model say more, and come first."""
    for name, kind in _kinds(cast("Any", type(job))):
        value = getattr(job, name)
        if value is not None and (not isinstance(value, kind) or value is True or value is False):
            allowed = "a text" if kind is str else "a whole number"
            raise InvalidRequestError.for_parameter(name, value, allowed=allowed)
    if job.n is not None and job.n > _MOST_IMAGES:
        raise InvalidRequestError.for_parameter("n", job.n, allowed=f"1 to {_MOST_IMAGES}")


@cache
def _kinds(job: type[Job]) -> tuple[tuple[str, type], ...]:
    """Return the parameters of a job that are texts or whole numbers."""
    names = attrs.fields_dict(job).keys() - _ANY_KIND
    return tuple((name, int if name in _WHOLE_NUMBERS else str) for name in sorted(names))


def check_parameters(job: Job, profile: ModelProfile, *, stream: bool = False) -> None:
    """Check the parameters of a job against the profile of its model."""
    parameters = job.parameters()
    _check_endpoint(job, profile)
    if not isinstance(job, Variation):
        _check_prompt(job.prompt, profile)
    if job.n is not None and profile.max_n is not None and job.n > profile.max_n:
        raise _invalid("n", job.n, f"1 to {profile.max_n}" if profile.max_n > 1 else "1", profile)
    if job.size is not None:
        _check_size(job.size, parameters.get("output_format"), profile)
    for name in sorted(profile.rejected & parameters.keys()):
        raise InvalidRequestError(
            f"{profile.name} takes no {name}{_hint(name)}.",
            param=name,
            value=parameters[name],
            allowed="not given",
            remedies=(Remedy.LEAVE_OUT.of(name), Remedy.SKIP_CHECK),
        )
    for name, attribute in _CHOICES.items():
        value, allowed = parameters.get(name), getattr(profile, attribute)
        if value is not None and allowed and value not in allowed:
            raise _invalid(name, value, _one_of(allowed), profile)
    _check_output(job, parameters, profile)
    _check_values(parameters, profile)
    _check_stream(job, profile, stream=stream)


def check_text(name: str, text: str) -> str:
    """Check that a text contains no lone surrogate, and return it."""
    lone = next((character for character in text if "\ud800" <= character <= "\udfff"), None)
    if lone is not None:
        message = f"{name} contains a lone surrogate (U+{ord(lone):04X})."
        value, allowed = "a text with a lone surrogate", "a text without lone surrogates"
        raise InvalidRequestError(message, param=name, value=value, allowed=allowed)
    return text


def _check_prompt(prompt: str, profile: ModelProfile) -> None:
    if not prompt.strip():
        raise _invalid("prompt", prompt, "a description of the image", profile)
    if profile.prompt_length is not None and len(prompt) > profile.prompt_length:
        allowed = f"1 to {profile.prompt_length} characters"
        raise _invalid("prompt", f"{len(prompt)} characters", allowed, profile, described=True)


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
    rule, dimensions = profile.size_rule, parse_size(size)
    if rule is None:
        nearest = [Remedy.USE_SIZE.of(models.nearest_size(*dimensions, profile))] if dimensions else []
        raise _invalid("size", size, _one_of(profile.sizes), profile, *nearest)
    listed = f"{_one_of(profile.sizes)}, or a free size"
    if dimensions is None:
        raise _invalid("size", size, f"{listed}: a size is written WIDTHxHEIGHT", profile)
    if output_format == "gif":
        if problem := rule.frame_problem(*dimensions):
            raise _invalid("size", size, f"{listed}: {problem}", profile)
    elif problem := rule.problem(*dimensions):
        size_to_use = models.nearest_size(*dimensions, profile)
        raise _invalid("size", size, f"{listed}: {problem}", profile, Remedy.USE_SIZE.of(size_to_use))


def _check_output(job: Job, parameters: Mapping[str, Any], profile: ModelProfile) -> None:
    """Check combinations with the output format, if the model has a choice of formats."""
    if isinstance(job, Variation) or not profile.output_formats:
        return
    output = job.output_format or profile.output_formats[0]
    for name, only in _ONLY_WITH.items():
        if name in parameters and output != only:
            needed = Remedy.CHOOSE_FORMAT.of(only)
            raise _invalid(name, parameters[name], f"only given with output format {only}", profile, needed)
    if job.output_compression is not None:
        _check_number("output_compression", job.output_compression, *catalog.COMPRESSION, profile)
        if output not in _COMPRESSED:
            allowed = f"not given with {output}, only with {_one_of(_COMPRESSED)}"
            raise _invalid("output_compression", job.output_compression, allowed, profile)
    for name in _NOT_WITH.get(output, ()):
        if parameters.get(name) not in (None, 0):
            shown = "an image" if name in IMAGE_PARAMETERS else parameters[name]
            leave_out = Remedy.LEAVE_OUT.of(name)
            allowed = f"not given with output format {output}"
            raise _invalid(name, shown, allowed, profile, leave_out, described=name in IMAGE_PARAMETERS)
    if job.background == "transparent" and output == "jpeg":
        raise _invalid("background", "transparent", "opaque or auto with output format jpeg", profile)
    if output == "svg" and job.n is not None and job.n > 1:
        raise _invalid("n", job.n, "1 with output format svg", profile)
    if isinstance(job, Edit) and job.mask is not None and job.markup is not None:
        raise _invalid("markup", "an image", "not given with a mask: one of the two", profile, described=True)


def _check_values(parameters: Mapping[str, Any], profile: ModelProfile) -> None:
    """Check the parameters that the model accepts against the limits of the API."""
    accepted = {name: value for name, value in parameters.items() if name in profile.accepted}
    for name, (least, most) in _NUMBERS.items():
        if name in accepted:
            _check_number(name, accepted[name], least, most, profile)
    if "svg" in accepted:
        _check_svg(accepted["svg"], profile)
    for name, longest in (("safety_identifier", catalog.MAX_SAFETY_IDENTIFIER), ("user", None)):
        value = accepted.get(name, "")
        if not isinstance(value, str):
            raise _invalid(name, value, "a text", profile)
        if longest is not None and len(value) > longest:
            allowed = f"at most {longest} characters"
            raise _invalid(name, f"{len(value)} characters", allowed, profile, described=True)


def _check_number(name: str, value: object, least: int, most: int, profile: ModelProfile) -> None:
    if type(value) is not int or not least <= value <= most:
        raise _invalid(name, value, f"{least} to {most}", profile)


def _check_svg(svg: object, profile: ModelProfile) -> None:
    """Check the known fields of ``svg``. Unknown fields are left to the server."""
    fields = svg if is_object(svg) else {}
    value = fields.get("reasoning")
    reasoning = value if is_object(value) else {}
    if not is_object(svg) or not isinstance(fields.get("model", ""), str) or value not in (None, reasoning):
        raise _invalid("svg", svg, 'such as {"model": "...", "reasoning": {"effort": "low"}}', profile)
    effort = reasoning.get("effort")
    if effort is not None and effort not in catalog.SVG_EFFORTS:
        raise _invalid("svg", svg, f"a reasoning effort of {_one_of(catalog.SVG_EFFORTS)}", profile)


def _check_stream(job: Job, profile: ModelProfile, *, stream: bool) -> None:
    if isinstance(job, Variation):
        return
    if not stream:
        if job.partial_images:
            method = Remedy.USE_STREAM.of("edit_stream" if isinstance(job, Edit) else "generate_stream")
            allowed = "not given without a stream"
            raise _invalid("partial_images", job.partial_images, allowed, profile, method)
        return
    if profile.streams is None:
        return
    if not profile.streams:
        other = Remedy.USE_MODEL.of(catalog.OPENAI_GENERATE_MODEL)
        raise _invalid("model", profile.name, "a model that streams", profile, other)
    if job.n is not None and job.n > 1:
        raise _invalid("n", job.n, "1 in a stream", profile)
    if job.output_format in _NOT_WITH:
        raise _invalid("output_format", job.output_format, "png, jpeg or webp in a stream", profile)


def _hint(name: str) -> str:
    if name in _HINTS:
        return _HINTS[name]
    able = (other.name for other in models.known() if name in other.accepted and other.shut_down is None)
    return f" ({first} does)" if (first := next(able, None)) else ""


def _one_of(values: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))


def _invalid(
    param: str, value: object, allowed: str, profile: ModelProfile, *remedies: Remedy, described: bool = False
) -> InvalidRequestError:
    remedies, shown = (*remedies, Remedy.SKIP_CHECK), str(value) if described else None
    return InvalidRequestError.for_parameter(
        param, value, allowed=allowed, model=profile.name, remedies=remedies, shown=shown
    )

"""What is refused before a byte is sent: the check of a job against the profile of its model.

Pure functions. They raise :class:`~imagesdk.errors.InvalidRequestError` naming the parameter, the value and what is
allowed. The rules themselves are data, in :mod:`imagesdk.models`. Pictures are checked in ``picture_checks.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import attrs

from imagesdk import models
from imagesdk._protocol.json_values import is_object
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models import ModelProfile, catalog
from imagesdk.models.sizes import parse_size

PICTURES = frozenset({"image", "mask", "markup"})
"""Parameters that are pictures."""

_ENDPOINTS: Mapping[type[Job], tuple[str, str]] = {
    Generate: ("generations", "makes pictures from a prompt alone"),
    Edit: ("edits", "edits pictures"),
    Variation: ("variations", "makes variations"),
}
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
    "response_format": ": it always answers with the picture itself",
    "style": ": describe the style in the prompt",
    "input_fidelity": ": it always keeps what the pictures show",
}


def check_shape(job: Job) -> None:
    """Refuse what no server could read: a prompt that is not text, an ``n`` that is not a count."""
    prompt = cast("object", "" if isinstance(job, Variation) else job.prompt)
    if not isinstance(prompt, str):
        raise refused("prompt", prompt, "a text")
    for name, value in attrs.asdict(job, recurse=False).items():
        if isinstance(value, str) and name not in PICTURES:
            check_text(name, value)
    if job.n is not None and (type(job.n) is not int or job.n < 1):
        raise refused("n", job.n, "a whole number of at least 1")


def check_parameters(job: Job, profile: ModelProfile, *, stream: bool = False) -> None:
    """Refuse what the profile of the job's model rules out; ``stream`` says whether the answer is to be a stream."""
    _check_endpoint(job, profile)
    if not isinstance(job, Variation):
        _check_prompt(job.prompt, profile)
    if job.n is not None and profile.max_n is not None and job.n > profile.max_n:
        raise refused("n", job.n, f"1 to {profile.max_n}" if profile.max_n > 1 else "1", profile)
    if job.size is not None:
        _check_size(job.size, getattr(job, "output_format", None), profile)
    for name in sorted(profile.rejected):
        if getattr(job, name, None) is not None:
            raise InvalidRequestError(
                f"{profile.name} takes no {name}{_hint(name)}. Leave it out, or pass check=False.",
                param=name,
                value=getattr(job, name),
                allowed="not given",
            )
    for name, attribute in _LISTS.items():
        value, allowed = getattr(job, name, None), getattr(profile, attribute)
        if value is not None and allowed and value not in allowed:
            raise refused(name, value, _one_of(allowed), profile)
    _check_output(job, profile)
    _check_values(job, profile)
    _check_stream(job, profile, stream=stream)


def check_text(name: str, text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise refused(name, "a text with half a character", "a text without lone surrogates")
    return text


def _check_prompt(prompt: str, profile: ModelProfile) -> None:
    if not prompt.strip():
        raise refused("prompt", prompt, "a description of the picture", profile)
    if profile.prompt_length is not None and len(prompt) > profile.prompt_length:
        raise InvalidRequestError(
            f"prompt has {len(prompt)} characters; {profile.name} takes 1 to {profile.prompt_length}.",
            param="prompt",
            value=f"{len(prompt)} characters",
            allowed=f"1 to {profile.prompt_length} characters",
        )


def _check_endpoint(job: Job, profile: ModelProfile) -> None:
    endpoint, does = _ENDPOINTS[type(job)]
    if not profile.endpoints or endpoint in profile.endpoints:
        return
    able = [other for other in models.known() if endpoint in other.endpoints]
    able.sort(key=lambda other: (other.shut_down is not None, other.name != catalog.OPENAI_EDIT_MODEL))
    allowed = f"a model that {does}" + (f", such as {able[0].name}" if able else "")
    if isinstance(job, Variation):
        allowed += ", or images.edit() with a prompt"
    raise refused("model", profile.name, allowed, profile)


def _check_size(size: object, output_format: str | None, profile: ModelProfile) -> None:
    if not profile.sizes or size in profile.sizes:
        return
    rule, found = profile.size_rule, parse_size(size)
    if rule is None:
        raise refused("size", size, _one_of(profile.sizes), profile)
    listed = f"{_one_of(profile.sizes)}, or a free size"
    if found is None:
        raise refused("size", size, f"{listed}: a size is written WIDTHxHEIGHT", profile)
    if output_format == "gif":
        if problem := rule.frame_problem(*found):
            raise refused("size", size, f"{listed}: {problem}", profile)
    elif problem := rule.problem(*found):
        nearest = models.nearest_size(*found, profile)
        raise refused("size", size, f"{listed}: {problem}; the nearest is {nearest}", profile)


def _check_output(job: Job, profile: ModelProfile) -> None:
    """Check what goes together, where the model has formats of output at all."""
    if isinstance(job, Variation) or not profile.output_formats:
        return
    output = job.output_format or profile.output_formats[0]
    for name, only in _ONLY_WITH.items():
        if getattr(job, name) is not None and output != only:
            raise refused(
                name,
                getattr(job, name),
                f'not given with {output}, only with output_format="{only}"',
                profile,
            )
    if job.output_compression is not None:
        _check_number("output_compression", job.output_compression, *catalog.COMPRESSION, profile)
        if output not in _COMPRESSED:
            allowed = f"not given with {output}, only with {_one_of(_COMPRESSED)}"
            raise refused("output_compression", job.output_compression, allowed, profile)
    for name in _NOT_WITH.get(output, ()):
        if getattr(job, name, None) not in (None, 0):
            raise refused(name, _shown(job, name), f'not given with output_format="{output}"', profile)
    if job.background == "transparent" and output == "jpeg":
        raise refused("background", "transparent", 'opaque or auto with output_format="jpeg"', profile)
    if output == "svg" and job.n is not None and job.n > 1:
        raise refused("n", job.n, '1 with output_format="svg"', profile)
    if isinstance(job, Edit) and job.mask is not None and job.markup is not None:
        raise refused("markup", _shown(job, "markup"), "not given with a mask: one of the two", profile)


def _check_values(job: Job, profile: ModelProfile) -> None:
    """Check the values that the API itself limits, of parameters that the model takes."""
    for name, (least, most) in _NUMBERS.items():
        value = getattr(job, name, None)
        if value is not None and name in profile.accepted:
            _check_number(name, value, least, most, profile)
    svg = getattr(job, "svg", None)
    if svg is not None and "svg" in profile.accepted:
        _check_svg(svg, profile)
    for name, longest in (("safety_identifier", catalog.MAX_SAFETY_IDENTIFIER), ("user", None)):
        value = getattr(job, name, None)
        if value is None or name not in profile.accepted:
            continue
        if not isinstance(value, str):
            raise refused(name, value, "a text", profile)
        if longest is not None and len(value) > longest:
            raise refused(name, f"{len(value)} characters", f"at most {longest} characters", profile)


def _check_number(name: str, value: object, least: int, most: int, profile: ModelProfile) -> None:
    if type(value) is not int or not least <= value <= most:
        raise refused(name, value, f"{least} to {most}", profile)


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
        raise refused("svg", svg, 'such as {"model": "...", "reasoning": {"effort": "low"}}', profile)
    effort = reasoning.get("effort")
    if effort is not None and effort not in catalog.SVG_EFFORTS:
        raise refused("svg", svg, f"a reasoning effort of {_one_of(catalog.SVG_EFFORTS)}", profile)


def _check_stream(job: Job, profile: ModelProfile, *, stream: bool) -> None:
    if isinstance(job, Variation):
        return
    if not stream:
        if job.partial_images:
            called = "edit_stream" if isinstance(job, Edit) else "generate_stream"
            allowed = f"not given without a stream: images.{called}() or images.stream() shows partial images"
            raise refused("partial_images", job.partial_images, allowed, profile)
        return
    if profile.streams is None:
        return
    if not profile.streams:
        raise refused("model", profile.name, "a model that streams, such as gpt-image-2", profile)
    if job.n is not None and job.n > 1:
        raise refused("n", job.n, "1 in a stream", profile)
    if job.output_format in _NOT_WITH:
        raise refused("output_format", job.output_format, "png, jpeg or webp in a stream", profile)


def _hint(name: str) -> str:
    if name in _HINTS:
        return _HINTS[name]
    able = [
        profile.name for profile in models.known() if name in profile.accepted and profile.shut_down is None
    ]
    return f" ({able[0]} does)" if able else ""


def _shown(job: Job, name: str) -> object:
    """Return a value for a message: a picture is not printed."""
    return "given (a picture)" if name in PICTURES else getattr(job, name)


def _one_of(values: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))


def refused(
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

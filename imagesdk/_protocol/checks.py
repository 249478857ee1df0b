"""What is refused before a byte is sent: the check of a job against the profile of its model.

Pure functions. They raise :class:`~imagesdk.errors.InvalidRequestError` naming the parameter, the value and what is
allowed. The rules themselves are data, in :mod:`imagesdk.models`. Pictures are checked in ``picture_checks.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

import attrs

from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Job, Variation
from imagesdk.models import ModelProfile

PICTURES = frozenset({"image", "mask", "markup"})
"""Parameters that are pictures."""

_SIZE = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


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


def check_parameters(job: Job, profile: ModelProfile) -> None:
    """Refuse what the profile of the job's model rules out."""
    if not isinstance(job, Variation):
        _check_prompt(job.prompt, profile)
    elif profile.variation is None:
        raise refused("model", profile.name, "a model that makes variations (dall-e-2)", profile)
    if job.n is not None and profile.max_n is not None and job.n > profile.max_n:
        raise refused("n", job.n, f"1 to {profile.max_n}", profile)
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
            raise refused(name, value, _one_of(allowed), profile)
    _check_output(job, profile)


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


def _check_size(size: object, profile: ModelProfile) -> None:
    if not profile.sizes or size in profile.sizes:
        return
    rule, found = profile.size_rule, _SIZE.fullmatch(size) if isinstance(size, str) else None
    if rule is None:
        raise refused("size", size, _one_of(profile.sizes), profile)
    problem = rule.problem(int(found[1]), int(found[2])) if found else "a size is written WIDTHxHEIGHT"
    if problem:
        raise refused("size", size, f"{_one_of(profile.sizes)}, or a free size: {problem}", profile)


def _check_output(job: Job, profile: ModelProfile) -> None:
    if isinstance(job, Variation):
        return
    compression, output = job.output_compression, job.output_format or "png"
    if compression is not None and "output_compression" not in profile.rejected and profile.output_formats:
        if type(compression) is not int or not 0 <= compression <= 100:
            raise refused("output_compression", compression, "0 to 100", profile)
        if output == "png":
            raise refused(
                "output_compression", compression, "not given with png, only with jpeg or webp", profile
            )
    if job.background == "transparent" and output == "jpeg":
        raise refused("background", "transparent", 'opaque or auto with output_format="jpeg"', profile)


def _hint(name: str, profile: ModelProfile) -> str:
    return ": it always answers with the picture itself" if name == "response_format" else ""


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

"""Table of models: their parameters, uploads and responses. Each entry of :data:`MODELS` is one model.

The table shares nothing with the client's checks, so that a test of one against the other proves something.
Only the names of snapshots and the release and shutdown dates come from the catalog, which cites their
sources.

Sources: the Images API reference of 2023 (dall-e-2); the types and the change log of openai-python 3.57.0,
and OpenAI's image guide (all others).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal, TypeAlias

from attrs import evolve, field, frozen

from imagesdk.emulator.parameters import (
    Author,
    Check,
    Choice,
    Flag,
    FreeSize,
    Integer,
    OnlyOne,
    Parameter,
    Text,
    Unsupported,
)
from imagesdk.models import catalog as facts
from imagesdk.models.profile import ModelProfile

__all__ = ["MARKUP_SINCE", "MODELS", "Endpoint", "Model", "UploadRule", "models_on"]

Endpoint: TypeAlias = Literal["generations", "edits", "variations"]
Parameters: TypeAlias = Mapping[str, Parameter]

_MIB = 1024 * 1024


@frozen
class UploadRule:
    """Rules for the images of a request."""

    media_types: tuple[str, ...]
    max_bytes: int
    """Exclusive upper bound of the size of a file."""
    max_images: int = 1
    mask: bool = False
    markup: bool = False
    square: bool = False
    alpha_without_mask: bool = False
    references: bool = False
    """Whether JSON may reference images by URL or file id."""


@frozen(kw_only=True)
class Model:
    """Model: its dates, parameters and responses."""

    profile: ModelProfile
    """Source of names and dates alone."""
    parameters: Mapping[Endpoint, Parameters]
    """Those by endpoint. A missing endpoint does not serve the model."""
    uploads: Mapping[Endpoint, UploadRule] = field(factory=dict[Endpoint, UploadRule])
    tokens: bool = False
    """Whether responses contain usage and settings (the GPT Image family)."""
    auto_quality: str = "medium"
    revises: bool = False
    """Whether responses contain a revised prompt."""

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.profile.name

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the model and those of its snapshots."""
        return self.profile.name, *self.profile.snapshots

    def serves_on(self, day: date | None) -> bool:
        """Return whether the model is served on a day. ``None`` serves every model."""
        released, shut_down = self.profile.released or date.min, self.profile.shut_down
        return day is None or (released <= day and (shut_down is None or day < shut_down))

    def is_gone_on(self, day: date | None) -> bool:
        """Return whether the model has been shut down by a day."""
        shut_down = self.profile.shut_down
        return day is not None and shut_down is not None and shut_down <= day


_STREAMS_SINCE = date(2025, 7, 16)
"""openai-python 1.97.0, as ``input_fidelity``: https://github.com/openai/openai-cookbook/pull/1951"""
_IDENTIFIERS_SINCE = date(2026, 10, 16)  # openai-python 3.33.0
MARKUP_SINCE = date(2026, 10, 31)
"""openai-python 3.42.0."""
_PLANNING_SINCE = date(2026, 11, 5)  # openai-python 3.46.0

_N = Parameter(Integer(1, 10), default=1)
_USER = Parameter(Text(minimum=0))
_RESPONSE_FORMAT = Parameter(Choice(("url", "b64_json")), default="url")

_DALL_E_2_OUTPUT: Parameters = {
    "n": _N,
    "size": Parameter(Choice(("256x256", "512x512", "1024x1024")), default="1024x1024"),
    "response_format": _RESPONSE_FORMAT,
    "user": _USER,
}
_DALL_E_2_PROMPT = Parameter(Text(1000), required=True)
# Since GPT Image models came, users report "Unknown parameter: 'quality'.":
# https://github.com/JPhilipp/powerdalle/pull/9, https://github.com/langchain-ai/langchain-community/issues/106
_STANDARD = Parameter(
    Choice(("standard",)), default="standard", since=date(2023, 11, 6), until=facts.GPT_IMAGE_1.released
)

_DALL_E_2 = Model(
    profile=facts.DALL_E_2,
    parameters={
        "generations": {"prompt": _DALL_E_2_PROMPT, **_DALL_E_2_OUTPUT, "quality": _STANDARD},
        "edits": {"prompt": _DALL_E_2_PROMPT, **_DALL_E_2_OUTPUT, "quality": _STANDARD},
        "variations": _DALL_E_2_OUTPUT,
    },
    uploads={
        "edits": UploadRule(("image/png",), 4 * _MIB, mask=True, square=True, alpha_without_mask=True),
        "variations": UploadRule(("image/png",), 4 * _MIB, square=True),
    },
)

_DALL_E_3 = Model(
    profile=facts.DALL_E_3,
    parameters={
        "generations": {
            "prompt": Parameter(Text(4000), required=True),
            "n": Parameter(OnlyOne(), default=1),
            "size": Parameter(Choice(("1024x1024", "1024x1792", "1792x1024")), default="1024x1024"),
            "quality": Parameter(Choice(("standard", "hd")), default="standard"),
            "style": Parameter(Choice(("vivid", "natural")), default="vivid"),
            "response_format": _RESPONSE_FORMAT,
            "user": _USER,
        }
    },
    revises=True,
)

_FIXED_SIZES = Choice(("1024x1024", "1024x1536", "1536x1024", "auto"))
_QUALITIES = ("low", "medium", "high", "auto")
_FINE_QUALITIES = ("low", "medium", "high", "xhigh", "max", "auto")
_FORMATS = ("png", "jpeg", "webp")
_MODERATION = Choice(("low", "auto"))
_FIDELITY = Choice(("high", "low"))
_FIDELITY_CODE = "invalid_input_fidelity_model"


def _gpt(
    *,
    size: Check,
    qualities: tuple[str, ...] = _QUALITIES,
    formats: tuple[str, ...] = _FORMATS,
    fidelity: Check,
    more: Parameters | None = None,
) -> Mapping[Endpoint, Parameters]:
    """Return the parameters of a GPT Image model by endpoint."""
    shared: Parameters = {
        "prompt": Parameter(Text(32_000), required=True),
        "n": _N,
        "size": Parameter(size, default="auto"),
        "quality": Parameter(Choice(qualities), default="auto"),
        "background": Parameter(Choice(("transparent", "opaque", "auto")), default="auto"),
        "output_format": Parameter(Choice(formats), default="png"),
        "output_compression": Parameter(Integer(0, 100), default=100),
        "stream": Parameter(Flag(), default=False, since=_STREAMS_SINCE),
        "partial_images": Parameter(Integer(0, 3), default=0, since=_STREAMS_SINCE),
        "safety_identifier": Parameter(Text(128, minimum=0), since=_IDENTIFIERS_SINCE),
        "user": _USER,
        **(more or {}),
    }
    return {
        "generations": {**shared, "moderation": Parameter(_MODERATION, default="auto")},
        "edits": {
            **shared,
            "moderation": Parameter(_MODERATION, default="auto", in_forms=False),
            "input_fidelity": Parameter(fidelity, since=_STREAMS_SINCE),
        },
    }


def _no_fidelity(name: str) -> Check:
    return Unsupported(f"The model '{name}' does not support the 'input_fidelity' parameter.", _FIDELITY_CODE)


_GPT_UPLOADS = UploadRule(
    ("image/jpeg", "image/png", "image/webp"), 50 * _MIB, max_images=16, mask=True, references=True
)
_MARKED_UPLOADS = evolve(_GPT_UPLOADS, markup=True)
_ONE = _gpt(size=_FIXED_SIZES, fidelity=_FIDELITY)
_NO_HIGH = "input_fidelity 'high' is only supported for model gpt-image-1."
_MINI = _gpt(size=_FIXED_SIZES, fidelity=Unsupported(_NO_HIGH, _FIDELITY_CODE, but=("low",)))


def _gpt_image(profile: ModelProfile, parameters: Mapping[Endpoint, Parameters]) -> Model:
    return Model(profile=profile, parameters=parameters, uploads={"edits": _GPT_UPLOADS}, tokens=True)


def _two_five(profile: ModelProfile) -> Model:
    parameters = _gpt(size=FreeSize(), qualities=_FINE_QUALITIES, fidelity=_no_fidelity(profile.name))
    return evolve(_gpt_image(profile, parameters), uploads={"edits": _MARKED_UPLOADS})


def _two_six(profile: ModelProfile, auto_quality: str) -> Model:
    parameters = _gpt(
        size=FreeSize(any_area=True),
        qualities=_FINE_QUALITIES,
        formats=(*_FORMATS, "gif", "svg"),
        fidelity=_no_fidelity(profile.name),
        more={
            "complexity": Parameter(Choice(("low", "medium", "high")), since=_PLANNING_SINCE),
            "frame_count": Parameter(Integer(2, 16), since=_PLANNING_SINCE),
            "frame_duration_ms": Parameter(Integer(1, 655_350), since=_PLANNING_SINCE),
            "svg": Parameter(Author(), since=_PLANNING_SINCE),
        },
    )
    uploads: Mapping[Endpoint, UploadRule] = {"edits": _MARKED_UPLOADS}
    return evolve(_gpt_image(profile, parameters), uploads=uploads, auto_quality=auto_quality)


MODELS: tuple[Model, ...] = (
    _DALL_E_2,
    _DALL_E_3,
    _gpt_image(facts.GPT_IMAGE_1, _ONE),
    _gpt_image(facts.GPT_IMAGE_1_MINI, _MINI),
    _gpt_image(facts.GPT_IMAGE_1_5, _ONE),
    _gpt_image(facts.CHATGPT_IMAGE_LATEST, _ONE),
    _gpt_image(facts.GPT_IMAGE_2, _gpt(size=FreeSize(), fidelity=_no_fidelity("gpt-image-2"))),
    _two_five(facts.GPT_IMAGE_2_5_SUNBURST),
    _two_five(facts.GPT_IMAGE_2_5_FLARE),
    # Relays report that the default quality of Sunburst is high: docs.laozhang.ai, 2026-11-05.
    _two_six(facts.GPT_IMAGE_2_6_SUNBURST, "high"),
    _two_six(facts.GPT_IMAGE_2_6_FLARE, "medium"),
)
"""Every model, oldest first."""


def models_on(day: date | None) -> tuple[Model, ...]:
    """Return the models that are served on a day."""
    return tuple(model for model in MODELS if model.serves_on(day))

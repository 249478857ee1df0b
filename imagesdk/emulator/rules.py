"""What each model takes, as a table, and the check of a request against it.

These checks are the emulator's own: they share nothing with the client's, so that a test between the two
cannot agree with itself. A model is one entry of :data:`MODELS`; nothing else here knows a model by name but
:func:`default_model`.

Sources: the Images API reference of 2023 (dall-e-2); the types of openai-python 3.54.0 and the maker's image
guide (gpt-image-2); https://platform.openai.com/docs/deprecations for the dates.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal, TypeAlias

from attrs import field, frozen

from imagesdk.emulator.answers import (
    Refusal,
    duplicate_parameter,
    invalid_value,
    missing_parameter,
    model_not_found,
    unknown_parameter,
)
from imagesdk.emulator.parameters import Choice, Flag, FreeSize, Integer, Parameter, Text

__all__ = [
    "MODELS",
    "Ask",
    "Endpoint",
    "Fields",
    "Model",
    "UploadRule",
    "check",
    "default_model",
    "living",
]

Endpoint: TypeAlias = Literal["generations", "edits", "variations"]

_MIB = 1024 * 1024
_MODEL_PARAMETER = "model"


@frozen
class UploadRule:
    """What the pictures sent to an endpoint must be."""

    media_types: tuple[str, ...]
    max_bytes: int
    """A file must be strictly smaller."""
    max_images: int = 1
    mask: bool = False
    """Whether a mask may come with them."""
    square: bool = False
    alpha_without_mask: bool = False


@frozen(kw_only=True)
class Model:
    """One model: when it lived, what it takes, how it answers."""

    name: str
    aliases: tuple[str, ...] = ()
    released: date
    shut_down: date | None = None
    """The first day without it."""
    parameters: Mapping[Endpoint, Mapping[str, Parameter]]
    """By endpoint; an endpoint that is not here does not serve the model."""
    uploads: Mapping[Endpoint, UploadRule] = field(factory=dict[Endpoint, UploadRule])
    tokens: bool = False
    """Whether answers carry usage and the settings that were used (the GPT Image family)."""

    def lives(self, day: date | None) -> bool:
        """Say whether the model answers on a day; ``None`` is a day on which every model does."""
        return day is None or (self.released <= day and (self.shut_down is None or day < self.shut_down))


@frozen
class Fields:
    """A request body taken apart: plain values, and the names of the file parts with their number."""

    values: Mapping[str, list[object]]
    files: Mapping[str, int] = field(factory=dict[str, int])
    form: bool = False


@frozen
class Ask:
    """A request that was checked, with every default filled in."""

    endpoint: Endpoint
    model: Model
    model_name: str
    values: Mapping[str, object]

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter that is a text."""
        value = self.values.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: int) -> int:
        """Return a parameter that is a whole number."""
        value = self.values.get(name)
        return value if isinstance(value, int) else default

    @property
    def streams(self) -> bool:
        """Whether the answer is to come as events."""
        return self.values.get("stream") is True

    @property
    def prompt(self) -> str:
        """The prompt; empty for a variation."""
        return self.text("prompt")

    @property
    def n(self) -> int:
        """How many pictures."""
        return self.number("n", 1)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height; ``auto`` is a square of 1024 pixels."""
        size = self.text("size", "auto")
        if size == "auto":
            return 1024, 1024
        width, _, height = size.partition("x")
        return int(width), int(height)


_N = Parameter(Integer(1, 10), default=1)
_USER = Parameter(Text())
_DALL_E_2_SIZE = Parameter(Choice(("256x256", "512x512", "1024x1024")), default="1024x1024")
_RESPONSE_FORMAT = Parameter(Choice(("url", "b64_json")), default="url")
_DALL_E_2_PICTURE: Mapping[str, Parameter] = {
    "n": _N,
    "size": _DALL_E_2_SIZE,
    "response_format": _RESPONSE_FORMAT,
    "user": _USER,
}
_DALL_E_2_PROMPT = Parameter(Text(1000), required=True)

DALL_E_2 = Model(
    name="dall-e-2",
    released=date(2022, 11, 3),
    shut_down=date(2026, 5, 12),
    parameters={
        "generations": {
            "prompt": _DALL_E_2_PROMPT,
            **_DALL_E_2_PICTURE,
            "quality": Parameter(Choice(("standard",)), default="standard", since=date(2023, 11, 6)),
        },
        "edits": {"prompt": _DALL_E_2_PROMPT, **_DALL_E_2_PICTURE},
        "variations": _DALL_E_2_PICTURE,
    },
    uploads={
        "edits": UploadRule(("image/png",), 4 * _MIB, mask=True, square=True, alpha_without_mask=True),
        "variations": UploadRule(("image/png",), 4 * _MIB, square=True),
    },
)

_GPT_IMAGE_2_PICTURE: Mapping[str, Parameter] = {
    "prompt": Parameter(Text(32_000), required=True),
    "n": _N,
    "size": Parameter(FreeSize(), default="auto"),
    "quality": Parameter(Choice(("low", "medium", "high", "auto")), default="auto"),
    "background": Parameter(Choice(("transparent", "opaque", "auto")), default="auto"),
    "output_format": Parameter(Choice(("png", "jpeg", "webp")), default="png"),
    "output_compression": Parameter(Integer(0, 100), default=100),
    "stream": Parameter(Flag(), default=False),
    "partial_images": Parameter(Integer(0, 3), default=0),
    "safety_identifier": Parameter(Text()),
    "user": _USER,
}

GPT_IMAGE_2 = Model(
    name="gpt-image-2",
    aliases=("gpt-image-2-2026-04-21",),
    released=date(2026, 4, 21),
    parameters={
        "generations": {
            **_GPT_IMAGE_2_PICTURE,
            "moderation": Parameter(Choice(("low", "auto")), default="auto"),
        },
        "edits": _GPT_IMAGE_2_PICTURE,
    },
    uploads={
        "edits": UploadRule(("image/jpeg", "image/png", "image/webp"), 50 * _MIB, max_images=16, mask=True)
    },
    tokens=True,
)

MODELS: tuple[Model, ...] = (DALL_E_2, GPT_IMAGE_2)
"""Every model of the emulator, oldest first."""


def living(day: date | None) -> tuple[Model, ...]:
    """Return the models that answer on a day."""
    return tuple(model for model in MODELS if model.lives(day))


def default_model(endpoint: Endpoint, day: date | None) -> str:
    """Return the model of a request that names none.

    While dall-e-2 lived it was the default everywhere; with no date given, the newest model is.
    """
    if endpoint == "variations" or (
        day is not None and DALL_E_2.shut_down is not None and day < DALL_E_2.shut_down
    ):
        return DALL_E_2.name
    return GPT_IMAGE_2.name


def check(endpoint: Endpoint, fields: Fields, day: date | None) -> Ask:
    """Return the request with its defaults, or raise the :class:`Refusal` that the API would answer with."""
    for name in (*fields.values, *fields.files):
        given = len(fields.values.get(name, [])) + fields.files.get(name, 0)
        if given > 1 and not name.endswith("[]"):
            raise duplicate_parameter(name)
    name = _model_name(endpoint, fields, day)
    model = next((model for model in living(day) if name in {model.name, *model.aliases}), None)
    if model is None:
        raise model_not_found(name)
    parameters = model.parameters.get(endpoint)
    if parameters is None:
        raise invalid_value(
            _MODEL_PARAMETER, name, [other.name for other in living(day) if endpoint in other.parameters]
        )
    parameters = {
        name: parameter
        for name, parameter in parameters.items()
        if day is None or parameter.since is None or day >= parameter.since
    }
    uploads = model.uploads.get(endpoint)
    _refuse_unknown(fields, parameters, uploads)
    values = {name: _value(name, parameter, fields) for name, parameter in parameters.items()}
    _refuse_combinations(values)
    return Ask(endpoint=endpoint, model=model, model_name=name, values=values)


def _model_name(endpoint: Endpoint, fields: Fields, day: date | None) -> str:
    value = fields.values.get(_MODEL_PARAMETER, [None])[0]
    if value is None:
        return default_model(endpoint, day)
    return Text().read(_MODEL_PARAMETER, value, form=fields.form)


def _refuse_unknown(fields: Fields, parameters: Mapping[str, Parameter], uploads: UploadRule | None) -> None:
    parts: set[str] = set()
    if uploads is not None:
        parts = {"image", "image[]", *(("mask",) if uploads.mask else ())}
    for name in fields.values:
        if name not in parameters and name not in parts and name != _MODEL_PARAMETER:
            raise unknown_parameter(name)
    for name in fields.files:
        if name not in parts:
            if name in parameters or name == _MODEL_PARAMETER:
                raise Refusal(
                    f"Invalid type for '{name}': expected a string, but got a file instead.",
                    param=name,
                    code="invalid_type",
                )
            raise unknown_parameter(name)


def _value(name: str, parameter: Parameter, fields: Fields) -> object:
    value = fields.values.get(name, [None])[0]
    if value is None:
        if parameter.required:
            raise missing_parameter(name)
        return parameter.default
    return parameter.check.read(name, value, form=fields.form)


def _refuse_combinations(values: Mapping[str, object]) -> None:
    if values.get("stream") is True and values.get("n") != 1:
        raise Refusal(
            "Streaming is only supported with n=1.",
            type="image_generation_user_error",
            param="input",
            code="unsupported_parameter",
        )
    output_format = values.get("output_format", "png")
    if values.get("background") == "transparent" and output_format == "jpeg":
        raise Refusal(
            "Transparent background is not supported for JPEG output format.",
            type="image_generation_user_error",
            param="background",
            code="invalid_value",
        )
    if values.get("output_compression", 100) != 100 and output_format == "png":
        raise Refusal(
            "Compression less than 100 is not supported for PNG output format.",
            type="image_generation_user_error",
            param="output_compression",
            code="invalid_png_output_compression",
        )

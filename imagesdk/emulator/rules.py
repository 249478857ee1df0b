"""Check of a request against the table in ``models``. ``parameters`` checks the single values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import cast

from attrs import evolve, field, frozen

from imagesdk.emulator.answers import (
    duplicate_parameter,
    invalid_type,
    invalid_value,
    missing_parameter,
    model_not_found,
    mutually_exclusive,
    unknown_parameter,
    unsupported,
)
from imagesdk.emulator.models import MARKUP_SINCE, MODELS, Endpoint, Model, UploadRule, models_on
from imagesdk.emulator.parameters import Parameter, Text, check_area
from imagesdk.models import catalog as facts

__all__ = [
    "CheckedRequest",
    "Fields",
    "check",
    "default_model",
    "image_parts",
    "known_parameters",
    "variations_are_over",
]

_NEWER_EDITS_SINCE = date(2026, 10, 6)
_GIF_EDGE = 720
"""Edge in pixels of a frame of size ``auto``: the largest square that every number of frames allows."""
_ANIMATION = ("frame_count", "frame_duration_ms")


@frozen
class Fields:
    """Parsed request body: plain values, and the number of file parts by name."""

    values: Mapping[str, list[object]]
    files: Mapping[str, int] = field(factory=dict[str, int])
    form: bool = False

    def first(self, name: str) -> object:
        """Return the value of a field, or ``None`` if it is missing."""
        return self.values.get(name, [None])[0]

    def has(self, name: str) -> bool:
        """Return whether the request has an image under a name."""
        return name in self.files or self.first(name) is not None


@frozen
class CheckedRequest:
    """Checked request with its defaults."""

    endpoint: Endpoint
    model: Model
    model_name: str
    values: Mapping[str, object]

    def text(self, name: str, default: str = "") -> str:
        """Return a string parameter."""
        value = self.values.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: int) -> int:
        """Return an integer parameter."""
        value = self.values.get(name)
        return value if isinstance(value, int) else default

    @property
    def streams(self) -> bool:
        """Whether the response is a stream of events."""
        return self.values.get("stream") is True

    @property
    def prompt(self) -> str:
        """The prompt. It is empty for a variation."""
        return self.text("prompt")

    @property
    def n(self) -> int:
        """Number of images."""
        return self.number("n", 1)

    @property
    def output_format(self) -> str:
        """Format of the images."""
        return self.text("output_format", "png")

    @property
    def quality(self) -> str:
        """The requested quality, or the one that ``auto`` means."""
        quality = self.text("quality", "auto")
        return self.model.auto_quality if quality == "auto" else quality

    @property
    def transparent(self) -> bool:
        """Whether the background is transparent."""
        return self.text("background") == "transparent"

    @property
    def safety_identifier(self) -> str:
        """The ``safety_identifier``, or the ``user`` if there is none."""
        return self.text("safety_identifier") or self.text("user")

    @property
    def author(self) -> Mapping[str, str]:
        """Model and effort of the author of an SVG, if given."""
        value = self.values.get("svg")
        return cast("Mapping[str, str]", value) if isinstance(value, Mapping) else {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height. ``auto`` is a square of 1024 pixels, and a smaller one for an animation."""
        size = self.text("size", "auto")
        if size == "auto":
            edge = _GIF_EDGE if self.output_format == "gif" else 1024
            return edge, edge
        width, _, height = size.partition("x")
        return int(width), int(height)


def variations_are_over(day: date | None) -> bool:
    """Return whether the endpoint of variations has been shut down by a day."""
    end = facts.DALL_E_2.shut_down
    return day is not None and end is not None and day >= end


def default_model(endpoint: Endpoint, fields: Fields, day: date | None) -> str:
    """Return the model of a request that names none.

    While dall-e-2 was served it was the default everywhere, unless a request used a parameter that only GPT
    Image models have (https://github.com/openai/openai-openapi, as of 2026-08). Users reported the later
    defaults of edits. For generations, gpt-image-2 is assumed. Without a date it is gpt-image-2.
    """
    if endpoint == "variations":
        return facts.DALL_E_2.name
    if day is None:
        return facts.GPT_IMAGE_2.name
    if not variations_are_over(day):
        first = next((model for model in models_on(day) if model.tokens), None)
        if first is not None and _only_for(first, endpoint, fields, day):
            return first.name
        return facts.DALL_E_2.name
    if endpoint == "generations":
        return facts.GPT_IMAGE_2.name
    return (facts.GPT_IMAGE_2_5_SUNBURST if day >= _NEWER_EDITS_SINCE else facts.GPT_IMAGE_1_5).name


def check(endpoint: Endpoint, fields: Fields, day: date | None) -> CheckedRequest:
    """Return the checked request with its defaults, or raise :class:`~imagesdk.emulator.answers.Refusal`."""
    for name in (*fields.values, *fields.files):
        count = len(fields.values.get(name, [])) + fields.files.get(name, 0)
        if count > 1 and not name.endswith("[]"):
            raise duplicate_parameter(name)
    fields = _nested_svg(fields)
    name = default_model(endpoint, fields, day)
    if (given := fields.first("model")) is not None:
        name = Text().read("model", given, form=fields.form)
    model = next((model for model in models_on(day) if name in model.names), None)
    if model is None and any(name in gone.names for gone in MODELS if gone.is_gone_on(day)):
        raise unsupported("model", f"The model '{name}' does not exist.", "invalid_value")
    if model is None:
        raise model_not_found(name)
    if endpoint not in model.parameters:
        others = [other.name for other in models_on(day) if endpoint in other.parameters]
        raise invalid_value("model", name, others)
    parameters = known_parameters(model, endpoint, day, form=fields.form)
    no_stream = fields.first("stream") == "false" if fields.form else fields.first("stream") is False
    if "stream" not in parameters and no_stream:
        # A model that never streams accepts a request for no stream.
        fields = evolve(
            fields, values={key: value for key, value in fields.values.items() if key != "stream"}
        )
    uploads = model.uploads.get(endpoint)
    _refuse_unknown(fields, parameters, image_parts(uploads, day, form=fields.form))
    values = {name: _value(name, parameter, fields) for name, parameter in parameters.items()}
    checked = CheckedRequest(endpoint=endpoint, model=model, model_name=name, values=values)
    if model.tokens:
        _refuse_combinations(checked, fields)
    return checked


def _nested_svg(fields: Fields) -> Fields:
    """Return the fields with ``svg[model]`` and ``svg[reasoning][effort]`` as one object."""
    values = dict(fields.values)
    model, effort = values.pop("svg[model]", None), values.pop("svg[reasoning][effort]", None)
    author: dict[str, object] = {}
    if model is not None:
        author["model"] = model[0]
    if effort is not None:
        author["reasoning"] = {"effort": effort[0]}
    return evolve(fields, values={**values, "svg": [author]}) if fields.form and author else fields


def _only_for(model: Model, endpoint: Endpoint, fields: Fields, day: date) -> bool:
    """Return whether a request uses a parameter that the model has and dall-e-2 lacks."""
    theirs = known_parameters(model, endpoint, day, form=fields.form)
    old = next(other for other in models_on(day) if not other.tokens).parameters.get(endpoint, {})
    return any(name in theirs and name not in old for name in fields.values)


def known_parameters(
    model: Model, endpoint: Endpoint, day: date | None, *, form: bool
) -> Mapping[str, Parameter]:
    """Return the parameters of a model that the API knows on a day."""
    return {
        name: parameter
        for name, parameter in model.parameters.get(endpoint, {}).items()
        if parameter.known_on(day) and (parameter.in_forms or not form)
    }


def image_parts(uploads: UploadRule | None, day: date | None, *, form: bool) -> set[str]:
    """Return the names under which a request may send images."""
    if uploads is None or not (form or uploads.references):
        return set()
    names = {"image", "image[]"} if form else {"images"}
    if uploads.mask:
        names.add("mask")
    if uploads.markup and (day is None or day >= MARKUP_SINCE):
        names.add("markup")
    return names


def _refuse_unknown(fields: Fields, parameters: Mapping[str, Parameter], parts: set[str]) -> None:
    known = {*parameters, "model"}
    for name in fields.values:
        if name not in known | parts:
            raise unknown_parameter(name)
    for name in fields.files:
        if name not in parts:
            raise invalid_type(name, "a string", None) if name in known else unknown_parameter(name)


def _value(name: str, parameter: Parameter, fields: Fields) -> object:
    value = fields.first(name)
    if value is None and parameter.required:
        raise missing_parameter(name)
    return parameter.default if value is None else parameter.check.read(name, value, form=fields.form)


def _refuse_combinations(checked: CheckedRequest, fields: Fields) -> None:
    output_format = checked.output_format
    shown = output_format.upper()
    gif, svg = output_format == "gif", output_format == "svg"
    if checked.streams and checked.n != 1:
        raise unsupported("input", "Streaming is only supported with n=1.")
    if fields.has("mask") and fields.has("markup"):
        raise mutually_exclusive("mask", "markup")
    if checked.transparent and output_format not in {"png", "webp"}:
        text = f"Transparent background is not supported for {shown} output format."
        raise unsupported("background", text, "invalid_value")
    if checked.number("output_compression", 100) != 100 and output_format not in {"jpeg", "webp"}:
        text = f"Compression less than 100 is not supported for {shown} output format."
        raise unsupported("output_compression", text, f"invalid_{output_format}_output_compression")
    frames = [name for name in _ANIMATION if checked.values.get(name) is not None]
    if frames and not gif:
        raise unsupported(frames[0], f"'{frames[0]}' is only supported with output_format=gif.")
    if checked.author and not svg:
        raise unsupported("svg", "'svg' is only supported with output_format=svg.")
    for name, what in (("stream", "Streaming is"), ("partial_images", "Partial images are")):
        if (gif or svg) and checked.values.get(name):
            raise unsupported(name, f"{what} not supported for {shown} output format.")
    if gif and fields.has("mask"):
        raise unsupported("mask", "A mask is not supported for GIF output format.")
    if svg and checked.n != 1:
        raise unsupported("n", "SVG output is only supported with n=1.")
    if "x" in checked.text("size"):
        check_area(checked.text("size"), checked.number("frame_count", 9) if gif else 1)

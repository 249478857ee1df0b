"""Parameters of the API as options of the commands, and their conversion to parameters of a job."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

_IMAGES = "the images"
_FORMATS = "animations and vector graphics (GPT Image 2.6)"
_REQUEST = "the request"


class Option(NamedTuple):
    """An option of the command line for a parameter of the API."""

    flag: str
    help: str
    commands: frozenset[str]
    group: str
    metavar: str | None = None
    type: Callable[[str], Any] = str

    @property
    def name(self) -> str:
        """The name of the parameter in a job, and of the attribute in the parsed options."""
        return self.flag.lstrip("-").replace("-", "_")


_ALL = frozenset({"generate", "edit", "vary", "batch", "cost"})
_PROMPTED = _ALL - {"vary"}
_GENERATING = _PROMPTED - {"cost"}
_EDITING = _PROMPTED - {"generate"}

OPTIONS: Final = (
    Option("--model", "such as gpt-image-2; see: imagesdk models", _ALL, _IMAGES),
    Option("-n", "number of images, 1 to 10 (default: 1)", _ALL, _IMAGES, "N", int),
    Option("--size", "such as 1024x1024 or auto; smaller is faster", _ALL, _IMAGES, "WxH"),
    Option(
        "--quality",
        "low, medium, high, xhigh, max or auto; has the largest effect on the price",
        _PROMPTED,
        _IMAGES,
    ),
    Option("--background", "transparent, opaque or auto", _GENERATING, _IMAGES),
    Option("--output-format", "png, jpeg, webp, gif or svg", _PROMPTED, _IMAGES, "FORMAT"),
    Option("--output-compression", "0 to 100, for jpeg and webp", _GENERATING, _IMAGES, "PERCENT", int),
    Option("--style", "vivid or natural (dall-e-3)", frozenset({"generate", "batch"}), _IMAGES),
    Option("--complexity", "low, medium or high: how much planning the model does", _GENERATING, _IMAGES),
    Option(
        "--input-fidelity", "high or low: how closely faces and details are kept", _EDITING, _IMAGES, "LEVEL"
    ),
    Option("--partial-images", "partial images of a stream, 0 to 3", frozenset({"cost"}), _IMAGES, "N", int),
    Option("--frame-count", "frames of a gif, 2 to 16 (default: 9)", _GENERATING, _FORMATS, "N", int),
    Option(
        "--frame-duration-ms",
        "duration of a frame in milliseconds (default: 200)",
        _GENERATING,
        _FORMATS,
        "MS",
        int,
    ),
    Option("--svg-model", "text model that writes the svg", _GENERATING, _FORMATS, "MODEL"),
    Option(
        "--svg-effort",
        "reasoning effort: none, minimal, low, medium, high, xhigh or max",
        _GENERATING,
        _FORMATS,
        "EFFORT",
    ),
    Option("--moderation", "auto or low: how strict the content filter is", _GENERATING, _REQUEST),
    Option("--response-format", "url or b64_json (dall-e-2, dall-e-3)", _ALL - {"cost"}, _REQUEST, "FORM"),
    Option("--safety-identifier", "id of your end user: a hash, not a name", _GENERATING, _REQUEST, "ID"),
    Option("--user", "id of your end user (deprecated name)", _ALL - {"cost"}, _REQUEST, "ID"),
)
"""All parameters that are words or numbers. Images and prompts are arguments of their commands."""


def add_options(parser: ArgumentParser, command: str) -> None:
    """Add the options of a command to its parser, in groups."""
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        if command in option.commands:
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            facts = {"help": option.help, "metavar": option.metavar, "type": option.type}
            groups[option.group].add_argument(option.flag, **facts)


def job_parameters(options: Namespace) -> Mapping[str, Any]:
    """Return the parameters of a job that the options contain."""
    parameters = {
        option.name: value for option in OPTIONS if (value := getattr(options, option.name, None)) is not None
    }
    model, effort = parameters.pop("svg_model", None), parameters.pop("svg_effort", None)
    if model is not None or effort is not None:
        reasoning = None if effort is None else {"effort": effort}
        svg = {"model": model, "reasoning": reasoning}
        parameters["svg"] = {name: value for name, value in svg.items() if value is not None}
    return parameters

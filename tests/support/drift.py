"""What the types of the official client have that our tables lack: ``python -m tests.support.drift``.

The session ``drift`` runs it on the newest release. A new model, parameter, value or field is one line, for the
emulator's tables and for the catalogue of models. What is known to differ is listed with its reason, and a reason
that no longer applies is one line too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from attrs import frozen
from PIL import Image

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.drawing.painting import Painting
from imagesdk.emulator.files import PURPOSES
from imagesdk.emulator.models import MODELS, Endpoint
from imagesdk.emulator.openapi_schemas import schemas_on
from imagesdk.emulator.parameters import EFFORTS, Choice
from imagesdk.emulator.rules import Fields, check, image_parts
from imagesdk.emulator.uploads import InputImages
from imagesdk.models import catalog
from imagesdk.models.profile import ModelProfile

Facts: TypeAlias = Mapping[str, frozenset[str]]
"""Sets of names by what they are names of."""

PARAMS: Mapping[Endpoint, tuple[str, str]] = {
    "generations": ("image_generate_params", "ImageGenerateParamsNonStreaming"),
    "edits": ("image_edit_params", "ImageEditParamsNonStreaming"),
    "variations": ("image_create_variation_params", "ImageCreateVariationParams"),
}
FIELDS: Mapping[str, tuple[str, str]] = {
    "ImagesResponse": ("images_response", "ImagesResponse"),
    "Image": ("image", "Image"),
    "File": ("file_object", "FileObject"),
    "Batch": ("batch", "Batch"),
    "ProvenanceCheck": ("content_provenance_check", "ContentProvenanceCheck"),
}
USAGE: Mapping[str, str] = {"usage": "Usage", "svg_usage": "SvgUsage"}
"""Parts of ``ImagesResponse``, and their types."""
EVENTS: Mapping[str, tuple[str, str]] = {
    "image_generation.partial_image": ("image_gen_partial_image_event", "ImageGenPartialImageEvent"),
    "image_generation.completed": ("image_gen_completed_event", "ImageGenCompletedEvent"),
    "image_edit.partial_image": ("image_edit_partial_image_event", "ImageEditPartialImageEvent"),
    "image_edit.completed": ("image_edit_completed_event", "ImageEditCompletedEvent"),
}
CATALOGUE: Mapping[str, str] = {
    "quality": "qualities",
    "background": "backgrounds",
    "output_format": "output_formats",
    "response_format": "response_formats",
    "moderation": "moderations",
    "style": "styles",
    "complexity": "complexities",
    "input_fidelity": "input_fidelities",
}
"""Fields of a profile that list the values of a parameter."""
KNOWN: Mapping[tuple[str, str], str] = {
    (
        "models",
        "gpt-image-1.5-2025-12-16",
    ): "a snapshot that the page of the model names, and the type does not",
    ("parameters of edits", "moderation"): "accepted in JSON alone, which the official client does not send",
}
"""Reasons by what the names are of, and a name that only one side has."""


_GENERATIONS: Endpoint = "generations"
_EDITS: Endpoint = "edits"


@frozen
class Finding:
    """A name that only one side has."""

    ours: str
    """The table: ``emulator`` or ``catalogue``."""
    what: str
    name: str
    missing: bool
    """Whether we lack it. If not, the official client lacks it."""

    def __str__(self) -> str:
        verb = "lacks" if self.missing else "has, and the official client lacks,"
        return f"{self.ours} {verb} {self.name!r} of {self.what}"


def compare(ours: Facts, theirs: Facts, table: str) -> list[Finding]:
    """Return what only one side has. Kinds of names that one side does not have are left out."""
    found = [
        Finding(table, what, name, missing=name in theirs[what])
        for what in ours.keys() & theirs.keys()
        for name in ours[what] ^ theirs[what]
    ]
    return sorted(found, key=str)


def outdated(findings: list[Finding], known: Mapping[tuple[str, str], str]) -> list[str]:
    """Return the reasons that no longer apply to any of all ``findings``."""
    differing = {(one.what, one.name) for one in findings}
    return [
        f"{name!r} of {what}: {reason}"
        for (what, name), reason in known.items()
        if (what, name) not in differing
    ]


def literals(annotation: object) -> frozenset[str]:
    """Return every string that a type names as a literal, also inside unions."""
    if get_origin(annotation) is Literal:
        return frozenset(value for value in get_args(annotation) if isinstance(value, str))
    return frozenset[str]().union(*(literals(inner) for inner in get_args(annotation)))


def of_params(endpoint: Endpoint, params: type) -> dict[str, frozenset[str]]:
    """Return the parameters of a ``TypedDict``, and the values of each that names some."""
    hints = get_type_hints(params)
    facts = {f"parameters of {endpoint}": frozenset(hints)}
    return facts | {
        f"{name} of {endpoint}": found
        for name, hint in hints.items()
        if (found := literals(hint)) and name != "model"
    }


def official(package: str = "openai.types") -> dict[str, frozenset[str]]:
    """Return the facts of the official client."""

    def named(module: str, name: str) -> Any:
        return getattr(import_module(f"{package}.{module}"), name)

    facts = {
        "models": literals(named("image_model", "ImageModel")),
        "purposes of files": literals(named("file_purpose", "FilePurpose")),
        "efforts of an SVG": literals(
            get_type_hints(named("image_generate_params", "SvgReasoning"))["effort"]
        ),
    }
    for endpoint, (module, name) in PARAMS.items():
        facts |= of_params(endpoint, named(module, name))
    for what, (module, name) in {**FIELDS, **EVENTS}.items():
        facts[f"fields of {what}"] = frozenset(named(module, name).model_fields)
    for what, name in USAGE.items():
        facts[f"fields of {what}"] = frozenset(named("images_response", name).model_fields)
    return facts


def emulated(theirs: Facts) -> dict[str, frozenset[str]]:
    """Return the facts of the emulator. Sizes are those of ``theirs`` that it accepts, as it accepts many more."""
    schemas = schemas_on(None)
    facts = {
        "models": frozenset(name for model in MODELS for name in model.names),
        "purposes of files": frozenset(PURPOSES),
        "efforts of an SVG": frozenset(EFFORTS.values),
    }
    facts |= {f"fields of {what}": frozenset(schemas[what]["properties"]) for what in FIELDS}
    response = schemas["ImagesResponse"]["properties"]
    facts |= {f"fields of {what}": frozenset(response[what]["properties"]) for what in USAGE}
    facts |= {f"fields of {event['type']}": frozenset(event) for event in _events()}
    for endpoint in PARAMS:
        facts[f"parameters of {endpoint}"] = frozenset(_parameters(endpoint))
        for what in theirs:
            name, _, place = what.partition(" of ")
            if place == endpoint and name != "parameters":
                facts[what] = frozenset(_accepted(endpoint, name, theirs[what]))
    return facts


@cache
def _events() -> tuple[Mapping[str, object], ...]:
    values: Mapping[str, object] = {
        "model": "gpt-image-1",
        "prompt": "x",
        "user": "x",
        "stream": True,
        "partial_images": 1,
    }
    fields = Fields({name: [value] for name, value in values.items()})
    inputs = InputImages((Image.new("RGB", (16, 16)),))
    paintings = [Painting(check(one, fields, None), inputs, 0, "req_x", 0) for one in (_GENERATIONS, _EDITS)]
    return tuple(event() for painting in paintings for event in painting.events())


def _parameters(endpoint: Endpoint) -> Iterator[str]:
    yield "model"
    for model in MODELS:
        yield from model.parameters.get(endpoint, {})
        rule = model.uploads.get(endpoint)
        yield from image_parts(rule, None, form=True) - {"image[]"}


def _accepted(endpoint: Endpoint, name: str, candidates: frozenset[str]) -> Iterator[str]:
    """Yield the values of a parameter that some model accepts: those of a choice, and those among ``candidates``."""
    for model in MODELS:
        parameter = model.parameters.get(endpoint, {}).get(name)
        if parameter is None:
            continue
        if isinstance(parameter.check, Choice):
            yield from parameter.check.values
            continue
        for value in candidates:
            try:
                parameter.check.read(name, value, form=False)
            except Refusal:
                continue
            yield value


def catalogued(theirs: Facts) -> dict[str, frozenset[str]]:
    """Return the facts of the catalogue of models."""
    profiles = [value for value in vars(catalog).values() if isinstance(value, ModelProfile)]
    facts = {"models": frozenset(name for profile in profiles for name in (profile.name, *profile.snapshots))}
    for endpoint in PARAMS:
        serving = [profile for profile in profiles if endpoint in profile.endpoints]
        for name, field in CATALOGUE.items():
            if f"{name} of {endpoint}" in theirs:
                values = frozenset(value for profile in serving for value in getattr(profile, field))
                facts[f"{name} of {endpoint}"] = values
    return facts


def report(theirs: Facts, known: Mapping[tuple[str, str], str]) -> list[str]:
    """Return a line for each difference that is not known, and for each known one that is none any more."""
    findings = [
        *compare(emulated(theirs), theirs, "emulator"),
        *compare(catalogued(theirs), theirs, "catalogue"),
    ]
    new = [f"{one}" for one in findings if (one.what, one.name) not in known]
    return new + [f"no longer so: {line}" for line in outdated(findings, known)]


def main() -> int:
    """Print what differs from the installed official client. Return 1 if anything does."""
    lines = report(official(), KNOWN)
    print(
        f"openai {import_module('openai').__version__}: {len(lines) or 'nothing'} new, {len(KNOWN)} known to differ"
    )
    for line in lines:
        print(f"  {line}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

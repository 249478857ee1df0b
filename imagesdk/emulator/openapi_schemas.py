"""JSON schemas of requests and responses. Those of requests are generated from the table in ``models``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import singledispatch
from typing import Any, TypeAlias, get_args

from imagesdk.emulator.batch_input import ENDPOINTS
from imagesdk.emulator.batches import Status
from imagesdk.emulator.files import PURPOSES
from imagesdk.emulator.models import MODELS, Endpoint, Model, UploadRule, models_on
from imagesdk.emulator.parameters import (
    EFFORTS,
    Author,
    Check,
    Choice,
    Flag,
    FreeSize,
    Integer,
    OnlyOne,
    Text,
    Unsupported,
)
from imagesdk.emulator.rules import Fields, default_model, image_parts, known_parameters

__all__ = [
    "batch_schema",
    "Schema",
    "provenance_schema",
    "request_schema",
    "schema_name",
    "schemas_on",
    "upload_schema",
]

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_BINARY: Schema = {"type": "string", "format": "binary"}
_MOMENT: Schema = {"type": "integer", "description": "Seconds since 1970."}


@singledispatch
def schema_of(check: Check) -> Schema:
    """Return the JSON schema of the values that a check accepts."""
    raise TypeError(f"{type(check).__name__} has no schema")


@schema_of.register
def _(check: Text) -> Schema:
    most = {} if check.max_length is None else {"maxLength": check.max_length}
    return {"type": "string", "minLength": check.minimum, **most}


@schema_of.register
def _(check: Integer) -> Schema:
    return {"type": "integer", "minimum": check.minimum, "maximum": check.maximum}


@schema_of.register
def _(check: Choice) -> Schema:
    return {"type": "string", "enum": list(check.values)}


@schema_of.register
def _(check: OnlyOne) -> Schema:
    return {"type": "integer", "const": 1}


@schema_of.register
def _(check: FreeSize) -> Schema:
    return {
        "type": "string",
        "pattern": r"^(auto|\d{1,5}x\d{1,5})$",
        "description": "'auto', or WIDTHxHEIGHT: multiples of 16 up to 3840, at most 3:1, 655360 to 8294400 pixels"
        f"{', of the sheet of an animation' if check.any_area else ''}.",
    }


@schema_of.register
def _(check: Flag) -> Schema:
    return {"type": "boolean"}


@schema_of.register
def _(check: Author) -> Schema:
    effort = _object({"effort": _or_null({"type": "string", "enum": list(EFFORTS.values)})})
    return _object({"model": _or_null({**_TEXT, "minLength": 1}), "reasoning": _or_null(effort)})


@schema_of.register
def _(check: Unsupported) -> Schema:
    return {"type": "string", "enum": list(check.but)} if check.but else {"type": "null"}


def schemas_on(day: date | None) -> dict[str, Schema]:
    """Return the named schemas: the requests of each model that is served on a day, and the responses."""
    requests: dict[str, Schema] = {}
    for model in models_on(day):
        for endpoint in model.parameters:
            for form in (False, True):
                if _takes(model, endpoint, form=form):
                    name = schema_name(model, endpoint, form=form)
                    requests[name] = _model_schema(model, endpoint, day, form=form)
    return requests | _RESPONSES


def request_schema(endpoint: Endpoint, day: date | None, *, form: bool) -> Schema:
    """Return the schema of the requests of an endpoint: those of any of its models."""
    return {
        "anyOf": [
            {"$ref": f"#/components/schemas/{schema_name(model, endpoint, form=form)}"}
            for model in models_on(day)
            if _takes(model, endpoint, form=form)
        ]
    }


def schema_name(model: Model, endpoint: Endpoint, *, form: bool) -> str:
    """Return the name of the schema of requests for a model."""
    return f"{model.name}.{endpoint}{'.form' if form else ''}"


def upload_schema() -> Schema:
    """Return the schema of an upload to the Files API."""
    life = Integer(3600, 2_592_000)
    schema = _object(
        {
            "file": _BINARY,
            "purpose": schema_of(Choice(PURPOSES)),
            "expires_after[anchor]": schema_of(Choice(("created_at",))),
            "expires_after[seconds]": schema_of(life),
        },
        required=("file", "purpose"),
    )
    return schema | {
        "dependentRequired": {
            "expires_after[anchor]": ["expires_after[seconds]"],
            "expires_after[seconds]": ["expires_after[anchor]"],
        }
    }


def batch_schema() -> Schema:
    """Return the schema of a request for a batch."""
    pairs = {"type": "object", "maxProperties": 16, "additionalProperties": {**_TEXT, "maxLength": 512}}
    life = _object(
        {"anchor": schema_of(Choice(("created_at",))), "seconds": schema_of(Integer(3600, 2_592_000))},
        required=("anchor", "seconds"),
    )
    return _object(
        {
            "input_file_id": {**_TEXT, "minLength": 1},
            "endpoint": schema_of(Choice(tuple(ENDPOINTS))),
            "completion_window": schema_of(Choice(("24h",))),
            "metadata": _or_null(pairs | {"propertyNames": {"maxLength": 64}}),
            "output_expires_after": _or_null(life),
        },
        required=("input_file_id", "endpoint", "completion_window"),
    )


def _takes(model: Model, endpoint: Endpoint, *, form: bool) -> bool:
    """Return whether an endpoint takes requests for a model as a form, or else as JSON."""
    if endpoint not in model.parameters:
        return False
    rule = model.uploads.get(endpoint)
    return rule is not None if form else rule is None or rule.references


def provenance_schema() -> Schema:
    """Return the schema of a provenance check."""
    return _object({"file": _BINARY}, required=("file",))


def _model_schema(model: Model, endpoint: Endpoint, day: date | None, *, form: bool) -> Schema:
    known = known_parameters(model, endpoint, day, form=form)
    properties = {"model": schema_of(Choice(model.names))} | {
        name: {
            **schema_of(parameter.check),
            **({} if parameter.default is None else {"default": parameter.default}),
        }
        for name, parameter in known.items()
    }
    required = [name for name, parameter in known.items() if parameter.required]
    if default_model(endpoint, Fields({}), day) != model.name:
        required.append("model")
    if not form:
        properties = {
            name: schema if name in required else _or_null(schema) for name, schema in properties.items()
        }
        if "stream" not in properties:
            properties["stream"] = {"enum": [False, None]}
    rule = model.uploads.get(endpoint)
    schema = _object(properties | dict(_image_schemas(rule, day, form=form)), required=tuple(required))
    if rule is not None:
        wanted = ("image", "image[]") if form else ("images", "image")
        schema["anyOf"] = [{"required": [name]} for name in wanted]
    return schema


def _image_schemas(rule: UploadRule | None, day: date | None, *, form: bool) -> Iterator[tuple[str, Schema]]:
    if rule is None:
        return
    for name in sorted(image_parts(rule, day, form=form)):
        if form and name == "image[]":
            yield name, {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": rule.max_images}
        elif form:
            yield name, _BINARY
        elif name == "images":
            yield name, {"type": "array", "items": _REFERENCE, "minItems": 1, "maxItems": rule.max_images}
        else:
            yield name, _or_null(_REFERENCE)
    if not form:
        yield "image", {**_TEXT, "description": "The only image, as clients of gateways send it."}


def _object(properties: Mapping[str, Schema], *, required: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str) -> Schema:
    return _object(
        {"object": {"const": "list"}, "data": {"type": "array", "items": _ref(name)}},
        required=("object", "data"),
    )


def _page_of(name: str) -> Schema:
    schema = _list_of(name)
    ends = {"first_id": _or_null(_TEXT), "last_id": _or_null(_TEXT), "has_more": {"type": "boolean"}}
    return schema | {"properties": schema["properties"] | ends}


_REFERENCE: Schema = {
    **_object({"image_url": _TEXT, "file_id": {**_TEXT, "minLength": 1}}),
    "minProperties": 1,
    "maxProperties": 1,
}
_TOKENS = _object({"image_tokens": _COUNT, "text_tokens": _COUNT}, required=("image_tokens", "text_tokens"))
_MOMENTS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_USAGE = {
    "input_tokens": _COUNT,
    "input_tokens_details": _TOKENS,
    "output_tokens": _COUNT,
    "output_tokens_details": _TOKENS,
    "total_tokens": _COUNT,
}
_RESPONSES: dict[str, Schema] = {
    "Error": _object(
        {
            "error": {
                "type": "object",
                "properties": {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": _or_null(_TEXT),
                    "code": _or_null(_TEXT),
                },
                "required": ["message", "type", "param", "code"],
            },
        },
        required=("error",),
    ),
    "Image": _object({"b64_json": _TEXT, "url": {**_TEXT, "format": "uri"}, "revised_prompt": _TEXT}),
    "ImagesResponse": _object(
        {
            "created": _MOMENT,
            "data": {"type": "array", "items": _ref("Image"), "minItems": 1, "maxItems": 10},
            "background": {"enum": ["transparent", "opaque"]},
            "output_format": {"enum": ["png", "jpeg", "webp", "gif", "svg"]},
            "quality": _TEXT,
            "size": {**_TEXT, "pattern": r"^\d+x\d+$"},
            "safety_identifier": _TEXT,
            "usage": _object(_USAGE, required=tuple(_USAGE)),
            "svg_usage": _object(
                {
                    "model": _TEXT,
                    "input_tokens": _COUNT,
                    "output_tokens": _COUNT,
                    "reasoning_tokens": _COUNT,
                    "total_tokens": _COUNT,
                },
                required=("model", "input_tokens", "output_tokens", "reasoning_tokens", "total_tokens"),
            ),
        },
        required=("created", "data"),
    ),
    "Event": _object(
        {"event": _TEXT, "data": {**_TEXT, "contentMediaType": "application/json"}},
        required=("event", "data"),
    ),
    "File": _object(
        {
            "object": {"const": "file"},
            "id": _TEXT,
            "purpose": {"enum": [*PURPOSES, "batch_output"]},
            "filename": _TEXT,
            "bytes": _COUNT,
            "created_at": _MOMENT,
            "expires_at": _or_null(_MOMENT),
            "status": {"const": "processed"},
            "status_details": {"type": "null"},
        },
        required=("object", "id", "purpose", "filename", "bytes", "created_at", "expires_at", "status"),
    ),
    "Files": _page_of("File"),
    "Batches": _page_of("Batch"),
    "Batch": {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "object": {"const": "batch"},
            "endpoint": _TEXT,
            "input_file_id": _TEXT,
            "completion_window": {"const": "24h"},
            "status": {"enum": list(get_args(Status))},
            "output_file_id": _or_null(_TEXT),
            "error_file_id": _or_null(_TEXT),
            "created_at": _MOMENT,
            "expires_at": _MOMENT,
            "request_counts": _object(
                {"total": _COUNT, "completed": _COUNT, "failed": _COUNT},
                required=("total", "completed", "failed"),
            ),
            "metadata": {"type": ["object", "null"]},
            "model": _or_null(_TEXT),
            "errors": {"type": ["object", "null"]},
            "usage": {"type": "object"},
            **{f"{name}_at": _or_null(_MOMENT) for name in _MOMENTS},
        },
        "required": ["id", "object", "endpoint", "input_file_id", "status", "created_at", "request_counts"],
    },
    "DeletedFile": _object(
        {"object": {"const": "file"}, "id": _TEXT, "deleted": {"const": True}},
        required=("object", "id", "deleted"),
    ),
    "Model": _object(
        {
            "object": {"const": "model"},
            "id": {"enum": [name for model in MODELS for name in model.names]},
            "created": _MOMENT,
            "owned_by": _TEXT,
            "shutdown_date": _or_null({**_TEXT, "format": "date"}),
        },
        required=("object", "id", "created", "owned_by", "shutdown_date"),
    ),
    "Models": _list_of("Model"),
    "ProvenanceCheck": {
        "type": "object",
        "properties": {
            "object": {"const": "content_provenance_check"},
            "created_at": _MOMENT,
            "results": {"type": "array", "items": {"type": "object", "required": ["type", "outcome"]}},
        },
        "required": ["object", "created_at", "results"],
    },
}

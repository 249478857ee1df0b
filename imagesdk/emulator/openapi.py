"""OpenAPI document of the emulator, which it serves at ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from imagesdk._version import __version__
from imagesdk.emulator.batch_requests import BATCHES_SINCE
from imagesdk.emulator.models import Endpoint
from imagesdk.emulator.openapi_schemas import (
    Schema,
    batch_schema,
    provenance_schema,
    request_schema,
    schemas_on,
    upload_schema,
)
from imagesdk.emulator.quirks import Quirk
from imagesdk.emulator.rules import variations_are_over

__all__ = ["openapi_document"]

_FORM, _JSON = "multipart/form-data", "application/json"
_ERRORS: Mapping[int, str] = {
    400: "The request is invalid, or was rejected by the content filter.",
    401: "The key is missing or wrong.",
    403: "The organization is not verified, or the request is from a page of another site.",
    404: "There is no such thing.",
    408: "The body was not complete in time.",
    413: "The body is too large.",
    421: "The host name is not one of this machine.",
    429: "The rate limit is exceeded.",
    500: "A fault of the server.",
}
_IMAGE_PARTS: Schema = {
    name: {"contentType": "image/png, image/jpeg, image/webp"}
    for name in ("image", "image[]", "mask", "markup")
}
_SUMMARIES: Mapping[Endpoint, str] = {
    "generations": "Generate images",
    "edits": "Edit images",
    "variations": "Vary an image",
}


def openapi_document(day: date | None, quirk: Quirk) -> Schema:
    """Return the OpenAPI document of an emulator of OpenAI's API on a day."""
    root = quirk.root
    paths: dict[str, Schema] = {
        f"{root}/images/{endpoint}": {
            "post": _operation(
                summary,
                _answer("ImagesResponse", stream=endpoint != "variations"),
                _body(
                    {
                        media_type: request_schema(endpoint, day, form=media_type == _FORM)
                        for media_type in quirk.accepts[endpoint]
                    }
                ),
            )
        }
        for endpoint, summary in _SUMMARIES.items()
        if not (endpoint == "variations" and variations_are_over(day))
    }
    file = _in_path("file_id", "Id of the file.")
    paths |= {
        f"{root}/files": {
            "get": _operation("List files", _answer("Files"), parameters=_LISTING),
            "post": _operation("Upload a file", _answer("File"), _body({_FORM: upload_schema()})),
        },
        f"{root}/files/{{file_id}}": {
            "parameters": [file],
            "get": _operation("Describe a file", _answer("File")),
            "delete": _operation("Delete a file", _answer("DeletedFile")),
        },
        f"{root}/files/{{file_id}}/content": {
            "parameters": [file],
            "get": _operation("Download a file", _bytes("application/octet-stream")),
        },
        f"{root}/content_provenance_checks": {
            "post": _operation(
                "Check an image", _answer("ProvenanceCheck"), _body({_FORM: provenance_schema()})
            )
        },
        f"{root}/models": {"get": _operation("List models", _answer("Models"))},
        f"{root}/models/{{model}}": {
            "parameters": [_in_path("model", "Name of the model.")],
            "get": _operation("Describe a model", _answer("Model")),
        },
        "/images/{name}": {
            "parameters": [_in_path("name", "Name of the image."), *_SIGNATURE],
            "get": _operation("Download a result", _bytes("image/png"), errors=_BLOB_ERRORS),
        },
        "/healthz": {"get": _operation("Whether the emulator serves", _inline({"status": {"const": "ok"}}))},
    }
    if day is None or day >= BATCHES_SINCE:
        paths |= _batches(root)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Emulator of the Images API",
            "version": __version__,
            "description": "Generated from the tables that the emulator checks requests with. Some rules are about "
            "combinations of parameters, and no schema states them.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas_on(day),
            "responses": {f"{status}": _error(text) for status, text in _ERRORS.items()},
        },
    }


def _batches(root: str) -> dict[str, Schema]:
    batch = _in_path("batch_id", "Id of the batch.")
    listing = [
        _in_query("after", {"type": "string"}),
        _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
    ]
    return {
        f"{root}/batches": {
            "get": _operation("List batches", _answer("Batches"), parameters=listing),
            "post": _operation("Create a batch", _answer("Batch"), _body({_JSON: batch_schema()})),
        },
        f"{root}/batches/{{batch_id}}": {
            "parameters": [batch],
            "get": _operation("Describe a batch", _answer("Batch")),
        },
        f"{root}/batches/{{batch_id}}/cancel": {
            "parameters": [batch],
            "post": _operation("Cancel a batch", _answer("Batch")),
        },
    }


def _operation(
    summary: str,
    answer: Schema,
    body: Schema | None = None,
    *,
    parameters: list[Schema] | None = None,
    errors: Schema | None = None,
) -> Schema:
    usual = {f"{status}": {"$ref": f"#/components/responses/{status}"} for status in _ERRORS}
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": answer} | usual | (errors or {})}
    if body is not None:
        operation["requestBody"] = body
    if parameters is not None:
        operation["parameters"] = parameters
    return operation


def _body(schemas: Mapping[str, Schema]) -> Schema:
    return {
        "required": True,
        "content": {
            media_type: {"schema": schema, **({"encoding": _IMAGE_PARTS} if media_type == _FORM else {})}
            for media_type, schema in schemas.items()
        },
    }


def _answer(name: str, *, stream: bool = False) -> Schema:
    content: dict[str, Schema] = {_JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    if stream:
        content["text/event-stream"] = {"schema": {"$ref": "#/components/schemas/Event"}}
    return {"description": "The answer.", "content": content}


def _inline(properties: Schema) -> Schema:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"description": "The answer.", "content": {_JSON: {"schema": schema}}}


def _bytes(media_type: str) -> Schema:
    return {"description": "The bytes.", "content": {media_type: {}}}


def _error(text: str) -> Schema:
    return {"description": text, "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}


def _in_path(name: str, text: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": {"type": "string", "minLength": 1},
    }


def _in_query(name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema}


_LISTING = [
    _in_query("purpose", {"type": "string"}),
    _in_query("after", {"type": "string"}),
    _in_query("limit", {"type": "integer", "minimum": 1, "maximum": 10_000}),
    _in_query("order", {"enum": ["asc", "desc"]}),
]
_SIGNATURE = [_in_query(name, {"type": "string"}) for name in ("st", "se", "sp", "sr", "rsct", "sig")]
_BLOB: Schema = {"description": "As blob storage answers.", "content": {"application/xml": {}}}
_BLOB_ERRORS: Schema = {"403": _BLOB, "404": _BLOB}

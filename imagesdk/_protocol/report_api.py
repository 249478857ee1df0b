"""Requests and responses of provenance checks and of the list of models.

Pure functions. Parsers raise a :class:`.ScanError` if a response is not the expected one. They import the types of their
results, which take 2 ms that a client without such a call does not spend.
https://platform.openai.com/docs/api-reference/models
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imagesdk._protocol.bodies import FormBody, FormField
from imagesdk._protocol.json_values import is_list, is_object, text, timestamp
from imagesdk._protocol.requests import Request
from imagesdk._protocol.scanner import ScanError, without_images
from imagesdk.errors import InvalidRequestError
from imagesdk.types import Upload

if TYPE_CHECKING:
    from imagesdk.reports import ProvenanceCheck, ProvenanceSignal, ServedModel

_CHECK_FIELDS = {"object", "created_at", "results"}
_SIGNAL_FIELDS = {"type", "outcome", "model", "generated_at", "issuer", "validation_state"}
_MODEL_FIELDS = {"object", "id", "created", "owned_by", "shutdown_date"}


def check_request(file: Upload) -> Request:
    """Build the request that checks the provenance of a file. It bills nothing."""
    return Request("/content_provenance_checks", 0, None, FormBody((FormField("file", file),)))


def models_request(name: str | None = None) -> Request:
    """Build the request for one model, or for all. Refuse an empty name."""
    if name is not None and (not name.strip() or set(name) == {"."}):
        raise InvalidRequestError.for_parameter("model", name, allowed="a name such as gpt-image-2")
    return Request("/models" if name is None else f"/models/{quote(name, safe=':')}", 0, None, b"", "GET")


def parse_check(document: Any) -> ProvenanceCheck:
    """Parse the response to a provenance check."""
    from imagesdk.reports import ProvenanceCheck

    if not is_object(document) or not is_list(document.get("results")):
        raise ScanError("the response describes no provenance check")
    return ProvenanceCheck(
        results=tuple(map(_parse_signal, document["results"])),
        created=timestamp(document.get("created_at")),
        extra=_others(document, _CHECK_FIELDS),
    )


def _parse_signal(item: object) -> ProvenanceSignal:
    from imagesdk.reports import ProvenanceSignal

    if not is_object(item) or not isinstance(item.get("type"), str):
        raise ScanError("the response has a result without a type")
    return ProvenanceSignal(
        type=item["type"],
        outcome=text(item.get("outcome")) or "not_detected",
        model=text(item.get("model")),
        generated_at=_moment(item.get("generated_at")),
        issuer=text(item.get("issuer")),
        validation_state=text(item.get("validation_state")),
        extra=_others(item, _SIGNAL_FIELDS),
    )


def parse_model(document: Any) -> ServedModel:
    """Parse a response that describes a model."""
    from imagesdk.reports import ServedModel

    if not is_object(document) or not isinstance(document.get("id"), str):
        raise ScanError("the response describes no model")
    return ServedModel(
        id=document["id"],
        created=timestamp(document.get("created")),
        owned_by=text(document.get("owned_by")),
        shut_down=_day(document.get("shutdown_date")),
        extra=_others(document, _MODEL_FIELDS),
    )


def parse_models(document: Any) -> tuple[ServedModel, ...]:
    """Parse a response that lists models. Some servers send the list itself."""
    listed = document.get("data") if is_object(document) else document
    if not is_list(listed):
        raise ScanError("the response lists no models")
    return tuple(map(parse_model, listed))


def _others(item: dict[str, Any], known: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = without_images({key: value for key, value in item.items() if key not in known})
    return found


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None

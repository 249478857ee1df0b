"""Parsers of success responses and stream events.

Pure functions. They accept the fields of compatible servers: an image is found wherever the response contains one.
Unknown fields are kept in ``extra``. :mod:`.api_errors` parses errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import field, frozen

from imagesdk._protocol.json_values import is_list, is_object, text, timestamp
from imagesdk._protocol.scanner import ImageRef, ScanError, without_images
from imagesdk.errors import excerpt
from imagesdk.models import ModelProfile
from imagesdk.models.catalog import URL_LIFETIME
from imagesdk.types import SvgUsage, Usage

_MAX_TOKENS = 10**12  # a larger count is not plausible and ignored
_TOTALS = ("input_tokens", "output_tokens", "total_tokens")
_SETTINGS = ("size", "quality", "background", "output_format", "safety_identifier")


@frozen
class ParsedImage:
    """An entry of ``data``: the number of its image in the response, or its URL, and the other fields."""

    image_ref: int | None = None
    url: str | None = None
    revised_prompt: str | None = None
    expires_at: datetime | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class ParsedResponse:
    """A success response without the bytes of its images."""

    images: tuple[ParsedImage, ...]
    created: datetime | None = None
    usage: Usage | None = None
    svg_usage: SvgUsage | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    safety_identifier: str | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class ParsedEvent(ParsedResponse):
    """A stream event that contains an image."""

    type: str = ""
    """The name of the event in the API."""
    partial_image_index: int | None = None
    """The number of the partial image, from 0."""


def parse_response(document: Any, profile: ModelProfile | None) -> ParsedResponse:
    """Parse the JSON of a success response. Raise :class:`.ScanError` if it does not answer an image request."""
    if not is_object(document):
        raise ScanError(f"the response is {_excerpt(document)} rather than an object with data")
    body = dict(document)
    data = body.pop("data", None)
    if not is_list(data):
        data = list(_image_objects(document))  # some compatible servers use another name than data
        if not data:
            raise ScanError(f"the response has no list of images in it, only {_excerpt(sorted(body))}")
    created = timestamp(body.pop("created", None))
    items = [item for item in data if is_object(item)]
    return ParsedResponse(tuple(_image(item, created, profile) for item in items), **_settings(body, created))


def parse_event(document: Any, *, name: str = "", profile: ModelProfile | None = None) -> ParsedEvent:
    """Parse the data of an event with an image. ``name`` is that of the event, for data without a ``type``."""
    if not is_object(document):
        raise ScanError(f"an event of the stream is {_excerpt(document)} rather than an object")
    body = dict(document)
    created = timestamp(body.pop("created_at", None)) or timestamp(body.pop("created", None))
    return ParsedEvent(
        type=text(body.pop("type", None)) or name,
        partial_image_index=_count(body.pop("partial_image_index", None)),
        images=tuple(_image(item, created, profile) for item in _images(body)),
        **_settings(body, created),
    )


def _settings(body: dict[str, Any], created: datetime | None) -> dict[str, Any]:
    """Return the fields of a response besides its images, by the names of :class:`ParsedResponse`."""
    return {
        "created": created,
        "usage": _usage(body.pop("usage", None)),
        "svg_usage": _svg_usage(body.pop("svg_usage", None)),
        **{name: text(body.pop(name, None)) for name in _SETTINGS},
        "extra": without_images(body),
    }


def _images(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Remove the image fields from an event and return them, one dict per image."""
    data = event.get("data")
    if is_list(data):
        del event["data"]
        return [item for item in data if is_object(item)]
    names = ("b64_json", "url", "revised_prompt")
    image: dict[str, Any] = {name: event.pop(name) for name in names if name in event}
    return [image] if image else list(_image_objects(event)) or [{}]


def _image(item: dict[str, Any], created: datetime | None, profile: ModelProfile | None) -> ParsedImage:
    fields = dict(item)
    b64_json = fields.pop("b64_json", None)
    url = fields.pop("url", None)
    ref = b64_json if isinstance(b64_json, ImageRef) else url if isinstance(url, ImageRef) else None
    if ref is None and not isinstance(url, str):
        values = (value for item in _image_objects(fields) for value in item.values())
        ref = next((value for value in values if isinstance(value, ImageRef)), None)
    address = url if isinstance(url, str) and url else None
    return ParsedImage(
        image_ref=ref.number if ref else None,
        url=address,
        revised_prompt=text(fields.pop("revised_prompt", None)),
        expires_at=_expiry(address, created, profile) if address else None,
        extra=without_images(fields),
    )


def _expiry(url: str, created: datetime | None, profile: ModelProfile | None) -> datetime | None:
    """Return the expiry of a URL: its signed ``se=``, otherwise one hour after creation for the models of 2023."""
    try:
        if signed_expiry := parse_qs(urlsplit(url).query).get("se"):
            moment = datetime.fromisoformat(signed_expiry[0])
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        return None
    if created is not None and profile is not None and "url" in profile.response_formats:
        return timestamp(created.timestamp() + URL_LIFETIME)
    return None


def _usage(value: Any) -> Usage | None:
    if not is_object(value):
        return None
    fields = dict(value)
    counts = {name: _count(fields.pop(name, None)) for name in _TOTALS}
    for side in ("input", "output"):
        details = fields.pop(f"{side}_tokens_details", None)
        rest = dict(details) if is_object(details) else {}
        for name in ("text_tokens", "image_tokens"):
            counts[f"{side}_{name}"] = _count(rest.pop(name, None))
        if rest:  # such as cached tokens
            fields[f"{side}_tokens_details"] = rest
    return Usage(**counts, extra=without_images(fields))


def _svg_usage(value: Any) -> SvgUsage | None:
    if not is_object(value):
        return None
    fields = dict(value)
    return SvgUsage(
        model=text(fields.pop("model", None)),
        **{name: _count(fields.pop(name, None)) for name in (*_TOTALS, "reasoning_tokens")},
        extra=without_images(fields),
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MAX_TOKENS else None


def _excerpt(value: Any) -> str:
    return excerpt(json.dumps(without_images(value), ensure_ascii=False, default=str), 300)


def _image_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects within ``value`` that contain an image, in order."""
    if is_object(value) and any(isinstance(item, ImageRef) for item in value.values()):
        yield value
    for item in value.values() if is_object(value) else value if is_list(value) else ():
        yield from _image_objects(item)

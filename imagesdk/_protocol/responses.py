"""From a good answer, or an event of a stream, to plain values. Errors are the business of ``failures``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import field, frozen

from imagesdk._protocol.json_values import is_list, is_object, text
from imagesdk._protocol.scanner import ImageRef, ScanError, without_images
from imagesdk.errors import excerpt
from imagesdk.models import ModelProfile
from imagesdk.models.catalog import URL_LIFETIME
from imagesdk.types import SvgUsage, Usage

_SHOWN = 300
"""Characters of a body that are quoted."""
_MOST_TOKENS = 10**12
"""More than any request can take: what is beyond it is no count."""
_TOTALS = ("input_tokens", "output_tokens", "total_tokens")
_SETTINGS = ("size", "quality", "background", "output_format", "safety_identifier")


@frozen
class ParsedImage:
    """One entry of ``data``: which picture of the answer it is, or its URL, and the rest."""

    image_ref: int | None = None
    url: str | None = None
    revised_prompt: str | None = None
    expires_at: datetime | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class ParsedResponse:
    """A good answer, before its pictures are put in."""

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
    """An event of a stream: a good answer of one picture, and which event it is."""

    type: str = ""
    """The API's name of the event."""
    partial_image_index: int | None = None
    """Counts the partial images from 0."""


def parse_response(document: Any, profile: ModelProfile | None) -> ParsedResponse:
    """Read the parsed body of a good answer.

    Raises:
        ScanError: it is not the answer to a picture request.
    """
    if not is_object(document):
        raise ScanError(f"the answer is {_shown(document)} rather than an object with data")
    body = dict(document)
    data = body.pop("data", None)
    if not is_list(data):
        data = list(
            _holders(document)
        )  # some servers call it otherwise: what was paid for is not thrown away
        if not data:
            raise ScanError(f"the answer has no list of images in it, only {_shown(sorted(body))}")
    created = _timestamp(body.pop("created", None))
    items = [item for item in data if is_object(item)]
    return ParsedResponse(
        images=tuple(_image(item, created, profile) for item in items), **_settings(body, created)
    )


def parse_event(document: Any, *, name: str = "", profile: ModelProfile | None = None) -> ParsedEvent:
    """Read the data of an event with a picture, partial or completed.

    Args:
        document: the data, parsed.
        name: the name that the stream gives the event, for data without a ``type``.
        profile: of the model, for how long its URLs live.

    Raises:
        ScanError: it is not an object.
    """
    if not is_object(document):
        raise ScanError(f"an event of the stream is {_shown(document)} rather than an object")
    body = dict(document)
    created = _timestamp(body.pop("created_at", None)) or _timestamp(body.pop("created", None))
    return ParsedEvent(
        type=text(body.pop("type", None)) or name,
        partial_image_index=_count(body.pop("partial_image_index", None)),
        images=tuple(_image(item, created, profile) for item in _images(body)),
        **_settings(body, created),
    )


def _settings(body: dict[str, Any], created: datetime | None) -> dict[str, Any]:
    """Return what an answer says beside its pictures, by the names of :class:`ParsedResponse`."""
    return {
        "created": created,
        "usage": _usage(body.pop("usage", None)),
        "svg_usage": _svg_usage(body.pop("svg_usage", None)),
        **{name: text(body.pop(name, None)) for name in _SETTINGS},
        "extra": without_images(body),
    }


def _images(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Take what is about pictures out of an event: the event itself is one, or it holds them as an answer does."""
    data = event.get("data")
    if is_list(data):
        del event["data"]
        return [item for item in data if is_object(item)]
    found: dict[str, Any] = {
        name: event.pop(name) for name in ("b64_json", "url", "revised_prompt") if name in event
    }
    return [found] if found else list(_holders(event)) or [{}]


def _image(item: dict[str, Any], created: datetime | None, profile: ModelProfile | None) -> ParsedImage:
    fields = dict(item)
    picture = fields.pop("b64_json", None)
    url = fields.pop("url", None)
    found = picture if isinstance(picture, ImageRef) else url if isinstance(url, ImageRef) else None
    if found is None and not isinstance(url, str):
        found = next((p for held in _holders(fields) for p in held.values() if isinstance(p, ImageRef)), None)
    address = url if isinstance(url, str) and url else None
    return ParsedImage(
        image_ref=found.number if found else None,
        url=address,
        revised_prompt=text(fields.pop("revised_prompt", None)),
        expires_at=_expiry(address, created, profile) if address else None,
        extra=without_images(fields),
    )


def _expiry(url: str, created: datetime | None, profile: ModelProfile | None) -> datetime | None:
    """Signed URLs say when they end (``se=``); those of the 2023 API end an hour after they were made."""
    try:
        stated = parse_qs(urlsplit(url).query).get("se")
    except ValueError:
        return None
    if stated:
        try:
            moment = datetime.fromisoformat(stated[0])
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if created is not None and profile is not None and "url" in profile.response_formats:
        return _timestamp(created.timestamp() + URL_LIFETIME)
    return None


def _timestamp(value: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
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
        if rest:  # cached tokens, and what else may come
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
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _shown(value: Any) -> str:
    return excerpt(json.dumps(without_images(value), ensure_ascii=False, default=str), _SHOWN)


def _holders(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects within ``value`` that hold a picture, in their order."""
    if is_object(value):
        if any(isinstance(item, ImageRef) for item in value.values()):
            yield value
        for item in value.values():
            yield from _holders(item)
    elif is_list(value):
        for item in value:
            yield from _holders(item)

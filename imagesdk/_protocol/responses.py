"""Parsers of success responses and stream events.

Pure functions. They accept the fields of compatible servers:

==============================================================  =================================
image                                                           found in
==============================================================  =================================
base64, or a data URL                                           the whole response
a URL as ``url``, ``image_url`` or ``image``, or in a list      ``data``, ``images``, ``output``,
                                                                ``output_images``, ``result``
==============================================================  =================================

Entries of ``data`` without an image are left out, with their reasons in ``missing``. A response without any image raises
:class:`.NoImageError`. Unknown fields are kept in ``extra``. :mod:`.api_errors` parses errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard
from urllib.parse import parse_qs, urlsplit

from attrs import field, frozen

from imagesdk._protocol.json_values import is_list, is_object, text, timestamp
from imagesdk._protocol.missing_images import NoImageError, reasons_of, text_of
from imagesdk._protocol.scanner import ImageRef, ScanError, without_images
from imagesdk.errors import excerpt
from imagesdk.models import ModelProfile
from imagesdk.models.catalog import URL_LIFETIME
from imagesdk.types import SvgUsage, Usage

_MAX_TOKENS = 10**12  # a larger count is not plausible and ignored
_TOTALS = ("input_tokens", "output_tokens", "total_tokens")
_SETTINGS = ("size", "quality", "background", "output_format", "safety_identifier")
_CONTAINERS = ("data", "images", "output", "output_images", "result")
_URL_KEYS = ("url", "image_url", "image")
_OTHER_KEYS = frozenset({"error", "errors", "input", "inputs", "parameters", "request"})
"""Keys whose URLs are those of help pages, and whose images are those of the request."""


@frozen
class ParsedImage:
    """An entry of ``data``: the number of its image in the response, or its URL, and the other fields."""

    image_ref: int | None = None
    url: str | None = None
    revised_prompt: str | None = None
    expires_at: datetime | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any])

    @property
    def has_image(self) -> bool:
        """Whether the entry contains an image."""
        return self.image_ref is not None or self.url is not None


@frozen
class ParsedResponse:
    """A success response without the bytes of its images."""

    images: tuple[ParsedImage, ...]
    missing: tuple[str, ...] = field(default=(), kw_only=True)
    """The reasons for entries without an image; empty where the server gives none."""
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
    created = timestamp(body.pop("created", None))
    images: list[ParsedImage] = []
    missing: list[str] = []
    for item in _entries(body):
        image = _image(item, created, profile) if is_object(item) else ParsedImage()
        if image.has_image:
            images.append(image)
        else:
            missing.append(text_of(reasons_of(item)))
    if not images:
        raise NoImageError(_described(document), document)
    return ParsedResponse(tuple(images), missing=tuple(missing), **_settings(body, created))


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


def _entries(body: dict[str, Any]) -> list[Any]:
    """Return the entries of a response, an object for each image. Remove their list from ``body``."""
    data = body.get("data")
    if is_list(data) and data:
        del body["data"]
        return [_as_object(item) for item in data]
    for name in _CONTAINERS:
        if entries := list(_image_objects(body.get(name), urls=True)):
            if is_list(body[name]):
                del body[name]
            return entries
    if is_list(data):
        del body["data"]
    return list(_image_objects(body))


def _described(document: dict[str, Any]) -> str:
    """Say what a response without an image has instead."""
    data = document.get("data")
    if not is_list(data):
        return f"the response has no list of images in it, only {_excerpt(sorted(document))}"
    return f"the response has no image in it, only {_excerpt(document)}"


def _image(item: dict[str, Any], created: datetime | None, profile: ModelProfile | None) -> ParsedImage:
    fields = dict(item)
    b64_json = fields.pop("b64_json", None)
    url = fields.pop("url", None)
    ref = b64_json if _is_image(b64_json) else url if _is_image(url) else None
    address = url if isinstance(url, str) and url else None
    if ref is None and address is None:
        inner = next(_image_objects(fields, urls=True), dict[str, Any]())
        ref = next(filter(_is_image, inner.values()), None)
        address = (
            next((inner[key] for key in _URL_KEYS if _is_url(inner.get(key))), None) if ref is None else None
        )
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


def _image_objects(value: Any, *, urls: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the objects within ``value`` that contain an image, or with ``urls`` the URL of one, in order."""
    if is_object(value):
        if any(map(_is_image, value.values())):
            yield value
        elif urls and any(_is_url(value.get(key)) for key in _URL_KEYS):
            yield value
            return
        for key, item in value.items():
            if key not in _OTHER_KEYS and not isinstance(item, (str, ImageRef)):
                yield from _image_objects(item, urls=urls)
    elif is_list(value):
        for item in value:
            yield from _image_objects(item, urls=urls)
    elif _is_image(value) or (urls and _is_url(value)):
        yield _as_object(value)


def _as_object(value: Any) -> Any:
    if _is_image(value):
        return {"b64_json": value}
    return {"url": value} if _is_url(value) else value


def _is_image(value: object) -> TypeGuard[ImageRef]:
    return isinstance(value, ImageRef) and value.text is None


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))

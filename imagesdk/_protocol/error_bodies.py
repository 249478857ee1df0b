"""Parser of error bodies.

===========================================================  ==================================
body                                                         sent by
===========================================================  ==================================
``{"error": {"message", "type", "param", "code"}}``          OpenAI
``{"error": "text"}``, ``{"detail": ...}``, a bare string    compatible servers
``[{"error": ...}]``                                         Google's compatible API
HTML, other text or nothing                                  proxies and gateways
===========================================================  ==================================

:mod:`.api_errors` chooses the class of the error. The message of an error ends after :data:`MAX_MESSAGE` characters, which
is all that regular expressions see. The key is removed before a text is cut, so that no part of it remains.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from attrs import field, frozen

from imagesdk._protocol.json_values import is_list, is_object, parse_json, text
from imagesdk._protocol.scanner import MAX_ERROR, without_images
from imagesdk._protocol.secret import NO_KEY, Secret

MAX_MESSAGE = 4096
"""Maximum length of a message in characters."""
_MAX_VALUES = 5000  # of a body
_MAX_VALIDATION_ERRORS = 20  # in a message
_MAX_BODY_TEXT = 2000  # of a body that is not JSON, in characters
_MESSAGES = ("message", "detail", "msg", "error_description")
_VIOLATIONS = re.compile(r"safety_violations=\[([^\]]{0,200})\]")
_TITLE = re.compile(r"<title[^<>]*>([^<]*)</title>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_FILTERED = ("content_filter_results", "content_filter_result")
_INNER = ("inner_error", "innererror")


@frozen
class ErrorBody:
    """The content of an error body."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    fields: Mapping[str, Any] = field(factory=dict[str, Any])
    """All fields of the error object."""
    body: object = None
    """The whole body: parsed JSON, otherwise shortened text."""

    @property
    def stage(self) -> str | None:
        """The stage at which moderation refused, if the server names it."""
        details = self.fields.get("moderation_details")
        return text(details.get("moderation_stage")) if is_object(details) else None

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that moderation refused: from the details, Azure's filters, or the message."""
        details = self.fields.get("moderation_details")
        named = details.get("categories") if is_object(details) else None
        if is_list(named):
            return tuple(str(category) for category in named)
        if filtered := tuple(_azure_filter_categories(self.fields)):
            return filtered
        match = _VIOLATIONS.search(self.message)
        words = match[1].split(",") if match else []
        return tuple(word for word in (word.strip(" '\"") for word in words) if word)

    @property
    def retry_delay(self) -> str | None:
        """The delay that Google asks for: https://cloud.google.com/apis/design/errors#error_details."""
        details = self.fields.get("details")
        for detail in details if is_list(details) else ():
            if is_object(detail) and isinstance(delay := detail.get("retryDelay"), str):
                return delay
        return None


def error_of_bytes(rest: bytes, key: Secret = NO_KEY) -> ErrorBody:
    """Parse the body of an error response, without the key."""
    document = None
    if len(rest) <= MAX_ERROR:
        with suppress(ValueError, RecursionError):
            document = key.removed_from_value(parse_json(rest, max_values=_MAX_VALUES))
    if document is not None:
        return error_of_document(document)
    words = key.removed_from(rest[:MAX_ERROR].decode("utf-8", "replace"))
    return ErrorBody(_text_message(words[:MAX_MESSAGE].strip()), body=words[:_MAX_BODY_TEXT])


def error_of_document(document: Any) -> ErrorBody:
    """Parse an error from its JSON."""
    fields, message = _fields(document)
    code, kind, param = (text(fields.get(name)) for name in ("code", "type", "param"))
    return ErrorBody(message[:MAX_MESSAGE], code, kind, param, fields, without_images(document))


def _fields(document: Any) -> tuple[dict[str, Any], str]:
    if is_list(document) and len(document) == 1 and is_object(document[0]) and "error" in document[0]:
        document = document[0]  # Google's compatible API
    if is_object(document):
        error = document.get("error", document)
        if is_object(error):
            for name in _MESSAGES:
                if error.get(name):
                    return error, _message_text(error[name])
            return error, _message_text(document)
        if error:
            return document, _message_text(error)
    if isinstance(document, str):
        return {}, document.strip()
    return {}, json.dumps(without_images(document), ensure_ascii=False)


def _message_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if is_list(value):  # FastAPI: a list of {"loc": [...], "msg": "..."}
        return "; ".join(_validation_text(item) for item in islice(value, _MAX_VALIDATION_ERRORS))
    return json.dumps(without_images(value), ensure_ascii=False)


def _validation_text(item: Any) -> str:
    if is_object(item) and "msg" in item:
        where = item.get("loc")
        place = ".".join(str(part) for part in where) if is_list(where) else ""
        return f"{place}: {item['msg']}" if place else str(item["msg"])
    return _message_text(item)


def _text_message(words: str) -> str:
    if "<" in words[:200] and (title := _TITLE.search(words)):
        return " ".join(title[1].split())
    return " ".join(_TAG.sub(" ", words).split()) if words.startswith("<") else words


def _azure_filter_categories(fields: Mapping[str, Any]) -> Iterator[str]:
    # https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
    for holder in (fields, *(fields.get(name) for name in _INNER)):
        for name in _FILTERED:
            results = holder.get(name) if is_object(holder) else None
            for category, result in results.items() if is_object(results) else ():
                if is_object(result) and result.get("filtered") is True:
                    yield category

"""From an answer to a result or an error: the one place where the API's errors are born.

The maker answers ``{"error": {"message", "type", "param", "code"}}``; compatible servers also send
``{"error": "text"}``, ``{"detail": ...}``, a bare string, HTML or nothing, and some wrap an error in status
200. All of them end in a typed error with a message that a person can act on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import field, frozen

from imagesdk._protocol.documents import is_list, is_object, parse
from imagesdk._protocol.limits import said_limits
from imagesdk._protocol.retry import Failure, classify
from imagesdk._protocol.scanner import Picture, ScanError, TooLargeError
from imagesdk.errors import (
    APIResponseError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    ModerationError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    UnprocessableEntityError,
)
from imagesdk.models import URL_LIFETIME, ModelProfile
from imagesdk.types import Usage

_SHOWN = 300
_KEPT = 2000
_MOST_TOKENS = 10**12
"""More than any request can take: what is beyond it is no count."""
_READ = 4096
"""Bytes of a body that is not JSON in which a message is looked for."""

_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

_MODERATION_CODES = frozenset(
    {"moderation_blocked", "content_policy_violation", "contentFilter", "content_filter"}
)
_QUOTA_CODES = frozenset({"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"})
# In May 2023 a refusal by the safety system came with code null: https://community.openai.com/t/232241
_SAFETY_TEXT = re.compile(r"rejected (as a result of our|by the) safety system", re.IGNORECASE)

_ADVICE: Mapping[type[APIStatusError], str] = {
    AuthenticationError: "Check the key in OPENAI_API_KEY or api_key=.",
    ModerationError: "Change the prompt or the picture; a wrong refusal can be reported at https://help.openai.com "
    "with the request id.",
    QuotaExceededError: "Waiting does not help: check the plan and the billing limits of the account.",
    RateLimitError: "A higher limit can be asked for in the limits page of the account's settings; "
    "rate_limit= tells the client the one you have.",
}


@frozen
class ParsedImage:
    """One entry of ``data``: which picture of the answer it is, or its URL, and the rest."""

    picture: int | None = None
    url: str | None = None
    revised_prompt: str | None = None
    expires_at: datetime | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class Parsed:
    """A good answer, before its pictures are put in."""

    images: tuple[ParsedImage, ...]
    created: datetime | None = None
    usage: Usage | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    extra: Mapping[str, Any] = field(factory=dict[str, Any])


def parse_success(document: Any, profile: ModelProfile | None) -> Parsed:
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
            raise ScanError(f"the answer has no list of pictures in it, only {_shown(sorted(body))}")
    created = _moment(body.pop("created", None))
    items = [item for item in data if is_object(item)]
    return Parsed(
        images=tuple(_image(item, created, profile) for item in items),
        created=created,
        usage=_usage(body.pop("usage", None)),
        **{name: _text(body.pop(name, None)) for name in ("size", "quality", "background", "output_format")},
        extra=_without_pictures(body),
    )


def failure_of_status(
    status: int,
    headers: Mapping[str, str],
    rest: bytes,
    *,
    now: datetime,
    requested: int,
) -> Failure:
    """Read an answer that is not a success.

    Args:
        status: the HTTP status.
        headers: names in lower case.
        rest: the body.
        now: the present, for a ``Retry-After`` that is a date.
        requested: how many images were asked for, to tell a limit that can never be met.
    """
    document = _json(rest)
    error, message = _error_object(document, rest, status)
    code, kind, param = (_text(error.get(name)) for name in ("code", "type", "param"))
    said = said_limits(headers, message, now)
    cls = _error_class(status, code, kind, message)
    facts: dict[str, Any] = {"status_code": status, "code": code, "type": kind, "param": param}
    facts["request_id"] = headers.get("x-request-id")
    facts["body"] = (
        rest.decode("utf-8", "replace")[:_KEPT] if document is None else _without_pictures(document)
    )
    facts["maybe_billed"] = status >= 500
    if issubclass(cls, RateLimitError):
        facts["retry_after"] = said.wait
    if issubclass(cls, ModerationError):
        facts.update(_moderation(error))
    made = cls(
        _sentence(status, message, cls, headers.get("location") if 300 <= status < 400 else None), **facts
    )
    advice = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    never_fits = cls is RateLimitError and said.never_fits(requested)
    return Failure(made, classify(made), said=said, should_retry=advice, never_fits=never_fits)


def is_error_document(document: Any) -> bool:
    """Whether a body of status 200 is an error all the same, as some gateways send it."""
    return is_object(document) and bool(document.get("error")) and not document.get("data")


def lost(problem: ScanError, *, request_id: str | None) -> Failure:
    """Return the failure of a good status whose body cannot be read. The pictures have been made."""
    too_large = isinstance(problem, TooLargeError)
    error = APIResponseError(
        f"The server answered with success, but {problem}. The pictures were probably made and billed."
        + (" Larger ones can be let in with caps=Caps(...) of the client." if too_large else ""),
        request_id=request_id,
        maybe_billed=True,
    )
    return Failure(error, "lost", should_retry=False if too_large else None)


def _json(rest: bytes) -> Any:
    try:
        return parse(rest)
    except (ValueError, RecursionError):
        return None


def _error_object(document: Any, rest: bytes, status: int) -> tuple[dict[str, Any], str]:
    """Return the error's fields and its message, from any of the known shapes."""
    if is_object(document):
        fields = document
        error = fields.get("error", fields)
        if is_object(error):
            found = error
            for name in ("message", "detail", "msg", "error_description"):
                if found.get(name):
                    return found, _words(found[name])
            return found, _words(fields)
        if error:
            return fields, _words(error)
    if isinstance(document, str) and document.strip():
        return {}, document.strip()
    text = rest[:_READ].decode("utf-8", "replace").strip()
    if not text:
        return {}, ""
    if "<" in text[:200] and (
        title := re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    ):
        return {}, " ".join(title[1].split())
    return {}, " ".join(re.sub(r"<[^>]*>", " ", text).split()) if text.startswith("<") else text


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if is_list(value):  # FastAPI: a list of {"loc": [...], "msg": "..."}
        return "; ".join(_validation(item) for item in value)
    return json.dumps(_without_pictures(value), ensure_ascii=False)


def _validation(item: Any) -> str:
    if is_object(item) and "msg" in item:
        found = item
        where = found.get("loc")
        place = ".".join(str(part) for part in where) if is_list(where) else ""
        return f"{place}: {found['msg']}" if place else str(found["msg"])
    return _words(item)


def _error_class(status: int, code: str | None, kind: str | None, message: str) -> type[APIStatusError]:
    if code in _QUOTA_CODES or kind in _QUOTA_CODES:
        return QuotaExceededError
    if status in {200, 400, 403} and (code in _MODERATION_CODES or _SAFETY_TEXT.search(message)):
        return ModerationError
    if status >= 500:
        return InternalServerError
    return _BY_STATUS.get(status, BadRequestError if status == 200 else APIStatusError)


def _moderation(error: Mapping[str, Any]) -> dict[str, Any]:
    details = error.get("moderation_details")
    if not is_object(details):
        return {}
    found = details
    categories = found.get("categories")
    return {
        "stage": _text(found.get("moderation_stage")),
        "categories": tuple(str(c) for c in categories) if is_list(categories) else (),
    }


def _sentence(status: int, message: str, cls: type[APIStatusError], location: str | None) -> str:
    if location is not None:
        message = (
            f"it redirects to {location.split('?')[0]}, and requests are not redirected: correct base_url"
        )
    message = message if len(message) <= _SHOWN else f"{message[:_SHOWN]}..."
    said = (
        f"The server answered {status}: {message}"
        if message
        else f"The server answered {status} without a word."
    )
    advice = _ADVICE.get(cls)
    return f"{said}{'' if said.endswith(('.', '!', '?')) else '.'} {advice}" if advice else said


def _image(item: dict[str, Any], created: datetime | None, profile: ModelProfile | None) -> ParsedImage:
    fields = dict(item)
    picture = fields.pop("b64_json", None)
    url = fields.pop("url", None)
    found = picture if isinstance(picture, Picture) else url if isinstance(url, Picture) else None
    if found is None and not isinstance(url, str):
        found = next((p for held in _holders(fields) for p in held.values() if isinstance(p, Picture)), None)
    address = url if isinstance(url, str) and url else None
    return ParsedImage(
        picture=found.number if found else None,
        url=address,
        revised_prompt=_text(fields.pop("revised_prompt", None)),
        expires_at=_expiry(address, created, profile) if address else None,
        extra=_without_pictures(fields),
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
        return _moment(created.timestamp() + URL_LIFETIME)
    return None


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _usage(value: Any) -> Usage | None:
    if not is_object(value):
        return None
    fields = dict(value)
    inputs, outputs = (
        details if is_object(details) else {}
        for details in (fields.pop("input_tokens_details", None), fields.pop("output_tokens_details", None))
    )
    return Usage(
        **{
            name: _count(fields.pop(name, None)) for name in ("input_tokens", "output_tokens", "total_tokens")
        },
        input_text_tokens=_count(inputs.get("text_tokens")),
        input_image_tokens=_count(inputs.get("image_tokens")),
        output_text_tokens=_count(outputs.get("text_tokens")),
        output_image_tokens=_count(outputs.get("image_tokens")),
        extra=_without_pictures(fields),
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None if value is None else str(value)


def _shown(value: Any) -> str:
    text = json.dumps(_without_pictures(value), ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _holders(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects within ``value`` that hold a picture, in their order."""
    if is_object(value):
        if any(isinstance(item, Picture) for item in value.values()):
            yield value
        for item in value.values():
            yield from _holders(item)
    elif is_list(value):
        for item in value:
            yield from _holders(item)


def _without_pictures(value: Any) -> Any:
    """Replace pictures in unexpected places, whose bytes nobody keeps, by ``None``."""
    if isinstance(value, Picture):
        return None
    if is_object(value):
        return {key: _without_pictures(item) for key, item in value.items()}
    if is_list(value):
        return [_without_pictures(item) for item in value]
    return value

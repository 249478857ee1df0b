"""From an answer that is no success to a typed error: the one place where the API's errors are born.

Every status, and every error inside an answer of status 200 or inside a stream, ends in an error of the tree of
:mod:`imagesdk.errors` with a message that a person can act on, and in a word on trying again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from attrs import evolve

from imagesdk._protocol.error_bodies import ErrorBody, error_of_bytes, error_of_document
from imagesdk._protocol.json_values import is_object, text
from imagesdk._protocol.remedies import UNVERIFIED, remedies_for
from imagesdk._protocol.retry import Failure
from imagesdk._protocol.scanner import ScanError, TooLargeError
from imagesdk._protocol.server_limits import ServerLimits, parse_server_limits
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
    RetiredError,
    StreamError,
    UnprocessableEntityError,
    excerpt,
)
from imagesdk.models import lookup, nearest_size
from imagesdk.models.catalog import OPENAI_VARIATION_MODEL, WARNING_DAYS
from imagesdk.remedies import Remedy

_SHOWN = 300
"""Characters of the server's message that an error quotes."""

_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}
_BY_WORD: Mapping[str, type[APIStatusError]] = {
    "authentication_error": AuthenticationError,
    "image_generation_user_error": BadRequestError,
    "invalid_api_key": AuthenticationError,
    "invalid_request_error": BadRequestError,
    "model_not_found": NotFoundError,
    "permission_error": PermissionDeniedError,
    "rate_limit_error": RateLimitError,
    "rate_limit_exceeded": RateLimitError,
    "internal_error": InternalServerError,
    "internal_server_error": InternalServerError,
    "overloaded_error": InternalServerError,
    "server_error": InternalServerError,
    "upstream_error": InternalServerError,
}
"""``code``, else ``type``, of an error that has no status of its own."""

_MODERATION_CODES = frozenset(
    {"moderation_blocked", "content_policy_violation", "contentFilter", "content_filter"}
)
_QUOTA_CODES = frozenset({"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"})
# In May 2023 a refusal by the safety system came with code null: https://community.openai.com/t/232241
_SAFETY_TEXT = re.compile(r"rejected (as a result of our|by the) safety system", re.IGNORECASE)
_RETIRED_TEXT = re.compile(
    r"\b(model|endpoint)\b.*\b(deprecated|retired|shut ?down|discontinued|no longer (available|supported|accepts?))\b",
    re.IGNORECASE | re.DOTALL,
)
_REFUSED_SIZE = re.compile(r"^(?:invalid size|invalid value:) '([1-9]\d{0,5})x([1-9]\d{0,5})'", re.IGNORECASE)
_VARIATIONS = "/images/variations"
_GONE = frozenset({404, 410})
_NO_ROUTE = frozenset({404, 405})
_MAY_BE_RETIRED = frozenset({APIStatusError, BadRequestError, NotFoundError, PermissionDeniedError})
_NEAR = timedelta(days=WARNING_DAYS)


def status_failure(
    status: int,
    headers: Mapping[str, str],
    rest: bytes,
    *,
    now: datetime,
    requested: int,
    model: str | None = None,
    path: str = "",
    better_base_url: str | None = None,
) -> Failure:
    """Read an answer that is not a success.

    Args:
        status: the HTTP status.
        headers: names in lower case.
        rest: the body.
        now: the present, for a ``Retry-After`` that is a date, and for models that come to their end.
        requested: how many images were asked for, to tell a limit that can never be met.
        model: the model that the request named.
        path: the path of the request.
        better_base_url: the base URL with the version that it seems to lack, if it does.
    """
    body = error_of_bytes(rest)
    remedies: tuple[Remedy, ...] = ()
    if 300 <= status < 400 and (location := headers.get("location")) is not None:
        to = location.split("?")[0]
        body = evolve(body, message=f"it redirects to {to}, and the client follows no redirects")
        remedies = (Remedy.CORRECT_BASE_URL,)
    if better_base_url is not None and status in _NO_ROUTE and body.code is None:  # which a missing model has
        remedies = (Remedy.USE_BASE_URL.of(better_base_url),)
    failure = _failure(
        body,
        opening=f"The server answered {status}",
        status=status,
        stands_for=_status_in(body) if status == 200 else status,
        said=parse_server_limits(headers, body.message, now, retry_delay=body.retry_delay),
        today=now.date(),
        requested=requested,
        model=model,
        path=path,
        request_id=headers.get("x-request-id"),
        remedies=remedies,
    )
    advised = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return evolve(failure, should_retry=advised)


def is_error_document(document: Any) -> bool:
    """Whether a body of status 200 is an error all the same, as some gateways send it."""
    return is_object(document) and bool(document.get("error")) and not document.get("data")


def is_error_event(event_name: str, document: Any) -> bool:
    """Whether an event of a stream is an error: by its name, by its type, or by what it holds."""
    if event_name == "error":
        return True
    return is_object(document) and (document.get("type") == "error" or bool(document.get("error")))


def stream_failure(
    event_name: str,
    document: Any,
    *,
    now: datetime,
    requested: int = 1,
    model: str | None = None,
    path: str = "",
    request_id: str | None = None,
    seen_images: bool = False,
) -> Failure | None:
    """Read an event of a stream that may be an error; ``None`` when it is none.

    Args:
        event_name: the name that the stream gives the event.
        document: its data, parsed; the text itself where it is not JSON.
        now: the present.
        requested: how many images were asked for.
        model: the model that the request named.
        path: the path of the request.
        request_id: the ``x-request-id`` of the answer.
        seen_images: whether a partial image came before it, so that work was done.
    """
    if not is_error_event(event_name, document):
        return None
    body = error_of_document(document)
    said = parse_server_limits({}, body.message, now, retry_delay=body.retry_delay)
    opening, stands_for = "The stream ended with an error", _status_in(body)
    if stands_for == 200 and _error_class(200, body) is BadRequestError:  # nothing tells what it is
        sentence = _sentence(opening, body.message)
        error = StreamError(sentence, request_id=request_id, maybe_billed=True)
        return Failure(error, "unknown", server_limits=said)
    failure = _failure(
        body,
        opening=opening,
        status=200,
        stands_for=stands_for,
        said=said,
        today=now.date(),
        requested=requested,
        model=model,
        path=path,
        request_id=request_id,
    )
    if not seen_images:
        return failure
    failure.error.maybe_billed = True
    # What a limit refuses before any work waits and costs nothing; after it, asking again is a second bill.
    return evolve(failure, kind="unknown") if isinstance(failure.error, RateLimitError) else failure


def unreadable_failure(problem: ScanError, *, request_id: str | None, billed: bool = True) -> Failure:
    """Return the failure of a good status whose body cannot be read. Pictures, where any were asked for, are made."""
    too_large = isinstance(problem, TooLargeError)
    error = APIResponseError(
        f"The server answered with success, but {problem}.",
        request_id=request_id,
        maybe_billed=billed,
        remedies=(Remedy.RAISE_CAPS,) if too_large else (),
    )
    return Failure(error, "unreadable", should_retry=False if too_large else None)


def _failure(
    body: ErrorBody,
    *,
    opening: str,
    status: int,
    stands_for: int,
    said: ServerLimits,
    today: date,
    requested: int,
    model: str | None,
    path: str,
    request_id: str | None,
    remedies: tuple[Remedy, ...] = (),
) -> Failure:
    cls = _error_class(stands_for, body)
    never_fits = cls is RateLimitError and said.never_fits(requested)
    remedies = remedies or _valid_size(cls, body, model)
    remedies = remedies or remedies_for(cls, status, body, never_fits=never_fits)
    facts: dict[str, Any] = {}
    came_to = ""
    if issubclass(cls, RateLimitError):
        facts["retry_after"] = said.wait
    if issubclass(cls, ModerationError):
        facts.update(stage=body.stage, categories=body.categories)
    if (retired := _retired(cls, stands_for, body, model, path, today)) is not None:
        cls, came_to, remedies = RetiredError, f" {retired[0]}", (retired[1],)
        facts["replacement"] = retired[2]
    elif never_fits:
        came_to = " The limit has no room for this request, however long it waits."
    error = cls(
        f"{_sentence(opening, body.message)}{came_to}",
        status_code=status,
        code=body.code,
        type=body.type,
        param=body.param,
        body=body.body,
        request_id=request_id,
        maybe_billed=stands_for >= 500,
        remedies=remedies,
        **facts,
    )
    return Failure(
        error,
        "unknown" if stands_for >= 500 else "refused",
        server_limits=said,
        never_fits=never_fits,
    )


def _status_in(body: ErrorBody) -> int:
    """Return the status that an error inside a success stands for; 200 where nothing tells."""
    for name in ("status_code", "status", "code"):
        said = text(body.fields.get(name)) or ""
        if said.isascii() and said.isdigit() and len(said) == 3 and 400 <= int(said) < 600:
            return int(said)
    for word in (body.code, body.type):
        cls = _BY_WORD.get(word or "")
        if cls is InternalServerError:
            return 500
        if cls is not None:
            return next(status for status, known in _BY_STATUS.items() if known is cls)
    return 200


def _error_class(status: int, body: ErrorBody) -> type[APIStatusError]:
    if {body.code, body.type} & _QUOTA_CODES:
        return QuotaExceededError
    if status in {200, 400, 403}:
        if body.code in _MODERATION_CODES or _SAFETY_TEXT.search(body.message):
            return ModerationError
        if UNVERIFIED.search(body.message):
            return PermissionDeniedError
    if status >= 500:
        return InternalServerError
    return _BY_STATUS.get(status, BadRequestError if status == 200 else APIStatusError)


def _retired(
    cls: type[APIStatusError], status: int, body: ErrorBody, model: str | None, path: str, today: date
) -> tuple[str, Remedy, str | None] | None:
    """Return what is gone, the remedy and the model that replaces it; ``None`` for other errors."""
    says_so = body.param in {None, "", "model"} and _RETIRED_TEXT.search(body.message[:_SHOWN]) is not None
    if body.code == "DeploymentNotFound":  # Azure: the name is one of the user's own
        return None
    if not (status in _GONE or body.code == "model_not_found" or (says_so and cls in _MAY_BE_RETIRED)):
        return None
    if path.endswith(_VARIATIONS) and (says_so or status in _GONE):
        gone = "The variations have"
        profile, remedy = lookup(OPENAI_VARIATION_MODEL), Remedy.USE_EDIT
    else:
        gone = f"The model{f' {model!r}' if model else ''} has"
        profile = lookup(model)
        if not says_so and not (profile and profile.shut_down and profile.shut_down <= today + _NEAR):
            return None
        replacement = profile.replacement if profile else None
        remedy = Remedy.USE_MODEL.of(replacement) if replacement else Remedy.USE_ANOTHER_MODEL
    end = profile.shut_down if profile else None
    came = f"{gone} been shut down{f' on {end}' if end else ''}"
    if end is not None and end > today:
        came = f"{gone} its end on {end}"
    return f"{came}.", remedy, profile.replacement if profile else None


def _valid_size(cls: type[APIStatusError], body: ErrorBody, model: str | None) -> tuple[Remedy, ...]:
    """Return the nearest valid size where the server refuses one of a model that is known."""
    about_size = cls is BadRequestError and body.param in {None, "", "size"}
    asked = _REFUSED_SIZE.search(body.message[:_SHOWN]) if about_size else None
    profile = lookup(model)
    if asked is None or profile is None:
        return ()
    nearest = nearest_size(int(asked[1]), int(asked[2]), profile)
    return (Remedy.USE_SIZE.of(nearest),) if nearest != f"{asked[1]}x{asked[2]}" else ()


def _sentence(opening: str, message: str) -> str:
    words = excerpt(message, _SHOWN)
    said = f"{opening}: {words}" if words else f"{opening} without a word."
    return said if said.endswith((".", "!", "?")) else f"{said}."

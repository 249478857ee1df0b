"""Conversion of error responses to exceptions of :mod:`imagesdk.errors`.

============================================  =========================  ========================
input                                         function                   effective status
============================================  =========================  ========================
a response with an error status               :func:`status_failure`     the status
a response of status 200 with an ``error``    :func:`status_failure`     from the fields of the error
an ``error`` event of a stream                :func:`stream_failure`     from the fields of the error
a success response without a readable image   :func:`unreadable_failure`  none
============================================  =========================  ========================

The class of the error is chosen by, in this order: a quota code, a moderation code or text, the effective status.
On OpenAI's host, a 404, a 410 or a model that "does not exist" becomes :class:`~imagesdk.errors.RetiredError` if OpenAI
has shut the model down. On every host, a message does so that calls the model or the endpoint retired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from attrs import evolve

from imagesdk import errors
from imagesdk._protocol.error_bodies import ErrorBody, error_of_bytes, error_of_document
from imagesdk._protocol.json_values import is_object, text
from imagesdk._protocol.missing_images import NoImageError, reasons_of, task_of, text_of
from imagesdk._protocol.remedies import UNVERIFIED, ErrorClass, remedies_for
from imagesdk._protocol.retry import Failure, FailureClass
from imagesdk._protocol.scanner import FixedCapError, ScanError, TooLargeError, without_images
from imagesdk._protocol.secret import NO_KEY, Secret
from imagesdk._protocol.server_limits import ServerLimits, parse_server_limits
from imagesdk.errors import excerpt
from imagesdk.models import lookup, nearest_size
from imagesdk.models.catalog import OPENAI_VARIATION_MODEL, WARNING_DAYS
from imagesdk.remedies import Remedy

_EXCERPT_LENGTH = 300  # of a quoted server message, in characters

_BY_STATUS: Mapping[int, ErrorClass] = {
    400: errors.BadRequestError, 401: errors.AuthenticationError, 402: errors.QuotaExceededError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError, 409: errors.ConflictError, 422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}  # fmt: skip
_WORDS: Mapping[int, tuple[str, ...]] = {
    400: ("image_generation_user_error", "invalid_request_error"),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error",),
    404: ("model_not_found",),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("internal_error", "internal_server_error", "overloaded_error", "server_error", "upstream_error"),
}
# By ``code`` or ``type``, for an error without a status.
_STATUS_BY_WORD = {word: status for status, words in _WORDS.items() for word in words}

_MODERATION_CODES = {"moderation_blocked", "content_policy_violation", "contentFilter", "content_filter"}
_QUOTA_CODES = frozenset({"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"})
# In May 2023 a refusal by the safety system had the code null: https://community.openai.com/t/232241
_SAFETY_TEXT = re.compile(r"rejected (as a result of our|by the) safety system", re.IGNORECASE)
_RETIRED_TEXT = re.compile(
    r"\b(model|endpoint)\b.*\b(deprecated|retired|shut ?down|discontinued|no longer (available|supported|accepts?))\b",
    re.IGNORECASE | re.DOTALL,
)
_NO_MODEL_TEXT = re.compile(
    r"\bthe (requested )?model\b.{0,200}\bdoes not exist\b", re.IGNORECASE | re.DOTALL
)
_MODEL_TEXT = re.compile(r"(?<![a-z/])(model|deployment)(?!s)", re.IGNORECASE)
_INVALID_SIZE_TEXT = re.compile(r"^invalid (?:size|value:) '([1-9]\d{0,5})x([1-9]\d{0,5})'", re.IGNORECASE)
_NO_MODEL_CODES = frozenset({None, "invalid_value", "model_not_found"})
_ACCEPTED = 202
_GONE = frozenset({404, 410})
_NO_ROUTE = frozenset({404, 405})
_RETIREMENT_ERRORS = frozenset(
    {errors.APIStatusError, errors.BadRequestError, errors.NotFoundError, errors.PermissionDeniedError}
)
_RETIREMENT_NOTICE = timedelta(days=WARNING_DAYS)


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
    key: Secret = NO_KEY,
    is_openai: bool = True,
) -> Failure:
    """Convert an error response to a failure.

    Args:
        status: The status.
        headers: The headers, with names in lower case.
        rest: The body without its images.
        now: The time.
        requested: The number of images that the request asks for.
        model: The model of the request.
        path: The path of the request.
        better_base_url: The base URL with ``/v1``, if it seems to lack it.
        key: The key, which is removed from the texts.
        is_openai: Whether the server is OpenAI, where the dates of the catalogue apply.
    """
    body = error_of_bytes(rest, key)
    remedies: tuple[Remedy, ...] = ()
    if 300 <= status < 400 and (location := headers.get("location")) is not None:
        to = location.split("?")[0]
        body = evolve(body, message=f"it redirects to {to}, and the client follows no redirects")
        remedies = (Remedy.CORRECT_BASE_URL,)
    about_model = body.param == "model" or _MODEL_TEXT.search(f"{body.code} {body.message[:_EXCERPT_LENGTH]}")
    if better_base_url is not None and status in _NO_ROUTE and not about_model:
        remedies = (Remedy.USE_BASE_URL.of(better_base_url),)
    failure = _failure(
        body,
        opening=f"The server answered {status}",
        status=status,
        server_limits=parse_server_limits(headers, body.message, now, retry_delay=body.retry_delay),
        today=now.date(),
        requested=requested,
        model=model,
        path=path,
        request_id=headers.get("x-request-id"),
        remedies=remedies,
        is_openai=is_openai,
    )
    should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return evolve(failure, should_retry=should_retry)


def is_error_document(document: Any) -> bool:
    """Whether a body of status 200 is an error, as some gateways send it."""
    return is_object(document) and bool(document.get("error")) and not document.get("data")


def is_error_event(event_name: str, document: Any) -> bool:
    """Whether a stream event is an error, by its name, its ``type`` or its ``error`` field."""
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
    is_openai: bool = True,
) -> Failure | None:
    """Convert a stream event, its data parsed or as text, to a failure; return ``None`` if it is not an error."""
    if not is_error_event(event_name, document):
        return None
    body = error_of_document(document)
    server_limits = parse_server_limits({}, body.message, now, retry_delay=body.retry_delay)
    opening = "The stream ended with an error"
    # No field names its kind.
    if _effective_status(body) == 200 and _error_class(200, body) is errors.BadRequestError:
        error = errors.StreamError(_sentence(opening, body.message), request_id=request_id, maybe_billed=True)
        return Failure(error, "unreadable", server_limits=server_limits)
    failure = _failure(
        body,
        opening=opening,
        status=200,
        server_limits=server_limits,
        today=now.date(),
        requested=requested,
        model=model,
        path=path,
        request_id=request_id,
        is_openai=is_openai,
    )
    if not seen_images:
        return failure
    failure.error.maybe_billed = True
    # A rate-limit error before any work is free to retry. After a partial image, a retry is a second bill.
    return evolve(failure, kind="unreadable") if isinstance(failure.error, errors.RateLimitError) else failure


def unreadable_failure(
    problem: ScanError, *, status: int | None = 200, request_id: str | None, billed: bool = True
) -> Failure:
    """Return the failure for a success response without a readable image. Its images may have been billed."""
    facts: dict[str, Any] = {"request_id": request_id, "maybe_billed": billed}
    too_large = isinstance(problem, TooLargeError)
    if isinstance(problem, NoImageError) or (status == _ACCEPTED and not too_large):
        return Failure(_no_image_error(problem, status, facts), "unreadable", should_retry=False)
    remedies = (Remedy.RAISE_CAPS,) if too_large and not isinstance(problem, FixedCapError) else ()
    error = errors.APIResponseError(
        f"The server answered with success, but {problem}.", remedies=remedies, **facts
    )
    return Failure(error, "unreadable", should_retry=False if too_large else None)


def _no_image_error(problem: ScanError, status: int | None, facts: dict[str, Any]) -> errors.APIError:
    """Return the error for a response without an image: moderation, an unfinished task, or any other reason."""
    document = problem.document if isinstance(problem, NoImageError) else None
    reasons, task = reasons_of(document), task_of(document)
    opening = "The server answered with success but without an image"
    if reasons and reasons[0].moderated:
        return errors.ModerationError(
            _sentence(opening, text_of(reasons)),
            status_code=status or 200,
            body=without_images(document),
            categories=tuple(dict.fromkeys(each.category for each in reasons if each.category)),
            remedies=(Remedy.CHANGE_CONTENT,),
            **facts,
        )
    if task is not None or status == _ACCEPTED:
        named = [f"id {excerpt(task.id)}"] if task and task.id else []
        named += [f"status {excerpt(task.status)}"] if task and task.status else []
        shown = f" ({', '.join(named)})" if named else ""
        summary = (
            f"The server answered {status} with a task{shown} instead of images, and may finish it later."
        )
        id_ = task.id if task else None
        return errors.PendingTaskError(summary, task_id=id_, remedies=(Remedy.FETCH_TASK,), **facts)
    summary = (
        _sentence(opening, text_of(reasons))
        if reasons
        else f"The server answered with success, but {problem}."
    )
    return errors.APIResponseError(summary, **facts)


def _failure(
    body: ErrorBody,
    *,
    opening: str,
    status: int,
    server_limits: ServerLimits,
    today: date,
    requested: int,
    model: str | None,
    path: str,
    request_id: str | None,
    is_openai: bool,
    remedies: tuple[Remedy, ...] = (),
) -> Failure:
    effective_status = _effective_status(body) if status == 200 else status
    cls = _error_class(effective_status, body)
    never_fits = cls is errors.RateLimitError and server_limits.never_fits(requested)
    remedies = remedies or _size_remedies(cls, body, model)
    remedies = remedies or remedies_for(cls, status, body, never_fits=never_fits)
    kind: FailureClass = "refused" if effective_status < 500 else "unknown" if status >= 500 else "unreadable"
    facts: dict[str, Any] = {}
    consequence = ""
    if issubclass(cls, errors.RateLimitError):
        facts["retry_after"] = server_limits.wait
    if issubclass(cls, errors.ModerationError):
        facts.update(stage=body.stage, categories=body.categories)
    if (retired := _retirement(cls, effective_status, body, model, path, today, is_openai)) is not None:
        cls, consequence, remedies = errors.RetiredError, f" {retired[0]}", (retired[1],)
        facts["replacement"] = retired[2]
    elif never_fits:
        consequence = " The limit has no room for this request, however long it waits."
    error = cls(
        f"{_sentence(opening, body.message)}{consequence}",
        status_code=status,
        code=body.code,
        type=body.type,
        param=body.param,
        body=body.body,
        request_id=request_id,
        maybe_billed=kind != "refused",
        remedies=remedies,
        **facts,
    )
    return Failure(error, kind, server_limits=server_limits, never_fits=never_fits)


def _effective_status(body: ErrorBody) -> int:
    """Return the status that corresponds to an error inside a success response; 200 if no field names one."""
    for name in ("status_code", "status", "code"):
        value = text(body.fields.get(name)) or ""
        if value.isascii() and value.isdigit() and len(value) == 3 and 400 <= int(value) < 600:
            return int(value)
    return next((_STATUS_BY_WORD[word] for word in (body.code, body.type) if word in _STATUS_BY_WORD), 200)


def _error_class(status: int, body: ErrorBody) -> ErrorClass:
    if {body.code, body.type} & _QUOTA_CODES:
        return errors.QuotaExceededError
    if status in {200, 400, 403}:
        if body.code in _MODERATION_CODES or _SAFETY_TEXT.search(body.message):
            return errors.ModerationError
        if UNVERIFIED.search(body.message):
            return errors.PermissionDeniedError
        if body.code in _NO_MODEL_CODES and _NO_MODEL_TEXT.search(body.message):
            return errors.NotFoundError
    if status >= 500:
        return errors.InternalServerError
    return _BY_STATUS.get(status, errors.BadRequestError if status == 200 else errors.APIStatusError)


def _retirement(
    cls: ErrorClass, status: int, body: ErrorBody, model: str | None, path: str, today: date, is_openai: bool
) -> tuple[str, Remedy, str | None] | None:
    """Return the sentence, the remedy and the replacement for a retired model or endpoint; ``None`` for other errors.

    The dates of the catalogue are those of OpenAI, so that they prove nothing about another server.
    """
    about_model = body.param in {None, "", "model"}
    message_matches = about_model and _RETIRED_TEXT.search(body.message[:_EXCERPT_LENGTH]) is not None
    if body.code == "DeploymentNotFound":  # Azure: a name that the user chose
        return None
    is_gone = is_openai and (status in _GONE or body.code == "model_not_found" or cls is errors.NotFoundError)
    if not is_gone and not (message_matches and cls in _RETIREMENT_ERRORS):
        return None
    if path.endswith("/images/variations") and (message_matches or (is_openai and status in _GONE)):
        gone = "The variations have"
        profile, remedy = lookup(OPENAI_VARIATION_MODEL), Remedy.USE_EDIT
    else:
        gone = f"The model{f' {model!r}' if model else ''} has"
        profile = lookup(model)
        if not message_matches and not (
            profile and profile.shut_down and profile.shut_down <= today + _RETIREMENT_NOTICE
        ):
            return None
        replacement = profile.replacement if profile else None
        remedy = Remedy.USE_MODEL.of(replacement) if replacement else Remedy.USE_ANOTHER_MODEL
    end, replacement = (profile.shut_down, profile.replacement) if profile else (None, None)
    if not is_openai:
        end = None
    if end is not None and end > today:
        return f"{gone} its end on {end}.", remedy, replacement
    return f"{gone} been shut down{f' on {end}' if end else ''}.", remedy, replacement


def _size_remedies(cls: ErrorClass, body: ErrorBody, model: str | None) -> tuple[Remedy, ...]:
    """Return the nearest valid size as a remedy, if the server rejects the size and the model is known."""
    about_size = cls is errors.BadRequestError and body.param in {None, "", "size"}
    requested_size = _INVALID_SIZE_TEXT.search(body.message[:_EXCERPT_LENGTH]) if about_size else None
    profile = lookup(model)
    if requested_size is None or profile is None:
        return ()
    nearest = nearest_size(int(requested_size[1]), int(requested_size[2]), profile)
    return (Remedy.USE_SIZE.of(nearest),) if nearest != f"{requested_size[1]}x{requested_size[2]}" else ()


def _sentence(opening: str, message: str) -> str:
    words = excerpt(message, _EXCERPT_LENGTH)
    sentence = f"{opening}: {words}" if words else f"{opening} without a message."
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."

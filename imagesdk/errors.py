"""The exceptions that the package raises.

    ImageSDKError
    ├── ConfigurationError                          the client is set up wrong
    ├── InvalidRequestError (also ValueError)       a parameter breaks a rule; nothing was sent
    ├── BudgetExceededError                         the money limit is reached; nothing was sent
    ├── ImageNotLoadedError                         the image is only a URL so far
    ├── DownloadError                               the URL of an image cannot be fetched
    ├── CoordinationError                           the store that processes share cannot be used
    ├── JournalError                                the journal of a run cannot be used
    ├── RunStoppedError                             a run ended before its last job
    ├── WebhookError                                a webhook is not to be used
    │   ├── WebhookSignatureError                   nobody who has the secret sent it
    │   └── WebhookTimestampError                   it is too old or too new
    └── APIError
        ├── APIConnectionError                      not sent: no connection
        │   ├── APITimeoutError
        │   │   └── LimitWaitError                  not sent: the rate limit has no capacity in time
        │   └── OutcomeUnknownError                 sent, but no response arrived
        │       └── OutcomeUnknownTimeoutError      (also APITimeoutError)
        ├── APIStatusError                          the server responded with an error
        │   ├── BadRequestError                     400
        │   │   └── ModerationError                 the content filter refused
        │   ├── AuthenticationError                 401
        │   ├── PermissionDeniedError               403
        │   ├── NotFoundError                       404
        │   │   └── RetiredError                    the model or endpoint was shut down
        │   ├── ConflictError                       409
        │   ├── UnprocessableEntityError            422
        │   ├── RateLimitError                      429
        │   │   └── QuotaExceededError              the credit is used up (also 402)
        │   └── InternalServerError                 5xx
        ├── APIResponseError                        a success response without a readable image
        │   └── PendingTaskError                    the server accepted a task and returned no image
        └── StreamError                             a stream ended without its image

The class says what happened, ``remedies`` what to do, and ``maybe_billed`` of an :class:`APIError` whether it may have cost
money. A local file that cannot be read or written raises :class:`OSError`. Every error can be pickled. No error contains the
API key. Summaries, log lines and the command line show foreign text through :func:`printable` only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

from imagesdk.remedies import Remedy, worded

if TYPE_CHECKING:
    from imagesdk.types import ImagesResponse, PartialImage

# fmt: off
__all__ = [
    "APIConnectionError", "APIError", "APIResponseError", "APIStatusError", "APITimeoutError",
    "AuthenticationError", "BadRequestError", "BudgetExceededError", "ConfigurationError",
    "ConflictError", "CoordinationError", "DownloadError", "ImageNotLoadedError", "ImageSDKError", "InternalServerError",
    "InvalidRequestError", "JournalError", "LimitWaitError", "ModerationError", "NotFoundError",
    "OutcomeUnknownError", "OutcomeUnknownTimeoutError", "PendingTaskError", "PermissionDeniedError",
    "QuotaExceededError", "RateLimitError", "RetiredError", "RunStoppedError", "StreamError",
    "UnprocessableEntityError", "WebhookError", "WebhookSignatureError", "WebhookTimestampError",
]
# fmt: on

_BILLED = "The images may have been made and billed."


def _rebuild(cls: type[ImageSDKError], summary: str, state: dict[str, Any]) -> ImageSDKError:
    error = cls.__new__(cls, summary)
    error.args = (summary,)
    error.__dict__.update(state)
    return error


class ImageSDKError(Exception):
    """Base class: ``except ImageSDKError`` catches every error that the package defines.

    ``str(error)`` is the summary, followed by the remedies as instructions for Python code.
    """

    remedies: tuple[Remedy, ...] = ()
    """What the caller can do, the best remedy first."""

    def __init__(self, summary: str, *, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(printable(summary))
        self.remedies = tuple(remedies)

    def __str__(self) -> str:
        return self.message

    @property
    def summary(self) -> str:
        """What happened, with the values at fault but without advice. One printable line."""
        return str(self.args[0]) if self.args else ""

    @property
    def facts(self) -> str:
        """The summary, and whether images may have been billed."""
        return self.summary

    @property
    def message(self) -> str:
        """What happened and what to do: the text of ``str(error)``."""
        return worded(self.facts, self.remedies)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.summary, dict(self.__dict__))


class ConfigurationError(ImageSDKError):
    """The client cannot be built or used: the key is missing, the base URL is unusable or an option is wrong."""

    def __init__(self, summary: str, *, param: str | None = None, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(summary, remedies=remedies)
        self.param = param
        """The name of the option at fault."""

    @classmethod
    def for_parameter(
        cls,
        param: str,
        value: object,
        *,
        allowed: str,
        remedies: Iterable[Remedy] = (),
        shown: str | None = None,
    ) -> Self:
        """Return the error for an option with a disallowed value; see :meth:`InvalidRequestError.for_parameter`."""
        summary = f"{param} must be {allowed}, not {preview(value, shown)}."
        return cls(summary, param=param, remedies=remedies)


class InvalidRequestError(ImageSDKError, ValueError):
    """A parameter breaks a rule of its model. Nothing was sent and nothing was billed.

    Pass ``check=False`` to the call or to the client to send the request anyway.
    """

    def __init__(
        self,
        summary: str,
        *,
        param: str | None = None,
        value: object = None,
        allowed: str | None = None,
        remedies: Iterable[Remedy] = (),
    ) -> None:
        super().__init__(summary, remedies=remedies)
        self.param = param
        """The API's name of the parameter at fault."""
        self.value = value
        """The invalid value. File contents and long texts are replaced by a description."""
        self.allowed = allowed
        """The accepted values, in words."""

    @classmethod
    def for_parameter(
        cls,
        param: str,
        value: object,
        *,
        allowed: str,
        model: str | None = None,
        remedies: Iterable[Remedy] = (),
        shown: str | None = None,
    ) -> Self:
        """Return the error for a parameter with a disallowed value.

        Args:
            param: The API's name of the parameter. The summary starts with it.
            value: The value at fault.
            allowed: The accepted values, in words.
            model: The model that has the rule.
            remedies: What the caller can do.
            shown: A description of the value for the summary. Default: its shortened ``repr``.
        """
        rule = f" for {model}" if model else ""
        summary = f"{param} is {preview(value, shown)}; allowed{rule}: {allowed}."
        return cls(summary, param=param, value=value, allowed=allowed, remedies=remedies)


class BudgetExceededError(ImageSDKError):
    """The next job may cost more than is left of ``budget=``. It was not sent."""


class ImageNotLoadedError(ImageSDKError):
    """The caller asked for the bytes of an image of which the client has only the URL."""


class DownloadError(ImageSDKError):
    """The URL of an image cannot be fetched, or is not safe to fetch.

    The image was generated and billed. Retry the download only, with an image of ``response``:

    ```python
    except imagesdk.DownloadError as error:
        data = await client.images.download(error.response[0])
    ```
    """

    def __init__(
        self,
        summary: str,
        *,
        status_code: int | None = None,
        response: ImagesResponse | None = None,
        remedies: Iterable[Remedy] = (),
    ) -> None:
        super().__init__(summary, remedies=remedies)
        self.status_code = status_code
        """The HTTP status of the last response; ``None`` if no response arrived."""
        self.response = response
        """The response that the image is part of; ``None`` for the download of a bare URL."""


class JournalError(ImageSDKError):
    """The journal of a run cannot be read or written, or belongs to another run."""


class CoordinationError(ImageSDKError):
    """The store that processes share (``shared=``) cannot be used. No request was sent.

    Only the ``unrecorded`` of an ``Outcome`` is of a job that was sent: its images are there, and the ledger lacks them.
    """


class RunStoppedError(ImageSDKError):
    """A run ended before its last job. Jobs that had not begun stay planned, and the same run again makes them.

    It is raised after the last outcome. ``last_error`` is also its ``__cause__``.
    """

    def __init__(
        self,
        summary: str,
        *,
        reason: Literal["max_failures", "server_away"] = "server_away",
        last_error: Exception | None = None,
        remedies: Iterable[Remedy] = (),
    ) -> None:
        super().__init__(summary, remedies=remedies)
        self.reason: Literal["max_failures", "server_away"] = reason
        """``"max_failures"``: so many jobs failed. ``"server_away"``: no job succeeded for ``give_up_after`` seconds."""
        self.last_error = last_error
        """The error of the job or the attempt that failed last."""
        self.__cause__ = last_error


class WebhookError(ImageSDKError):
    """A webhook is not to be used. Respond with status 400 and do nothing else."""


class WebhookSignatureError(WebhookError):
    """A webhook has no signature, or none that fits its content and the secret."""


class WebhookTimestampError(WebhookError):
    """A webhook is signed, but was sent too long ago, or in the future: it may be a copy of an earlier one."""

    def __init__(self, summary: str, *, age: float | None = None, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(summary, remedies=remedies)
        self.age = age
        """Seconds since it was sent, negative for one of the future; ``None`` if its time is unreadable."""


class APIError(ImageSDKError):
    """A call did not produce a usable response. The subclass says how far the request went."""

    def __init__(
        self,
        summary: str,
        *,
        request_id: str | None = None,
        attempts: int = 0,
        maybe_billed: bool = False,
        idempotency_key: str | None = None,
        remedies: Iterable[Remedy] = (),
    ) -> None:
        super().__init__(summary, remedies=remedies)
        self.request_id = request_id
        """The server's id of the last response (``x-request-id``). Support teams ask for it."""
        self.attempts = attempts
        """The number of attempts that were started."""
        self.maybe_billed = maybe_billed
        """Whether any attempt may have produced, and billed, images."""
        self.idempotency_key = idempotency_key
        """The key that every attempt carried. Pass it as ``idempotency_key=`` to repeat the call under the same key."""
        self.client_request_id: str | None = None
        """The client's id of the request in the server's logs (``x-client-request-id``), for support when there is no
        ``request_id``. It equals the idempotency key unless ``extra_headers=`` sets another."""

    @property
    def facts(self) -> str:
        """The summary, and whether images may have been billed."""
        return f"{self.summary} {_BILLED}" if self.maybe_billed else self.summary


class APIConnectionError(APIError):
    """The connection failed before the request was sent completely. Nothing was billed.

    Its subclass :class:`OutcomeUnknownError` is different: that request was sent.
    """


class APITimeoutError(APIConnectionError):
    """The time-out ended before the request was sent completely.

    Its subclass :class:`OutcomeUnknownTimeoutError` is different: that request was sent.
    """


class LimitWaitError(APITimeoutError):
    """The rate limit has no capacity before the total time-out ends, or the server answers nothing but 429 for too long.

    This attempt was not sent.

    If an earlier attempt failed, its error is the ``__cause__`` and counts towards ``maybe_billed``.
    """

    def __init__(self, summary: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(summary, **facts)
        self.retry_after = retry_after
        """Seconds until the rate limit has capacity; ``None`` if that is unknown, or the request exceeds the limit itself."""


class OutcomeUnknownError(APIConnectionError):
    """The request was sent, but no response arrived. The images may have been generated and billed."""


class OutcomeUnknownTimeoutError(OutcomeUnknownError, APITimeoutError):
    """The request was sent, but no response arrived in time. The images may have been generated and billed."""


class APIStatusError(APIError):
    """The server responded with an error. Subclasses exist for the usual status codes."""

    def __init__(
        self,
        summary: str,
        *,
        status_code: int = 0,
        code: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's own name
        param: str | None = None,
        body: object = None,
        **facts: Any,
    ) -> None:
        super().__init__(summary, **facts)
        self.status_code = status_code
        """The HTTP status. It is 200 for an error inside a success response or a stream."""
        self.code = code
        """The API's ``error.code``, the stable field to branch on."""
        self.type = type
        """The API's ``error.type``."""
        self.param = param
        """The API's name of the parameter at fault."""
        self.body = body
        """The body of the response: parsed JSON, otherwise its first 2000 characters."""


class BadRequestError(APIStatusError):
    """400: the server rejects the request. The same request would be rejected again."""


class ModerationError(BadRequestError):
    """The content filter refused the prompt or an image. Some servers return status 200, and may bill the request.

    Change the request instead of repeating it. Report a wrong refusal to OpenAI at https://help.openai.com with the
    ``request_id``.
    """

    def __init__(
        self, summary: str, *, stage: str | None = None, categories: tuple[str, ...] = (), **facts: Any
    ) -> None:
        super().__init__(summary, **facts)
        self.stage = stage
        """``"input"``, ``"output"`` or ``"unknown"``; ``None`` if the server names no stage."""
        self.categories = categories
        """The categories that the server names, such as ``("violence",)``."""


class AuthenticationError(APIStatusError):
    """401: the API key is missing, wrong or revoked."""


class PermissionDeniedError(APIStatusError):
    """403: the key or its organization lacks the permission. Also 400, if the organization is not verified."""


class NotFoundError(APIStatusError):
    """404, or 400 for a model that does not exist: the server has no such model or endpoint."""


class RetiredError(NotFoundError):
    """404, 410 or 400: the model or endpoint was shut down, by the dates of OpenAI or in the words of the server."""

    def __init__(self, summary: str, *, replacement: str | None = None, **facts: Any) -> None:
        super().__init__(summary, **facts)
        self.replacement = replacement
        """The model to use instead; ``None`` if no replacement is known."""


class ConflictError(APIStatusError):
    """409: the request conflicts with another one, such as one under the same idempotency key."""


class UnprocessableEntityError(APIStatusError):
    """422: the server can read the request but does not accept a value in it."""


class RateLimitError(APIStatusError):
    """429: the rate limit is exceeded."""

    def __init__(self, summary: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(summary, **facts)
        self.retry_after = retry_after
        """Seconds that the server asks to wait; ``None`` if the response has no such value."""


class QuotaExceededError(RateLimitError):
    """429 or 402: the credit or the monthly budget of the account is used up. Waiting does not help."""


class InternalServerError(APIStatusError):
    """5xx: the server failed. It may have generated and billed the images before."""


class APIResponseError(APIError):
    """A success response without a readable image: it is truncated, too large, not JSON, or has no image in it.

    The summary has the reason that the server gives. The client never repeats the request by itself.
    """


class PendingTaskError(APIResponseError):
    """The server accepted the request as a task (202) and returned no image. The task may finish, and be billed, later."""

    def __init__(self, summary: str, *, task_id: str | None = None, **facts: Any) -> None:
        super().__init__(summary, **facts)
        self.task_id = task_id
        """The server's id of the task; ``None`` if the response has none."""


class StreamError(APIError):
    """A stream ended without its completed image, or with an error that has no class of its own."""

    partial: PartialImage | None = None
    """The last partial image; ``None`` if none arrived."""


def preview(value: object, shown: str | None = None) -> str:
    """Return a value as messages show it: its shortened ``repr``, or ``shown`` up to 200 characters."""
    return excerpt(repr(value)) if shown is None else excerpt(shown, 200)


def excerpt(text: str, length: int = 80) -> str:
    """Return the beginning of a text, printable."""
    return printable(text if len(text) <= length else f"{text[: length - 3]}...")


def printable(text: str) -> str:
    """Return a text as it may be shown: one line without characters that a terminal would interpret.

    Control characters (C0 and C1), bidirectional controls and lone surrogates become U+FFFD. Line breaks of any kind become
    spaces.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text)


for _name in __all__:
    globals()[_name].__module__ = "imagesdk"

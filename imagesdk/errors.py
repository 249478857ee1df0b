"""Every error that leaves the package, as one tree.

    ImageSDKError
    ├── ConfigurationError                          the client is set up wrong
    ├── InvalidRequestError (also ValueError)       refused here; nothing was sent
    ├── BudgetExceededError                         money; nothing was sent
    ├── ImageNotLoadedError                         an image that is only a URL so far
    ├── DownloadError                               a picture's URL could not be fetched
    ├── JournalError
    └── APIError
        ├── APIConnectionError
        │   ├── APITimeoutError
        │   │   └── LimitWaitError                  the limit leaves no room in time; never sent
        │   └── OutcomeUnknownError                 sent, and no answer came
        │       └── OutcomeUnknownTimeoutError      (also APITimeoutError)
        ├── APIStatusError
        │   ├── BadRequestError
        │   │   └── ModerationError
        │   ├── AuthenticationError
        │   ├── PermissionDeniedError
        │   ├── NotFoundError
        │   │   └── RetiredError
        │   ├── ConflictError
        │   ├── UnprocessableEntityError
        │   ├── RateLimitError
        │   │   └── QuotaExceededError
        │   └── InternalServerError
        ├── APIResponseError                        an answer that cannot be read
        └── StreamError                             a stream that ended without its picture

The class says what happened, ``maybe_billed`` says about money, and ``remedies`` says what to do. Trouble with a local
file stays an :class:`OSError`. Every error pickles, and none holds the key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from imagesdk.remedies import Remedy, worded

if TYPE_CHECKING:
    from imagesdk.types import ImagesResponse, PartialImage

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ConfigurationError",
    "ConflictError",
    "DownloadError",
    "ImageNotLoadedError",
    "ImageSDKError",
    "InternalServerError",
    "InvalidRequestError",
    "JournalError",
    "LimitWaitError",
    "ModerationError",
    "NotFoundError",
    "OutcomeUnknownError",
    "OutcomeUnknownTimeoutError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "RetiredError",
    "StreamError",
    "UnprocessableEntityError",
]


_BILLED = "The images may have been made and billed."


def _rebuild(cls: type[ImageSDKError], summary: str, state: dict[str, Any]) -> ImageSDKError:
    error = cls.__new__(cls, summary)
    error.args = (summary,)
    error.__dict__.update(state)
    return error


class ImageSDKError(Exception):
    """The root of the tree: ``except ImageSDKError`` catches all that this package raises of its own.

    ``str(error)`` is the summary and the remedies in the words of Python.
    """

    remedies: tuple[Remedy, ...] = ()
    """What the caller can do about it."""

    def __init__(self, summary: str, *, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(summary)
        self.remedies = tuple(remedies)

    def __str__(self) -> str:
        """Return the message."""
        return self.message

    @property
    def summary(self) -> str:
        """What happened, with the values at fault and without advice."""
        return str(self.args[0]) if self.args else ""

    @property
    def facts(self) -> str:
        """The summary, and whether images may have been billed."""
        return self.summary

    @property
    def message(self) -> str:
        """What happened and what to do about it: the text of the error."""
        return worded(self.facts, self.remedies)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.summary, dict(self.__dict__))


class ConfigurationError(ImageSDKError):
    """The client cannot be built or used as it is set up: no key, an unusable base URL, a wrong option."""

    def __init__(self, summary: str, *, param: str | None = None, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(summary, remedies=remedies)
        self.param = param
        """The option at fault."""

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
        """Return the error of an option with a value that it may not have; see :class:`InvalidRequestError`."""
        text = preview(value) if shown is None else excerpt(shown, 200)
        return cls(f"{param} must be {allowed}, not {text}.", param=param, remedies=remedies)


class InvalidRequestError(ImageSDKError, ValueError):
    """A parameter breaks a rule of its model. Nothing was sent and nothing was billed.

    ``check=False`` on the call or on the client sends the request as it is.
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
        """The parameter at fault, by its name in the API."""
        self.value = value
        """The value refused (file contents and long texts are described, not held)."""
        self.allowed = allowed
        """What would have been accepted, in words."""

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
        """Return the error of a parameter with a value that it may not have.

        Args:
            param: The parameter, by its name in the API. The summary starts with it.
            value: The value at fault.
            allowed: The accepted values, in words.
            model: The model whose rule it is.
            remedies: What the caller can do.
            shown: How the summary describes the value; its ``repr``, cut short, when not given.
        """
        text = preview(value) if shown is None else excerpt(shown, 200)
        rule = f" for {model}" if model else ""
        summary = f"{param} is {text}; allowed{rule}: {allowed}."
        return cls(summary, param=param, value=value, allowed=allowed, remedies=remedies)


class BudgetExceededError(ImageSDKError):
    """The next request would cost more than the money that is left. It was not sent."""


class ImageNotLoadedError(ImageSDKError):
    """The bytes of an image were asked for that is only a URL so far."""


class DownloadError(ImageSDKError):
    """A picture that exists on the server could not be fetched or was refused as unsafe.

    The picture was generated and billed. ``response`` holds the answer with its URLs, so that the
    download can be tried again (``client.images.download``) without generating again.
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
        """The HTTP status of the last answer, or ``None`` when there was none."""
        self.response = response
        """The response whose picture it was, or ``None`` when a bare URL was downloaded."""


class JournalError(ImageSDKError):
    """The journal of a run cannot be read or written."""


class APIError(ImageSDKError):
    """A request was made, or was about to be made, and did not end in a usable answer."""

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
        """The server's id of the last answer (``x-request-id``): what support asks for."""
        self.attempts = attempts
        """How many times the request was started."""
        self.maybe_billed = maybe_billed
        """Whether any attempt may have produced, and billed, pictures."""
        self.idempotency_key = idempotency_key
        """The key that every attempt carried; give it to ``idempotency_key=`` to ask again under it."""
        self.client_request_id: str | None = None
        """What every attempt was called for the server's logs (``x-client-request-id``): what support asks for where
        there is no ``request_id``. The key of idempotency, unless ``extra_headers=`` said another."""

    @property
    def facts(self) -> str:
        """The summary, and whether images may have been billed."""
        return f"{self.summary} {_BILLED}" if self.maybe_billed else self.summary


class APIConnectionError(APIError):
    """No connection to the server, or it broke before the request had been sent: nothing was billed.

    The exception is its subclass :class:`OutcomeUnknownError`: sent, and no answer came.
    """


class APITimeoutError(APIConnectionError):
    """Time ran out before the request had been sent, or, in :class:`OutcomeUnknownTimeoutError`, after."""


class LimitWaitError(APITimeoutError):
    """The rate limit has no room before the total time-out. Nothing was sent, unless an attempt before had failed: that is
    the cause then, and ``maybe_billed`` tells of it.
    """

    def __init__(self, summary: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(summary, **facts)
        self.retry_after = retry_after
        """Seconds until there would be room; ``None`` when there never will be."""


class OutcomeUnknownError(APIConnectionError):
    """The request was sent and no answer came: the pictures may have been made and billed."""


class OutcomeUnknownTimeoutError(OutcomeUnknownError, APITimeoutError):
    """The request was sent and no answer came in time: the pictures may have been made and billed."""


class APIStatusError(APIError):
    """The server answered with an error."""

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
        """The HTTP status. 200 when a server wrapped an error in a success, or sent it in a stream."""
        self.code = code
        """The API's ``error.code``: the stable word to branch on."""
        self.type = type
        """The API's ``error.type``."""
        self.param = param
        """The parameter that the server objects to."""
        self.body = body
        """The whole body: parsed JSON, else text cut to 2000 characters."""


class BadRequestError(APIStatusError):
    """400: the server refuses the request as it is."""


class ModerationError(BadRequestError):
    """The prompt or a picture was refused by the content filter.

    Change the request rather than repeat it. A refusal that is wrong can be reported to the maker
    at https://help.openai.com with the ``request_id``.
    """

    def __init__(
        self, summary: str, *, stage: str | None = None, categories: tuple[str, ...] = (), **facts: Any
    ) -> None:
        super().__init__(summary, **facts)
        self.stage = stage
        """``"input"``, ``"output"`` or ``"unknown"``; ``None`` when the server did not say."""
        self.categories = categories
        """The categories named by the server, e.g. ``("violence",)``."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or withdrawn."""


class PermissionDeniedError(APIStatusError):
    """403: this key or organisation may not do that. (400, where the organisation is not verified for a model.)"""


class NotFoundError(APIStatusError):
    """404: no such model or endpoint on this server."""


class RetiredError(NotFoundError):
    """The model or the endpoint has been retired by its maker: 404 or 410, or 400 where the server says so in words."""

    def __init__(self, summary: str, *, replacement: str | None = None, **facts: Any) -> None:
        super().__init__(summary, **facts)
        self.replacement = replacement
        """The model to use in its place, where one is known."""


class ConflictError(APIStatusError):
    """409: the request collides with another one."""


class UnprocessableEntityError(APIStatusError):
    """422: understood and still not acceptable."""


class RateLimitError(APIStatusError):
    """429: more than the limit allows."""

    def __init__(self, summary: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(summary, **facts)
        self.retry_after = retry_after
        """Seconds that the server asks to wait, where it said."""


class QuotaExceededError(RateLimitError):
    """The credit or the monthly budget is used up. Waiting does not help; paying does."""


class InternalServerError(APIStatusError):
    """5xx: the server failed. It may have made, and billed, the pictures before it did."""


class APIResponseError(APIError):
    """An answer came with success and cannot be read: cut short, not JSON, bad base64, too large."""


class StreamError(APIError):
    """A stream ended without its completed picture, or with an error that is none of the others."""

    partial: PartialImage | None = None
    """The last picture that came on the way, if one did."""


def preview(value: object) -> str:
    """Return a value as messages show it: its repr, cut short."""
    return excerpt(repr(value))


def excerpt(text: str, length: int = 80) -> str:
    """Return the beginning of a text, without the control characters that a terminal would obey."""
    cut = text if len(text) <= length else f"{text[: length - 3]}..."
    return "".join(character if character.isprintable() else " " for character in cut)


for _name in __all__:
    globals()[_name].__module__ = "imagesdk"

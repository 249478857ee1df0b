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

The class says what happened, ``maybe_billed`` says about money. Trouble with a local file
stays an :class:`OSError`. Every error pickles, and none holds the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def _rebuild(cls: type[ImageSDKError], message: str, state: dict[str, Any]) -> ImageSDKError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class ImageSDKError(Exception):
    """The root of the tree: ``except ImageSDKError`` catches all that this package raises of its own."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """What happened and what to do about it, in one or two sentences."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))


class ConfigurationError(ImageSDKError):
    """The client cannot be built or used as it is set up: no key, an unusable base URL, a wrong option."""


class InvalidRequestError(ImageSDKError, ValueError):
    """A parameter breaks a rule of its model. Nothing was sent and nothing was billed.

    ``check=False`` on the call or on the client sends the request as it is.
    """

    def __init__(
        self, message: str, *, param: str | None = None, value: object = None, allowed: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        """The parameter at fault, by its name in the API."""
        self.value = value
        """The value refused (file contents and long texts are described, not held)."""
        self.allowed = allowed
        """What would have been accepted, in words."""


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
        self, message: str, *, status_code: int | None = None, response: ImagesResponse | None = None
    ) -> None:
        super().__init__(message)
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
        message: str,
        *,
        request_id: str | None = None,
        attempts: int = 0,
        maybe_billed: bool = False,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(message)
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

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
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
        message: str,
        *,
        status_code: int = 0,
        code: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's own name
        param: str | None = None,
        body: object = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
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
        self, message: str, *, stage: str | None = None, categories: tuple[str, ...] = (), **facts: Any
    ) -> None:
        super().__init__(message, **facts)
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

    def __init__(self, message: str, *, replacement: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.replacement = replacement
        """The model to use in its place, where one is known."""


class ConflictError(APIStatusError):
    """409: the request collides with another one."""


class UnprocessableEntityError(APIStatusError):
    """422: understood and still not acceptable."""


class RateLimitError(APIStatusError):
    """429: more than the limit allows."""

    def __init__(self, message: str, *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
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


for _name in __all__:
    globals()[_name].__module__ = "imagesdk"

"""What to do about an answer that is an error: one table, from the most special row to the most general."""

from __future__ import annotations

import re

from attrs import frozen

from imagesdk._protocol.error_bodies import ErrorBody
from imagesdk.errors import (
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

UNVERIFIED = re.compile(r"organi[sz]ation must be verified", re.IGNORECASE)
"""403 with code null in most reports, 400 in one."""


@frozen
class _Row:
    advice: str
    error: type[APIStatusError] = APIStatusError
    codes: frozenset[str] = frozenset()
    """Empty: any."""
    says: str = ""
    """A pattern that the message has."""
    status: int | None = None
    never_fits: bool = False
    """Whether it is for limits that the request can never meet."""

    def fits(self, error: type[APIStatusError], status: int, body: ErrorBody, never_fits: bool) -> bool:
        return (
            issubclass(error, self.error)
            and (never_fits or not self.never_fits)
            and (not self.codes or body.code in self.codes)
            and (self.status is None or status == self.status)
            and re.search(self.says, body.message, re.IGNORECASE) is not None
        )


_ROWS = (
    _Row(
        "Verify the organisation at https://platform.openai.com/settings/organization/general; it can take up to "
        "15 minutes until the model works.",
        PermissionDeniedError,
        says=UNVERIFIED.pattern,
    ),
    _Row(
        "The model takes no response_format and always answers with the pictures themselves: leave it out.",
        BadRequestError,
        says=r"unknown parameter: 'response_format'",
    ),
    _Row(
        "This model or server does not know the parameter: leave it out.",
        BadRequestError,
        frozenset({"unknown_parameter"}),
    ),
    _Row(
        "Ask for one picture per stream (n=1), and make several streams for several pictures.",
        BadRequestError,
        says=r"streaming is only supported with n=1",
    ),
    _Row(
        "Ask for partial_images=1 to 3, or do not stream.",
        BadRequestError,
        says=r"non-zero partial images",
    ),
    _Row(
        "The server could not fetch the picture from its URL: give the picture itself, or a URL that is open to all.",
        BadRequestError,
        says=r"error while downloading (the )?file",
    ),
    _Row(
        "The picture must be a PNG, JPEG or WebP that is sent as such: imagesdk.prepare_image(...) makes it one.",
        BadRequestError,
        frozenset({"unsupported_file_mimetype"}),
    ),
    _Row(
        "The picture cannot be read or has a mode that the model does not take (CMYK, several pictures in one "
        "file): imagesdk.prepare_image(...) makes an 8-bit RGB picture of it.",
        BadRequestError,
        frozenset({"invalid_image_file"}),
    ),
    _Row(
        'imagesdk.prepare_image(..., square="crop", max_bytes=4 * 1024 * 1024) makes a square PNG of less than 4 MiB.',
        BadRequestError,
        says=r"image must be a png and less than",
    ),
    _Row(
        "imagesdk.make_mask(image, boxes=[...]) makes a mask that fits.",
        BadRequestError,
        says=r"mask must be a png and less than|mask size does not match|mask image missing alpha",
    ),
    _Row(
        "Draw the markup on a transparent PNG of the same width and height as the (first) image.",
        BadRequestError,
        says=r"markup size does not match|markup image (missing alpha|must contain transparent)",
    ),
    _Row(
        'imagesdk.prepare_image(..., square="crop") makes it square; square="pad" keeps all of it.',
        BadRequestError,
        says=r"image must be square",
    ),
    _Row(
        "Without a mask, the picture must be transparent where it is to change. Pass mask=, such as "
        "imagesdk.make_mask(image, boxes=[...]) makes, or a picture that is transparent there.",
        BadRequestError,
        says=r"input image - format must be in",
    ),
    _Row(
        "imagesdk.prepare_image(...) makes a plain PNG of a picture; its square=, size=, alpha= and max_bytes= are for "
        "what else is asked for.",
        BadRequestError,
        frozenset({"invalid_image_format"}),
    ),
    _Row(
        'Leave background out or ask for "opaque"; other models make transparent pictures.',
        BadRequestError,
        says=r"transparent background is not supported",
    ),
    _Row(
        "Change the prompt or the picture; a wrong refusal can be reported at https://help.openai.com with the "
        "request id.",
        ModerationError,
    ),
    _Row(
        "Waiting does not help: check the plan and the billing limits of the account.",
        QuotaExceededError,
    ),
    _Row(
        "However long it waits, the limit has no room for this request: ask for fewer pictures at once (n=), or for a "
        "higher limit in the limits page of the account's settings.",
        RateLimitError,
        never_fits=True,
    ),
    _Row(
        "A higher limit can be asked for in the limits page of the account's settings; rate_limit= tells the client "
        "the one you have.",
        RateLimitError,
    ),
    _Row(
        "Check the key in AZURE_OPENAI_API_KEY or api_key=, and that the endpoint is that of its resource.",
        AuthenticationError,
        says=r"invalid subscription key or wrong API endpoint",
    ),
    _Row("Check the key in OPENAI_API_KEY or api_key=.", AuthenticationError),
    _Row("Check what the key, its project and its organisation may do.", PermissionDeniedError),
    _Row(
        "Check the name of the model, and whether the account may use it.",
        NotFoundError,
        frozenset({"model_not_found"}),
    ),
    _Row(
        "On Azure the model is the name of the deployment: check it, and the api-version.",
        NotFoundError,
        frozenset({"DeploymentNotFound"}),
    ),
    _Row(
        "Check base_url (with its /v1) and the name of the model; some servers have no edits or variations.",
        NotFoundError,
    ),
    _Row(
        "Another request under the same key is being worked on: wait for it, or give another idempotency_key=.",
        ConflictError,
    ),
    _Row("Change the parameter that it names, or leave it out.", UnprocessableEntityError),
    _Row("The pictures may have been made and billed all the same; try again later.", InternalServerError),
    _Row("Try again.", status=408),
    _Row(
        "The upload is too large for the server: imagesdk.prepare_image(..., max_bytes=...) makes it smaller.",
        status=413,
    ),
    _Row("Change the request: it would be refused again as it is.", BadRequestError),
)


def advice(
    error: type[APIStatusError], status: int, body: ErrorBody, *, never_fits: bool = False
) -> str | None:
    """Return a sentence that says what to do; ``None`` when there is none."""
    return next((row.advice for row in _ROWS if row.fits(error, status, body, never_fits)), None)

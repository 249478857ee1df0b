"""Remedies for an error response: the first matching row of a table, from the most specific to the most general."""

from __future__ import annotations

import re
from typing import TypeAlias

from attrs import frozen

from imagesdk import errors
from imagesdk._protocol.error_bodies import ErrorBody
from imagesdk.models import nearest_size
from imagesdk.remedies import Remedy

ErrorClass: TypeAlias = type[errors.APIStatusError]

UNVERIFIED = re.compile(r"organi[sz]ation must be verified", re.IGNORECASE)
"""Reported as 403 with code null, and once as 400."""

_FREE_SIZE = re.compile(r"Invalid size '([1-9]\d{0,4})x([1-9]\d{0,4})'\. (?:Width and|The longest|Requested)")
"""Reported only for models that accept other sizes than the listed ones."""


@frozen
class _Row:
    remedies: tuple[Remedy, ...]
    error: ErrorClass = errors.APIStatusError
    code: str | None = None
    says: str = ""  # a pattern of the message
    status: int | None = None
    never_fits: bool = False

    def fits(self, error: ErrorClass, status: int, body: ErrorBody, never_fits: bool) -> bool:
        return (
            issubclass(error, self.error)
            and (never_fits or not self.never_fits)
            and self.code in {None, body.code}
            and self.status in {None, status}
            and re.search(self.says, body.message, re.IGNORECASE) is not None
        )


_ROWS = (
    _Row((Remedy.VERIFY_ORGANIZATION,), errors.PermissionDeniedError, says=UNVERIFIED.pattern),
    _Row((Remedy.LEAVE_OUT.of("response_format"),), errors.BadRequestError, says="unknown parameter: 'response_format'"),
    _Row((Remedy.LEAVE_OUT,), errors.BadRequestError, "unknown_parameter"),
    _Row((Remedy.STREAM_ONE_IMAGE,), errors.BadRequestError, says=r"streaming is only supported with n=1"),
    _Row((Remedy.SET_PARTIAL_IMAGES,), errors.BadRequestError, says=r"non-zero partial images"),
    _Row((Remedy.PASS_IMAGE,), errors.BadRequestError, says=r"error while downloading (the )?file"),
    _Row((Remedy.CONVERT_IMAGE,), errors.BadRequestError, "unsupported_file_mimetype"),
    _Row((Remedy.CONVERT_IMAGE,), errors.BadRequestError, "invalid_image_file"),
    _Row((Remedy.PREPARE_SMALL_SQUARE.of(4 * 1024**2),), errors.BadRequestError, says=r"image must be a png and less than"),
    _Row((Remedy.MAKE_MASK,), errors.BadRequestError, says=r"mask (must be a png and less than|size does not match|image missing alpha)"),
    _Row((Remedy.DRAW_MARKUP,), errors.BadRequestError, says=r"markup (size does not match|image (missing alpha|must contain transparent))"),
    _Row((Remedy.PREPARE_SQUARE,), errors.BadRequestError, says=r"image must be square"),
    _Row((Remedy.PASS_MASK, Remedy.MAKE_MASK), errors.BadRequestError, says=r"input image - format must be in"),
    _Row((Remedy.CONVERT_IMAGE,), errors.BadRequestError, "invalid_image_format"),
    _Row((Remedy.PASS_OPAQUE_BACKGROUND,), errors.BadRequestError, says=r"transparent background is not supported"),
    _Row((Remedy.CHANGE_CONTENT,), errors.ModerationError),
    _Row((Remedy.CHECK_BILLING,), errors.QuotaExceededError),
    _Row((Remedy.ASK_FOR_FEWER, Remedy.ASK_FOR_HIGHER_LIMIT), errors.RateLimitError, never_fits=True),
    _Row((Remedy.ASK_FOR_HIGHER_LIMIT, Remedy.SET_RATE_LIMIT), errors.RateLimitError),
    _Row((Remedy.CHECK_AZURE_KEY,), errors.AuthenticationError, says=r"invalid subscription key or wrong API endpoint"),
    _Row((Remedy.CHECK_KEY,), errors.AuthenticationError),
    _Row((Remedy.CHECK_PERMISSIONS,), errors.PermissionDeniedError),
    _Row((Remedy.CHECK_MODEL,), errors.NotFoundError, "model_not_found"),
    _Row((Remedy.CHECK_MODEL,), errors.NotFoundError, says=r"\bmodel\b.*\bdoes not exist\b"),
    _Row((Remedy.CHECK_DEPLOYMENT,), errors.NotFoundError, "DeploymentNotFound"),
    _Row((Remedy.CHECK_BASE_URL,), errors.NotFoundError),
    _Row((Remedy.CHECK_BASE_URL,), status=405),
    _Row((Remedy.CHANGE_IDEMPOTENCY_KEY,), errors.ConflictError),
    _Row((Remedy.CHANGE_PARAMETER,), errors.UnprocessableEntityError),
    _Row((Remedy.RETRY_LATER,), errors.InternalServerError),
    _Row((Remedy.RETRY,), status=408),
    _Row((Remedy.SHRINK_IMAGE.of("..."),), status=413),
    _Row((Remedy.CHANGE_REQUEST,), errors.BadRequestError),
)  # fmt: skip


def remedies_for(error: ErrorClass, status: int, body: ErrorBody, *, never_fits: bool) -> tuple[Remedy, ...]:
    """Return the remedies for an error response. ``never_fits``: the request exceeds the rate limit by itself."""
    remedies = next((row.remedies for row in _ROWS if row.fits(error, status, body, never_fits)), ())
    if remedies == (Remedy.CHANGE_REQUEST,) and (size := _FREE_SIZE.search(body.message)):
        nearest = nearest_size(int(size[1]), int(size[2]))
        return remedies if nearest == f"{size[1]}x{size[2]}" else (Remedy.USE_SIZE.of(nearest),)
    if remedies == (Remedy.LEAVE_OUT,) and body.param:
        return (Remedy.LEAVE_OUT.of(body.param),)
    return remedies

"""The meaning of a ``str`` given as an image: a URL, a data URL, or a path."""

from __future__ import annotations

import binascii
import errno
import os
import re
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from imagesdk._media.sniff import sniff
from imagesdk.errors import InvalidRequestError, excerpt
from imagesdk.remedies import Remedy, worded

_URLS = ("http://", "https://", "data:")
_FILE_URL: Final = re.compile(r"file:(?://[^/]*)?(?:/(?=[A-Za-z]:))?", re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=\s-]+")
_URL_SAFE: Final = str.maketrans("-_", "+/", " \t\r\n")
_MAX_NAME: Final = 255
_MAX_PATH: Final = 4096
_MAX_PREVIEW: Final = 40
"""Characters of a text that a message shows."""


def refused(
    param: str, problem: str, value: object, allowed: str | None = None, *remedies: Remedy
) -> InvalidRequestError:
    """Return the error of a parameter that "is" or "has" a problem."""
    summary = f"{param} {problem}."
    return InvalidRequestError(summary, param=param, value=value, allowed=allowed, remedies=remedies)


class MissingFileError(FileNotFoundError):
    """A path that names no file, worded for the caller of a method."""

    param: str
    remedies: tuple[Remedy, ...] = ()

    @classmethod
    def for_parameter(cls, param: str, path: str) -> MissingFileError:
        """Return the error of a parameter."""
        error = cls(errno.ENOENT, f"{param}: no file named {excerpt(repr(path), _MAX_PATH)}.", path)
        error.param = param
        return error

    @property
    def facts(self) -> str:
        """What happened, without advice."""
        return str(self.strerror)

    def __str__(self) -> str:
        return worded(self.facts, self.remedies)


def is_url(text: str) -> bool:
    """Return whether a text is a URL instead of a path."""
    return text[:8].lower().startswith(_URLS)


def check_path(param: str, text: str) -> None:
    """Raise an error if a text cannot be a path."""
    if not text or "\0" in text:
        problem = "holds a NUL" if text else "is an empty text"
        raise refused(param, problem, text, "a path", Remedy.PASS_SOURCE)
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        problem = "holds a lone surrogate, which no path can have"
        raise refused(param, problem, "a text with a lone surrogate", "a path", Remedy.PASS_SOURCE) from None
    if text[:6].lower() == "file:/":
        remedy = Remedy.PASS_PATH.of(f"{unquote(_FILE_URL.sub('', text, count=1))!r:.200}")
        raise refused(param, f"is the URL of a file, {text!r:.200}", text, "a path", remedy)
    if len(text) <= _MAX_NAME:
        return
    encoded = _BASE64.fullmatch(text[:_MAX_PATH]) is not None
    if len(text) > _MAX_PATH or (encoded and ("/" not in text or _decodes_to_image(text))):
        preview, allowed = text[:_MAX_PREVIEW], "a path, a URL, bytes or a file"
        if encoded:
            raise refused(param, f"looks like base64 ({preview}...)", preview, allowed, Remedy.DECODE_BASE64)
        problem = f"is a text of {len(text)} characters ({preview}...), longer than any path"
        raise refused(param, problem, preview, allowed, Remedy.PASS_SOURCE)


def _decodes_to_image(text: str) -> bool:
    head = text[:_MAX_NAME].translate(_URL_SAFE)
    try:
        return sniff(binascii.a2b_base64(head[: len(head) // 4 * 4])).media_type is not None
    except ValueError:
        return False


def decode_data_url(param: str, url: str) -> bytes:
    """Return the bytes in a ``data:`` URL. https://www.rfc-editor.org/rfc/rfc2397"""
    head, comma, text = url.partition(",")
    try:
        if not comma:
            raise ValueError("there is no comma in it")
        data = unquote_to_bytes(text)
        if not head.rstrip().lower().endswith(";base64"):
            return data
        plain = data.translate(None, b" \t\r\n")
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except ValueError as error:
        problem = f"is a data URL that cannot be read: {error}"
        raise refused(param, problem, url[:40], "data:image/png;base64,...") from None

"""The meaning of a ``str`` given as an image: a URL, a data URL, or a path."""

from __future__ import annotations

import binascii
import re
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from imagesdk._media.sniff import sniff
from imagesdk.errors import InvalidRequestError
from imagesdk.remedies import Remedy

_URLS = ("http://", "https://", "data:")
_FILE_URL: Final = re.compile(r"file:(?://[^/]*)?(?:/(?=[A-Za-z]:))?", re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=\s-]+")
_URL_SAFE: Final = str.maketrans("-_", "+/", " \t\r\n")
_MAX_NAME: Final = 255
_MAX_PATH: Final = 4096
_MAX_PREVIEW: Final = 40
"""Characters of a text that a message shows."""


def is_url(text: str) -> bool:
    """Return whether a text is a URL instead of a path."""
    return text[:8].lower().startswith(_URLS)


def check_path(param: str, text: str) -> None:
    """Raise an error if a text cannot be a path.

    Raises:
        InvalidRequestError: If the text is empty, a ``file:`` URL, base64, or longer than any path.
    """
    if not text or "\0" in text:
        said = "holds a NUL" if text else "is an empty text"
        raise InvalidRequestError(
            f"{param} {said}.", param=param, value=text, allowed="a path", remedies=(Remedy.PASS_SOURCE,)
        )
    if text[:6].lower() == "file:/":
        path = unquote(_FILE_URL.sub("", text, count=1))
        raise InvalidRequestError(
            f"{param} is the URL of a file, {text!r:.200}.",
            param=param,
            value=text,
            allowed="a path",
            remedies=(Remedy.PASS_PATH.of(f"{path!r:.200}"),),
        )
    if len(text) <= _MAX_NAME:
        return
    encoded = _BASE64.fullmatch(text[:_MAX_PATH]) is not None
    if len(text) > _MAX_PATH or (encoded and ("/" not in text or _decodes_to_image(text))):
        said = (
            f"looks like base64 ({text[:_MAX_PREVIEW]}...)"
            if encoded
            else f"is a text of {len(text)} characters ({text[:_MAX_PREVIEW]}...), longer than any path"
        )
        raise InvalidRequestError(
            f"{param} {said}.",
            param=param,
            value=text[:_MAX_PREVIEW],
            allowed="a path, a URL, bytes or a file",
            remedies=(Remedy.DECODE_BASE64 if encoded else Remedy.PASS_SOURCE,),
        )


def _decodes_to_image(text: str) -> bool:
    head = text[:_MAX_NAME].translate(_URL_SAFE)
    try:
        return sniff(binascii.a2b_base64(head[: len(head) // 4 * 4])).media_type is not None
    except ValueError:
        return False


def decode_data_url(param: str, url: str) -> bytes:
    """Return the bytes in a ``data:`` URL. https://www.rfc-editor.org/rfc/rfc2397

    Raises:
        InvalidRequestError: If the URL cannot be decoded.
    """
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
        raise InvalidRequestError(
            f"{param} is a data URL that cannot be read: {error}.",
            param=param,
            value=url[:40],
            allowed="data:image/png;base64,...",
        ) from None

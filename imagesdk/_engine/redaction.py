"""Removal of the key from errors, which programs print, log and store with the variables of their frames.

Texts of a server lose the key when they are decoded. This module covers the rest: errors of HTTP libraries, which quote
the bytes that they refuse, and whose frames hold whole buffers. A traceback that shows the key is dropped.
"""

from __future__ import annotations

import traceback
from contextlib import suppress

from imagesdk._protocol.secret import Secret
from imagesdk._transport.httpx_compat import causes_of
from imagesdk.errors import ImageSDKError


def redact_error(error: ImageSDKError, key: Secret) -> None:
    """Remove the key from an error that has not been raised yet, and from its causes."""
    facts = vars(error)
    facts.update({name: key.removed_from_value(value) for name, value in facts.items()})
    error.args = key.removed_from_value(error.args)
    last: BaseException = error
    for link in [*causes_of(error)][1:]:
        if _shows(link, key):
            link.__traceback__ = None
        if _is_in(key, _text(link)):
            with suppress(Exception):  # an error of a library may take no other arguments
                link.args = tuple(_redacted(argument, key) for argument in link.args)
        if _is_in(key, _text(link)):
            last.__cause__ = last.__context__ = None
            return
        last = link


def _redacted(argument: object, key: Secret) -> object:
    shown = argument if isinstance(argument, str) else repr(argument)
    return key.removed_from(shown) if _is_in(key, shown) else argument


def _is_in(key: Secret, text: str) -> bool:
    return key.removed_from(text) != text


def _text(value: object) -> str:
    try:
        return f"{value!r} {value}" if isinstance(value, BaseException) else repr(value)
    except Exception:  # noqa: BLE001 - an object that is half made may have no repr
        return ""


def _shows(link: BaseException, key: Secret) -> bool:
    """Return whether a variable in the traceback of an error shows the key."""
    frames = (frame for frame, _ in traceback.walk_tb(link.__traceback__))
    return any(_is_in(key, _text(value)) for frame in frames for value in frame.f_locals.values())

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
    for link in causes_of(error):
        facts = vars(link)
        if isinstance(link, ImageSDKError):
            facts.update({name: key.removed_from_value(value) for name, value in facts.items()})
        elif _shows(link, key):
            link.__traceback__ = None
        args = tuple(_redacted(argument, key) for argument in link.args)
        if args != link.args:
            link.args = args


def _redacted(argument: object, key: Secret) -> object:
    if isinstance(argument, bytes | bytearray):
        return key.removed_from(repr(argument))
    return key.removed_from_value(argument)


def _shows(link: BaseException, key: Secret) -> bool:
    """Return whether a variable in the traceback of an error shows the key."""
    for frame, _ in traceback.walk_tb(link.__traceback__):
        for value in frame.f_locals.values():
            with suppress(Exception):  # an object that is half made may have no repr
                shown = repr(value)
                if key.removed_from(shown) != shown:
                    return True
    return False

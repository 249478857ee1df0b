"""The key, in the one object that holds it. It does not print, log, pickle or travel."""

from __future__ import annotations

import hashlib
from typing import NoReturn

from imagesdk.errors import ConfigurationError

_MIN_KEY_LENGTH = 16
"""Characters that a key has at least; shorter ones are words, such as ``none`` for a server that wants none."""


class Secret:
    """A value that only :meth:`reveal` gives out."""

    __slots__ = ("_value",)

    def __init__(self, value: str, what: str = "The API key") -> None:
        value = value.strip()
        if not (value.isascii() and value.isprintable()) or " " in value:
            del value  # tracebacks may show the values of variables
            raise ConfigurationError(
                f"{what} holds characters that none has (a space, a line break, or beyond ASCII): "
                "it was probably pasted with something around it."
            )
        self._value = value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "<Secret>"

    def reveal(self) -> str:
        """Return the value, for the header of one request."""
        return self._value

    def removed_from(self, text: str) -> str:
        """Return ``text`` without the value, which a server may have put into its answer."""
        return text.replace(self._value, "<the key>") if len(self._value) >= _MIN_KEY_LENGTH else text

    def fingerprint(self) -> str:
        """Return a short hash that tells two keys apart and says nothing about either."""
        return hashlib.sha256(b"imagesdk:" + self._value.encode()).hexdigest()[:16]

    def __reduce__(self) -> NoReturn:
        raise TypeError("The API key cannot be pickled or copied; build a client where it is needed.")

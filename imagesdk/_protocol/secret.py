"""The API key in an object that cannot be printed, logged, pickled or copied."""

from __future__ import annotations

import hashlib
from typing import NoReturn

from imagesdk.errors import ConfigurationError

_MIN_KEY_LENGTH = 16  # shorter values are placeholders, such as ``none`` for a server without keys


class Secret:
    """A value that only :meth:`reveal` returns."""

    __slots__ = ("_value",)

    def __init__(self, value: str, what: str = "The API key") -> None:
        value = value.strip()
        if not (value.isascii() and value.isprintable()) or " " in value:
            del value  # tracebacks may show the values of variables
            raise ConfigurationError(
                f"{what} contains a space, a line break or a character beyond ASCII. "
                "It was probably pasted with something around it."
            )
        self._value = value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "<Secret>"

    def reveal(self) -> str:
        """Return the value, for the header of a request."""
        return self._value

    def removed_from(self, text: str) -> str:
        """Return ``text`` without the value, which a server may quote in a response."""
        return text.replace(self._value, "<the key>") if len(self._value) >= _MIN_KEY_LENGTH else text

    def fingerprint(self) -> str:
        """Return a short hash that identifies the value without revealing it."""
        return hashlib.sha256(b"imagesdk:" + self._value.encode()).hexdigest()[:16]

    def __reduce__(self) -> NoReturn:
        raise TypeError("The API key cannot be pickled or copied; build a client where it is needed.")

"""The API key in an object that cannot be printed, logged, pickled or copied.

A server may quote the key that it received. The key is removed once from decoded texts, before any of them is cut or
becomes part of a result, an error or a record. Keys of every length are removed, with two exceptions: fewer than four
characters, and words of the API and placeholders for servers without keys, which are no secrets.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NoReturn, TypeGuard
from urllib.parse import quote

from imagesdk._protocol.json_values import is_list, is_object
from imagesdk.errors import ConfigurationError

_REPLACEMENT = "<the key>"
_SHORTEST = 4
_LONG = 16
"""Length from which a key in the URL of an image is no coincidence, wherever it is."""
_PLACEHOLDERS = frozenset(
    {
        "dummy",
        "empty",
        "lm-studio",
        "no-key",
        "none",
        "not-needed",
        "null",
        "ollama",
        "placeholder",
        "test",
        "unused",
    }
)
_API_WORDS = (
    "background b64_json bytes code content_filter_results created_at data deleted detail error error_description "
    "expires_at filename image_edit.completed image_edit.partial_image image_generation.completed input_tokens_details "
    "image_generation.partial_image inner_error innererror insufficient_quota limit message model moderation_details "
    "moderation_blocked moderation_stage object output_format output_tokens_details param partial_image_index purpose "
    "quality rate_limit_exceeded reasoning_tokens requested retryDelay revised_prompt safety_identifier size status_code "
    "svg_usage text_tokens image_tokens total_tokens try again in type url usage images per minute requests "
    "application/json text/event-stream text/html image/png image/jpeg image/webp"
)
_ODD = frozenset("\\\"'&<>%")
_ESCAPE = re.compile(
    r"\\+(?:(?:u00|x)([0-9a-f]{2})|([^\\ux]))?|%([0-9a-f]{2})|&#x0{0,6}([0-9a-f]{2});|&#0{0,6}([0-9]{2,3});",
    re.IGNORECASE,
)
"""A character as JSON, Python, URLs and HTML spell it. A run of backslashes is matched once, whatever follows."""


class Secret:
    """A value that only :meth:`reveal` returns."""

    __slots__ = ("_searched", "_value")

    def __init__(self, value: str, what: str = "The API key") -> None:
        value = value.strip()
        if not (value.isascii() and value.isprintable()) or " " in value:
            del value  # tracebacks may show the values of variables
            raise ConfigurationError(
                f"{what} contains a space, a line break or a character beyond ASCII. "
                "It was probably pasted with something around it."
            )
        self._value = value
        is_word = value.lower() in _PLACEHOLDERS or value in _API_WORDS
        self._searched = len(value) >= _SHORTEST and not is_word

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "<Secret>"

    def reveal(self) -> str:
        """Return the value, for the header of a request."""
        return self._value

    def may_be_in(self, content: bytes | bytearray, *, escapes: int) -> bool:
        """Return whether a JSON text may contain the value: it does, or it has more than so many escapes."""
        return self._searched and (self._value.encode() in content or content.count(b"\\") > escapes)

    def removed_from(self, text: str) -> str:
        """Return ``text`` without the value, in whatever spelling a server quotes it."""
        if not self._searched or not (self._value in text or "\\" in text or "%" in text or "&" in text):
            return text
        value, whole_words = (
            self._value,
            len(self._value) < _LONG and text.startswith(("http:", "https:", "/")),
        )
        for spelling in _spellings(value) if _ODD.intersection(value) else (value,):
            text = _replaced(text, spelling, whole_words)
        plain = _ESCAPE.sub(_character, text)
        return _replaced(plain, value, whole_words) if value in plain else text

    def removed_from_value(self, value: Any) -> Any:
        """Return a text, or the texts of a list, a tuple or a dict, without the value of this object."""
        if isinstance(value, str):
            return self.removed_from(value)
        clean = self.removed_from_value
        if is_object(value):
            return {clean(name): clean(item) for name, item in value.items()}
        if is_list(value):
            return [clean(item) for item in value]
        if _is_tuple(value):
            return tuple(clean(item) for item in value)
        return value

    def fingerprint(self) -> str:
        """Return a short hash that identifies the value without revealing it."""
        return hashlib.sha256(b"imagesdk:" + self._value.encode()).hexdigest()[:16]

    def __reduce__(self) -> NoReturn:
        raise TypeError("The API key cannot be pickled or copied; build a client where it is needed.")


NO_KEY = Secret("")


def _is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Return whether a value is a tuple without names, which can be made of other values."""
    return type(value) is tuple


def _spellings(value: str) -> list[str]:
    """Return a key with odd characters as JSON, Python, HTML and URLs spell it, the longest spelling first."""
    import html  # rarely needed, and its table of entities is large

    spellings = {value, json.dumps(value)[1:-1], repr(value)[1:-1], html.escape(value), quote(value, safe="")}
    return sorted(spellings, key=len, reverse=True)


def _character(match: re.Match[str]) -> str:
    if code := match[1] or match[3] or match[4]:
        return chr(int(code, 16))
    return match[2] or (chr(int(match[5])) if match[5] else match[0])


def _replaced(text: str, spelling: str, whole_words: bool) -> str:
    """Replace a spelling of the key, perhaps only where no letter or digit is beside it."""
    if not whole_words:
        return text.replace(spelling, _REPLACEMENT)
    first, *others = text.split(spelling)
    for other in others:
        is_part = first[-1:].isalnum() or other[:1].isalnum()
        first += (spelling if is_part else _REPLACEMENT) + other
    return first

"""Incremental scanner that extracts and decodes the images of a JSON response.

The response to an image request is a few hundred bytes of JSON around megabytes of base64. :meth:`Scanner.feed` takes
chunks of any size and returns image events. The base64 is left out of the remaining JSON, which is parsed at the end.

===================================================================  ============================
string value                                                         result
===================================================================  ============================
of a key ``b64_json``                                                an image
of a key ``url``, if ``data:...``                                    an image
any other, if ``data:image/...`` or the base64 of a PNG, JPEG,       an image
WebP or GIF
any other                                                            part of the remaining JSON
===================================================================  ============================

At no time does memory contain more of an image than the last chunk.

Whatever a server sends, a response has caps: the bytes of an image and of the response, :data:`MAX_REST` bytes of other
JSON, ``MAX_VALUES`` values, and :func:`max_entries` images. The time that a response takes is proportional to its bytes,
and :meth:`Scanner.steps` divides it into short steps. A caller lets other tasks run between them, and parses a
response that :attr:`Scanner.is_large` in a thread.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

from attrs import frozen

from imagesdk._protocol.json_values import (
    MAX_VALUES,
    TooManyValuesError,
    count_values,
    is_list,
    is_object,
    parse_json,
)
from imagesdk._protocol.secret import NO_KEY, Secret

MAX_IMAGE = 64 * 1024 * 1024
"""Maximum size of one decoded image in bytes."""
MAX_RESPONSE = 1024 * 1024 * 1024
"""Maximum size of a response in bytes, before decoding."""
MAX_REST = 1024 * 1024
"""Maximum size of a response without its images, in bytes."""
MAX_ERROR = 64 * 1024
"""Maximum size of an error body in bytes. Reading ends there."""
MAX_LISTING = 4 * 1024 * 1024
"""Maximum size of a response to a request for no images, such as a list of 10,000 files, in bytes."""
MAX_LISTED = 100_000
"""Maximum number of values in such a response."""

STEP_BYTES = 64 * 1024
"""Maximum number of bytes that are scanned in one step."""
STEP_TOKENS = 400
"""Maximum number of strings and gaps that are scanned in one step."""
_SMALL_BYTES, _SMALL_VALUES = 64 * 1024, 2000  # of a response that is parsed at once

_MAX_KEY_LENGTH = 64
_MAX_DATA_HEADER = 1024
_DATA = b"data:"
_STARTS: dict[str | None, tuple[bytes, ...]] = {"b64_json": (), "url": (_DATA,)}
"""How the values of a key begin if they are images; in any way if empty."""
_OTHER_STARTS = (b"data:image/", b"iVBORw0KGgo", b"/9j/", b"UklGR", b"R0lGOD")
"""The same for other keys: a data URL, PNG, JPEG, WebP, GIF."""
_FIRST_BYTES = frozenset(b"di/UR\\")
_PLACEHOLDER = "\x00imagesdk image "
_SPACE = b" \t\r\n"
_ESCAPED_TEXT = re.compile(rb'(?:\\.[^"\\]*)*', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {b"/": b"/", b"n": b"\n", b"r": b"\r", b"t": b"\t"}  # any other character cannot be base64


class ScanError(ValueError):
    """A response that cannot be read. The message does not quote the response."""


class TooLargeError(ScanError):
    """A response that exceeds a cap. A retry would exceed it again."""


class FixedCapError(TooLargeError):
    """A response that exceeds a cap that no option raises."""


@frozen
class ImageStart:
    """The start of an image, with its number in the response, from 0."""

    number: int


@frozen
class ImagePiece:
    """The next decoded bytes of the current image."""

    number: int
    data: bytes


@frozen
class ImageEnd:
    """The end of an image."""

    number: int


Event: TypeAlias = ImageStart | ImagePiece | ImageEnd


@frozen
class ImageRef:
    """Placeholder for an image in the parsed response."""

    number: int
    text: str | None = None
    """The beginning of the decoded bytes, if they are a text rather than an image."""


def without_images(value: Any) -> Any:
    """Replace the :class:`ImageRef` placeholders within a value by ``None``."""
    if isinstance(value, ImageRef):
        return None
    return _map_items(without_images, value)


def max_entries(images: int) -> int:
    """Return the maximum number of images, or of entries of ``data``, in the response to a request for so many."""
    return 4 * images + 16


def check_entries(document: Any, images: int) -> None:
    """Raise :class:`TooLargeError` for a response with more than :func:`max_entries` entries of ``data``."""
    data = document.get("data") if is_object(document) else None
    if is_list(data) and len(data) > max_entries(images):
        raise FixedCapError(f"the response has {len(data)} entries, more than {max_entries(images)}")


class Scanner:
    """Scanner of one response to a request for ``images`` images (0: any other request).

    Feed all chunks, then call :meth:`rest` or :meth:`document`.
    """

    def __init__(
        self, *, max_image: int = MAX_IMAGE, max_response: int = MAX_RESPONSE, images: int | None = None
    ) -> None:
        self._max_image = max_image
        self._max_response = max_response
        self.max_rest = MAX_LISTING if images == 0 else MAX_REST
        self._max_values = MAX_LISTED if images == 0 else MAX_VALUES
        self._max_count = None if images is None else max_entries(images)
        self._fed = 0
        self._rest = bytearray()
        self._state: Callable[[bytes, int, list[Event]], int] = self._outside
        self._string = bytearray()  # the beginning of the last string, which may be a key
        self._between = b""  # the text since that string, without white space
        self._escaped = False  # a chunk ended between a backslash and its character
        self._head = b""  # of a value that may be an image
        self._starts: tuple[bytes, ...] = ()  # how it begins if it is one; any beginning if empty
        self._image: _Base64 | None = None
        self.image_count = 0  # the images that have started

    def count(self, chunk: bytes) -> None:
        """Count a chunk of a response that is not JSON and is not fed."""
        self._fed += len(chunk)
        if self._fed > self._max_response:
            raise TooLargeError(f"the response is larger than {self._max_response} bytes")

    def count_image(self, chunk: bytes) -> None:
        """Count a chunk of a response that is itself an image."""
        self.count(chunk)
        if self._fed > self._max_image:
            raise TooLargeError(f"an image is larger than {self._max_image} bytes")

    def feed(self, chunk: bytes) -> list[Event]:
        """Scan the next chunk and return its image events."""
        return [event for events in self.steps(chunk) for event in events]

    def steps(self, chunk: bytes) -> Iterator[list[Event]]:
        """Scan the next chunk in short steps and yield the image events of each."""
        self.count(chunk)
        for start in range(0, len(chunk), STEP_BYTES):
            piece, at = chunk if len(chunk) <= STEP_BYTES else chunk[start : start + STEP_BYTES], 0
            while at < len(piece):
                events: list[Event] = []
                at = self._run(piece, events, at)
                if len(self._rest) > self.max_rest:
                    raise FixedCapError(
                        f"the response has more than {self.max_rest} bytes besides its images"
                    )
                yield events

    @property
    def is_large(self) -> bool:
        """Whether parsing the response takes so long that it belongs in a thread."""
        return len(self._rest) > _SMALL_BYTES or count_values(self._rest) > _SMALL_VALUES

    def rest(self) -> bytes:
        """Return the response without its images."""
        return bytes(self._rest)

    def document(self, key: Secret = NO_KEY, texts: Mapping[int, str] | None = None) -> Any:
        """Parse the response, with an :class:`ImageRef` in the place of each image, and without the key.

        ``texts`` are the images that are texts, by their number.
        """
        if self._image is not None:
            raise ScanError("the response ends in the middle of an image")
        whole = bytes(self._rest).strip()
        if not whole:
            raise ScanError("the response is empty")
        quotes_key = key.may_be_in(whole, escapes=self.image_count)
        clean = key.removed_from if quotes_key else str
        try:
            return _with_images(
                self.image_count, clean, texts or {}, parse_json(whole, max_values=self._max_values)
            )
        except TooManyValuesError as error:
            raise FixedCapError(f"the response has {error}") from None
        except RecursionError:
            raise ScanError("the response is nested too deeply") from None
        except ValueError:
            cut = whole[:1] in {b"{", b"["} and whole[-1:] not in {b"}", b"]"}
            raise ScanError("the response ends too early" if cut else "the response is not JSON") from None

    def _run(self, chunk: bytes, events: list[Event], at: int = 0) -> int:
        """Scan a chunk from ``at``, at most one step of it, and return the end of the step."""
        for _ in range(STEP_TOKENS):
            at = self._state(chunk, at, events)
            if at == len(chunk):
                break
        return at

    def _outside(self, chunk: bytes, at: int, events: list[Event]) -> int:
        quote = chunk.find(b'"', at)
        end = len(chunk) if quote < 0 else quote
        if len(self._between) < 2:
            self._between += chunk[at:end].translate(None, _SPACE)[:2]
        self._rest += chunk[at:end]
        if quote < 0:
            return end
        self._rest += b'"'
        starts = _STARTS.get(self._key(), _OTHER_STARTS) if self._between == b":" else _OTHER_STARTS
        if starts is _OTHER_STARTS and end + 1 < len(chunk) and chunk[end + 1] not in _FIRST_BYTES:
            self._begin_string()
        else:
            self._head, self._starts = b"", starts
            self._state = self._at_value
        return end + 1

    def _key(self) -> str | None:
        if len(self._string) > _MAX_KEY_LENGTH:
            return None
        try:
            return str(json.loads(b'"' + self._string + b'"'))
        except ValueError:
            return None

    def _in_string(self, chunk: bytes, at: int, events: list[Event]) -> int:
        if self._escaped:
            self._escaped = False
            self._store(chunk[at : at + 1])
            return at + 1
        quote = chunk.find(b'"', at)
        end = len(chunk) if quote < 0 else quote
        backslash = chunk.find(b"\\", at, end)
        if backslash >= 0:
            text = _ESCAPED_TEXT.match(chunk, backslash)
            end = backslash if text is None else text.end()
            self._escaped = chunk[end : end + 1] == b"\\"  # the last one of the chunk
            quote = -1 if end + self._escaped == len(chunk) else end
        self._store(chunk[at : end + self._escaped])
        if quote >= 0:
            self._end_string()
            return end + 1
        return len(chunk)

    def _store(self, piece: bytes) -> None:
        self._rest += piece
        if len(self._string) <= _MAX_KEY_LENGTH:
            self._string += piece[: _MAX_KEY_LENGTH + 1]

    def _begin_string(self) -> None:
        self._string.clear()
        self._state = self._in_string

    def _end_string(self) -> None:
        self._rest += b'"'
        self._between = b""
        self._state = self._outside

    def _at_value(self, chunk: bytes, at: int, events: list[Event]) -> int:
        """Decide by its first bytes whether a value is an image."""
        self._head += chunk[at : at + 1]
        start = _unescape(self._head)[0]
        if start not in self._starts and any(each.startswith(start) for each in self._starts):
            return at + 1
        if start in self._starts if self._starts else self._head != b'"':
            if self.image_count == self._max_count:
                raise FixedCapError(f"the response has more than {self._max_count} images")
            self._image = _Base64(self.image_count, self._max_image)
            events.append(ImageStart(self.image_count))
            self.image_count += 1
            self._state = self._in_image
        else:
            self._begin_string()
        self._run(self._head, events)
        return at + 1

    def _in_image(self, chunk: bytes, at: int, events: list[Event]) -> int:
        image = self._image
        assert image is not None  # noqa: S101 - set when this state was entered
        quote = chunk.find(b'"', at)
        data = image.feed(chunk[at:] if quote < 0 else chunk[at:quote])
        if data:
            events.append(ImagePiece(image.number, data))
        if quote < 0:
            return len(chunk)
        if last := image.finish():
            events.append(ImagePiece(image.number, last))
        events.append(ImageEnd(image.number))
        self._image = None
        self._rest += json.dumps(f"{_PLACEHOLDER}{image.number}")[1:-1].encode()
        self._string.clear()
        self._end_string()
        return quote + 1


class _Base64:
    """Incremental decoder of one image: base64 with JSON escapes and optionally the header of a data URL."""

    def __init__(self, number: int, max_size: int) -> None:
        self.number = number
        self._max_size = max_size
        self._size = 0
        self._carry: bytes = b""  # fewer than four characters
        self._cut: bytes = b""  # the beginning of an escape
        self._header: bytes | None = b""  # of a data URL; None after the base64 has started
        self._padded: bool = False

    def feed(self, text: bytes) -> bytes:
        if self._cut or b"\\" in text:
            text, self._cut = _unescape(self._cut + text)
        if self._header is not None:
            text = self._skip_header(self._header + text)
        return self._decode(text)

    def finish(self) -> bytes:
        if self._cut:
            raise ScanError("an image contains an invalid escape")
        rest = b""
        if self._header:
            if self._header.startswith(_DATA):
                raise ScanError("a data URL ends within its header")
            rest, self._header = self._header, None
            rest = self._decode(rest)
        self._carry = self._carry.translate(None, _SPACE)
        if self._carry:  # some servers omit the padding
            rest += self._decode(b"=" * (-len(self._carry) % 4))
        return rest

    def _skip_header(self, text: bytes) -> bytes:
        if len(text) < len(_DATA) and _DATA.startswith(text):
            self._header = text
            return b""
        if not text.startswith(_DATA):
            self._header = None
            return text
        comma = text.find(b",")
        if (len(text) if comma < 0 else comma) > _MAX_DATA_HEADER:
            raise ScanError("the header of a data URL is too long")
        if comma < 0:
            self._header = text
            return b""
        if not text[:comma].lower().rstrip(_SPACE).endswith(b";base64"):
            raise ScanError("a data URL is not base64")
        self._header = None
        return text[comma + 1 :]

    def _decode(self, text: bytes) -> bytes:
        text = self._carry + text if self._carry else text
        whole = len(text) - len(text) % 4
        if not whole:
            self._carry = text
            return b""
        try:
            data = _decode(text[:whole])
        except binascii.Error:
            plain = text.translate(None, _SPACE)  # some encoders break lines
            if len(plain) == len(text):
                raise ScanError("an image is not valid base64") from None
            self._carry = b""
            return self._decode(plain)
        if self._padded:
            raise ScanError("an image is not valid base64")
        padding = text.find(b"=", 0, whole)
        self._padded = padding >= 0
        if self._padded and padding < whole - 2:  # strict mode lets "QUJD====" pass
            raise ScanError("an image is not valid base64")
        self._carry = text[whole:]
        self._size += len(data)
        if self._size > self._max_size:
            raise TooLargeError(f"an image is larger than {self._max_size} bytes")
        return data


def _decoder() -> Callable[[bytes], bytes]:
    """Return the fastest installed decoder. Both reject invalid base64."""
    try:
        import pybase64  # the extra `fast`; without validation it would be slower
    except ImportError:
        return partial(binascii.a2b_base64, strict_mode=True)
    return partial(pybase64.b64decode, validate=True)


_decode = _decoder()


def _unescape(text: bytes) -> tuple[bytes, bytes]:
    """Undo the JSON escapes that base64 can contain. Return the text and an incomplete escape at its end."""
    last = text.rfind(b"\\")
    whole = 6 if text[last + 1 : last + 2] == b"u" else 2
    cut = text[last:] if last >= 0 and len(text) - last < whole else b""
    text = text[: len(text) - len(cut)]
    if b"\\\\" not in text:
        text = text.replace(b"\\/", b"/")  # by far the most common escape
    return (_ESCAPE.sub(_character, text) if b"\\" in text else text), cut


def _character(match: re.Match[bytes]) -> bytes:
    if match[1]:
        code = int(match[1], 16)
        return bytes([code]) if code < 128 else b"?"
    return _ESCAPED.get(match[2], b"?")


def _with_images(count: int, clean: Callable[[str], str], texts: Mapping[int, str], value: Any) -> Any:
    if isinstance(value, str):
        if value.startswith(_PLACEHOLDER):
            number = value[len(_PLACEHOLDER) :]
            if number.isdecimal() and int(number) < count:
                found = texts.get(int(number))
                return ImageRef(int(number), None if found is None else clean(found))
        return clean(value)
    if is_object(value):
        return {clean(name): _with_images(count, clean, texts, item) for name, item in value.items()}
    return [_with_images(count, clean, texts, item) for item in value] if is_list(value) else value


def _map_items(function: Callable[[Any], Any], value: Any) -> Any:
    if is_object(value):
        return {key: function(item) for key, item in value.items()}
    return [function(item) for item in value] if is_list(value) else value

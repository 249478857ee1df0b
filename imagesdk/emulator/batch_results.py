"""Work of a batch, and its output and error files. They are made line by line whenever they are read.

The first drawings of a batch are kept, and later lines repeat them: a batch of 20 000 lines draws 8 images of each
kind. Every image carries the ``custom_id`` of its line in a comment, so no two are equal and each can be recognized.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from array import array
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from urllib.parse import quote

from attrs import define, field, frozen
from PIL import Image

from imagesdk.emulator.answers import Refusal
from imagesdk.emulator.batch_input import BatchInput, Entry
from imagesdk.emulator.drawing.painting import Painting
from imagesdk.emulator.moderation import moderate_input, moderate_output
from imagesdk.emulator.rules import CheckedRequest, Fields
from imagesdk.emulator.uploads import InputImages

__all__ = ["Allowance", "BatchFile", "BatchWork", "signed"]

_MAX_DRAWN = 64 * 1024 * 1024
"""Bytes of the drawings of all batches, after which a batch has a single one of each kind."""
_MAX_NAME = 1000
"""Characters of a ``custom_id`` in a comment."""
_SLOT = b'"b64_json": ""'
_UNDONE, _MADE, _FAILED = 0, 1, 2
_ENDED = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
}


def signed(image: bytes, output_format: str, comment: str) -> bytes:
    """Return an image with a comment inside, by which readers do not see it differently."""
    text = comment.encode("ascii")
    if output_format == "png":
        chunk = b"tEXtComment\0" + text
        whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return image[:-12] + whole + image[-12:]
    if output_format == "jpeg":
        return image[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + image[2:]
    if output_format == "gif":
        blocks = (text[start : start + 255] for start in range(0, len(text), 255))
        return (
            image[:-1]
            + b"\x21\xfe"
            + b"".join(bytes([len(one)]) + one for one in blocks)
            + b"\0"
            + image[-1:]
        )
    if output_format == "svg":
        end = image.rindex(b"</svg>")
        return image[:end] + b"<!-- " + text.replace(b"-", b"%2D") + b" -->" + image[end:]
    padded = text + b" " * (len(text) % 2)
    riff = image + b"NOTE" + struct.pack("<I", len(padded)) + padded
    return riff[:4] + struct.pack("<I", len(riff) - 8) + riff[8:]


@define
class Allowance:
    """How much the batches of an emulator may draw."""

    each: int
    """Different drawings of each kind in a batch."""
    left: int = _MAX_DRAWN
    """Bytes of drawings that all batches may still have."""


@define
class _Drawings:
    """Drawings of one batch by kind: everything about a request that is not its prompt."""

    _allowance: Allowance
    _kinds: dict[tuple[object, ...], int] = field(factory=dict[tuple[object, ...], int])
    _drawn: list[list[bytes]] = field(factory=list[list[bytes]])
    _asked: list[int] = field(factory=list[int])

    def add(self, checked: CheckedRequest, draw: Callable[[int], bytes]) -> tuple[int, int]:
        """Return the kind of a request and the number of its first image in it. Draw what is not there yet."""
        values = checked.values
        kind = (
            checked.endpoint,
            checked.model.name,
            checked.size,
            checked.output_format,
            checked.transparent,
            *(
                str(values.get(name))
                for name in ("output_compression", "frame_count", "frame_duration_ms", "svg")
            ),
        )
        number = self._kinds.setdefault(kind, len(self._kinds))
        if number == len(self._drawn):
            self._drawn.append([])
            self._asked.append(0)
        drawn, first = self._drawn[number], self._asked[number]
        self._asked[number] += checked.n
        for index in range(checked.n):
            if first + index == len(drawn) and (
                not drawn or (len(drawn) < self._allowance.each and self._allowance.left > 0)
            ):
                drawn.append(draw(index))
                self._allowance.left -= len(drawn[-1])
        return number, first

    def get(self, kind: int, number: int) -> bytes:
        """Return a drawing."""
        drawn = self._drawn[kind]
        return drawn[number if number < len(drawn) else number % len(drawn)]


@frozen
class _Line:
    """Line of a file of a batch without its images."""

    text: bytes
    images: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        return len(self.text) + sum(-(-len(image) // 3) * 4 for image in self.images)

    def whole(self) -> bytes:
        if not self.images:
            return self.text
        slots = self.text.split(_SLOT)
        parts = [slots[0]]
        for image, rest in zip(self.images, slots[1:], strict=True):
            parts += [b'"b64_json": "', b64encode(image), b'"', rest]
        return b"".join(parts)


@define
class BatchWork:
    """Work on the lines of a batch, in their order. It remembers a few numbers of each line."""

    input: BatchInput
    seed: int
    decode: Callable[[CheckedRequest, Fields], InputImages]
    """Finds and decodes the input images of an edit."""
    made: Callable[[CheckedRequest, Mapping[str, object], str], None]
    """Called with each request that was made, its usage and its ``custom_id``, to bill it."""
    remember: Callable[[bytes, str, int], None]
    """Called with each image that is sent, its model and its time."""
    allowance: Allowance
    key: str
    created: int
    failing: frozenset[int] = frozenset()
    """Lines that fail with a server error."""
    usage: dict[str, int] = field(
        factory=lambda: dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), 0)
    )
    done: int = 0
    failed: int = 0
    _drawings: _Drawings = field(init=False)
    _state: bytearray = field(factory=bytearray)
    _kind: array[int] = field(factory=lambda: array("I"))
    _first: array[int] = field(factory=lambda: array("I"))
    _sizes: array[int] = field(factory=lambda: array("Q"))
    _inputs: dict[int, tuple[tuple[int, int], ...]] = field(factory=dict[int, tuple[tuple[int, int], ...]])
    _refusals: dict[int, Refusal] = field(factory=dict[int, Refusal])

    def __attrs_post_init__(self) -> None:
        self._drawings = _Drawings(self.allowance)

    @property
    def completed(self) -> int:
        """Number of lines with images."""
        return self.done - self.failed

    def advance(self, count: int) -> None:
        """Work on lines until ``count`` of them are done. This is slow and belongs in a thread."""
        for index in range(self.done, min(count, len(self.input))):
            kind = first = 0
            try:
                kind, first = self._make(index)
            except Refusal as refusal:
                self._refusals[index] = refusal.with_traceback(None)  # its frames hold images
            state = _FAILED if index in self._refusals else _MADE
            self._state.append(state)
            self._kind.append(kind)
            self._first.append(first)
            self.failed += state == _FAILED
            self.done += 1
            self._sizes.append(self._line(index).size)

    def indexes(self, *, failed: bool) -> list[int]:
        """Return the lines that were made, or those that failed."""
        wanted = _FAILED if failed else _MADE
        return [index for index, state in enumerate(self._state) if state == wanted]

    def entry_size(self, entry: Entry) -> int:
        """Return the length of an entry of a file."""
        kind, index = entry
        size = self._sizes[index] if kind in {"whole", "half"} else len(self.entry(entry))
        return size if kind != "half" else size // 2 + 1

    def entry(self, entry: Entry) -> bytes:
        """Return an entry of a file."""
        kind, index = entry
        if kind == "whole":
            return self._line(index, sent=True).whole()
        if kind == "half":
            return self._line(index, sent=True).whole()[: self._sizes[index] // 2] + b"\n"
        custom_id = self.input[index].custom_id
        if kind == "no_status":
            return self._text(custom_id, index, {"status_code": 0, "request_id": "", "body": None}, None)
        return self._text(custom_id, index, None, {"code": kind, "message": _ENDED[kind]})

    def _make(self, index: int) -> tuple[int, int]:
        line = self.input[index]
        if index in self.failing:
            raise Refusal(
                "The server had an error while processing your request",
                status=500,
                type="server_error",
                code="server_error",
            )
        checked = line.check(self.input.endpoint, self.input.day)
        moderate_input(checked, self._id("req", index))
        inputs = self.decode(checked, line.fields)
        if inputs.images:
            self._inputs[index] = tuple(image.size for image in inputs.images)
        painting = Painting(checked, inputs, self.seed, self._id("req", index), self.created)
        place = self._drawings.add(checked, painting.encoded)
        usage = painting.usage()
        for name in self.usage:
            value = usage[name]
            self.usage[name] += value if isinstance(value, int) else 0
        self.made(checked, usage, line.custom_id)
        moderate_output(checked, painting.request_id)
        return place

    def _line(self, index: int, *, sent: bool = False) -> _Line:
        line = self.input[index]
        request_id = self._id("req", index)
        refusal = self._refusals.get(index)
        if refusal is not None:
            answer = {"status_code": refusal.status, "request_id": request_id, "body": refusal.body()}
            return _Line(self._text(line.custom_id, index, answer, None))
        checked = line.check(self.input.endpoint, self.input.day)
        named = quote(line.custom_id, safe="")[:_MAX_NAME]
        images = tuple(
            signed(
                self._drawings.get(self._kind[index], self._first[index] + number),
                checked.output_format,
                f"{named} {number}",
            )
            for number in range(checked.n)
        )
        if sent:
            for image in images:
                self.remember(image, checked.model_name, self.created)
        # Only the sizes of the input images count for the usage.
        blank = tuple(Image.new("1", size) for size in self._inputs.get(index, ()))
        painting = Painting(checked, InputImages(blank), self.seed, request_id, self.created)
        body = painting.answer(images, lambda data: "", encode=lambda data: "")
        answer = {"status_code": 200, "request_id": request_id, "body": body}
        return _Line(self._text(line.custom_id, index, answer, None), images)

    def _text(self, custom_id: str, index: int, response: object, error: object) -> bytes:
        named = {"id": self._id("batch_req", index), "custom_id": custom_id}
        return json.dumps({**named, "response": response, "error": error}).encode() + b"\n"

    def _id(self, kind: str, index: int) -> str:
        return f"{kind}_{hashlib.sha256(f'{self.key}/{kind}/{index}'.encode()).hexdigest()[:32]}"


@define
class BatchFile:
    """Output or error file of a batch: lines whose lengths are known and whose bytes are not kept."""

    _work: BatchWork
    _entries: Sequence[Entry]
    _ends: array[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ends = array("Q", accumulate(self._work.entry_size(entry) for entry in self._entries))

    @property
    def size(self) -> int:
        """The length of the file in bytes."""
        return self._ends[-1] if self._ends else 0

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``stop``, line by line."""
        number = bisect_right(self._ends, start)
        while start < stop:
            before = self._ends[number - 1] if number else 0
            piece = self._work.entry(self._entries[number])[start - before : stop - before]
            yield piece
            start += len(piece)
            number += 1

"""Server-sent events with images, in any chunks."""

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._protocol.scanner import ImagePiece, ImageRef, ScanError
from imagesdk._protocol.sse import MAX_LINE, EventStream, Message

Seen = list[tuple[str, bytes, list[bytes]]]


def _read(chunks: list[bytes]) -> Seen:
    stream = EventStream()
    seen: Seen = []
    images: dict[int, bytes] = {}
    for chunk in chunks:
        for item in stream.feed(chunk):
            if isinstance(item, Message):
                seen.append((item.event, item.scanner.rest(), list(images.values())))
                images = {}
            elif isinstance(item, ImagePiece):
                images[item.number] = images.get(item.number, b"") + item.data
    return seen


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


STANDARD: list[tuple[bytes, Seen]] = [
    (b"data: [DONE]\n\n", [("message", b"[DONE]", [])]),
    (b"data: one\ndata:two\ndata\n\n", [("message", b"one\ntwo\n", [])]),
    (b"event: x\n\ndata: y\n\n", [("message", b"y", [])]),
    (b"data:  two spaces\n\n", [("message", b" two spaces", [])]),
    (b"id: 1\nretry: 5\nnonsense\n: note\ndata: x\n\n", [("message", b"x", [])]),
    (b"data: never ended\n", []),
    (b"\n\n\n", []),
    (b"database: x\n\n", []),
]

EVENTS = st.lists(
    st.tuples(st.sampled_from(["", "a.b", "é"]), st.binary(min_size=1, max_size=200)), max_size=5
)


@given(
    events=EVENTS,
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    space=st.sampled_from(["", " "]),
    bom=st.booleans(),
    cuts=st.lists(st.integers(0, 4000), max_size=40),
)
def test_events_and_images_are_complete_for_any_chunks(
    events: list[tuple[str, bytes]], newline: str, space: str, bom: bool, cuts: list[int]
) -> None:
    text = "".join(
        f": ping{newline}"
        + (f"event:{space}{name}{newline}" if name else "")
        + f"data:{space}{json.dumps({'type': name, 'b64_json': base64.b64encode(image).decode()})}{newline}{newline}"
        for name, image in events
    )
    data = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    seen = _read(_cut(data, cuts))
    assert [(name, images) for name, _, images in seen] == [(n or "message", [p]) for n, p in events]


def test_the_parsed_data_has_a_placeholder_for_the_image() -> None:
    stream = EventStream()
    items = stream.feed(b'data: {"b64_json":"AAAA","partial_image_index":2}\n\n')
    message = items[-1]
    assert isinstance(message, Message)
    document: dict[str, Any] = message.scanner.document()
    assert document == {"b64_json": ImageRef(0), "partial_image_index": 2}


@pytest.mark.parametrize(("text", "expected"), STANDARD)
def test_events_follow_the_rules_of_the_standard(text: bytes, expected: Seen) -> None:
    assert _read([text]) == expected
    assert _read([bytes([byte]) for byte in text]) == expected


def test_an_event_of_many_megabytes_is_accepted() -> None:
    image = bytes(range(256)) * (48 * 1024 * 4)
    data = b'data: {"b64_json":"' + base64.b64encode(image) + b'"}\n\n'
    assert len(data) > 64 * 1024 * 1024
    chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    stream = EventStream(max_image=len(image))
    size = sum(
        len(item.data) for chunk in chunks for item in stream.feed(chunk) if isinstance(item, ImagePiece)
    )
    assert size == len(image)


def test_an_endless_line_without_data_is_refused() -> None:
    with pytest.raises(ScanError, match="line"):
        _read([b"x" * MAX_LINE, b"x"])

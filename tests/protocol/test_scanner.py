"""The scanner against an oracle, ``json.loads`` and ``base64`` on the whole text, for any chunks and spelling."""

import base64
import binascii
import json
import random
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagesdk._protocol import scanner as scanner_module
from imagesdk._protocol.json_values import MAX_DEPTH, is_list, is_object
from imagesdk._protocol.scanner import Event, ImageEnd, ImagePiece, ImageRef, ImageStart, ScanError, Scanner

LONG = "x" * 100


def scan(chunks: Iterable[bytes], scanner: Scanner | None = None) -> tuple[Any, list[bytes]]:
    """Return the document and the images of a response in ``chunks``."""
    scanner = scanner or Scanner()
    events: list[Event] = []
    for chunk in chunks:
        events += scanner.feed(chunk)
    return scanner.document(), images_of(events)


def images_of(events: Iterable[Event]) -> list[bytes]:
    """Return the images, and check that the events of each are in order."""
    images: list[bytes] = []
    is_open = False
    for event in events:
        if isinstance(event, ImageStart):
            assert not is_open
            assert event.number == len(images)
            images.append(b"")
            is_open = True
        else:
            assert is_open
            assert event.number == len(images) - 1
            if isinstance(event, ImageEnd):
                is_open = False
            else:
                assert event.data
                images[-1] += event.data
    return images


def with_bytes(value: Any, images: list[bytes]) -> Any:
    """Put the images into a document."""
    if isinstance(value, ImageRef):
        return images[value.number]
    if is_object(value):
        return {key: with_bytes(item, images) for key, item in value.items()}
    if is_list(value):
        return [with_bytes(item, images) for item in value]
    return value


def plain(text: str) -> bytes:
    """Decode base64 as the oracle does: without space, padded, strict."""
    body = re.sub(r"^data:[^,]*,", "", text)
    kept = re.sub(r"[ \t\r\n]", "", body)
    if re.search("=.*[^=]|={3}", kept) or (kept.endswith("=") and len(kept.rstrip("=")) % 4 == 0):
        raise binascii.Error("padding where none belongs")
    return binascii.a2b_base64(kept + "=" * (-len(kept) % 4), strict_mode=True)


def expected(value: Any, key: str = "") -> Any:
    """Decode each image of a document of ``json.loads``."""
    if is_object(value):
        return {name: expected(item, name) for name, item in value.items()}
    if is_list(value):
        return [expected(item) for item in value]
    starts = {"b64_json": ("",), "url": ("data:",)}.get(key, STARTS)
    return plain(value) if isinstance(value, str) and value and value.startswith(starts) else value


STARTS = ("data:image/", "iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD")
"""How images begin under other keys: a data URL, PNG, JPEG, WebP, GIF."""


class Writer:
    """Writer of equivalent spellings of JSON."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._spaced = source.random() < 0.5
        self._escaping = source.choice([0.0, 0.0, 0.05, 0.5])

    def write(self, value: Any) -> str:
        if is_object(value):
            shuffled = sorted(value.items(), key=lambda _: self._random.random())
            body = ",".join(self._pad(self._text(k) + self._pad(":") + self.write(v)) for k, v in shuffled)
            return "{" + (body or self._pad("")) + "}"
        if is_list(value):
            return "[" + ",".join(self._pad(self.write(item)) for item in value) + "]"
        return self._text(value) if isinstance(value, str) else json.dumps(value)

    def _pad(self, text: str) -> str:
        return self._space() + text + self._space() if self._spaced else text

    def _space(self) -> str:
        return "".join(self._random.choices(" \t\r\n", k=self._random.choice([0, 0, 1, 3])))

    def _text(self, text: str) -> str:
        return '"' + "".join(self._character(character) for character in text) + '"'

    def _character(self, character: str) -> str:
        if character in '"\\':
            return "\\" + character
        if character == "/" and self._random.random() < 0.3:
            return "\\/"
        if character in "\r\n\t":
            return {"\r": "\\r", "\n": "\\n", "\t": "\\t"}[character]
        if character < " " or self._random.random() < self._escaping:
            units = character.encode("utf-16-be")
            form = self._random.choice(["\\u%02x%02x", "\\u%02X%02X"])
            return "".join(form % tuple(units[at : at + 2]) for at in range(0, len(units), 2))
        return character


def broken_into_lines(text: str, width: int, end: str) -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


@st.composite
def image_texts(draw: st.DrawFn, head: bytes = b"", header: str = "") -> str:
    """Draw a ``b64_json`` in a spelling of real servers."""
    data = head + draw(st.binary(min_size=1, max_size=60))
    text = base64.b64encode(data).decode()
    if draw(st.booleans()):
        text = text.rstrip("=")
    if draw(st.booleans()):
        text = broken_into_lines(text, draw(st.integers(1, 20)), draw(st.sampled_from(["\n", "\r\n", " "])))
    if draw(st.booleans()):
        text += draw(st.sampled_from(["\n", " ", "\r\n\r\n"]))
    return header + text


data_headers = st.sampled_from(
    ["data:image/png;base64,", "data:;base64,", "data:image/svg+xml;charset=utf-8;base64,", "data:a;BASE64,"]
)
texts = st.sampled_from(
    ["", "b64_json", '"b64_json":"QUJD"', 'say "hi"', "back\\slash", "\\", '\\"', "\u732b \U0001f408", LONG]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
other_images = (
    image_texts(b"\x89PNG\r\n\x1a\n")
    | image_texts(b"\xff\xd8\xff")
    | image_texts(b"", "data:image/webp;base64,")
)
scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts | other_images
urls = st.builds(str.__add__, data_headers, image_texts()) | st.sampled_from(
    ["https://images.test/a.png?sig=1", "/relative.png", "d", "dat", "data", "DATA:,x", "database", ""]
)
images = image_texts() | st.builds(str.__add__, data_headers, image_texts()) | st.just("")


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(
        ["data", "created", "b64_json ", "B64_JSON", "", LONG, "b64_json" + LONG]
    ) | texts.filter(lambda key: key not in {"b64_json", "url"})
    others = st.dictionaries(keys, values, max_size=3)
    nested = st.lists(texts, max_size=2) | st.dictionaries(keys, texts, max_size=1)
    here: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {},
        optional={"b64_json": images | st.none() | nested | st.integers(), "url": urls | st.none() | nested},
    )
    return st.tuples(others, here).map(lambda both: both[0] | both[1])


documents = objects(
    st.recursive(
        scalars, lambda inner: st.lists(inner | objects(inner), max_size=4) | objects(inner), max_leaves=8
    )
)


@st.composite
def cuts(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    kind = draw(st.sampled_from(["whole", "bytes", "some"]))
    if kind == "whole":
        return [whole]
    if kind == "bytes":
        return [whole[at : at + 1] for at in range(len(whole))]
    at = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [whole[a:b] for a, b in zip([0, *at], [*at, len(whole)], strict=True)]


@given(st.data(), documents, st.randoms(use_true_random=False))
def test_images_and_document_match_those_of_a_json_parser(
    data: st.DataObject, document: Any, source: random.Random
) -> None:
    whole = Writer(source).write(document).encode()
    assert json.loads(whole) == document
    found, pieces = scan(data.draw(cuts(whole)))
    assert with_bytes(found, pieces) == expected(document)


@settings(max_examples=settings().max_examples // 5)  # each is cut at every byte
@given(documents, st.randoms(use_true_random=False))
def test_a_response_truncated_anywhere_is_a_scan_error(document: Any, source: random.Random) -> None:
    whole = Writer(source).write(document).encode()
    for length in range(len(whole)):
        with pytest.raises(ScanError):
            scan([whole[:length]])


JSON_PIECES = b'" "b64_json" "url" "data: ;base64, : , { } [ ] 1 null'.split(b" ")
BASE64_PIECES = rb"\ \" \u \u002f \/ \n QUJD QQ== Q =".split(b" ")
fragments = st.lists(
    st.sampled_from([*JSON_PIECES, *BASE64_PIECES, b" ", b"\n", b"\xff", b"\x00", b"\xef\xbb\xbf"]),
    max_size=20,
).map(b"".join)
wrapped = fragments | fragments.map(lambda middle: b'{"b64_json":"' + middle + b'"}')


def outcome(chunks: Iterable[bytes]) -> object:
    try:
        return scan(chunks)
    except ScanError:
        return "refused"


@given(st.data(), wrapped | st.binary(max_size=40))
@example(None, b'{"b64_json":"QQ=="=}')
def test_any_bytes_in_any_chunks_give_the_same_result_or_a_scan_error(
    data: st.DataObject | None, whole: bytes
) -> None:
    parts = [whole[at : at + 1] for at in range(len(whole))] if data is None else data.draw(cuts(whole))
    assert outcome(parts) == outcome([whole])


@given(st.data(), st.text("QUJD/+=\n \t-_", min_size=1, max_size=14))
@example(None, "QUJDQU\n")
@example(None, "QQ=\n=")
@example(None, "QUJDQ")
def test_base64_is_strict_except_for_space_and_padding(data: st.DataObject | None, text: str) -> None:
    whole = json.dumps({"b64_json": text}).encode()
    parts = [whole[at : at + 1] for at in range(len(whole))] if data is None else data.draw(cuts(whole))
    try:
        decoded = plain(text)
    except binascii.Error:
        decoded = b""
    if decoded:
        assert scan(parts) == ({"b64_json": ImageRef(0)}, [decoded])
    else:
        with pytest.raises(ScanError, match="an image"):
            scan(parts)


ODD_ESCAPES = ["not base64!", "QUJD\\u0000", "QUJD\\u00e9", "QUJD\\b\\f", "QUJ\\x", "QUJD\\\\/QUJ"]
NOT_BASE64 = [*ODD_ESCAPES, "QUJD\u00e9\u00e9", "QUJDQ", "QQ==QUJD", "===="]


@pytest.mark.parametrize(("value", "expected"), [
    *((value, "not valid base64") for value in NOT_BASE64),
    ("QUJD\\", "ends|invalid escape"),
    ("data:image/png,QUJD", "not base64"), ("data:image/png;base64", "within its header"),
    ("data:" + "x" * 2000 + ";base64,QUJD", "too long"),
])  # fmt: skip
def test_an_image_that_cannot_be_read_is_named_but_not_quoted(value: str, expected: str) -> None:
    whole = f'{{"data":[{{"b64_json":"{value}"}}]}}'.encode()
    for step in (1, len(whole)):
        with pytest.raises(ScanError, match=expected) as caught:
            scan(whole[at : at + step] for at in range(0, len(whole), step))
        assert "QUJD" not in str(caught.value)


def test_an_image_ends_at_its_padding_and_may_contain_raw_line_breaks() -> None:
    assert scan([b'{"b64_json":"QU\r\nJD\n"}'])[1] == [b"ABC"]
    with pytest.raises(ScanError, match="is not valid base64"):
        scan([b'{"b64_json":"QQ==', b'QUJD"}'])


@pytest.mark.parametrize(("body", "images"), [
    (b'{"data":[{"b64_json":""},{"b64_json":null},{"b64_json":{"a":"b"}},{"b64_json":["QUJD"]},{}]}', []),
    (b'{"a":"b64_json","b":"QUJD","c":["b64_json","QUJD"],"d":"\\"b64_json\\":\\"QUJD\\""}', []),
    (b'{"\\u0062\\u00364_json" : "QUJD", "u":{"ur\\u006c":"data:;base64,QUJD"}}', [b"ABC", b"ABC"]),
    (b'{"a":{"b":[[{"b64_json":"QUJD"}]]},"b64_json":"REVG"}', [b"ABC", b"DEF"]),
    (b'{"result":{"image":"\\/9j\\/QUJD"},"images":["UklGRkFC","R0lGODlh"]}', [b"\xff\xd8\xffABC", b"RIFFAB", b"GIF89a"]),
    (b'{"a":"/9j","b":"data:image","c":"iVBORw0KGg","d":["UklGX"],"e":"data: image/"}', []),
    (b'[{"b64_json":" "},{"b64_json":"\\n"},{"url":"data:image/png;base64,"}]', [b"", b"", b""]),
])  # fmt: skip
def test_an_image_is_a_text_under_its_key_or_with_its_beginning_in_any_spelling_and_place(
    body: bytes, images: list[bytes]
) -> None:
    document, found = scan([body])
    assert found == images
    assert with_bytes(document, found) == expected(json.loads(body))


def test_a_forged_placeholder_is_not_an_image() -> None:
    text = {"a": "\x00imagesdk image 5", "b": "\x00imagesdk image x", "c": "\x00imagesdk image " + "9" * 5000}
    with pytest.raises(ScanError):
        scan([json.dumps(text).encode()])
    del text["c"]
    assert scan([json.dumps(text).encode()])[0] == text


@pytest.mark.parametrize(("body", "expected"), [
    (b'{"a":1', "ends too early"), (b'{"b64_json":"QUJD', "ends in the middle of an image"),
    (b"", "is empty"), (b" \n", "is empty"), (b"<html>", "is not JSON"), (b"nonsense", "is not JSON"),
    (b'{"a":1}}', "is not JSON"),
    (b'{"a":\xff}', "is not JSON"),
    (b'{"n":' + b"9" * 5000 + b"}", "is not JSON"),
    (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "nested too deeply"),
    (b"[" * 100_000 + b"]" * 100_000, "more than 20000 values"),
    (b'{"a":' * 3000 + b"1" + b"}" * 3000, "nested too deeply"),
])  # fmt: skip
def test_a_response_that_cannot_be_read_has_a_reason(body: bytes, expected: str) -> None:
    with pytest.raises(ScanError, match=expected):
        scan([body])


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_each_image_may_be_as_large_as_the_cap(step: int) -> None:
    image = {"b64_json": base64.b64encode(bytes(300)).decode()}
    whole = json.dumps([image, image]).encode()
    chunks = [whole[at : at + step] for at in range(0, len(whole), step)]
    assert scan(chunks, Scanner(max_image=300))[1] == [bytes(300)] * 2
    with pytest.raises(ScanError, match="an image is larger than 299 bytes"):
        scan(chunks, Scanner(max_image=299))


def test_a_response_may_be_as_large_as_the_cap() -> None:
    body = b'{"a":"' + b"x" * 100 + b'"}'
    assert scan([body[:50], body[50:]], Scanner(max_response=len(body)))[0] == {"a": "x" * 100}
    with pytest.raises(ScanError, match="the response is larger than"):
        scan([body[:50], body[50:]], Scanner(max_response=len(body) - 1))


def test_the_response_without_its_images_has_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "MAX_REST", 1000)
    image = base64.b64encode(bytes(5000)).decode()
    assert scan([json.dumps({"b64_json": image}).encode()])[1] == [bytes(5000)]
    with pytest.raises(ScanError, match="more than 1000 bytes besides its images"):
        scan([json.dumps({"other": image}).encode()])


@given(st.integers(1, 64), st.binary(min_size=1, max_size=400))
def test_a_chunk_yields_its_own_bytes_immediately(step: int, data: bytes) -> None:
    """At most an incomplete group of four characters is held back."""
    scanner = Scanner()
    scanner.feed(b'{"b64_json":"')
    text = base64.b64encode(data)
    fed = given_out = 0
    for at in range(0, len(text), step):
        chunk = text[at : at + step]
        fed += len(chunk)
        given_out += sum(len(e.data) for e in scanner.feed(chunk) if isinstance(e, ImagePiece))
        assert given_out >= min(len(data), fed // 4 * 3) - (2 if fed == len(text) else 0)
    scanner.feed(b'"}')
    assert len(scanner.rest()) < 60
    assert scanner.image_count == 1

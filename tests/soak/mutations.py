"""Answers of a server with something wrong in them: recorded ones, changed at random, as bytes for the wire."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeAlias

from attrs import define, field

from imagesdk._protocol.json_values import is_list, is_object
from tests.support.small_images import JPEG, WEBP, answer, answer_of_urls, png
from tests.support.streamed_answers import EVENT_STREAM, completed, event, partial

Ending: TypeAlias = Literal["keep", "close", "reset", "stay", "drip"]
_ENDINGS: tuple[Ending, ...] = ("keep", "close", "reset", "stay", "drip")

SAMPLES = Path(__file__).parents[1] / "samples"
_SMALL = png()
_STATUSES = (
    *(100, 101, 102, 199, 200, 201, 202, 204, 205, 206, 226, 299, 300, 301, 302, 304, 307, 308, 399),
    *(400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 425, 429, 431, 451, 499),
    *(500, 501, 502, 503, 504, 520, 529, 599, 600, 777, 999),
)
_STATUS_LINES = (
    *(b"HTTP/1.0 200 OK", b"HTTP/2 200", b"HTTP/1.1 200", b"HTTP/1.1 20 OK", b"HTTP/1.1 0 OK", b"ICY 200 OK"),
    *(b"HTTP/1.1 2000 OK", b"HTTP/1.1 \xff\xff\xff", b"", b"220 mail.test ESMTP", b"HTTP/1.1  200  OK"),
    b"\x00",
)
_WAITS = (
    *("0", "-1", "1e-9", "0.001", "1e400", "nan", "inf", "-inf", "0x10", "١", "99999999999999999999", "soon"),
    *("Fri, 31 Dec 9999 23:59:59 -2300", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 99 Foo 2024 99:99:99", ":"),
    *("Wed, 21 Oct 2015 07:28:00 +9999", "0 0 0 0:0", "1:1:1:1", ",", "1 jan 1 1:1:1 99999999999999999999"),
)
_LIMITS = ("0", "1", "50", "-5", "1e3", "", "9" * 15, "9" * 30, "fifty", "6m0s", "1ms", "9" * 12 + "d")
_ENCODINGS = (
    *("gzip", "x-gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "GZIP", "", "none", "chunked"),
    *("utf-8", "\x7f", "gzip;q=0"),
)
_TYPES = (
    *("text/html", "application/json", "image/png", "text/event-stream", "a", ""),
    "image/svg+xml; charset=\\",
)
_WORDS = (
    "Rate limit exceeded for images per minute in organization org-x. Limit: 1/1min. Current: 2/1min.",
    "Rate limit reached. Limit: 0/0s. Please try again in 0s.",
    "Limit 999999999999999, Used 1, Requested 999999999999999. Please try again in 999999999h.",
    "Limit: 5/999999d, try again in 1ms",
    "Requested 9 tokens per min. Limit: 3",
)
_NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, 10**400, -(10**400), 1.5, 1e308, "", "\x00", "\ud800", "a" * 70_000),
    *([], {}, [[]], [None], {"": ""}, "data:", "data:image/png;base64,", "\x00imagesdk image 0"),
    *("https://\u2488/", "https://a..b/", "http://[", "//", "\\\\host\\c", "https://a\x00b/"),
    *("file:///etc/passwd", "/pictures/\ud800.png", "?se=9999-99-99", "?se=0001-01-01T00:00:00%2B23:59"),
    *("https://1.1.1.1:0/", "/../.."),
)
_KEYS = (
    *("data", "error", "created", "usage", "total_tokens", "b64_json", "url", "size", "message", "code"),
    "detail",
)


@define
class Answer:
    """One answer of a server: what it says, and how that goes over the wire."""

    status_line: bytes
    headers: list[tuple[bytes, bytes]] = field(factory=list[tuple[bytes, bytes]])
    body: bytes = b""
    before: bytes = b""
    after: bytes = b""
    length: bool = True
    cut: float = 1.0
    """The part of the answer that is sent."""
    piece: int = 1 << 30
    """Bytes that are sent at a time."""
    ending: Ending = "keep"
    """What becomes of the connection: ``stay`` is silence, ``drip`` bytes without end."""
    framed: bool = True
    """Whether a reader can tell where it ends."""

    @classmethod
    def of(cls, body: bytes, status: int = 200, **headers: str) -> Answer:
        made = cls(f"HTTP/1.1 {status} Said".encode(), body=body)
        for name, value in headers.items():
            made.add(name.replace("_", "-"), value)
        return made

    def add(self, name: str, value: str) -> None:
        self.headers.append((name.encode("utf-8", "replace"), value.encode("utf-8", "replace")))

    def wire(self) -> Iterator[bytes]:
        headers = self.headers
        if self.length:
            headers = [(b"content-length", str(len(self.body)).encode()), *headers]
        lines = [self.status_line, *(name + b": " + value for name, value in headers)]
        whole = self.before + b"\r\n".join(lines) + b"\r\n\r\n" + self.body + self.after
        whole = whole[: round(len(whole) * self.cut)]
        piece = max(self.piece, len(whole) // 200)
        return (whole[at : at + piece] for at in range(0, len(whole), piece))

    @property
    def hangs(self) -> bool:
        return self.ending in {"stay", "drip"} or (self.ending == "keep" and not self.framed)


Mutation: TypeAlias = Callable[[Answer, Random], None]


def pictures(chance: Random) -> Answer:
    made = [_SMALL, png(3, 2, alpha=False), png(padding=40_000), JPEG, WEBP, b"no picture"]
    details = {"text_tokens": 2, "image_tokens": 1}
    usage = {"total_tokens": chance.choice([7, 0, -3]), "input_tokens": 3, "input_tokens_details": details}
    usage["output_tokens"] = 4
    body = answer(*chance.choices(made, k=chance.choice([0, 1, 1, 2, 3])), usage=usage, size="1024x1024")
    if chance.random() < 0.2:
        body = body.replace(b'"b64_json": "', b'"url": "data:image/png;base64,')
    return Answer.of(body, content_type="application/json", x_request_id="req_1")


def stream(chance: Random) -> Answer:
    made = [_SMALL, png(padding=40_000), JPEG]
    events = [partial(chance.choice(made), index) for index in range(chance.choice([0, 1, 1, 3]))]
    if chance.random() < 0.2:
        events.append(event(chance.choice(["error", "x.failed"]), error={"message": chance.choice(_WORDS)}))
    else:
        events.append(completed(chance.choice(made), usage={"total_tokens": 7}, size="1024x1024"))
    ending = chance.choice([b"", b"", b"data: [DONE]\n\n", b": bye\n\n", b"event: x\n"])
    return Answer.of(b"".join(events) + ending, content_type=EVENT_STREAM, x_request_id="req_1")


def urls(chance: Random) -> Answer:
    known = ["/pictures/1.png", "pictures/2.png?sig=a%2Fb", "../up.png", "//127.0.0.1:9/a.png"]
    known.append("https://a.test/a.png")
    return Answer.of(answer_of_urls(*chance.choices(known, [9, 9, 9, 1, 1], k=chance.choice([1, 2]))))


def picture(chance: Random) -> Answer:
    return Answer.of(chance.choice([_SMALL, JPEG, png(padding=40_000)]), content_type="image/png")


def recorded(chance: Random) -> Answer:
    sample = json.loads(chance.choice(_recordings).read_text(encoding="utf-8"))
    body = sample["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    made = Answer.of(text.encode(), sample["status"])
    for name, value in sample["headers"].items():
        made.add(name, str(value))
    return made


def mutated(made: Answer, chance: Random) -> Answer:
    for mutation in chance.choices(_MUTATIONS, k=chance.choice([0, 1, 1, 2, 2, 3, 5])):
        mutation(made, chance)
    if chance.random() < 0.3:
        made.piece = chance.choice([1, 2, 7, 100, 1000])
    made.ending = chance.choices(_ENDINGS, [60, 30, 6, 1, 1])[0]
    if made.ending == "keep" and not made.framed and chance.random() < 0.9:
        made.ending = "close"  # to wait for nothing takes time
    return made


def _flip(made: Answer, chance: Random) -> None:
    changed = bytearray(made.body)
    for _ in range(chance.choice([1, 1, 3, 20])):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    made.body = bytes(changed)


def _insert(made: Answer, chance: Random) -> None:
    at = chance.randrange(len(made.body) + 1)
    noise = chance.randbytes(chance.randrange(1, 40))
    new = chance.choice([noise, b'"', b"\\", b"{", b"]", b"\xef\xbb\xbf", b"="])
    made.body = made.body[:at] + new + made.body[at:]


def _delete(made: Answer, chance: Random) -> None:
    begin, end = _range(made.body, chance)
    made.body = made.body[:begin] + made.body[end:]


def _double(made: Answer, chance: Random) -> None:
    begin, end = _range(made.body, chance)
    made.body = made.body[:end] + made.body[begin:]


def _truncate(made: Answer, chance: Random) -> None:
    made.body = made.body[: chance.randrange(len(made.body) + 1)]


def _nest(made: Answer, chance: Random) -> None:
    depth = chance.choice([5, 99, 101, 1000, 100_000])
    kinds = [(b"[", b"]"), (b'{"a":', b"}"), (b'{"data":[', b"]}"), (b'{"error":', b"}")]
    opening, closing = chance.choice(kinds)
    made.body = opening * depth + made.body + (closing * depth if chance.random() < 0.8 else b"")


def _retype(made: Answer, chance: Random) -> None:
    value = chance.choice(_NASTY)
    with suppress(ValueError, RecursionError):  # something else was done to it before
        document = json.loads(made.body)
        places = list(_places(document))[:200]
        if not places:
            document = value
        else:
            holder, key = chance.choice(places)
            holder[chance.choice(_KEYS) if isinstance(key, str) and chance.random() < 0.3 else key] = value
        made.body = json.dumps(document).encode()


def _words(made: Answer, chance: Random) -> None:
    made.status_line = b"HTTP/1.1 429 Said"
    error = {"message": chance.choice(_WORDS), "code": "rate_limit_exceeded"}
    made.body = json.dumps({"error": error}).encode()


def _status(made: Answer, chance: Random) -> None:
    status = chance.choice(_STATUSES)
    made.status_line = f"HTTP/1.1 {status} Said".encode()
    made.framed = made.framed and 200 <= status < 600 and status not in {204, 304}
    if 300 <= status < 400:
        targets = ["/pictures/x.png", "https://\u2488/", "//", "http://[", "x" * 9000, "\x01"]
        made.add("location", chance.choice(targets))


def _status_line(made: Answer, chance: Random) -> None:
    made.status_line = chance.choice([*_STATUS_LINES, chance.randbytes(20)])
    made.framed = False


def _encoding(made: Answer, chance: Random) -> None:
    made.add("content-encoding", chance.choice(_ENCODINGS))
    packs: list[Callable[[bytes], bytes]] = [
        bytes,
        _packed,
        zlib.compress,
        lambda body: _packed(body + bytes(4_000_000)),
        lambda body: _packed(_packed(body)),
    ]
    made.body = chance.choice(packs)(made.body)


def _length(made: Answer, chance: Random) -> None:
    made.length = chance.random() < 0.2
    wrong = (0, len(made.body) - 1, len(made.body) + 1, -1, 10**30, "", "five", "0x5", "5, 6", "+5", "1_0")
    made.add("content-length", str(chance.choice(wrong)))
    made.framed = False


def _no_length(made: Answer, chance: Random) -> None:
    made.length = made.framed = False


def _chunks(made: Answer, chance: Random) -> None:
    made.length = chance.random() < 0.1
    names = ["chunked", "chunked", "Chunked", "gzip, chunked", "chunked, chunked"]
    made.add("transfer-encoding", chance.choice(names))
    size = f"{len(made.body):x}".encode()
    ending = b"\r\n0\r\n\r\n"
    size = chance.choice([size, size, size + b";a=b", b"-1", b"f" * 20, b"fffffff0", b"", b"0"])
    endings = [ending, ending, b"", b"\r\n0\r\nx: y\r\n\r\n", b"0"]
    made.body = size + b"\r\n" + made.body + chance.choice(endings)
    made.framed = False


def _header(made: Answer, chance: Random) -> None:
    name, value = chance.choice(
        [
            ("retry-after", chance.choice(_WAITS)),
            ("retry-after-ms", chance.choice(_WAITS)),
            ("x-should-retry", chance.choice(["true", "false", "", "TRUE", "maybe"])),
            ("x-ratelimit-limit-images", chance.choice(_LIMITS)),
            ("x-ratelimit-limit-requests", chance.choice(_LIMITS)),
            ("x-ratelimit-limit-tokens", chance.choice(_LIMITS)),
            ("x-ratelimit-remaining-images", chance.choice(_LIMITS)),
            ("x-ratelimit-reset-images", chance.choice([*_LIMITS, *_WAITS])),
            ("x-ratelimit-limit-" + "a" * 50, "5"),
            ("content-type", chance.choice(_TYPES)),
            ("x-request-id", chance.choice(["", "\u2488", "a" * 5000])),
            ("connection", chance.choice(["close", "keep-alive", "upgrade", "\x0b"])),
            ("set-cookie", "a=b"),
            ("x-large", "a" * chance.choice([5000, 200_000])),
        ]
    )
    for _ in range(chance.choice([1, 1, 1, 2, 300])):
        made.add(name, value)


def _bad_header(made: Answer, chance: Random) -> None:
    lines = [b"", b"no colon", b"\xff: \xfe", b" folded", b"a b", b"x\x00y", b"x\ry", b":"]
    made.headers.append((chance.choice(lines), chance.choice([b"", b"a\nb", b"\x00", b"a\r\r\n"])))
    made.framed = False


def _before(made: Answer, chance: Random) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    carries_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    made.before = chance.choice([b"\r\n", b"\r\n" * 50, carries_on, early, early * 50, b"\x16\x03"])
    made.framed = False


def _after(made: Answer, chance: Random) -> None:
    made.after = chance.choice([b"\r\n", b"}", chance.randbytes(30), b"0\r\n\r\n"])
    made.framed = False


def _cut(made: Answer, chance: Random) -> None:
    made.cut = chance.random()
    made.framed = False


_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _insert, _delete, _double, _truncate, _nest, _retype, _retype, _retype, _words, _status),
    *(_status, _status_line, _encoding, _length, _no_length, _chunks, _header, _header, _header),
    *(_bad_header, _before, _after, _cut),
)
_recordings = sorted(SAMPLES.glob("*.json"))


def _range(body: bytes, chance: Random) -> tuple[int, int]:
    begin = chance.randrange(len(body) + 1)
    return begin, min(len(body), begin + chance.choice([1, 2, 10, 1000]))


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    items: Iterable[tuple[Any, Any]] = ()
    if is_object(document):
        items = document.items()
    elif is_list(document):
        items = enumerate(document)
    for key, item in items:
        yield document, key
        yield from _places(item)


def _packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)

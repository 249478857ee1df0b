"""What the server of the benchmarks is to answer, as a value that travels in the path of the base URL."""

from __future__ import annotations

import gzip
import json
import random
import struct
from base64 import b64encode
from functools import lru_cache

from attrs import asdict, frozen

_PNG_HEAD = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB4x", 13, b"IHDR", 1024, 1024, 8, 6, 0, 0, 0)
_USAGE = {"input_tokens": 10, "output_tokens": 4160, "total_tokens": 4170}


@frozen
class Answer:
    """An answer, and how it comes."""

    pictures: int = 1
    """How many pictures it holds; with ``events``, always one."""
    size: int = 100
    """Bytes of each picture, before base64."""
    latency: int = 0
    """Milliseconds between the last byte of the request and the first of the answer."""
    gzip: int = 0
    """1 for ``content-encoding: gzip``."""
    chunk: int = 0
    """Bytes of each piece of a chunked answer; 0 for one with a length."""
    events: int = 0
    """Server-sent events, each with a picture, the last of them final; 0 for plain JSON."""
    limit: int = 0
    """The number of the rate limit that stands in front (see :mod:`tests.benchmarks.limits`), in which the request
    says how many pictures; 0 for none."""

    @property
    def path(self) -> str:
        return "".join(f"/{name}={value}" for name, value in asdict(self).items())

    @classmethod
    def parse(cls, path: str) -> Answer:
        pairs = (segment.split("=") for segment in path.split("/") if "=" in segment)
        return cls(**{name: int(value) for name, value in pairs})


@lru_cache
def encoded(answer: Answer) -> bytes:
    body = _event_stream(answer) if answer.events else _document(answer)
    head = [b"HTTP/1.1 200 OK", b"x-request-id: req_bench"]
    head.append(b"content-type: " + (b"text/event-stream" if answer.events else b"application/json"))
    if answer.gzip:
        body = gzip.compress(body, 1)
        head.append(b"content-encoding: gzip")
    if answer.chunk:
        cuts = [body[at : at + answer.chunk] for at in range(0, len(body), answer.chunk)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(cut), cut) for cut in [*cuts, b""])
        head.append(b"transfer-encoding: chunked")
    else:
        head.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*head, b"", body])


def picture(size: int) -> bytes:
    return (_PNG_HEAD + random.Random(size).randbytes(size))[:size]


def _document(answer: Answer) -> bytes:
    text = b64encode(picture(answer.size))
    entries = b",".join([b'{"b64_json":"%b"}' % text] * answer.pictures)
    usage = json.dumps(_USAGE).encode()
    return b'{"created":1700000000,"data":[%b],"output_format":"png","usage":%b}' % (entries, usage)


def _event_stream(answer: Answer) -> bytes:
    text = b64encode(picture(answer.size)).decode()
    facts = {"created_at": 1700000000, "size": "1024x1024", "quality": "high", "background": "opaque"}
    facts |= {"output_format": "png", "b64_json": text}
    stream: list[str] = []
    for number in range(answer.events):
        last = number == answer.events - 1
        kind = "image_generation.completed" if last else "image_generation.partial_image"
        own = {"usage": _USAGE} if last else {"partial_image_index": number}
        stream.append(f"event: {kind}\ndata: {json.dumps({'type': kind, **facts, **own})}\n\n")
    return "".join(stream).encode()

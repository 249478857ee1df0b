"""An emulator under load and attack: its memory, its open files, and the answers to everything that is wrong.

Its stores are bounded: so they are filled first, and what follows may not make the process grow.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx
from PIL import Image

from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting
from tests.support.broken_forms import broken_form
from tests.support.small_images import png

_FILLED = 11_000
"""Requests that fill the stores of an emulator: its log has 10 000, and so have the digests of images."""
_GROWTH = 6 * 1024 * 1024
"""Bytes that a process may grow by afterwards: what the allocator keeps."""
_MIB = 1024 * 1024
_SMALL = {"model": "dall-e-2", "prompt": "x", "size": "256x256"}
_FORMS = ("/images/edits", "/images/variations", "/files", "/content_provenance_checks")


class _Tracebacks(logging.Handler):
    """Collects what is logged as an error, such as the traceback of a request."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


def run(seed: int, first: int, count: int) -> Counter[str]:
    """Send requests of every kind, right and wrong."""
    Painting._draw = _draw  # type: ignore[method-assign]
    errors = _Tracebacks()
    logging.getLogger().addHandler(errors)
    found: Counter[str] = Counter()
    with (
        Emulator(limit=None, upload_limit=None) as emulator,
        httpx.Client(base_url=emulator.base_url, timeout=60) as api,
    ):
        for number in range(_FILLED):
            api.post("/images/generations", json=_SMALL | {"prompt": f"{seed} {number}"})
        for number in range(1000):
            _one(api, Random(f"{seed} before {number}"))
        for place in ("requests", "page", "verdict") * 3:  # the largest answers, which leave the most behind
            api.get(api.base_url.join(f"/_emulator/{place}"))
        before, files = _memory(), _open_files()
        for number in range(first, first + count):
            found[_one(api, Random(f"{seed} {number}"))] += 1
        grown = _memory() - before
        assert grown < _GROWTH, f"the process has grown by {grown / _MIB:.1f} MiB in {count} requests"
        assert _open_files() <= files + 2, "files were left open"
        found["kilobytes grown"] = max(0, grown // 1024)
        _slow_readers(emulator, api, found)
        _gigabyte(api, found)
        assert api.get("/models").status_code == 200
    assert not errors.texts, errors.texts[0]
    return found


def _draw(self: Painting, index: int) -> Image.Image:
    """Draw next to nothing."""
    return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")


def _one(api: httpx.Client, chance: Random) -> str:
    """Send one request. Return what became of it."""
    match chance.randrange(8):
        case 0:
            answer = api.post("/images/generations", json=_SMALL)
            image = api.get(answer.json()["data"][0]["url"])
            assert image.status_code == 200
        case 1:
            answer = api.post("/images/generations", json=_SMALL | {"response_format": "b64_json", "n": 4})
        case 2:
            body = {"model": "gpt-image-2", "prompt": "x", "stream": True, "partial_images": 2}
            answer = api.post("/images/generations", json=body)
        case 3:
            odd = chance.choice(
                [b"", b"[", b"\xff", b"{" * 5000, b'{"prompt": 1}', b'{"n": 1e999}', b'{"a": "\\ud800"}']
            )
            answer = api.post(
                "/images/generations", content=odd, headers={"content-type": "application/json"}
            )
        case 4:
            place, name, value = chance.choice(
                [("page", "after", "9" * 400), ("page", "open", "x,,1"), ("requests", "after", "9" * 9)] * 10
                + [("verdict", "ignore", "é"), ("requests", "after", "x")]
            )
            answer = api.get(api.base_url.join(f"/_emulator/{place}"), params={name: value})
        case 5:
            upload = {"file": ("x.png", png(), "image/png")}
            stored = api.post("/files", data={"purpose": "vision"}, files=upload).json()["id"]
            answer = api.delete(f"/files/{stored}")
        case _:
            content, content_type = broken_form(chance, png())
            answer = api.post(chance.choice(_FORMS), content=content, headers={"content-type": content_type})
    assert answer.status_code in {200, 400, 404, 413}, answer.text
    return f"{answer.status_code}"


def _slow_readers(emulator: Emulator, api: httpx.Client, found: Counter[str]) -> None:
    upload = {"file": ("x.bin", bytes(8 * _MIB), "application/octet-stream")}
    stored = api.post("/files", data={"purpose": "vision"}, files=upload).json()["id"]
    request = f"GET /v1/files/{stored}/content HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    before = _memory()
    clients: list[socket.socket] = []
    try:
        for _ in range(200):
            clients.append(socket.create_connection(("127.0.0.1", emulator.port), timeout=30))
            clients[-1].sendall(request)
            assert clients[-1].recv(15) == b"HTTP/1.1 200 OK"
        assert api.post("/images/generations", json=_SMALL).status_code == 200
        grown = _memory() - before
        assert grown < 400 * _MIB, f"200 slow readers hold {grown / _MIB:.0f} MiB of the same file"
        found["slow readers"] = len(clients)
    finally:
        for client in clients:
            client.close()
    assert api.get("/models").status_code == 200


def _gigabyte(api: httpx.Client, found: Counter[str]) -> None:
    before = _memory()

    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(1024):
            yield bytes(_MIB)

    # No length is announced: the server counts, and discards what comes after its response.
    answer = api.post("/files", content=form(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 413, answer.text
    grown = _memory() - before
    assert grown < 64 * _MIB, f"an upload holds {grown / _MIB:.0f} MiB"
    found["gigabytes refused"] = 1


def _memory() -> int:
    """Return the resident bytes of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))

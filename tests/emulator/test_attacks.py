"""Requests by the hundred that are wrong in every way: refused with 4xx, and never a traceback. More are in the soak."""

from __future__ import annotations

import logging
import socket
from random import Random
from threading import Thread

import httpx
import pytest

from imagesdk.emulator import Emulator
from tests.emulator.api import SMALL, Api, png
from tests.support.broken_forms import broken_form

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("tiny_drawings")
@pytest.mark.parametrize(
    "path", ["/images/edits", "/images/variations", "/files", "/content_provenance_checks"]
)
async def test_broken_forms_are_refused_or_served_but_never_crash(
    api: Api, path: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses: set[int] = set()
    image = png("RGBA")
    for number in range(60):
        body, content_type = broken_form(Random(f"{path} {number}"), image)
        answer = await api.post(path, content=body, headers={"content-type": content_type})
        statuses.add(answer.status_code)
        if answer.status_code != 200:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert 400 in statuses
    assert statuses <= {200, 400, 413}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", ["images/edits", "files"])
def test_an_upload_of_a_gigabyte_is_refused_by_its_announced_length(emulator: Emulator, path: str) -> None:
    head = (
        f"POST /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 1000000000\r\n\r\n--x\r\n"
    )
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=20) as client:
        client.sendall(head.encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert httpx.get(f"{emulator.base_url}/models").status_code == 200


@pytest.mark.usefixtures("tiny_drawings")
def test_clients_that_read_nothing_keep_nobody_waiting(emulator: Emulator) -> None:
    """Each asks for more than the sockets hold, so that the server cannot hand over its response."""
    upload = {"file": ("x.bin", bytes(8_000_000), "application/octet-stream")}
    stored = httpx.post(f"{emulator.base_url}/files", data={"purpose": "vision"}, files=upload, timeout=20)
    request = f"GET /v1/files/{stored.json()['id']}/content HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    slow = [socket.create_connection(("127.0.0.1", emulator.port), timeout=20) for _ in range(20)]
    try:
        for client in slow:
            client.sendall(request)
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        with httpx.Client(base_url=emulator.base_url, timeout=20) as api:
            assert [api.post("/images/generations", json=SMALL).status_code for _ in range(3)] == [200] * 3
        assert [record.complete for record in emulator.state.requests if record.method == "GET"] == [
            False
        ] * 20
    finally:
        stop = Thread(target=emulator.reset)
        stop.start()
        for client in slow:
            client.close()
        stop.join()
    assert not emulator.state.requests


@pytest.mark.parametrize("number", ["1e999", "-1e999", "[1e999]", "NaN", "-Infinity"])
async def test_a_number_that_json_cannot_hold_breaks_no_later_request(api: Api, number: str) -> None:
    body = f'{{"model": "dall-e-2", "prompt": "x", "n": {number}}}'
    answer = await api.post("/images/generations", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    for place in ("requests", "page", "verdict"):
        assert (await api.get(f"http://127.0.0.1:8000/_emulator/{place}")).status_code == 200

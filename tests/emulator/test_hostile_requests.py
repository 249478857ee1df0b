"""Requests that a page of another site, a broken client or an attacker sends: none of them costs the machine much."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from imagesdk.emulator import Emulator, bodies, server, wire
from tests.emulator.api import SMALL, Api, Connect, file, png
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

JSON = {"content-type": "application/json"}
HEAD = "POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://evil.example:8000"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    ],
    ids=str,
)
async def test_a_page_of_another_site_changes_nothing(api: Api, headers: dict[str, str]) -> None:
    upload = await api.post("/files", data={"purpose": "vision"}, files={"file": b"x"}, headers=headers)
    made = await api.post("/images/generations", json=SMALL, headers=headers)
    kept = (await api.post("/files", data={"purpose": "vision"}, files={"file": b"x"})).json()["id"]
    deleted = await api.delete(f"/files/{kept}", headers=headers)

    for answer in (upload, made, deleted):
        assert "pages of other sites" in error_of(answer, 403)["message"]
    assert (api.state.billed_images, len(api.state.files)) == (0, 1)
    assert (await api.get("/models", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:3000", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"},
        {"origin": "http://[::1]:5173"},
        {"sec-fetch-site": "none"},
    ],
    ids=str,
)
async def test_a_page_on_this_machine_may_use_the_emulator(api: Api, headers: dict[str, str]) -> None:
    assert (await api.post("/images/generations", json=SMALL, headers=headers)).status_code == 200


async def test_with_remote_clients_a_page_must_be_on_the_host_of_the_emulator(connect: Connect) -> None:
    api = connect(host="box.example:8000", allow_remote=True)
    own, other = ({"origin": f"http://{host}"} for host in ("box.example:3000", "evil.example"))
    assert (await api.post("/images/generations", json=SMALL, headers=own)).status_code == 200
    assert (await api.post("/images/generations", json=SMALL, headers=other)).status_code == 403


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_body_beyond_the_cap_is_refused_by_its_announced_length(api: Api) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"{")
        yield b"{"

    headers = JSON | {"content-length": str(600 * 1024 * 1024)}
    answer = await api.post("/images/generations", content=body(), headers=headers)

    assert "Maximum size is 134217728 bytes." in error_of(answer, 413)["message"]
    assert read == []


async def test_a_body_without_a_length_is_read_up_to_the_cap(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 100
            yield b" " * 100

    monkeypatch.setattr(bodies, "_MAX_JSON", 1000)
    answer = await api.post("/images/generations", content=body(), headers=JSON)

    assert error_of(answer, 413)["code"] == "request_too_large"
    assert read == 1100
    exact = json.dumps(SMALL).encode().rjust(1000)
    assert (await api.post("/images/generations", content=pieces(exact), headers=JSON)).status_code == 200


async def test_a_form_has_a_cap_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_MAX_FORM", 4000)
    answer = await api.edit(file("image", png("RGBA")), file("mask", b"x" * 5000))
    assert error_of(answer, 413)["code"] == "request_too_large"


async def test_a_form_of_a_thousand_fields_is_refused(api: Api) -> None:
    fields = {f"field{number}": "x" for number in range(1000)}
    assert "Too many fields" in error_of(await api.edit(file("image", png()), **fields))["message"]


def waiting(emulator: Emulator, request: str) -> bytes:
    """Send a part of a request and nothing more, and return what comes until the connection ends."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=20) as client:
        client.sendall(request.encode())
        received = b""
        while piece := client.recv(65536):
            received += piece
        return received


@pytest.mark.parametrize("request_head", ["", "POST /v1/images/gen", HEAD])
def test_a_connection_without_complete_headers_is_closed(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, request_head: str
) -> None:
    monkeypatch.setattr(server, "_HEADERS_TIMEOUT", 0.05)
    assert waiting(emulator, request_head) == b""
    assert httpx.get(f"{emulator.base_url}/models").status_code == 200


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/images/generations", "Content-Type: application/json\r\n", 408),
        ("/v1/images/edits", "Content-Type: multipart/form-data; boundary=b\r\n", 408),
        # refused anyway: the rest of the body would only be thrown away
        ("/nowhere", "Content-Type: application/json\r\n", 404),
        ("/v1/images/generations", "Origin: https://evil.example\r\n", 403),
    ],
)
def test_a_body_that_stalls_is_answered(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, path: str, headers: str, status: int
) -> None:
    monkeypatch.setattr(wire, "_BODY_TIMEOUT", 0.05)
    monkeypatch.setattr(server, "_HEADERS_TIMEOUT", 0.2)
    head = HEAD.replace("/v1/images/generations", path)
    answer = waiting(emulator, f"{head}{headers}Connection: close\r\nContent-Length: 99\r\n\r\n--b")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert emulator.state.billed_images == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_stalled_body_is_refused_on_any_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    import anyio

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep_forever()

    monkeypatch.setattr(wire, "_BODY_TIMEOUT", 0.05)
    answer = await api.post("/images/generations", content=body(), headers=JSON)

    assert "nothing came for 0.05 seconds" in error_of(answer, 408)["message"]
    assert answer.headers["connection"] == "close"


def test_a_slow_response_is_not_mistaken_for_a_slow_request(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_BODY_TIMEOUT", 0.05)
    monkeypatch.setattr(server, "_HEADERS_TIMEOUT", 0.05)
    emulator.state.faults.connection(delay=0.3)
    assert httpx.post(f"{emulator.base_url}/images/generations", json=SMALL).status_code == 200

"""The emulator on a real socket: beside a program of any kind, and alone."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import date
from io import BytesIO

import httpx
import pytest
from PIL import Image

from imagesdk.emulator import Emulator, EmulatorState, serve
from tests.emulator.api import SMALL, Api

POST = "POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n"


def statuses(emulator: Emulator, count: int, **headers: str) -> list[int]:
    """Send generations and return the statuses of their responses."""
    url = f"{emulator.base_url}/images/generations"
    return [httpx.post(url, json=SMALL, headers=headers).status_code for _ in range(count)]


def connected(emulator: Emulator, request: str = "") -> socket.socket:
    """Return a socket on which a request was sent."""
    client = socket.create_connection(("127.0.0.1", emulator.port))
    client.sendall(request.encode())
    return client


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.anyio
async def test_the_emulator_serves_callers_on_any_event_loop(emulator: Emulator, socket_api: Api) -> None:
    url = (await socket_api.generate()).json()["data"][0]["url"]

    assert url.startswith(f"http://127.0.0.1:{emulator.port}/images/")
    assert Image.open(BytesIO((await socket_api.get(url)).content)).size == (256, 256)


def test_a_taken_port_raises_os_error(emulator: Emulator) -> None:
    assert emulator.base_url == f"http://127.0.0.1:{emulator.port}/v1"

    with pytest.raises(OSError, match="in use"), Emulator(port=emulator.port):
        pass


def test_two_emulators_have_separate_states(emulator: Emulator) -> None:
    with Emulator() as other:
        assert statuses(other, 1) == [200]
        assert other.port != emulator.port
        assert (other.state.billed_images, emulator.state.billed_images) == (1, 0)


def test_an_emulator_stops_after_its_block_and_can_be_entered_again() -> None:
    before = set(threading.enumerate())
    emulator = Emulator(as_of=date(2023, 6, 1), state=EmulatorState())
    with emulator:
        port = emulator.port
        assert httpx.get(f"{emulator.base_url}/models").status_code == 200
        with pytest.raises(RuntimeError, match="runs already"):
            emulator.__enter__()

    with pytest.raises(RuntimeError, match="does not run"):
        _ = emulator.port
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/v1/models")
    assert not set(threading.enumerate()) - before

    with emulator:
        assert httpx.get(f"{emulator.base_url}/models").status_code == 200


def test_an_emulator_stops_silently_while_connections_are_open(caplog: pytest.LogCaptureFixture) -> None:
    before = set(threading.enumerate())
    with httpx.Client() as kept_alive:
        with Emulator() as emulator:
            assert kept_alive.get(f"{emulator.base_url}/models").status_code == 200
            half_sent = connected(emulator, f"{POST}Content-Length: 9\r\n\r\n{{")
        assert not set(threading.enumerate()) - before
        assert half_sent.recv(1) == b""
        half_sent.close()
    assert [record for record in caplog.records if not record.name.startswith("http")] == []


def test_requests_sent_just_before_the_end_of_the_block_are_answered() -> None:
    request = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Emulator() as emulator:
        clients = [connected(emulator, request) for _ in range(60)]
        idle = connected(emulator)

    assert [record.status for record in emulator.state.requests] == [200] * 60
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 200"
        client.close()
    assert idle.recv(1) == b""
    idle.close()


def test_stopping_does_not_wait_for_a_tick_of_the_server() -> None:
    times: list[float] = []
    for _ in range(5):
        with Emulator() as emulator:
            assert httpx.get(f"{emulator.base_url}/models").status_code == 200
            start = time.perf_counter()
        times.append(time.perf_counter() - start)

    assert min(times) < 0.05


def test_reset_forgets_everything_but_keeps_the_port_and_the_state_object(emulator: Emulator) -> None:
    state, base_url = emulator.state, emulator.base_url
    url = httpx.post(f"{base_url}/images/generations", json=SMALL).json()["data"][0]["url"]
    httpx.post(f"{base_url}/files", data={"purpose": "vision"}, files={"file": b"x"})
    state.faults.http(503, times=3)
    state.faults.http(503, on="downloads")

    emulator.reset()

    assert (emulator.state, emulator.base_url) == (state, base_url)
    assert (state.requests, state.billed_images, len(state.faults)) == ([], 0, 0)
    assert (len(state.results), len(state.files)) == (0, 0)
    assert httpx.get(url).status_code == 403
    assert (statuses(emulator, 1), state.billed_images) == ([200], 1)


def test_reset_restores_the_rate_limit_and_the_options() -> None:
    with Emulator(limit="1/h") as emulator:
        assert statuses(emulator, 2) == [200, 429]
        emulator.state.reset()
        assert statuses(emulator, 2) == [200, 429]
        emulator.reset(limit="2/h", seed=7, require_key=True)
        assert statuses(emulator, 1) == [401]
        assert statuses(emulator, 3, authorization="Bearer k") == [200, 200, 429]
        emulator.reset()
        assert statuses(emulator, 2) == [200, 429]


def test_reset_may_turn_the_emulator_into_another_server(emulator: Emulator) -> None:
    emulator.reset(quirks="gemini", as_of=date(2026, 12, 1))
    assert emulator.base_url == f"{emulator.origin}/v1beta/openai"
    answer = httpx.post(f"{emulator.base_url}/images/generations", json={"prompt": "x", "model": "any"})
    assert "created" not in answer.json()

    emulator.reset()
    assert emulator.base_url == f"{emulator.origin}/v1"


def test_reset_with_invalid_options_changes_nothing(emulator: Emulator) -> None:
    assert httpx.get(f"{emulator.base_url}/models").status_code == 200

    with pytest.raises(ValueError, match="a limit reads like"):
        emulator.reset(limit="many")
    with pytest.raises(ValueError, match="quirks is one of"):
        emulator.reset(quirks="nobody")

    assert len(emulator.state.requests) == 1


def test_reset_closes_connections_and_ends_their_requests(emulator: Emulator) -> None:
    emulator.state.faults.connection(delay=60)
    body = json.dumps(SMALL)
    request = f"{POST}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with connected(emulator, request) as slow, connected(emulator) as idle:
        emulator.reset()

        assert (emulator.state.billed_images, emulator.state.requests) == (0, [])
        assert (slow.recv(1), idle.recv(1)) == (b"", b"")
    assert httpx.get(f"{emulator.base_url}/models").status_code == 200


def test_reset_works_before_the_emulator_runs() -> None:
    emulator = Emulator(limit="1/h")
    emulator.reset(as_of=date(2023, 6, 1))

    with emulator:
        models = httpx.get(f"{emulator.base_url}/models").json()["data"]

    assert [model["id"] for model in models] == ["dall-e-2"]


def test_a_client_that_disconnects_while_sending_causes_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with Emulator() as emulator:
        for path, kind in (
            ("images/generations", "application/json"),
            ("nowhere", "application/json"),
            ("images/edits", "multipart/form-data; boundary=b"),
        ):
            head = POST.replace("images/generations", path)
            connected(emulator, f"{head}Content-Type: {kind}\r\nContent-Length: 99\r\n\r\n--").close()
        assert httpx.get(f"{emulator.base_url}/models").status_code == 200

    # Stopping waits until every request has ended.
    assert caplog.records == []


def test_nothing_is_printed_or_logged(
    emulator: Emulator, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert statuses(emulator, 1) == [200]
    httpx.get(f"{emulator.base_url}/nowhere")

    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if not record.name.startswith("http")] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::"])
def test_serving_other_machines_needs_allow_remote(host: str) -> None:
    with pytest.raises(ValueError, match="not a loopback address"):
        serve(host)


SERVE = """
import json, sys
from imagesdk.emulator import serve
serve(port=0, ready=lambda url: print(json.dumps(url), flush=True), **json.loads(sys.argv[1]))
print("bye")
"""


@pytest.mark.parametrize("options", ["{}", '{"host": "0.0.0.0", "allow_remote": true}'])
def test_ctrl_c_stops_the_server_silently(options: str) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline()).replace("0.0.0.0", "127.0.0.1")
        host = {"host": "emulator.example"} if "remote" in options else {}
        assert httpx.get(f"{url}/models", headers=host).status_code == 200
        server.send_signal(signal.SIGINT)
        rest, errors = server.communicate(timeout=30)

    assert (rest, errors, server.returncode) == ("bye\n", "", 0)

"""Webhooks of the emulator: signed, sent when a batch ends, and accepted by the official client and by this package."""

import queue
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, cast

import httpx
import openai
import pytest

from imagesdk import webhooks
from imagesdk.emulator import WEBHOOK_SECRET, Emulator
from tests.support.batch_files import GENERATIONS, jsonl, line

pytestmark = pytest.mark.usefixtures("tiny_drawings")

OWN_SECRET = "whsec_c2VjcmV0IG9mIGEgdGVzdA=="
Received = tuple[bytes, dict[str, str]]


class Receiver(HTTPServer):
    """Receiver of webhooks on a free port. It answers with the next of ``statuses``, and with 200 after them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.received: queue.Queue[Received] = queue.Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = cast("Receiver", self.server)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
        self.send_header("content-length", "0")
        self.end_headers()
        receiver.received.put((body, dict(self.headers.items())))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def create(client: httpx.Client) -> str:
    file = client.post(
        "/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", jsonl([line("a")]))}
    ).json()
    body = {"input_file_id": file["id"], "endpoint": GENERATIONS, "completion_window": "24h"}
    name: str = client.post("/batches", json=body).json()["id"]
    return name


def test_a_batch_that_nobody_looks_at_sends_a_webhook_that_both_clients_accept(receiver: Receiver) -> None:
    with (
        Emulator(webhook_url=receiver.url) as emulator,
        httpx.Client(base_url=emulator.base_url) as client,
    ):
        batch_id = create(client)
        body, headers = receiver.received.get(timeout=10)

    ours = webhooks.verify(body, headers, WEBHOOK_SECRET)
    theirs: Any = openai.OpenAI(api_key="x", webhook_secret=WEBHOOK_SECRET).webhooks.unwrap(body, headers)
    assert (ours.type, ours.status, ours.batch_id) == ("batch.completed", "completed", batch_id)
    assert (theirs.type, theirs.data.id, theirs.id) == (ours.type, batch_id, ours.id)


def test_each_end_of_a_batch_has_its_event(receiver: Receiver) -> None:
    options: Any = {"webhook_url": receiver.url, "webhook_secret": OWN_SECRET, "batch_delay": 3600}
    with Emulator(**options) as emulator, httpx.Client(base_url=emulator.base_url) as client:
        emulator.state.faults.batch(error="invalid_json_line")
        emulator.state.faults.batch(stuck=0)
        ids = [create(client) for _ in range(4)]
        client.post(f"/batches/{ids[3]}/cancel")
        emulator.advance(24 * 3600)
        events = [webhooks.verify(*receiver.received.get(timeout=10), OWN_SECRET) for _ in ids]

    found = {event.batch_id: event.status for event in events}
    assert [found[name] for name in ids] == ["failed", "expired", "completed", "cancelled"]


def test_a_webhook_that_is_refused_is_sent_again_with_the_same_id(receiver: Receiver) -> None:
    receiver.statuses = [500]
    with (
        Emulator(webhook_url=receiver.url) as emulator,
        httpx.Client(base_url=emulator.base_url) as client,
    ):
        create(client)
        (first, one), (second, two) = (receiver.received.get(timeout=10) for _ in range(2))

    assert (first, one["webhook-id"]) == (second, two["webhook-id"])


def test_webhooks_are_lost_and_sent_twice_on_request(receiver: Receiver) -> None:
    with (
        Emulator(webhook_url=receiver.url) as emulator,
        httpx.Client(base_url=emulator.base_url) as client,
    ):
        emulator.state.faults.batch(webhooks=0)
        emulator.state.faults.batch(webhooks=2)
        for _ in range(2):
            client.get(f"/batches/{create(client)}")
        events = [webhooks.verify(*receiver.received.get(timeout=10), WEBHOOK_SECRET) for _ in range(2)]
        sent = emulator.state.batches.webhooks

    assert events[0] == events[1]
    assert len(sent) == 2


def test_a_reset_sends_no_more_webhooks(receiver: Receiver) -> None:
    with (
        Emulator(webhook_url=receiver.url, batch_delay=3600) as emulator,
        httpx.Client(base_url=emulator.base_url) as client,
    ):
        create(client)
        emulator.reset()
        emulator.advance(3600)
        assert emulator.state.batches.webhooks == []
    assert receiver.received.empty()

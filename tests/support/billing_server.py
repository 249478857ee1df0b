"""Server for tests of runs: it returns an image for each prompt and counts what it bills."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress

import anyio
import anyio.from_thread
from attrs import define, field

from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, RawServer

_PROMPT = re.compile(rb'"prompt":"((?:[^"\\]|\\.)*)"')
REFUSED = json.dumps(
    {"error": {"message": "Your request was rejected.", "code": "moderation_blocked", "type": "user_error"}}
).encode()
BROKEN = b'{"error": {"message": "oh no", "type": "server_error"}}'


@define(eq=False)
class BillingServer:
    """State of the server. The first word of a prompt selects the response.

    ==========  ============================================================
    first word  response
    ==========  ============================================================
    refuse      400
    break       500, billed
    spoil 3     500, billed, for the first three requests; then an image
    drop        none: the server closes the connection, billed
    hold        an image, after ``released`` is set
    url, urls   one URL, two URLs
    other       an image
    ==========  ============================================================
    """

    billed: Counter[str] = field(factory=Counter[str])
    """Images generated, by prompt."""
    asked: list[str] = field(factory=list[str])
    keys: dict[str, list[str]] = field(factory=dict[str, list[str]])
    """Idempotency keys, by prompt."""
    downloads: list[str] = field(factory=list[str])
    broken_downloads: bool = False
    broken_ending: str | None = None
    """Suffix of the downloads that fail."""
    held: int = 0
    """Requests that wait for ``released``."""
    most_held: int = 0
    arrived: threading.Event = field(factory=threading.Event)
    """Set when a request waits for ``released``."""
    released: threading.Event = field(factory=threading.Event)
    base_url: str = ""

    async def converse(self, talk: Conversation) -> None:
        """Respond to the requests of one connection."""
        while True:
            sent = await talk.request()
            if sent.line.startswith("GET "):
                await self._download(talk, sent.line.split()[1])
                continue
            found = _PROMPT.search(sent.body)
            prompt = json.loads(b'"' + found[1] + b'"') if found else ""
            self.asked.append(prompt)
            self.keys.setdefault(prompt, []).append(sent.headers.get("idempotency-key", ""))
            await self._answer(talk, prompt)

    async def _answer(self, talk: Conversation, prompt: str) -> None:
        match prompt.split()[:1]:
            case ["refuse"]:
                await talk.answer(REFUSED, 400, content_type="application/json")
            case ["break"]:
                self.billed[prompt] += 1
                await talk.answer(BROKEN, 500)
            case ["spoil"]:
                self.billed[prompt] += 1
                spoilt = self.billed[prompt] <= int(prompt.split()[1])
                await (talk.answer(BROKEN, 500) if spoilt else talk.answer(answer(png())))
            case ["drop"]:
                self.billed[prompt] += 1
                talk.hang_up()
            case ["url"]:
                self.billed[prompt] += 1
                await talk.answer(answer_of_urls(f"/images/{len(self.asked)}"))
            case ["urls"]:
                self.billed[prompt] += 1
                number = len(self.asked)
                await talk.answer(answer_of_urls(f"/images/{number}a", f"/images/{number}b"))
            case ["hold"]:
                self.billed[prompt] += 1
                self.held += 1
                self.most_held = max(self.most_held, self.held)
                self.arrived.set()
                while not self.released.is_set():  # noqa: ASYNC110 - another thread sets it
                    await anyio.sleep(0.002)
                self.held -= 1
                await talk.answer(answer(png()))
            case _:
                self.billed[prompt] += 1
                await talk.answer(answer(png(1, 1, padding=len(self.asked))))

    async def _download(self, talk: Conversation, path: str) -> None:
        self.downloads.append(path)
        if self.broken_downloads or (self.broken_ending and path.endswith(self.broken_ending)):
            await talk.answer(b"", 404)
        else:
            await talk.answer(png(2, 2))


@contextmanager
def billing_server() -> Generator[BillingServer, None, None]:
    """Run a server in a thread of its own."""
    state = BillingServer()
    with anyio.from_thread.start_blocking_portal() as portal:

        async def run() -> None:
            async with anyio.create_task_group() as tasks:
                async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
                    port = listener.extra(anyio.abc.SocketAttribute.local_port)
                    state.base_url = f"http://127.0.0.1:{port}/v1"
                    server = RawServer(port)
                    stop.append(tasks.cancel_scope)
                    ready.set()

                    async def serve(stream: anyio.abc.SocketStream) -> None:
                        server.connections += 1
                        async with stream:
                            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                                await state.converse(Conversation(stream, server.connections, server))
                            server.requests.clear()

                    await listener.serve(serve, task_group=tasks)

        ready, stop = threading.Event(), list[anyio.CancelScope]()
        future = portal.start_task_soon(run)
        assert ready.wait(10)
        try:
            yield state
        finally:
            state.released.set()
            portal.call(stop[0].cancel)
            future.result(10)


__all__ = ["BillingServer", "billing_server"]

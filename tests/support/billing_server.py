"""Server for tests of runs: it returns an image for each prompt and counts what it bills."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
import anyio.to_thread
from anyio.from_thread import start_blocking_portal
from attrs import define, field

from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, serving

_PROMPT = re.compile(rb'"prompt":"((?:[^"\\]|\\.)*)"')
REFUSED = json.dumps(
    {"error": {"message": "Your request was rejected.", "code": "moderation_blocked", "type": "user_error"}}
).encode()
DENIED = b'{"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}'
OWING = b'{"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}'
BUSY = b'{"error": {"message": "Rate limit reached.", "code": "rate_limit_exceeded"}}'
BROKEN = b'{"error": {"message": "oh no", "type": "server_error"}}'


@define(eq=False)
class BillingServer:
    """State of the server. The first word of a prompt selects the response; all but ``refuse``, ``deny`` and ``owe`` are billed."""

    billed: Counter[str] = field(factory=Counter[str])
    asked: list[str] = field(factory=list[str])
    keys: dict[str, list[str]] = field(factory=dict[str, list[str]])
    downloads: list[str] = field(factory=list[str])
    broken_downloads: bool = False
    broken_ending: str | None = None
    held: int = 0
    most_held: int = 0
    changed: threading.Condition = field(factory=threading.Condition)
    """Notified when a request is held, or asked for."""
    arrived: threading.Event = field(factory=threading.Event)
    released: threading.Event = field(factory=threading.Event)
    base_url: str = ""
    delay: float = 0.0
    """Seconds between a request and its response."""

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait, in another thread than the server's, for the requests that a condition is about."""
        with self.changed:
            assert self.changed.wait_for(condition, 30)

    async def converse(self, talk: Conversation) -> None:
        while True:
            sent = await talk.request()
            if sent.line.startswith("GET "):
                await self._download(talk, sent.line.split()[1])
                continue
            found = _PROMPT.search(sent.body)
            prompt = json.loads(b'"' + found[1] + b'"') if found else ""
            with self.changed:
                self.asked.append(prompt)
                self.changed.notify_all()
            self.keys.setdefault(prompt, []).append(sent.headers.get("idempotency-key", ""))
            await self._answer(talk, prompt)

    async def _answer(self, talk: Conversation, prompt: str) -> None:
        word, *rest = prompt.split() or [""]
        if word not in {"refuse", "deny", "owe"}:
            self.billed[prompt] += 1
        await anyio.sleep(self.delay)
        address = f"/images/{len(self.asked)}"
        match word:
            case "refuse":
                await talk.answer(REFUSED, 400, content_type="application/json")
            case "busy" if self.asked.count(prompt) <= int(rest[0]):
                await talk.answer(BUSY, 429, content_type="application/json", retry_after="0.01")
            case "owe":
                await talk.answer(OWING, 429, content_type="application/json")
            case "deny":
                await talk.answer(DENIED, 401, content_type="application/json")
            case "break":
                await talk.answer(BROKEN, 500)
            case "spoil" if self.billed[prompt] <= int(rest[0]):
                await talk.answer(BROKEN, 500)
            case "empty":
                await talk.answer(json.dumps({"data": [{"finish_reason": "_".join(rest) or None}]}).encode())
            case "spare":
                await talk.answer(json.dumps({"data": [json.loads(answer(png()))["data"][0], None]}).encode())
            case "drop":
                talk.hang_up()
            case "pair":
                await talk.answer(answer(png(1, 1), png(2, 2)))
            case "url":
                await talk.answer(answer_of_urls(address))
            case "urls":
                await talk.answer(answer_of_urls(f"{address}a", f"{address}b"))
            case "hold":
                with self.changed:
                    self.held += 1
                    self.changed.notify_all()
                self.most_held = max(self.most_held, self.held)
                self.arrived.set()
                await anyio.to_thread.run_sync(self.released.wait, abandon_on_cancel=True)
                self.held -= 1
                await talk.answer(answer(png()))
            case _:
                await talk.answer(answer(png(1, 1, padding=len(self.asked))))

    async def _download(self, talk: Conversation, path: str) -> None:
        self.downloads.append(path)
        if self.broken_downloads or (self.broken_ending and path.endswith(self.broken_ending)):
            await talk.answer(b"", 404)
        else:
            await talk.answer(png(2, 2))


@contextmanager
def billing_server() -> Generator[BillingServer, None, None]:
    state = BillingServer()
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serving(state.converse)) as server:
            state.base_url = server.base_url
            try:
                yield state
            finally:
                state.released.set()

"""A machine without memory or threads: images are kept, and errors are typed and say whether images may be billed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

import imagesdk
from imagesdk import AsyncClient, Client, RetryPolicy
from imagesdk._engine.sink import ImageSink
from imagesdk._protocol.scanner import Scanner
from imagesdk._runtime.threads import run_blocking
from tests.support.small_images import answer, answer_of_urls, png

pytestmark = pytest.mark.anyio

SMALL = png()
OPTIONS: dict[str, Any] = {
    "api_key": "sk-scarcity",
    "base_url": "https://images.test/v1",
    "rate_limit": None,
    "retry": RetryPolicy(max_attempts=3, backoff=0),
}


def no_memory(*_: object, **__: object) -> NoReturn:
    raise MemoryError


def no_thread(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("can't start new thread")


class Server:
    """A server that counts its requests."""

    def __init__(self, body: bytes = b"", kind: str = "application/json") -> None:
        self.requests = 0
        self._body, self._kind = body or answer(SMALL), kind

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        body = SMALL if request.method == "GET" else self._body
        return httpx.Response(200, content=body, headers={"content-type": self._kind})

    def __call__(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.reply))


@pytest.fixture
def threadless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No further thread starts, and none of those of earlier tests is idle."""
    monkeypatch.setattr("anyio.to_thread.run_sync", no_thread)


@pytest.mark.usefixtures("threadless")
async def test_without_a_thread_the_images_are_written_all_the_same(tmp_path: Path) -> None:
    server = Server()
    async with AsyncClient(http_client=server, **OPTIONS) as client:
        response = await client.images.generate("a cat", out=tmp_path / "cat.png")
        async with client.images.fan_out(["a", "b"], out=tmp_path / "run") as run:
            outcomes = await run.collect()
    assert response[0].bytes == SMALL
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert server.requests == 3


@pytest.mark.usefixtures("threadless")
async def test_without_a_thread_blocking_work_runs_once_and_its_errors_are_its_own() -> None:
    ran = list[int]()
    await run_blocking(ran.append, 1)
    assert ran == [1]
    with pytest.raises(ZeroDivisionError):
        await run_blocking(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="can't start"):
        await run_blocking(no_thread)


async def _generate(client: AsyncClient) -> object:
    return await client.images.generate("a cat")


async def _edit(client: AsyncClient) -> object:
    return await client.images.edit(SMALL, "a cat", model="gpt-image-2")


async def _edit_path(client: AsyncClient) -> object:
    return await client.images.edit(__file__, "a cat", check=False)


async def _upload_path(client: AsyncClient) -> object:
    return await client.files.upload(__file__)


async def _stream(client: AsyncClient) -> object:
    async with client.images.generate_stream("a cat") as stream:
        return await stream.final()


NOT_SENT: dict[str, tuple[str, Any, Callable[[AsyncClient], Any]]] = {
    "request": ("imagesdk._calls.build.build_request", no_memory, _generate),
    "images": ("imagesdk._calls.sources._open_source", no_memory, _edit),
    "headers": ("imagesdk._engine.attempt.request_headers", no_memory, _generate),
    "thread": ("imagesdk._engine.attempt.request_headers", no_thread, _generate),
    "thread for images": ("imagesdk._runtime.reading._readers.start", no_thread, _edit_path),
    "thread for a file": ("imagesdk._runtime.reading._readers.start", no_thread, _upload_path),
}


@pytest.mark.parametrize(("place", "lack", "call"), NOT_SENT.values(), ids=NOT_SENT)
async def test_what_is_lacking_before_a_request_is_sent_is_a_typed_error(
    place: str, lack: Any, call: Callable[[AsyncClient], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    monkeypatch.setattr(place, lack)
    async with AsyncClient(http_client=server, **OPTIONS) as client:
        with pytest.raises(imagesdk.APIConnectionError, match=r"(T|t)his machine has no") as caught:
            await call(client)
    assert not caught.value.maybe_billed
    assert not isinstance(caught.value, imagesdk.OutcomeUnknownError)
    assert server.requests == 0


@pytest.mark.usefixtures("threadless")
async def test_without_a_thread_for_the_certificates_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesdk._transport.environment._tls", None)
    async with AsyncClient(**OPTIONS) as client:
        with pytest.raises(imagesdk.APIConnectionError, match="this machine has no thread") as caught:
            await client.images.generate("a cat")
    assert not caught.value.maybe_billed


@pytest.mark.parametrize("lack", [no_memory, no_thread])
@pytest.mark.parametrize("place", [(Scanner, "steps"), (Scanner, "document"), (ImageSink, "write")])
async def test_what_is_lacking_after_a_success_is_a_typed_error_and_is_not_paid_again(
    place: tuple[type, str], lack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    monkeypatch.setattr(*place, lack)
    async with AsyncClient(http_client=server, **OPTIONS) as client:
        with pytest.raises(imagesdk.APIResponseError, match="there is no") as caught:
            await client.images.generate("a cat")
    assert caught.value.maybe_billed
    assert server.requests == 1


async def test_a_stream_for_which_memory_is_lacking_ends_with_a_typed_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(b"data: {}\n\n", "text/event-stream")
    monkeypatch.setattr(Scanner, "steps", no_memory)
    async with AsyncClient(http_client=server, **OPTIONS) as client:
        with pytest.raises(imagesdk.StreamError, match="this machine has no memory") as caught:
            await _stream(client)
    assert caught.value.maybe_billed
    assert server.requests == 1


async def test_a_download_for_which_memory_is_lacking_is_a_download_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(answer_of_urls("/cat.png"))
    monkeypatch.setattr(ImageSink, "write", no_memory)
    async with AsyncClient(http_client=server, **OPTIONS) as client:
        with pytest.raises(imagesdk.DownloadError, match="no memory"):
            await client.images.download("/cat.png")


@pytest.mark.usefixtures("threadless")
async def test_without_a_thread_for_a_token_nothing_is_sent() -> None:
    server = Server()
    options: dict[str, Any] = {"token_provider": lambda: "token", "http_client": server, "rate_limit": None}
    async with AsyncClient.azure(
        "https://name.openai.azure.com", api_version="2025-04-01-preview", **options
    ) as client:
        with pytest.raises(imagesdk.APIConnectionError, match="no thread to fetch a token") as caught:
            await client.images.generate("a cat", model="gpt-image-2")
    assert not caught.value.maybe_billed
    assert server.requests == 0


@pytest.mark.parametrize("place", ["_thread.start_new_thread", "threading.Thread.start"])
def test_without_a_thread_a_blocking_client_sends_nothing(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    monkeypatch.setattr(
        "imagesdk._sync.portal._process._portal", None
    )  # that of earlier tests may not have ended yet
    client = Client(http_client=server, **OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(place, no_thread)
        with pytest.raises(imagesdk.APIConnectionError, match="no thread for the blocking clients"):
            client.images.generate("a cat")
    assert server.requests == 0
    assert client.images.generate("a cat")[0].bytes == SMALL
    client.close()

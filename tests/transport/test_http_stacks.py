"""Every HTTP stack does the same: our own connections, and clients of httpx, of httpx2 and of aiohttp that users bring."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import anyio
import pytest

from imagesdk import AsyncClient, RetryPolicy, errors
from imagesdk.emulator import Emulator
from imagesdk.events import AttemptStarted, Event, RetryScheduled
from tests.support.certificates import Authority
from tests.support.http2_servers import Front
from tests.support.http_stacks import OWN, STACKS, THEIRS, Stack, on
from tests.support.leaks import KEY, leaks
from tests.support.odd_images import holed
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, in_turn, says, serving

pytestmark = pytest.mark.anyio

MakeClient: TypeAlias = Callable[..., AsyncClient]
Reach: TypeAlias = Callable[..., AbstractAsyncContextManager[tuple[AsyncClient, list[str]]]]

SMALL = png()
ANSWER = answer(SMALL)
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def reach(emulator: Emulator, authority: Authority, make_client: MakeClient) -> Reach:
    """Open a client of the emulator on a stack, with the list of the requests that arrive over HTTP/2."""

    @asynccontextmanager
    async def reach(stack: Stack, **options: Any) -> AsyncGenerator[tuple[AsyncClient, list[str]], None]:
        if not stack.options:
            async with make_client(emulator.base_url, http_client=stack.factory(), **options) as client:
                yield client, []
            return
        front = Front(emulator.base_url.removesuffix("/v1"))
        trusting = ssl.create_default_context(cafile=authority.file)
        async with serving(authority.speaking("h2").secured(front.handler)) as server:
            http_client, base_url = stack.factory(verify=trusting), f"https://localhost:{server.port}/v1"
            async with make_client(base_url, http_client=http_client, **options) as client:
                yield client, front.seen

    return reach


@on(*STACKS)
async def test_the_three_operations_a_stream_and_a_download(
    stack: Stack, emulator: Emulator, reach: Reach, tmp_path: Path
) -> None:
    source = holed(256, 256)
    small: dict[str, Any] = {"model": "dall-e-2", "size": "256x256"}
    async with reach(stack, api_key=KEY) as (client, over_http2):
        made = await client.images.generate("a cat", n=2, **small, out=tmp_path / "cats")
        edited = await client.images.edit(source, "a hat", mask=source, **small)
        varied = await client.images.create_variation(
            BytesIO(source), n=2, **small, response_format="b64_json"
        )
        async with client.images.generate_stream("a river", model="gpt-image-2", partial_images=2) as stream:
            kinds = [type(event).__name__ async for event in stream]
        linked = await client.images.generate("a dog", **small, response_format="url")
        url = urlsplit(linked[0].url or "")
        fetched = await client.images.download(f"{url.path}?{url.query}")

    assert [image.path is not None and image.path.is_file() for image in made] == [True, True]
    assert [(image.width, image.height) for image in (*made, *varied)] == [(256, 256)] * 4
    assert edited[0].url is not None
    assert kinds == ["PartialImage", "PartialImage", "CompletedImage"]
    assert fetched.startswith(b"\x89PNG")
    assert [record.authorized for record in emulator.state.requests] == [True] * 5 + [False]
    assert len(over_http2) == (6 if stack.options else 0)


@on(*STACKS)
async def test_many_calls_at_once(stack: Stack, reach: Reach) -> None:
    sizes: list[int] = []

    async def call(client: AsyncClient) -> None:
        response = await client.images.generate(
            "a cat", model="dall-e-2", size="256x256", response_format="b64_json"
        )
        sizes.append(len(response[0].bytes))

    async with reach(stack) as (client, _):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(call, client)

    assert len(sizes) == 20


@pytest.mark.parametrize("stack", [stack for stack in STACKS if not stack.options], ids=str)
def test_one_event_loop_after_the_other(stack: Stack, emulator: Emulator, make_client: MakeClient) -> None:
    client = make_client(emulator.base_url, http_client=stack.factory())

    async def call() -> None:
        async with client:
            await client.images.generate("a cat", model="dall-e-2", size="256x256")

    for backend in (*stack.backends, stack.backends[0]):
        anyio.run(call, backend=backend)

    assert {record.status for record in emulator.state.requests} == {200}


@on(*THEIRS)
async def test_an_impatient_client_with_one_connection_serves_many_calls(
    stack: Stack, make_client: MakeClient
) -> None:
    started = 0
    all_started = anyio.Event()

    def count(event: Event) -> None:
        nonlocal started
        started += isinstance(event, AttemptStarted)
        if started == 10:
            all_started.set()

    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            await all_started.wait()
            await talk.answer(ANSWER)

    one = stack.library.Limits(max_connections=1)
    http_client = stack.factory(timeout=0.0, limits=one)
    async with serving(handler) as server:
        async with make_client(
            server.base_url, http_client=http_client, observers=[count], retry=ONCE
        ) as client:
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(client.images.generate, "a cat")

        assert (server.connections, len(server.requests)) == (1, 10)


@on(*STACKS)
async def test_a_cancelled_call_leaves_a_client_that_works(stack: Stack, make_client: MakeClient) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        if talk.number == 1:
            scope.cancel()
            await talk.dropped()
            left.set()
        else:
            await talk.answer(ANSWER)

    http_client = stack.factory(limits=stack.library.Limits(max_connections=1))
    async with serving(handler) as server, make_client(server.base_url, http_client=http_client) as client:
        with anyio.CancelScope() as scope:
            await client.images.generate("a cat")
        await left.wait()
        assert scope.cancelled_caught
        assert (await client.images.generate("a cat"))[0].bytes == SMALL


@on(*(stack for stack in THEIRS if stack.options))
async def test_a_cancelled_call_over_http2_leaves_a_connection_that_works(
    stack: Stack, make_client: MakeClient, authority: Authority
) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        if len(talk.server.requests) == 1:
            scope.cancel()
            await talk.dropped()
        else:
            await talk.answer(ANSWER)

    authority = authority.speaking("h2")
    http_client = stack.factory(verify=ssl.create_default_context(cafile=authority.file))
    async with serving(handler) as behind:
        async with serving(authority.secured(Front(behind.origin).handler)) as server:
            base_url = f"https://localhost:{server.port}/v1"
            async with make_client(base_url, http_client=http_client) as client:
                with anyio.CancelScope() as scope:
                    await client.images.generate("a cat")
                assert scope.cancelled_caught
                assert (await client.images.generate("a cat"))[0].bytes == SMALL
            assert server.connections == 1


@on(*STACKS)
async def test_a_refused_connection_is_free_and_no_timeout(stack: Stack, make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async with make_client(url, http_client=stack.factory(), api_key=KEY, retry=ONCE) as client:
        with pytest.raises(errors.APIConnectionError, match="could not be reached") as caught:
            await client.images.generate("a cat")

    assert not isinstance(caught.value, errors.APITimeoutError)
    assert not caught.value.maybe_billed
    assert caught.value.__cause__ is not None
    assert leaks(caught.value) == []


async def hang_up(talk: Conversation) -> None:
    await talk.request()


async def say_nonsense(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"what?\r\n\r\n")


@on(*STACKS)
@pytest.mark.parametrize("handler", [hang_up, say_nonsense])
async def test_a_request_without_a_response_may_have_been_billed_and_is_retried_once(
    stack: Stack, make_client: MakeClient, handler: Callable[[Conversation], Any]
) -> None:
    events: list[Event] = []
    async with serving(handler) as server:
        terms = {"http_client": stack.factory(), "observers": [events.append]}
        async with make_client(server.base_url, api_key=KEY, **terms) as client:
            with pytest.raises(errors.OutcomeUnknownError) as caught:
                await client.images.generate("a cat")

        assert len(server.requests) == 2

    assert caught.value.maybe_billed
    assert not isinstance(caught.value, errors.APITimeoutError)
    assert [event.maybe_billed for event in events if isinstance(event, RetryScheduled)] == [True]
    assert leaks(caught.value) == []


@on(*STACKS)
async def test_rejections_raise_and_busy_servers_are_retried(stack: Stack, make_client: MakeClient) -> None:
    refusal = b'{"error": {"message": "no such key", "code": "invalid_api_key"}}'
    steps = (says(b"", 503), says(b"", 429, retry_after="0"), says(ANSWER), says(refusal, 401))
    async with serving(in_turn(*steps)) as server:
        async with make_client(server.base_url, http_client=stack.factory()) as client:
            response = await client.images.generate("a cat")
            with pytest.raises(errors.AuthenticationError, match="no such key"):
                await client.images.generate("a cat")

    assert response[0].bytes == SMALL


@on(*STACKS)
async def test_no_redirect_no_credentials_of_netrc_and_no_key_on_downloads(
    stack: Stack, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1\nlogin me\npassword secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    steps = (says(ANSWER), says(SMALL), says(b"", 307, location="/elsewhere"))
    async with serving(in_turn(*steps)) as server:
        async with make_client(server.base_url, http_client=stack.factory()) as client:
            await client.images.generate("a cat")
        async with make_client(server.base_url, api_key=KEY, http_client=stack.factory()) as client:
            await client.images.download("/cat.png")
            with pytest.raises(errors.APIStatusError, match="redirects to /elsewhere"):
                await client.images.generate("a cat")

        assert ["authorization" in sent.headers for sent in server.requests] == [False, False, True]
        assert "transfer-encoding" not in server.requests[1].headers


@on(*STACKS)
async def test_no_log_contains_the_key_the_prompt_or_a_signature(
    stack: Stack, reach: Reach, caplog: pytest.LogCaptureFixture
) -> None:
    small: dict[str, Any] = {"model": "dall-e-2", "size": "256x256", "response_format": "url"}
    async with reach(stack, api_key=KEY) as (client, _):
        caplog.set_level(0)
        linked = await client.images.generate("a purple llama", **small, extra_headers={"x-own": KEY})
        # The emulator's server runs in this process, and decodes headers with a log record each.
        records = [record for record in caplog.records if "decode" not in record.funcName]
        caplog.clear()
        caplog.set_level(logging.INFO)
        url = urlsplit(linked[0].url or "")
        await client.images.download(f"{url.path}?{url.query}")
        origin = client.base_url.removesuffix("/v1")
        logged = [message for message in caplog.messages if origin in message]

    for record in records:
        assert [word for word in (KEY, "llama") if word in record.getMessage() + repr(record.args)] == []
    assert len(logged) == (stack is not OWN)
    assert [message for message in logged if "sig=" in message] == []


@on(*STACKS)
async def test_a_response_cut_short_is_an_error_on_every_stack(stack: Stack, make_client: MakeClient) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + ANSWER[:50])

    async with serving(handler) as server:
        async with make_client(server.base_url, http_client=stack.factory(), retry=ONCE) as client:
            with pytest.raises(Exception, match="cut short") as caught:
                await client.images.generate("a cat")

    assert getattr(caught.value, "maybe_billed", None) is True


def test_the_page_about_http_clients_lists_every_stack() -> None:
    page = (Path(__file__).parents[2] / "docs" / "http-clients.md").read_text("utf-8")
    assert [stack for stack in STACKS if f"| {stack} |" not in page] == []

"""One object holds the key, only the server receives it, and nothing shows it."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import httpx
import pytest

import imagesdk
from imagesdk import AsyncClient, Caps, Client, RetryPolicy
from imagesdk._protocol.secret import Secret
from imagesdk.cli import parser
from imagesdk.emulator import Emulator
from tests.support.leaks import KEY, exposed, leaks
from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, Handler, always, in_turn, says, serving

MakeClient: TypeAlias = Callable[..., AsyncClient]

pytestmark = pytest.mark.anyio

PROMPT = "a prompt for the server alone"
SMALL = png(padding=90)
HTTP_CLIENTS = pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])


def reachable(start: object) -> Iterator[object]:
    """Yield an object and all objects that its public attributes lead to; methods are not called."""
    waiting, seen = [start], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) not in seen and not callable(found):
            seen.add(id(found))
            yield found
            waiting += [getattr(found, name) for name in dir(found) if not name.startswith("_")]


def test_no_object_that_a_client_leads_to_prints_the_key() -> None:
    client = AsyncClient(api_key=KEY, organization="org-1", project="proj-1")
    with Client(api_key=KEY) as blocking:
        seen = [found for start in (client, blocking, Secret(KEY)) for found in reachable(start)]
    assert {AsyncClient, Client, imagesdk.AsyncImages, imagesdk.Images} <= {type(found) for found in seen}
    for found in seen:
        for text in (repr(found), str(found), f"{found}", f"{[found]}", repr(getattr(found, "__dict__", {}))):
            assert KEY not in text


HOLDERS = f"""
    import gc, sys, types

    import anyio

    from imagesdk import AsyncClient, Client

    kind, backend, base_url = sys.argv[1:]

    def key():
        return bytes.fromhex("{KEY.encode().hex()}").decode()

    def holders():
        gc.collect()
        text, data = key(), key().encode()
        names = []
        for holder in gc.get_objects():
            if isinstance(holder, types.FrameType):
                continue  # of this search
            waiting = [holder]
            while waiting:
                for part in gc.get_referents(waiting.pop()):
                    if text in part if isinstance(part, str) else isinstance(part, bytes) and data in part:
                        names.append(type(holder).__name__)
                    elif isinstance(part, tuple | dict) and not gc.is_tracked(part):
                        waiting.append(part)  # the collector does not list those that hold only texts
        return names

    async def asynchronous():
        client = AsyncClient(base_url=base_url, api_key=key(), rate_limit=None)
        await client.images.generate("a cat")
        print(*holders())
        await client.aclose()

    def blocking():
        with Client(base_url=base_url, api_key=key(), rate_limit=None) as client:
            client.images.generate("a cat")
            print(*holders())

    blocking() if kind == "Client" else anyio.run(asynchronous, backend=backend)
"""


@pytest.mark.parametrize("kind", ["AsyncClient", "Client"])
async def test_in_a_process_one_object_holds_the_key_between_calls(kind: str, anyio_backend: str) -> None:
    async with serving(always(answer(SMALL))) as server:
        done = await anyio.run_process(
            [sys.executable, "-c", textwrap.dedent(HOLDERS), kind, anyio_backend, server.base_url],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"

    assert done.stdout.decode().split() == ["Secret"]


def raw(*sent: bytes) -> Handler:
    """A handler that reads a request and sends what an HTTP server cannot send."""

    async def handler(talk: Conversation) -> None:
        await talk.request()
        for data in sent:
            await talk.send(data)

    return handler


async def hang_up(talk: Conversation) -> None:
    talk.hang_up()


async def refuse_with_the_key(talk: Conversation) -> None:
    headers = talk.server.requests[-1].headers
    shown = f"No: {headers['authorization']}"
    error = {"message": shown, "code": shown, "sent": [headers]}
    await talk.answer(json.dumps({"error": error}).encode(), 401)


FAILURES = {
    "at once": hang_up,
    "in the middle": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", answer(SMALL)[:100]),
    "echo": in_turn(refuse_with_the_key),
    "no header": raw(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"),
    "huge head": raw(b"HTTP/1.1 200 OK\r\nx-large: " + b"a" * 1_000_000 + b"\r\n\r\n"),
    "odd version": raw(b"HTTP/9.9 nine\r\n\r\n"),
    "redirect": always(b"", 307, location="https://elsewhere.test/v1/images/generations"),
    "gateway": always(b"<html><title>Bad Gateway</title></html>", 502),
    "quota": always(b'{"error": {"message": "Used up.", "code": "insufficient_quota"}}', 429),
    "deep": always(b"[" * 100_000),
    "large": always(answer(SMALL, SMALL * 100)),
    "gzip": always(b"\x1f\x8b", content_encoding="gzip"),
    "private url": always(answer_of_urls("https://10.0.0.1/cat.png")),
}


@HTTP_CLIENTS
@pytest.mark.parametrize("handler", FAILURES.values(), ids=FAILURES)
async def test_no_failure_shows_the_key(
    handler: Handler, http_client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    seen: list[object] = []
    options: dict[str, Any] = {
        "caps": Caps(image=5000),
        "observers": [seen.append],
        "http_client": http_client,
    }
    async with exposed(handler, **options) as (client, _):
        with pytest.raises(imagesdk.ImageSDKError) as caught:
            await client.images.generate(PROMPT, out=tmp_path)
    assert leaks(caught.value) == []
    assert seen
    assert KEY not in repr(seen)
    assert files_within(tmp_path) == []
    assert [record for record in caplog.records if KEY in record.getMessage() + repr(record.args)] == []


def files_within(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


@HTTP_CLIENTS
async def test_logs_show_neither_key_nor_prompt_nor_image_nor_signature(
    http_client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    steps = (
        says(b"", 503),
        says(answer(SMALL, revised_prompt=PROMPT)),
        says(answer_of_urls("/cat.png?sig=signature")),
        says(b"", 503),
        says(SMALL),
        says(b'{"error": {"message": "no", "code": "moderation_blocked"}}', 400),
    )
    retry = RetryPolicy(backoff=0)
    async with exposed(in_turn(*steps), retry=retry, http_client=http_client) as (client, server):
        responses = [await client.images.generate(PROMPT, out=tmp_path) for _ in range(2)]
        with pytest.raises(imagesdk.ModerationError):
            await client.images.generate(PROMPT)
        assert all(KEY not in repr(sent.headers) for sent in server.requests if sent.line.startswith("GET"))
    assert caplog.records
    words = (KEY, PROMPT, "signature", base64.b64encode(SMALL).decode()[:60], repr(SMALL)[2:60])
    for record in caplog.records:
        text = record.getMessage() + repr(record.args)
        assert [word for word in words if word in text] == []
    for response in responses:
        assert KEY.encode() not in pickle.dumps(response)
        assert response[0].bytes == SMALL
    assert all(KEY.encode() not in path.read_bytes() for path in files_within(tmp_path))


@HTTP_CLIENTS
async def test_the_signature_of_an_image_that_moved_is_in_no_line_that_programs_log_by_default(
    http_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    steps = (says(b"", 302, location="/moved.png?sig=signature"), says(SMALL))
    async with exposed(in_turn(*steps), http_client=http_client) as (client, server):
        assert await client.images.download("/cat.png?sig=signature") == SMALL
        paths = [sent.line.split()[1] for sent in server.requests]
    assert paths == ["/cat.png?sig=signature", "/moved.png?sig=signature"]
    assert "signature" not in caplog.text
    assert ("/moved.png" in caplog.text) == (http_client is not None)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_command_line_takes_no_key_and_shows_none(tmp_path: Path) -> None:
    options = [option for action in actions() for option in action.option_strings if "key" in option]
    assert options == ["--require-key"]  # of the emulator: an argument is seen by all users of a machine

    environment = {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(Path(__file__).parents[2])}
    steps = (says(answer(SMALL)), refuse_with_the_key, refuse_with_the_key)
    async with serving(in_turn(*steps)) as server:
        for arguments in (["--json"], ["--json"], []):
            done = await anyio.run_process(
                [sys.executable, "-X", "dev", "-m", "imagesdk", *arguments, "generate", "a cat"],
                cwd=tmp_path,
                env={**environment, "OPENAI_BASE_URL": server.base_url},
                check=False,
            )
            assert done.returncode in {0, 4}
            assert KEY.encode() not in done.stdout + done.stderr
        assert {sent.headers["authorization"] for sent in server.requests} == {f"Bearer {KEY}"}
    assert [path.read_bytes() for path in files_within(tmp_path)] == [SMALL]


def actions() -> Iterator[Any]:
    """Yield every option of every command."""
    waiting: list[Any] = [parser.build()]
    while waiting:
        for action in waiting.pop()._actions:
            yield action
            commands: Any = action.choices
            waiting += commands.values() if hasattr(commands, "values") else []


@HTTP_CLIENTS
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_a_paid_request_is_not_followed(status: int, http_client: Any) -> None:
    async with serving(always(answer(SMALL))) as elsewhere:
        location = f"{elsewhere.base_url}/images/generations?signature=1"
        redirect, retry = always(b"", status, location=location), RetryPolicy(backoff=0)
        async with exposed(redirect, retry=retry, http_client=http_client) as (client, server):
            with pytest.raises(imagesdk.APIStatusError, match="redirects to") as caught:
                await client.images.generate(PROMPT)
            assert len(server.requests) == 1
        assert elsewhere.connections == 0
    assert caught.value.status_code == status
    assert not caught.value.maybe_billed
    assert "signature" not in str(caught.value)


async def test_the_emulator_keeps_no_key_whatever_is_logged_and_listens_to_this_machine_only(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    with Emulator(limit=None, require_key=True) as emulator:
        async with make_client(emulator.base_url, api_key=KEY) as client:
            await client.images.generate("a cat", model="dall-e-2", size="256x256")
            with pytest.raises(imagesdk.ModerationError):
                await client.images.generate("forbidden", model="dall-e-2")
        with pytest.raises(OSError, match=r"connect|refused|unreachable|assign"):
            # All of 127/8 is this machine, and a server that listens everywhere answers there, too.
            await anyio.connect_tcp("127.0.0.2", emulator.port)

        assert [record.authorized for record in emulator.state.requests] == [True, True]
        assert KEY not in repr(emulator.state) + repr(vars(emulator)) + caplog.text
        assert KEY.encode() not in pickle.dumps(emulator.state.requests)

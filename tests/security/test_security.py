"""The key is in one object, goes to the server alone, and shows nowhere else."""

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
from tests.support.leaks import KEY, leaks
from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, Handler, always, in_turn, says, serving

PROMPT = "a prompt that nobody else is to read"
SMALL = png(padding=90)
ONCE = RetryPolicy(max_attempts=1)
MakeClient: TypeAlias = Callable[..., AsyncClient]


def test_whatever_a_client_leads_to_prints_without_the_key() -> None:
    client = AsyncClient(api_key=KEY, organization="org-1", project="proj-1")
    with Client(api_key=KEY) as blocking:
        seen = [found for start in (client, blocking, Secret(KEY)) for found in within(start)]

    assert {AsyncClient, Client, imagesdk.AsyncImages, imagesdk.Images} <= {type(found) for found in seen}
    for found in seen:
        for text in (repr(found), str(found), f"{found}", f"{[found]}", repr(getattr(found, "__dict__", {}))):
            assert KEY not in text


def within(thing: object) -> Iterator[object]:
    """A thing and all that its public attributes lead to; methods are not called."""
    waiting, seen = [thing], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen or callable(found):
            continue
        seen.add(id(found))
        yield found
        waiting += [getattr(found, name) for name in dir(found) if not name.startswith("_")]


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
                continue  # of this very search
            waiting = [holder]
            while waiting:
                for part in gc.get_referents(waiting.pop()):
                    if text in part if isinstance(part, str) else isinstance(part, bytes) and data in part:
                        names.append(type(holder).__name__)
                    elif isinstance(part, tuple | dict) and not gc.is_tracked(part):
                        waiting.append(part)  # the collector does not list those that hold but texts
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


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["AsyncClient", "Client"])
async def test_in_a_whole_process_one_object_holds_the_key_between_calls(
    kind: str, anyio_backend: str
) -> None:
    async with serving(always(answer(SMALL))) as server:
        done = await anyio.run_process(
            [sys.executable, "-c", textwrap.dedent(HOLDERS), kind, anyio_backend, server.base_url],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"

    assert done.stdout.decode().split() == ["Secret"]


async def hang_up_at_once(talk: Conversation) -> None:
    talk.hang_up()


async def hang_up_in_the_middle(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + answer(SMALL)[:100])


async def say_what_was_sent(talk: Conversation) -> None:
    sent = await talk.request()
    said = f"No: {sent.headers['authorization']}"
    await talk.answer(
        json.dumps({"error": {"message": said, "code": said, "sent": [sent.headers]}}).encode(), 401
    )


def raw(head: bytes) -> Handler:
    """A handler that reads a request and says what an HTTP server cannot say."""

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(head)

    return handler


@pytest.mark.anyio
@pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])
@pytest.mark.parametrize(
    "handler",
    [
        hang_up_at_once,
        hang_up_in_the_middle,
        say_what_was_sent,
        raw(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nx-large: " + b"a" * 1_000_000 + b"\r\n\r\n"),
        raw(b"HTTP/9.9 nine\r\n\r\n"),
        always(b"", 307, location="https://elsewhere.test/v1/images/generations"),
        always(b"<html><title>Bad Gateway</title></html>", 502),
        always(b'{"error": {"message": "Used up.", "code": "insufficient_quota"}}', 429),
        always(b"[" * 100_000),
        always(answer(SMALL, SMALL * 100)),
        always(b"\x1f\x8b", content_encoding="gzip"),
        always(answer_of_urls("https://10.0.0.1/cat.png")),
    ],
    ids=[
        *("at once", "in the middle", "echo", "no header", "huge head", "odd version", "redirect", "gateway"),
        *("quota", "deep", "large", "gzip", "private url"),
    ],
)
async def test_no_failure_tells_the_key(
    handler: Handler,
    http_client: type[httpx.AsyncClient] | None,
    make_client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(0)
    seen: list[object] = []
    terms: dict[str, Any] = {"retry": ONCE, "caps": Caps(image=5000), "observers": [seen.append]}
    async with (
        serving(handler) as server,
        make_client(server.base_url, api_key=KEY, http_client=http_client, **terms) as client,
    ):
        with pytest.raises(imagesdk.ImageSDKError) as caught:
            await client.images.generate(PROMPT, out=tmp_path)

    assert leaks(caught.value) == []
    assert seen
    assert KEY not in repr(seen)
    assert list(files_within(tmp_path)) == []
    assert [record for record in caplog.records if KEY in record.getMessage() + repr(record.args)] == []


def files_within(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.anyio
@pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])
async def test_logs_tell_neither_key_nor_prompt_nor_picture_nor_signature(
    http_client: type[httpx.AsyncClient] | None,
    make_client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
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
    async with serving(in_turn(*steps)) as server:
        async with make_client(server.base_url, api_key=KEY, http_client=http_client) as client:
            first = await client.images.generate(PROMPT, out=tmp_path)
            second = await client.images.generate(PROMPT, out=tmp_path)
            with pytest.raises(imagesdk.ModerationError):
                await client.images.generate(PROMPT)
        assert all(KEY not in repr(sent.headers) for sent in server.requests if sent.line.startswith("GET"))

    assert caplog.records
    words = (KEY, PROMPT, "signature", base64.b64encode(SMALL).decode()[:60], repr(SMALL)[2:60])
    for record in caplog.records:
        told = record.getMessage() + repr(record.args)
        assert [word for word in words if word in told] == []
    for response in (first, second):
        assert KEY.encode() not in pickle.dumps(response)
        assert response[0].bytes == SMALL
    assert all(KEY.encode() not in path.read_bytes() for path in files_within(tmp_path))


@pytest.mark.anyio
@pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])
async def test_the_signature_of_a_picture_that_moved_is_in_no_line_that_programs_log_by_default(
    http_client: type[httpx.AsyncClient] | None, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    steps = (says(b"", 302, location="/moved.png?sig=signature"), says(SMALL))
    async with (
        serving(in_turn(*steps)) as server,
        make_client(server.base_url, http_client=http_client) as client,
    ):
        assert await client.images.download("/cat.png?sig=signature") == SMALL
        assert [sent.line.split()[1] for sent in server.requests] == [
            "/cat.png?sig=signature",
            "/moved.png?sig=signature",
        ]

    assert "signature" not in caplog.text
    assert ("/moved.png" in caplog.text) == (http_client is not None)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_command_line_takes_no_key_and_tells_none(tmp_path: Path) -> None:
    options = [option for action in actions() for option in action.option_strings if "key" in option]
    assert options == ["--require-key"]  # of the emulator: an argument is seen by all users of a machine

    environment = {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(Path(__file__).parents[2])}
    steps = (says(answer(SMALL)), say_what_was_told, say_what_was_told)
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


async def say_what_was_told(talk: Conversation) -> None:
    said = talk.server.requests[-1].headers["authorization"]
    await talk.answer(json.dumps({"error": {"message": f"No: {said}"}}).encode(), 401)


def actions() -> Iterator[Any]:
    """Every option of every command."""
    waiting: list[Any] = [parser.build()]
    while waiting:
        for action in waiting.pop()._actions:
            yield action
            commands: Any = action.choices
            waiting += commands.values() if hasattr(commands, "values") else []


@pytest.mark.anyio
@pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_a_paid_request_leads_nowhere(
    status: int, http_client: type[httpx.AsyncClient] | None, make_client: MakeClient
) -> None:
    async with serving(always(answer(SMALL))) as elsewhere:
        location = f"{elsewhere.base_url}/images/generations?signature=1"
        async with (
            serving(always(b"", status, location=location)) as server,
            make_client(server.base_url, api_key=KEY, http_client=http_client) as client,
        ):
            with pytest.raises(imagesdk.APIStatusError, match="redirects to") as caught:
                await client.images.generate(PROMPT)
            assert len(server.requests) == 1
        assert elsewhere.connections == 0

    assert caught.value.status_code == status
    assert not caught.value.maybe_billed
    assert "signature" not in str(caught.value)


@pytest.mark.anyio
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

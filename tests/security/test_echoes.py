"""The key never comes out, wherever and in whatever spelling a server sends it back, and however short it is."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imagesdk
from imagesdk import AsyncClient, RetryPolicy
from tests.support.leaks import leaks
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

IMAGE = json.loads(answer(png()))["data"][0]["b64_json"]
KEYS = {
    length: ("k7" + "Q/x-4_Zb9+" * 20)[:length] for length in (4, 9, 51, 200)
}  # with characters that JSON and URLs escape


def escaped(key: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in key)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "unicode escapes": escaped,
    "escaped slashes": lambda key: key.replace("/", "\\/"),
}


def http(body: str, status: int = 200, kind: str = "application/json", header: str = "") -> bytes:
    content = body.encode()
    head = f"HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n{header}\r\n"
    return head.encode() + content


def refusal(shown: str) -> str:
    fields = (
        f'"message":"No: {shown}","code":"x {shown}","type":"{shown}","param":"{shown}","{shown}":["{shown}"]'
    )
    return f'{{"error":{{{fields}}}}}'


def event(data: str, name: str = "") -> bytes:
    return http(f"{f'event: {name}' if name else ': none'}\ndata: {data}\n\n", kind="text/event-stream")


def started(shown: str) -> str:
    return f'{{"type":"image_generation.partial_image","b64_json":"{IMAGE}","note":"{shown}","{shown}":1}}'


FAILURES: dict[str, Callable[[str], bytes]] = {
    "error": lambda shown: http(refusal(shown), 401),
    "error in a success": lambda shown: http(refusal(shown)),
    "error of validation": lambda shown: http(f'{{"detail":[{{"loc":["{shown}"],"msg":"{shown}"}}]}}', 422),
    "page": lambda shown: http(f"<html><title>Denied: {shown}</title>{shown}</html>", 502, "text/html"),
    "error that is cut": lambda shown: http(refusal(shown)[:-3], 400),
    "long error": lambda shown: http(refusal("x" * 280 + shown), 400),
    "wrong shape": lambda shown: http(f'{{"you":"{shown}","{shown}":"{shown}"}}'),
    "text": lambda shown: http(f'"Bearer {shown}"'),
    "event of an error": lambda shown: event(refusal(shown), "error"),
    "event of a text": lambda shown: event(f"No: {shown}", "error"),
    "event without its image": lambda shown: event(
        f'{{"type":"image_generation.completed","you":"{shown}"}}'
    ),
}
RAW_FAILURES: dict[str, Callable[[str], bytes]] = {
    "refused header": lambda key: f"HTTP/1.1 200 OK\r\n{key}\r\n\r\n".encode(),
    "refused header name": lambda key: f"HTTP/1.1 200 OK\r\nx\x00{key}: {key}\r\n\r\n".encode(),
    "refused chunk": lambda key: (
        f"HTTP/1.1 200 OK\r\nx-echo: {key}\r\ntransfer-encoding: chunked\r\n\r\n{key}\r\n".encode()
    ),
    "cut after headers": lambda key: (
        f"HTTP/1.1 200 OK\r\nx-echo: {key}\r\ncontent-length: 9\r\n\r\n".encode()
    ),
    "encoding": lambda key: http("{}", header=f"content-encoding: {key}\r\n"),
    "redirect": lambda key: http("", 307, header=f"location: https://elsewhere.test/{key}\r\n"),
}
ALL_FAILURES = [
    *((name, spelling) for name in FAILURES for spelling in SPELLINGS),
    *((name, "plain") for name in RAW_FAILURES),
]


def sending(data: bytes) -> Handler:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(data)

    return handler


def client_of(base_url: str, key: str, **options: Any) -> AsyncClient:
    terms: dict[str, Any] = {"api_key": key, "rate_limit": None, "retry": RetryPolicy(max_attempts=1)}
    return AsyncClient(base_url=base_url, **terms | options)


async def generate(client: AsyncClient, folder: Path, *, streams: bool) -> None:
    if not streams:
        await client.images.generate("a cat", out=folder)
        return
    async with client.images.generate_stream("a cat") as stream:
        await stream.final()


def parts_of(key: str) -> list[str]:
    """The key, and what is left of a long one that was cut."""
    return [key, key[:12]] if len(key) > 12 else [key]


@pytest.mark.parametrize("length", KEYS)
async def test_no_error_of_a_call_shows_a_key_that_the_server_echoes(length: int, tmp_path: Path) -> None:
    key, shown = KEYS[length], list[str]()
    for name, spelling in ALL_FAILURES:
        make = FAILURES.get(name) or RAW_FAILURES[name]
        async with (
            serving(sending(make(SPELLINGS[spelling](key)))) as server,
            client_of(server.base_url, key) as client,
        ):
            with pytest.raises(imagesdk.ImageSDKError) as caught:
                await generate(client, tmp_path, streams=name.startswith("event"))
            for part in parts_of(key):
                shown += [f"{name}, {spelling}: {place}" for place in leaks(caught.value, part)]
    assert shown == []


DOWNLOADS: dict[str, Callable[[str], bytes]] = {
    "redirect": lambda key: http("", 302, header=f"location: http://elsewhere.test/{key}/a.png\r\n"),
    "type": lambda key: http("text", kind=f"text/{key}"),
    "refused header": RAW_FAILURES["refused header"],
    "encoding": RAW_FAILURES["encoding"],
}


@pytest.mark.parametrize("length", KEYS)
async def test_no_error_of_a_download_shows_a_key_that_the_server_echoes(length: int) -> None:
    key, shown = KEYS[length], list[str]()
    for name, make in DOWNLOADS.items():
        async with serving(sending(make(key))) as server, client_of(server.base_url, key) as client:
            with pytest.raises(imagesdk.DownloadError) as caught:
                await client.images.download("/a.png")
        for part in parts_of(key):
            shown += [f"{name}: {place}" for place in leaks(caught.value, part)]
    assert shown == []


RESULT = '{{"created":1,"data":[{{"b64_json":"{image}","revised_prompt":"As {key} said","{key}":"{key}"}}],"{key}":["{key}"]}}'


@pytest.mark.parametrize("length", KEYS)
async def test_no_result_and_no_journal_shows_a_key_that_the_server_echoes(
    length: int, tmp_path: Path
) -> None:
    key = KEYS[length]
    for spelling, spell in SPELLINGS.items():
        body = RESULT.format(image=IMAGE, key=spell(key))
        folder = tmp_path / spelling
        reply = http(body, header=f"x-request-id: {key}\r\nx-echo: {key}\r\n")
        async with serving(sending(reply)) as server, client_of(server.base_url, key) as client:
            response = await client.images.generate("a cat")
            async with client.images.fan_out(["a cat"], out=folder) as run:
                (outcome,) = await run.collect()
        assert outcome.status == "done"
        assert response[0].revised_prompt == "As <the key> said"
        assert response[0].bytes == png()
        stored = b"".join(path.read_bytes() for path in folder.iterdir())
        for part in parts_of(key):
            assert part not in repr(response) + repr(response.extra) + repr(response[0].extra)
            assert part.encode() not in pickle.dumps(response) + pickle.dumps(outcome)
            assert part.encode() not in stored


@pytest.mark.parametrize("length", KEYS)
async def test_no_journal_of_failed_jobs_shows_a_key_that_the_server_echoes(
    length: int, tmp_path: Path
) -> None:
    key = KEYS[length]
    for number, name in enumerate(("error", "wrong shape", "page", "refused header")):
        make = FAILURES.get(name) or RAW_FAILURES[name]
        spell = str if name in RAW_FAILURES else escaped
        folder = tmp_path / str(number)
        async with serving(sending(make(spell(key)))) as server, client_of(server.base_url, key) as client:
            async with client.images.fan_out(["a cat"], out=folder) as run:
                (outcome,) = await run.collect()
        assert outcome.error is not None
        stored = b"".join(path.read_bytes() for path in folder.iterdir())
        assert key.encode() not in pickle.dumps(outcome) + stored


@pytest.mark.parametrize("length", KEYS)
async def test_no_event_of_a_stream_shows_a_key_that_the_server_echoes(length: int) -> None:
    key = KEYS[length]
    for spell in SPELLINGS.values():
        shown = spell(key)
        last = (
            f'{{"b64_json":"{IMAGE}","type":"image_generation.completed","size":"{shown}","note":"{shown}"}}'
        )
        unnamed = f'{{"b64_json":"{IMAGE}"}}'
        body = f"data: {started(shown)}\n\nevent: {key}.partial_image\ndata: {unnamed}\n\ndata: {last}\n\n"
        reply = http(body, kind="text/event-stream")
        async with serving(sending(reply)) as server, client_of(server.base_url, key) as client:
            async with client.images.generate_stream("a cat") as stream:
                events = [each async for each in stream]
        assert len(events) == 3
        assert all(key not in repr(each) and key.encode() not in pickle.dumps(each) for each in events)


@pytest.mark.parametrize(
    "key", ["none", "data", "type", "EMPTY", "image", "completed", "b64_json", "test", "abc"]
)
async def test_a_placeholder_or_a_word_of_the_api_in_place_of_a_key_changes_no_response(key: str) -> None:
    body = json.dumps({"data": [{"b64_json": IMAGE, "revised_prompt": "none of the latest image data"}]})
    async with serving(sending(http(body))) as server, client_of(server.base_url, key) as client:
        response = await client.images.generate("a cat")
    assert response[0].bytes == png()
    assert response[0].revised_prompt == "none of the latest image data"

"""What a server says reaches a terminal, a log or an error as one printable line, whichever way it takes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
import pytest

import imagesdk
from imagesdk import cli
from imagesdk.errors import printable
from tests.support.leaks import KEY, exposed
from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, Handler, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

EVIL = "\x1b[2J\x9b31m\x85\u202egnp.tac\u2066\u2028next\u2029\x7f\x00\u200b"
IN_HEADER = b"\x9b31m\x85\xe2\x80\xaegnp"


def http(body: bytes, status: int = 200, header: bytes = b"", kind: bytes = b"application/json") -> bytes:
    length = str(len(body)).encode()
    head = b"HTTP/1.1 %d Said\r\ncontent-type: %s\r\ncontent-length: %s\r\n%s\r\n"
    return head % (status, kind, length, header) + body


def sending(*replies: bytes) -> Handler:
    left = [*replies]

    async def handler(talk: Conversation) -> None:
        while left:
            await talk.request()
            await talk.send(left.pop(0))

    return handler


def document(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def page(text: str) -> bytes:
    return http(f"<title>{text}</title>".encode(), 502, kind=b"text/html")


STREAM = b"text/event-stream"
WAYS: dict[str, tuple[bytes, ...]] = {
    "message": (http(document(error={"message": EVIL, "code": EVIL}), 400),),
    "code": (http(document(error={"message": "no", "code": EVIL, "type": EVIL}), 429),),
    "validation": (http(document(detail=[{"loc": [EVIL], "msg": EVIL}]), 422),),
    "page": (page(EVIL),),
    "text": (http(EVIL.encode(), 500, kind=b"text/plain"),),
    "location": (http(b"", 307, b"location: https://x.test/" + IN_HEADER + b"\r\n"),),
    "encoding": (http(b"{}", header=b"content-encoding: \x9b31m\r\n"),),
    "refused header": (b"HTTP/1.1 200 OK\r\n" + IN_HEADER + b"\r\n\r\n",),
    "wrong shape": (http(document(**{EVIL: EVIL})),),
    "url": (http(answer_of_urls(f"https://127.0.0.1/{EVIL}")),),
    "address": (http(answer_of_urls(f"https://{EVIL}/")),),
    "type of a download": (http(answer_of_urls("/a.png")), http(b"<p>", 200, kind=b"text/\x9b31m")),
    "redirect of a download": (
        http(answer_of_urls("/a.png")),
        http(b"", 302, b"location: http://x.test/" + IN_HEADER + b"\r\n"),
    ),
}
STREAMED = {
    "event": (http(b"event: error\ndata: " + document(message=EVIL) + b"\n\n", kind=STREAM),),
    "event of text": (http(f"event: error\ndata: {EVIL.replace(chr(0x85), '')}\n\n".encode(), kind=STREAM),),
}


async def generated(client: imagesdk.AsyncClient, folder: Path) -> object:
    return await client.images.generate("a cat", out=folder)


async def streamed(client: imagesdk.AsyncClient, _: Path) -> object:
    async with client.images.generate_stream("a cat") as stream:
        return await stream.final()


@pytest.mark.parametrize(
    ("replies", "call"),
    [
        *((replies, generated) for replies in WAYS.values()),
        *((replies, streamed) for replies in STREAMED.values()),
    ],
    ids=[*WAYS, *STREAMED],
)
async def test_an_error_is_one_printable_line(
    replies: tuple[bytes, ...],
    call: Callable[[imagesdk.AsyncClient, Path], object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "imagesdk")
    async with exposed(sending(*replies)) as (client, _):
        with pytest.raises(imagesdk.ImageSDKError) as caught:
            await call(client, tmp_path)  # type: ignore[misc]
    assert str(caught.value).isprintable()
    assert caught.value.facts.isprintable()
    assert all(record.getMessage().isprintable() for record in caplog.records if record.name == "imagesdk")


async def test_a_response_has_a_printable_repr_and_its_log_lines_are_printable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "imagesdk")
    body = json.loads(answer(png())) | {"usage": {EVIL: EVIL}, "size": EVIL}
    body["data"][0]["revised_prompt"] = EVIL
    reply = http(document(**body), header=b"x-request-id: " + IN_HEADER + b"\r\n")
    async with exposed(sending(reply)) as (client, _):
        response = await client.images.generate("a cat")
    for shown in (response, response[0], response.usage, caplog.messages):
        assert repr(shown).isprintable()
    assert all(message.isprintable() for message in caplog.messages)
    assert response[0].revised_prompt == EVIL


async def test_the_command_line_shows_printable_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = http(document(error={"message": EVIL, "code": "x"}), 400, b"x-request-id: " + IN_HEADER + b"\r\n")
    (tmp_path / "prompts.txt").write_text("a \x9b31m\u202e cat\n", encoding="utf-8")
    run = ["--out", str(tmp_path / "run")]
    async with serving(sending(*[reply] * 3)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        for arguments in (
            ["generate", "a cat", *run],
            ["batch", str(tmp_path / "prompts.txt"), *run],
            ["log", str(tmp_path / "run")],
        ):
            assert await anyio.to_thread.run_sync(cli.run, arguments) in {0, 1, 3}
            out, err = capsys.readouterr()
            assert "31m" in out + err
            assert all(line.isprintable() for line in (out + err).split("\n"))


def test_a_text_is_printable_as_one_line_and_otherwise_unchanged() -> None:
    assert printable(EVIL).isprintable()
    assert printable("plain \u732b \U0001f408 text") == "plain \u732b \U0001f408 text"
    assert printable("a\r\nb\u2028c\x85d\x1b[2J\x9b\ud800") == "a  b c d\ufffd[2J\ufffd\ufffd"

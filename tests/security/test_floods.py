"""No answer makes the event loop late: its parts are counted, large ones are parsed in a thread, and steps are short."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

import imagesdk
from imagesdk import AsyncClient, Client, RetryPolicy
from imagesdk._engine.response import SMALL_PIECES, ResponseReader
from imagesdk._engine.sink import ImageSink
from imagesdk._protocol import scanner as scanner_module
from imagesdk._protocol.api_errors import status_failure
from imagesdk._protocol.error_bodies import MAX_MESSAGE, error_of_bytes
from imagesdk._protocol.json_values import MAX_VALUES, parse_json
from imagesdk._protocol.scanner import MAX_ERROR, MAX_REST, STEP_TOKENS, ScanError, Scanner, max_entries
from imagesdk._protocol.sse import MAX_EVENTS, MAX_LINES, STEP_LINES, EventStream, Message
from imagesdk._transport.exchange import WireResponse
from tests.support.small_images import answer, png

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

IMAGE = json.loads(answer(png()))["data"][0]["b64_json"]
MIB = 1024 * 1024


def serving(
    body: bytes, status: int = 200, kind: str = "application/json"
) -> Callable[[], httpx.AsyncClient]:
    """A server whose whole answer arrives as one chunk."""

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"content-type": kind})

    return lambda: httpx.AsyncClient(transport=httpx.MockTransport(reply))


OPTIONS: dict[str, Any] = {
    "api_key": "sk-floods",
    "base_url": "https://images.test/v1",
    "rate_limit": None,
    "retry": RetryPolicy(max_attempts=1),
}


class Whole:
    """A body whose chunks have all arrived."""

    def __init__(self, *chunks: bytes) -> None:
        self.left = [*chunks]

    def __aiter__(self) -> Whole:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


def many(piece: bytes, count: int) -> bytes:
    return b",".join([piece] * count)


TOO_MUCH = {
    "objects": (b'{"data":[' + many(b"{}", 100_000) + b"]}", f"more than {MAX_VALUES} values"),
    "entries": (b'{"data":[' + many(b"{}", 100) + b"]}", "100 entries, more than 20"),
    "images": (b'{"data":[' + many(b'{"b64_json":"QUJD"}', 100) + b"]}", "more than 20 images"),
    "images elsewhere": (
        b'{"x":[' + many(b'{"url":"data:,;base64,QQ=="}', 100) + b"]}",
        "more than 20 images|base64",
    ),
    "bytes": (b'{"data":[],"x":"' + b"y" * MIB + b'"}', f"more than {MAX_REST} bytes"),
    "numbers": (b'{"data":[],"x":[' + many(b"1", 30_000) + b"]}", f"more than {MAX_VALUES} values"),
    "texts": (b'{"data":[],"x":[' + many(b'""', 30_000) + b"]}", f"more than {MAX_VALUES} values"),
}


@pytest.mark.parametrize(("body", "reason"), TOO_MUCH.values(), ids=TOO_MUCH)
async def test_an_answer_with_more_than_a_request_can_have_is_refused_and_not_paid_again(
    body: bytes, reason: str
) -> None:
    async with AsyncClient(http_client=serving(body), **OPTIONS) as client:
        with pytest.raises(imagesdk.APIResponseError, match=reason) as caught:
            await client.images.generate("a cat")
    assert caught.value.maybe_billed
    assert imagesdk.Remedy.RAISE_CAPS not in caught.value.remedies


async def test_an_answer_may_have_some_more_images_than_were_requested() -> None:
    count = max_entries(2)
    async with AsyncClient(http_client=serving(answer(*[png()] * count)), **OPTIONS) as client:
        assert count == 24
        assert len(await client.images.generate("a cat", n=2)) == 24


async def test_a_list_of_ten_thousand_files_is_read() -> None:
    files = [{"id": f"file-{n}", "object": "file", "bytes": n, "filename": "a" * 200} for n in range(10_000)]
    async with AsyncClient(http_client=serving(json.dumps({"data": files}).encode()), **OPTIONS) as client:
        assert len(await client.files.list()) == 10_000


@pytest.mark.parametrize("status", [200, 400])
def test_no_more_of_an_error_is_parsed_than_fits_an_error(status: int) -> None:
    text = "limit: 5/min. " * 10_000
    large = json.dumps({"error": {"message": text, "code": "x"}}).encode()
    small = json.dumps({"error": {"message": text[: MAX_ERROR // 2], "code": "x"}}).encode()
    assert len(error_of_bytes(large).message) <= MAX_MESSAGE
    assert error_of_bytes(large).code is None
    assert error_of_bytes(small).code == "x"
    assert error_of_bytes(small).message == text[:MAX_MESSAGE]
    assert error_of_bytes(b'{"error":[' + many(b"{}", 10_000) + b"]}").message.startswith('{"error":[{},{}')
    now = datetime.now(UTC)
    assert len(str(status_failure(status, {}, small, now=now, requested=1).error)) < 500


async def test_the_reading_of_an_error_ends_at_its_cap() -> None:
    body = Whole(*[b"x" * 1000] * 1000)
    reader = ResponseReader()
    response = WireResponse(500, {}, body)
    reader.begin(response)
    await reader.read(response, ImageSink(None))
    assert MAX_ERROR < 1000 * (1000 - len(body.left)) <= MAX_ERROR + 1000


@pytest.mark.parametrize(("size", "in_thread"), [(60_000, False), (70_000, True)])
@pytest.mark.parametrize("kind", ["AsyncClient", "Client", "stream"])
async def test_an_answer_of_more_than_64_kib_is_parsed_in_a_thread(
    kind: str, size: int, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed_on, loops = list[int](), list[int]()
    parse, run = parse_json, ResponseReader.begin

    def recorded(content: bytes, **more: Any) -> Any:
        parsed_on.append(threading.get_ident())
        return parse(content, **more)

    def begin(reader: ResponseReader, response: WireResponse) -> None:
        loops.append(threading.get_ident())
        run(reader, response)

    monkeypatch.setattr(scanner_module, "parse_json", recorded)
    monkeypatch.setattr(ResponseReader, "begin", begin)
    body = json.dumps({"data": [{"b64_json": IMAGE, "revised_prompt": "x" * size}]}).encode()
    if kind == "Client":
        with Client(http_client=serving(body), **OPTIONS) as blocking:
            assert blocking.images.generate("a cat")[0].bytes == png()
    elif kind == "AsyncClient":
        async with AsyncClient(http_client=serving(body), **OPTIONS) as client:
            assert (await client.images.generate("a cat"))[0].bytes == png()
    else:
        whole = serving(
            b"event: image_generation.completed\ndata: " + body + b"\n\n", kind="text/event-stream"
        )
        async with AsyncClient(http_client=whole, **OPTIONS) as client:
            async with client.images.generate_stream("a cat") as stream:
                assert (await stream.final())[0].bytes == png()
    assert len(parsed_on) == len(loops) == 1
    assert (parsed_on != loops) == in_thread


async def test_a_document_of_many_values_is_parsed_in_a_thread_even_if_it_is_short() -> None:
    small, large = Scanner(), Scanner()
    small.feed(b'{"x":[' + many(b"1", 1000) + b"]}")
    large.feed(b'{"x":[' + many(b"1", 3000) + b"]}")
    assert (small.is_large, large.is_large) == (False, True)


HEAVY = {
    "empty texts": many(b'""', 60_000),
    "escapes": b'"' + b'\\n"x"' * 20_000,
    "keys of images": many(b'"b64_json"', 20_000),
    "gaps": b'{"url":""}' * 15_000,
}


@pytest.mark.parametrize("body", HEAVY.values(), ids=HEAVY)
async def test_other_tasks_run_while_an_answer_of_many_small_parts_is_scanned(body: bytes) -> None:
    least = body.count(b'"') // (2 * STEP_TOKENS)
    scanner = Scanner()
    assert least <= len(list(scanner.steps(body)))
    assert least <= await _turns_while(WireResponse(200, {}, Whole(body)))


async def test_an_answer_of_one_image_is_scanned_in_few_steps() -> None:
    body = b'{"data":[{"b64_json":"' + b"A" * MIB + b'"}]}'
    assert len(list(Scanner().steps(body))) == MIB // scanner_module.STEP_BYTES + 1
    assert len(list(Scanner().steps(body[:60_000]))) == 1


async def test_a_call_that_is_cancelled_reads_no_further_although_all_of_the_answer_is_there() -> None:
    body = many(b'""', 200_000)
    reader = ResponseReader()
    response = WireResponse(200, {}, Whole(body))
    reader.begin(response)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read, response, ImageSink(None))
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert 0 < len(reader.scanner.rest()) < len(body) // 10


async def _turns_while(response: WireResponse) -> int:
    """Read a response, and return how often another task had its turn."""
    turns = 0
    done = anyio.Event()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await anyio.lowlevel.checkpoint()

    reader = ResponseReader()
    reader.scanner.max_rest = 10 * MIB
    reader.begin(response)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await reader.read(response, ImageSink(None))
        done.set()
    return turns


# Streams


ENDLESS_EVENTS = {
    "events": (b"data:{}\n\n" * (MAX_EVENTS + 1), f"more than {MAX_EVENTS} events"),
    "lines": (b"id: 1\n" * (MAX_LINES + 1), f"more than {MAX_LINES} lines"),
    "entries": (
        b'data: {"type":"image_generation.completed","data":[' + many(b"{}", 100) + b"]}\n\n",
        "100 entries, more than 20",
    ),
    "images": (b'data: {"x":[' + many(b'{"b64_json":"QUJD"}', 21) + b"]}\n\n", "more than 20 images"),
    "bytes": (b'data: {"x":"' + b"y" * MIB + b'"}\n\n', f"more than {MAX_REST} bytes"),
    "values": (b'data: {"x":[' + many(b"{}", 30_000) + b"]}\n\n", f"more than {MAX_VALUES} values"),
}


@pytest.mark.parametrize(("body", "reason"), ENDLESS_EVENTS.values(), ids=ENDLESS_EVENTS)
async def test_a_stream_with_more_than_it_can_have_ends(body: bytes, reason: str) -> None:
    async with AsyncClient(http_client=serving(body, kind="text/event-stream"), **OPTIONS) as client:
        with pytest.raises(imagesdk.APIResponseError, match=reason):
            async with client.images.generate_stream("a cat") as stream:
                await stream.final()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ignored", ["", ":", ": ping"])
def test_blank_lines_and_comments_are_skipped_many_at_once(newline: str, ignored: str) -> None:
    stream = EventStream()
    pause = (ignored + newline).encode() * 50_000
    event = f"event: a{newline}:note{newline}data: 1{newline}{newline}".encode()
    parts = [list(stream.steps(part)) for part in (event, pause, event, pause)]
    found = [item for steps in parts for items in steps for item in items]
    seen = [(item.event, item.scanner.rest()) for item in found if isinstance(item, Message)]
    assert seen == [("a", b"1"), ("a", b"1")]
    assert all(len(steps) < 50_000 // STEP_LINES // 20 for steps in parts)


def test_a_step_of_a_stream_has_a_bounded_number_of_lines() -> None:
    stream = EventStream()
    steps = list(stream.steps(b"data:{}\n\n" * 2000))
    assert max(len(items) for items in steps) <= STEP_LINES
    assert sum(isinstance(item, Message) for items in steps for item in items) == 2000


async def test_other_tasks_run_while_a_chunk_of_many_events_is_read() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    body = b"data:{}\n\n" * 4000
    async with AsyncClient(http_client=serving(body, kind="text/event-stream"), **OPTIONS) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            with pytest.raises(imagesdk.StreamError):
                async with client.images.generate_stream("a cat") as stream:
                    await stream.final()
            tasks.cancel_scope.cancel()
    assert turns > 2 * 4000 // STEP_LINES


async def test_a_reader_of_a_stream_that_is_cancelled_between_steps_loses_no_event() -> None:
    one = b'data: {"type":"image_generation.partial_image","partial_image_index":%d,"b64_json":"iVBORw0KGgo="}\n\n'
    body = b"".join(one % number + b"data:{}\n\n" * STEP_LINES for number in range(10))
    seen = list[Any]()
    async with AsyncClient(http_client=serving(body, kind="text/event-stream"), **OPTIONS) as client:
        async with client.images.generate_stream("a cat") as stream:
            while len(seen) < 10:
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(_cancel_later, scope)
                        seen.append((await anext(stream)).partial_image_index)  # type: ignore[union-attr]
                        tasks.cancel_scope.cancel()
    assert seen == list(range(10))


async def _cancel_later(scope: anyio.CancelScope) -> None:
    await anyio.lowlevel.checkpoint()
    scope.cancel()


def test_an_odd_message_takes_no_expression_long() -> None:
    for piece in (
        "<",
        "<title",
        "<title>",
        "limit: 1",
        "requested: 1,",
        "try again in 1",
        "model deprecated ",
    ):
        body = error_of_bytes((piece * 5000).encode())
        assert len(body.message) <= MAX_MESSAGE


def test_a_line_of_an_event_is_scanned_in_steps() -> None:
    stream = EventStream()
    steps = list(stream.steps(b'data: {"x":[' + many(b'""', 20_000) + b"]}\n\n"))
    assert len(steps) >= 20_000 // STEP_TOKENS
    (message,) = [item for items in steps for item in items if isinstance(item, Message)]
    with pytest.raises(ScanError, match="values"):
        message.scanner.document()


@pytest.mark.parametrize("encoding", [{}, {"content-encoding": "gzip"}])
async def test_other_tasks_run_between_pieces_of_a_few_bytes(encoding: dict[str, str]) -> None:
    body = b'{"data":[' + b" " * 4000 + b"]}"
    body = gzip.compress(body, 0) if encoding else body
    response = WireResponse(200, encoding, Whole(*(body[at : at + 1] for at in range(len(body)))))
    assert await _turns_while(response) >= len(body) // SMALL_PIECES

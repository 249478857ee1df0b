"""Streams of events: their content, their faults, and clients that disconnect."""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, Literal

import httpx
import pytest
from PIL import Image

from imagesdk.emulator import Emulator, Faults
from tests.emulator.api import Api, Connect, distance, file, png
from tests.support.error_objects import error_of

pytestmark = pytest.mark.anyio

BODY = {"prompt": "a river", "model": "gpt-image-2", "size": "1024x640", "quality": "low", "stream": True}
PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"
ON_EVERY_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


def events_of(answer: httpx.Response) -> list[tuple[str | None, Any]]:
    """Return the events of a stream: the name on their ``event:`` line, and their data."""
    assert (answer.status_code, answer.text.endswith("\n\n")) == (200, True)
    found: list[tuple[str | None, Any]] = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        *names, data = block.split("\n")
        name = names[0].removeprefix("event: ") if names else None
        content = data.removeprefix("data: ")
        found.append((name, content if content == "[DONE]" else json.loads(content)))
    return found


def image_in(event: dict[str, Any]) -> Image.Image:
    return Image.open(BytesIO(b64decode(event["b64_json"])))


async def ask(api: Api, **fields: object) -> httpx.Response:
    return await api.generate(**{**BODY, **fields})


@ON_EVERY_LOOP
async def test_a_stream_is_partial_images_and_one_completed_event(api: Api) -> None:
    answer = await ask(api, partial_images=3)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers
    events = events_of(answer)
    assert all(data.pop("b64_json") for _, data in events)
    drawn = {"size": "1024x640", "quality": "low", "background": "opaque", "output_format": "png"}
    settings = {"created_at": 1_700_000_000, **drawn}
    tokens = {"input_tokens": 2, "output_tokens": 107 + 300, "total_tokens": 2 + 107 + 300}
    usage = {**tokens, "input_tokens_details": {"image_tokens": 0, "text_tokens": 2}}
    assert events == [
        *((PARTIAL, {"type": PARTIAL, **settings, "partial_image_index": index}) for index in range(3)),
        (COMPLETED, {"type": COMPLETED, **settings, "usage": usage}),
    ]
    (record,) = api.state.requests
    assert (record.stream, record.events, record.status, api.state.billed_images) == (True, 4, 200, 1)
    assert api.state.open_streams == 0


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_partial_images_sharpen_until_the_completed_image(api: Api, output_format: str) -> None:
    events = events_of(await ask(api, partial_images=3, output_format=output_format))
    whole = (await ask(api, stream=False, output_format=output_format)).json()["data"][0]

    images = [image_in(data) for _, data in events]
    assert {(image.size, image.format) for image in images} == {((1024, 640), output_format.upper())}
    assert {data["output_format"] for _, data in events} == {output_format}
    off = [distance(image, images[-1]) for image in images[:-1]]
    assert off[0] > off[1] > off[2] > 0
    assert events[-1][1]["b64_json"] == whole["b64_json"]


@ON_EVERY_LOOP
async def test_events_of_an_edit_have_names_of_their_own(api: Api) -> None:
    terms = {"model": "gpt-image-2", "stream": "true", "partial_images": "1", "size": "1024x640"}

    events = events_of(await api.edit(file("image", png()), **terms))

    assert [name for name, _ in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert events[1][1]["usage"]["input_tokens_details"]["image_tokens"] == 4


async def test_without_partial_images_a_stream_is_one_event_with_the_safety_identifier(api: Api) -> None:
    ((name, data),) = events_of(await ask(api, safety_identifier="hash-1", user="u"))

    assert (name, data["safety_identifier"]) == (COMPLETED, "hash-1")


async def test_an_error_before_the_stream_is_plain_json(api: Api) -> None:
    error_of(await ask(api, prompt="forbidden"))


async def test_a_withheld_image_ends_the_stream_with_an_error(api: Api) -> None:
    (name, _), (last, data) = events_of(await ask(api, prompt="censored violence", partial_images=1))

    assert (name, last, data["error"]["code"]) == (PARTIAL, None, "moderation_blocked")
    assert data["error"]["moderation_details"] == {"moderation_stage": "output", "categories": ["violence"]}
    assert api.state.billed_images == 1


async def test_a_stream_ends_with_a_marker_only_with_done_marker(connect: Connect) -> None:
    assert "[DONE]" not in (await ask(connect())).text
    assert events_of(await ask(connect(done_marker=True)))[-1] == (None, "[DONE]")


@pytest.mark.parametrize(("shape", "line"), [("nested", False), ("flat", True)])
async def test_an_error_in_a_stream_is_nested_or_flat(
    api: Api, shape: Literal["nested", "flat"], line: bool
) -> None:
    error = {"message": "m", "type": "server_error", "param": None, "code": "server_error"}
    api.state.faults.stream(shape=shape, error_line=line, after_events=1, body={"error": error})

    first, last = events_of(await ask(api, partial_images=2))

    assert first[0] == PARTIAL
    expected = {"error": error} if shape == "nested" else {**error, "type": "error"}
    assert last == ("error" if line else None, expected)


async def test_a_stream_fault_may_end_the_stream_early(connect: Connect) -> None:
    api = connect(done_marker=True)
    api.state.faults.stream(end_early=True, after_events=1)

    ((name, _),) = events_of(await ask(api, partial_images=2))

    assert (name, api.state.requests[0].events) == (PARTIAL, 1)


async def test_a_stream_fault_may_reduce_the_partial_images(api: Api) -> None:
    api.state.faults.stream(max_partials=1)

    (_, first), (_, last) = events_of(await ask(api, partial_images=3))

    assert (first["partial_image_index"], last["usage"]["output_tokens"]) == (0, 107 + 100)


async def test_a_stream_fault_may_respond_with_plain_json(api: Api) -> None:
    api.state.faults.stream(plain=True)

    answer = (await ask(api, partial_images=2)).json()

    assert (len(answer["data"]), answer["usage"]["output_tokens"]) == (1, 107)
    assert api.state.requests[0].stream is False


@ON_EVERY_LOOP
async def test_an_http_fault_after_the_work_replaces_the_stream(api: Api) -> None:
    api.state.faults.http(500, after_work=True)

    assert (await ask(api)).status_code == 500
    assert api.state.billed_images == 1


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        (partial(Faults.stream, drop=True, after_events=1), 1),
        (partial(Faults.stream, drop=True), 0),
        (partial(Faults.connection, truncate=100), 0),
        (partial(Faults.connection, drop=True), 0),
    ],
)
async def test_a_fault_may_drop_the_connection_of_a_stream(
    emulator: Emulator, socket_api: Api, fault: Callable[[Faults], None], events: int
) -> None:
    fault(emulator.state.faults)

    with pytest.raises(httpx.RemoteProtocolError):
        await ask(socket_api, partial_images=2)

    assert emulator.state.requests[0].events == events


def test_a_client_that_disconnects_in_a_stream_ends_it(emulator: Emulator) -> None:
    emulator.state.faults.stream(delay=3600, after_events=1)

    url = f"{emulator.base_url}/images/generations"
    with httpx.stream("POST", url, json={**BODY, "partial_images": 2}) as answer:
        lines = answer.iter_lines()  # held, because its end would close the stream
        assert next(lines) == f"event: {PARTIAL}"
        assert emulator.state.open_streams == 1

    deadline = time.monotonic() + 10
    while emulator.state.open_streams and time.monotonic() < deadline:
        httpx.get(f"{emulator.base_url}/models")
    assert (emulator.state.open_streams, emulator.state.requests[0].events) == (0, 1)


async def test_a_client_that_disconnects_ends_a_delayed_response() -> None:
    before = set(threading.enumerate())
    with Emulator(limit=None) as emulator:
        emulator.state.faults.http(503, delay=3600)

        with pytest.raises(httpx.ReadTimeout):
            async with Api(emulator.state, emulator.base_url, timeout=0.2) as api:
                await ask(api)

    assert not set(threading.enumerate()) - before
    assert emulator.state.requests[0].status is None


async def test_a_stalled_stream_does_not_delay_others(emulator: Emulator, socket_api: Api) -> None:
    emulator.state.faults.connection(delay=3600)

    async with socket_api.stream("POST", "/images/generations", json=BODY) as stalled:
        assert stalled.status_code == 200
        assert (await ask(socket_api)).status_code == 200
        assert [record.events for record in emulator.state.requests] == [0, 1]

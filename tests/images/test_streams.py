"""Streams of images: the events, their order, and the errors of streams that end early."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from imagesdk import (
    APIError,
    APIResponseError,
    AsyncClient,
    BadRequestError,
    CompletedImage,
    Generate,
    ImageSDKError,
    InternalServerError,
    ModerationError,
    OutcomeUnknownError,
    PartialImage,
    RateLimit,
    RateLimitError,
    RetryPolicy,
    StreamError,
)
from imagesdk.events import (
    AttemptStarted,
    CallEnded,
    CallStarted,
    Event,
    LimitWaited,
    ResponseReceived,
    RetryScheduled,
)
from imagesdk.streams import StreamedImage
from tests.support.small_images import answer, png, usage
from tests.support.socket_servers import Conversation, OpenConnections, always, in_turn, says, serving
from tests.support.streamed_answers import begin, completed, end, event, partial, say, streams

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]
Read: TypeAlias = Callable[..., Awaitable[list[StreamedImage]]]

ROUGH, BETTER, FINE = png(1, 1), png(2, 2), png(3, 3)
ONCE = RetryPolicy(max_attempts=1)
USAGE = usage(300)


@pytest.fixture
def streaming(make_client: MakeClient) -> MakeClient:
    """Make a client that has no second try, unless the test names one."""

    def make(base_url: str, **options: Any) -> AsyncClient:
        return make_client(base_url, **{"retry": ONCE, **options})

    return make


@pytest.fixture
def read(streaming: MakeClient) -> Read:
    """Return the events of a stream of which a server sends the given pieces."""

    async def read(*pieces: bytes, **options: Any) -> list[StreamedImage]:
        async with serving(in_turn(streams(*pieces))) as server, streaming(server.base_url) as client:
            try:
                async with client.images.generate_stream("a river", **options) as stream:
                    return [each async for each in stream]
            except APIError as error:
                failure = error
        raise failure  # outside of the server's task group, which would wrap it

    return read


async def test_partial_images_come_first_and_the_finished_one_last(streaming: MakeClient) -> None:
    good = streams(
        partial(ROUGH, 0, size="1024x1024", note="kept"),
        partial(BETTER, 1),
        completed(
            FINE, usage=USAGE, size="1024x1024", quality="low", background="opaque", output_format="png"
        ),
        x_request_id="req_1",
    )
    async with serving(in_turn(good)) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river", model="gpt-image-2", partial_images=2) as stream:
            events = [each async for each in stream]
            assert stream.request_id == "req_1"
        first, second, last = events
        assert isinstance(first, PartialImage)
        assert isinstance(second, PartialImage)
        assert isinstance(last, CompletedImage)
        assert [first.image.bytes, second.image.bytes, last.image.bytes] == [ROUGH, BETTER, FINE]
        assert (first.partial_image_index, second.partial_image_index) == (0, 1)
        assert (first.type, last.type) == ("image_generation.partial_image", "image_generation.completed")
        assert (first.size, first.extra) == ("1024x1024", {"note": "kept"})
        assert last.usage is not None
        assert last.usage.total_tokens == 310
        assert last.response.request_id == "req_1"
        facts = last.response
        assert (facts.quality, facts.background, facts.size) == ("low", "opaque", "1024x1024")
        assert facts.created is not None
        assert (last.image.width, last.image.media_type) == (3, "image/png")

        (sent,) = server.requests
        fields = {"prompt": "a river", "model": "gpt-image-2", "partial_images": 2, "stream": True}
        assert json.loads(sent.body) == fields
        assert "text/event-stream" in sent.headers["accept"]


async def test_final_returns_the_response_of_a_call_without_a_stream(streaming: MakeClient) -> None:
    good = streams(partial(ROUGH), completed(FINE, usage=USAGE))
    async with serving(in_turn(good)) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river", partial_images=1) as stream:
            response = await stream.final()
            assert await stream.final() is response
            assert [each async for each in stream] == []
    assert response[0].bytes == FINE
    assert response.attempts == 1


@pytest.mark.parametrize("ending", [b"data: [DONE]\n\n", b": bye\n\n", b""])
async def test_a_finished_stream_leaves_its_connection_for_the_next_call(
    streaming: MakeClient, ending: bytes
) -> None:
    handler = in_turn(streams(completed(FINE) + ending), says(answer(ROUGH)))
    async with serving(handler) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river") as stream:
            await stream.final()
        response = await client.images.generate("a dog")
        assert response[0].bytes == ROUGH
        assert server.connections == 1


async def test_leaving_early_closes_the_connection_and_the_next_call_works(streaming: MakeClient) -> None:
    dropped = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        if talk.number == 1:
            await begin(talk)
            await say(talk, partial(ROUGH))
            await talk.dropped()
            dropped.set()
        else:
            await talk.answer(answer(FINE))

    async with serving(handler) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river", partial_images=3) as stream:
            async for seen in stream:
                assert seen.image.bytes == ROUGH
                break
        await dropped.wait()
        assert (await client.images.generate("a dog"))[0].bytes == FINE


async def test_an_exception_of_the_block_leaves_it_unchanged(streaming: MakeClient) -> None:
    async with serving(in_turn(streams(partial(ROUGH), completed(FINE)))) as server:
        async with streaming(server.base_url) as client:

            async def leave() -> None:
                async with client.images.generate_stream("a river") as stream:
                    await anext(stream)
                    raise ZeroDivisionError("mine")

            with pytest.raises(ZeroDivisionError, match="mine"):
                await leave()


async def test_the_finished_image_is_written_to_disk_and_partial_ones_are_not(
    streaming: MakeClient, tmp_path: Path
) -> None:
    good = streams(partial(ROUGH), completed(FINE))
    async with serving(in_turn(good)) as server, streaming(server.base_url) as client:
        path = tmp_path / "river.png"
        async with client.images.generate_stream("a river", partial_images=1, out=path) as stream:
            first = await anext(stream)
            assert first.image.bytes == ROUGH
            assert not path.exists()
            assert (await stream.final())[0].path == path
    assert path.read_bytes() == FINE
    assert list(tmp_path.iterdir()) == [path]


async def test_events_without_names_are_recognised_by_their_type_also_on_disk(
    read: Read, tmp_path: Path
) -> None:
    rough = event("image_generation.partial_image", ROUGH, named=False, partial_image_index=0)
    fine = event("image_generation.completed", FINE, named=False)
    assert [each.image.bytes for each in await read(rough, fine, out=tmp_path / "river.png")] == [ROUGH, FINE]
    assert [path.name for path in tmp_path.iterdir()] == ["river.png"]


async def test_images_that_are_not_read_leave_no_file(streaming: MakeClient, tmp_path: Path) -> None:
    good = streams(partial(ROUGH) + completed(FINE))
    async with serving(in_turn(good)) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river", out=tmp_path / "river.png") as stream:
            await anext(stream)
    assert list(tmp_path.iterdir()) == []


WHOLE = partial(ROUGH) + completed(FINE)
UNKNOWN = event("image_generation.in_progress") + b": ping\n\ndata: 5\n\n"


@pytest.mark.parametrize(
    "pieces",
    [(UNKNOWN, partial(ROUGH), completed(FINE)), [WHOLE[at : at + 7] for at in range(0, len(WHOLE), 7)]],
    ids=["unknown events", "small pieces"],
)
async def test_events_are_the_same_however_the_stream_is_cut_and_those_of_unknown_types_are_skipped(
    read: Read, pieces: Sequence[bytes]
) -> None:
    assert [each.image.bytes for each in await read(*pieces)] == [ROUGH, FINE]


@pytest.mark.parametrize("path", ["memory", "disk"])
async def test_a_server_that_does_not_stream_gives_its_image(
    streaming: MakeClient, tmp_path: Path, path: str
) -> None:
    handler = in_turn(says(answer(FINE, size="3x3"), content_type="application/json"))
    options: dict[str, Any] = {"out": tmp_path / "a.png"} if path == "disk" else {}
    async with serving(handler) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river", partial_images=2, **options) as stream:
            (only,) = [each async for each in stream]
    assert isinstance(only, CompletedImage)
    assert only.type == "image_generation.completed"
    assert (only.image.bytes, only.response.size) == (FINE, "3x3")
    assert len(list(tmp_path.iterdir())) == (path == "disk")


@pytest.mark.parametrize("ends", [True, False], ids=["ended", "cut off"])
async def test_a_stream_without_its_image_is_an_error_with_the_last_partial_one(
    streaming: MakeClient, ends: bool
) -> None:
    bad = streams(partial(ROUGH), partial(BETTER, 1), ends=ends)
    async with serving(in_turn(bad)) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river") as stream:
            with pytest.raises(StreamError, match="without its image") as caught:
                await stream.final()
            with pytest.raises(StreamError, match="before"):
                await stream.final()
    error = caught.value
    assert error.partial is not None
    assert error.partial.image.bytes == BETTER
    assert (error.maybe_billed, error.attempts) == (True, 1)
    assert error.idempotency_key
    assert len(server.requests) == 1


MODERATED = {
    "code": "moderation_blocked",
    "type": "image_generation_user_error",
    "message": "Your request was rejected by the safety system.",
}
ERRORS: list[tuple[bytes, type[ImageSDKError]]] = [
    (f"data: {json.dumps({'error': MODERATED})}\n\n".encode(), ModerationError),
    (f"event: error\ndata: {json.dumps({'type': 'error', **MODERATED, 'x': 1})}\n\n".encode(), APIError),
    (f"event: error\ndata: {json.dumps({'error': MODERATED})}\n\n".encode(), ModerationError),
    (event("error", code="server_error", message="The server had an error."), InternalServerError),
    (
        event("error", named=False, code="server_error", message="The server had an error."),
        InternalServerError,
    ),
    (event("error", error={"code": "rate_limit_exceeded", "message": "Slow down."}), RateLimitError),
    (b"event: error\ndata: upstream went away\n\n", StreamError),
    (b'data: {"error": "upstream went away"}\n\n', StreamError),
]


@pytest.mark.parametrize("seen", [True, False], ids=["later", "at once"])
@pytest.mark.parametrize(("message", "kind"), ERRORS)
async def test_an_error_in_a_stream_has_the_class_of_the_same_error_response(
    read: Read, message: bytes, kind: type[APIError], seen: bool
) -> None:
    with pytest.raises(kind) as caught:
        await read(*([partial(ROUGH)] if seen else []), message)
    assert caught.value.attempts == 1
    if seen:
        assert caught.value.maybe_billed


async def test_a_rejection_before_the_stream_is_the_error_of_any_call(streaming: MakeClient) -> None:
    refusal = json.dumps({"error": {"message": "no", "type": "invalid_request_error", "code": None}}).encode()
    async with serving(always(refusal, 400)) as server, streaming(server.base_url) as client:
        with pytest.raises(BadRequestError, match="no"):
            async with client.images.generate_stream("a river"):
                raise AssertionError("nothing was to be entered")


async def test_an_attempt_that_fails_before_its_first_image_is_retried(make_client: MakeClient) -> None:
    seen: list[Event] = []
    handler = in_turn(
        says(b"busy", 429, retry_after_ms="1"),
        says(b"", 503),
        streams(partial(ROUGH), completed(FINE)),
    )
    async with serving(handler) as server, make_client(server.base_url, observers=[seen.append]) as client:
        async with client.images.generate_stream("a river") as stream:
            response = await stream.final()
    assert response[0].bytes == FINE
    assert (response.attempts, response.maybe_billed_before) == (3, True)
    retried = [AttemptStarted, ResponseReceived, RetryScheduled]
    kinds = [type(each) for each in seen if not isinstance(each, LimitWaited)]  # as on a busy machine
    assert kinds == [CallStarted, *retried, *retried, AttemptStarted, ResponseReceived, CallEnded]


async def test_there_is_no_retry_after_the_first_image(make_client: MakeClient) -> None:
    handler = in_turn(streams(partial(ROUGH), ends=False), streams(completed(FINE)))
    async with serving(handler) as server, make_client(server.base_url) as client:
        with pytest.raises(StreamError):
            async with client.images.generate_stream("a river") as stream:
                await stream.final()
    assert len(server.requests) == 1


async def test_a_429_in_a_stream_waits_for_the_rate_limit(make_client: MakeClient) -> None:
    message = {"code": "rate_limit_exceeded", "type": "requests", "message": "Please try again in 10ms."}
    handler = in_turn(streams(event("error", error=message)), streams(completed(FINE)))
    limit = RateLimit(50, per=0.5, scope="client")
    async with serving(handler) as server, make_client(server.base_url, rate_limit=limit) as client:
        async with client.images.generate_stream("a river") as stream:
            assert (await stream.final())[0].bytes == FINE
    assert len(server.requests) == 2


async def test_the_timeout_ends_a_stream_that_hangs(streaming: MakeClient) -> None:
    connections = OpenConnections()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await begin(talk)
        await say(talk, partial(ROUGH))
        await talk.dropped()

    async with serving(connections.counted(handler)) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river", timeout=1) as stream:
            await anext(stream)
            with pytest.raises(StreamError, match="its time was over"):
                await anext(stream)
        await connections.number(0)


async def test_the_timeout_of_an_attempt_does_not_run_while_the_block_works(streaming: MakeClient) -> None:
    async with serving(in_turn(streams(partial(ROUGH) + completed(FINE)))) as server:
        async with streaming(server.base_url) as client:
            async with client.images.generate_stream("a river", timeout=0.8) as stream:
                await anext(stream)
                with anyio.move_on_after(0.9):
                    await anyio.sleep_forever()
                assert isinstance(await anext(stream), CompletedImage)


async def test_a_server_that_hangs_before_its_first_event_may_have_billed(streaming: MakeClient) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.dropped()

    async with serving(handler) as server, streaming(server.base_url) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            async with client.images.generate_stream("a river", timeout=0.8):
                raise AssertionError("nothing was to be entered")
    assert caught.value.maybe_billed


@pytest.mark.parametrize(
    "bad",
    [
        b'data: {"type": "image_generation.completed", "b64_json": "!!!!"}\n\n',
        b'data: {"type": "image_generation.completed"}\n\n',
        b'data: {"type": "image_generation.comp\n\n',
    ],
    ids=["bad base64", "no image", "no JSON"],
)
async def test_an_unreadable_event_was_probably_billed(read: Read, tmp_path: Path, bad: bytes) -> None:
    with pytest.raises(APIResponseError) as caught:
        await read(partial(ROUGH), bad, out=tmp_path / "a.png")
    assert caught.value.maybe_billed
    assert list(tmp_path.iterdir()) == []


async def test_a_last_event_without_an_image_is_an_error_with_its_reason(read: Read) -> None:
    with pytest.raises(APIResponseError, match="no image"):
        await read(partial(ROUGH), event("image_generation.completed"))
    with pytest.raises(ModerationError, match="content_filter"):
        await read(event("image_generation.completed", finish_reason="content_filter"))
    with pytest.raises(APIResponseError, match="<html>"):
        await read(completed(b"<html>502</html>"))


@pytest.mark.parametrize(
    "lost", [[b": nothing\n\n"], [b"data: {\n\n"], [event("error", error={"code": "server_error"})]]
)
async def test_a_stream_that_began_and_failed_is_not_asked_for_again(
    make_client: MakeClient, lost: list[bytes]
) -> None:
    async with serving(in_turn(streams(*lost), streams(completed(FINE)))) as server:
        async with make_client(server.base_url) as client:
            with pytest.raises(APIError) as caught:
                async with client.images.generate_stream("a river") as stream:
                    await stream.final()
    assert (caught.value.attempts, caught.value.maybe_billed, len(server.requests)) == (1, True, 1)


async def test_an_edit_streams_as_well(streaming: MakeClient) -> None:
    good = streams(
        event("image_edit.partial_image", ROUGH, partial_image_index=0),
        event("image_edit.completed", FINE, usage=USAGE),
    )
    async with serving(in_turn(good)) as server, streaming(server.base_url) as client:
        async with client.images.edit_stream(png(4, 4), "a pool", partial_images=1) as stream:
            events = [each async for each in stream]
    assert [each.type for each in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert server.requests[0].line.startswith("POST /v1/images/edits ")
    assert b'name="stream"\r\n\r\ntrue' in server.requests[0].body
    assert b'name="partial_images"\r\n\r\n1' in server.requests[0].body


async def test_a_job_as_a_value_streams(streaming: MakeClient) -> None:
    async with serving(in_turn(streams(completed(FINE)))) as server, streaming(server.base_url) as client:
        async with client.images.stream(Generate("a river", partial_images=0)) as stream:
            assert (await stream.final())[0].bytes == FINE


async def test_two_tasks_cannot_read_one_stream_at_once(streaming: MakeClient) -> None:
    refused: list[str] = []
    go_on = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await begin(talk)
        await say(talk, partial(ROUGH))
        await go_on.wait()
        await say(talk, completed(FINE))
        await end(talk)

    async with serving(handler) as server, streaming(server.base_url) as client:
        async with client.images.generate_stream("a river") as stream:
            await anext(stream)

            async def second() -> None:
                with pytest.raises(RuntimeError, match="another task"):
                    await anext(stream)
                refused.append("second")
                go_on.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(second)
                await stream.final()
    assert refused == ["second"]


@pytest.mark.parametrize("method", ["generate_stream", "edit_stream", "stream", "fan_out"])
async def test_a_stream_that_was_not_entered_raises_with_the_way_to_enter_it(
    make_client: MakeClient, method: str
) -> None:
    message = re.escape(
        f"`async with client.images.{method}(...) as {'run' if method == 'fan_out' else 'stream'}:`"
    )
    async with make_client("http://127.0.0.1:9/v1") as client:
        made: Any = getattr(client.images, method)(
            *(("a.png", "a cat") if "edit" in method else (["a cat"],))
        )
        with pytest.raises(TypeError, match=message):
            async for _ in made:
                pass
        with pytest.raises(TypeError, match=message):
            await made
        with pytest.raises(TypeError, match=message):
            list(made)
        with pytest.raises(AttributeError, match=f"no collect here: .*{message}"):
            await made.collect()
        assert not hasattr(made, "__len__")

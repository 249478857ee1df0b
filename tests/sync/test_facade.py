"""The blocking clients work wherever blocking code runs; their streams are entered, read and exited by any thread."""

from __future__ import annotations

import base64
import copy
import gc
import json
import pickle
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import anyio.from_thread
import pytest

import imagesdk
from imagesdk import Client, CompletedImage, Generate, PartialImage, RetryPolicy
from imagesdk._sync.latch import Latch
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, says, serving
from tests.support.streamed_answers import begin, completed, partial, say, streams

SMALL, LARGE = png(1, 1), png(3, 3)
GOOD = streams(partial(SMALL), completed(LARGE))


class Script:
    """The answers of a server to its next requests. Without one, it makes the images of the request."""

    def __init__(self) -> None:
        self.steps: list[Handler] = []
        self.dropped = threading.Event()
        """Set when a connection has ended."""
        self.base_url = ""

    async def handler(self, talk: Conversation) -> None:
        try:
            while True:
                sent = await talk.request()
                if self.steps:
                    await self.steps.pop(0)(talk)
                else:
                    job = json.loads(sent.body)
                    image = {"b64_json": base64.b64encode(SMALL).decode(), "revised_prompt": job["prompt"]}
                    await talk.answer(answer(data=[image] * job.get("n", 1)))
        finally:
            self.dropped.set()


async def waits(talk: Conversation) -> None:
    """Send one image, and wait until the client closes the connection."""
    await begin(talk)
    await say(talk, partial(SMALL))
    await talk.dropped()
    talk.hang_up()


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serving(script.handler)) as server:
            script.base_url = server.base_url
            yield script


@pytest.fixture
def client(script: Script) -> Iterator[Client]:
    once = RetryPolicy(max_attempts=1)
    with Client(base_url=script.base_url, api_key="", rate_limit=None, retry=once) as client:
        yield client


def test_a_call_in_a_plain_script_returns_what_the_asynchronous_client_returns(client: Client) -> None:
    response = client.images.generate("a cat", n=2)
    assert type(response) is imagesdk.ImagesResponse
    assert [image.width for image in response] == [1, 1]


@pytest.mark.anyio
async def test_a_call_and_a_stream_work_inside_a_running_event_loop(client: Client, script: Script) -> None:
    assert client.images.generate("a cat, in Jupyter")[0].width == 1
    script.steps.append(GOOD)
    with client.images.generate_stream("a river") as stream:
        assert stream.final()[0].bytes == LARGE


def test_errors_are_those_of_the_asynchronous_client_and_in_no_exception_group(
    client: Client, script: Script
) -> None:
    script.steps.append(says(b'{"error": {"message": "no", "type": "invalid_request_error"}}', 400))
    with pytest.raises(imagesdk.BadRequestError) as caught:
        client.images.generate("refused")
    assert not isinstance(caught.value.__context__, BaseExceptionGroup)


def test_a_wrong_argument_is_refused_where_the_client_is_made() -> None:
    with pytest.raises(imagesdk.ConfigurationError):
        Client(base_url="nonsense", api_key="")


def test_many_threads_may_share_a_client_from_its_first_call_on(client: Client) -> None:
    start = threading.Barrier(32)

    def call(number: int) -> str | None:
        start.wait()
        return client.images.generate(f"cat {number}")[0].revised_prompt

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(call, range(32))) == [f"cat {number}" for number in range(32)]


def test_leaving_the_with_block_closes_the_client(client: Client) -> None:
    with client:
        images = client.images
        images.generate("a cat")
    client.close()
    with pytest.raises(RuntimeError, match="client is closed"):
        images.generate("a cat")


def test_a_garbage_collected_client_drops_its_connection_ends_the_thread_and_warns(script: Script) -> None:
    before = threading.enumerate()
    clients = [Client(base_url=script.base_url, api_key="", rate_limit=None)]
    clients[0].images.generate("a cat")
    [thread] = [each for each in threading.enumerate() if each.name == "imagesdk" and each not in before]
    with pytest.warns(ResourceWarning, match=r"a blocking client was not closed: use 'with Client\(\.\.\.\)"):
        clients.clear()
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    assert script.dropped.wait(5)


def test_a_call_from_an_observer_raises_instead_of_deadlocking(script: Script) -> None:
    refused: list[str] = []

    def observer(event: object) -> None:
        try:
            inside.images.generate("from inside")
        except RuntimeError as error:
            refused.append(str(error))

    with Client(base_url=script.base_url, api_key="", rate_limit=None, observers=[observer]) as inside:
        inside.images.generate("a cat")
    assert "event-loop thread" in refused[0]


def test_a_client_names_its_class_and_server_and_keeps_its_resources(client: Client, script: Script) -> None:
    assert repr(client) == f"<Client {script.base_url}>"
    assert client.images is client.images


def test_clients_resources_and_streams_can_be_neither_pickled_nor_copied(
    client: Client, script: Script
) -> None:
    script.steps.append(GOOD)
    with client.images.generate_stream("a river") as stream:
        for thing in (client, client.images, stream):
            for duplicate in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError, match="where it is needed"):
                    duplicate(thing)


def test_a_stream_is_read_with_a_plain_loop_by_any_thread(client: Client, script: Script) -> None:
    script.steps += [GOOD, GOOD]
    with client.images.generate_stream("a river", partial_images=1) as stream:
        first, last = list(stream)
        assert list(stream) == []
    assert isinstance(first, PartialImage)
    assert isinstance(last, CompletedImage)
    assert (first.image.bytes, last.image.bytes) == (SMALL, LARGE)
    with client.images.generate_stream("a river") as stream, ThreadPoolExecutor(1) as reader:
        assert [event.image.bytes for event in reader.submit(list, stream).result()] == [SMALL, LARGE]


def test_final_returns_the_response_before_or_after_some_events(client: Client, script: Script) -> None:
    script.steps += [GOOD, GOOD]
    with client.images.stream(Generate("a river")) as stream:
        assert stream.final()[0].bytes == LARGE
    with client.images.edit_stream(LARGE, "a pool") as stream:
        assert next(stream).image.bytes == SMALL
        assert stream.final()[0].bytes == LARGE


@pytest.mark.parametrize("error", [None, ZeroDivisionError("mine")])
def test_leaving_the_block_early_drops_the_connection_and_raises_the_error_of_the_block(
    client: Client, script: Script, error: Exception | None
) -> None:
    script.steps.append(waits)
    with pytest.raises(ZeroDivisionError, match="mine") if error else nullcontext():
        with client.images.generate_stream("a river") as stream:
            assert next(stream).image.bytes == SMALL
            if error:
                raise error
    assert script.dropped.wait(5)
    assert client.images.generate("a dog")[0].bytes == SMALL


def test_a_broken_stream_raises_an_error_with_the_last_image(client: Client, script: Script) -> None:
    script.steps.append(streams(partial(SMALL), ends=False))
    with client.images.generate_stream("a river") as stream:
        with pytest.raises(imagesdk.StreamError) as caught:
            stream.final()
    assert caught.value.partial is not None
    assert caught.value.partial.image.bytes == SMALL


def test_invalid_parameters_raise_on_entering_and_nothing_is_sent(client: Client) -> None:
    with pytest.raises(imagesdk.InvalidRequestError, match="prompt"):
        with client.images.generate_stream(" ", model="gpt-image-2"):
            raise AssertionError("this must not be entered")


def test_a_stream_can_be_entered_once_and_used_inside_its_block_only(client: Client, script: Script) -> None:
    script.steps.append(GOOD)
    manager = client.images.generate_stream("a river")
    with manager as stream:
        stream.final()
    with pytest.raises(RuntimeError, match="entered before"):
        manager.__enter__()
    with pytest.raises(RuntimeError, match="its block was left"):
        next(stream)


def test_a_client_closed_within_the_block_ends_the_stream(client: Client, script: Script) -> None:
    script.steps.append(waits)
    with client.images.generate_stream("a river") as stream:
        next(stream)
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            next(stream)
    assert script.dropped.wait(5)


def close_while_it_waits(client: Client, thread: int) -> None:
    """Close the client as soon as the thread waits for a result."""
    frames = sys._current_frames  # pyright: ignore[reportPrivateUsage] - the documented way to look at a thread
    while frames()[thread].f_code is not Latch.wait.__code__:
        time.sleep(0)
    client.close()


def test_a_client_closed_by_another_thread_ends_the_wait_for_an_image(client: Client, script: Script) -> None:
    script.steps.append(waits)
    with client.images.generate_stream("a river") as stream:
        next(stream)
        closing = threading.Thread(target=close_while_it_waits, args=(client, threading.get_ident()))
        closing.start()
        with pytest.raises(RuntimeError, match="closed"):
            next(stream)
        closing.join()
    assert script.dropped.wait(5)


def test_streams_and_calls_run_at_the_same_time(client: Client, script: Script) -> None:
    script.steps += [waits, GOOD]
    with client.images.generate_stream("a river") as first:
        next(first)
        with client.images.generate_stream("a lake") as second:
            assert second.final()[0].bytes == LARGE
        assert client.images.generate("a dog")[0].bytes == SMALL


@pytest.mark.parametrize("method", ["generate_stream", "edit_stream", "stream", "fan_out"])
def test_using_a_stream_or_run_before_entering_it_raises_with_a_hint(client: Client, method: str) -> None:
    arguments = ("a.png", "a river") if "edit" in method else (["a river"],)
    made: Any = getattr(client.images, method)(*arguments)
    hint = re.escape(f"`with client.images.{method}(...) as {'run' if method == 'fan_out' else 'stream'}:`")
    with pytest.raises(TypeError, match=hint):
        list(made)
    with pytest.raises(AttributeError, match=f"no collect here: .*{hint}"):
        made.collect()
    assert not hasattr(made, "__len__")
    assert not hasattr(copy.copy(made), "final")


def test_streams_in_many_threads_at_once_are_complete(client: Client, script: Script) -> None:
    script.steps += [GOOD] * 16

    def read(_: int) -> bytes:
        with client.images.generate_stream("a river") as stream:
            return stream.final()[0].bytes

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, range(16))) == [LARGE] * 16

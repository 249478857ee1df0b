"""Blocking streams: entered, read and exited as asynchronous ones, by any thread."""

from __future__ import annotations

import copy
import functools
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.from_thread
import pytest

from imagesdk import (
    Client,
    CompletedImage,
    Generate,
    InvalidRequestError,
    PartialImage,
    RetryPolicy,
    StreamError,
)
from imagesdk._sync.latch import Latch
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, RawServer, serving
from tests.support.streamed_answers import begin, completed, end, partial, say

SMALL, LARGE = png(1, 1), png(3, 3)


class Script:
    """The answers of a server to its next requests."""

    def __init__(self) -> None:
        self.steps: list[Handler] = []
        self.dropped = threading.Event()

    async def handler(self, talk: Conversation) -> None:
        while True:
            await talk.request()
            if self.steps:
                await self.steps.pop(0)(talk)
            else:
                await talk.answer(answer(SMALL))

    async def good(self, talk: Conversation) -> None:
        await begin(talk)
        await say(talk, partial(SMALL))
        await say(talk, completed(LARGE))
        await end(talk)

    async def waits(self, talk: Conversation) -> None:
        """Send one image, and wait until the client closes the connection."""
        await begin(talk)
        await say(talk, partial(SMALL))
        await talk.dropped()
        self.dropped.set()
        talk.hang_up()

    async def breaks(self, talk: Conversation) -> None:
        await begin(talk)
        await say(talk, partial(SMALL))
        talk.hang_up()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def client(script: Script) -> Iterator[Client]:
    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serving(script.handler)) as server:
            assert isinstance(server, RawServer)
            with Client(
                base_url=server.base_url, api_key="", rate_limit=None, retry=RetryPolicy(max_attempts=1)
            ) as client:
                yield client


def test_a_stream_is_read_with_a_plain_loop(client: Client, script: Script) -> None:
    script.steps.append(script.good)
    with client.images.generate_stream("a river", partial_images=1) as stream:
        first, last = list(stream)
        assert list(stream) == []
    assert isinstance(first, PartialImage)
    assert isinstance(last, CompletedImage)
    assert (first.image.bytes, last.image.bytes) == (SMALL, LARGE)


def test_final_returns_the_response_before_or_after_some_events(client: Client, script: Script) -> None:
    script.steps += [script.good, script.good]
    with client.images.stream(Generate("a river")) as stream:
        assert stream.final()[0].bytes == LARGE
    with client.images.edit_stream(LARGE, "a pool") as stream:
        assert next(stream).image.bytes == SMALL
        assert stream.final()[0].bytes == LARGE


def test_leaving_the_block_early_drops_the_connection_and_the_client_stays_usable(
    client: Client, script: Script
) -> None:
    script.steps.append(script.waits)
    with client.images.generate_stream("a river") as stream:
        assert next(stream).image.bytes == SMALL
    assert script.dropped.wait(5)
    assert client.images.generate("a dog")[0].bytes == SMALL


def test_an_error_of_the_block_is_raised_unchanged(client: Client, script: Script) -> None:
    script.steps.append(script.waits)

    def leave() -> None:
        with client.images.generate_stream("a river") as stream:
            next(stream)
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        leave()
    assert script.dropped.wait(5)


def test_a_broken_stream_raises_an_error_with_the_last_image(client: Client, script: Script) -> None:
    script.steps.append(script.breaks)
    with client.images.generate_stream("a river") as stream:
        with pytest.raises(StreamError) as caught:
            stream.final()
    assert caught.value.partial is not None
    assert caught.value.partial.image.bytes == SMALL


def test_invalid_parameters_raise_on_entering_and_nothing_is_sent(client: Client) -> None:
    with pytest.raises(InvalidRequestError, match="prompt"):
        with client.images.generate_stream(" ", model="gpt-image-2"):
            raise AssertionError("this must not be entered")


def test_a_stream_can_be_entered_once_and_used_inside_its_block_only(client: Client, script: Script) -> None:
    script.steps.append(script.good)
    manager = client.images.generate_stream("a river")
    with manager as stream:
        stream.final()
    with pytest.raises(RuntimeError, match="entered before"):
        manager.__enter__()
    with pytest.raises(RuntimeError, match="its block was left"):
        next(stream)


def test_a_client_closed_within_the_block_ends_the_stream(client: Client, script: Script) -> None:
    script.steps.append(script.waits)
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
    script.steps.append(script.waits)
    with client.images.generate_stream("a river") as stream:
        next(stream)
        closing = threading.Thread(target=close_while_it_waits, args=(client, threading.get_ident()))
        closing.start()
        with pytest.raises(RuntimeError, match="closed"):
            next(stream)
        closing.join()
    assert script.dropped.wait(5)


def test_streams_and_calls_run_at_the_same_time(client: Client, script: Script) -> None:
    script.steps += [script.waits, script.good]
    with client.images.generate_stream("a river") as first:
        next(first)
        with client.images.generate_stream("a lake") as second:
            assert second.final()[0].bytes == LARGE
        assert client.images.generate("a dog")[0].bytes == SMALL


def test_a_stream_may_be_read_by_a_thread_that_did_not_enter_it(client: Client, script: Script) -> None:
    script.steps.append(script.good)
    seen: list[bytes] = []
    with client.images.generate_stream("a river") as stream:
        reader = threading.Thread(target=lambda: seen.extend(each.image.bytes for each in stream))
        reader.start()
        reader.join()
    assert seen == [SMALL, LARGE]


def test_a_stream_cannot_be_copied(client: Client, script: Script) -> None:
    script.steps.append(script.good)
    with client.images.generate_stream("a river") as stream:
        with pytest.raises(TypeError, match="where it is needed"):
            copy.deepcopy(stream)


@pytest.mark.anyio
async def test_a_stream_works_inside_a_running_event_loop(client: Client, script: Script) -> None:
    script.steps.append(script.good)
    with client.images.generate_stream("a river") as stream:
        assert stream.final()[0].bytes == LARGE


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_cannot_use_the_stream_and_the_parent_can(client: Client, script: Script) -> None:
    script.steps.append(script.good)
    with client.images.generate_stream("a river") as stream:
        next(stream)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    next(stream)
                except RuntimeError as error:
                    code = 0 if "forked" in str(error) else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert stream.final()[0].bytes == LARGE


@pytest.mark.parametrize("method", ["generate_stream", "edit_stream", "stream", "fan_out"])
def test_using_a_stream_or_run_before_entering_it_raises_with_a_hint(client: Client, method: str) -> None:
    made: Any = getattr(client.images, method)(
        *(("a.png", "a river") if "edit" in method else (["a river"],))
    )
    hint = re.escape(f"`with client.images.{method}(...) as {'run' if method == 'fan_out' else 'stream'}:`")
    with pytest.raises(TypeError, match=hint):
        list(made)
    with pytest.raises(AttributeError, match=f"no collect here: .*{hint}"):
        made.collect()
    assert not hasattr(made, "__len__")
    assert not hasattr(copy.copy(made), "final")


def test_streams_in_many_threads_at_once_are_complete(client: Client, script: Script) -> None:
    script.steps += [script.good] * 16
    seen: list[bytes] = []

    def read() -> None:
        with client.images.generate_stream("a river") as stream:
            seen.append(stream.final()[0].bytes)

    threads = [threading.Thread(target=functools.partial(read)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [LARGE] * 16

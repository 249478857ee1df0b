"""A call that is cancelled at any moment: the server sees it end, and nothing of it stays behind."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import anyio
import pytest

from imagesdk import AsyncClient, LimitWaitError, RateLimit
from imagesdk.events import Event, ResponseReceived, RetryScheduled
from tests.soak.storms import LEAST, WAYS, storm
from tests.support.certificates import Authority
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = pytest.mark.anyio

SMALL = png()
HUGE = png(padding=32 * 1024**2)
"""More than the buffers between two sockets hold."""
LARGE = answer(SMALL, png(padding=3 * 1024**2))


class Stop:
    """A server that cancels the call of a test at a moment of its first connection, and then answers."""

    def __init__(self, moment: str) -> None:
        self.scope = anyio.CancelScope()
        self.dropped = anyio.Event()
        self._moment = moment

    async def handler(self, talk: Conversation) -> None:
        if talk.number > 1:
            await always(answer(SMALL))(talk)
        if self._moment == "sending":
            await talk.head()
        else:
            await talk.request()
        if self._moment == "reading":
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(LARGE)}\r\n\r\n"
            await talk.send(head.encode() + LARGE[: len(LARGE) // 2])
        self.scope.cancel()
        await talk.dropped()
        self.dropped.set()


class Unfriendly:
    """A server that never answers to the greeting of TLS: whoever comes stays connecting."""

    def __init__(self) -> None:
        self.came: list[anyio.Event] = [anyio.Event() for _ in range(3)]
        self.left: list[anyio.Event] = [anyio.Event() for _ in range(3)]

    async def handler(self, talk: Conversation) -> None:
        self.came[talk.number - 1].set()
        await talk.dropped()
        self.left[talk.number - 1].set()


@pytest.mark.parametrize("moment", ["sending", "waiting", "reading"])
async def test_a_cancelled_call_ends_on_the_wire_leaves_no_file_and_ages_out_of_the_limit(
    make_client: Callable[..., AsyncClient], tmp_path: Path, moment: str
) -> None:
    stop = Stop(moment)

    async with (
        serving(stop.handler) as server,
        make_client(server.base_url, rate_limit=RateLimit(3)) as client,
    ):
        with stop.scope:
            await client.images.edit(HUGE, "a cat", n=2, out=tmp_path)
        await stop.dropped.wait()
        assert stop.scope.cancelled_caught
        assert list(tmp_path.iterdir()) == []

        await client.images.edit(SMALL, "a cat", out=tmp_path / "cat.png", timeout=5)
        assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]
        with pytest.raises(LimitWaitError):
            await client.images.generate("a cat", timeout=5)


async def test_a_call_that_is_cancelled_while_it_connects_gives_its_room_back(
    make_client: Callable[..., AsyncClient],
) -> None:
    unfriendly = Unfriendly()

    async with serving(unfriendly.handler) as server:
        base_url = server.base_url.replace("http:", "https:")
        async with make_client(base_url, rate_limit=RateLimit(3)) as client:
            for came, left in zip(unfriendly.came, unfriendly.left, strict=True):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(partial(client.images.generate, "a cat", n=3))
                    await came.wait()
                    tasks.cancel_scope.cancel()
                await left.wait()


async def test_a_call_that_is_cancelled_in_line_lets_the_next_one_up(
    make_client: Callable[..., AsyncClient],
) -> None:
    unfriendly = Unfriendly()
    scopes: dict[str, anyio.CancelScope] = {}
    done: list[str] = []

    async def call(name: str, client: AsyncClient) -> None:
        with anyio.CancelScope() as scopes[name]:
            await client.images.generate(name, n=2)
        done.append(name)

    async with serving(unfriendly.handler) as server:
        base_url = server.base_url.replace("http:", "https:")
        async with (
            make_client(base_url, rate_limit=RateLimit(3)) as client,
            anyio.create_task_group() as tasks,
        ):
            for name in ("first", "second", "third"):
                tasks.start_soon(call, name, client)
                await anyio.wait_all_tasks_blocked()
            await unfriendly.came[0].wait()
            scopes["second"].cancel()
            scopes["first"].cancel()
            await unfriendly.came[1].wait()
            assert sorted(done) == ["first", "second"]
            scopes["third"].cancel()
        assert server.connections == 2


@pytest.mark.parametrize("way", WAYS)
async def test_a_storm_of_cancelled_calls_leaves_nothing_behind(
    way: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = await storm(way, LEAST, Random(50), authority, monkeypatch)
    gc.collect()  # what was left open is warned of, and warnings are errors

    assert set(reached) == {"sending", "waiting", "reading"}


async def test_a_call_that_is_cancelled_between_two_attempts_makes_no_other(
    make_client: Callable[..., AsyncClient],
) -> None:
    stopped = anyio.CancelScope()

    def observe(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            stopped.cancel()

    async with (
        serving(always(b"", 503, retry_after="100")) as server,
        make_client(server.base_url, observers=[observe]) as client,
    ):
        with stopped:
            await client.images.generate("a cat")
        assert stopped.cancelled_caught
        assert len(server.requests) == 1


async def test_pictures_that_have_come_whole_are_kept_though_the_call_is_cancelled(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    stopped = anyio.CancelScope()

    def observe(event: Event) -> None:
        if isinstance(event, ResponseReceived):
            stopped.cancel()

    async with (
        serving(always(answer(SMALL, SMALL))) as server,
        make_client(server.base_url, observers=[observe]) as client,
    ):
        with stopped:
            await client.images.generate("a cat", n=2, out=tmp_path / "{index}.png")

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"0.png": SMALL, "1.png": SMALL}

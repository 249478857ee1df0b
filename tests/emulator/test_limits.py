"""The rate limit on images, with a clock that tests advance."""

from collections.abc import Callable
from typing import Protocol

import httpx
import pytest

from imagesdk.emulator import EmulatorState, create_app
from imagesdk.emulator.limits import duration

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

Connect = Callable[..., httpx.AsyncClient]


class Clock(Protocol):
    now: float


async def ask(api: httpx.AsyncClient, n: int = 1, **fields: object) -> httpx.Response:
    body = {"model": "dall-e-2", "prompt": "x", "size": "256x256", "n": n, **fields}
    return await api.post("/images/generations", json=body)


async def test_images_beyond_the_limit_get_the_429_of_the_api(
    connect: Connect, clock: Clock, state: EmulatorState
) -> None:
    api = connect(limit="4/min")
    assert (await ask(api, 4)).status_code == 200

    answer = await ask(api)

    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("requests", None, "rate_limit_exceeded")
    assert "Limit: 4/1min. Current: 5/1min." in error["message"]
    assert answer.headers["retry-after"] == "60"
    assert state.billed_images == 4


async def test_granted_images_leave_the_window_one_window_later(connect: Connect, clock: Clock) -> None:
    api = connect(limit="4/min")
    await ask(api, 3)
    clock.now += 20.25
    await ask(api, 1)

    clock.now += 10
    early = await ask(api, 2)
    assert early.headers["retry-after"] == "30"
    clock.now += 29.5
    assert (await ask(api, 2)).status_code == 429
    clock.now += 0.25
    assert (await ask(api, 3)).status_code == 200
    assert (await ask(api, 1)).headers["retry-after"] == "21"


async def test_a_request_above_the_limit_itself_has_no_retry_after(connect: Connect) -> None:
    answer = await ask(connect(limit="4/min"), 5)

    assert answer.status_code == 429
    assert "retry-after" not in answer.headers


async def test_rejected_requests_do_not_count(connect: Connect) -> None:
    api = connect(limit="2/min")

    for _ in range(3):
        assert (await ask(api, 1, size="7x7")).status_code == 400
        assert (await ask(api, 1, prompt="forbidden")).status_code == 400
        assert (await ask(api, 3)).status_code == 429

    assert (await ask(api, 2)).status_code == 200


async def test_every_image_response_has_rate_limit_headers(connect: Connect, clock: Clock) -> None:
    api = connect(limit="4/min")

    first = await ask(api, 3)
    clock.now += 1.5
    bad = await ask(api, 1, size="7x7")
    full = await ask(api, 2)

    def limit_headers(answer: httpx.Response) -> list[str]:
        return [answer.headers[f"x-ratelimit-{what}-images"] for what in ("limit", "remaining", "reset")]

    assert limit_headers(first) == ["4", "1", "1m0s"]
    assert limit_headers(bad) == limit_headers(full) == ["4", "1", "58.5s"]


async def test_without_a_limit_there_are_no_rate_limit_headers(connect: Connect) -> None:
    api = connect(limit=None)

    answers = [await ask(api, 10) for _ in range(6)]

    assert {answer.status_code for answer in answers} == {200}
    assert not [name for name in answers[0].headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize(
    ("limit", "seconds", "text"),
    [("1/s", 1, "1/1s"), ("1/10s", 10, "1/10s"), ("1/5min", 300, "1/5min"), ("1/h", 3600, "1/1h")],
)
async def test_a_limit_may_have_any_window(
    connect: Connect, clock: Clock, limit: str, seconds: int, text: str
) -> None:
    api = connect(limit=limit)
    await ask(api)
    clock.now += seconds - 0.5

    refused = await ask(api)
    clock.now += 0.5

    assert f"Limit: {text}." in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "1"
    assert (await ask(api)).status_code == 200


async def test_a_limit_of_zero_rejects_every_request(connect: Connect) -> None:
    answer = await ask(connect(limit="0/min"))

    assert "Limit: 0/1min. Current: 1/1min." in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("limit", ["", "50", "50/", "50/day", "x/min", "-1/min", "50/0s", "50/1.5s"])
def test_a_limit_that_cannot_be_parsed_raises_value_error(limit: str) -> None:
    with pytest.raises(ValueError, match="a limit reads like '50/min'"):
        create_app(limit=limit)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"),
        (0.001, "1ms"),
        (0.12, "120ms"),
        (58.891, "58.891s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3723.5, "1h2m3.5s"),
    ],
)
def test_durations_have_the_format_of_the_api(seconds: float, text: str) -> None:
    assert duration(seconds) == text

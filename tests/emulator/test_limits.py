"""The rate limit on images, with a clock that tests advance."""

import httpx
import pytest

from imagesdk.emulator import create_app
from imagesdk.emulator.limits import duration
from tests.emulator.api import Clock, Connect
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]


async def test_images_beyond_the_limit_get_the_429_of_the_api(connect: Connect) -> None:
    api = connect(limit="4/min")
    assert (await api.generate(n=4)).status_code == 200

    answer = await api.generate()

    error = error_of(answer, 429)
    assert (error["type"], error["param"], error["code"]) == ("requests", None, "rate_limit_exceeded")
    assert "Limit: 4/1min. Current: 5/1min." in error["message"]
    assert answer.headers["retry-after"] == "60"
    assert api.state.billed_images == 4


async def test_litellm_rejects_everything_for_five_seconds_after_a_429(
    connect: Connect, clock: Clock
) -> None:
    api = connect(limit="1/10s", quirks="litellm")
    statuses = [(await api.generate()).status_code, (await api.generate()).status_code]
    assert statuses == [200, 429]

    clock.now += 4
    answer = await api.generate(model="cat")
    error = error_of(answer, 429)
    assert "retry-after" not in answer.headers
    assert error["message"].startswith(
        "No deployments available for selected model, Try again in 5 seconds. Passed model=cat. "
    )
    assert (error["type"], error["param"], error["code"]) == ("None", "None", "429")

    clock.now += 1  # the cooldown is over, the limit of the deployment is not
    assert error_of(await api.generate(), 429)["code"] == "rate_limit_exceeded"
    clock.now += 5
    assert (await api.generate()).status_code == 200


async def test_granted_images_leave_the_window_one_window_later(connect: Connect, clock: Clock) -> None:
    api = connect(limit="4/min")
    await api.generate(n=3)
    clock.now += 20.25
    await api.generate()

    clock.now += 10
    assert (await api.generate(n=2)).headers["retry-after"] == "30"
    clock.now += 29.5
    assert (await api.generate(n=2)).status_code == 429
    clock.now += 0.25
    assert (await api.generate(n=3)).status_code == 200
    assert (await api.generate()).headers["retry-after"] == "21"


@pytest.mark.parametrize(("limit", "n"), [(4, 5), (0, 1)])
async def test_a_request_above_the_limit_itself_has_no_retry_after(
    connect: Connect, limit: int, n: int
) -> None:
    answer = await connect(limit=f"{limit}/min").generate(n=n)

    assert f"Limit: {limit}/1min. Current: {n}/1min." in error_of(answer, 429)["message"]
    assert "retry-after" not in answer.headers


async def test_rejected_requests_do_not_count(connect: Connect) -> None:
    api = connect(limit="2/min")

    for _ in range(3):
        assert (await api.generate(size="7x7")).status_code == 400
        assert (await api.generate(prompt="forbidden")).status_code == 400
        assert (await api.generate(n=3)).status_code == 429

    assert (await api.generate(n=2)).status_code == 200


async def test_every_image_response_has_rate_limit_headers_where_there_is_a_limit(
    connect: Connect, clock: Clock
) -> None:
    api = connect(limit="4/min")

    first = await api.generate(n=3)
    clock.now += 1.5
    bad, full = await api.generate(size="7x7"), await api.generate(n=2)
    free = [await connect(limit=None).generate(n=10) for _ in range(6)]

    def limit_headers(answer: httpx.Response) -> list[str]:
        return [answer.headers[f"x-ratelimit-{what}-images"] for what in ("limit", "remaining", "reset")]

    assert limit_headers(first) == ["4", "1", "1m0s"]
    assert limit_headers(bad) == limit_headers(full) == ["4", "1", "58.5s"]
    assert {answer.status_code for answer in free} == {200}
    assert not [name for name in free[0].headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize(("limit", "seconds"), [("1/s", 1), ("1/10s", 10), ("1/5min", 300), ("1/h", 3600)])
async def test_a_limit_may_have_any_window(connect: Connect, clock: Clock, limit: str, seconds: int) -> None:
    api, text = connect(limit=limit), {"1/s": "1/1s", "1/h": "1/1h"}.get(limit, limit)
    await api.generate()
    clock.now += seconds - 0.5

    refused = await api.generate()
    clock.now += 0.5

    assert f"Limit: {text}." in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "1"
    assert (await api.generate()).status_code == 200


@pytest.mark.parametrize("limit", ["", "50", "50/", "50/day", "x/min", "-1/min", "50/0s", "50/1.5s"])
def test_a_limit_that_cannot_be_parsed_raises_value_error(limit: str) -> None:
    with pytest.raises(ValueError, match="a limit reads like '50/min'"):
        create_app(limit=limit)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0ms"), (0.001, "1ms"), (0.12, "120ms"), (58.891, "58.891s"), (60, "1m0s"), (3723.5, "1h2m3.5s")],
)
def test_durations_have_the_format_of_the_api(seconds: float, text: str) -> None:
    assert duration(seconds) == text

"""The virtual clock: a test lets hours pass at once, in Python and over HTTP."""

from typing import Any

import httpx
import pytest

from imagesdk.emulator import Emulator
from tests.emulator.api import Api, Clock, Connect
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]


async def test_a_second_on_the_clock_refills_the_limit_and_ends_result_urls(connect: Connect) -> None:
    api = connect(limit="1/min")
    url = (await api.generate()).json()["data"][0]["url"]

    assert (await api.generate()).status_code == 429
    api.state.clock.advance(59)
    assert (await api.generate()).status_code == 429
    api.state.clock.advance(1)
    assert (await api.generate()).status_code == 200
    assert (await api.get(url)).status_code == 200
    api.state.clock.advance(3540)
    assert (await api.get(url)).status_code == 403


async def test_the_clock_advances_over_http(api: Api, clock: Clock) -> None:
    origin = "http://127.0.0.1:8000/_emulator/clock"

    assert (await api.get(origin)).json() == {"object": "clock", "now": clock.now}
    answer = await api.post(origin, json={"advance": 1.5})
    assert answer.json() == {"object": "clock", "now": clock.now + 1.5} == (await api.get(origin)).json()


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "advance"), ({"advance": "1"}, "advance"), ({"advance": -1}, "advance"), ({"x": 1}, "x")],
)
async def test_the_clock_refuses_what_is_no_time(api: Api, body: dict[str, Any], param: str) -> None:
    error = error_of(await api.post("http://127.0.0.1:8000/_emulator/clock", json=body))

    assert error["param"] == param


def test_an_emulator_advances_its_clock_and_a_reset_brings_it_back() -> None:
    stopped = Clock()
    with Emulator(clock=stopped) as emulator:
        emulator.advance(3600)
        now = httpx.get(f"{emulator.origin}/_emulator/clock").json()["now"]
        emulator.reset()
        assert (now, emulator.state.clock()) == (stopped.now + 3600, stopped.now)
        with pytest.raises(ValueError, match="at least 0, not -1"):
            emulator.advance(-1)

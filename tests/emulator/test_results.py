"""Result URLs: they work for an hour, and then fail like those of OpenAI's storage."""

from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import Element, fromstring

import httpx
import pytest

from imagesdk.emulator import EmulatorState
from imagesdk.emulator.results import ResultStore

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

Connect = Callable[..., httpx.AsyncClient]


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


async def a_url(api: httpx.AsyncClient) -> str:
    answer = await api.post(
        "/images/generations", json={"model": "dall-e-2", "prompt": "x", "size": "256x256"}
    )
    url: str = answer.json()["data"][0]["url"]
    return url


def xml_of(answer: httpx.Response) -> Element:
    assert answer.headers["content-type"].startswith("application/xml")
    return fromstring(answer.content)


async def test_a_result_url_has_the_origin_of_the_request_and_needs_no_key(connect: Connect) -> None:
    api = connect(host="localhost:4321", require_key=True)
    api.headers["authorization"] = "Bearer sk-x"
    url = await a_url(api)
    del api.headers["authorization"]

    answer = await api.get(url)

    assert url.startswith("http://localhost:4321/images/")
    assert urlsplit(url).path.endswith(".png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"\x89PNG")


async def test_a_result_url_works_for_an_hour_and_not_a_second_longer(connect: Connect, clock: Clock) -> None:
    api = connect()
    url = await a_url(api)

    clock.now += 3599
    assert (await api.get(url)).status_code == 200
    clock.now += 1
    answer = await api.get(url)

    assert answer.status_code == 403
    error = xml_of(answer)
    assert error.tag == "Error"
    assert error.findtext("Code") == "AuthenticationFailed"
    assert "Signature not valid in the specified time frame" in (
        error.findtext("AuthenticationErrorDetail") or ""
    )


async def test_an_expired_url_is_recognized_when_its_image_is_gone(
    connect: Connect, state: EmulatorState, clock: Clock
) -> None:
    api = connect()
    url = await a_url(api)
    clock.now += 3600
    await a_url(api)

    assert len(state.results) == 1
    assert (await api.get(url)).status_code == 403


async def test_a_url_contains_its_start_and_expiry(connect: Connect) -> None:
    query = parse_qs(urlsplit(await a_url(connect())).query)

    assert (query["st"], query["se"]) == (["2023-11-14T22:13:20Z"], ["2023-11-14T23:13:20Z"])


async def test_a_url_with_a_changed_expiry_is_rejected(connect: Connect, clock: Clock) -> None:
    api = connect()
    url = await a_url(api)
    clock.now += 3600

    answer = await api.get(url.replace("se=2023", "se=2033"))

    assert answer.status_code == 403
    assert xml_of(answer).findtext("AuthenticationErrorDetail") == "Signature did not match."


async def test_a_url_without_its_query_is_rejected(connect: Connect) -> None:
    api = connect()
    url = await a_url(api)

    assert (await api.get(url.partition("?")[0])).status_code == 403


async def test_an_image_that_was_deleted_is_not_found(connect: Connect, state: EmulatorState) -> None:
    api = connect()
    url = await a_url(api)
    state.reset()

    answer = await api.get(url)

    assert answer.status_code == 404
    assert xml_of(answer).findtext("Code") == "BlobNotFound"


def kept(store: ResultStore, urls: list[str]) -> list[bool]:
    """Say which images are still there."""
    found: list[bool] = []
    for url in urls:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        found.append(isinstance(store.get(parts.path.rpartition("/")[2], query), bytes))
    return found


def test_images_are_bounded_in_number_and_the_oldest_go_first(clock: Clock) -> None:
    store = ResultStore(clock, max_count=2)

    assert kept(store, [store.put(b"x") for _ in range(3)]) == [False, True, True]


def test_images_are_bounded_in_bytes_and_the_oldest_go_first(clock: Clock) -> None:
    store = ResultStore(clock, max_bytes=10)

    assert kept(store, [store.put(b"12345") for _ in range(3)]) == [False, True, True]

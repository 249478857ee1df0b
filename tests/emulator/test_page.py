"""What the page of the emulator is made of: its news, images and responses, and what it never shows or keeps."""

from __future__ import annotations

from typing import Any

import pytest

from imagesdk.emulator import EmulatorState
from imagesdk.emulator.exhibits import Exhibits
from tests.emulator.api import Api, Connect

pytestmark = pytest.mark.anyio

ORIGIN = "http://127.0.0.1:8000"


async def news_of(api: Api, query: str = "") -> dict[str, Any]:
    answer = await api.get(f"{ORIGIN}/_emulator/page{query}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_the_page_has_a_policy_and_loads_nothing_from_elsewhere(api: Api) -> None:
    answer = await api.get(f"{ORIGIN}/")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in answer.text
    assert "unsafe-inline" not in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert api.state.requests == []


@pytest.mark.usefixtures("tiny_drawings")
async def test_news_are_what_came_after_and_what_was_unfinished(api: Api) -> None:
    first = await news_of(api)
    assert (first["requests"], first["limit"], first["billed_images"]) == ([], None, 0)
    assert "gpt-image-2" in first["models"]
    assert "reset_after_work" in first["fault_names"]
    for prompt in ("one", "two", "three"):
        await api.generate(prompt=prompt)
    news = await news_of(api, "?after=2&open=1")
    assert [one["prompt"] for one in news["requests"]] == ["one", "three"]
    assert [one["kept"] for one in news["requests"]] == [1, 1]
    assert "models" not in news
    api.state.reset()
    assert (await news_of(api, "?after=3"))["epoch"] != first["epoch"]


@pytest.mark.parametrize(
    "query", ["?after=x&open=y,,1e3", "?after=-1", f"?after={'9' * 99}&open={'9' * 5000}", "?open="]
)
async def test_odd_questions_have_an_answer(api: Api, query: str) -> None:
    assert (await news_of(api, query))["requests"] == []


@pytest.mark.usefixtures("tiny_drawings")
async def test_the_gauge_shows_the_images_in_the_window_and_when_there_is_room(
    connect: Connect, clock: Any
) -> None:
    api = connect(limit="5/min")
    await api.generate(n=3)
    clock.now += 20
    assert (await news_of(api))["limit"] == {"limit": 5, "used": 3, "seconds": 60, "wait": 40.0}
    clock.now += 40
    assert (await news_of(api))["limit"] == {"limit": 5, "used": 0, "seconds": 60, "wait": None}


async def test_every_image_of_a_response_can_be_shown_and_an_svg_runs_no_script(api: Api) -> None:
    wanted = {"model": "gpt-image-2.6-flare", "output_format": "svg"}
    svg = await api.generate(**wanted, prompt="<script>alert(1)</script>")
    stream = await api.generate(model="gpt-image-1", stream=True, partial_images=2)
    for answer, kind, count in ((svg, "image/svg+xml", 1), (stream, "image/png", 3)):
        path = f"{ORIGIN}/_emulator/images/{answer.headers['x-request-id']}"
        images = [await api.get(f"{path}/{index}") for index in range(count)]
        assert {image.headers["content-type"].partition(";")[0] for image in images} == {kind}
        assert {image.headers["x-content-type-options"] for image in images} == {"nosniff"}
        assert all("sandbox" in image.headers["content-security-policy"] for image in images)
        assert (await api.get(f"{path}/{count}")).status_code == 404
    assert (await api.get(f"{ORIGIN}/_emulator/images/req_nothing/0")).status_code == 404


@pytest.mark.usefixtures("tiny_drawings")
async def test_a_response_is_shown_without_its_base64(api: Api) -> None:
    good = await api.generate(response_format="b64_json")
    bad = await api.generate(size="7x7")

    async def shown(answer: Any) -> Any:
        return (await api.get(f"{ORIGIN}/_emulator/answers/{answer.headers['x-request-id']}")).json()

    assert (await shown(bad))["text"] == bad.text
    found = await shown(good)
    assert (found["status"], found["size"]) == (200, len(good.content))
    assert '"b64_json":"iVBORw0KGgo' in found["text"]
    assert good.json()["data"][0]["b64_json"] not in found["text"]
    assert (await api.get(f"{ORIGIN}/_emulator/answers/req_nothing")).status_code == 404


@pytest.mark.usefixtures("tiny_drawings")
async def test_no_key_is_ever_shown(api: Api) -> None:
    key = "sk-this-is-a-key"
    await api.post(
        "/images/generations",
        json={"prompt": "x", "model": "dall-e-2"},
        headers={"authorization": f"Bearer {key}"},
    )
    news = await api.get(f"{ORIGIN}/_emulator/page")
    answer = await api.get(f"{ORIGIN}/_emulator/answers/{news.json()['requests'][0]['id']}")
    assert news.json()["requests"][0]["authorized"]
    assert key not in news.text + answer.text


def test_what_is_kept_does_not_grow_with_the_number_of_requests() -> None:
    exhibits = Exhibits(max_bytes=1000, max_requests=10)
    small = Exhibits(max_requests=10)
    for number in range(500):
        exhibits.keep_image(f"{number}", bytes(100))
        small.keep_image(f"{number}", b"1")
        answer = exhibits.begin_answer(f"{number}", 200, {})
        for _ in range(20):
            answer.add(bytes(1000))
        assert len(answer.head) + len(answer.tail) < 5000
    assert [number for number in range(500) if exhibits.count(f"{number}")] == list(range(490, 500))
    assert [number for number in range(500) if small.count(f"{number}")] == list(range(490, 500))
    assert [number for number in range(500) if exhibits.answer(f"{number}")] == list(range(490, 500))
    assert exhibits.answer("499").text().count("bytes …") == 1  # type: ignore[union-attr]
    exhibits.clear()
    assert exhibits.image("499", 0) is None


def test_a_short_body_is_kept_whole_however_it_is_cut() -> None:
    body = bytes(range(33, 123)) * 50
    for size in (1, 7, 2999, 4500):
        answer = Exhibits().begin_answer("x", 200, {})
        for start in range(0, 4500, size):
            answer.add(body[start : start + size])
        assert (answer.head + answer.tail, answer.size) == (body, 4500)


async def test_another_server_has_a_page_too_but_azure_no_prompt_field(connect: Connect) -> None:
    for quirks, path in (("localai", "/v1/images/generations"), ("azure", None)):
        api = connect(quirks=quirks)
        assert (await news_of(api))["generations"] == path
        assert (await api.get(f"{ORIGIN}/")).status_code == 200


async def test_a_page_of_another_site_cannot_reset_or_queue(api: Api, state: EmulatorState) -> None:
    for path in ("reset", "faults", "clock"):
        answer = await api.post(
            f"{ORIGIN}/_emulator/{path}", json={}, headers={"origin": "https://evil.example"}
        )
        assert answer.status_code == 403
    assert len(state.faults) == 0

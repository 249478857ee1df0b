"""Other servers of the Images API: each of the emulator's quirks over a real socket, and unusual responses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from imagesdk import (
    APIError,
    APIResponseError,
    APIStatusError,
    AsyncClient,
    BadRequestError,
    Caps,
    CompletedImage,
    Image,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
    UnprocessableEntityError,
)
from imagesdk.cli.parser import build
from imagesdk.emulator import Emulator, create_app
from imagesdk.emulator.quirks import QUIRKS
from tests.support.small_images import JPEG, WEBP, answer, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
MakeClient = Callable[..., AsyncClient]

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parents[1] / "samples" / "answers"
SAMPLES = sorted(FOLDER.glob("*.json"))
SERVERS = sorted(set(QUIRKS) - {"azure"})
EDITORS = [name for name in SERVERS if "multipart/form-data" in QUIRKS[name].accepts.get("edits", ())]
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """An emulator with the quirks that the test names, if it names any."""
    with Emulator(limit=None, quirks=getattr(request, "param", None)) as emulator:
        yield emulator


@pytest.fixture
async def client(client: AsyncClient) -> AsyncGenerator[AsyncClient, None]:
    """A client of the emulator, which is closed after the test."""
    async with client:
        yield client


@pytest.mark.parametrize("emulator", SERVERS, indirect=True, ids=SERVERS)
async def test_images_in_every_form_are_written_to_files(
    client: AsyncClient, emulator: Emulator, tmp_path: Path
) -> None:
    response = await client.images.generate("a white cat", model="flux", n=2, out=tmp_path)
    assert len(response) == 2
    assert response[0].bytes != response[1].bytes
    for image in response:
        assert image.path is not None
        assert image.to_pil().format == {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[image.path.suffix]
        assert image.to_pil().size == (image.width, image.height)
        assert image.media_type is not None
    assert response.cost is None
    assert emulator.state.billed_images == 2


@pytest.mark.parametrize("emulator", EDITORS, indirect=True, ids=EDITORS)
async def test_images_are_edited_by_servers_with_edits(client: AsyncClient) -> None:
    response = await client.images.edit([png(64, 64), png(32, 32)], "a hat", mask=png(64, 64), model="flux")
    assert len(await client.images.download(response[0])) > 100


@pytest.mark.parametrize(
    "emulator", [name for name in SERVERS if "edits" not in QUIRKS[name].accepts], indirect=True
)
async def test_a_missing_endpoint_is_named(client: AsyncClient, emulator: Emulator) -> None:
    with pytest.raises(NotFoundError, match="some servers have no edits or variations"):
        await client.images.edit(png(64, 64), "a hat", model="flux")
    with pytest.raises(NotFoundError):
        await client.images.create_variation(png(64, 64))
    assert emulator.state.billed_images == 0


@pytest.mark.parametrize("emulator", ["xai"], indirect=True)
async def test_xai_takes_edits_as_json_through_extra_body(client: AsyncClient) -> None:
    made = await client.request(
        "POST",
        "/images/edits",
        json={
            "prompt": "a hat",
            "model": "grok",
            "image": {"url": Image(media_type="image/png", data=png(64, 64)).data_url()},
        },
        images=1,
    )
    with pytest.raises(BadRequestError, match="Argument not supported: size"):
        await client.images.generate("a cat", model="grok", size="1024x1024")

    assert made.json()["data"][0]["mime_type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("emulator", "error", "message", "code"),
    [
        ("stable-diffusion.cpp", BadRequestError, "Invalid size 'huge'", None),
        ("vllm-omni", UnprocessableEntityError, "body.size: Invalid size 'huge'", None),
        ("sglang", UnprocessableEntityError, "body.size: Invalid size 'huge'", None),
        ("fastapi", UnprocessableEntityError, "body.size: Invalid size 'huge'", None),
        ("gemini", BadRequestError, "Invalid size 'huge'", "400"),
        ("litellm", BadRequestError, "Invalid size 'huge'", "invalid_value"),
        ("together", BadRequestError, "Invalid size 'huge'", "invalid_value"),
        ("deepinfra", BadRequestError, "Invalid size 'huge'", "invalid_value"),
    ],
    indirect=["emulator"],
)
async def test_errors_are_read_in_the_shape_of_each_server(
    client: AsyncClient, error: type[APIStatusError], message: str, code: str | None
) -> None:
    with pytest.raises(error, match=message) as caught:
        await client.images.generate("a cat", model="flux", size="huge")
    assert caught.value.code == code


@pytest.mark.parametrize("emulator", ["fastapi"], indirect=True)
@pytest.mark.parametrize(
    ("name", "value", "text"), [("n", 5, "value <= 4"), ("size", "2048x1024", "size '2048")]
)
async def test_a_server_with_limits_of_its_own_names_the_parameter_with_a_422(
    client: AsyncClient, emulator: Emulator, name: str, value: int | str, text: str
) -> None:
    limits: dict[str, Any] = {name: value}
    with pytest.raises(UnprocessableEntityError, match=f"body.{name}: .*{text}"):
        await client.images.generate("a cat", **limits)
    assert emulator.state.billed_images == 0


async def test_the_cooldown_of_litellm_is_read_as_a_time_to_wait(make_client: MakeClient) -> None:
    with Emulator(limit="1/h", quirks="litellm") as emulator:
        async with make_client(emulator.base_url, retry=ONCE, rate_limit=None) as client:
            await client.images.generate("a cat", size="64x64")
            with pytest.raises(RateLimitError, match="Rate limit exceeded"):
                await client.images.generate("a cat", size="64x64")
            with pytest.raises(RateLimitError, match="No deployments available") as caught:
                await client.images.generate("a cat", size="64x64")
    assert caught.value.retry_after == 5
    assert caught.value.code == "429"


async def test_a_rate_limit_error_has_the_wait_that_google_asks_for(make_client: MakeClient) -> None:
    with Emulator(limit="1/min", quirks="gemini") as emulator:
        async with make_client(emulator.base_url, retry=ONCE) as client:
            await client.images.generate("a cat", model="imagen")
            with pytest.raises(RateLimitError) as caught:
                await client.images.generate("a cat", model="imagen")
    assert caught.value.code == "429"
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 60


@pytest.mark.parametrize("emulator", ["gateway"], indirect=True)
async def test_an_error_within_a_success_is_an_error(client: AsyncClient) -> None:
    with pytest.raises(InternalServerError, match="The server answered 200"):
        await client.with_options(retry=ONCE).images.generate("a cat", n=11)
    with pytest.raises(NotFoundError, match="404 Not Found"):
        await client.images.create_variation(png(64, 64))


@pytest.mark.parametrize("emulator", ["localai"], indirect=True)
async def test_localai_returns_urls_zeros_and_fields_of_its_own(
    client: AsyncClient, emulator: Emulator
) -> None:
    response = await client.images.generate("a cat", model="gpt-image-2", size="auto", extra_body={"step": 5})
    assert response[0].url is not None
    assert response[0].url.startswith(f"{emulator.origin}/generated-images/")
    assert response[0].extra == {"index": 0, "embedding": None}
    assert response.extra == {"id": "0f9a"}
    assert response.usage is not None
    assert response.usage.total_tokens == 0
    assert response.usage.extra == {"prompt_tokens": 0, "completion_tokens": 0}
    assert response.cost is None
    assert len(await client.images.download(response[0])) > 100


@pytest.mark.parametrize("emulator", ["sglang"], indirect=True)
async def test_relative_urls_belong_to_the_server(client: AsyncClient) -> None:
    response = await client.images.generate("a cat", extra_body={"seed": 7, "num_inference_steps": 4})
    assert (response[0].url or "").startswith("/v1/images/")
    assert (await client.images.download(response[0])).startswith(b"\x89PNG")
    assert response.usage is not None
    assert response.usage.extra == {"image_count": 1}


@pytest.mark.parametrize("emulator", ["vllm-omni"], indirect=True)
async def test_a_response_may_be_the_bytes_of_an_image(client: AsyncClient, tmp_path: Path) -> None:
    in_memory = await client.images.generate("a cat", response_format="file", size="256x128")
    on_disk = await client.images.generate(
        "a cat", response_format="file", size="256x128", out=tmp_path / "cat.png"
    )
    assert [(image.width, image.height) for image in in_memory] == [(256, 128)]
    assert in_memory[0].bytes == (tmp_path / "cat.png").read_bytes() == on_disk[0].bytes
    assert in_memory.request_id is not None
    with pytest.raises(UnprocessableEntityError, match="response_format"):
        await client.images.generate("a cat", response_format="url")


@pytest.mark.parametrize("emulator", ["gateway", "litellm"], indirect=True)
async def test_a_response_without_a_stream_is_the_last_event(client: AsyncClient) -> None:
    async with client.images.generate_stream("a cat", model="flux", partial_images=2) as stream:
        events = [event async for event in stream]
    assert [type(event) for event in events] == [CompletedImage]


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", ""])
async def test_the_bytes_of_an_image_are_recognised_under_any_content_type(
    content_type: str, make_client: MakeClient
) -> None:
    handler = always(png(padding=100_000), content_type=content_type)
    async with serving(handler) as server, make_client(server.base_url) as client:
        response = await client.images.generate("a cat")
        with pytest.raises(APIResponseError, match="larger than 1000 bytes"):
            await client.with_options(caps=Caps(image=1000)).images.generate("a cat")
    assert response[0].bytes == png(padding=100_000)


async def test_the_bytes_of_an_image_are_recognised_in_single_bytes(make_client: MakeClient) -> None:
    async def drip(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-type: image/webp\r\ntransfer-encoding: chunked\r\n\r\n")
        for byte in WEBP:
            await talk.send(b"1\r\n%c\r\n" % byte)
        await talk.send(b"0\r\n\r\n")

    async with serving(drip) as server, make_client(server.base_url) as client:
        response = await client.images.generate("a cat")

    assert (response[0].media_type, response[0].bytes) == ("image/webp", WEBP)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html><body>It works</body></html>", "text/html"),
        (b"<html><body>It works</body></html>", "image/png"),
        (b"no image today", "image/png"),
        (b"", "image/png"),
    ],
)
async def test_a_response_that_is_only_labelled_as_an_image_is_an_error(
    body: bytes, content_type: str, make_client: MakeClient
) -> None:
    async with serving(always(body, content_type=content_type)) as server:
        async with make_client(server.base_url, retry=ONCE) as client:
            with pytest.raises(APIResponseError):
                await client.images.generate("a cat")


async def test_json_that_is_labelled_as_an_image_is_json(make_client: MakeClient) -> None:
    async with serving(always(answer(JPEG), content_type="image/jpeg")) as server:
        async with make_client(server.base_url) as client:
            response = await client.images.generate("a cat")
    assert (response[0].width, response[0].height) == (3, 2)


@pytest.mark.parametrize(
    ("base_url", "hint"),
    [
        ("http://127.0.0.1:{port}", "http://127.0.0.1:{port}/v1"),
        ("http://127.0.0.1:{port}/api/", "http://127.0.0.1:{port}/api/v1"),
        ("http://127.0.0.1:{port}/v1/other", None),
        ("http://127.0.0.1:{port}/v1beta/openai", None),
    ],
)
async def test_a_404_suggests_the_version_that_the_base_url_lacks(
    base_url: str, hint: str | None, emulator: Emulator, make_client: MakeClient
) -> None:
    async with make_client(base_url.format(port=emulator.port)) as client:
        for call in (client.images.generate("a cat"), client.files.list(), client.request("GET", "/models")):
            with pytest.raises(APIStatusError) as caught:
                await call
            assert caught.value.status_code in {404, 405}
            if hint is None:
                assert "Check base_url" in caught.value.message
            else:
                assert caught.value.message.endswith(f"Try base_url='{hint.format(port=emulator.port)}'.")


async def test_a_missing_model_is_not_an_error_of_the_base_url(make_client: MakeClient) -> None:
    body = json.dumps({"error": {"message": "no such model", "code": "model_not_found"}}).encode()
    async with serving(always(body, 404)) as server, make_client(server.origin) as client:
        with pytest.raises(NotFoundError, match="Check the name of the model"):
            await client.images.generate("a cat", model="flux")


@pytest.mark.parametrize("quirks", ["localai", "litellm"])
async def test_servers_without_a_version_in_their_paths_work_without_one(
    quirks: str, make_client: MakeClient
) -> None:
    with Emulator(limit=None, quirks=quirks) as emulator:
        async with make_client(emulator.origin) as client:
            response = await client.images.generate("a cat", size="256x256")
            assert len(await client.images.download(response[0])) > 100


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@respx.mock
async def test_a_recorded_response_is_parsed(path: Path, make_client: MakeClient) -> None:
    sample = json.loads(path.read_text(encoding="utf-8"))
    assert sample["source"]
    expected = sample["expected"]
    base_url = sample["base_url"]
    respx.post(f"{base_url}/images/generations").respond(json=sample["body"], headers=sample["headers"])
    fetched = respx.get(expected.get("fetches", "https://none.test")).respond(content=png())

    async with make_client(base_url) as client:
        if "error" in expected:
            with pytest.raises(APIError, match=expected["says"]) as caught:
                await client.with_options(retry=ONCE).images.generate("a cat")
            assert type(caught.value).__name__ == expected["error"]
            return
        response = await client.images.generate("a cat")
        for image in response:
            assert await client.images.download(image)

    assert [image.media_type for image in response] == expected["media_types"]
    assert [dict(image.extra) for image in response] == expected["entries"]
    assert response.extra == expected["extra"]
    assert (response.created is not None) is ("created" in sample["body"])
    assert fetched.called is ("fetches" in expected)


def test_each_server_has_a_recorded_response() -> None:
    recorded = {json.loads(path.read_text(encoding="utf-8"))["server"] for path in SAMPLES}
    assert recorded == set(QUIRKS)
    assert all(quirk.source for quirk in QUIRKS.values())


def test_an_unknown_server_is_refused_with_the_known_ones() -> None:
    for make in (create_app, Emulator):
        with pytest.raises(ValueError, match=r"quirks is one of azure, deepinfra, .*, not 'ollama'"):
            make(quirks="ollama")


def test_the_command_serves_another_server() -> None:
    assert build().parse_args(["serve", "--quirks", "localai"]).quirks == "localai"
    command = [sys.executable, "-m", "imagesdk", "serve", "--port", "0"]
    refused = subprocess.run([*command, "--quirks", "ollama"], check=False, cwd=ROOT, capture_output=True)
    assert refused.returncode == 2
    assert b"quirks is one of azure" in refused.stderr
    with subprocess.Popen(
        [*command, "--quirks", "gemini"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as served:
        try:
            assert served.stdout is not None
            base_url = served.stdout.readline().strip()
            models = httpx.get(f"{base_url}/models")
        finally:
            served.terminate()
    assert base_url.endswith("/v1beta/openai")
    assert models.status_code == 200

"""``client.provenance`` and ``client.models``: against the emulator over a socket, and with wrong responses."""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import respx
from PIL import Image as Pillow

from imagesdk import (
    APIResponseError,
    APITimeoutError,
    AsyncClient,
    Client,
    DownloadError,
    InvalidRequestError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
)
from imagesdk.emulator import Emulator
from tests.support.small_images import png
from tests.support.socket_servers import always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
MakeClient = Callable[..., AsyncClient]
SMALL = {"model": "dall-e-2", "size": "256x256"}
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
async def client(emulator: Emulator, make_client: MakeClient) -> AsyncGenerator[AsyncClient, None]:
    async with make_client(emulator.base_url) as client:
        yield client


async def test_an_image_of_the_model_is_detected_in_every_form_that_an_edit_takes(
    client: AsyncClient, tmp_path: Path
) -> None:
    by_url = (await client.images.generate("a cat", response_format="url", **SMALL))[0]
    data = await client.images.download(by_url, to=tmp_path / "cat.png")
    uploaded = await client.files.upload(data)
    forms: list[Any] = [
        data,
        tmp_path / "cat.png",
        str(tmp_path / "cat.png"),
        io.BytesIO(data),
        ("cat.png", data),
        f"data:image/png;base64,{base64.b64encode(data).decode()}",
        by_url,
        by_url.url,
        attrs.evolve(by_url, data=data, url=None),
        uploaded,
    ]
    for form in forms:
        check = await client.provenance.check(form)
        assert check.detected, form
        assert check.synthid is not None
        assert (check.synthid.model, check.synthid.detected) == ("dall-e-2", True)
        assert check.synthid.generated_at is not None


async def test_an_image_of_no_model_has_no_signal(client: AsyncClient) -> None:
    for image in (png(), Pillow.new("RGB", (8, 8))):
        check = await client.provenance.check(image)
        assert not check.detected
        assert [signal.type for signal in check.results] == ["c2pa", "synthid"]
        assert check.c2pa is not None
        assert check.c2pa.validation_state == "not_present"
        assert check.created is not None
        assert pickle.loads(pickle.dumps(check)) == check


def test_the_blocking_client_checks_and_lists_too(emulator: Emulator) -> None:
    with Client(base_url=emulator.base_url, api_key="") as client:
        made = client.images.generate("a cat", **SMALL, response_format="b64_json")[0]
        assert client.provenance.check(made).detected
        assert client.models.retrieve("dall-e-2") in client.models.list()


ANSWER = {
    "object": "content_provenance_check",
    "created_at": 1_764_000_000,
    "results": [
        {
            "type": "c2pa",
            "outcome": "detected",
            "issuer": "OpenAI",
            "model": "gpt-image-2",
            "generated_at": "2026-11-24T12:00:00Z",
            "validation_state": "trusted",
            "new": 1,
        },
        {"type": "audio", "outcome": "not_detected", "generated_at": "some day"},
    ],
}


@respx.mock
async def test_the_request_is_a_form_with_the_file_and_every_field_of_the_answer_is_read(
    make_client: MakeClient,
) -> None:
    route = respx.post("https://api.openai.com/v1/content_provenance_checks").respond(json=ANSWER)
    async with make_client("https://api.openai.com/v1", api_key="k") as client:
        check = await client.provenance.check(("cat.png", png()))

    [call] = route.calls
    assert call.request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="cat.png"' in call.request.content
    assert b"content-type: image/png" in call.request.content.lower()
    signed, other = check.results
    assert (signed.issuer, signed.model, signed.validation_state) == ("OpenAI", "gpt-image-2", "trusted")
    assert signed.generated_at == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert (check.c2pa, check.synthid, check.detected) == (signed, None, True)
    assert (other.generated_at, other.detected, dict(signed.extra)) == (None, False, {"new": 1})


async def test_a_check_is_free_and_waits_for_no_image_limit(
    emulator: Emulator, make_client: MakeClient
) -> None:
    async with make_client(emulator.base_url, rate_limit=RateLimit(1, per=3600)) as client:
        await client.images.generate("a cat", **SMALL)
        emulator.state.faults.http(429, headers={"retry-after": "0"}, on="checks")
        emulator.state.faults.http(503, on="checks")
        assert not (await client.provenance.check(png(), timeout=30)).detected
        emulator.state.faults.http(429, on="checks")
        with pytest.raises(RateLimitError) as caught:
            await client.with_options(retry=ONCE).provenance.check(png())
    assert not caught.value.maybe_billed


async def test_what_is_no_image_or_cannot_be_fetched_is_refused(
    client: AsyncClient, emulator: Emulator, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match="image is empty"):
        await client.provenance.check(b"")
    with pytest.raises(FileNotFoundError):
        await client.provenance.check(tmp_path / "missing.png")
    with pytest.raises(DownloadError, match="not https"):
        await client.provenance.check("http://192.0.2.1/cat.png")
    with pytest.raises(InvalidRequestError):
        await client.models.retrieve(" ")
    assert emulator.state.requests == []


async def test_a_server_without_the_endpoint_is_a_not_found_error(make_client: MakeClient) -> None:
    with Emulator(quirks="localai") as emulator:
        async with make_client(emulator.base_url) as client:
            with pytest.raises(NotFoundError):
                await client.provenance.check(png())


@pytest.mark.parametrize(
    "body", ["{}", '{"results": [1]}', '{"results": [{}]}', "[]", '{"data": 1}', '{"id": 1}']
)
async def test_another_answer_cannot_be_read(make_client: MakeClient, body: str) -> None:
    async with serving(always(body.encode())) as server, make_client(server.base_url, retry=ONCE) as client:
        with pytest.raises(APIResponseError):
            await client.provenance.check(png())
        with pytest.raises(APIResponseError):
            await client.models.retrieve("x")
        if body != "[]":
            with pytest.raises(APIResponseError):
                await client.models.list()


async def test_one_time_limit_holds_for_the_download_and_the_check(
    client: AsyncClient, emulator: Emulator
) -> None:
    image = (await client.images.generate("a cat", response_format="url", **SMALL))[0]
    emulator.state.faults.connection(delay=60, on="checks")
    with pytest.raises(APITimeoutError):
        await client.provenance.check(image, timeout=0.2)


async def test_the_models_of_the_server_have_the_dates_that_it_names(client: AsyncClient) -> None:
    served = {model.id: model for model in await client.models.list()}
    assert served["gpt-image-1.5"].shut_down == date(2026, 12, 1)
    assert served["gpt-image-2"].shut_down is None
    assert served["gpt-image-2"].created == datetime(2026, 4, 21, tzinfo=UTC)
    assert await client.models.retrieve("gpt-image-1.5") == served["gpt-image-1.5"]
    with pytest.raises(NotFoundError):
        await client.models.retrieve("dall-e-9")


@respx.mock
async def test_models_without_dates_and_lists_without_an_object_are_read(make_client: MakeClient) -> None:
    listed = [{"id": "black-forest/FLUX.1", "shutdown_date": "soon", "link": "x"}]
    respx.get("http://127.0.0.1:9/v1/models").respond(json=listed)
    one = respx.get(url__regex=r".*/models/black-forest%2FFLUX[.]1\Z").respond(json=listed[0])
    async with make_client("http://127.0.0.1:9/v1") as client:
        [model] = await client.models.list()
        assert await client.models.retrieve(model.id) == model
    assert (model.created, model.owned_by, model.shut_down, dict(model.extra)) == (
        None,
        None,
        None,
        {"link": "x"},
    )
    assert one.called


def test_the_emulator_checks_provenance_as_the_api_describes_it(emulator: Emulator) -> None:
    import openai

    with openai.OpenAI(base_url=emulator.base_url, api_key="k", max_retries=0) as client:
        found = client.content_provenance_checks.create(file=("x.png", png(), "image/png"))
        assert [result.type for result in found.results] == ["c2pa", "synthid"]
        assert [result.outcome for result in found.results] == ["not_detected"] * 2
        for file, code in ((b"hello", "unsupported_file_mimetype"), (b"<svg/>", "unsupported_file_mimetype")):
            with pytest.raises(openai.BadRequestError) as caught:
                client.content_provenance_checks.create(file=("x", file))
            assert caught.value.code == code
        with_manifest = png() + b"\0caBX c2pa"
        [c2pa, _] = client.content_provenance_checks.create(file=("x.png", with_manifest)).results
        assert json.loads(c2pa.to_json())["validation_state"] == "valid"
        streamed = client.images.generate(
            model="gpt-image-2", prompt="x", size="1024x640", quality="low", stream=True
        )
        data = [base64.b64decode(event.b64_json) for event in streamed]
        [_, synthid] = client.content_provenance_checks.create(file=("x.png", data[-1])).results
        assert (synthid.outcome, synthid.model) == ("detected", "gpt-image-2")

"""Responses: complete for a good body, and an error of the package for a bad one of any shape."""

from __future__ import annotations

import base64
import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import respx

from imagesdk import (
    APIResponseError,
    AsyncClient,
    BadRequestError,
    Caps,
    ModerationError,
    PermissionDeniedError,
    QuotaExceededError,
    RetryPolicy,
    SvgUsage,
    Usage,
)
from imagesdk.emulator import Emulator
from tests.support.small_images import answer, png

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

OWN = "https://images.test/v1"
SMALL = png(2, 2)
WIDE = png(4, 2)
SUNBURST: dict[str, Any] = {"model": "gpt-image-2.5-sunburst", "quality": "low", "size": "1024x1024"}
FLARE: dict[str, Any] = {"model": "gpt-image-2.6-flare", "quality": "low", "size": "1024x1024"}


NO_JSON = [b"", b"<html>hello</html>", b'{"data": [', b"\xff\xfe"]


@pytest.mark.parametrize("body", [*NO_JSON, b"[]", b"null", b'{"created": 1}', b'{"data": {}}'])
async def test_a_success_without_a_valid_body_is_an_api_response_error(
    wire: respx.MockRouter, make_client: Callable[..., AsyncClient], body: bytes
) -> None:
    wire.post(f"{OWN}/images/generations").respond(content=body, headers={"x-request-id": "req_1"})
    async with make_client(OWN, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(APIResponseError) as caught:
            await client.images.generate("a cat")
    assert caught.value.maybe_billed
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"error": "no cats"}', "no cats"),
        (422, b'{"detail": [{"loc": ["body", "n"], "msg": "too many"}]}', "body.n: too many"),
        (404, b"<html><title>Not here</title></html>", "Not here"),
        (418, b"", "418"),
        (403, b"[" * 5000, "403"),
        (400, b'{"error": {"message": {"a": 1}, "code": 7}}', "400"),
    ],
)
async def test_an_error_of_any_shape_is_a_status_error_with_its_message(
    wire: respx.MockRouter, own: AsyncClient, status: int, body: bytes, message: str
) -> None:
    wire.post(f"{OWN}/images/generations").respond(status, content=body)
    with pytest.raises(Exception, match=message) as caught:
        await own.images.generate("a cat")
    assert getattr(caught.value, "status_code", None) == status


async def test_an_error_wrapped_in_a_success_is_an_error(wire: respx.MockRouter, own: AsyncClient) -> None:
    route = wire.post(f"{OWN}/images/generations")
    route.respond(200, json={"error": {"message": "no such size", "param": "size"}})
    with pytest.raises(BadRequestError, match="no such size") as caught:
        await own.images.generate("a cat")
    assert (caught.value.status_code, caught.value.param) == (200, "size")
    assert not caught.value.maybe_billed
    route.respond(200, json={"error": {"message": "no", "code": "moderation_blocked"}})
    with pytest.raises(ModerationError):
        await own.images.generate("a cat")


async def test_a_compressed_response_is_read_although_it_was_not_requested(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    packed = gzip.compress(answer(SMALL))
    route = wire.post(f"{OWN}/images/generations")
    route.respond(content=packed, headers={"content-encoding": "gzip"})
    response = await own.images.generate("a cat")
    assert response[0].bytes == SMALL
    route.respond(content=packed[:-4], headers={"content-encoding": "gzip"})
    with pytest.raises(APIResponseError, match="too early"):
        await own.images.generate("a cat")


async def test_a_response_has_its_images_and_the_facts_about_the_call(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    route = wire.post(f"{OWN}/images/generations")
    route.respond(content=answer(SMALL, WIDE), headers={"X-Request-Id": "req_1"})
    response = await own.images.generate("a cat", n=2, model="gpt-image-2")
    facts = [(image.index, image.width, image.media_type, image.bytes) for image in response]
    assert facts == [(0, 2, "image/png", SMALL), (1, 4, "image/png", WIDE)]
    assert (response.request_id, response.headers["x-request-id"]) == ("req_1", "req_1")
    assert (response.attempts, response.maybe_billed_before, response.extra) == (1, False, {})


async def test_no_field_of_a_response_is_lost(wire: respx.MockRouter, own: AsyncClient) -> None:
    document = {
        "created": 1763900000,
        "size": "1024x1024",
        "quality": "max",
        "background": "opaque",
        "output_format": "svg",
        "safety_identifier": "user-1",
        "usage": {
            "input_tokens": 1,
            "output_tokens": 2,
            "total_tokens": 3,
            "input_tokens_details": {"text_tokens": 4, "image_tokens": 5, "cached_tokens": 6},
            "output_tokens_details": {"text_tokens": 7, "image_tokens": 8, "reasoning_tokens": 9},
            "image_count": 10,
        },
        "svg_usage": {
            "model": "m",
            "input_tokens": 11,
            "output_tokens": 12,
            "reasoning_tokens": 13,
            "total_tokens": 14,
            "cached_tokens": 15,
        },
        "id": "gen-1",
        "timing": {"seconds": 1.5, "steps": [1, None]},
    }
    image = {
        "b64_json": base64.b64encode(SMALL).decode(),
        "revised_prompt": "a cat",
        "seed": 7,
        "tags": {"a": [1]},
    }
    wire.post(f"{OWN}/images/generations").respond(json={**document, "data": [image]})

    response = await own.images.generate("a cat")

    assert [response.size, response.quality, response.background] == ["1024x1024", "max", "opaque"]
    assert (response.output_format, response.safety_identifier) == ("svg", "user-1")
    assert response.created is not None
    assert response.created.timestamp() == document["created"]
    assert response.usage == Usage(
        *(1, 2, 3, 4, 5, 7, 8),
        extra={
            "input_tokens_details": {"cached_tokens": 6},
            "output_tokens_details": {"reasoning_tokens": 9},
            "image_count": 10,
        },
    )
    assert response.svg_usage == SvgUsage("m", 11, 12, 13, 14, extra={"cached_tokens": 15})
    assert response.extra == {"id": document["id"], "timing": document["timing"]}
    assert (response[0].bytes, response[0].revised_prompt) == (SMALL, "a cat")
    assert response[0].extra == {"seed": 7, "tags": {"a": [1]}}
    assert pickle.loads(pickle.dumps(response)) == response


@pytest.mark.parametrize(("caps", "most"), [(Caps(image=50), 50), (Caps(response=100), 100)])
async def test_a_response_larger_than_a_cap_is_aborted_and_not_retried(
    wire: respx.MockRouter, make_client: Callable[..., AsyncClient], caps: Caps, most: int
) -> None:
    route = wire.post(f"{OWN}/images/generations").respond(content=answer(SMALL))
    async with make_client(OWN, caps=caps, retry=RetryPolicy(max_ambiguous=3)) as client:
        with pytest.raises(APIResponseError, match=f"larger than {most} bytes.* caps=Caps") as caught:
            await client.images.generate("a cat")
    assert (route.call_count, caught.value.maybe_billed) == (1, True)


@pytest.mark.parametrize("word", ["forbidden", "censored"])
async def test_a_moderation_error_names_the_stage_and_the_categories(client: AsyncClient, word: str) -> None:
    with pytest.raises(ModerationError) as caught:
        await client.images.generate(f"a {word} city", **SUNBURST)
    assert caught.value.stage == {"forbidden": "input", "censored": "output"}[word]
    assert caught.value.categories


async def test_errors_of_quota_and_verification_say_what_to_do(
    client: AsyncClient, emulator: Emulator
) -> None:
    for error in ("insufficient_quota", "billing_hard_limit_reached"):
        emulator.state.faults.http(error=error)
        with pytest.raises(QuotaExceededError, match="waiting does not help"):
            await client.images.generate("a cat", **SUNBURST)
    emulator.state.faults.http(error="organization_unverified")
    with pytest.raises(PermissionDeniedError, match="verif"):
        await client.images.generate("a cat", **SUNBURST)
    assert len(emulator.state.requests) == 3


async def test_a_stream_that_is_refused_midway_is_a_moderation_error(client: AsyncClient) -> None:
    with pytest.raises(ModerationError) as caught:
        async with client.images.generate_stream("a censored city", partial_images=2, **SUNBURST) as stream:
            await stream.final()
    assert caught.value.stage == "output"
    assert caught.value.maybe_billed


async def test_an_empty_image_among_others_is_missing_and_the_others_are_there(
    wire: respx.MockRouter, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    whole = base64.b64encode(SMALL).decode()
    data = [{"url": "data:image/png;base64,"}, {"b64_json": whole}, {"b64_json": "\n"}]
    wire.post(f"{OWN}/images/generations").respond(json={"data": data})
    async with make_client(OWN) as client:
        response = await client.images.generate("a cat", n=3)
        saved = await client.images.generate("a cat", n=3, out=tmp_path / "images")
    assert [image.bytes for image in response] == [SMALL]
    assert response.missing == 2
    assert [*(tmp_path / "images").iterdir()] == [saved[0].path]


async def test_base64_is_read_under_the_keys_of_other_servers(
    wire: respx.MockRouter, make_client: Callable[..., AsyncClient]
) -> None:
    whole = base64.b64encode(SMALL).decode()
    for body in (
        {"result": {"image": whole}},
        {"images": [whole], "info": "{}"},
        {"artifacts": [{"base64": whole}]},
    ):
        wire.post(f"{OWN}/images/generations").respond(json=body)
        async with make_client(OWN) as client:
            response = await client.images.generate("a cat")
        assert [image.bytes for image in response] == [SMALL]

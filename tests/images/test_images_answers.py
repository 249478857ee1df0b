"""What comes back: good answers told in full, and bad ones of any shape as errors of ours."""

from __future__ import annotations

import base64
import gzip
import os
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import respx

from imagesdk import (
    APIResponseError,
    AsyncClient,
    BadRequestError,
    Caps,
    ModerationError,
    RetryPolicy,
    SvgUsage,
    Usage,
)
from tests.support.small_images import answer, png

pytestmark = pytest.mark.anyio

OWN = "https://images.test/v1"
SMALL = png(2, 2)
WIDE = png(4, 2)


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock as wire:
        yield wire


@pytest.fixture
async def client(make_client: Callable[..., AsyncClient]) -> AsyncIterator[AsyncClient]:
    async with make_client(OWN) as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"[]",
        b"null",
        b'{"created": 1}',
        b'{"data": {}}',
        b'{"data": [',
        b"\xff\xfe",
    ],
)
async def test_a_success_that_is_no_answer_is_an_error_of_ours(
    wire: respx.MockRouter, make_client: Callable[..., AsyncClient], body: bytes
) -> None:
    wire.post(f"{OWN}/images/generations").respond(content=body, headers={"x-request-id": "req_1"})

    async with make_client(OWN, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(APIResponseError) as caught:
            await client.images.generate("a cat")

    assert caught.value.maybe_billed
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"error": "no cats"}', "no cats"),
        (422, b'{"detail": [{"loc": ["body", "n"], "msg": "too many"}]}', "body.n: too many"),
        (404, b"<html><title>Not here</title></html>", "Not here"),
        (418, b"", "418"),
        (403, b"[" * 5000, "403"),
        (400, b'{"error": {"message": {"a": 1}, "code": 7}}', "400"),
    ],
)
async def test_an_error_of_any_shape_is_a_status_error_with_its_words(
    wire: respx.MockRouter, client: AsyncClient, status: int, body: bytes, said: str
) -> None:
    wire.post(f"{OWN}/images/generations").respond(status, content=body)

    with pytest.raises(Exception, match=said) as caught:
        await client.images.generate("a cat")

    assert getattr(caught.value, "status_code", None) == status


async def test_an_error_wrapped_in_a_success_is_an_error(wire: respx.MockRouter, client: AsyncClient) -> None:
    route = wire.post(f"{OWN}/images/generations")

    route.respond(200, json={"error": {"message": "no such size", "param": "size"}})
    with pytest.raises(BadRequestError, match="no such size") as caught:
        await client.images.generate("a cat")
    assert (caught.value.status_code, caught.value.param) == (200, "size")
    assert not caught.value.maybe_billed

    route.respond(200, json={"error": {"message": "no", "code": "moderation_blocked"}})
    with pytest.raises(ModerationError):
        await client.images.generate("a cat")


async def test_a_compressed_answer_is_read_though_it_was_not_asked_for(
    wire: respx.MockRouter, client: AsyncClient
) -> None:
    packed = gzip.compress(answer(SMALL))
    route = wire.post(f"{OWN}/images/generations")

    route.respond(content=packed, headers={"content-encoding": "gzip"})
    response = await client.images.generate("a cat")
    assert response[0].bytes == SMALL

    route.respond(content=packed[:-4], headers={"content-encoding": "gzip"})
    with pytest.raises(APIResponseError, match="too early"):
        await client.images.generate("a cat")


async def test_the_answer_is_told_in_full(wire: respx.MockRouter, client: AsyncClient) -> None:
    usage = {"input_tokens": 10, "output_tokens": 100, "total_tokens": 110}
    details = {"text_tokens": 10, "image_tokens": 0}
    body = answer(
        SMALL, WIDE, size="1024x1024", usage={**usage, "input_tokens_details": details}, model_hash="x"
    )
    wire.post(f"{OWN}/images/generations").respond(content=body, headers={"X-Request-Id": "req_1"})

    response = await client.images.generate("a cat", n=2, model="gpt-image-2")

    assert [(image.index, image.width, image.media_type) for image in response] == [
        (0, 2, "image/png"),
        (1, 4, "image/png"),
    ]
    assert [image.bytes for image in response] == [SMALL, WIDE]
    assert (response.request_id, response.size, response.attempts) == ("req_1", "1024x1024", 1)
    assert response.usage is not None
    assert response.usage.output_tokens == 100
    assert response.cost is None  # the maker's prices are not this server's
    assert response.headers["x-request-id"] == "req_1"
    assert response.extra == {"model_hash": "x"}
    assert not response.maybe_billed_before


@pytest.mark.parametrize(
    ("caps", "said"), [(Caps(image=50), "an image"), (Caps(response=100), "the response")]
)
async def test_an_answer_beyond_a_cap_is_given_up_and_never_paid_for_again(
    wire: respx.MockRouter, make_client: Callable[..., AsyncClient], caps: Caps, said: str
) -> None:
    route = wire.post(f"{OWN}/images/generations").respond(content=answer(SMALL))

    async with make_client(OWN, caps=caps, retry=RetryPolicy(max_ambiguous=3)) as client:
        with pytest.raises(APIResponseError, match=f"{said} is larger than .* caps=Caps") as caught:
            await client.images.generate("a cat")

    assert (route.call_count, caught.value.maybe_billed) == (1, True)


async def test_a_list_of_pictures_by_another_name_is_not_thrown_away(
    wire: respx.MockRouter, client: AsyncClient, tmp_path: Path
) -> None:
    body = answer(SMALL, WIDE).replace(b'"data"', b'"images"')
    wire.post(f"{OWN}/images/generations").respond(content=body)

    response = await client.images.generate("a cat", n=2, out=tmp_path)

    assert [image.path.read_bytes() for image in response if image.path] == [SMALL, WIDE]


async def test_a_folder_that_cannot_be_written_to_is_found_out_before_anything_is_paid(
    wire: respx.MockRouter, client: AsyncClient, tmp_path: Path
) -> None:
    route = wire.post(f"{OWN}/images/generations").respond(content=answer(SMALL))
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(NotADirectoryError):
        await client.images.generate("a cat", out=tmp_path / "file" / "cats")

    assert route.call_count == 0


async def test_files_last_before_the_call_returns_where_that_is_asked_for(
    wire: respx.MockRouter,
    make_client: Callable[..., AsyncClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire.post(f"{OWN}/images/generations").respond(content=answer(SMALL, WIDE))
    synced: list[int] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", fsync)

    async with make_client(OWN) as client:
        await client.images.generate("a cat", n=2, out=tmp_path)
        assert synced == []
    async with make_client(OWN, fsync=True) as client:
        await client.images.generate("a cat", n=2, out=tmp_path)

    folder = tmp_path.stat().st_size
    assert synced == [len(SMALL), len(WIDE), folder, folder]


async def test_no_field_of_an_answer_is_lost(wire: respx.MockRouter, client: AsyncClient) -> None:
    told = {
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
    wire.post(f"{OWN}/images/generations").respond(json={**told, "data": [image]})

    response = await client.images.generate("a cat")

    assert [response.size, response.quality, response.background] == ["1024x1024", "max", "opaque"]
    assert (response.output_format, response.safety_identifier) == ("svg", "user-1")
    assert response.created is not None
    assert response.created.timestamp() == told["created"]
    assert response.usage == Usage(
        *(1, 2, 3, 4, 5, 7, 8),
        extra={
            "input_tokens_details": {"cached_tokens": 6},
            "output_tokens_details": {"reasoning_tokens": 9},
            "image_count": 10,
        },
    )
    assert response.svg_usage == SvgUsage("m", 11, 12, 13, 14, extra={"cached_tokens": 15})
    assert response.extra == {"id": told["id"], "timing": told["timing"]}
    assert (response[0].bytes, response[0].revised_prompt) == (SMALL, "a cat")
    assert response[0].extra == {"seed": 7, "tags": {"a": [1]}}
    assert pickle.loads(pickle.dumps(response)) == response

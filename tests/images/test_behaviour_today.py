"""The API of today as a user sees it, against the emulator over a real socket."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncGenerator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import PIL.Image
import PIL.ImageChops
import PIL.ImageStat
import pytest

from imagesdk import (
    AsyncClient,
    CompletedImage,
    FileId,
    Generate,
    InvalidRequestError,
    ModerationError,
    PartialImage,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimit,
    RetryPolicy,
    estimate,
    make_mask,
    prepare_image,
)
from imagesdk.emulator import Emulator

pytestmark = pytest.mark.anyio

SUNBURST: dict[str, Any] = {"model": "gpt-image-2.5-sunburst", "quality": "low", "size": "1024x1024"}
FLARE: dict[str, Any] = {"model": "gpt-image-2.6-flare", "quality": "low", "size": "1024x1024"}


@pytest.fixture
async def client(
    emulator: Emulator, make_client: Callable[..., AsyncClient]
) -> AsyncGenerator[AsyncClient, None]:
    async with make_client(emulator.base_url, retry=RetryPolicy(max_attempts=1)) as client:
        yield client


def picture(colour: str = "red", size: tuple[int, int] = (64, 64), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def distance(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    """How far two pictures are from each other, on average."""
    differences = PIL.ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(PIL.ImageStat.Stat(differences).mean)


@pytest.mark.parametrize("kind", ["generate", "edit"])
async def test_a_picture_sharpens_while_it_is_made(
    client: AsyncClient, tmp_path: Path, kind: Literal["generate", "edit"]
) -> None:
    images, path = client.images, tmp_path / "river.png"
    stream_of = (
        images.generate_stream("a river", partial_images=3, out=path, **SUNBURST)
        if kind == "generate"
        else images.edit_stream(picture(), "a river", partial_images=3, out=path, **SUNBURST)
    )
    async with stream_of as stream:
        events = [event async for event in stream]
    *partials, last = events
    assert [type(event) for event in partials] == [PartialImage] * 3
    assert isinstance(last, CompletedImage)
    assert last.image.path == path
    whole = last.image.to_pil()
    distances = [distance(event.image.to_pil(), whole) for event in partials]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > distances[-1] > 0
    usage = last.usage
    assert usage is not None
    assert usage.output_tokens == 196 + 300
    assert last.response.cost is not None


async def test_what_was_estimated_is_what_it_costs(client: AsyncClient) -> None:
    job = Generate("a river", n=2, **SUNBURST)
    response = await client.images.send(job)
    told = estimate(job)
    assert response.cost is not None
    assert told.cost is not None
    assert told.output_tokens == 2 * 196
    assert abs(response.cost - told.cost) < Decimal("0.001")


async def test_pictures_are_named_by_ids_urls_and_data_urls_in_one_edit(
    client: AsyncClient, emulator: Emulator
) -> None:
    uploaded = await client.files.upload(picture("green"), filename="green.png")
    made = await client.images.generate("a cat", model="dall-e-2", size="256x256", response_format="url")
    assert made[0].url is not None
    data_url = f"data:image/png;base64,{base64.b64encode(picture('blue')).decode()}"

    response = await client.images.edit(
        [uploaded, FileId(uploaded.id), made[0], made[0].url, data_url, picture("red")],
        "all of them",
        **SUNBURST,
    )

    assert (response[0].width, response[0].height) == (1024, 1024)


@pytest.mark.parametrize(
    ("format_", "extension", "media_type"),
    [
        ("png", "png", "image/png"),
        ("jpeg", "jpg", "image/jpeg"),
        ("webp", "webp", "image/webp"),
        ("gif", "gif", "image/gif"),
        ("svg", "svg", "image/svg+xml"),
    ],
)
async def test_a_picture_of_any_format_has_its_extension(
    client: AsyncClient, tmp_path: Path, format_: str, extension: str, media_type: str
) -> None:
    # All frames of a gif are one picture before they are cut.
    fields: dict[str, Any] = {**FLARE, "size": "512x512" if format_ == "gif" else "1024x1024"}
    (image,) = await client.images.generate("a cat", out=tmp_path, output_format=format_, **fields)
    assert image.path is not None
    assert (image.path.suffix, image.media_type) == (f".{extension}", media_type)
    if format_ == "svg":
        assert image.bytes.startswith(b"<")
    else:
        with PIL.Image.open(image.path) as opened:
            assert opened.format == extension.upper().replace("JPG", "JPEG")


async def test_the_tokens_of_who_wrote_an_svg_are_told_apart(client: AsyncClient) -> None:
    response = await client.images.generate("a cat", output_format="svg", **FLARE)
    assert response.svg_usage is not None
    assert response.svg_usage.total_tokens
    assert response.cost is None


async def test_the_id_of_the_end_user_comes_back(client: AsyncClient) -> None:
    response = await client.images.generate("a cat", safety_identifier="a-hash", **SUNBURST)
    assert response.safety_identifier == "a-hash"


async def test_a_photo_is_made_fit_and_repainted_in_a_box(client: AsyncClient) -> None:
    photo = prepare_image(picture("red", (900, 600), "JPEG"), square="crop", size=512, alpha=True)
    mask = make_mask((512, 512), boxes=[(0, 0, 256, 512)])
    (image,) = await client.images.edit(photo, "a lake", mask=mask, model="dall-e-2", size="512x512")
    painted = PIL.Image.open(io.BytesIO(await client.images.download(image))).convert("RGB")
    assert {painted.getpixel((400, y)) for y in (10, 250, 500)} == {painted.getpixel((500, 250))}
    assert len({painted.getpixel((x, y)) for x in range(5, 250, 35) for y in range(5, 500, 70)}) > 3


async def test_an_opaque_mask_is_refused_before_anything_is_sent(
    client: AsyncClient, emulator: Emulator
) -> None:
    opaque = io.BytesIO()
    PIL.Image.new("RGBA", (64, 64), (0, 0, 0, 255)).save(opaque, "PNG")
    with pytest.raises(InvalidRequestError, match="make_mask"):
        await client.images.edit(picture(), "a cat", mask=opaque.getvalue(), **SUNBURST)
    assert emulator.state.requests == []


@pytest.mark.parametrize("word", ["forbidden", "censored"])
async def test_the_filter_says_at_which_stage_it_refused(client: AsyncClient, word: str) -> None:
    with pytest.raises(ModerationError) as caught:
        await client.images.generate(f"a {word} city", **SUNBURST)
    assert caught.value.stage == {"forbidden": "input", "censored": "output"}[word]
    assert caught.value.categories


async def test_a_stream_that_is_refused_in_its_middle_is_the_refusal_of_a_call(client: AsyncClient) -> None:
    with pytest.raises(ModerationError) as caught:
        async with client.images.generate_stream("a censored city", partial_images=2, **SUNBURST) as stream:
            await stream.final()
    assert caught.value.stage == "output"
    assert caught.value.maybe_billed


async def test_streams_and_calls_wait_in_one_line(make_client: Callable[..., AsyncClient]) -> None:
    with Emulator(limit="2/1s") as emulator:
        limit = RateLimit(2, per=1, scope="client")
        async with make_client(emulator.base_url, rate_limit=limit) as client:
            for _ in range(2):
                await client.images.generate("a cat", **SUNBURST)
                async with client.images.generate_stream("a cat", **SUNBURST) as stream:
                    await stream.final()
        statuses = [request.status for request in emulator.state.requests]
        assert statuses == [200] * 4


async def test_quota_and_an_unverified_organisation_say_what_to_do(
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

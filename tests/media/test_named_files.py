"""Images with file names, in the tuples of httpx and the official client."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagesdk import AsyncClient, Edit, FileObject, InvalidRequestError, estimate, prepare_image
from imagesdk._protocol.bodies import declared_media_type
from imagesdk._protocol.requests import sources
from imagesdk.prepare import make_mask
from tests.support.probed_sources import probe
from tests.support.small_images import JPEG, answer, png
from tests.support.socket_servers import always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

PNG, OTHER = png(3, 2), png(5, 4)
MakeClient = Callable[..., AsyncClient]


@pytest.mark.parametrize(
    ("named", "name"),
    [
        (("cat.png", PNG), "cat.png"),
        (("cat.png", bytearray(PNG)), "cat.png"),
        (("cat.png", io.BytesIO(PNG)), "cat.png"),
        (("cat.png", PNG, "image/png"), "cat.png"),
        (("cat.png", PNG, None), "cat.png"),
        (("cats/cat.png", PNG), "cat.png"),
        ((None, PNG), "image.png"),
        (("", PNG, "image/png"), "image.png"),
        (("cat.jpg", PNG, "image/jpeg"), "cat.png"),
        (("cat", JPEG), "cat.jpg"),
    ],
)
async def test_a_tuple_of_a_name_and_an_image_is_one_image_of_that_name(named: Any, name: str) -> None:
    [one] = sources(Edit(named, "a cat")).images
    upload = await probe(one)
    assert (upload.name, upload.size) == (name, len(JPEG if JPEG in named else PNG))


async def test_a_name_in_a_tuple_replaces_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "rect.png").write_bytes(OTHER)
    with (tmp_path / "rect.png").open("rb") as file:
        assert (await probe(("sq.png", file))).name == "sq.png"
        assert (await probe((None, file))).name == "rect.png"
        assert (await probe(("sq.png", file))).width == 5


@pytest.mark.parametrize(
    "several",
    [
        ("cat.png", "image/png"),
        ("cat.png", Path("dog.png")),
        ("cat.png", PNG, "dog.png"),
        ("cat.png", PNG, PNG),
        (PNG, PNG),
        (PNG,),
        ("a", PNG, "b.png", "c.png"),
        [("cat.png", PNG), ("dog.png", OTHER)],
        ["cat.png", PNG],
    ],
)
async def test_every_other_tuple_or_list_is_several_images(several: Any) -> None:
    assert sources(Edit(several, "a cat")).images == tuple(several)


async def test_a_tuple_with_headers_is_refused_with_the_allowed_forms() -> None:
    named: Any = ("cat.png", PNG, "image/png", {"x-own": "1"})
    with pytest.raises(InvalidRequestError, match=r"allowed: \(name, data\)"):
        sources(Edit(named, "a cat"))


async def test_a_stated_media_type_is_sent_only_if_the_format_is_unknown() -> None:
    assert declared_media_type(await probe(("a.jsonl", b"{}", "application/jsonl"))) == "application/jsonl"
    assert declared_media_type(await probe(("a.raw", b"raw", None))) == "image/png"
    assert declared_media_type(await probe(("cat", PNG, "image/jpeg"))) == "image/png"


async def test_a_name_does_not_make_other_bytes_an_image(make_client: MakeClient) -> None:
    async with make_client("http://127.0.0.1:9/v1") as client:
        with pytest.raises(InvalidRequestError, match=r"cat\.png is not an image \(starts with '<html>'\)"):
            await client.images.edit(("cat.png", b"<html>", "image/png"), "a cat", model="gpt-image-2")


async def test_edits_variations_masks_and_uploads_take_named_files(make_client: MakeClient) -> None:
    named = ("mine.png", PNG, "image/png")
    uploaded = b'{"object": "file", "id": "file-1"}'
    async with serving(always(answer(PNG))) as server, make_client(server.base_url) as client:
        await client.images.edit(named, "a cat", mask=("hole.png", io.BytesIO(PNG)))
        await client.images.edit([named, ("theirs.png", OTHER)], "two cats")
        await client.images.create_variation(named)
    edit, both, variation = [request.body for request in server.requests]
    assert b'name="image"; filename="mine.png"' in edit
    assert b'name="mask"; filename="hole.png"' in edit
    assert edit.count(b"filename=") == 2
    assert b'name="image[]"; filename="mine.png"' in both
    assert b'name="image[]"; filename="theirs.png"' in both
    assert b'name="image"; filename="mine.png"' in variation
    async with serving(always(uploaded)) as server, make_client(server.base_url) as client:
        assert await client.files.upload(named) == FileObject("file-1")
        await client.files.upload(named, filename="yours.png")
    first, second = [request.body for request in server.requests]
    assert b'filename="mine.png"' in first
    assert b'filename="yours.png"' in second


async def test_a_named_file_counts_as_one_image_in_prices_and_can_be_prepared() -> None:
    images: list[Any] = [("cat.png", PNG), PNG, [("cat.png", PNG), PNG], [PNG, PNG]]
    costs = [
        estimate(Edit(image, "a cat", size="1024x1024", quality="low"), model="gpt-image-2").cost
        for image in images
    ]
    assert None not in costs
    assert (costs[0], costs[2]) == (costs[1], costs[3])
    assert costs[0] != costs[2]
    assert prepare_image(("cat.png", PNG)) == prepare_image(PNG)
    assert make_mask(("cat.png", PNG), boxes=[(0, 0, 1, 1)]) == make_mask(PNG, boxes=[(0, 0, 1, 1)])

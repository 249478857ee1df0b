"""Output files: their names, their contents, and a folder without leftovers after any failure."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import respx

from imagesdk import (
    APIError,
    APIResponseError,
    AsyncClient,
    DownloadError,
    InternalServerError,
    InvalidRequestError,
    RateLimitError,
    RetryPolicy,
)
from imagesdk._engine.download import Downloader
from imagesdk._engine.sink import ImageSink, ReceivedImage
from imagesdk._protocol.scanner import ImageEnd, ImagePiece, ImageStart
from imagesdk.emulator import Emulator
from imagesdk.emulator.faults import Faults
from tests.support.sent_requests import sent_json
from tests.support.small_images import JPEG, answer, answer_of_urls, png
from tests.support.socket_servers import always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::imagesdk.RetirementWarning")]
MakeClient = Callable[..., AsyncClient]
OWN = "https://images.test/v1"
SMALL = png(2, 2)
WIDE = png(4, 2)
ONCE = RetryPolicy(max_attempts=1)
DALLE: dict[str, Any] = {"model": "dall-e-2", "size": "256x256"}
FLARE: dict[str, Any] = {"model": "gpt-image-2.6-flare", "quality": "low", "size": "1024x1024"}
BROKEN = json.dumps({"data": [{"b64_json": base64.b64encode(SMALL).decode()}, {"b64_json": "!!!!"}]}).encode()


def files_in(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


async def test_base64_is_requested_for_files_where_the_model_has_a_choice(
    wire: respx.MockRouter, openai_client: AsyncClient, tmp_path: Path
) -> None:
    await openai_client.images.generate("a cat", model="dall-e-2", out=tmp_path)
    assert sent_json(wire)["response_format"] == "b64_json"
    await openai_client.images.generate("a cat", model="gpt-image-2", out=tmp_path)
    assert "response_format" not in sent_json(wire)


@pytest.mark.parametrize("out", ["cat.png", "cats/{id}.{ext}", "{name}-{index}.png", "../{index}/../cat", ""])
async def test_a_template_that_loses_images_is_refused_before_anything_is_sent(
    wire: respx.MockRouter, own: AsyncClient, out: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await own.images.generate("a cat", extra_body={"n": 2}, out=out)
    assert caught.value.param == "out"
    assert wire.calls.call_count == 0


async def test_a_folder_that_cannot_be_written_to_is_an_error_before_anything_is_sent(
    wire: respx.MockRouter, own: AsyncClient, tmp_path: Path
) -> None:
    route = wire.post(f"{OWN}/images/generations").respond(content=answer(SMALL))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        await own.images.generate("a cat", out=tmp_path / "file" / "cats")
    assert route.call_count == 0


async def test_a_list_of_images_under_another_name_is_kept(
    wire: respx.MockRouter, own: AsyncClient, tmp_path: Path
) -> None:
    body = answer(SMALL, WIDE).replace(b'"data"', b'"images"')
    wire.post(f"{OWN}/images/generations").respond(content=body)
    response = await own.images.generate("a cat", n=2, out=tmp_path)
    assert [image.path.read_bytes() for image in response if image.path] == [SMALL, WIDE]


async def test_fsync_makes_files_durable_before_the_call_returns(
    wire: respx.MockRouter, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


async def test_a_folder_gets_every_image_under_the_slug_of_its_prompt(
    client: AsyncClient, tmp_path: Path
) -> None:
    memory = await client.images.generate("A white cat!", n=3, **DALLE, response_format="b64_json")
    stored = await client.images.generate(
        "A white cat!", n=3, **DALLE, out=tmp_path / "new" / "cats", idempotency_key="k1"
    )
    assert [image.bytes for image in stored] == [image.bytes for image in memory]
    names = [image.path.name if image.path else "" for image in stored]
    call = names[0].split("-")[3]
    assert names == [f"a-white-cat-{call}-{index}.png" for index in range(3)]
    assert sorted(files_in(tmp_path)) == [f"new/cats/{name}" for name in names]


async def test_a_single_file_is_replaced(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"an older cat")
    response = await client.images.generate("a cat", **DALLE, out=str(tmp_path / "cat.png"))
    assert files_in(tmp_path) == {"cat.png": response[0].bytes}
    assert response[0].path == tmp_path / "cat.png"


async def test_a_template_sets_the_names_and_the_bytes_set_the_extension(
    client: AsyncClient, tmp_path: Path
) -> None:
    await client.images.generate(
        "A cat", model="gpt-image-2", n=2, output_format="jpeg", out=tmp_path / "{slug}" / "{index}.{ext}"
    )
    assert list(files_in(tmp_path)) == ["a-cat/0.jpg", "a-cat/1.jpg"]


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
async def test_an_image_of_any_format_has_its_extension(
    client: AsyncClient, tmp_path: Path, format_: str, extension: str, media_type: str
) -> None:
    # All frames of a gif are one image before they are cut.
    fields: dict[str, Any] = {**FLARE, "size": "512x512" if format_ == "gif" else "1024x1024"}
    (image,) = await client.images.generate("a cat", out=tmp_path, output_format=format_, **fields)
    assert image.path is not None
    assert (image.path.suffix, image.media_type) == (f".{extension}", media_type)
    if format_ == "svg":
        assert image.bytes.startswith(b"<")
    else:
        with PIL.Image.open(image.path) as opened:
            assert opened.format == extension.upper().replace("JPG", "JPEG")


async def test_surplus_images_get_names_of_their_own(make_client: MakeClient, tmp_path: Path) -> None:
    async with serving(always(answer(SMALL, JPEG))) as server, make_client(server.base_url) as client:
        response = await client.images.generate("a cat", out=tmp_path / "cat.png")
    assert files_in(tmp_path) == {"cat.png": SMALL, "cat-1.png": JPEG}
    assert len(response) == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (partial(Faults.http, status=500), InternalServerError),
        (partial(Faults.http, status=200, body=BROKEN), APIResponseError),
        (partial(Faults.connection, truncate=2000), APIResponseError),
        (partial(Faults.connection, drop=True), APIError),
        (partial(Faults.http, status=429), RateLimitError),
    ],
    ids=["status", "base64", "truncated", "dropped", "refused"],
)
async def test_a_failed_call_leaves_the_folder_as_it_was(
    emulator: Emulator,
    make_client: MakeClient,
    tmp_path: Path,
    fault: Callable[[Faults], None],
    kind: type[APIError],
) -> None:
    fault(emulator.state.faults)
    (tmp_path / "0.png").write_bytes(b"an older cat")
    async with make_client(emulator.base_url, retry=ONCE) as client:
        with pytest.raises(kind):
            await client.images.generate("a cat", n=2, **DALLE, out=tmp_path / "{index}.png")
    assert files_in(tmp_path) == {"0.png": b"an older cat"}


async def test_an_attempt_that_breaks_off_leaves_no_file(
    client: AsyncClient, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.state.faults.connection(truncate=2000)
    with pytest.raises(APIResponseError):
        await client.images.generate("a cat", n=2, **DALLE, out=tmp_path / "{index}.png")
    assert files_in(tmp_path) == {}
    response = await client.images.generate("a cat", n=2, **DALLE, out=tmp_path / "{index}.png")
    assert files_in(tmp_path) == {f"{index}.png": response[index].bytes for index in range(2)}
    assert emulator.state.billed_images == 4


async def test_urls_are_downloaded_into_files_without_the_key(
    emulator: Emulator, make_client: MakeClient, tmp_path: Path
) -> None:
    async with make_client(emulator.base_url, api_key="sk-1") as client:
        response = await client.images.generate(
            "a cat", n=2, **DALLE, response_format="url", out=tmp_path / "{index}.{ext}"
        )
    assert files_in(tmp_path) == {f"{index}.png": response[index].bytes for index in range(2)}
    assert [(image.width, image.media_type) for image in response] == [(256, "image/png")] * 2
    assert all(image.url for image in response)
    assert [record.authorized for record in emulator.state.requests] == [True, False, False]


async def test_an_image_that_cannot_be_downloaded_is_not_lost(
    client: AsyncClient, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.state.faults.http(503, on="downloads")
    fine = await client.images.generate("a cat", **DALLE, response_format="url", out=tmp_path / "a.png")
    assert fine[0].path is not None

    emulator.state.faults.http(404, on="downloads")
    with pytest.raises(DownloadError, match="404") as caught:
        await client.images.generate("a cat", n=2, **DALLE, response_format="url", out=tmp_path / "{index}")

    response = caught.value.response
    assert response is not None
    assert [image.path for image in response] == [None, None]
    data = await client.images.download(response[0], to=tmp_path / "b.png")

    assert data == fine[0].bytes
    assert list(files_in(tmp_path)) == ["a.png", "b.png"]
    assert emulator.state.billed_images == 3


async def test_the_time_out_of_a_call_covers_the_download_of_its_images(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def fetch(
        self: Downloader, url: str, sink: ImageSink, *, connect_timeout: float | None, timeout: float | None
    ) -> ReceivedImage:
        given.append(timeout or 0)
        for event in (ImageStart(0), ImagePiece(0, SMALL), ImageEnd(0)):
            await sink.write(event)
        return sink.images[0]

    monkeypatch.setattr(Downloader, "fetch", fetch)
    async with serving(always(answer_of_urls("/0", "/1"))) as server, make_client(server.base_url) as client:
        await client.images.generate("a cat", out=tmp_path, timeout=100)
        assert 100 > given[0] > given[1] > 0

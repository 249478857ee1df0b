"""Images that are not files: pixels of other libraries, URLs, files on the server, images of other answers."""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy
import PIL.Image
import pytest
import respx

from imagesdk import (
    AsyncClient,
    FileId,
    FileObject,
    Image,
    ImagesResponse,
    InvalidRequestError,
    Upload,
    Variation,
    prepare_image,
)
from imagesdk._calls.sources import open_inputs
from imagesdk._protocol.inputs import RemoteImage
from imagesdk._protocol.requests import Sources
from tests.support.odd_images import encoded, exif, halves, holed
from tests.support.probed_sources import probe, refusal
from tests.support.small_images import png

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

PNG = png(3, 2)
URL = "https://cdn.test/a.png?sig=SECRET"


async def remote(source: Any) -> RemoteImage:
    async with open_inputs(Sources((source,))) as inputs:
        image = inputs.images[0]
        assert isinstance(image, RemoteImage)
        return image


async def sent(source: Any) -> PIL.Image.Image:
    """Return the PNG that a server receives for pixels."""
    upload = await probe(source)
    assert isinstance(upload.source, bytes)
    assert (upload.media_type, upload.name) == ("image/png", "image.png")
    return PIL.Image.open(io.BytesIO(upload.source))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
async def test_a_pillow_image_is_sent_with_its_pixels_and_mode(mode: str) -> None:
    image = halves(mode=mode)
    got = await sent(image)
    assert (got.mode, got.size) == (mode, image.size)
    assert got.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


@pytest.mark.parametrize(
    ("mode", "becomes"), [("CMYK", "RGB"), ("YCbCr", "RGB"), ("RGBa", "RGBA"), ("F", "RGB")]
)
async def test_a_pillow_image_of_another_mode_is_converted(mode: str, becomes: str) -> None:
    assert (await sent(PIL.Image.new(mode, (3, 2)))).mode == becomes


async def test_a_pillow_image_keeps_its_alpha_and_loses_its_metadata() -> None:
    image = PIL.Image.open(io.BytesIO(encoded(halves(mode="RGBA"), exif=exif(6))))
    image.putpixel((0, 0), (1, 2, 3, 77))
    upload = await probe(image)
    assert isinstance(upload.source, bytes)
    assert b"SECRET" not in upload.source
    assert (upload.width, upload.height, upload.alpha) == (40, 20, True)
    assert PIL.Image.open(io.BytesIO(upload.source)).getpixel((0, 0)) == (1, 2, 3, 77)


async def test_a_pillow_image_whose_file_was_closed_is_refused() -> None:
    image = PIL.Image.open(io.BytesIO(PNG))
    image.close()
    assert "cannot be written as PNG" in str(await refusal(image))
    with pytest.raises(InvalidRequestError, match="a Pillow image that can be read"):
        prepare_image(image)


@pytest.mark.parametrize(
    ("shape", "mode"), [((2, 3), "L"), ((2, 3, 1), "L"), ((2, 3, 3), "RGB"), ((2, 3, 4), "RGBA")]
)
async def test_an_array_is_sent_as_an_image_of_its_shape(shape: tuple[int, ...], mode: str) -> None:
    array = numpy.arange(numpy.prod(shape), dtype=numpy.uint8).reshape(shape)
    got = await sent(array)
    assert (got.mode, got.size) == (mode, (3, 2))
    assert numpy.array_equal(numpy.asarray(got).reshape(shape), array)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
async def test_an_array_of_floats_goes_from_0_to_1(kind: str) -> None:
    got = await sent(numpy.array([[0, 0.5, 1]], dtype=kind))
    assert list(got.tobytes()) == [0, 128, 255]


async def test_an_array_that_is_a_view_is_sent_with_its_own_pixels() -> None:
    array = numpy.arange(24, dtype=numpy.uint8).reshape(2, 4, 3)
    got = await sent(array[:, ::-2])
    assert numpy.array_equal(numpy.asarray(got), array[:, ::-2])


@pytest.mark.parametrize(
    "array",
    [
        numpy.zeros((2, 3), dtype=numpy.int64),
        numpy.zeros((2, 3), dtype=bool),
        numpy.zeros((3, 20, 20), dtype=numpy.uint8),
        numpy.zeros((2, 3, 2), dtype=numpy.uint8),
        numpy.zeros((0, 3), dtype=numpy.uint8),
        numpy.zeros(3, dtype=numpy.uint8),
        numpy.array([[0.0, 1.1]]),
        numpy.array([[-0.1, 1.0]]),
        numpy.array([[float("nan"), 1.0]]),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
async def test_an_array_of_another_shape_or_type_is_refused_with_the_allowed_ones(array: Any) -> None:
    error = await refusal(array)
    assert str(array.dtype) in str(error)
    assert "from 0 to 1" in str(error)


def test_neither_pillow_nor_numpy_is_loaded_for_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    program = (
        "import sys, anyio\n"
        "from imagesdk._calls.sources import open_inputs\n"
        "from imagesdk._protocol.requests import Sources\n"
        "async def main():\n"
        "    async with open_inputs(Sources(('a.png', b'x', 'https://a.test/b.png'))): pass\n"
        "anyio.run(main)\n"
        "print({'PIL.Image', 'numpy'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        f"DATA:IMAGE/PNG;BASE64,{base64.b64encode(PNG).decode().rstrip('=')}",
        f"data:;charset=x;base64,{base64.b64encode(PNG).decode()[:20]}%0A {base64.b64encode(PNG).decode()[20:]}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
    ],
    ids=["base64", "capitals, no padding", "spaces", "percent"],
)
async def test_the_bytes_of_a_data_url_are_decoded(url: str) -> None:
    upload = await probe(url)
    assert upload.source == PNG
    assert upload.media_type == "image/png"


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:image/png;base64,!!!", "data:;base64,QUJ=D"])
async def test_a_data_url_that_cannot_be_read_is_refused(url: str) -> None:
    error = await refusal(url)
    assert "data URL that cannot be read" in str(error)


@pytest.mark.parametrize("url", [URL, "http://cdn.test/a.png", "HTTPS://images.test/a.png"])
async def test_a_url_is_passed_to_the_server_and_its_signature_is_not_shown(url: str) -> None:
    assert await remote(url) == RemoteImage(url=url)
    assert "SECRET" not in repr(await remote(url))


@pytest.mark.parametrize("name", ["https", "http:/a.png", "ftp://a.test/b.png", "database.png"])
async def test_every_other_text_is_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        await probe(name)


async def test_a_file_on_the_server_is_sent_as_its_id() -> None:
    assert await remote(FileId("file-1")) == RemoteImage(file_id="file-1")
    assert await remote(FileObject("file-2", bytes=5)) == RemoteImage(file_id="file-2")
    assert "without an id" in str(await refusal(FileId("")))


async def test_an_image_of_a_response_is_sent_as_its_bytes_its_file_or_its_url(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    in_memory, in_file = await probe(Image(data=PNG)), await probe(Image(path=tmp_path / "cat.png"))
    assert in_memory.source == PNG
    assert (in_file.source, in_file.name) == (tmp_path / "cat.png", "cat.png")
    assert await remote(Image(url=URL)) == RemoteImage(url=URL)


@pytest.mark.parametrize("image", [Image(), Image(url="/v1/images/1/content")])
async def test_an_image_of_a_response_without_a_public_url_is_refused(image: Image) -> None:
    assert "client.images.download(...)" in str(await refusal(image))


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (holed(), True),
        (encoded(PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 254))), True),
        (encoded(PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 255))), False),
        (encoded(PIL.Image.new("LA", (8, 8), (0, 255))), False),
        (encoded(PIL.Image.new("P", (8, 8), 1), transparency=0), False),
        (encoded(PIL.Image.new("P", (8, 8), 0), transparency=0), True),
        (encoded(PIL.Image.new("RGB", (8, 8))), None),
        (holed()[:-40], None),
        (png()[:16] + struct.pack(">II", 6000, 6000) + png()[24:], None),
    ],
)
async def test_a_mask_is_searched_for_transparent_pixels(
    mask: bytes, found: bool | None, tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(mask)
    file = io.BytesIO(b"before" + mask)
    file.seek(6)
    for source in (mask, tmp_path / "mask.png", file):
        async with open_inputs(
            Sources((holed(),), mask=source, markup=source), check_transparency=True
        ) as inputs:
            for overlay in (inputs.mask, inputs.markup):
                assert isinstance(overlay, Upload)
                assert overlay.transparent is found
            assert isinstance(inputs.images[0], Upload)
            assert inputs.images[0].transparent is None


async def test_files_are_searched_only_on_request_and_only_up_to_a_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for look in (False, True):
        monkeypatch.setattr("imagesdk._calls.sources.MAX_LOOK", 10)
        async with open_inputs(Sources((PNG,), mask=holed()), check_transparency=look) as inputs:
            assert isinstance(inputs.mask, Upload)
            assert inputs.mask.transparent is None


async def test_without_pillow_transparency_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = holed()
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    async with open_inputs(Sources((PNG,), mask=mask), check_transparency=True) as inputs:
        assert isinstance(inputs.mask, Upload)
        assert inputs.mask.transparent is None


def body(wire: respx.MockRouter) -> Any:
    request: httpx.Request = wire.calls.last.request
    assert request.headers["content-type"] == "application/json"
    assert int(request.headers["content-length"]) == len(request.content)
    return json.loads(request.content)


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


async def test_an_edit_of_a_url_and_a_file_is_json_with_both(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    await own.images.edit(
        [URL, PNG, FileId("file-1")], "a cat", mask=holed(3, 2), model="gpt-image-2", n=2, user="u"
    )
    assert body(wire) == {
        "prompt": "a cat",
        "model": "gpt-image-2",
        "n": 2,
        "user": "u",
        "images": [{"image_url": URL}, {"image_url": data_url(PNG)}, {"file_id": "file-1"}],
        "mask": {"image_url": data_url(holed(3, 2))},
    }


async def test_moderation_makes_an_edit_json(wire: respx.MockRouter, own: AsyncClient) -> None:
    await own.images.edit(PNG, "a cat", moderation="low")
    assert body(wire) == {"prompt": "a cat", "moderation": "low", "images": [{"image_url": data_url(PNG)}]}


async def test_an_edit_of_files_alone_is_a_form(wire: respx.MockRouter, own: AsyncClient) -> None:
    for source in (PNG, data_url(PNG), Image(data=PNG), PIL.Image.open(io.BytesIO(PNG))):
        await own.images.edit(source, "a cat", model="gpt-image-2")
        request: httpx.Request = wire.calls.last.request
        assert request.headers["content-type"].startswith("multipart/form-data")
        assert b'name="image"; filename="image.png"\r\nContent-Type: image/png' in request.content


async def test_a_response_is_a_list_of_images(wire: respx.MockRouter, own: AsyncClient) -> None:
    response = ImagesResponse(data=(Image(data=PNG), Image(data=holed())))
    await own.images.edit(response, "both", model="gpt-image-2")
    request: httpx.Request = wire.calls.last.request
    assert request.content.count(b'name="image[]"') == 2


async def test_a_file_on_the_server_can_be_mask_or_markup(wire: respx.MockRouter, own: AsyncClient) -> None:
    await own.images.edit(PNG, "a cat", mask=FileId("file-1"))
    assert body(wire)["mask"] == {"file_id": "file-1"}
    await own.images.edit(PNG, "a cat", markup=FileObject("file-2"))
    assert body(wire)["markup"] == {"file_id": "file-2"}


async def test_extra_body_replaces_images(wire: respx.MockRouter, own: AsyncClient) -> None:
    extra = {"images": [{"image_url": "https://other.test/b.png"}], "mask": None, "prompt": None}
    await own.images.edit(URL, "a cat", mask=holed(), extra_body=extra)
    assert body(wire) == {"images": [{"image_url": "https://other.test/b.png"}]}
    await own.images.edit(URL, "a cat", extra_body={"prompt": None})
    assert body(wire) == {"images": [{"image_url": URL}]}


@pytest.mark.parametrize("source", [URL, Image(url=URL), FileId("file-1")], ids=["url", "image", "id"])
async def test_a_variation_takes_files_only(wire: respx.MockRouter, own: AsyncClient, source: Any) -> None:
    for model, check in ((None, False), ("dall-e-2", None), (None, None)):
        with pytest.raises(InvalidRequestError, match=r"download|file-1") as caught:
            await own.images.send(Variation(source, model=model), check=check)
        assert caught.value.param == "image"
        assert "SECRET" not in str(caught.value)
    assert wire.calls.call_count == 0


async def test_dall_e_2_takes_files_only(wire: respx.MockRouter, own: AsyncClient) -> None:
    with pytest.raises(InvalidRequestError, match=r"client\.images\.download") as caught:
        await own.images.edit(URL, "a cat", model="dall-e-2")
    assert (caught.value.param, caught.value.value) == ("image", "https://cdn.test/a.png (a URL)")
    assert wire.calls.call_count == 0
    await own.images.edit(URL, "a cat", model="dall-e-2", check=False)
    assert body(wire)["images"] == [{"image_url": URL}]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("cat.jpg", "image/jpeg"), ("cat.HEIF", "image/heic"), ("cat.raw", "image/png"), ("cat", "image/png")],
)
async def test_an_unknown_format_is_sent_with_the_media_type_of_its_extension(
    wire: respx.MockRouter, own: AsyncClient, tmp_path: Path, name: str, media_type: str
) -> None:
    (tmp_path / name).write_bytes(b"no image")
    await own.images.edit(tmp_path / name, "a cat")
    form: httpx.Request = wire.calls.last.request
    assert f'filename="{name}"\r\nContent-Type: {media_type}\r\n'.encode() in form.content
    await own.images.edit(tmp_path / name, "a cat", moderation="low")
    assert body(wire)["images"][0]["image_url"].startswith(f"data:{media_type};base64,")
    await own.images.edit(b"no image", "a cat")
    assert b"octet-stream" not in wire.calls.last.request.content
    with pytest.raises(InvalidRequestError, match="not an image"):
        await own.images.edit(tmp_path / name, "a cat", model="gpt-image-2")

"""Results are plain frozen data: bytes, base64, files, arrays, and a short repr."""

import base64
import io
import pickle
import random
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import attrs
import numpy
import PIL.Image
import pytest

from imagesdk.errors import APIResponseError, ImageNotLoadedError
from imagesdk.types import Image, ImagesResponse, Upload, Usage


def png(mode: str = "RGB", size: tuple[int, int] = (3, 2)) -> bytes:
    out = io.BytesIO()
    PIL.Image.new(mode, size, 1).save(out, "PNG")
    return out.getvalue()


PNG = png()


@pytest.fixture
def in_memory() -> Image:
    return Image(index=2, media_type="image/png", width=3, height=2, data=PNG)


@pytest.fixture
def in_file(tmp_path: Path) -> Image:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    return Image(index=2, media_type="image/png", width=3, height=2, path=path)


@pytest.fixture
def only_url() -> Image:
    return Image(index=2, url="https://images.test/a.png?sig=SECRET")


@pytest.fixture(params=["in_memory", "in_file"])
def loaded(request: pytest.FixtureRequest) -> Image:
    image: Image = request.getfixturevalue(request.param)
    return image


def test_a_loaded_image_has_its_bytes_as_base64_data_url_and_pickle(loaded: Image) -> None:
    assert loaded.loaded
    assert loaded.bytes == PNG
    assert base64.b64decode(loaded.b64_json or "", validate=True) == PNG
    head, _, text = loaded.data_url().partition(",")
    assert (head, base64.b64decode(text)) == ("data:image/png;base64", PNG)
    again = pickle.loads(pickle.dumps(loaded))
    assert (again, again.bytes) == (loaded, PNG)


def test_the_pixels_of_an_image_no_longer_need_its_file(loaded: Image) -> None:
    opened, array = loaded.to_pil(), loaded.to_numpy()
    if loaded.path:
        loaded.path.unlink()
    assert (opened.size, opened.tobytes()) == ((3, 2), bytes([1, 0, 0] * 6))
    assert array.shape == (2, 3, 3)
    assert array.dtype == numpy.uint8


def test_a_loaded_image_is_saved_to_a_file_or_into_a_folder(loaded: Image, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for path, written in (
        (tmp_path / "new" / "copy.png", "new/copy.png"),
        (tmp_path / "there", "there/image-2.png"),
        (f"{tmp_path}/not-yet/", "not-yet/image-2.png"),
    ):
        assert loaded.save(path) == tmp_path / written
        assert (tmp_path / written).read_bytes() == PNG
        assert list((tmp_path / written).parent.iterdir()) == [tmp_path / written]


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 3), ("P", 3), ("1", 3), ("RGB", 3), ("RGBA", 4), ("LA", 4), ("I;16", 3)]
)
def test_an_array_has_three_channels_or_four_with_transparency(mode: str, channels: int) -> None:
    assert Image(data=png(mode)).to_numpy().shape == (2, 3, channels)


@pytest.mark.parametrize(
    ("missing", "use", "message"),
    [
        ("PIL.Image", "to_pil", "to_pil needs Pillow: pip install pillow, or the extra `pillow` of imagesdk"),
        ("PIL.Image", "to_numpy", "Pillow: pip install pillow"),
        ("numpy", "to_numpy", "to_numpy needs numpy: pip install numpy"),
    ],
)
def test_a_missing_library_is_named_with_its_installation(
    missing: str, use: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=message) as caught:
        getattr(Image(data=PNG), use)()
    assert caught.value.name == missing.partition(".")[0]


def test_an_array_keeps_the_transparency_of_a_palette() -> None:
    out = io.BytesIO()
    PIL.Image.new("P", (3, 2)).save(out, "PNG", transparency=0)
    array = Image(data=out.getvalue()).to_numpy()
    assert array.shape == (2, 3, 4)
    assert (array[:, :, 3] == 0).all()


def test_an_array_of_sixteen_bits_is_scaled_to_eight() -> None:
    out = io.BytesIO()
    PIL.Image.fromarray(numpy.array([[0, 65535]], dtype=numpy.uint16)).save(out, "PNG")
    assert Image(data=out.getvalue()).to_numpy().tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_an_animation_gives_its_first_frame_as_an_array_and_all_frames_in_pillow() -> None:
    out = io.BytesIO()
    first, second = PIL.Image.new("RGB", (4, 2), "red"), PIL.Image.new("RGB", (4, 2), "blue")
    first.save(out, "GIF", save_all=True, append_images=[second])
    image = Image(data=out.getvalue(), media_type="image/gif")
    assert image.to_numpy()[0, 0, :3].tolist() == [255, 0, 0]
    animation = image.to_pil()
    animation.seek(1)
    assert animation.convert("RGB").getpixel((0, 0)) == (0, 0, 255)
    assert image.data_url().startswith("data:image/gif;base64,R0lGOD")


def test_an_svg_has_a_data_url_and_no_pixels() -> None:
    image = Image(data=b"<svg/>", media_type="image/svg+xml")
    assert image.data_url() == "data:image/svg+xml;base64,PHN2Zy8+"
    for use in (image.to_pil, image.to_numpy):
        with pytest.raises(APIResponseError, match="an SVG has no pixels"):
            use()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_bytes_that_cannot_be_decoded_are_an_error_of_this_package_whatever_pillow_raises(kind: str) -> None:
    out, source = io.BytesIO(), random.Random(kind)
    PIL.Image.new("RGB", (9, 7), "red").save(out, kind)
    whole, failures = out.getvalue(), list[APIResponseError]()
    for _ in range(60):
        data = bytearray(whole[: 1 + source.randrange(len(whole))] + source.randbytes(source.randrange(20)))
        for _ in range(source.randrange(1, 9)):
            data[source.randrange(len(data)) : source.randrange(len(data))] = source.randbytes(2)
        try:
            Image(index=3, data=bytes(data)).to_pil()
        except APIResponseError as error:
            failures.append(error)
    assert len(failures) > 10
    for failure in failures:
        assert re.fullmatch(r"Image 3 cannot be decoded: .+[^.]\.", str(failure))
        assert failure.__cause__ is not None


USES: list[Callable[[Image], object]] = [
    lambda image: image.bytes,
    lambda image: image.save("a.png"),
    Image.to_pil,
    Image.to_numpy,
    Image.data_url,
]


@pytest.mark.parametrize("use", USES)
def test_an_image_that_is_only_a_url_says_how_to_download_it_without_its_signature(
    only_url: Image, use: Callable[[Image], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (only_url.loaded, only_url.b64_json) == (False, None)
    with pytest.raises(ImageNotLoadedError) as caught:
        use(only_url)
    for part in ("client.images.download(image)", "out=", "https://images.test/a.png"):
        assert part in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_saved_as_bin_and_has_the_general_media_type(tmp_path: Path) -> None:
    image = Image(data=b"?")
    assert (image.b64_json, image.data_url()) == ("Pw==", "data:application/octet-stream;base64,Pw==")
    assert image.save(tmp_path).name == "image-0.bin"


def test_a_repr_is_short_and_has_neither_bytes_nor_signature(
    in_memory: Image, in_file: Image, only_url: Image
) -> None:
    assert repr(in_memory) == f"<Image 2 image/png 3x2 {len(PNG)} bytes>"
    assert repr(in_file) == f"<Image 2 image/png 3x2 path={str(in_file.path)!r}>"
    assert repr(only_url) == "<Image 2 url='https://images.test/a.png'>"
    assert repr(Image()) == "<Image 0>"
    response = ImagesResponse(data=(Image(data=bytes(10**6)), only_url), request_id="req_1")
    assert len(repr(response)) < 150
    assert "SECRET" not in repr(response)
    assert repr(response).endswith("req_1>")
    assert repr(Upload(name="a.png", media_type="image/png", size=9, source=bytes(9))) == (
        "<Upload 'a.png' image/png 9 bytes>"
    )


def test_results_cannot_be_changed(in_memory: Image) -> None:
    for value, name in ((in_memory, "url"), (ImagesResponse(), "data"), (Usage(), "input_tokens")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, None)


def test_extra_fields_are_copied() -> None:
    given = {"seed": 1}
    image = Image(extra=given)
    given["seed"] = 2
    assert image.extra == {"seed": 1}


FULL = ImagesResponse(
    data=(
        Image(index=0, data=PNG),
        Image(index=1, url="https://images.test/b.png", revised_prompt="a cat", extra={"seed": 1}),
    ),
    created=datetime(2026, 11, 23, tzinfo=UTC),
    usage=Usage(input_tokens=1, output_tokens=2, total_tokens=3, extra={"cached": 4}),
    cost=Decimal("0.04"),
    request_id="req_1",
    size="1024x1024",
    headers={"x-request-id": "req_1"},
    extra={"id": "x"},
)


def test_a_response_is_a_sequence_of_its_images() -> None:
    first, second = FULL
    assert isinstance(FULL, Sequence)
    assert len(FULL) == 2
    assert FULL[0] is first
    assert FULL[-1] is second
    assert FULL[:1] == (first,)
    assert list(reversed(FULL)) == [second, first]
    assert second in FULL
    assert FULL.index(second) == 1
    assert [image.index for image in FULL.data] == [0, 1]


def test_a_response_without_images_is_empty() -> None:
    assert list(ImagesResponse()) == []
    with pytest.raises(IndexError):
        ImagesResponse()[0]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_response_pickles_whole(protocol: int) -> None:
    again = pickle.loads(pickle.dumps(FULL, protocol))
    assert again == FULL
    assert attrs.asdict(again) == attrs.asdict(FULL)


def test_responses_with_different_images_differ() -> None:
    assert attrs.evolve(FULL, data=FULL.data[:1]) != FULL
    assert Image(data=b"a") != Image(data=b"b")


def test_missing_facts_are_none_and_never_zero() -> None:
    assert attrs.astuple(Usage(), recurse=False)[:-1] == (None,) * 7
    assert ImagesResponse().cost is None
    assert ImagesResponse().usage is None

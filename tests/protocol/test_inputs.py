"""Pictures before they are sent: what is refused with what to do, and how JSON holds them."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._media.source_text import decode_data_url, is_url
from imagesdk._protocol.bodies import Base64Segment, image_url_length, json_body
from imagesdk._protocol.image_checks import check_images
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Variation
from imagesdk.models import DALL_E_2, GPT_IMAGE_2, ModelProfile
from imagesdk.models.catalog import GPT_IMAGE_2_5_FLARE, MAX_IMAGE_URL
from imagesdk.types import Upload

JOB = Edit("a.png", "a cat")
URL = RemoteImage(url="https://pictures.test/a.png?sig=SECRET")


def picture(**facts: Any) -> Upload:
    plain = Upload("a.png", "image/png", 1000, width=64, height=64, alpha=True)
    return attrs.evolve(plain, **facts)


def refusal(
    pictures: InputImages, profile: ModelProfile = GPT_IMAGE_2, job: Any = JOB
) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        check_images(job, pictures, profile)
    assert "check=False" in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"name": "phone.jpg", "media_type": "image/jpeg", "several": True}, "several images in one JPEG"),
        ({"name": "print.jpg", "media_type": "image/jpeg", "cmyk": True}, "JPEG in CMYK"),
        ({"name": "phone.heic", "media_type": "image/heic"}, "HEIC"),
        ({"name": "web.avif", "media_type": "image/avif"}, "AVIF"),
        ({"name": "scan.tiff", "media_type": "image/tiff"}, "TIFF"),
        ({"name": "paint.bmp", "media_type": "image/bmp"}, "BMP"),
        ({"name": "cat.gif", "media_type": "image/gif"}, "GIF"),
    ],
)
def test_pictures_as_people_have_them_are_named_with_what_makes_them_fit(
    facts: dict[str, Any], said: str
) -> None:
    for profile in (GPT_IMAGE_2, DALL_E_2):
        error = refusal(InputImages((picture(**facts),)), profile)
        assert said in str(error)
        assert facts["name"] in str(error)
        assert "imagesdk.prepare_image(...)" in str(error)


@pytest.mark.parametrize(
    ("media_type", "said"),
    [("image/svg+xml", "Render the drawing as a PNG"), ("application/octet-stream", "not an image")],
)
def test_what_cannot_be_prepared_is_not_said_to_be(media_type: str, said: str) -> None:
    error = refusal(InputImages((picture(media_type=media_type),)))
    assert said in str(error)
    assert "prepare_image" not in str(error)


def test_a_plain_jpeg_is_sent() -> None:
    check_images(
        JOB, InputImages((picture(media_type="image/jpeg", cmyk=False, several=False),)), GPT_IMAGE_2
    )


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [({"size": 4 * 1024 * 1024}, "max_bytes=4194304"), ({"width": 65}, 'square="crop"')],
)
def test_what_is_too_large_or_not_square_is_refused_with_what_makes_it_fit(
    facts: dict[str, Any], remedy: str
) -> None:
    error = refusal(InputImages((picture(**facts),)), DALL_E_2, Variation("a.png"))
    assert f"prepare_image(..., {remedy})" in str(error)


@pytest.mark.parametrize("param", ["mask", "markup"])
class TestOverlay:
    def test_that_fits_is_sent(self, param: str) -> None:
        for transparent in (True, None):
            overlay = picture(transparent=transparent)
            check_images(JOB, InputImages((picture(),), **{param: overlay}), GPT_IMAGE_2_5_FLARE)

    def test_of_another_size_is_refused(self, param: str) -> None:
        error = refusal(InputImages((picture(),), **{param: picture(width=32)}), GPT_IMAGE_2_5_FLARE)
        assert (error.param, error.value, error.allowed) == (param, "32x64", "64x64")

    def test_of_unknown_size_or_on_a_picture_of_unknown_size_is_left_to_the_server(self, param: str) -> None:
        images: list[InputImage] = [URL, RemoteImage(file_id="file-1"), picture(width=None, height=None)]
        for image in images:
            check_images(JOB, InputImages((image,), **{param: picture(width=32)}), GPT_IMAGE_2_5_FLARE)
        unknown = picture(width=None, height=None)
        check_images(JOB, InputImages((picture(),), **{param: unknown}), GPT_IMAGE_2_5_FLARE)

    def test_without_alpha_or_anything_transparent_is_refused(self, param: str) -> None:
        for facts, lack in (
            ({"alpha": False}, "no alpha channel"),
            ({"transparent": False}, "no transparent pixel"),
        ):
            error = refusal(InputImages((picture(),), **{param: picture(**facts)}), GPT_IMAGE_2_5_FLARE)
            assert (error.param, error.value) == (param, f"a.png ({lack})")
            assert ("make_mask" if param == "mask" else "Draw the markup on a transparent PNG") in str(error)

    def test_that_is_no_png_is_refused(self, param: str) -> None:
        error = refusal(
            InputImages((picture(),), **{param: picture(media_type="image/webp")}), GPT_IMAGE_2_5_FLARE
        )
        assert (error.param, error.allowed) == (param, "a PNG file")

    def test_that_the_server_fetches_is_not_looked_at(self, param: str) -> None:
        check_images(JOB, InputImages((picture(),), **{param: URL}), GPT_IMAGE_2_5_FLARE)


def test_a_mask_and_a_markup_exclude_each_other() -> None:
    error = refusal(InputImages((picture(),), picture(), picture()), GPT_IMAGE_2_5_FLARE)
    assert (error.param, error.allowed) == ("markup", "a mask or a markup, not both")


def test_a_picture_that_the_server_fetches_needs_no_transparency_for_all_we_know() -> None:
    profile = attrs.evolve(DALL_E_2, response_formats=())
    check_images(JOB, InputImages((URL,)), profile)


class TestImageUrl:
    HEAD = len("data:image/png;base64,")

    def test_may_have_so_many_characters_in_json(self) -> None:
        largest = (MAX_IMAGE_URL - self.HEAD) // 4 * 3
        fits, over = picture(size=largest), picture(size=largest + 1)
        assert image_url_length(fits) <= MAX_IMAGE_URL < image_url_length(over)
        job = attrs.evolve(JOB, moderation="low")
        check_images(job, InputImages((fits,)), GPT_IMAGE_2)
        error = refusal(InputImages((fits, over)), GPT_IMAGE_2, job)
        assert "client.files.upload" in str(error)
        assert error.param == "image"

    def test_is_not_counted_in_a_form(self) -> None:
        check_images(JOB, InputImages((picture(size=MAX_IMAGE_URL),)), GPT_IMAGE_2)

    def test_is_counted_where_an_address_makes_it_json(self) -> None:
        assert refusal(InputImages((URL, picture(size=MAX_IMAGE_URL)))).param == "image"
        assert refusal(InputImages((URL,), mask=picture(size=MAX_IMAGE_URL))).param == "mask"
        assert (
            refusal(InputImages((RemoteImage(url="https://a.test/" + "b" * MAX_IMAGE_URL),))).param == "image"
        )


def sent(fields: dict[str, Any], pictures: InputImages, *without: str) -> Any:
    body = json_body(json.dumps(fields).encode(), pictures, without=frozenset(without))
    text = b""
    for part in body.segments():
        if isinstance(part, Base64Segment):
            assert isinstance(part.upload.source, bytes)
            text += base64.b64encode(part.upload.source)
        else:
            text += part
    assert len(text) == body.length
    assert list(body.segments()) == list(body.segments())
    return json.loads(text)


@given(
    fields=st.dictionaries(st.sampled_from("abcdef"), st.text() | st.integers()),
    images=st.lists(st.binary(max_size=9) | st.text(), min_size=1, max_size=3),
    mask=st.none() | st.binary(max_size=9),
)
def test_json_holds_the_fields_and_the_pictures(
    fields: dict[str, Any], images: list[bytes | str], mask: bytes | None
) -> None:
    def one(data: bytes | str) -> InputImage:
        return (
            RemoteImage(url=data)
            if isinstance(data, str)
            else Upload("a.png", "image/png", len(data), source=data)
        )

    def entry(data: bytes | str) -> dict[str, str]:
        url = data if isinstance(data, str) else f"data:image/png;base64,{base64.b64encode(data).decode()}"
        return {"image_url": url}

    pictures = InputImages(tuple(map(one, images)), None if mask is None else one(mask))
    expected = {**fields, "images": list(map(entry, images))}
    if mask is not None:
        expected["mask"] = entry(mask)
    assert sent(fields, pictures) == expected
    assert sent(fields, pictures, "images", "mask") == fields


@given(st.text())
def test_no_text_after_data_is_read_as_anything_but_bytes_or_refused(text: str) -> None:
    data: bytes | None = None
    with suppress(InvalidRequestError):
        data = decode_data_url("image", f"data:{text}")
    assert data is not None or "," not in text or "base64" in text.lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.test/b.png", True),
        ("HTTP://a", True),
        ("data:,", True),
        ("datas/a.png", False),
        ("", False),
    ],
)
def test_addresses_are_told_from_paths_by_how_they_begin(text: str, expected: bool) -> None:
    assert is_url(text) is expected

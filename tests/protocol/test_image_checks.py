"""Images are checked against the profile of their model, and a refusal names what to do."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from imagesdk._protocol.bodies import image_url_length
from imagesdk._protocol.image_checks import check_images
from imagesdk._protocol.inputs import InputImage, InputImages, RemoteImage
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Job, Variation
from imagesdk.models import DALL_E_2, GPT_IMAGE_2, ModelProfile
from imagesdk.models.catalog import GPT_IMAGE_2_5_FLARE, MAX_IMAGE_URL
from imagesdk.types import Upload

MIB = 1024 * 1024
EDIT = Edit("a.png", "a cat")
EDIT_OR_VARIATION = pytest.mark.parametrize("job", [EDIT, Variation("a.png")], ids=["edit", "variation"])
MASK_OR_MARKUP = pytest.mark.parametrize("param", ["mask", "markup"])
URL = RemoteImage(url="https://images.test/a.png?sig=SECRET")


def upload(**facts: Any) -> Upload:
    plain = Upload("a.png", "image/png", 1000, width=64, height=64, alpha=True)
    return attrs.evolve(plain, **facts)


def refusal(
    images: InputImages, profile: ModelProfile = GPT_IMAGE_2, job: Job = EDIT, *, skippable: bool = True
) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        check_images(job, images, profile)
    assert ("check=False" in str(caught.value)) == skippable
    return caught.value


@EDIT_OR_VARIATION
def test_dall_e_2_accepts_a_square_png_below_4_mib(job: Job) -> None:
    check_images(job, InputImages((upload(size=4 * MIB - 1),)), DALL_E_2)
    check_images(job, InputImages((upload(width=None, height=None),)), DALL_E_2)


@EDIT_OR_VARIATION
@pytest.mark.parametrize(("facts", "value", "allowed", "remedy"), [
    ({"size": 4 * MIB}, "4194304 bytes", "a file of less than 4194304 bytes (4 MiB)", "max_bytes=4194304"),
    ({"width": 65}, "65x64", "a square image", 'square="crop"'),
    ({"height": 65}, "64x65", "a square image", 'square="crop"'),
    ({"media_type": "image/jpeg"}, "JPEG", "a PNG file", "..."),
    ({"media_type": "image/webp"}, "WEBP", "a PNG file", "..."),
])  # fmt: skip
def test_dall_e_2_refuses_an_image_with_the_preparation_that_makes_it_fit(
    job: Job, facts: dict[str, Any], value: str, allowed: str, remedy: str
) -> None:
    error = refusal(InputImages((upload(**facts),)), DALL_E_2, job)
    assert (error.param, error.value, error.allowed) == ("image", f"a.png ({value})", allowed)
    assert f"imagesdk.prepare_image(...{'' if remedy == '...' else f', {remedy}'}" in str(error)


@EDIT_OR_VARIATION
def test_dall_e_2_takes_one_image(job: Job) -> None:
    error = refusal(InputImages((upload(), upload())), DALL_E_2, job)
    assert (error.param, error.value, error.allowed) == ("image", "2 images", "one image")


def test_gpt_image_2_accepts_16_images_of_three_formats_and_any_shape() -> None:
    kinds = ["image/png", "image/jpeg", "image/webp"]
    images = tuple(upload(media_type=kinds[i % 3], width=i + 1) for i in range(16))
    check_images(EDIT, InputImages(images), GPT_IMAGE_2)
    error = refusal(InputImages((upload(),) * 17))
    assert (error.param, error.value, error.allowed) == ("image", "17 images", "1 to 16 images")


def test_gpt_image_2_accepts_images_below_50_mib() -> None:
    check_images(EDIT, InputImages((upload(size=50 * MIB - 1),)), GPT_IMAGE_2)
    assert refusal(InputImages((upload(size=50 * MIB),))).param == "image"


def test_each_image_of_a_list_is_checked() -> None:
    error = refusal(InputImages((upload(), upload(name="b.gif", media_type="image/gif"))))
    assert (error.value, error.allowed) == ("b.gif (GIF)", "a PNG or JPEG or WEBP file")


def test_a_profile_without_rules_for_images_accepts_any() -> None:
    check_images(EDIT, InputImages((upload(size=10**9, media_type="x"),)), ModelProfile(name="mine"))


@pytest.mark.parametrize(("facts", "kind"), [
    ({"name": "phone.jpg", "media_type": "image/jpeg", "several": True}, "several images in one JPEG"),
    ({"name": "print.jpg", "media_type": "image/jpeg", "cmyk": True}, "JPEG in CMYK"),
    ({"name": "phone.heic", "media_type": "image/heic"}, "HEIC"),
    ({"name": "web.avif", "media_type": "image/avif"}, "AVIF"),
    ({"name": "scan.tiff", "media_type": "image/tiff"}, "TIFF"),
    ({"name": "paint.bmp", "media_type": "image/bmp"}, "BMP"),
    ({"name": "cat.gif", "media_type": "image/gif"}, "GIF"),
])  # fmt: skip
def test_a_file_that_prepare_image_converts_is_refused_with_its_format(
    facts: dict[str, Any], kind: str
) -> None:
    for profile in (GPT_IMAGE_2, DALL_E_2):
        error = refusal(InputImages((upload(**facts),)), profile)
        assert kind in str(error)
        assert facts["name"] in str(error)
        assert "imagesdk.prepare_image(...)" in str(error)


@pytest.mark.parametrize(
    ("media_type", "words"),
    [("image/svg+xml", "Render the drawing as a PNG"), ("application/octet-stream", "not an image")],
)
def test_a_file_that_prepare_image_cannot_convert_is_refused_without_that_remedy(
    media_type: str, words: str
) -> None:
    error = refusal(InputImages((upload(media_type=media_type),)))
    assert words in str(error)
    assert "prepare_image" not in str(error)


@MASK_OR_MARKUP
def test_an_overlay_that_fits_its_image_is_accepted(param: str) -> None:
    for transparent in (True, None):
        overlay = upload(transparent=transparent)
        check_images(EDIT, InputImages((upload(),), **{param: overlay}), GPT_IMAGE_2_5_FLARE)


@pytest.mark.parametrize("profile", [DALL_E_2, attrs.evolve(GPT_IMAGE_2, mask=None)])
def test_a_mask_of_another_size_is_refused_by_every_model(profile: ModelProfile) -> None:
    error = refusal(InputImages((upload(),), upload(name="m.png", width=128, height=128)), profile)
    assert (error.param, error.value, error.allowed) == ("mask", "128x128", "64x64")


@MASK_OR_MARKUP
def test_an_overlay_is_accepted_if_a_size_is_unknown(param: str) -> None:
    images: list[InputImage] = [URL, RemoteImage(file_id="file-1"), upload(width=None, height=None)]
    for image in images:
        check_images(EDIT, InputImages((image,), **{param: upload(width=32)}), GPT_IMAGE_2_5_FLARE)
    for unknown in ({"width": None}, {"height": None}, {"width": None, "height": None}):
        check_images(EDIT, InputImages((upload(),), **{param: upload(**unknown)}), GPT_IMAGE_2_5_FLARE)


def test_an_overlay_is_compared_with_the_first_image() -> None:
    images = (upload(), upload(width=32, height=32))
    check_images(EDIT, InputImages(images, upload()), GPT_IMAGE_2)
    with pytest.raises(InvalidRequestError, match="mask is 64x64 and image is 32x32"):
        check_images(EDIT, InputImages(images[::-1], upload()), GPT_IMAGE_2)


@MASK_OR_MARKUP
@pytest.mark.parametrize(("facts", "value", "allowed"), [
    ({"width": 32}, "32x64", "64x64"), ({"media_type": "image/webp"}, "a.png (WEBP)", "a PNG file"),
    ({"alpha": False}, "a.png (no alpha channel)", "a PNG with transparent pixels"),
    ({"transparent": False}, "a.png (no transparent pixel)", "a PNG with transparent pixels"),
])  # fmt: skip
def test_an_overlay_of_another_size_or_format_or_without_transparency_is_refused(
    param: str, facts: dict[str, Any], value: str, allowed: str
) -> None:
    error = refusal(InputImages((upload(),), **{param: upload(**facts)}), GPT_IMAGE_2_5_FLARE)
    assert (error.param, error.value, error.allowed) == (param, value, allowed)
    remedy = "make_mask" if param == "mask" else "Draw the markup on a transparent PNG"
    assert remedy in str(error) or "media_type" in facts


@MASK_OR_MARKUP
def test_an_overlay_that_the_server_fetches_is_accepted(param: str) -> None:
    check_images(EDIT, InputImages((upload(),), **{param: URL}), GPT_IMAGE_2_5_FLARE)


@pytest.mark.parametrize("facts", [{"size": 4 * MIB}, {"media_type": "image/jpeg"}, {"height": 32}])
def test_a_mask_has_the_rules_of_an_image(facts: dict[str, Any]) -> None:
    error = refusal(InputImages((upload(),), upload(name="m.png", **facts)), DALL_E_2)
    assert error.param == "mask"
    assert "m.png" in str(error)


def test_a_mask_and_a_markup_exclude_each_other() -> None:
    error = refusal(InputImages((upload(),), upload(), upload()), GPT_IMAGE_2_5_FLARE)
    assert (error.param, error.allowed) == ("markup", "a mask or a markup, not both")


def test_dall_e_2_needs_transparency_or_a_mask_for_an_edit() -> None:
    error = refusal(InputImages((upload(alpha=False),)), DALL_E_2, skippable=False)
    assert (error.param, error.value) == ("image", "a.png")
    assert error.allowed == "a PNG with transparency, or a mask"
    assert "mask=" in str(error)
    for alpha in (True, None):
        check_images(EDIT, InputImages((upload(alpha=alpha),)), DALL_E_2)


def test_an_opaque_image_is_accepted_with_a_mask_for_a_variation_and_by_gpt_image_2() -> None:
    opaque = upload(alpha=False)
    check_images(attrs.evolve(EDIT, mask="m.png"), InputImages((opaque,), upload()), DALL_E_2)
    check_images(Variation("a.png"), InputImages((opaque,)), DALL_E_2)
    check_images(EDIT, InputImages((opaque,)), GPT_IMAGE_2)


def test_an_image_that_the_server_fetches_may_be_transparent() -> None:
    check_images(EDIT, InputImages((URL,)), attrs.evolve(DALL_E_2, response_formats=()))


def test_an_image_url_in_json_has_a_maximum_length() -> None:
    largest = (MAX_IMAGE_URL - len("data:image/png;base64,")) // 4 * 3
    fits, over = upload(size=largest), upload(size=largest + 1)
    assert image_url_length(fits) <= MAX_IMAGE_URL < image_url_length(over)
    job = attrs.evolve(EDIT, moderation="low")
    check_images(job, InputImages((fits,)), GPT_IMAGE_2)
    error = refusal(InputImages((fits, over)), GPT_IMAGE_2, job)
    assert "client.files.upload" in str(error)
    assert error.param == "image"


def test_an_image_in_a_form_has_no_url_to_be_too_long() -> None:
    check_images(EDIT, InputImages((upload(size=MAX_IMAGE_URL),)), GPT_IMAGE_2)


def test_an_image_beside_a_url_becomes_json_with_the_maximum_length() -> None:
    assert refusal(InputImages((URL, upload(size=MAX_IMAGE_URL)))).param == "image"
    assert refusal(InputImages((URL,), mask=upload(size=MAX_IMAGE_URL))).param == "mask"
    long_url = RemoteImage(url="https://a.test/" + "b" * MAX_IMAGE_URL)
    assert refusal(InputImages((long_url,))).param == "image"

"""Input images against the rules of a model: format, size, shape, number, masks and transparency."""

from typing import Any

import attrs
import pytest

from imagesdk._protocol.image_checks import check_images
from imagesdk._protocol.inputs import InputImages
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Job, Variation
from imagesdk.models import DALL_E_2, GPT_IMAGE_2, ModelProfile
from imagesdk.types import Upload

MIB = 1024 * 1024
EDIT = Edit("a.png", "a cat")
MASKED = Edit("a.png", "a cat", mask="m.png")
UNRULED = ModelProfile(name="unruled")

both_endpoints = pytest.mark.parametrize("job", [EDIT, Variation("a.png")], ids=["edit", "variation"])


def upload(**facts: Any) -> Upload:
    given: dict[str, Any] = {"name": "a.png", "media_type": "image/png", "size": 1000}
    given |= {"width": 64, "height": 64, "alpha": True, **facts}
    return Upload(**given)


def refusal(job: Job, inputs: InputImages, profile: ModelProfile = DALL_E_2) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        check_images(job, inputs, profile)
    return caught.value


@both_endpoints
def test_dall_e_2_takes_a_square_png_of_less_than_4_mib(job: Job) -> None:
    check_images(job, InputImages((upload(size=4 * MIB - 1),)), DALL_E_2)


@both_endpoints
@pytest.mark.parametrize(
    ("facts", "found", "allowed"),
    [
        ({"size": 4 * MIB}, f"a.png ({4 * MIB} bytes)", "4 MiB"),
        ({"media_type": "image/jpeg"}, "a.png (JPEG)", "a PNG file"),
        ({"media_type": "image/webp"}, "a.png (WEBP)", "a PNG file"),
        ({"media_type": "application/octet-stream"}, "a.png (not an image)", "a PNG file"),
        ({"width": 65}, "a.png (65x64)", "a square image"),
        ({"height": 65}, "a.png (64x65)", "a square image"),
    ],
)
def test_dall_e_2_refuses_any_other_image_and_names_what_was_found(
    job: Job, facts: dict[str, Any], found: str, allowed: str
) -> None:
    error = refusal(job, InputImages((upload(**facts),)))
    assert (error.param, error.value) == ("image", found)
    assert allowed in (error.allowed or "")


@both_endpoints
def test_an_image_of_unknown_size_is_left_to_the_server(job: Job) -> None:
    check_images(job, InputImages((upload(width=None, height=None),)), DALL_E_2)


@both_endpoints
def test_dall_e_2_takes_one_image_only(job: Job) -> None:
    error = refusal(job, InputImages((upload(), upload())))
    assert (error.param, error.value, error.allowed) == ("image", "2 images", "one image")


def test_gpt_image_takes_up_to_16_images_of_three_formats_and_any_shape() -> None:
    kinds = ["image/png", "image/jpeg", "image/webp"]
    images = tuple(upload(media_type=kinds[i % 3], width=i + 1) for i in range(16))
    check_images(EDIT, InputImages(images), GPT_IMAGE_2)
    error = refusal(EDIT, InputImages((*images, upload())), GPT_IMAGE_2)
    assert (error.param, error.value, error.allowed) == ("image", "17 images", "1 to 16 images")


def test_gpt_image_checks_every_image_of_a_list() -> None:
    images = (upload(), upload(name="b.gif", media_type="image/gif"))
    error = refusal(EDIT, InputImages(images), GPT_IMAGE_2)
    assert (error.value, error.allowed) == ("b.gif (GIF)", "a PNG or JPEG or WEBP file")


def test_gpt_image_takes_images_of_less_than_50_mib() -> None:
    check_images(EDIT, InputImages((upload(size=50 * MIB - 1),)), GPT_IMAGE_2)
    assert refusal(EDIT, InputImages((upload(size=50 * MIB),)), GPT_IMAGE_2).param == "image"


def test_a_model_without_rules_for_images_takes_any_image() -> None:
    check_images(EDIT, InputImages((upload(size=10**9, media_type="x"),)), UNRULED)


@pytest.mark.parametrize("profile", [DALL_E_2, GPT_IMAGE_2, attrs.evolve(GPT_IMAGE_2, mask=None)])
def test_a_mask_must_have_the_width_and_height_of_the_image(profile: ModelProfile) -> None:
    check_images(MASKED, InputImages((upload(),), upload(name="m.png")), profile)
    error = refusal(MASKED, InputImages((upload(),), upload(name="m.png", width=128, height=128)), profile)
    assert (error.param, error.value, error.allowed) == ("mask", "128x128", "64x64")


@pytest.mark.parametrize("unknown", [{"width": None}, {"height": None}, {"width": None, "height": None}])
def test_a_mask_of_unknown_size_is_left_to_the_server(unknown: dict[str, None]) -> None:
    check_images(MASKED, InputImages((upload(),), upload(name="m.png", **unknown)), GPT_IMAGE_2)


@pytest.mark.parametrize(
    "facts", [{"size": 4 * MIB}, {"media_type": "image/jpeg"}, {"width": 64, "height": 32}]
)
def test_a_mask_keeps_the_rules_of_an_image(facts: dict[str, Any]) -> None:
    error = refusal(MASKED, InputImages((upload(),), upload(name="m.png", **facts)))
    assert error.param == "mask"
    assert "m.png" in str(error)


def test_a_mask_is_compared_with_the_first_image() -> None:
    images = (upload(), upload(width=32, height=32))
    check_images(MASKED, InputImages(images, upload()), GPT_IMAGE_2)
    with pytest.raises(InvalidRequestError, match="mask is 64x64 and image is 32x32"):
        check_images(MASKED, InputImages(images[::-1], upload()), GPT_IMAGE_2)


def test_dall_e_2_needs_transparency_in_an_image_without_a_mask() -> None:
    error = refusal(EDIT, InputImages((upload(alpha=False),)))
    assert (error.param, error.value) == ("image", "a.png")
    assert error.allowed == "a PNG with transparency, or a mask"
    assert "mask=" in str(error)


@pytest.mark.parametrize("alpha", [True, None])
def test_dall_e_2_takes_an_image_that_has_or_may_have_transparency(alpha: bool | None) -> None:
    check_images(EDIT, InputImages((upload(alpha=alpha),)), DALL_E_2)


def test_transparency_is_not_needed_with_a_mask_nor_by_a_variation_nor_by_gpt_image() -> None:
    opaque = upload(alpha=False)
    check_images(MASKED, InputImages((opaque,), upload()), DALL_E_2)
    check_images(Variation("a.png"), InputImages((opaque,)), DALL_E_2)
    check_images(EDIT, InputImages((opaque,)), GPT_IMAGE_2)

"""Costs of responses: exact if all facts are known, otherwise ``None``."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from imagesdk.models import (
    DALL_E_2,
    GPT_IMAGE_1_5,
    GPT_IMAGE_2,
    GPT_IMAGE_2_6_FLARE,
    GPT_IMAGE_2_6_SUNBURST,
    ModelProfile,
    known,
)
from imagesdk.pricing import cost
from imagesdk.types import Usage

USAGE = Usage(
    input_tokens=60, output_tokens=7024, total_tokens=7084, input_text_tokens=20, input_image_tokens=40
)


@pytest.mark.parametrize(
    ("size", "images", "dollars"),
    [
        ("256x256", 1, "0.016"),
        ("512x512", 1, "0.018"),
        ("1024x1024", 1, "0.020"),
        ("1024x1024", 10, "0.20"),
        (None, 3, "0.06"),
        ("256x256", 0, "0"),
    ],
)
def test_images_billed_by_size_cost_the_price_of_each(size: str | None, images: int, dollars: str) -> None:
    assert cost(DALL_E_2, images=images, size=size, usage=None) == Decimal(dollars)


@pytest.mark.parametrize(("images", "size"), [(1, "1024x1024"), (4, "auto"), (1, None)])
def test_images_billed_by_tokens_cost_the_counted_tokens_once(images: int, size: str | None) -> None:
    expected = (Decimal(20 * 5) + Decimal(40 * 8) + Decimal(7024 * 30)) / 1_000_000
    assert cost(GPT_IMAGE_2, images=images, size=size, usage=USAGE) == expected == Decimal("0.21114")


WITH_TEXT = attrs.evolve(USAGE, output_tokens=1100, output_text_tokens=100, output_image_tokens=1000)


@pytest.mark.parametrize(
    ("profile", "counts", "output"),
    [
        (GPT_IMAGE_1_5, {}, 1000 * 32 + 100 * 10),
        (GPT_IMAGE_1_5, {"output_image_tokens": None}, 1000 * 32 + 100 * 10),
        (GPT_IMAGE_1_5, {"output_image_tokens": None, "output_text_tokens": None}, 1100 * 32),
        (GPT_IMAGE_2, {}, 1100 * 30),
    ],
    ids=["own price", "text counted alone", "text not counted", "no price of text"],
)
def test_text_in_the_output_costs_as_much_as_the_image_unless_it_is_counted_and_has_a_price(
    profile: ModelProfile, counts: dict[str, Any], output: int
) -> None:
    usage = attrs.evolve(WITH_TEXT, **counts)
    expected = (Decimal(20 * 5) + 40 * 8 + output) / 1_000_000
    assert cost(profile, images=1, size=None, usage=usage) == expected


ZEROS = Usage(input_tokens=0, output_tokens=0, total_tokens=0, input_text_tokens=0, input_image_tokens=0)
UNKNOWN: dict[str, tuple[ModelProfile | None, dict[str, Any]]] = {
    "unknown model": (None, {}),
    "unknown size": (DALL_E_2, {"size": "2048x2048"}),
    "model without a price": (ModelProfile(name="free"), {}),
    "no usage": (GPT_IMAGE_2, {"usage": None}),
    "no output tokens": (GPT_IMAGE_2, {"usage": attrs.evolve(USAGE, output_tokens=None)}),
    "no input text tokens": (GPT_IMAGE_2, {"usage": attrs.evolve(USAGE, input_text_tokens=None)}),
    "no input image tokens": (GPT_IMAGE_2, {"usage": attrs.evolve(USAGE, input_image_tokens=None)}),
    "zeros of a server that does not count": (GPT_IMAGE_2, {"usage": ZEROS}),
    "more text than output": (GPT_IMAGE_1_5, {"usage": attrs.evolve(WITH_TEXT, output_text_tokens=1101)}),
    "SVG, which a text model writes": (GPT_IMAGE_2, {"svg": True}),
}


@pytest.mark.parametrize(("profile", "facts"), UNKNOWN.values(), ids=UNKNOWN)
def test_the_cost_is_unknown_if_a_fact_is_missing(
    profile: ModelProfile | None, facts: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"images": 1, "size": "1024x1024", "usage": USAGE, **facts}
    assert cost(profile, **given) is None


@pytest.mark.parametrize("profile", known(), ids=lambda profile: profile.name)
def test_list_prices_apply_only_to_servers_that_have_them(profile: ModelProfile) -> None:
    facts: dict[str, Any] = {"images": 1, "size": "1024x1024", "usage": USAGE}
    assert cost(profile, **facts) is not None
    assert cost(profile, **facts, list_price=False) is None
    own = attrs.evolve(profile, price=attrs.evolve(profile.price, list_price=False))
    assert cost(own, **facts, list_price=False) == cost(profile, **facts)


def test_a_batch_costs_half() -> None:
    whole = cost(GPT_IMAGE_2, images=1, size=None, usage=USAGE)
    assert whole is not None
    assert cost(GPT_IMAGE_2, images=1, size=None, usage=USAGE, batch=True) == whole / 2
    by_image = attrs.evolve(DALL_E_2, batch_share=Decimal("0.5"))
    assert cost(by_image, images=3, size=None, usage=None, batch=True) == Decimal("0.03")


@pytest.mark.parametrize("profile", [DALL_E_2, GPT_IMAGE_2_6_FLARE, GPT_IMAGE_2_6_SUNBURST])
def test_a_batch_costs_an_unknown_sum_if_the_share_of_the_model_is_unknown(profile: ModelProfile) -> None:
    facts: dict[str, Any] = {"images": 1, "size": "1024x1024", "usage": USAGE}
    assert cost(profile, **facts) is not None
    assert cost(profile, **facts, batch=True) is None

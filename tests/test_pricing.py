"""Costs of responses: exact if all facts are known, otherwise ``None``."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from imagesdk.models import DALL_E_2, GPT_IMAGE_1_5, GPT_IMAGE_2, ModelProfile, known
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


def test_images_billed_by_tokens_cost_the_counted_tokens() -> None:
    expected = (Decimal(20 * 5) + Decimal(40 * 8) + Decimal(7024 * 30)) / 1_000_000
    assert cost(GPT_IMAGE_2, images=1, size="1024x1024", usage=USAGE) == expected == Decimal("0.21114")


def test_tokens_are_counted_once_for_any_number_of_images() -> None:
    assert cost(GPT_IMAGE_2, images=4, size="auto", usage=USAGE) == cost(
        GPT_IMAGE_2, images=1, size=None, usage=USAGE
    )


WITH_TEXT = attrs.evolve(USAGE, output_tokens=1100, output_text_tokens=100, output_image_tokens=1000)


def test_text_in_the_output_has_its_own_price_if_the_model_has_one() -> None:
    expected = (Decimal(20 * 5) + 40 * 8 + 1000 * 32 + 100 * 10) / 1_000_000
    assert cost(GPT_IMAGE_1_5, images=1, size=None, usage=WITH_TEXT) == expected


def test_text_in_the_output_is_the_rest_if_the_server_counts_only_images() -> None:
    usage = attrs.evolve(WITH_TEXT, output_image_tokens=None)
    assert cost(GPT_IMAGE_1_5, images=1, size=None, usage=usage) == cost(
        GPT_IMAGE_1_5, images=1, size=None, usage=WITH_TEXT
    )


def test_text_in_the_output_costs_as_much_as_the_image_if_it_is_not_counted() -> None:
    usage = attrs.evolve(WITH_TEXT, output_text_tokens=None, output_image_tokens=None)
    expected = (Decimal(20 * 5) + 40 * 8 + 1100 * 32) / 1_000_000
    assert cost(GPT_IMAGE_1_5, images=1, size=None, usage=usage) == expected


def test_text_in_the_output_is_billed_as_the_image_if_the_model_has_no_price_for_it() -> None:
    expected = (Decimal(20 * 5) + 40 * 8 + 1100 * 30) / 1_000_000
    assert cost(GPT_IMAGE_2, images=1, size=None, usage=WITH_TEXT) == expected


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
    assert cost(DALL_E_2, images=3, size=None, usage=None, batch=True) == Decimal("0.03")

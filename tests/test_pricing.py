"""What a response cost: exact where it can be known, and ``None`` where not."""

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
def test_images_billed_by_size_cost_so_much_each(size: str | None, images: int, dollars: str) -> None:
    assert cost(DALL_E_2, images=images, size=size, usage=None) == Decimal(dollars)


def test_images_billed_by_tokens_cost_what_was_counted() -> None:
    expected = (Decimal(20 * 5) + Decimal(40 * 8) + Decimal(7024 * 30)) / 1_000_000
    assert cost(GPT_IMAGE_2, images=1, size="1024x1024", usage=USAGE) == expected == Decimal("0.21114")


def test_tokens_are_counted_once_however_many_images_came() -> None:
    assert cost(GPT_IMAGE_2, images=4, size="auto", usage=USAGE) == cost(
        GPT_IMAGE_2, images=1, size=None, usage=USAGE
    )


def test_the_cost_of_an_unknown_model_is_unknown() -> None:
    assert cost(None, images=1, size="1024x1024", usage=USAGE) is None


def test_the_cost_of_an_unknown_size_is_unknown() -> None:
    assert cost(DALL_E_2, images=1, size="2048x2048", usage=None) is None


def test_the_cost_of_a_model_without_a_price_is_unknown() -> None:
    assert cost(ModelProfile(name="free"), images=1, size=None, usage=USAGE) is None


@pytest.mark.parametrize("missing", ["output_tokens", "input_text_tokens", "input_image_tokens"])
def test_a_count_left_out_makes_the_cost_unknown_and_not_lower(missing: str) -> None:
    changes: dict[str, Any] = {missing: None}
    usage = attrs.evolve(USAGE, **changes)
    assert cost(GPT_IMAGE_2, images=1, size=None, usage=usage) is None


def test_no_usage_makes_the_cost_unknown() -> None:
    assert cost(GPT_IMAGE_2, images=1, size=None, usage=None) is None


def test_zeros_from_a_server_that_does_not_count_are_not_a_price() -> None:
    usage = Usage(input_tokens=0, output_tokens=0, total_tokens=0, input_text_tokens=0, input_image_tokens=0)
    assert cost(GPT_IMAGE_2, images=1, size=None, usage=usage) is None


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


def test_more_text_than_output_makes_the_cost_unknown() -> None:
    usage = attrs.evolve(WITH_TEXT, output_text_tokens=1101)
    assert cost(GPT_IMAGE_1_5, images=1, size=None, usage=usage) is None


@pytest.mark.parametrize("profile", known(), ids=lambda profile: profile.name)
def test_list_prices_hold_only_where_they_are_taken(profile: ModelProfile) -> None:
    facts: dict[str, Any] = {"images": 1, "size": "1024x1024", "usage": USAGE}
    assert cost(profile, **facts) is not None
    assert cost(profile, **facts, list_price=False) is None
    own = attrs.evolve(profile, price=attrs.evolve(profile.price, list_price=False))
    assert cost(own, **facts, list_price=False) == cost(profile, **facts)


def test_vector_graphics_cost_more_than_is_known() -> None:
    assert cost(GPT_IMAGE_2, images=1, size=None, usage=USAGE, svg=True) is None


def test_a_batch_costs_half() -> None:
    whole = cost(GPT_IMAGE_2, images=1, size=None, usage=USAGE)
    assert whole is not None
    assert cost(GPT_IMAGE_2, images=1, size=None, usage=USAGE, batch=True) == whole / 2
    assert cost(DALL_E_2, images=3, size=None, usage=None, batch=True) == Decimal("0.03")

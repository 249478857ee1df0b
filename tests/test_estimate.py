"""Estimates of the cost of a job: equal to every published number, and unknown where nothing is published."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import Edit, Estimate, Generate, InvalidRequestError, Job, Variation, estimate, models
from imagesdk.models import (
    DALL_E_2,
    GPT_IMAGE_2,
    GPT_IMAGE_2_6_FLARE,
    GPT_IMAGE_2_6_SUNBURST,
    ModelProfile,
    Price,
)

MILLION = Decimal(1_000_000)


def of(model: str, quality: str | None = None, size: str | None = None, **facts: Any) -> Estimate:
    return estimate(Generate("a cat", model=model, quality=quality, size=size, **facts))


def dollars(found: Estimate) -> tuple[Decimal, Decimal]:
    """Return the expected and the maximum cost, both of which are known."""
    assert found.cost is not None
    assert found.at_most is not None
    return found.cost, found.at_most


def cost_of_image(found: Estimate) -> Decimal:
    """Return the cost without that of the prompt ``a cat``, which has 2 tokens."""
    profile = models.lookup(found.model)
    assert profile is not None
    assert profile.price.text_input is not None
    return dollars(found)[0] - profile.price.text_input * 2 / MILLION


# https://developers.openai.com/api/docs/guides/image-generation, as of 2026
TOKENS_OF_THE_FIRST = [("low", 272, 408, 400), ("medium", 1056, 1584, 1568), ("high", 4160, 6240, 6208)]
# https://community.openai.com/t/1382699
TOKENS_OF_THE_SECOND = [
    ("1024x1024", 196, 1756, 7024),
    ("1536x1024", 158, 1372, 5488),
    ("1024x1536", 158, 1372, 5488),
    ("2048x2048", 397, 3568, 14272),
    ("2560x1440", 205, 1843, 7370),
    ("3840x2160", 371, 3336, 13342),
    ("2160x3840", 371, 3336, 13342),
]
DOLLARS = [
    ("gpt-image-1", "low", "0.011", "0.016"),
    ("gpt-image-1", "medium", "0.042", "0.063"),
    ("gpt-image-1", "high", "0.167", "0.25"),
    ("gpt-image-1.5", "low", "0.009", "0.013"),
    ("gpt-image-1.5", "medium", "0.034", "0.05"),
    ("gpt-image-1.5", "high", "0.133", "0.2"),
    ("gpt-image-2", "low", "0.006", "0.005"),
    ("gpt-image-2", "medium", "0.053", "0.041"),
    ("gpt-image-2", "high", "0.211", "0.165"),
]


@pytest.mark.parametrize(
    "model", ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "chatgpt-image-latest"]
)
@pytest.mark.parametrize(("quality", "square", "upright", "lying"), TOKENS_OF_THE_FIRST)
def test_tokens_of_the_first_models_are_those_of_the_table(
    model: str, quality: str, square: int, upright: int, lying: int
) -> None:
    assert of(model, quality, "1024x1024").output_tokens == square
    assert of(model, quality, "1024x1536").output_tokens == upright
    assert of(model, quality, "1536x1024").output_tokens == lying


@pytest.mark.parametrize(("size", "low", "medium", "high"), TOKENS_OF_THE_SECOND)
def test_tokens_of_the_second_model_are_those_that_are_published(
    size: str, low: int, medium: int, high: int
) -> None:
    assert of("gpt-image-2", "low", size).output_tokens == low
    assert of("gpt-image-2", "medium", size).output_tokens == medium
    assert of("gpt-image-2-2026-04-21", "high", size).output_tokens == high


@pytest.mark.parametrize(
    ("quality", "tokens", "price"),
    [
        ("low", 196, "0.0059"),
        ("medium", 439, "0.0132"),
        ("high", 1756, "0.0527"),
        ("xhigh", 3122, "0.0937"),
        ("max", 7024, "0.2107"),
    ],
)
@pytest.mark.parametrize("model", ["gpt-image-2.5-flare", "gpt-image-2.5-sunburst-2026-09-08"])
def test_tokens_of_2_5_follow_the_same_formula_and_are_called_an_estimate(
    model: str, quality: str, tokens: int, price: str
) -> None:
    found = of(model, quality, "1024x1024")
    assert found.output_tokens == tokens
    assert cost_of_image(found).quantize(Decimal("0.0001"), ROUND_HALF_UP) == Decimal(price)
    assert "an estimate: the formula of gpt-image-2" in found.reason


@pytest.mark.parametrize(("model", "quality", "square", "oblong"), DOLLARS)
def test_dollars_are_those_of_the_guide_to_a_fifth_of_a_cent(
    model: str, quality: str, square: str, oblong: str
) -> None:
    for size, price in (("1024x1024", square), ("1024x1536", oblong), ("1536x1024", oblong)):
        alone = cost_of_image(of(model, quality, size))
        assert abs(alone - Decimal(price)) < Decimal("0.002")
        if model == "gpt-image-2":  # the formula is exact
            assert alone.quantize(Decimal("0.001"), ROUND_HALF_UP) == Decimal(price)


@pytest.mark.parametrize(
    ("quality", "tokens", "guide"),
    [("low", "0.0022", "0.005"), ("medium", "0.0084", "0.011"), ("high", "0.0333", "0.036")],
)
def test_where_guide_and_tokens_disagree_the_tokens_are_expected_and_the_guide_is_the_bound(
    quality: str, tokens: str, guide: str
) -> None:
    found = of("gpt-image-1-mini", quality, "1024x1024")
    assert cost_of_image(found).quantize(Decimal("0.0001"), ROUND_HALF_UP) == Decimal(tokens)
    assert dollars(found)[1] - Decimal(guide) == Decimal(2 * len("a cat")) / MILLION
    assert f"A guide of OpenAI says up to ${guide} for each image." in found.reason


@pytest.mark.parametrize(
    ("model", "quality", "size", "price"),
    [
        ("dall-e-2", None, None, "0.020"),
        ("dall-e-2", None, "256x256", "0.016"),
        ("dall-e-2", "standard", "512x512", "0.018"),
        ("dall-e-3", None, None, "0.04"),
        ("dall-e-3", None, "1792x1024", "0.08"),
        ("dall-e-3", "hd", None, "0.08"),
        ("dall-e-3", "hd", "1024x1792", "0.12"),
    ],
)
def test_images_that_are_billed_by_the_image_cost_the_listed_price(
    model: str, quality: str | None, size: str | None, price: str
) -> None:
    found = of(model, quality, size)
    assert found.cost == found.at_most == Decimal(price)
    assert found.output_tokens is None
    assert f"${price} for each image" in found.reason


def test_several_images_cost_as_many_times_as_one_and_their_prompt_once() -> None:
    one, four = (of("gpt-image-2", "high", "1024x1024", n=n) for n in (1, 4))
    assert (four.images, four.output_tokens) == (4, 4 * 7024)
    assert cost_of_image(four) == 4 * cost_of_image(one)
    assert of("dall-e-2", n=10).cost == Decimal("0.20")
    assert estimate(Variation("a.png", n=3)).cost == Decimal("0.06")


def test_a_partial_image_is_100_tokens_more() -> None:
    found = of("gpt-image-2", "low", "1024x1024", partial_images=3)
    assert found.output_tokens == 196 + 300
    assert "100 tokens for each partial image" in found.reason


def test_a_batch_costs_half() -> None:
    job = Generate("a cat", model="gpt-image-2", quality="high", size="auto")
    whole, half = estimate(job), estimate(job, batch=True)
    assert dollars(half) == tuple(each / 2 for each in dollars(whole))
    assert half.output_tokens == whole.output_tokens


def test_a_batch_of_a_model_without_a_known_share_has_no_estimate_and_says_so() -> None:
    profile = attrs.evolve(models.GPT_IMAGE_2, name="covers", batch_share=None)
    job = Generate("a cat", quality="high", size="1024x1024")
    assert estimate(job, model=profile).cost is not None
    found = estimate(job, model=profile, batch=True)
    assert (found.cost, found.at_most, found.output_tokens) == (None, None, 7024)
    assert found.reason.endswith("The price of covers in the Batch API is not known.")
    newest = estimate(Generate("a cat", model="gpt-image-2.6-flare", quality="low"), batch=True)
    assert "gpt-image-2.6-flare in the Batch API is not known." in newest.reason


def test_an_automatic_size_is_estimated_as_the_usual_one_and_at_most_the_most_expensive() -> None:
    found = of("gpt-image-2", "high")
    assert found.cost == of("gpt-image-2", "high", "1024x1024").cost
    assert "The server chooses the size: 1024x1024 is assumed." in found.reason
    assert dollars(found)[1] == dollars(of("gpt-image-2", "high", "2880x2880"))[1]


def test_an_automatic_quality_is_not_estimated_and_costs_at_most_the_most_expensive() -> None:
    found = of("gpt-image-2", None, "1024x1024")
    assert (found.cost, found.output_tokens) == (None, None)
    assert found.at_most == of("gpt-image-2", "high", "1024x1024").at_most
    assert "The server chooses the quality" in found.reason
    assert of("gpt-image-2", "auto", "1024x1024") == found


def test_a_table_bounds_the_cost_by_its_most_expensive_entry() -> None:
    assert of("gpt-image-1").at_most == of("gpt-image-1", "high", "1024x1536").at_most
    assert of("gpt-image-1", "low").at_most == of("gpt-image-1", "low", "1024x1536").at_most


@given(st.integers(41, 240), st.integers(41, 240), st.sampled_from(["low", "medium", "high"]))
def test_no_size_and_quality_costs_more_than_the_bound(w: int, h: int, quality: str) -> None:
    width, height = map(int, models.nearest_size(16 * w, 16 * h).split("x"))
    expected, at_most = dollars(of("gpt-image-2", quality, f"{width}x{height}"))
    bound = of("gpt-image-2", "auto", "auto").at_most
    assert bound is not None
    assert expected <= at_most <= bound


def test_the_cost_of_an_unknown_model_is_unknown() -> None:
    reason = "Nothing is known of sd-cpp-local: register a profile with its price."
    assert of("sd-cpp-local", "low", "1024x1024", n=3) == Estimate("sd-cpp-local", 3, reason=reason)


NO_INPUT_TOKENS = attrs.evolve(GPT_IMAGE_2, input_tokens=None)
NO_INPUT_PRICE = attrs.evolve(GPT_IMAGE_2, price=Price(image_output=Decimal(30)))
PLAIN = Generate("a cat", quality="low", size="1024x1024")
UNKNOWN: list[tuple[Job, str | ModelProfile, str, int | None]] = [
    (PLAIN, GPT_IMAGE_2_6_FLARE, "is not published", None),
    (PLAIN, GPT_IMAGE_2_6_SUNBURST, "is not published", None),
    (attrs.evolve(PLAIN, output_format="gif"), "gpt-image-2.5-flare", "animation", None),
    (attrs.evolve(PLAIN, output_format="svg"), "gpt-image-2.5-flare", "billed apart", None),
    (PLAIN, ModelProfile(name="mine"), "No price of mine is known.", None),
    (Generate("a cat", quality="high", size="2048x2048"), "gpt-image-1", "is not known.", None),
    (Generate("a cat", quality="ultra", size="1024x1024"), "gpt-image-2", "is not known.", None),
    (Generate("a cat", quality="low", size="big"), "gpt-image-2", "is not known.", None),
    (Generate("a cat", quality="hd", size="1024x1024"), "dall-e-2", "is known for hd 1024x1024.", None),
    (Generate("a cat", quality="hd", size="256x256"), "dall-e-3", "is known for hd 256x256.", None),
    (Edit("a.png", "x", quality="low", size="1024x1024"), NO_INPUT_TOKENS, "input image is not known", 196),
    (PLAIN, NO_INPUT_PRICE, "The price of what is sent is not known.", 196),
]


@pytest.mark.parametrize(("job", "model", "reason", "output_tokens"), UNKNOWN)
def test_the_cost_is_unknown_if_a_price_or_a_number_of_tokens_is(
    job: Job, model: str | ModelProfile, reason: str, output_tokens: int | None
) -> None:
    found = estimate(job, model=model)
    assert (found.output_tokens, found.cost, found.at_most) == (output_tokens, None, None)
    assert reason in found.reason


def test_a_prompt_is_estimated_at_four_bytes_per_token_and_bounded_at_one() -> None:
    short, long = (estimate(Generate(p, quality="low", size="1024x1024")) for p in ("x", "x" * 4000))
    assert dollars(long)[0] - dollars(short)[0] == Decimal(5 * 999) / MILLION
    assert dollars(long)[1] - dollars(short)[1] == Decimal(5 * 3999) / MILLION
    assert "About 1 token for the prompt." in short.reason
    assert "About 1000 tokens for the prompt." in long.reason


def test_input_images_are_counted_in_the_job_or_given() -> None:
    facts: dict[str, Any] = {"quality": "low", "size": "1024x1024"}
    one = estimate(Edit("a.png", "a cat", **facts))
    two = estimate(Edit(["a.png", "b.png"], "a cat", **facts))
    each = (Decimal(8) * 1250 + Decimal(5) * 32) / MILLION
    assert dollars(one)[0] - each == of("gpt-image-2", "low", "1024x1024").cost
    assert dollars(two)[0] - dollars(one)[0] == each
    assert estimate(Edit("a.png", "a cat", **facts), inputs=2) == two
    assert "About 1250 tokens for each input image." in one.reason


def test_a_mask_may_cost_as_much_as_an_image() -> None:
    plain, masked = (
        estimate(Edit("a.png", "x", mask=mask, quality="low", size="1024x1024")) for mask in (None, "m.png")
    )
    assert plain.cost == masked.cost
    assert dollars(masked)[1] > dollars(plain)[1]


def test_high_input_fidelity_costs_more() -> None:
    job = Edit("a.png", "x", model="gpt-image-1", quality="low", size="1024x1024")
    low, high = (dollars(estimate(attrs.evolve(job, input_fidelity=each)))[0] for each in ("low", "high"))
    assert high - low == Decimal(10 * 6240) / MILLION


@pytest.mark.parametrize(
    ("job", "model"),
    [
        (Generate("a cat"), "gpt-image-2"),
        (Edit("a.png", "a cat"), "gpt-image-2"),
        (Variation("a.png"), "dall-e-2"),
    ],
)
def test_the_default_model_of_openai_is_assumed_if_no_model_is_named(job: Job, model: str) -> None:
    found = estimate(job)
    assert found.model == model
    assert f"No model is named: {model} is assumed" in found.reason


def test_a_model_can_be_tried_in_place_of_the_one_that_is_named() -> None:
    job = Generate("a cat", model="gpt-image-2", size="1024x1024")
    assert estimate(job, model="dall-e-2") == estimate(attrs.evolve(job, model="dall-e-2"))
    assert estimate(job, model=DALL_E_2).model == "dall-e-2"


def test_text_besides_the_image_is_not_in_the_estimate() -> None:
    assert "besides the image is not included" in of("gpt-image-1.5", "low", "1024x1024").reason


@pytest.mark.parametrize("model", ["gpt-image-2", "dall-e-2", "sd-cpp-local"])
@pytest.mark.parametrize("n", [0, -1, True])
def test_a_number_of_images_below_1_is_refused(model: str, n: int) -> None:
    with pytest.raises(InvalidRequestError, match="a whole number of at least 1") as caught:
        of(model, "low", "1024x1024", n=n)
    assert caught.value.param == "n"

"""The table of models: what the references say of them, and how it is extended."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import ConfigurationError, RateLimit, models
from imagesdk.models import DALL_E_2, GPT_IMAGE_2, ModelProfile, SizeRule, known, lookup, register


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test register what it likes."""
    monkeypatch.setattr(models, "_profiles", dict(vars(models)["_profiles"]))


def test_the_model_of_2023_has_the_documented_limits() -> None:
    assert lookup("dall-e-2") is DALL_E_2
    assert (DALL_E_2.prompt_length, DALL_E_2.max_n, DALL_E_2.default_size) == (1000, 10, "1024x1024")
    assert DALL_E_2.sizes == ("256x256", "512x512", "1024x1024")
    assert DALL_E_2.response_formats == ("url", "b64_json")
    for rule in (DALL_E_2.edit, DALL_E_2.mask, DALL_E_2.variation):
        assert rule is not None
        assert (rule.media_types, rule.max_bytes, rule.square) == (("image/png",), 4 * 1024**2, True)
        assert rule.max_images == 1
    assert DALL_E_2.edit is not None
    assert DALL_E_2.edit.alpha_without_mask


def test_the_living_model_answers_with_pictures_and_makes_no_variations() -> None:
    assert GPT_IMAGE_2.response_formats == ()
    assert GPT_IMAGE_2.variation is None
    assert GPT_IMAGE_2.prompt_length == 32_000
    assert GPT_IMAGE_2.edit is not None
    assert (GPT_IMAGE_2.edit.max_images, GPT_IMAGE_2.edit.max_bytes) == (16, 50 * 1024**2)


def test_a_dated_name_means_the_same_model() -> None:
    assert lookup("gpt-image-2-2026-04-21") is lookup("gpt-image-2") is GPT_IMAGE_2


@pytest.mark.parametrize("name", [None, "", "sd-cpp-local", "GPT-IMAGE-2"])
def test_a_model_that_is_not_in_the_table_has_no_rules(name: str | None) -> None:
    assert lookup(name) is None


def test_the_models_named_by_default_are_known_and_the_one_for_pictures_lives() -> None:
    assert lookup(models.MAKER_VARIATION_MODEL) is DALL_E_2
    for name in (models.MAKER_GENERATE_MODEL, models.MAKER_EDIT_MODEL):
        profile = lookup(name)
        assert profile is not None
        assert profile.shut_down is None
        assert profile.edit is not None


def test_a_retired_model_names_a_living_one_in_its_place() -> None:
    for profile in known():
        if profile.shut_down is not None:
            replacement = lookup(profile.replacement)
            assert replacement is not None
            assert replacement.shut_down is None


def test_every_default_is_allowed() -> None:
    for profile in known():
        assert profile.default_size in profile.sizes


def test_every_model_is_listed_once() -> None:
    assert [profile.name for profile in known()] == [
        "dall-e-2",
        "dall-e-3",
        "gpt-image-1",
        "gpt-image-1-mini",
        "gpt-image-1.5",
        "chatgpt-image-latest",
        "gpt-image-2",
        "gpt-image-2.5-sunburst",
        "gpt-image-2.5-flare",
        "gpt-image-2.6-sunburst",
        "gpt-image-2.6-flare",
    ]


@pytest.mark.usefixtures("table")
def test_a_newer_model_can_be_added() -> None:
    newer = ModelProfile(name="gpt-image-9", snapshots=("gpt-image-9-2027-01-01",), max_n=4)
    register(newer)
    assert lookup("gpt-image-9") is lookup("gpt-image-9-2027-01-01") is newer
    assert known()[-1] is newer


@pytest.mark.usefixtures("table")
def test_a_model_can_be_given_other_terms_and_the_old_ones_are_gone() -> None:
    other = ModelProfile(name="gpt-image-2", max_n=4)
    register(other)
    assert lookup("gpt-image-2") is other
    assert lookup("gpt-image-2-2026-04-21") is None
    assert len({profile.name for profile in known()}) == len(known())
    assert GPT_IMAGE_2 not in known()


FREE = SizeRule(multiple=16, max_edge=3840, max_ratio=3, min_pixels=655_360, max_pixels=8_294_400)


def test_the_living_model_takes_free_sizes() -> None:
    assert GPT_IMAGE_2.size_rule == FREE


@pytest.mark.parametrize(
    ("width", "height", "problem"),
    [
        (1024, 1024, None),
        (2048, 1152, None),
        (3840, 2160, None),
        (2160, 3840, None),
        (1920, 1088, None),
        (640, 1024, None),
        (1024, 640, None),
        (2880, 2880, None),
        (1920, 1080, "multiples of 16"),
        (1000, 1024, "multiples of 16"),
        (3856, 2160, "longer than 3840"),
        (2160, 3856, "longer than 3840"),
        (1536, 512, None),
        (1552, 512, "3 times"),
        (512, 1552, "3 times"),
        (512, 512, "between 655360 and 8294400 pixels"),
        (624, 1040, "between 655360"),
        (2896, 2880, "between 655360"),
    ],
)
def test_free_sizes_keep_four_rules(width: int, height: int, problem: str | None) -> None:
    found = FREE.problem(width, height)
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert problem in found


edges = st.integers(1, 300).map(lambda n: n * 16) | st.integers(1, 5000)


@given(edges, edges)
def test_a_size_and_its_transpose_are_judged_alike(width: int, height: int) -> None:
    assert FREE.problem(width, height) == FREE.problem(height, width)


@given(edges, edges)
def test_a_size_is_legal_exactly_when_all_four_rules_hold(width: int, height: int) -> None:
    legal = (
        width % 16 == height % 16 == 0
        and max(width, height) <= 3840
        and max(width, height) <= 3 * min(width, height)
        and 655_360 <= width * height <= 8_294_400
    )
    assert (FREE.problem(width, height) is None) == legal


def test_another_model_may_have_another_rule() -> None:
    rule = SizeRule(multiple=8, max_edge=64, max_ratio=1, min_pixels=1, max_pixels=10_000)
    assert rule.problem(64, 64) is None
    assert rule.problem(64, 56) == "the long edge may be at most 1 times the short one"


def test_prices_are_exact() -> None:
    assert DALL_E_2.price.per_image["standard", "1024x1024"] == Decimal("0.02")
    assert set(DALL_E_2.price.per_image) == {("standard", size) for size in DALL_E_2.sizes}
    assert GPT_IMAGE_2.price.image_output == 30


@pytest.mark.parametrize(
    ("tier", "images", "tokens"),
    [(1, 5, 100_000), (2, 20, 250_000), (3, 50, 800_000), (4, 150, 3_000_000), (5, 250, 8_000_000)],
)
def test_the_living_model_has_a_limit_of_images_and_tokens_for_each_tier(
    tier: int, images: int, tokens: int
) -> None:
    limit = RateLimit(images, per=60.0, tokens=tokens)
    assert RateLimit.tier(tier) == RateLimit.tier(tier, model="gpt-image-2-2026-04-21") == limit


@pytest.mark.parametrize(("tier", "images"), [(1, 5), (2, 50), (3, 100), (4, 100), (5, 500)])
def test_the_model_of_2023_has_a_limit_of_images_for_each_tier(tier: int, images: int) -> None:
    assert RateLimit.tier(tier, model="dall-e-2") == RateLimit(images, per=60.0)


@pytest.mark.parametrize("tier", [0, 6, "Build"])
def test_a_tier_that_is_not_known_is_refused_with_those_that_are(tier: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"gpt-image-2 \(known: 1, 2, 3, 4, 5\)"):
        RateLimit.tier(tier)


def test_a_model_that_is_not_in_the_table_has_no_tiers() -> None:
    with pytest.raises(ConfigurationError, match=r"for sd-cpp-local \(known: none\)"):
        RateLimit.tier(1, model="sd-cpp-local")


@pytest.mark.usefixtures("table")
def test_the_tiers_of_an_account_with_other_terms_can_be_given() -> None:
    register(ModelProfile(name="gpt-image-9", tiers={1: (20, 250_000), 2: (150, None)}))
    assert RateLimit.tier(1, model="gpt-image-9") == RateLimit(20, tokens=250_000)
    assert RateLimit.tier(2, model="gpt-image-9") == RateLimit(150)

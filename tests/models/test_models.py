"""The catalog of models: agreement with the references and with itself, and profiles that users register."""

from datetime import date
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import image_edit_params, image_generate_params, image_model

from imagesdk import ConfigurationError, Edit, Generate, RateLimit, Variation, models
from imagesdk.models import (
    DALL_E_2,
    DALL_E_3,
    GPT_IMAGE_2,
    GPT_IMAGE_2_6_FLARE,
    ModelProfile,
    SizeRule,
    catalog,
    known,
    lookup,
    register,
    retirement_notice,
)
from imagesdk.models.sizes import parse_size


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the registered profiles after the test."""
    monkeypatch.setattr(models, "_profiles", dict(vars(models)["_profiles"]))


def test_dall_e_2_has_the_documented_limits() -> None:
    assert lookup("dall-e-2") is DALL_E_2
    assert (DALL_E_2.prompt_length, DALL_E_2.max_n, DALL_E_2.default_size) == (1000, 10, "1024x1024")
    assert DALL_E_2.sizes == ("256x256", "512x512", "1024x1024")
    assert DALL_E_2.response_formats == ("url", "b64_json")
    assert DALL_E_2.price.per_image["standard", "1024x1024"] == Decimal("0.02")
    for rule in (DALL_E_2.edit, DALL_E_2.mask, DALL_E_2.variation):
        assert rule is not None
        assert (rule.media_types, rule.max_bytes, rule.square) == (("image/png",), 4 * 1024**2, True)
        assert rule.max_images == 1
    assert DALL_E_2.edit is not None
    assert DALL_E_2.edit.alpha_without_mask


def test_the_default_model_returns_images_and_has_no_variations() -> None:
    for name in (catalog.OPENAI_GENERATE_MODEL, catalog.OPENAI_EDIT_MODEL):
        assert lookup(name) is GPT_IMAGE_2
    assert lookup(catalog.OPENAI_VARIATION_MODEL) is DALL_E_2
    assert GPT_IMAGE_2.shut_down is None
    assert GPT_IMAGE_2.size_rule == FREE
    assert GPT_IMAGE_2.response_formats == ()
    assert GPT_IMAGE_2.variation is None
    assert GPT_IMAGE_2.prompt_length == 32_000
    assert GPT_IMAGE_2.edit is not None
    assert (GPT_IMAGE_2.edit.max_images, GPT_IMAGE_2.edit.max_bytes) == (16, 50 * 1024**2)


def test_a_dated_name_is_the_same_model() -> None:
    assert lookup("gpt-image-2-2026-04-21") is lookup("gpt-image-2") is GPT_IMAGE_2


@pytest.mark.parametrize("name", [None, "", "sd-cpp-local", "GPT-IMAGE-2"])
def test_an_unknown_model_has_no_profile(name: str | None) -> None:
    assert lookup(name) is None


@pytest.fixture(params=known(), ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> ModelProfile:
    """Each model of the catalog."""
    profile: ModelProfile = request.param
    return profile


def test_a_retired_profile_names_a_replacement_that_exists(profile: ModelProfile) -> None:
    if profile.shut_down is None:
        assert profile.replacement is None
        return
    replacement = lookup(profile.replacement)
    assert replacement is not None
    assert replacement.shut_down is None
    assert set(replacement.endpoints) >= set(profile.endpoints) - {"variations"}


def test_a_profile_allows_its_own_defaults(profile: ModelProfile) -> None:
    assert profile.default_size in profile.sizes
    assert profile.default_quality in profile.qualities


def test_the_sizes_of_a_profile_keep_its_rule(profile: ModelProfile) -> None:
    for size in set(profile.sizes) - {"auto"}:
        edges = parse_size(size)
        assert edges is not None
        assert profile.size_rule is None or profile.size_rule.problem(*edges) is None


def test_a_profile_accepts_and_rejects_parameters_of_jobs_and_never_the_same_one(
    profile: ModelProfile,
) -> None:
    assert profile.accepted & profile.rejected == set()
    assert profile.accepted | profile.rejected <= PARAMETERS


def test_a_profile_accepts_or_rejects_every_parameter_whose_rule_is_known(profile: ModelProfile) -> None:
    unknown = PARAMETERS - profile.accepted - profile.rejected
    # no source says whether the models between take it: it is sent, and the server decides
    decided = profile.name.startswith(("dall-e", "gpt-image-2.6"))
    assert unknown == (set() if decided else {"complexity"})


def test_a_profile_lists_the_values_of_the_parameters_that_it_accepts(profile: ModelProfile) -> None:
    for name, words in {
        "quality": profile.qualities,
        "background": profile.backgrounds,
        "output_format": profile.output_formats,
        "moderation": profile.moderations,
        "style": profile.styles,
        "input_fidelity": profile.input_fidelities,
        "response_format": profile.response_formats,
    }.items():
        assert bool(words) == (name in profile.accepted), name
        assert len(set(words)) == len(words)
    for name, output_format in {"frame_count": "gif", "frame_duration_ms": "gif", "svg": "svg"}.items():
        assert (name in profile.accepted) == (output_format in profile.output_formats)
    assert ("partial_images" in profile.accepted) == profile.streams


def test_the_batch_share_is_half_where_it_is_known_and_each_profile_says_why(profile: ModelProfile) -> None:
    unknown = profile.name.startswith(("dall-e", "gpt-image-2.6"))
    assert profile.batch_share == (None if unknown else Decimal("0.5"))
    assert profile.sources["batch_share"]


def test_the_models_that_end_on_the_first_of_december_2026_are_these() -> None:
    ending = {profile.name for profile in known() if profile.shut_down == date(2026, 12, 1)}
    assert ending == {"gpt-image-1.5", "chatgpt-image-latest", "gpt-image-1-mini"}
    for profile in map(lookup, ending):
        notice = retirement_notice(profile, catalog.AS_OF)
        assert notice is not None
        assert "2026-12-01, in 4 days" in notice


def test_a_profile_has_rules_for_the_images_of_its_endpoints(profile: ModelProfile) -> None:
    assert (profile.edit is not None) == ("edits" in profile.endpoints)
    assert (profile.variation is not None) == ("variations" in profile.endpoints)
    assert (profile.markup is not None) == ("markup" in profile.accepted)
    assert profile.mask is None or profile.edit is not None
    assert "generations" in profile.endpoints


def test_a_model_is_released_before_it_is_deprecated_and_deprecated_before_its_shutdown(
    profile: ModelProfile,
) -> None:
    assert profile.released is not None
    assert profile.released <= catalog.AS_OF
    assert (profile.deprecated is None) == (profile.shut_down is None)
    if profile.deprecated is not None and profile.shut_down is not None:
        assert profile.released < profile.deprecated <= catalog.AS_OF
        assert profile.deprecated < profile.shut_down


def test_a_model_is_billed_by_image_or_by_token_at_the_list_price(profile: ModelProfile) -> None:
    price = profile.price
    assert price.list_price
    by_tokens = (price.text_input, price.image_input, price.image_output)
    if price.per_image:
        assert by_tokens == (None, None, None)
        assert set(price.per_image) == {(q, s) for q in profile.qualities for s in profile.sizes}
    else:
        assert None not in by_tokens
        assert profile.input_tokens is not None
        assert 0 < profile.input_tokens.typical <= profile.input_tokens.most
    named = {*profile.output_tokens.factors, *(quality for quality, _ in profile.output_tokens.table)}
    assert named in (set(), set(profile.qualities) - {"auto"})


def test_a_profile_names_the_source_of_each_fact(profile: ModelProfile) -> None:
    attributes = {field.name for field in attrs.fields(ModelProfile)}
    assert set(profile.sources) <= attributes | {""}
    optional = {"deprecated", "shut_down", "replacement", "tiers", "size_rule", "input_tokens"}
    required = {"", "released", "price"} | {name for name in optional if getattr(profile, name)}
    assert required <= set(profile.sources)
    assert "output_tokens" in profile.sources or profile.input_tokens is None
    assert all(profile.sources.values())


_FIELDS = {field.name for job in (Generate, Edit, Variation) for field in attrs.fields(job)}
PARAMETERS = _FIELDS - {"prompt", "model", "image", "mask"}


def test_every_model_without_an_end_is_one_of_the_official_client() -> None:
    names = set(get_args(image_model.ImageModel))  # a later version of it may know more
    current = [profile for profile in known() if profile.shut_down is None]
    assert {name for profile in current for name in (profile.name, *profile.snapshots)} <= names


def test_every_parameter_of_a_job_is_one_of_the_official_client() -> None:
    generated = set(get_type_hints(image_generate_params.ImageGenerateParamsNonStreaming))
    assert {field.name for field in attrs.fields(Generate)} <= generated
    edited = set(get_type_hints(image_edit_params.ImageEditParamsNonStreaming))
    assert {field.name for field in attrs.fields(Edit)} - edited == {"moderation"}


@pytest.mark.parametrize(
    ("name", "newest"),
    [
        ("quality", GPT_IMAGE_2_6_FLARE.qualities),
        ("background", GPT_IMAGE_2_6_FLARE.backgrounds),
        ("output_format", GPT_IMAGE_2_6_FLARE.output_formats),
        ("moderation", GPT_IMAGE_2_6_FLARE.moderations),
        ("complexity", GPT_IMAGE_2_6_FLARE.complexities),
        ("response_format", DALL_E_2.response_formats),
        ("style", DALL_E_3.styles),
    ],
)
def test_the_words_of_the_official_client_are_known(name: str, newest: tuple[str, ...]) -> None:
    hint = get_type_hints(image_generate_params.ImageGenerateParamsNonStreaming)[name]
    words = {word for choice in get_args(hint) for word in get_args(choice)} or set(get_args(hint))
    assert set(newest) <= words


def test_the_efforts_of_the_official_client_are_known() -> None:
    (hint, _) = get_args(get_type_hints(image_generate_params.SvgReasoning)["effort"])
    assert set(catalog.SVG_EFFORTS) <= set(get_args(hint))


ENDING = lookup("gpt-image-1.5")


@pytest.mark.parametrize(
    ("today", "message"),
    [
        (date(2026, 10, 1), None),
        (date(2026, 10, 2), "will be shut down on 2026-12-01, in 60 days"),
        (date(2026, 11, 27), "will be shut down on 2026-12-01, in 4 days"),
        (date(2026, 11, 30), "will be shut down on 2026-12-01, tomorrow"),
        (date(2026, 12, 1), "was shut down on 2026-12-01"),
        (date(2027, 12, 1), "was shut down on 2026-12-01"),
    ],
)
def test_a_retirement_notice_begins_60_days_before_the_shutdown_and_stays(
    today: date, message: str | None
) -> None:
    notice = retirement_notice(ENDING, today)
    assert notice == (message and f"gpt-image-1.5 {message}. Use model='gpt-image-2.6-sunburst'.")


def test_no_retirement_notice_for_a_model_without_an_end_or_an_unknown_one() -> None:
    assert retirement_notice(GPT_IMAGE_2, date(2036, 1, 1)) is None
    assert retirement_notice(None, date(2036, 1, 1), endpoint="generations") is None


def test_the_retirement_notice_of_variations_names_edits_for_every_model() -> None:
    for profile in (DALL_E_2, None):
        notice = retirement_notice(profile, date(2026, 11, 27), endpoint="variations")
        assert notice is not None
        assert "variations endpoint was retired on 2026-05-12" in notice
        assert "images.edit(image, prompt)" in notice
    assert retirement_notice(None, date(2026, 5, 11), endpoint="variations") is None
    before = retirement_notice(DALL_E_2, date(2026, 5, 11), endpoint="variations")
    assert before == "dall-e-2 will be shut down on 2026-05-12, tomorrow. Use model='gpt-image-2.5-flare'."


def test_a_retirement_notice_has_no_replacement_if_none_is_known() -> None:
    profile = ModelProfile(name="mine", shut_down=date(2026, 5, 12))
    assert retirement_notice(profile, date(2026, 11, 27)) == "mine was shut down on 2026-05-12."


def test_every_model_is_listed_once() -> None:
    gpt = ["1", "1-mini", "1.5", "2", "2.5-sunburst", "2.5-flare", "2.6-sunburst", "2.6-flare"]
    names = ["dall-e-2", "dall-e-3", *(f"gpt-image-{version}" for version in gpt)]
    assert [profile.name for profile in known()] == [*names[:5], "chatgpt-image-latest", *names[5:]]


@pytest.mark.usefixtures("table")
def test_a_newer_model_can_be_added() -> None:
    newer = ModelProfile(name="gpt-image-9", snapshots=("gpt-image-9-2027-01-01",), max_n=4)
    register(newer)
    assert lookup("gpt-image-9") is lookup("gpt-image-9-2027-01-01") is newer
    assert known()[-1] is newer


@pytest.mark.usefixtures("table")
def test_one_fact_of_a_known_model_can_be_changed() -> None:
    register(attrs.evolve(GPT_IMAGE_2, max_n=4))
    changed = lookup("gpt-image-2-2026-04-21")
    assert changed is not None
    assert (changed.max_n, changed.prompt_length) == (4, 32_000)


@pytest.mark.usefixtures("table")
def test_a_registered_profile_replaces_the_one_of_the_same_name() -> None:
    other = ModelProfile(name="gpt-image-2", max_n=4)
    register(other)
    assert lookup("gpt-image-2") is other
    assert lookup("gpt-image-2-2026-04-21") is None
    assert len({profile.name for profile in known()}) == len(known())
    assert GPT_IMAGE_2 not in known()


FREE = SizeRule(multiple=16, max_edge=3840, max_ratio=3, min_pixels=655_360, max_pixels=8_294_400)


LEGAL = "1024x1024 2048x1152 3840x2160 2160x3840 1920x1088 640x1024 1024x640 2880x2880 1536x512"


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        (LEGAL, None),
        ("1920x1080 1000x1024", "multiples of 16"),
        ("3856x2160 2160x3856", "longer than 3840"),
        ("1552x512 512x1552", "3 times"),
        ("512x512 624x1040 2896x2880", "between 655360 and 8294400 pixels"),
    ],
)
def test_free_sizes_keep_four_rules(sizes: str, problem: str | None) -> None:
    for size in sizes.split():
        width, _, height = size.partition("x")
        found = FREE.problem(int(width), int(height))
        assert found is None if problem is None else problem in (found or "")


edges = st.integers(1, 300).map(lambda n: n * 16) | st.integers(1, 5000)


@given(edges, edges)
def test_a_size_is_legal_exactly_when_all_four_rules_hold(width: int, height: int) -> None:
    legal = (
        width % 16 == height % 16 == 0
        and max(width, height) <= 3840
        and max(width, height) <= 3 * min(width, height)
        and 655_360 <= width * height <= 8_294_400
    )
    assert (FREE.problem(width, height) is None) == legal
    assert FREE.problem(width, height) == FREE.problem(height, width)


def test_another_model_may_have_another_rule() -> None:
    rule = SizeRule(multiple=8, max_edge=64, max_ratio=1, min_pixels=1, max_pixels=10_000)
    assert rule.problem(64, 64) is None
    assert rule.problem(64, 56) == "the long edge may be at most 1 times the short one"


@pytest.mark.parametrize(
    ("tier", "images", "tokens"),
    [(1, 5, 100_000), (2, 20, 250_000), (3, 50, 800_000), (4, 150, 3_000_000), (5, 250, 8_000_000)],
)
def test_the_default_model_has_a_limit_of_images_and_tokens_for_each_tier(
    tier: int, images: int, tokens: int
) -> None:
    limit = RateLimit(images, per=60.0, tokens=tokens)
    assert RateLimit.tier(tier) == RateLimit.tier(tier, model="gpt-image-2-2026-04-21") == limit


@pytest.mark.parametrize(("tier", "images"), [(1, 5), (2, 50), (3, 100), (4, 100), (5, 500)])
def test_dall_e_2_has_a_limit_of_images_for_each_tier(tier: int, images: int) -> None:
    assert RateLimit.tier(tier, model="dall-e-2") == RateLimit(images, per=60.0)


@pytest.mark.parametrize("tier", [0, 6, "Build"])
def test_an_unknown_tier_is_refused_with_the_known_ones(tier: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"gpt-image-2 \(known: 1, 2, 3, 4, 5\)"):
        RateLimit.tier(tier)
    with pytest.raises(ConfigurationError, match=r"for sd-cpp-local \(known: none\)"):
        RateLimit.tier(1, model="sd-cpp-local")


@pytest.mark.usefixtures("table")
def test_the_tiers_of_an_account_with_other_terms_can_be_given() -> None:
    register(ModelProfile(name="gpt-image-9", tiers={1: (20, 250_000), 2: (150, None)}))
    assert RateLimit.tier(1, model="gpt-image-9") == RateLimit(20, tokens=250_000)
    assert RateLimit.tier(2, model="gpt-image-9") == RateLimit(150)

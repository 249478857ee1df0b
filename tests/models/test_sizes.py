"""The nearest legal size: the requested one if that is legal, and exact at every scale."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk.models import (
    DALL_E_2,
    DALL_E_3,
    GPT_IMAGE_1,
    GPT_IMAGE_2,
    ModelProfile,
    SizeRule,
    known,
    nearest_size,
)

FREE = SizeRule(multiple=16, max_edge=3840, max_ratio=3, min_pixels=655_360, max_pixels=8_294_400)

edges = (
    st.integers(1, 5000)
    | st.integers(1, 300).map(lambda n: n * 16)
    | st.integers(1, 10**40)
    | st.sampled_from([1, 2, 3840, 3841, 10**100])
)
rules = st.builds(
    SizeRule,
    multiple=st.integers(1, 20),
    max_edge=st.integers(1, 120),
    max_ratio=st.sampled_from([1, 1.5, 3, 7.25]),
    min_pixels=st.integers(1, 4000),
    max_pixels=st.integers(1, 14_000),
)


def edges_of(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    return int(width), int(height)


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ((1920, 1080), "1920x1088"),
        ((1080, 1920), "1088x1920"),
        ((1000, 1000), "1008x1008"),
        ((1366, 768), "1360x768"),
        ((1280, 720), "1280x720"),
        ((4096, 2160), "3840x2032"),
        ((256, 256), "816x816"),
        ((512, 512), "816x816"),
        ((3840, 3840), "2880x2880"),
        ((1024, 256), "1440x480"),
        ((1, 1), "816x816"),
        ((10**30, 10**30), "2880x2880"),
        ((10**30, 1), "3840x1280"),
        ((1, 10**30), "1280x3840"),
    ],
)
def test_the_nearest_free_size_keeps_the_ratio_first_and_then_the_area(
    wanted: tuple[int, int], nearest: str
) -> None:
    assert nearest_size(*wanted, "gpt-image-2") == nearest
    assert nearest_size(*wanted, GPT_IMAGE_2) == nearest
    assert nearest_size(*wanted) == nearest


@pytest.mark.parametrize(
    ("profile", "wanted", "nearest"),
    [
        (DALL_E_3, (1920, 1080), "1792x1024"),
        (DALL_E_3, (1080, 1920), "1024x1792"),
        (DALL_E_3, (1100, 1000), "1024x1024"),
        (DALL_E_2, (300, 300), "256x256"),
        (DALL_E_2, (400, 400), "512x512"),
        (DALL_E_2, (1920, 1080), "1024x1024"),
        (GPT_IMAGE_1, (1920, 1080), "1536x1024"),
        (GPT_IMAGE_1, (600, 800), "1024x1536"),
        (GPT_IMAGE_1, (600, 700), "1024x1024"),
    ],
)
def test_the_nearest_listed_size_has_the_nearest_ratio_and_then_the_nearest_area(
    profile: ModelProfile, wanted: tuple[int, int], nearest: str
) -> None:
    assert nearest_size(*wanted, profile) == nearest


@given(edges, edges, st.sampled_from(known()))
def test_the_nearest_size_is_always_legal(width: int, height: int, profile: ModelProfile) -> None:
    size = nearest_size(width, height, profile)
    listed = size in profile.sizes
    assert listed or (profile.size_rule is not None and profile.size_rule.problem(*edges_of(size)) is None)


@given(st.integers(1, 240).map(lambda n: n * 16), st.integers(1, 240).map(lambda n: n * 16))
def test_a_legal_size_is_its_own_nearest(width: int, height: int) -> None:
    legal = FREE.problem(width, height) is None
    assert (nearest_size(width, height, "gpt-image-2") == f"{width}x{height}") == legal


@given(edges, edges)
def test_the_nearest_size_of_a_transposed_size_is_transposed(width: int, height: int) -> None:
    upright, lying = (
        edges_of(nearest_size(*pair, "gpt-image-2")) for pair in ((width, height), (height, width))
    )
    assert upright == lying[::-1] or width == height


@given(rules, st.integers(1, 200), st.integers(1, 200))
def test_no_legal_size_is_nearer_in_ratio_and_area_at_once(rule: SizeRule, width: int, height: int) -> None:
    legal = [(w, h) for w in range(1, 121) for h in range(1, 121) if rule.problem(w, h) is None]
    found = rule.nearest(width, height)
    assert (found is None) == (not legal)
    if found is None:
        return
    assert found in legal
    longest = rule.max_ratio
    ratio = min(max(width / height, 1 / longest), longest)
    area: float = min(max(width * height, rule.min_pixels), rule.max_pixels)
    area = min(area, rule.max_edge**2 / max(ratio, 1 / ratio))

    def apart(one: float, other: float) -> float:
        return max(one / other, other / one)

    def distance(size: tuple[int, int]) -> float:
        across, down = (area * ratio) ** 0.5, (area / ratio) ** 0.5
        return max(apart(size[0], across), apart(size[1], down))

    best = (width, height) if (width, height) in legal else min(legal, key=distance)
    assert distance(found) <= distance(best) * (1 + 1e-9)


def test_every_size_is_legal_for_a_model_without_known_sizes() -> None:
    assert nearest_size(7, 9, "sd-cpp-local") == "7x9"
    assert nearest_size(7, 9, ModelProfile(name="mine", sizes=("auto",))) == "7x9"


def test_the_nearest_size_is_a_listed_one_if_no_free_size_is_legal() -> None:
    none = SizeRule(multiple=64, max_edge=32, max_ratio=1, min_pixels=1, max_pixels=10)
    profile = ModelProfile(name="mine", sizes=("512x512", "auto"), size_rule=none)
    assert none.nearest(7, 9) is None
    assert nearest_size(7, 9, profile) == "512x512"


def test_a_listed_size_is_legal_even_if_it_breaks_the_rule_of_free_sizes() -> None:
    profile = attrs.evolve(GPT_IMAGE_2, sizes=("512x512", "auto"))
    assert nearest_size(512, 512, profile) == "512x512"


@pytest.mark.parametrize("edge", [0, -1, 1.0, True, "1024", None])
def test_an_edge_must_be_a_whole_number_of_pixels(edge: Any) -> None:
    with pytest.raises(ValueError, match="width is a whole number of at least 1"):
        nearest_size(edge, 1024)
    with pytest.raises(ValueError, match="height is a whole number of at least 1"):
        nearest_size(1024, edge)

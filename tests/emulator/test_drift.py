"""The check for drift: what another release of the official client adds to its types is found and named."""

from __future__ import annotations

from typing import Literal, TypedDict

from tests.support.drift import KNOWN, catalogued, compare, emulated, literals, of_params, report


class NewParams(TypedDict, total=False):
    prompt: str
    model: str | Literal["gpt-image-9"] | None
    quality: Literal["low", "medium", "high", "auto", "ultra"] | None
    size: str | Literal["auto", "1024x1024", "999x999"] | None
    seed: int | None


def facts() -> dict[str, frozenset[str]]:
    return {"models": frozenset({"gpt-image-2", "gpt-image-9"}), **of_params("generations", NewParams)}


def missing(ours: dict[str, frozenset[str]]) -> set[str]:
    return {str(one) for one in compare(ours, facts(), "emulator") if one.missing}


def test_a_new_model_parameter_value_and_size_are_found_in_the_emulator() -> None:
    assert missing(emulated(facts())) == {
        "emulator lacks 'gpt-image-9' of models",
        "emulator lacks 'seed' of parameters of generations",
        "emulator lacks 'ultra' of quality of generations",
        "emulator lacks '999x999' of size of generations",
    }


def test_a_new_model_and_value_are_found_in_the_catalogue() -> None:
    found = {one.name for one in compare(catalogued(facts()), facts(), "catalogue") if one.missing}
    assert found == {"gpt-image-9", "ultra"}


def test_what_the_official_client_dropped_is_found_too() -> None:
    lines = report(facts(), {})
    assert "emulator has, and the official client lacks, 'xhigh' of quality of generations" in lines


def test_a_known_difference_is_silent_and_one_that_is_gone_is_not() -> None:
    ours = {"models": frozenset({"a", "b"})}
    assert [str(one) for one in compare(ours, ours, "emulator")] == []
    known = {("models", "gpt-image-9"): "not released", ("models", "gpt-image-2"): "once so"}
    lines = report(facts(), known)
    assert not [line for line in lines if "'gpt-image-9'" in line]
    assert "no longer so: 'gpt-image-2' of models: once so" in lines


def test_literals_are_found_in_unions_and_every_known_difference_has_a_reason() -> None:
    assert literals(str | Literal["a", "b"] | None) == {"a", "b"}
    assert all(KNOWN.values())

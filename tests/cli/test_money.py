"""``imagesdk models`` and ``imagesdk cost``: their output as text and as JSON."""

import json
from decimal import Decimal

import pytest

from imagesdk import Edit, Generate, cli, estimate, models
from imagesdk.cli.exits import OK, USAGE

Capture = pytest.CaptureFixture[str]


def shown(capsys: Capture, *arguments: str, code: int = OK) -> str:
    assert cli.run(arguments) == code
    captured = capsys.readouterr()
    return captured.out if code == OK else captured.err


def test_models_without_an_end_are_listed_first_in_a_table_that_fits_a_terminal(capsys: Capture) -> None:
    head, *lines = shown(capsys, "models").splitlines()
    assert max(map(len, [head, *lines])) <= 100
    assert head.split() == ["MODEL", "RELEASED", "ENDS", "DOLLARS", "SIZES"]
    rows = [line.split() for line in lines]
    assert {row[0] for row in rows} == {profile.name for profile in models.known()}
    ends = [row[2] for row in rows]
    assert ends == sorted(ends, key=lambda end: "9" if end == "-" else end, reverse=True)
    assert rows[0][0] == "gpt-image-2.6-sunburst"
    by_name = {row[0]: " ".join(row[1:]) for row in rows}
    assert by_name["gpt-image-2"] == "2026-04-21 - 0.006 to 0.211 multiples of 16 to 3840, auto"
    assert by_name["dall-e-2"] == "2022-11-03 2026-05-12 0.020 256x256 512x512 1024x1024"
    assert "unknown" in by_name["gpt-image-2.6-flare"]


def test_models_explains_its_columns_except_with_quiet(capsys: Capture) -> None:
    cli.run(["models"])
    assert "As of 2026-11-27." in capsys.readouterr().err
    cli.run(["models", "-q"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("profile", models.known(), ids=lambda profile: profile.name)
def test_a_model_is_shown_with_all_facts_and_sources(capsys: Capture, profile: models.ModelProfile) -> None:
    text = shown(capsys, "models", profile.name)
    for source in profile.sources.values():
        assert source in text
    assert f"released          {profile.released}" in text
    assert "None" not in text


def test_live_models_are_those_of_the_server_with_its_dates(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, *lines = shown(capsys, "--emulator", "models", "--live").splitlines()
    assert head.split() == ["MODEL", "CREATED", "ENDS"]
    assert ["gpt-image-1.5", "2025-12-16", "2026-12-01"] in [line.split() for line in lines]
    one = json.loads(shown(capsys, "--emulator", "models", "gpt-image-2", "--live", "--json"))
    assert [model["shut_down"] for model in one["models"]] == [None]
    monkeypatch.setitem(vars(models)["_profiles"], "dall-e-2", models.GPT_IMAGE_2)
    cli.run(["--emulator", "models", "dall-e-2", "--live"])
    expected = "dall-e-2 ends on 2026-05-12; in the table of imagesdk: without a date."
    assert expected in capsys.readouterr().err


def test_a_model_is_found_by_its_dated_name(capsys: Capture) -> None:
    assert "factors low 16, medium 48, high 96" in shown(capsys, "models", "gpt-image-2-2026-04-21")


def test_an_unknown_model_is_wrong_usage(capsys: Capture) -> None:
    assert "Known models: gpt-image-2.6-sunburst, " in shown(capsys, "models", "gpt-image-9", code=USAGE)


def test_models_prints_json(capsys: Capture) -> None:
    table = json.loads(shown(capsys, "models", "--json"))
    assert table["as_of"] == "2026-11-27"
    assert len(table["models"]) == len(models.known())
    one = json.loads(shown(capsys, "models", "dall-e-2", "--json"))
    assert one in table["models"]
    assert one["price"]["per_image"]["standard 256x256"] == "0.016"
    assert one["shut_down"] == "2026-05-12"
    assert one["edit"]["media_types"] == ["image/png"]
    assert one["accepted"] == ["n", "quality", "response_format", "size", "user"]


def test_cost_is_printed_with_its_explanation(capsys: Capture) -> None:
    text = shown(capsys, "cost", "a cat", "--size", "1024x1024", "--quality", "high", "-n", "2")
    assert text.splitlines()[:-1] == [
        "model          gpt-image-2",
        "images         2",
        "output tokens  14048",
        "cost           $0.4214",
        "at most        $0.4215",
    ]
    assert "gpt-image-2 is assumed" in text


UNKNOWN = "cost           unknown"
BY_QUALITY = "  if low       $0.0059\n  if medium    $0.0527\n  if high      $0.2107\n"


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ("--model gpt-image-2.6-flare --quality low", [UNKNOWN, "at most        unknown", "not published"]),
        ("--model sd-cpp-local", [UNKNOWN]),
        ("--size 1024x1024", [BY_QUALITY]),
        ("--size 1920x1080 --quality low --no-check", ["cost           $0.00"]),
        ("--model gpt-image-2 --size 1024x1024 --quality high --batch-api", ["cost           $0.1054"]),
        ("--model dall-e-2 --batch-api", [UNKNOWN, "dall-e-2 in the Batch API is not known"]),
        ("--model gpt-image-2.6-flare --batch-api", [UNKNOWN, "2.6-flare in the Batch API is not known"]),
    ],
    ids=[
        "unknown",
        "of an unknown model",
        "by quality if none is named",
        "unchecked",
        "halved by the Batch API",
        "not taken by the Batch API",
        "of an unknown price in the Batch API",
    ],
)
def test_the_options_decide_which_costs_are_shown(capsys: Capture, arguments: str, texts: list[str]) -> None:
    found = shown(capsys, "cost", "a cat", *arguments.split())
    assert [text for text in texts if text not in found] == []


def test_the_cost_of_an_edit_includes_its_images(capsys: Capture) -> None:
    arguments = ["cost", "a cat", "--quality", "low", "--size", "1024x1024", "--json"]
    facts = json.loads(shown(capsys, *arguments, "--edit", "a.png", "b.png"))
    expected = estimate(Edit(["a.png", "b.png"], "a cat", quality="low", size="1024x1024"))
    assert (facts["cost_usd"], facts["at_most_usd"]) == (str(expected.cost), str(expected.at_most))


def test_cost_prints_json(capsys: Capture) -> None:
    facts = json.loads(shown(capsys, "cost", "a cat", "--json", "--model", "gpt-image-2.5-flare"))
    found = estimate(Generate("a cat", model="gpt-image-2.5-flare"))
    assert facts["model"] == "gpt-image-2.5-flare"
    assert (facts["images"], facts["output_tokens"], facts["cost_usd"]) == (1, None, None)
    assert Decimal(facts["at_most_usd"]) == found.at_most
    assert list(facts["cost_usd_by_quality"]) == ["low", "medium", "high", "xhigh", "max"]
    assert facts["reason"] == found.reason


def test_the_prompt_of_an_edit_may_be_last(capsys: Capture) -> None:
    model, edit = ("--model", "dall-e-2"), ("--edit", "a.png")
    before = shown(capsys, "cost", "a cat", *model, *edit)
    assert shown(capsys, "cost", *edit, "a cat", *model) == before
    assert shown(capsys, "cost", *model, *edit, "a cat") == before


@pytest.mark.parametrize("arguments", [(), ("--edit", "a.png")])
def test_cost_needs_a_prompt(capsys: Capture, arguments: tuple[str, ...]) -> None:
    assert "there is no prompt" in shown(capsys, "cost", *arguments, code=USAGE)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-n", "0"), "n is 0; allowed: a whole number of at least 1."),
        (("-n", "11"), "1 to 10. Add --no-check to send it anyway."),
        (("--size", "1920x1080", "--model", "gpt-image-2"), "Use --size 1920x1088, the nearest valid size."),
        (("--quality", "hi"), "quality is 'hi'; allowed for gpt-image-2: low, medium, high or auto."),
        (("--edit", "a.png", "--model", "dall-e-3"), "has no edits endpoint. Use --model gpt-image-2."),
    ],
)
def test_the_cost_of_an_invalid_request_is_refused(
    capsys: Capture, arguments: tuple[str, ...], text: str
) -> None:
    assert text in shown(capsys, "cost", "a cat", *arguments, code=USAGE)


def test_the_cost_with_partial_images_is_that_of_a_stream(capsys: Capture) -> None:
    facts = json.loads(shown(capsys, "cost", "a cat", "--quality", "low", "--partial-images", "2", "--json"))
    assert facts["output_tokens"] == 196 + 200

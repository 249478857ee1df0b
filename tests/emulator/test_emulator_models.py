"""What each model of the GPT Image family and dall-e-3 takes and refuses, beside what all have in common."""

from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest

from imagesdk.emulator import EmulatorState

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]
MakePng = Callable[..., bytes]

FIRST_GENERATION = ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "chatgpt-image-latest"]
TWO_FIVE = ["gpt-image-2.5-sunburst", "gpt-image-2.5-flare-2026-09-08"]
TWO_SIX = ["gpt-image-2.6-sunburst", "gpt-image-2.6-flare"]
GPT = [*FIRST_GENERATION, "gpt-image-2", *TWO_FIVE, *TWO_SIX]
FLARE = "gpt-image-2.6-flare"


async def generate(api: httpx.AsyncClient, model: str, **fields: object) -> httpx.Response:
    return await api.post("/images/generations", json={"model": model, "prompt": "x", **fields})


async def edit(
    api: httpx.AsyncClient, model: str, png: bytes, overlay: str | None = None, **fields: str
) -> httpx.Response:
    files = {"image": ("x.png", png, "image/png")}
    if overlay is not None:
        files[overlay] = ("o.png", png, "image/png")
    return await api.post("/images/edits", data={"model": model, "prompt": "x", **fields}, files=files)


def refused(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 400, answer.text[:500]
    error: dict[str, Any] = answer.json()["error"]
    return error


def reason(answer: httpx.Response) -> tuple[str | None, str | None]:
    error = refused(answer)
    return error["param"], error["code"]


@pytest.mark.parametrize("model", GPT)
async def test_every_gpt_image_model_answers_with_base64_settings_and_usage(
    connect: Connect, model: str
) -> None:
    answer = await generate(connect(), model, quality="low", size="1024x1024")

    assert answer.status_code == 200
    told = answer.json()
    assert (told["quality"], told["size"], told["output_format"]) == ("low", "1024x1024", "png")
    assert set(told["data"][0]) == {"b64_json"}
    assert told["usage"]["output_tokens_details"]["image_tokens"] == told["usage"]["output_tokens"]


@pytest.mark.parametrize("model", GPT)
async def test_no_gpt_image_model_has_the_parameters_of_dall_e(connect: Connect, model: str) -> None:
    api = connect()

    assert reason(await generate(api, model, response_format="url")) == (
        "response_format",
        "unknown_parameter",
    )
    assert reason(await generate(api, model, style="vivid")) == ("style", "unknown_parameter")
    assert reason(await generate(api, model, quality="hd")) == ("quality", "invalid_value")


@pytest.mark.parametrize("model", FIRST_GENERATION)
async def test_the_first_generation_has_three_sizes(connect: Connect, model: str) -> None:
    api = connect()

    assert (await generate(api, model, size="1024x1536")).json()["size"] == "1024x1536"
    assert refused(await generate(api, model, size="512x512"))["message"] == (
        "Invalid value: '512x512'. Supported values are: '1024x1024', '1024x1536', '1536x1024', and 'auto'."
    )


@pytest.mark.parametrize("model", [*TWO_FIVE, *TWO_SIX])
@pytest.mark.parametrize("quality", ["xhigh", "max"])
async def test_the_finest_qualities_came_with_2_5(connect: Connect, model: str, quality: str) -> None:
    api = connect()

    assert (await generate(api, model, quality=quality)).json()["quality"] == quality
    assert reason(await generate(api, "gpt-image-2", quality=quality)) == ("quality", "invalid_value")


@pytest.mark.parametrize(
    "extra",
    [
        {"complexity": "low"},
        {"frame_count": 4},
        {"frame_duration_ms": 100},
        {"svg": {"model": "x"}},
    ],
)
async def test_planning_and_animation_came_with_2_6(connect: Connect, extra: dict[str, object]) -> None:
    answer = await generate(connect(), "gpt-image-2.5-sunburst", **extra)

    assert reason(answer) == (next(iter(extra)), "unknown_parameter")


@pytest.mark.parametrize("value", ["low", "medium", "high", None])
async def test_2_6_takes_a_complexity(connect: Connect, value: str | None) -> None:
    assert (await generate(connect(), FLARE, complexity=value)).status_code == 200


async def test_dall_e_3_makes_one_picture_and_revises_its_prompt(connect: Connect) -> None:
    api = connect()

    answer = await generate(api, "dall-e-3", size="1792x1024", quality="hd", style="natural")

    assert set(answer.json()) == {"created", "data"}
    assert set(answer.json()["data"][0]) == {"revised_prompt", "url"}
    assert refused(await generate(api, "dall-e-3", n=2))["message"] == "You must provide n=1 for this model."
    assert reason(await generate(api, "dall-e-3", size="512x512")) == ("size", "invalid_value")
    assert reason(await generate(api, "dall-e-3", prompt="x" * 4001)) == ("prompt", "string_above_max_length")
    assert reason(await generate(api, "dall-e-3", stream=True)) == ("stream", "unknown_parameter")


async def test_dall_e_3_makes_no_edits(connect: Connect, png: MakePng) -> None:
    answer = await edit(connect(as_of=date(2024, 1, 1)), "dall-e-3", png("RGBA"))

    assert refused(answer)["message"] == "Invalid value: 'dall-e-3'. Value must be 'dall-e-2'."


@pytest.mark.parametrize(
    ("model", "fidelity", "message"),
    [
        ("gpt-image-1", "high", None),
        ("gpt-image-1.5", "low", None),
        ("chatgpt-image-latest", "high", None),
        ("gpt-image-1-mini", "low", None),
        ("gpt-image-1-mini", "high", "input_fidelity 'high' is only supported for model gpt-image-1."),
        ("gpt-image-2", "low", "The model 'gpt-image-2' does not support the 'input_fidelity' parameter."),
        (FLARE, "high", f"The model '{FLARE}' does not support the 'input_fidelity' parameter."),
    ],
)
async def test_input_fidelity_is_for_some_models(
    connect: Connect, png: MakePng, model: str, fidelity: str, message: str | None
) -> None:
    answer = await edit(connect(), model, png(), input_fidelity=fidelity)

    if message is None:
        assert answer.status_code == 200
    else:
        error = refused(answer)
        assert (error["message"], error["type"], error["code"]) == (
            message,
            "image_generation_user_error",
            "invalid_input_fidelity_model",
        )


async def test_moderation_is_for_json_only(connect: Connect, png: MakePng) -> None:
    answer = await edit(connect(), "gpt-image-2", png(), moderation="low")

    assert reason(answer) == ("moderation", "unknown_parameter")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"frame_count": 4}, "frame_count", "unsupported_parameter"),
        ({"frame_duration_ms": 100, "output_format": "png"}, "frame_duration_ms", "unsupported_parameter"),
        ({"output_format": "gif", "frame_count": 1}, "frame_count", "integer_below_min_value"),
        ({"output_format": "gif", "frame_count": 17}, "frame_count", "integer_above_max_value"),
        ({"output_format": "gif", "stream": True}, "stream", "unsupported_parameter"),
        ({"output_format": "gif", "partial_images": 1}, "partial_images", "unsupported_parameter"),
        ({"output_format": "gif", "background": "transparent"}, "background", "invalid_value"),
        (
            {"output_format": "gif", "output_compression": 50},
            "output_compression",
            "invalid_gif_output_compression",
        ),
        ({"output_format": "gif", "size": "976x976"}, "size", "invalid_value"),
        ({"output_format": "gif", "size": "832x832", "frame_count": 10}, "size", "invalid_value"),
        ({"output_format": "gif", "size": "736x736", "frame_count": 13}, "size", "invalid_value"),
        ({"output_format": "gif", "size": "16x16"}, "size", "invalid_value"),
        ({"output_format": "png", "size": "512x512"}, "size", "invalid_value"),
        ({"output_format": "svg", "n": 2}, "n", "unsupported_parameter"),
        ({"output_format": "svg", "stream": True}, "stream", "unsupported_parameter"),
        (
            {"output_format": "svg", "output_compression": 1},
            "output_compression",
            "invalid_svg_output_compression",
        ),
        ({"svg": {"model": "x"}}, "svg", "unsupported_parameter"),
        ({"output_format": "svg", "svg": "x"}, "svg", "invalid_type"),
        ({"output_format": "svg", "svg": {"model": "x", "style": "y"}}, "svg.style", "unknown_parameter"),
        (
            {"output_format": "svg", "svg": {"model": "x", "reasoning": {"effort": "huge"}}},
            "svg.reasoning.effort",
            "invalid_value",
        ),
        ({"safety_identifier": "x" * 129}, "safety_identifier", "string_above_max_length"),
        ({"complexity": "max"}, "complexity", "invalid_value"),
    ],
)
async def test_what_2_6_does_not_take_is_refused_with_its_reason(
    connect: Connect, state: EmulatorState, fields: dict[str, object], param: str, code: str
) -> None:
    assert reason(await generate(connect(), FLARE, **fields)) == (param, code)
    assert state.billed_images == 0


async def test_an_animation_takes_no_mask(connect: Connect, png: MakePng) -> None:
    answer = await edit(connect(), FLARE, png("RGBA"), "mask", output_format="gif")

    assert reason(answer) == ("mask", "unsupported_parameter")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"safety_identifier": "hash-1", "user": "u"}, "hash-1"),
        ({"safety_identifier": "", "user": "u"}, "u"),
        ({"safety_identifier": None, "user": "u"}, "u"),
        ({"user": ""}, None),
        ({}, None),
    ],
)
async def test_the_safety_identifier_wins_over_the_user_and_comes_back(
    connect: Connect, fields: dict[str, object], told: str | None
) -> None:
    answer = await generate(connect(), "gpt-image-2", **fields)

    assert answer.json().get("safety_identifier") == told


@pytest.mark.parametrize("model", [*FIRST_GENERATION[:1], "gpt-image-2"])
async def test_markup_came_with_2_5(connect: Connect, png: MakePng, model: str) -> None:
    answer = await edit(connect(), model, png("RGBA"), "markup")

    assert reason(answer) == ("markup", "unknown_parameter")


async def test_markup_and_mask_exclude_each_other(connect: Connect, png: MakePng) -> None:
    files = {name: ("x.png", png("RGBA"), "image/png") for name in ("image", "mask", "markup")}

    answer = await connect().post("/images/edits", data={"model": FLARE, "prompt": "x"}, files=files)

    assert reason(answer) == ("mask", "mutually_exclusive_parameters")


@pytest.mark.parametrize(
    ("markup", "problem"),
    [
        (("RGB", (64, 64)), "missing alpha channel"),
        (("RGBA", (64, 65)), "does not match image size"),
        (("RGBA", (64, 64), (0, 0, 0, 255)), "must contain transparent pixels"),
    ],
)
async def test_a_markup_has_the_size_of_the_picture_and_transparent_pixels(
    connect: Connect, png: MakePng, markup: tuple[object, ...], problem: str
) -> None:
    files = {
        "image": ("x.png", png(), "image/png"),
        "markup": ("m.png", png(*markup), "image/png"),
    }

    answer = await connect().post("/images/edits", data={"model": FLARE, "prompt": "x"}, files=files)

    assert problem in refused(answer)["message"]
    assert reason(answer) == ("markup", "invalid_image_format")


@pytest.mark.parametrize(
    ("day", "model", "field", "value"),
    [
        (date(2025, 7, 16), "gpt-image-1", "stream", True),
        (date(2026, 10, 16), "gpt-image-2", "safety_identifier", "x"),
        (date(2026, 11, 5), FLARE, "complexity", "low"),
    ],
)
async def test_a_parameter_of_the_family_is_unknown_before_its_first_day(
    connect: Connect, day: date, model: str, field: str, value: object
) -> None:
    before = await generate(connect(as_of=date.fromordinal(day.toordinal() - 1)), model, **{field: value})
    after = await generate(connect(as_of=day), model, **{field: value})

    assert reason(before) == (field, "unknown_parameter")
    assert after.status_code == 200


async def test_markup_is_unknown_before_its_first_day(connect: Connect, png: MakePng) -> None:
    model = "gpt-image-2.5-flare"

    before = await edit(connect(as_of=date(2026, 10, 30)), model, png("RGBA"), "markup")
    after = await edit(connect(as_of=date(2026, 10, 31)), model, png("RGBA"), "markup")

    assert (reason(before), after.status_code) == (("markup", "unknown_parameter"), 200)


async def test_a_parameter_of_the_gpt_models_alone_chose_them_while_dall_e_2_was_the_default(
    connect: Connect, state: EmulatorState
) -> None:
    api = connect(as_of=date(2025, 6, 1))

    for fields in ({}, {"response_format": "b64_json"}, {"background": "opaque"}):
        await api.post("/images/generations", json={"prompt": "x", **fields})

    assert [record.model for record in state.requests] == ["dall-e-2", "dall-e-2", "gpt-image-1"]


@pytest.mark.parametrize(
    ("model", "size", "quality", "tokens"),
    [
        ("gpt-image-1", "1024x1024", "low", 272),
        ("gpt-image-1-mini", "1024x1536", "medium", 1584),
        ("gpt-image-1.5-2025-12-16", "1536x1024", "high", 6208),
        ("chatgpt-image-latest", "auto", "auto", 1056),
        ("gpt-image-2.5-flare", "1024x1024", "low", 196),
        ("gpt-image-2.5-flare", "1024x1024", "medium", 439),
        ("gpt-image-2.5-sunburst", "1024x1024", "high", 1756),
        ("gpt-image-2.5-sunburst", "1024x1024", "xhigh", 3122),
        ("gpt-image-2.5-sunburst", "1024x1024", "max", 7024),
        ("gpt-image-2.6-sunburst", "1536x1024", "high", 1372),
    ],
)
async def test_output_tokens_follow_the_family(
    connect: Connect, model: str, size: str, quality: str, tokens: int
) -> None:
    answer = await generate(connect(), model, size=size, quality=quality)

    assert answer.json()["usage"]["output_tokens"] == tokens


async def test_the_quality_that_auto_comes_to_is_told(connect: Connect) -> None:
    api = connect()

    found = [(await generate(api, model)).json()["quality"] for model in ("gpt-image-2", *TWO_SIX)]

    assert found == ["medium", "high", "medium"]


@pytest.mark.parametrize("model", ["dall-e-3", "gpt-image-2"])
async def test_a_picture_may_be_withheld_after_it_was_made_and_billed(
    connect: Connect, state: EmulatorState, model: str
) -> None:
    error = refused(await generate(connect(), model, prompt="censored sexual and self-harm"))

    if model == "dall-e-3":
        assert (error["type"], error["code"]) == ("invalid_request_error", "content_policy_violation")
    else:
        assert (error["type"], error["code"]) == ("image_generation_user_error", "moderation_blocked")
        assert error["moderation_details"] == {
            "moderation_stage": "output",
            "categories": ["self-harm", "sexual"],
        }
    assert state.billed_images == 1

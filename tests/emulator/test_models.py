"""Models: which are served on which day, the default of a day, and what their responses contain."""

from collections.abc import Callable
from datetime import date, timedelta

import httpx
import pytest

from imagesdk.emulator import EmulatorState
from imagesdk.emulator.usage import output_tokens
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

Connect = Callable[..., httpx.AsyncClient]
MakePng = Callable[..., bytes]

GPT = [
    "gpt-image-1",
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "chatgpt-image-latest",
    "gpt-image-2",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.5-flare-2026-09-08",
    "gpt-image-2.6-sunburst",
    "gpt-image-2.6-flare",
]


async def generate(api: httpx.AsyncClient, model: str, **fields: object) -> httpx.Response:
    return await api.post("/images/generations", json={"model": model, "prompt": "x", **fields})


async def edit(api: httpx.AsyncClient, model: str, **images: bytes) -> httpx.Response:
    files = {name: ("x.png", data, "image/png") for name, data in images.items()}
    return await api.post("/images/edits", data={"model": model, "prompt": "x"}, files=files)


@pytest.mark.parametrize("model", GPT)
async def test_every_gpt_image_model_responds_with_base64_settings_and_usage(
    connect: Connect, model: str
) -> None:
    answer = (await generate(connect(), model, quality="low", size="1024x1024")).json()

    assert (answer["quality"], answer["size"], answer["output_format"]) == ("low", "1024x1024", "png")
    assert set(answer["data"][0]) == {"b64_json"}
    assert answer["usage"]["output_tokens_details"]["image_tokens"] == answer["usage"]["output_tokens"]


async def test_gpt_image_2_responds_with_images_settings_and_usage(connect: Connect) -> None:
    fields = {"prompt": "eight ch", "n": 2, "size": "1536x1024", "quality": "high", "stream": False}

    answer = (await generate(connect(), "gpt-image-2", **fields)).json()

    assert [set(image) for image in answer.pop("data")] == [{"b64_json"}, {"b64_json"}]
    assert answer == {
        "created": 1_700_000_000,
        "background": "opaque",
        "output_format": "png",
        "quality": "high",
        "size": "1536x1024",
        "usage": {
            "input_tokens": 2,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 2},
            "output_tokens": 2 * 5488,
            "output_tokens_details": {"image_tokens": 2 * 5488, "text_tokens": 0},
            "total_tokens": 2 + 2 * 5488,
        },
    }


async def test_responses_name_the_size_and_quality_that_auto_means(connect: Connect) -> None:
    api = connect()

    answers = [
        (await generate(api, model, size="auto")).json()
        for model in ("chatgpt-image-latest", "gpt-image-2", "gpt-image-2.6-sunburst", "gpt-image-2.6-flare")
    ]

    assert [answer["quality"] for answer in answers] == ["medium", "medium", "high", "medium"]
    assert {answer["size"] for answer in answers} == {"1024x1024"}


async def test_dall_e_2_responds_with_base64_on_request(connect: Connect) -> None:
    answer = (await generate(connect(), "dall-e-2", response_format="b64_json")).json()

    assert (set(answer), set(answer["data"][0])) == ({"created", "data"}, {"b64_json"})


async def test_dall_e_3_responds_with_a_url_and_the_revised_prompt(connect: Connect) -> None:
    answer = (await generate(connect(), "dall-e-3", size="1792x1024", quality="hd", style="natural")).json()

    assert (set(answer), set(answer["data"][0])) == ({"created", "data"}, {"revised_prompt", "url"})


@pytest.mark.parametrize(
    ("model", "quality", "size", "tokens"),
    [
        ("gpt-image-1", "low", (1024, 1024), 272),
        ("gpt-image-1-mini", "medium", (1024, 1536), 1584),
        ("gpt-image-1.5-2025-12-16", "high", (1536, 1024), 6208),
        ("chatgpt-image-latest", "medium", (1024, 1024), 1056),
        ("gpt-image-2", "low", (1024, 1024), 196),
        ("gpt-image-2", "medium", (1024, 1024), 1756),
        ("gpt-image-2", "high", (1024, 1024), 7024),
        ("gpt-image-2", "low", (1536, 1024), 158),
        ("gpt-image-2", "low", (1024, 1536), 158),
        ("gpt-image-2", "low", (2048, 2048), 397),
        ("gpt-image-2", "medium", (2560, 1440), 1843),
        ("gpt-image-2", "low", (3840, 2160), 371),
        ("gpt-image-2.5-flare", "low", (1024, 1024), 196),
        ("gpt-image-2.5-flare", "medium", (1024, 1024), 439),
        ("gpt-image-2.5-sunburst", "high", (1024, 1024), 1756),
        ("gpt-image-2.5-sunburst", "xhigh", (1024, 1024), 3122),
        ("gpt-image-2.5-sunburst", "max", (1024, 1024), 7024),
        ("gpt-image-2.6-sunburst", "high", (1536, 1024), 1372),
    ],
)
def test_output_tokens_are_those_that_openai_published(
    model: str, quality: str, size: tuple[int, int], tokens: int
) -> None:
    assert output_tokens(model, quality, *size) == tokens


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"safety_identifier": "hash-1", "user": "u"}, "hash-1"),
        ({"safety_identifier": "", "user": "u"}, "u"),
        ({"safety_identifier": None, "user": "u"}, "u"),
        ({"user": ""}, None),
        ({}, None),
    ],
)
async def test_the_safety_identifier_has_precedence_over_the_user_and_is_returned(
    connect: Connect, fields: dict[str, object], expected: str | None
) -> None:
    answer = await generate(connect(), "gpt-image-2", **fields)

    assert answer.json().get("safety_identifier") == expected


@pytest.mark.parametrize("model", ["dall-e-9", "gpt-image-2-2020-01-01"])
async def test_an_unknown_model_is_not_found(connect: Connect, model: str) -> None:
    error = error_of(await generate(connect(), model), 404)

    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        "model",
        "model_not_found",
    )
    assert model in error["message"]


async def test_a_snapshot_is_the_same_model(connect: Connect, state: EmulatorState) -> None:
    api = connect()

    answers = [await generate(api, model) for model in ("gpt-image-2", "gpt-image-2-2026-04-21")]

    assert answers[0].json() == answers[1].json()
    assert state.requests[1].model == "gpt-image-2-2026-04-21"


@pytest.mark.parametrize(
    ("day", "endpoint", "model"),
    [
        (None, "generations", "gpt-image-2"),
        (None, "edits", "gpt-image-2"),
        (None, "variations", "dall-e-2"),
        (date(2023, 6, 1), "generations", "dall-e-2"),
        (date(2023, 6, 1), "edits", "dall-e-2"),
        (date(2026, 5, 11), "generations", "dall-e-2"),
        (date(2026, 5, 12), "generations", "gpt-image-2"),
        (date(2026, 5, 12), "edits", "gpt-image-1.5"),
        (date(2026, 10, 6), "edits", "gpt-image-2.5-sunburst"),
    ],
)
async def test_a_request_without_a_model_gets_the_default_of_the_day(
    connect: Connect, state: EmulatorState, png: MakePng, day: date | None, endpoint: str, model: str
) -> None:
    api = connect(as_of=day)
    form: dict[str, str] = {} if endpoint == "variations" else {"prompt": "x"}

    if endpoint == "generations":
        answer = await api.post("/images/generations", json=form)
    else:
        files = {"image": ("x.png", png("RGBA"), "image/png")}
        answer = await api.post(f"/images/{endpoint}", data=form, files=files)

    assert answer.status_code == 200
    assert state.requests[0].model == model


async def test_a_parameter_of_gpt_image_models_selects_them_while_dall_e_2_is_the_default(
    connect: Connect, state: EmulatorState
) -> None:
    api = connect(as_of=date(2025, 6, 1))

    for fields in ({}, {"response_format": "b64_json"}, {"background": "opaque"}):
        await api.post("/images/generations", json={"prompt": "x", **fields})

    assert [record.model for record in state.requests] == ["dall-e-2", "dall-e-2", "gpt-image-1"]


@pytest.mark.parametrize(
    ("day", "model"),
    [
        (date(2022, 11, 2), "dall-e-2"),
        (date(2026, 5, 12), "dall-e-2"),
        (date(2026, 4, 20), "gpt-image-2"),
        (date(2023, 6, 1), "gpt-image-2"),
    ],
)
async def test_a_model_is_not_found_before_its_first_day_and_after_its_last(
    connect: Connect, day: date, model: str
) -> None:
    assert error_of(await generate(connect(as_of=day), model), 404)["code"] == "model_not_found"


async def test_variations_end_with_their_model_in_a_bare_404(connect: Connect, png: MakePng) -> None:
    files = {"image": ("x.png", png(), "image/png")}

    last = await connect(as_of=date(2026, 5, 11)).post("/images/variations", files=files)
    over = await connect(as_of=date(2026, 5, 12)).post("/images/variations", files=files)

    assert (last.status_code, over.status_code, over.content) == (200, 404, b"")


@pytest.mark.parametrize(
    ("day", "model", "field", "value"),
    [
        (date(2023, 11, 6), "dall-e-2", "quality", "standard"),
        (date(2025, 7, 16), "gpt-image-1", "stream", True),
        (date(2026, 10, 16), "gpt-image-2", "safety_identifier", "x"),
        (date(2026, 11, 5), "gpt-image-2.6-flare", "complexity", "low"),
    ],
)
async def test_a_parameter_is_unknown_before_its_first_day(
    connect: Connect, day: date, model: str, field: str, value: object
) -> None:
    before = error_of(await generate(connect(as_of=day - timedelta(days=1)), model, **{field: value}))

    assert (before["param"], before["code"]) == (field, "unknown_parameter")
    assert (await generate(connect(as_of=day), model, **{field: value})).status_code == 200


async def test_markup_is_unknown_before_its_first_day(connect: Connect, png: MakePng) -> None:
    images = {"image": png("RGBA"), "markup": png("RGBA")}

    before = await edit(connect(as_of=date(2026, 10, 30)), "gpt-image-2.5-flare", **images)
    after = await edit(connect(as_of=date(2026, 10, 31)), "gpt-image-2.5-flare", **images)

    assert (error_of(before)["param"], error_of(before)["code"]) == ("markup", "unknown_parameter")
    assert after.status_code == 200


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3", "gpt-image-2"])
@pytest.mark.parametrize(
    ("prompt", "stage", "categories", "billed"),
    [
        ("something forbidden", "input", ["violence"], 0),
        ("FORBIDDEN!", "input", ["violence"], 0),
        ("censored sexual and self-harm", "output", ["self-harm", "sexual"], 1),
    ],
)
async def test_moderation_rejects_a_word_before_the_work_and_another_after_it(
    connect: Connect,
    state: EmulatorState,
    model: str,
    prompt: str,
    stage: str,
    categories: list[str],
    billed: int,
) -> None:
    error = error_of(await generate(connect(), model, prompt=prompt))

    if model.startswith("dall-e"):
        assert (error["type"], error["code"]) == ("invalid_request_error", "content_policy_violation")
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert (error["type"], error["code"]) == ("image_generation_user_error", "moderation_blocked")
        assert error["moderation_details"] == {"moderation_stage": stage, "categories": categories}
    assert state.billed_images == billed


async def test_a_longer_word_is_not_the_forbidden_one(connect: Connect) -> None:
    assert (await generate(connect(), "dall-e-2", prompt="an unforbiddenly good cat")).status_code == 200

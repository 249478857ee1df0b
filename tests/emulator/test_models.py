"""Models: which are served on which day, the default of a day, and what their responses contain."""

from datetime import date, timedelta

import pytest

from imagesdk.emulator.usage import output_tokens
from tests.emulator.api import Api, Connect, file, png
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

TWO, FLARE = "gpt-image-2", "gpt-image-2.5-flare"


@pytest.mark.parametrize(
    "model",
    ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "chatgpt-image-latest", TWO]
    + [f"gpt-image-2.5-{kind}" for kind in ("sunburst", "flare-2026-09-08")]
    + [f"gpt-image-2.6-{kind}" for kind in ("sunburst", "flare")],
)
async def test_every_gpt_image_model_responds_with_base64_usage_and_the_settings_that_auto_means(
    api: Api, model: str
) -> None:
    low = (await api.generate(model=model, quality="low", size="1024x1024")).json()
    usual = (await api.generate(model=model, size="auto")).json()

    assert (low["quality"], low["size"], low["output_format"]) == ("low", "1024x1024", "png")
    assert set(low["data"][0]) == {"b64_json"}
    assert low["usage"]["output_tokens_details"]["image_tokens"] == low["usage"]["output_tokens"]
    auto = "high" if model == "gpt-image-2.6-sunburst" else "medium"
    assert (usual["quality"], usual["size"]) == (auto, "1024x1024")


async def test_gpt_image_2_responds_with_images_settings_and_usage(api: Api) -> None:
    fields = {"size": "1536x1024", "quality": "high"}

    answer = (await api.generate(model=TWO, prompt="eight ch", n=2, stream=False, **fields)).json()

    assert [set(image) for image in answer.pop("data")] == [{"b64_json"}, {"b64_json"}]
    usage = {
        "input_tokens": 2,
        "output_tokens": 2 * 5488,
        "total_tokens": 2 + 2 * 5488,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 2},
        "output_tokens_details": {"image_tokens": 2 * 5488, "text_tokens": 0},
    }
    settings = {**fields, "background": "opaque", "output_format": "png"}
    assert answer == {"created": 1_700_000_000, **settings, "usage": usage}


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({"response_format": "b64_json"}, {"b64_json"}),
        ({"model": "dall-e-3", "quality": "hd", "style": "natural"}, {"revised_prompt", "url"}),
    ],
)
async def test_dall_e_models_respond_with_base64_on_request_and_with_revised_prompts(
    api: Api, fields: dict[str, object], keys: set[str]
) -> None:
    answer = (await api.generate(**fields)).json()

    assert (set(answer), set(answer["data"][0])) == ({"created", "data"}, keys)


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
    api: Api, fields: dict[str, object], expected: str | None
) -> None:
    assert (await api.generate(model=TWO, **fields)).json().get("safety_identifier") == expected


@pytest.mark.parametrize(
    ("day", "model"),
    [
        (None, "dall-e-9"),
        (None, "gpt-image-2-2020-01-01"),
        (date(2022, 11, 2), "dall-e-2"),
        (date(2026, 4, 20), "gpt-image-2"),
    ],
)
async def test_a_model_is_not_found_if_it_is_unknown_or_before_its_first_day(
    connect: Connect, day: date | None, model: str
) -> None:
    error, text = (
        error_of(await connect(as_of=day).generate(model=model), 404),
        f"The model '{model}' does not exist.",
    )

    assert [*error.values()] == [text, "invalid_request_error", "model", "model_not_found"]


@pytest.mark.parametrize(
    ("day", "model"),
    [
        (date(2026, 5, 12), "dall-e-2"),
        (date(2026, 12, 1), "gpt-image-1.5"),
        (date(2026, 12, 1), "gpt-image-1.5-2025-12-16"),
    ],
)
async def test_a_model_that_is_gone_is_the_users_error_with_status_400(
    connect: Connect, day: date, model: str
) -> None:
    last = connect(as_of=day - timedelta(days=1))
    assert (await last.generate(model=model)).status_code == 200

    api = connect(as_of=day)
    error = error_of(await api.generate(model=model), 400)

    text = f"The model '{model}' does not exist."
    assert [*error.values()] == [text, "image_generation_user_error", "model", "invalid_value"]
    assert error_of(await api.get(f"/models/{model}"), 404)["code"] == "model_not_found"


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3", TWO])
async def test_a_request_for_no_stream_is_accepted_by_every_model(api: Api, model: str) -> None:
    assert (await api.generate(model=model, stream=False)).status_code == 200
    if model == "dall-e-2":
        image = file("image", png("RGBA"))
        assert (await api.edit(image, model=model, stream="false")).status_code == 200
        assert (await api.vary(image, stream="false")).status_code == 200
        assert error_of(await api.vary(image, stream="true"))["code"] == "unknown_parameter"


async def test_dall_e_2_knew_a_quality_until_gpt_image_models_came(connect: Connect) -> None:
    last, over = [connect(as_of=date(2025, 4, day)) for day in (22, 23)]
    assert (await last.generate(quality="standard")).status_code == 200
    assert error_of(await last.generate(quality="high"))["message"].endswith("Value must be 'standard'.")
    assert error_of(await over.generate(quality="standard"))["code"] == "unknown_parameter"


async def test_a_snapshot_is_the_same_model(api: Api) -> None:
    one, two = [await api.generate(model=model) for model in (TWO, f"{TWO}-2026-04-21")]

    assert one.json() == two.json()
    assert api.state.requests[1].model == f"{TWO}-2026-04-21"


@pytest.mark.parametrize(
    ("day", "endpoint", "fields", "model"),
    [
        (None, "generations", {}, "gpt-image-2"),
        (None, "edits", {}, "gpt-image-2"),
        (None, "variations", {}, "dall-e-2"),
        (date(2023, 6, 1), "generations", {}, "dall-e-2"),
        (date(2023, 6, 1), "edits", {}, "dall-e-2"),
        # Until dall-e-2 is shut down, a parameter that only GPT Image models have selects one of them.
        (date(2025, 6, 1), "generations", {"response_format": "b64_json"}, "dall-e-2"),
        (date(2025, 6, 1), "generations", {"background": "opaque"}, "gpt-image-1"),
        (date(2026, 5, 11), "generations", {}, "dall-e-2"),
        (date(2026, 5, 12), "generations", {}, "gpt-image-2"),
        (date(2026, 5, 12), "edits", {}, "gpt-image-1.5"),
        (date(2026, 10, 6), "edits", {}, "gpt-image-2.5-sunburst"),
    ],
)
async def test_a_request_without_a_model_gets_the_default_of_the_day(
    connect: Connect, day: date | None, endpoint: str, fields: dict[str, str], model: str
) -> None:
    api, image = connect(as_of=day), file("image", png("RGBA"))

    if endpoint == "generations":
        answer = await api.post("/images/generations", json={"prompt": "x", **fields})
    else:
        answer = await (api.edit(image) if endpoint == "edits" else api.vary(image))

    assert answer.status_code == 200
    assert api.state.requests[0].model == model


async def test_variations_end_with_their_model_in_a_bare_404(connect: Connect) -> None:
    last, over = [await connect(as_of=date(2026, 5, day)).vary(file("image", png())) for day in (11, 12)]

    assert (last.status_code, over.status_code, over.content) == (200, 404, b"")


@pytest.mark.parametrize(
    ("day", "model", "fields"),
    [
        (date(2023, 11, 6), "dall-e-2", {"quality": "standard"}),
        (date(2025, 7, 16), "gpt-image-1", {"stream": True}),
        (date(2026, 10, 16), "gpt-image-2", {"safety_identifier": "x"}),
        (date(2026, 10, 31), FLARE, {"markup": None}),
        (date(2026, 11, 5), "gpt-image-2.6-flare", {"complexity": "low"}),
    ],
)
async def test_a_parameter_is_unknown_before_its_first_day(
    connect: Connect, day: date, model: str, fields: dict[str, object]
) -> None:
    files = [file(name, png("RGBA")) for name in ("image", "markup")]

    before, after = [
        await (api.edit(*files, model=model) if "markup" in fields else api.generate(model=model, **fields))
        for api in (connect(as_of=day - timedelta(days=1)), connect(as_of=day))
    ]

    assert ([error_of(before)["param"]], error_of(before)["code"]) == ([*fields], "unknown_parameter")
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
    api: Api, model: str, prompt: str, stage: str, categories: list[str], billed: int
) -> None:
    error = error_of(await api.generate(model=model, prompt=prompt))

    details = error.pop("moderation_details", None)
    if model.startswith("dall-e"):
        assert (error["type"], error["code"]) == ("invalid_request_error", "content_policy_violation")
        assert details is None
    else:
        assert (error["type"], error["code"]) == ("image_generation_user_error", "moderation_blocked")
        assert details == {"moderation_stage": stage, "categories": categories}
    assert api.state.billed_images == billed


async def test_a_longer_word_is_not_the_forbidden_one(api: Api) -> None:
    assert (await api.generate(prompt="an unforbiddenly good cat")).status_code == 200

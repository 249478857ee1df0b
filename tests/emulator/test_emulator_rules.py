"""What the emulator refuses, in the words of the API, and what it makes of what it accepts."""

from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest

from imagesdk.emulator import EmulatorState

pytestmark = pytest.mark.anyio

Connect = Callable[..., httpx.AsyncClient]
DALL_E_2 = {"model": "dall-e-2", "prompt": "x", "size": "256x256"}
GPT = {"model": "gpt-image-2", "prompt": "x", "size": "1024x640"}


def refused(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    """Return the error object, having checked that it has every key."""
    assert answer.status_code == status, answer.text[:500]
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    return error


@pytest.mark.parametrize(
    ("change", "param", "code", "message"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter", "Missing required parameter: 'prompt'."),
        ({"prompt": ""}, "prompt", "empty_string", "minimum length 1"),
        (
            {"prompt": "x" * 1001},
            "prompt",
            "string_above_max_length",
            "maximum length 1000, but got a string with",
        ),
        ({"prompt": 7}, "prompt", "invalid_type", "expected a string, but got an integer instead"),
        ({"n": 0}, "n", "integer_below_min_value", "Expected a value >= 1, but got 0 instead."),
        ({"n": 11}, "n", "integer_above_max_value", "Expected a value <= 10, but got 11 instead."),
        ({"n": "2"}, "n", "invalid_type", "expected an integer, but got a string instead"),
        ({"n": 1.5}, "n", "invalid_type", "but got a decimal number instead"),
        ({"n": True}, "n", "invalid_type", "but got a boolean instead"),
        ({"n": [1]}, "n", "invalid_type", "but got an array instead"),
        (
            {"size": "300x300"},
            "size",
            "invalid_value",
            "Invalid value: '300x300'. Supported values are: '256x256', '512x512', and '1024x1024'.",
        ),
        ({"size": {}}, "size", "invalid_type", "expected a string, but got an object instead"),
        ({"response_format": "png"}, "response_format", "invalid_value", "'url' and 'b64_json'"),
        ({"quality": "high"}, "quality", "invalid_value", "Value must be 'standard'."),
        ({"background": "opaque"}, "background", "unknown_parameter", "Unknown parameter: 'background'."),
        ({"cats": 1}, "cats", "unknown_parameter", "Unknown parameter: 'cats'."),
    ],
)
async def test_what_dall_e_2_does_not_take_is_refused_with_its_reason(
    connect: Connect, state: EmulatorState, change: dict[str, object], param: str, code: str, message: str
) -> None:
    answer = await connect().post("/images/generations", json={**DALL_E_2, **change})

    error = refused(answer)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert message in error["message"]
    assert state.billed_images == 0


@pytest.mark.parametrize("change", [{"prompt": "x" * 1000}, {"n": 10}, {"n": None}, {"user": "u-1"}])
async def test_the_limits_of_dall_e_2_are_themselves_allowed(
    connect: Connect, change: dict[str, object]
) -> None:
    answer = await connect().post("/images/generations", json={**DALL_E_2, **change})

    assert answer.status_code == 200
    assert len(answer.json()["data"]) == (change.get("n") or 1)


@pytest.mark.parametrize(
    ("change", "param", "code", "message"),
    [
        (
            {"response_format": "b64_json"},
            "response_format",
            "unknown_parameter",
            "Unknown parameter: 'response_format'.",
        ),
        (
            {"size": "512x512"},
            "size",
            "invalid_value",
            "Invalid size '512x512'. Requested resolution is below the current minimum pixel budget.",
        ),
        ({"size": "1920x1080"}, "size", "invalid_value", "Width and height must both be divisible by 16"),
        (
            {"size": "3856x1600"},
            "size",
            "invalid_value",
            "The longest edge must be less than or equal to 3840",
        ),
        ({"size": "2048x640"}, "size", "invalid_value", "at most three times the shortest edge"),
        ({"size": "3840x2176"}, "size", "invalid_value", "above the current maximum pixel budget"),
        ({"size": 1024}, "size", "invalid_type", "expected a string, but got an integer instead"),
        ({"size": "large"}, "size", "invalid_value", "must be 'auto' or have the form WIDTHxHEIGHT"),
        ({"quality": "xhigh"}, "quality", "invalid_value", "'low', 'medium', 'high', and 'auto'"),
        ({"prompt": "x" * 32_001}, "prompt", "string_above_max_length", "maximum length 32000"),
        (
            {"background": "transparent", "output_format": "jpeg"},
            "background",
            "invalid_value",
            "not supported",
        ),
        ({"output_format": "gif"}, "output_format", "invalid_value", "'png', 'jpeg', and 'webp'"),
        ({"output_compression": 50}, "output_compression", "invalid_png_output_compression", "PNG"),
        ({"output_compression": 101}, "output_compression", "integer_above_max_value", "<= 100"),
        ({"moderation": "none"}, "moderation", "invalid_value", "'low' and 'auto'"),
        ({"stream": "yes"}, "stream", "invalid_type", "expected a boolean, but got a string instead"),
        ({"stream": True, "n": 2}, "input", "unsupported_parameter", "Streaming is only supported with n=1."),
        ({"partial_images": 4}, "partial_images", "integer_above_max_value", "<= 3"),
    ],
)
async def test_what_gpt_image_2_does_not_take_is_refused_with_its_reason(
    connect: Connect, change: dict[str, object], param: str, code: str, message: str
) -> None:
    answer = await connect().post("/images/generations", json={**GPT, **change})

    error = refused(answer)
    assert (error["param"], error["code"]) == (param, code)
    assert message in error["message"]


@pytest.mark.parametrize("size", ["1024x640", "1504x512", "1920x1088", "auto"])
async def test_gpt_image_2_takes_every_size_that_fits_the_arithmetic(connect: Connect, size: str) -> None:
    answer = await connect().post("/images/generations", json={**GPT, "size": size})

    assert answer.json()["size"] == ("1024x1024" if size == "auto" else size)


async def test_gpt_image_2_answers_with_pictures_settings_and_usage(connect: Connect) -> None:
    body = {**GPT, "prompt": "eight ch", "n": 2, "size": "1536x1024", "quality": "high", "stream": False}

    answer = (await connect().post("/images/generations", json=body)).json()

    pictures = answer.pop("data")
    assert [set(picture) for picture in pictures] == [{"b64_json"}, {"b64_json"}]
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


@pytest.mark.parametrize(
    ("size", "quality", "tokens"),
    [
        ("1024x1024", "low", 196),
        ("1024x1024", "medium", 1756),
        ("1024x1024", "high", 7024),
        ("1536x1024", "low", 158),
        ("1024x1536", "low", 158),
        ("2048x2048", "low", 397),
        ("2560x1440", "medium", 1843),
        ("3840x2160", "low", 371),
    ],
)
async def test_output_tokens_are_those_that_the_maker_published(
    connect: Connect, size: str, quality: str, tokens: int
) -> None:
    answer = await connect().post("/images/generations", json={**GPT, "size": size, "quality": quality})

    assert answer.json()["usage"]["output_tokens"] == tokens


async def test_dall_e_2_answers_with_base64_when_asked(connect: Connect) -> None:
    answer = await connect().post("/images/generations", json={**DALL_E_2, "response_format": "b64_json"})

    assert set(answer.json()) == {"created", "data"}
    assert set(answer.json()["data"][0]) == {"b64_json"}


@pytest.mark.parametrize("model", ["dall-e-9", "gpt-image-2-2020-01-01"])
async def test_an_unknown_model_is_not_found(connect: Connect, model: str) -> None:
    error = refused(await connect().post("/images/generations", json={"model": model, "prompt": "x"}), 404)

    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        "model",
        "model_not_found",
    )
    assert model in error["message"]


async def test_a_snapshot_is_the_same_model(connect: Connect, state: EmulatorState) -> None:
    api = connect()

    answers = [
        await api.post("/images/generations", json={**GPT, "model": model})
        for model in ("gpt-image-2", "gpt-image-2-2026-04-21")
    ]

    assert answers[0].json() == answers[1].json()
    assert state.requests[1].model == "gpt-image-2-2026-04-21"


async def test_a_model_that_makes_no_variations_says_which_one_does(
    connect: Connect, png: Callable[..., bytes]
) -> None:
    files = {"image": ("x.png", png(), "image/png")}

    answer = await connect().post("/images/variations", data={"model": "gpt-image-2"}, files=files)

    error = refused(answer)
    assert error["message"] == "Invalid value: 'gpt-image-2'. Value must be 'dall-e-2'."


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
async def test_a_request_without_a_model_gets_that_of_the_day(
    connect: Connect,
    state: EmulatorState,
    png: Callable[..., bytes],
    day: date | None,
    endpoint: str,
    model: str,
) -> None:
    api = connect(as_of=day)
    form: dict[str, str] = {} if endpoint == "variations" else {"prompt": "x"}
    files = {"image": ("x.png", png("RGBA"), "image/png")}

    if endpoint == "generations":
        answer = await api.post("/images/generations", json=form)
    else:
        answer = await api.post(f"/images/{endpoint}", data=form, files=files)

    assert answer.status_code == 200
    assert state.requests[0].model == model


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
    answer = await connect(as_of=day).post("/images/generations", json={"model": model, "prompt": "x"})

    assert refused(answer, 404)["code"] == "model_not_found"


async def test_variations_end_with_their_model_in_a_bare_404(
    connect: Connect, png: Callable[..., bytes]
) -> None:
    files = {"image": ("x.png", png(), "image/png")}

    last = await connect(as_of=date(2026, 5, 11)).post("/images/variations", files=files)
    over = await connect(as_of=date(2026, 5, 12)).post("/images/variations", files=files)

    assert (last.status_code, over.status_code, over.content) == (200, 404, b"")


async def test_a_parameter_is_unknown_before_its_first_day(connect: Connect) -> None:
    body = {**DALL_E_2, "quality": "standard"}

    before = await connect(as_of=date(2023, 11, 5)).post("/images/generations", json=body)
    after = await connect(as_of=date(2023, 11, 6)).post("/images/generations", json=body)

    assert refused(before)["code"] == "unknown_parameter"
    assert after.status_code == 200


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-2"])
@pytest.mark.parametrize("prompt", ["something forbidden", "FORBIDDEN!"])
async def test_a_prompt_with_the_forbidden_word_is_moderated(
    connect: Connect, state: EmulatorState, model: str, prompt: str
) -> None:
    error = refused(await connect().post("/images/generations", json={"model": model, "prompt": prompt}))

    if model == "dall-e-2":
        assert (error["type"], error["code"]) == ("invalid_request_error", "content_policy_violation")
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert (error["type"], error["code"]) == ("image_generation_user_error", "moderation_blocked")
        assert error["moderation_details"] == {"moderation_stage": "input", "categories": ["violence"]}
    assert state.billed_images == 0


async def test_a_longer_word_is_not_the_forbidden_one(connect: Connect) -> None:
    body = {**DALL_E_2, "prompt": "an unforbiddenly good cat"}

    assert (await connect().post("/images/generations", json=body)).status_code == 200


async def test_numbers_in_a_form_are_text_and_must_be_numbers(
    connect: Connect, png: Callable[..., bytes]
) -> None:
    api = connect()
    files = {"image": ("x.png", png(), "image/png")}

    good = await api.post("/images/variations", data={"n": "2", "size": "256x256"}, files=files)
    bad = await api.post("/images/variations", data={"n": "two"}, files=files)

    assert len(good.json()["data"]) == 2
    assert refused(bad)["code"] == "invalid_type"


async def test_a_form_field_given_twice_is_refused(connect: Connect, png: Callable[..., bytes]) -> None:
    files = {"image": ("x.png", png(), "image/png")}

    error = refused(await connect().post("/images/variations", data={"n": ["1", "2"]}, files=files))

    assert (error["param"], error["code"]) == ("n", "duplicate_parameter")
    assert "'n[]=<value>'" in error["message"]

"""Errors of rejected requests: the parameter, the code and OpenAI's wording.

``tests/calls/test_parameters.py`` is the table of what each model accepts. It cannot say why a request is rejected.
"""

import pytest

from tests.emulator.api import Api, file, png
from tests.support.error_objects import error_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]

FLARE = "gpt-image-2.6-flare"
USER_ERROR = "image_generation_user_error"
COMPRESSION = "output_compression"
USER_ERROR_CODES = {"unsupported_parameter", f"invalid_png_{COMPRESSION}"}
JPEG: dict[str, object] = {"background": "transparent", "output_format": "jpeg"}
GIF: dict[str, object] = {"output_format": "gif"}
SVG: dict[str, object] = {"output_format": "svg"}
GENERATIONS: list[tuple[str, dict[str, object], str, str | None, str]] = [
    ("dall-e-2", {"prompt": None}, "prompt", "missing_required_parameter", "Missing required parameter: 'p"),
    ("dall-e-2", {"prompt": ""}, "prompt", "empty_string", "minimum length 1"),
    ("dall-e-2", {"prompt": 7}, "prompt", "invalid_type", "expected a string, but got an integer instead"),
    ("dall-e-2", {"n": 0}, "n", "integer_below_min_value", "Expected a value >= 1, but got 0 instead."),
    ("dall-e-2", {"n": 11}, "n", "integer_above_max_value", "Expected a value <= 10, but got 11 instead."),
    ("dall-e-2", {"n": "2"}, "n", "invalid_type", "expected an integer, but got a string instead"),
    ("dall-e-2", {"n": 1.5}, "n", "invalid_type", "but got a decimal number instead"),
    ("dall-e-2", {"n": True}, "n", "invalid_type", "but got a boolean instead"),
    ("dall-e-2", {"n": [1]}, "n", "invalid_type", "but got an array instead"),
    ("dall-e-2", {"size": {}}, "size", "invalid_type", "expected a string, but got an object instead"),
    ("dall-e-2", {"size": "3x3"}, "size", "invalid_value", "Invalid value: '3x3'. Supported values are: '25"),
    ("dall-e-2", {"response_format": "x"}, "response_format", "invalid_value", "'url' and 'b64_json'."),
    ("dall-e-2", {"quality": "standard"}, "quality", "unknown_parameter", "Unknown parameter: 'quality'."),
    ("dall-e-2", {"stream": True}, "stream", "unknown_parameter", "Unknown parameter: 'stream'."),
    ("dall-e-2", {"stream": 0}, "stream", "unknown_parameter", "Unknown parameter: 'stream'."),
    ("dall-e-2", {"cats": 1}, "cats", "unknown_parameter", "Unknown parameter: 'cats'."),
    ("dall-e-3", {"n": 2}, "n", None, "You must provide n=1 for this model."),
    ("gpt-image-1", {"size": "3x3"}, "size", "invalid_value", "'1024x1536', '1536x1024', and 'auto'."),
    ("gpt-image-2", {"response_format": "url"}, "response_format", "unknown_parameter", "Unknown parameter"),
    ("gpt-image-2", {"size": "512x512"}, "size", "invalid_value", "below the current minimum pixel budget."),
    ("gpt-image-2", {"size": "1920x1080"}, "size", "invalid_value", "must both be divisible by 16"),
    ("gpt-image-2", {"size": "3856x1600"}, "size", "invalid_value", "less than or equal to 3840"),
    ("gpt-image-2", {"size": "2048x640"}, "size", "invalid_value", "at most three times the shortest edge"),
    ("gpt-image-2", {"size": "3840x2176"}, "size", "invalid_value", "above the current maximum pixel budget"),
    ("gpt-image-2", {"size": 1024}, "size", "invalid_type", "expected a string, but got an integer"),
    ("gpt-image-2", {"size": "large"}, "size", "invalid_value", "'auto' or have the form WIDTHxHEIGHT"),
    ("gpt-image-2", {"stream": "yes"}, "stream", "invalid_type", "expected a boolean, but got a string"),
    ("gpt-image-2", {"stream": True, "n": 2}, "input", "unsupported_parameter", "only supported with n=1."),
    (
        "gpt-image-2",
        JPEG,
        "background",
        "invalid_value",
        "Transparent background is not supported for JPEG out",
    ),
    (
        "gpt-image-2",
        {COMPRESSION: 50},
        COMPRESSION,
        f"invalid_png_{COMPRESSION}",
        "less than 100 is not supported",
    ),
    (FLARE, {"frame_count": 4}, "frame_count", "unsupported_parameter", "supported with output_format=gif."),
    (FLARE, {**GIF, "stream": True}, "stream", "unsupported_parameter", "not supported for GIF output"),
    (FLARE, {**GIF, "partial_images": 1}, "partial_images", "unsupported_parameter", "Partial images are"),
    (FLARE, {**GIF, "background": "transparent"}, "background", "invalid_value", "for GIF output format."),
    (FLARE, {**GIF, "size": "976x976"}, "size", "invalid_value", "above the current maximum"),
    (FLARE, {**GIF, "size": "832x832", "frame_count": 10}, "size", "invalid_value", "above the current"),
    (FLARE, {**GIF, "size": "736x736", "frame_count": 13}, "size", "invalid_value", "above the current"),
    (FLARE, {**GIF, "size": "16x16"}, "size", "invalid_value", "below the current minimum"),
    (FLARE, {"size": "512x512"}, "size", "invalid_value", "below the current minimum"),
    (FLARE, {**SVG, "n": 2}, "n", "unsupported_parameter", "SVG output is only supported with n=1."),
    (FLARE, {"svg": {"model": "x"}}, "svg", "unsupported_parameter", "supported with output_format=svg."),
    (FLARE, {**SVG, "svg": "x"}, "svg", "invalid_type", "expected an object"),
    (FLARE, {**SVG, "svg": {"style": "y"}}, "svg.style", "unknown_parameter", "'svg.style'"),
]


@pytest.mark.parametrize(("model", "fields", "param", "code", "message"), GENERATIONS)
async def test_a_rejected_generation_names_its_parameter_and_reason(
    api: Api, model: str, fields: dict[str, object], param: str, code: str | None, message: str
) -> None:
    error = error_of(await api.generate(model=model, **fields))

    assert (error["param"], error["code"]) == (param, code)
    assert message in error["message"]
    about_the_image = param == "background" or code in USER_ERROR_CODES
    assert error["type"] == (USER_ERROR if about_the_image else "invalid_request_error")
    assert api.state.billed_images == 0


@pytest.mark.parametrize(
    ("model", "length"), [("dall-e-2", 1000), ("dall-e-3", 4000), ("gpt-image-2", 32_000)]
)
async def test_a_prompt_longer_than_the_maximum_is_rejected(api: Api, model: str, length: int) -> None:
    assert (await api.generate(model=model, prompt="x" * length)).status_code == 200

    error = error_of(await api.generate(model=model, prompt="x" * (length + 1)))
    assert (error["type"], error["code"]) == ("invalid_request_error", "string_above_max_length")
    assert f"maximum length {length}, but got a string with length {length + 1}" in error["message"]


async def test_null_is_the_default_of_a_parameter(api: Api) -> None:
    assert len((await api.generate(n=None, size=None)).json()["data"]) == 1


FORMAT = "invalid_image_format"
FIDELITY, FIDELITY_CODE = "input_fidelity", "invalid_input_fidelity_model"
ALPHA, OPAQUE = png("RGBA"), png("RGBA", (64, 64), (0, 0, 0, 255))
EDITS: list[tuple[str, dict[str, str], dict[str, bytes], str, str, str]] = [
    (
        "gpt-image-1-mini",
        {FIDELITY: "high"},
        {},
        FIDELITY,
        FIDELITY_CODE,
        "'high' is only supported for model gpt-",
    ),
    (
        "gpt-image-2",
        {FIDELITY: "low"},
        {},
        FIDELITY,
        FIDELITY_CODE,
        "'gpt-image-2' does not support the 'input_fid",
    ),
    ("gpt-image-2", {"moderation": "low"}, {}, "moderation", "unknown_parameter", "'moderation'"),
    ("gpt-image-2", {}, {"markup": ALPHA}, "markup", "unknown_parameter", "'markup'"),
    (FLARE, {}, {"mask": ALPHA, "markup": ALPHA}, "mask", "mutually_exclusive_parameters", "'markup'"),
    (FLARE, {"output_format": "gif"}, {"mask": ALPHA}, "mask", "unsupported_parameter", "GIF"),
    (FLARE, {}, {"markup": png("RGB")}, "markup", FORMAT, "missing alpha channel"),
    (FLARE, {}, {"markup": png("RGBA", (64, 65))}, "markup", FORMAT, "does not match image size"),
    (FLARE, {}, {"markup": OPAQUE}, "markup", FORMAT, "must contain transparent pixels"),
]


@pytest.mark.parametrize(("model", "fields", "overlays", "param", "code", "message"), EDITS)
async def test_a_rejected_edit_in_a_form_names_its_parameter_and_reason(
    api: Api,
    model: str,
    fields: dict[str, str],
    overlays: dict[str, bytes],
    param: str,
    code: str,
    message: str,
) -> None:
    files = [file(name, data) for name, data in {"image": png("RGBA"), **overlays}.items()]

    error = error_of(await api.edit(*files, model=model, **fields))

    assert (error["param"], error["code"]) == (param, code)
    assert message in error["message"]
    about_the_image = code in {FIDELITY_CODE, "unsupported_parameter"}
    assert error["type"] == (USER_ERROR if about_the_image else "invalid_request_error")


async def test_a_model_without_the_endpoint_names_the_models_that_have_it(api: Api) -> None:
    varied = await api.vary(file("image", png()), model="gpt-image-2")
    edited = await api.edit(file("image", png("RGBA")), model="dall-e-3")

    assert error_of(varied)["message"] == "Invalid value: 'gpt-image-2'. Value must be 'dall-e-2'."
    others = "Supported values are: 'dall-e-2', 'gpt-image-1', "
    assert error_of(edited)["message"].startswith(f"Invalid value: 'dall-e-3'. {others}")


async def test_numbers_in_a_form_are_text_and_must_be_numbers(api: Api) -> None:
    good = await api.vary(file("image", png()), n="2", size="256x256")
    bad = await api.vary(file("image", png()), n="two")

    assert len(good.json()["data"]) == 2
    assert error_of(bad)["code"] == "invalid_type"


async def test_a_form_field_given_twice_is_rejected(api: Api) -> None:
    files = [file("image", png())]

    error = error_of(await api.post("/images/variations", data={"n": ["1", "2"]}, files=files))

    assert (error["param"], error["code"]) == ("n", "duplicate_parameter")
    assert "'n[]=<value>'" in error["message"]

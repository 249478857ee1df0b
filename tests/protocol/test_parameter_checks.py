"""Every parameter against the profile of its model, and combinations of parameters."""

from typing import Any

import attrs
import pytest

from imagesdk._protocol.parameter_checks import check_parameters, check_shape
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models import (
    DALL_E_2,
    DALL_E_3,
    GPT_IMAGE_1,
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_2,
    GPT_IMAGE_2_5_FLARE,
    GPT_IMAGE_2_6_FLARE,
    GPT_IMAGE_2_6_SUNBURST,
    ModelProfile,
    known,
)
from imagesdk.remedies import Remedy

NEWEST = GPT_IMAGE_2_6_FLARE
EDITOR = ModelProfile(name="editor", endpoints=("edits",))
GIF: dict[str, Any] = {"output_format": "gif"}
SVG: dict[str, Any] = {"output_format": "svg"}
WEBP: dict[str, Any] = {"output_format": "webp"}


def generate(**facts: Any) -> Job:
    return Generate("a cat", **facts)


def edit(**facts: Any) -> Job:
    return Edit("a.png", "a cat", **facts)


def variation(**facts: Any) -> Job:
    return Variation("a.png", **facts)


def checked(job: Job, profile: ModelProfile, *, stream: bool = False) -> None:
    check_shape(job)
    check_parameters(job, profile, stream=stream)


def refusal(job: Job, profile: ModelProfile, *, stream: bool = False) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        checked(job, profile, stream=stream)
    return caught.value


both = pytest.mark.parametrize("make", [generate, edit])
every = pytest.mark.parametrize("make", [generate, edit, variation])
every_model = pytest.mark.parametrize("profile", known(), ids=lambda profile: profile.name)
EFFORTS = "none, minimal, low, medium, high, xhigh or max"
ODD_SVGS: Any = ["low", ["model"], 5, {"model": 5}, {"model": None}, {"reasoning": "low"}, {"reasoning": []}]
BAD_SIZES: list[Any] = ["255x255", "1536x1024", "auto", "1024X1024", "1024", "", (256, 256), "256x256\n"]


@pytest.mark.parametrize("profile", [DALL_E_2, GPT_IMAGE_2])
def test_a_prompt_is_limited_in_characters_and_not_in_bytes(profile: ModelProfile) -> None:
    longest = profile.prompt_length
    assert longest is not None
    checked(Generate("\U0001f408" * longest), profile)
    for job in (Generate("x" * (longest + 1)), Edit("a.png", "x" * (longest + 1))):
        error = refusal(job, profile)
        assert (error.param, error.value) == ("prompt", f"{longest + 1} characters")
        assert error.allowed == f"1 to {longest} characters"
        assert profile.name in str(error)
        assert "xxxx" not in str(error)


@pytest.mark.parametrize("prompt", [None, b"a cat", 5, ["a cat"]])
def test_a_prompt_that_is_not_a_text_is_refused_without_any_profile(prompt: Any) -> None:
    with pytest.raises(InvalidRequestError, match="prompt must be str, got ") as caught:
        check_shape(Generate(prompt))
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("name", ["prompt", "user", "model", "size"])
def test_a_text_with_a_lone_surrogate_is_refused_without_any_profile(name: str) -> None:
    jobs: list[Any] = [Generate("a cat"), Edit("a.png", "a cat"), Variation("a.png")]
    for job in jobs[: 2 if name == "prompt" else 3]:
        with pytest.raises(InvalidRequestError, match="contains a lone surrogate") as caught:
            check_shape(attrs.evolve(job, **{name: "a \udcff"}))
        assert caught.value.param == name


@every
@pytest.mark.parametrize("n", [0, -1, True, False, 1.0, "2"])
def test_an_n_that_is_not_a_count_is_refused_without_any_profile(make: Any, n: Any) -> None:
    with pytest.raises(InvalidRequestError, match="a whole number of at least 1") as caught:
        check_shape(make(n=n))
    assert (caught.value.param, caught.value.value) == ("n", n)
    assert "check=False" not in str(caught.value)


@pytest.mark.parametrize(("name", "good", "bad", "allowed"), [
    ("n", [1, 10], [11], "1 to 10"),
    ("response_format", ["url", "b64_json"], ["base64"], "url or b64_json"),
    ("size", ["256x256", "512x512", "1024x1024"], BAD_SIZES, "256x256, 512x512 or 1024x1024"),
])  # fmt: skip
def test_a_variation_has_the_parameters_of_dall_e_2(
    name: str, good: list[Any], bad: list[Any], allowed: str
) -> None:
    for value in good:
        checked(variation(**{name: value}, user="hash-of-a-name"), DALL_E_2)
    for value in bad:
        error = refusal(variation(**{name: value}), DALL_E_2)
        assert (error.param, error.value, error.allowed) == (name, value, allowed)


@pytest.mark.parametrize(
    "size", ["big", "0x1024", "-16x1024", "1024x01024", " 1024x1024", f"{'9' * 101}x16", 1024, (256, 256)]
)
def test_a_size_is_written_width_x_height(size: Any) -> None:
    error = refusal(generate(size=size), GPT_IMAGE_2)
    assert (error.param, error.value) == ("size", size)
    assert "a size is written WIDTHxHEIGHT" in (error.allowed or "")


def test_a_long_value_is_shortened_in_the_message_and_kept_in_the_error() -> None:
    error = refusal(generate(size="9" * 500), DALL_E_2)
    assert len(str(error)) < 250
    assert error.value == "9" * 500


@pytest.mark.parametrize(("job", "profile", "param", "value", "allowed"), [
    *((Generate(blank), GPT_IMAGE_2, "prompt", blank, "a description of the image") for blank in ("", " ", "\n\t")),
    (generate(background="transparent", output_format="jpeg"), GPT_IMAGE_2, "background", "transparent",
        "opaque or auto with output format jpeg"),
    *((make(n=11), GPT_IMAGE_2, "n", 11, "1 to 10") for make in (generate, edit)),
    (generate(n=2), DALL_E_3, "n", 2, "1"),
    (generate(n=2, **SVG), NEWEST, "n", 2, "1 with output format svg"),
    *((make(safety_identifier="x" * 129), GPT_IMAGE_2, "safety_identifier", "129 characters",
        "at most 128 characters") for make in (generate, edit)),
    *((generate(**{name: 7}), GPT_IMAGE_2, name, 7, "a text") for name in ("safety_identifier", "user")),
    (edit(input_fidelity="high"), GPT_IMAGE_1_MINI, "input_fidelity", "high", "low"),
    *((generate(svg=svg, **SVG), NEWEST, "svg", svg, 'such as {"model": "...", "reasoning": {"effort": "low"}}')
        for svg in ODD_SVGS),
    *((generate(svg=svg, **SVG), NEWEST, "svg", svg, f"a reasoning effort of {EFFORTS}")
        for svg in ({"reasoning": {"effort": effort}} for effort in ("lots", 5, ["low"]))),
    *((generate(output_compression=50, output_format=chosen), GPT_IMAGE_2, "output_compression", 50,
        "not given with png, only with jpeg or webp") for chosen in (None, "png")),
    *((generate(output_compression=50, output_format=chosen), NEWEST, "output_compression", 50,
        f"not given with {chosen}, only with jpeg or webp") for chosen in ("gif", "svg")),
    (edit(mask=b"png", **GIF), NEWEST, "mask", "an image", "not given with output format gif"),
    (edit(mask="m.png", markup=b"png"), NEWEST, "markup", "an image", "not given with a mask: one of the two"),
    *((generate(**{name: 9}, output_format=chosen), NEWEST, name, 9, "only given with output format gif")
        for name in ("frame_count", "frame_duration_ms") for chosen in (None, "png", "svg")),
    *((generate(svg={}, output_format=chosen), NEWEST, "svg", {}, "only given with output format svg")
        for chosen in (None, "png", "gif")),
])  # fmt: skip
def test_a_refusal_names_the_parameter_its_value_and_the_rule(
    job: Job, profile: ModelProfile, param: str, value: object, allowed: str
) -> None:
    error = refusal(job, profile)
    assert (error.param, error.value, error.allowed) == (param, value, allowed)
    assert "xxx" not in str(error)
    if allowed.startswith("only given with"):
        assert Remedy.CHOOSE_FORMAT.of(allowed.rpartition(" ")[2]) in error.remedies


@pytest.mark.parametrize(("job", "profile"), [
    *((make(n=10, safety_identifier="x" * 128, partial_images=0), GPT_IMAGE_2) for make in (generate, edit)),
    *((edit(input_fidelity=value), GPT_IMAGE_1) for value in ("high", "low")),
    *((edit(**{name: "m.png"}), NEWEST) for name in ("mask", "markup")),
    (edit(input_fidelity="low"), GPT_IMAGE_1_MINI), (generate(n=1), DALL_E_3),
    (generate(user="x" * 500), GPT_IMAGE_2), (generate(size="1920x1088"), GPT_IMAGE_2),
    (generate(n=1, background="transparent", **SVG), NEWEST),
    (generate(n=2, background="transparent", frame_count=4, frame_duration_ms=100, **GIF), NEWEST),
])  # fmt: skip
def test_a_job_within_the_rules_of_its_model_is_valid(job: Job, profile: ModelProfile) -> None:
    checked(job, profile)


@every_model
def test_a_job_with_only_a_prompt_is_valid_for_every_model(profile: ModelProfile) -> None:
    checked(Generate("a cat"), profile)


@every_model
def test_a_parameter_that_a_model_does_not_have_is_refused_by_its_name(profile: ModelProfile) -> None:
    values: dict[str, Any] = {"frame_count": 3, "frame_duration_ms": 100, "output_compression": 1}
    values |= {"partial_images": 1, "svg": {}}
    for job in (Generate, Edit):
        for name in sorted(profile.rejected & {field.name for field in attrs.fields(job)}):
            if job is Edit and "edits" not in profile.endpoints:
                continue
            make = generate if job is Generate else edit
            error = refusal(make(**{name: values.get(name, "low")}), profile)
            assert (error.param, error.allowed) == (name, "not given")
            assert f"{profile.name} takes no {name}" in str(error)
            assert error.remedies == (Remedy.LEAVE_OUT.of(name), Remedy.SKIP_CHECK)


@pytest.mark.parametrize(("job", "hint"), [
    (generate(response_format="url"), "it always returns the image itself"),
    (generate(style="vivid"), "the prompt describes the style"),
    (generate(frame_count=3), "gpt-image-2.6-sunburst does"),
    (generate(svg={}), "gpt-image-2.6-sunburst does"), (edit(markup="m.png"), "gpt-image-2.5-sunburst does"),
    (edit(input_fidelity="low"), "it always keeps what the images show"),
])  # fmt: skip
def test_a_refused_parameter_comes_with_an_alternative(job: Job, hint: str) -> None:
    assert hint in str(refusal(job, GPT_IMAGE_2))


@pytest.mark.parametrize(("job", "profile", "remedies"), [
    (edit(), DALL_E_3, [Remedy.USE_MODEL.of("gpt-image-2")]),
    *((variation(), profile, [Remedy.USE_EDIT, Remedy.USE_MODEL.of("dall-e-2")]) for profile in (GPT_IMAGE_2, DALL_E_3)),
    (generate(), EDITOR, [Remedy.USE_MODEL.of("gpt-image-2")]),
])  # fmt: skip
def test_a_model_without_an_endpoint_names_a_model_with_it(
    job: Job, profile: ModelProfile, remedies: list[Remedy]
) -> None:
    error = refusal(job, profile)
    assert (error.param, error.value) == ("model", profile.name)
    assert error.summary == f"{profile.name} has no {job.endpoint} endpoint."
    assert error.allowed == f"a model with the {job.endpoint} endpoint"
    assert error.remedies == (*remedies, Remedy.SKIP_CHECK)
    checked(edit(), EDITOR)


def test_a_profile_without_endpoints_accepts_everything() -> None:
    for job in (generate(n=99, size="7x7", partial_images=9), edit(mask="m", markup="m"), Variation("a.png")):
        checked(job, ModelProfile(name="mine"), stream=not isinstance(job, Variation))


@both
def test_an_invalid_size_is_refused_with_its_rule_and_the_nearest_size(make: Any) -> None:
    error = refusal(make(size="1920x1080"), GPT_IMAGE_2)
    assert error.param == "size"
    assert "both edges must be multiples of 16." in error.summary
    assert error.remedies == (Remedy.USE_SIZE.of("1920x1088"), Remedy.SKIP_CHECK)
    assert "1024x1024, 1536x1024, 1024x1536 or auto" in str(error)


@pytest.mark.parametrize(("size", "expected", "nearest"), [
    ("4100x1001", "multiples of 16.", "3504x1168"), ("4096x1024", "longer than 3840.", "3552x1184"),
    ("3072x768", "3 times the short one.", "2640x880"),
    ("512x512", "between 655360 and 8294400 pixels.", "816x816"),
    (f"{10**90}x1", "multiples of 16.", "3840x1280"),
    ("3840x3840", "between 655360 and 8294400 pixels.", "2880x2880"),
])  # fmt: skip
def test_a_size_that_breaks_several_rules_names_the_first(size: str, expected: str, nearest: str) -> None:
    error = refusal(generate(size=size), GPT_IMAGE_2)
    assert error.summary.endswith(expected)
    assert Remedy.USE_SIZE.of(nearest) in error.remedies


@pytest.mark.parametrize("size", ["512x512", "384x384", "512x288", "1024x576", "auto", "1024x1024"])
def test_a_frame_of_an_animation_may_be_smaller_than_an_image(size: str) -> None:
    checked(generate(size=size, **GIF), NEWEST)
    checked(edit(size=size, **GIF), NEWEST)


@pytest.mark.parametrize(
    ("size", "rule"),
    [("500x500", "multiples of 16"), ("3856x16", "longer than 3840"), ("big", "WIDTHxHEIGHT")],
)
def test_a_frame_of_an_animation_has_the_rules_for_each_edge(size: str, rule: str) -> None:
    assert rule in str(refusal(generate(size=size, **GIF), NEWEST))


@pytest.mark.parametrize(("profile", "name", "good", "bad", "allowed"), [
    (GPT_IMAGE_2, "quality", "high", "xhigh", "low, medium, high or auto"),
    (GPT_IMAGE_2_5_FLARE, "quality", "max", "ultra", "low, medium, high, xhigh, max or auto"),
    (GPT_IMAGE_2, "background", "transparent", "white", "transparent, opaque or auto"),
    (GPT_IMAGE_2, "moderation", "low", "none", "auto or low"),
    (GPT_IMAGE_2, "output_format", "webp", "gif", "png, jpeg or webp"),
    (NEWEST, "output_format", "svg", "tiff", "png, jpeg, webp, gif or svg"),
    (NEWEST, "complexity", "high", "max", "low, medium or high"),
    (GPT_IMAGE_2, "complexity", "high", "max", "low, medium or high"),
    (DALL_E_3, "style", "natural", "baroque", "vivid or natural"),
    (DALL_E_3, "quality", "hd", "high", "standard or hd"),
    (DALL_E_2, "quality", "standard", "hd", "standard"),
    (DALL_E_2, "response_format", "url", "base64", "url or b64_json"),
])  # fmt: skip
def test_a_parameter_accepts_the_values_that_its_model_lists(
    profile: ModelProfile, name: str, good: str, bad: str, allowed: str
) -> None:
    checked(generate(**{name: good}), profile)
    error = refusal(generate(**{name: bad}), profile)
    assert (error.param, error.value, error.allowed) == (name, bad, allowed)


@pytest.mark.parametrize(("name", "good", "bad", "allowed", "beside"), [
    ("frame_count", [2, 9, 16], [1, 17, 2.0, True, "9"], "2 to 16", GIF),
    ("frame_duration_ms", [1, 200, 655_350], [0, -1, 655_351, 0.5], "1 to 655350", GIF),
    ("output_compression", [0, 50, 100], [-1, 101, 50.0, True, "50"], "0 to 100", WEBP),
])  # fmt: skip
@both
def test_a_number_is_whole_and_within_its_bounds(
    make: Any, name: str, good: list[Any], bad: list[Any], allowed: str, beside: dict[str, Any]
) -> None:
    for value in good:
        checked(make(**{name: value}, **beside), NEWEST)
    for value in bad:
        error = refusal(make(**{name: value}, **beside), NEWEST)
        assert (error.param, error.value, error.allowed) == (name, value, allowed)


def test_a_refused_mask_is_not_quoted() -> None:
    assert "mask is an image;" in str(refusal(edit(mask=b"\x89PNG", **GIF), NEWEST))


@pytest.mark.parametrize("svg", [
    {}, {"model": "gpt-5.6"}, {"reasoning": {}}, {"reasoning": None},
    {"model": "gpt-5.6", "reasoning": {"effort": "xhigh"}}, {"reasoning": {"effort": None}},
    {"reasoning": {"effort": "low", "new": 1}, "new": 2},
])  # fmt: skip
def test_an_svg_has_a_model_and_an_effort(svg: Any) -> None:
    checked(generate(svg=svg, **SVG), NEWEST)
    checked(edit(svg=svg, mask="m.png", **SVG), GPT_IMAGE_2_6_SUNBURST)


@pytest.mark.parametrize(("make", "method"), [(generate, "generate_stream"), (edit, "edit_stream")])
def test_partial_images_need_a_stream(make: Any, method: str) -> None:
    error = refusal(make(partial_images=2), GPT_IMAGE_2)
    assert error.param == "partial_images"
    assert Remedy.USE_STREAM.of(method) in error.remedies
    assert f"Use images.{method}(..., partial_images=2) to receive partial images." in str(error)


@both
def test_a_stream_has_one_image_and_up_to_3_partial_images_in_a_raster_format(make: Any) -> None:
    for count in (0, 1, 3):
        checked(make(n=1, partial_images=count), GPT_IMAGE_2, stream=True)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"n": 2}, "1 in a stream"),
        *(({"partial_images": count}, "0 to 3") for count in (-1, 4, True, "2")),
        *(({"output_format": name}, "png, jpeg or webp in a stream") for name in ("gif", "svg")),
        *(
            ({"partial_images": 1, "output_format": name}, f"not given with output format {name}")
            for name in ("gif", "svg")
        ),
    ]
    for facts, allowed in refused:
        error = refusal(make(**facts), NEWEST, stream=True)
        assert (error.param, error.value, error.allowed) == (*next(iter(facts.items())), allowed)


@pytest.mark.parametrize("profile", [DALL_E_2, DALL_E_3])
def test_a_model_without_streams_names_a_model_with_streams(profile: ModelProfile) -> None:
    error = refusal(generate(), profile, stream=True)
    assert (error.param, error.value, error.allowed) == ("model", profile.name, "a model that streams")
    assert Remedy.USE_MODEL.of("gpt-image-2") in error.remedies


def test_a_model_that_may_stream_accepts_a_stream() -> None:
    checked(generate(), attrs.evolve(GPT_IMAGE_2, streams=None), stream=True)

"""Every parameter of generations and edits against the profile of its model, and which of them go together."""

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
GIF: dict[str, Any] = {"output_format": "gif"}
SVG: dict[str, Any] = {"output_format": "svg"}


def generate(**facts: Any) -> Job:
    return Generate("a cat", **facts)


def edit(**facts: Any) -> Job:
    return Edit("a.png", "a cat", **facts)


def checked(job: Job, profile: ModelProfile, *, stream: bool = False) -> None:
    check_shape(job)
    check_parameters(job, profile, stream=stream)


def refusal(job: Job, profile: ModelProfile, *, stream: bool = False) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        checked(job, profile, stream=stream)
    return caught.value


both = pytest.mark.parametrize("make", [generate, edit])


@pytest.mark.parametrize("profile", known(), ids=lambda profile: profile.name)
def test_a_job_that_says_nothing_but_its_prompt_is_right_for_every_model(profile: ModelProfile) -> None:
    checked(Generate("a cat"), profile)


@pytest.mark.parametrize("profile", known(), ids=lambda profile: profile.name)
def test_a_parameter_that_a_model_rejects_is_refused_by_its_name(profile: ModelProfile) -> None:
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


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("response_format", "url", "it always returns the image itself"),
        ("style", "vivid", "the prompt describes the style"),
        ("frame_count", 3, "gpt-image-2.6-sunburst does"),
        ("svg", {}, "gpt-image-2.6-sunburst does"),
    ],
)
def test_a_refused_parameter_comes_with_a_way_out(name: str, value: Any, hint: str) -> None:
    assert hint in str(refusal(generate(**{name: value}), GPT_IMAGE_2))


def test_a_refused_overlay_names_a_model_that_takes_it() -> None:
    assert "gpt-image-2.5-sunburst does" in str(refusal(edit(markup="m.png"), GPT_IMAGE_2))
    assert "it always keeps what the images show" in str(refusal(edit(input_fidelity="low"), GPT_IMAGE_2))


def variation(**facts: Any) -> Job:
    return Variation("a.png", **facts)


every_job = pytest.mark.parametrize("make", [generate, edit, variation])


class TestPrompts:
    @pytest.mark.parametrize("profile", [DALL_E_2, GPT_IMAGE_2])
    def test_a_prompt_is_counted_in_characters_up_to_the_length_of_its_model(
        self, profile: ModelProfile
    ) -> None:
        longest = profile.prompt_length or 0
        checked(Generate("\U0001f408" * longest), profile)
        for job in (Generate("x" * (longest + 1)), Edit("a.png", "x" * (longest + 1))):
            error = refusal(job, profile)
            assert (error.param, error.value) == ("prompt", f"{longest + 1} characters")
            assert error.allowed == f"1 to {longest} characters"
            assert "xxxx" not in str(error)

    @pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
    @pytest.mark.parametrize("profile", [DALL_E_2, GPT_IMAGE_2])
    def test_a_blank_prompt_is_refused(self, prompt: str, profile: ModelProfile) -> None:
        error = refusal(Generate(prompt), profile)
        assert (error.param, error.value) == ("prompt", prompt)
        assert error.allowed == "a description of the picture"

    @pytest.mark.parametrize("prompt", [None, b"a cat", 5, ["a cat"]])
    def test_a_prompt_that_is_no_text_is_refused_without_any_profile(self, prompt: Any) -> None:
        with pytest.raises(InvalidRequestError, match="allowed: a text") as caught:
            check_shape(Generate(prompt))
        assert caught.value.param == "prompt"


@every_job
@pytest.mark.parametrize("name", ["user", "model", "size"])
def test_a_text_with_a_lone_surrogate_is_refused_without_any_profile(make: Any, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="lone surrogates") as caught:
        check_shape(make(**{name: "\udcff"}))
    assert caught.value.param == name
    with pytest.raises(InvalidRequestError, match="lone surrogates"):
        check_shape(Generate("a \ud83d cat"))


@every_job
@pytest.mark.parametrize("n", [0, -1, True, False, 1.0, "2"])
def test_a_number_of_images_that_is_no_count_is_refused_without_any_profile(make: Any, n: Any) -> None:
    with pytest.raises(InvalidRequestError, match="a whole number of at least 1") as caught:
        check_shape(make(n=n))
    assert caught.value.param == "n"
    assert caught.value.value is n
    assert "check=False" not in str(caught.value)


@every_job
@pytest.mark.parametrize(
    ("facts", "allowed"),
    [
        ({"n": 11}, "1 to 10"),
        *(
            ({"size": size}, "256x256, 512x512 or 1024x1024")
            for size in ("255x255", "auto", "1024X1024", "1024", "", (256, 256), "256x256\n")
        ),
        ({"response_format": "base64"}, "url or b64_json"),
    ],
)
def test_dall_e_2_refuses_alike_on_every_endpoint(make: Any, facts: dict[str, Any], allowed: str) -> None:
    error = refusal(make(**facts), DALL_E_2)
    assert {error.param: error.value} == facts
    assert error.allowed == allowed
    assert "check=False" in str(error)


@every_job
def test_a_profile_without_rules_refuses_nothing(make: Any) -> None:
    checked(make(n=1000, size="9x9", response_format="file", user="x"), ModelProfile(name="unruled"))


class TestEndpoints:
    def test_a_model_without_edits_names_one_that_has_them(self) -> None:
        error = refusal(edit(), DALL_E_3)
        assert (error.param, error.value) == ("model", "dall-e-3")
        assert error.summary == "dall-e-3 has no edits endpoint."
        assert error.remedies == (Remedy.USE_MODEL.of("gpt-image-2"), Remedy.SKIP_CHECK)

    def test_a_model_without_variations_names_one_that_has_them_and_edits(self) -> None:
        for profile in (GPT_IMAGE_2, DALL_E_3):
            error = refusal(Variation("a.png"), profile)
            assert error.summary == f"{profile.name} has no variations endpoint."
            assert error.remedies == (Remedy.USE_EDIT, Remedy.USE_MODEL.of("dall-e-2"), Remedy.SKIP_CHECK)

    def test_a_model_that_only_edits_generates_nothing(self) -> None:
        editor = ModelProfile(name="editor", endpoints=("edits",))
        checked(edit(), editor)
        error = refusal(generate(), editor)
        assert error.allowed == "a model with the generations endpoint"
        assert Remedy.USE_MODEL.of("gpt-image-2") in error.remedies

    def test_a_model_of_which_no_endpoints_are_known_is_sent_everything(self) -> None:
        for job in (
            generate(n=99, size="7x7", partial_images=9),
            edit(mask="m", markup="m"),
            Variation("a.png"),
        ):
            checked(job, ModelProfile(name="mine"), stream=not isinstance(job, Variation))


class TestSizes:
    @both
    def test_a_size_that_is_not_free_is_refused_with_its_rule_and_the_nearest(self, make: Any) -> None:
        error = refusal(make(size="1920x1080"), GPT_IMAGE_2)
        assert error.param == "size"
        assert "both edges must be multiples of 16." in error.summary
        assert error.remedies == (Remedy.USE_SIZE.of("1920x1088"), Remedy.SKIP_CHECK)
        assert "1024x1024, 1536x1024, 1024x1536 or auto" in str(error)

    @pytest.mark.parametrize(
        ("size", "said", "nearest"),
        [
            ("4100x1001", "multiples of 16.", "3504x1168"),
            ("4096x1024", "longer than 3840.", "3552x1184"),
            ("3072x768", "3 times the short one.", "2640x880"),
            ("512x512", "between 655360 and 8294400 pixels.", "816x816"),
            (f"{10**90}x1", "multiples of 16.", "3840x1280"),
        ],
    )
    def test_of_several_broken_rules_the_first_is_named(self, size: str, said: str, nearest: str) -> None:
        error = refusal(generate(size=size), GPT_IMAGE_2)
        assert error.summary.endswith(said)
        assert Remedy.USE_SIZE.of(nearest) in error.remedies

    @pytest.mark.parametrize(
        "size", ["0x1024", "-16x1024", "1024x01024", " 1024x1024", f"{'9' * 101}x16", 1024, "big"]
    )
    def test_a_size_of_another_form_is_refused_with_the_form(self, size: Any) -> None:
        error = refusal(generate(size=size), GPT_IMAGE_2)
        assert (error.param, error.value) == ("size", size)
        assert "WIDTHxHEIGHT" in str(error)

    def test_the_nearest_size_is_taken(self) -> None:
        checked(generate(size="1920x1088"), GPT_IMAGE_2)

    @pytest.mark.parametrize("size", ["512x512", "384x384", "512x288", "1024x576", "auto", "1024x1024"])
    def test_frames_of_an_animation_may_be_smaller_than_a_picture(self, size: str) -> None:
        checked(generate(size=size, **GIF), NEWEST)
        checked(edit(size=size, **GIF), NEWEST)

    @pytest.mark.parametrize(
        ("size", "rule"),
        [("500x500", "multiples of 16"), ("3856x16", "longer than 3840"), ("big", "WIDTHxHEIGHT")],
    )
    def test_frames_of_an_animation_keep_the_rules_of_each_edge(self, size: str, rule: str) -> None:
        assert rule in str(refusal(generate(size=size, **GIF), NEWEST))


@pytest.mark.parametrize(
    ("profile", "name", "good", "bad", "allowed"),
    [
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
        (DALL_E_2, "response_format", "url", "base64", "url or b64_json"),
        (DALL_E_2, "quality", "standard", "hd", "standard"),
    ],
)
def test_a_parameter_of_words_takes_those_that_its_model_lists(
    profile: ModelProfile, name: str, good: str, bad: str, allowed: str
) -> None:
    checked(generate(**{name: good}), profile)
    error = refusal(generate(**{name: bad}), profile)
    assert (error.param, error.value, error.allowed) == (name, bad, allowed)


def test_fidelity_to_the_pictures_is_for_models_that_can_choose() -> None:
    for value in ("high", "low"):
        checked(edit(input_fidelity=value), GPT_IMAGE_1)
    checked(edit(input_fidelity="low"), GPT_IMAGE_1_MINI)
    assert refusal(edit(input_fidelity="high"), GPT_IMAGE_1_MINI).allowed == "low"


class TestNumbers:
    @pytest.mark.parametrize(
        ("name", "good", "bad", "allowed", "beside"),
        [
            ("frame_count", [2, 9, 16], [1, 17, 2.0, True, "9"], "2 to 16", GIF),
            ("frame_duration_ms", [1, 200, 655_350], [0, -1, 655_351, 0.5], "1 to 655350", GIF),
            (
                "output_compression",
                [0, 50, 100],
                [-1, 101, 50.0, True, "50"],
                "0 to 100",
                {"output_format": "webp"},
            ),
        ],
    )
    @both
    def test_are_whole_and_within_their_bounds(
        self, make: Any, name: str, good: list[Any], bad: list[Any], allowed: str, beside: dict[str, Any]
    ) -> None:
        for value in good:
            checked(make(**{name: value}, **beside), NEWEST)
        for value in bad:
            error = refusal(make(**{name: value}, **beside), NEWEST)
            assert (error.param, error.value, error.allowed) == (name, value, allowed)

    @both
    def test_of_partial_images_are_0_to_3_in_a_stream(self, make: Any) -> None:
        for count in (0, 1, 3):
            checked(make(partial_images=count), GPT_IMAGE_2, stream=True)
        for bad in (-1, 4, True, "2"):
            error = refusal(make(partial_images=bad), GPT_IMAGE_2, stream=True)
            assert (error.param, error.allowed) == ("partial_images", "0 to 3")

    @both
    def test_of_pictures_go_by_the_model(self, make: Any) -> None:
        checked(make(n=10), GPT_IMAGE_2)
        assert refusal(make(n=11), GPT_IMAGE_2).allowed == "1 to 10"
        checked(generate(n=1), DALL_E_3)
        assert refusal(generate(n=2), DALL_E_3).allowed == "1"


class TestIdentifiers:
    @both
    def test_of_end_users_have_at_most_128_characters(self, make: Any) -> None:
        checked(make(safety_identifier="x" * 128), GPT_IMAGE_2)
        error = refusal(make(safety_identifier="x" * 129), GPT_IMAGE_2)
        assert (error.param, error.value) == ("safety_identifier", "129 characters")
        assert error.allowed == "at most 128 characters"
        assert "xxx" not in str(error)

    @pytest.mark.parametrize("name", ["safety_identifier", "user"])
    def test_are_texts(self, name: str) -> None:
        assert refusal(generate(**{name: 7}), GPT_IMAGE_2).allowed == "a text"

    def test_may_be_long_by_their_old_name(self) -> None:
        checked(generate(user="x" * 500), GPT_IMAGE_2)


class TestAnimations:
    @pytest.mark.parametrize("name", ["frame_count", "frame_duration_ms"])
    @pytest.mark.parametrize("output_format", [None, "png", "svg"])
    def test_alone_have_frames(self, name: str, output_format: str | None) -> None:
        error = refusal(generate(**{name: 9}, output_format=output_format), NEWEST)
        assert error.param == name
        assert error.allowed == "only given with output format gif"
        assert Remedy.CHOOSE_FORMAT.of("gif") in error.remedies

    @pytest.mark.parametrize(("name", "value"), [("mask", b"png"), ("output_compression", 50)])
    def test_rule_out(self, name: str, value: Any) -> None:
        error = refusal(edit(**{name: value}, **GIF), NEWEST)
        assert error.param == name
        assert "not given with" in str(error)
        assert "gif" in str(error)

    def test_show_no_picture_in_a_message(self) -> None:
        assert "mask is an image;" in str(refusal(edit(mask=b"\x89PNG", **GIF), NEWEST))

    def test_come_in_numbers_and_may_be_transparent(self) -> None:
        checked(generate(n=2, background="transparent", frame_count=4, frame_duration_ms=100, **GIF), NEWEST)


class TestVectorGraphics:
    @pytest.mark.parametrize(
        "svg",
        [
            {},
            {"model": "gpt-5.6"},
            {"reasoning": {}},
            {"reasoning": None},
            {"model": "gpt-5.6", "reasoning": {"effort": "xhigh"}},
            {"reasoning": {"effort": None}},
            {"reasoning": {"effort": "low", "new": 1}, "new": 2},
        ],
    )
    def test_say_how_they_are_written(self, svg: Any) -> None:
        checked(generate(svg=svg, **SVG), NEWEST)
        checked(edit(svg=svg, mask="m.png", **SVG), GPT_IMAGE_2_6_SUNBURST)

    @pytest.mark.parametrize(
        "svg",
        ["low", ["model"], 5, {"model": 5}, {"model": None}, {"reasoning": "low"}, {"reasoning": []}],
    )
    def test_are_described_by_an_object(self, svg: Any) -> None:
        error = refusal(generate(svg=svg, **SVG), NEWEST)
        assert (error.param, error.value) == ("svg", svg)
        assert error.allowed == 'such as {"model": "...", "reasoning": {"effort": "low"}}'

    @pytest.mark.parametrize("effort", ["lots", 5, ["low"]])
    def test_are_thought_about_as_much_as_is_possible(self, effort: Any) -> None:
        error = refusal(generate(svg={"reasoning": {"effort": effort}}, **SVG), NEWEST)
        assert error.allowed == "a reasoning effort of none, minimal, low, medium, high, xhigh or max"

    @pytest.mark.parametrize("output_format", [None, "png", "gif"])
    def test_alone_are_described(self, output_format: str | None) -> None:
        error = refusal(generate(svg={}, output_format=output_format), NEWEST)
        assert error.param == "svg"
        assert Remedy.CHOOSE_FORMAT.of("svg") in error.remedies

    def test_come_one_at_a_time_and_uncompressed(self) -> None:
        checked(generate(n=1, background="transparent", **SVG), NEWEST)
        error = refusal(generate(n=2, **SVG), NEWEST)
        assert (error.param, error.allowed) == ("n", "1 with output format svg")
        assert refusal(generate(output_compression=50, **SVG), NEWEST).param == "output_compression"


def test_a_drawing_over_the_picture_is_instead_of_a_mask() -> None:
    checked(edit(markup="m.png"), NEWEST)
    checked(edit(mask="m.png"), NEWEST)
    error = refusal(edit(mask="m.png", markup=b"png"), NEWEST)
    assert error.param == "markup"
    assert "not given with a mask: one of the two" in str(error)


class TestStreams:
    @pytest.mark.parametrize(("make", "method"), [(generate, "generate_stream"), (edit, "edit_stream")])
    def test_alone_show_partial_images(self, make: Any, method: str) -> None:
        error = refusal(make(partial_images=2), GPT_IMAGE_2)
        assert error.param == "partial_images"
        assert Remedy.USE_STREAM.of(method) in error.remedies
        assert f"Use images.{method}(..., partial_images=2) to receive partial images." in str(error)
        checked(make(partial_images=0), GPT_IMAGE_2)

    @both
    def test_bring_one_picture(self, make: Any) -> None:
        checked(make(n=1), GPT_IMAGE_2, stream=True)
        error = refusal(make(n=2), GPT_IMAGE_2, stream=True)
        assert (error.param, error.value, error.allowed) == ("n", 2, "1 in a stream")

    @pytest.mark.parametrize("profile", [DALL_E_2, DALL_E_3])
    def test_come_from_models_that_stream(self, profile: ModelProfile) -> None:
        error = refusal(generate(), profile, stream=True)
        assert (error.param, error.value) == ("model", profile.name)
        assert error.allowed == "a model that streams"
        assert Remedy.USE_MODEL.of("gpt-image-2") in error.remedies

    def test_may_come_from_a_model_of_which_it_is_not_known(self) -> None:
        checked(generate(), attrs.evolve(GPT_IMAGE_2, streams=None), stream=True)

    @pytest.mark.parametrize("output_format", ["gif", "svg"])
    @both
    def test_bring_no_animation_and_no_vector_graphics(self, make: Any, output_format: str) -> None:
        error = refusal(make(output_format=output_format), NEWEST, stream=True)
        assert (error.param, error.value) == ("output_format", output_format)
        assert error.allowed == "png, jpeg or webp in a stream"
        assert refusal(make(output_format=output_format, partial_images=1), NEWEST, stream=True).param == (
            "partial_images"
        )


def test_a_long_value_is_shown_short_and_kept_whole() -> None:
    error = refusal(Generate("x", size="9" * 500), DALL_E_2)
    assert len(str(error)) < 250
    assert error.value == "9" * 500

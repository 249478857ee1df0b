"""From a job to a request: what is refused before sending, and what goes over the wire.

The rules are those of the API reference of 2023 for dall-e-2, and of today's reference for gpt-image-2.
"""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._protocol.bodies import FormBody
from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host
from imagesdk._protocol.image_checks import check_images
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.parameter_checks import check_parameters, check_shape
from imagesdk._protocol.requests import Request, Sources, build_request, plan_request, sources
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models import DALL_E_2, GPT_IMAGE_2, ModelProfile
from imagesdk.types import Upload

MAKER = Host.parse(OPENAI_BASE_URL)
OTHER = Host.parse("http://127.0.0.1:8000/v1")
MIB = 1024 * 1024
UNRULED = ModelProfile(name="unruled")


def generate(**facts: Any) -> Job:
    return Generate("a cat", **facts)


def edit(**facts: Any) -> Job:
    return Edit("a.png", "a cat", **facts)


def variation(**facts: Any) -> Job:
    return Variation("a.png", **facts)


def generate_from(prompt: str) -> Job:
    return Generate(prompt)


def edit_as(prompt: str) -> Job:
    return Edit("a.png", prompt)


def checked(job: Job, profile: ModelProfile) -> None:
    check_shape(job)
    check_parameters(job, profile)


def refusal(job: Job, profile: ModelProfile) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        checked(job, profile)
    return caught.value


def picture(**facts: Any) -> Upload:
    given: dict[str, Any] = {
        "name": "a.png",
        "media_type": "image/png",
        "size": 1000,
        "width": 64,
        "height": 64,
    }
    given |= {"alpha": True, **facts}
    return Upload(**given)


def picture_refusal(job: Job, pictures: InputImages, profile: ModelProfile = DALL_E_2) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        check_images(job, pictures, profile)
    return caught.value


def made(job: Job, pictures: InputImages = InputImages(), **extra: Any) -> Request:  # noqa: B008 - a frozen value
    return build_request(job, pictures, boundary="b0", extra_body=extra.get("extra_body"))


def body(job: Job, **extra: Any) -> Any:
    content = made(job, **extra).content
    assert isinstance(content, bytes)
    return json.loads(content)


def parts(request: Request) -> list[tuple[str, object]]:
    assert isinstance(request.content, FormBody)
    return [(part.name, part.value) for part in request.content.parts]


def resolved(job: Job, host: Host, *, writes_files: bool) -> Job:
    return plan_request(job, host, check=False, writes_files=writes_files).job


class TestPrompt:
    @pytest.mark.parametrize("length", [1, 2, 999, 1000])
    @pytest.mark.parametrize("make", [generate_from, edit_as])
    def test_of_1_to_1000_characters_is_taken_by_dall_e_2(self, make: Any, length: int) -> None:
        checked(make("x" * length), DALL_E_2)

    @pytest.mark.parametrize("make", [generate_from, edit_as])
    def test_of_1001_characters_is_refused_with_its_length(self, make: Any) -> None:
        error = refusal(make("x" * 1001), DALL_E_2)
        assert (error.param, error.value, error.allowed) == (
            "prompt",
            "1001 characters",
            "1 to 1000 characters",
        )
        assert "dall-e-2" in str(error)
        assert "xxxx" not in str(error)

    def test_is_counted_in_characters_and_not_in_bytes(self) -> None:
        checked(Generate("\U0001f408" * 1000), DALL_E_2)

    def test_may_be_longer_for_the_living_model(self) -> None:
        checked(Generate("x" * 32_000), GPT_IMAGE_2)
        assert refusal(Generate("x" * 32_001), GPT_IMAGE_2).allowed == "1 to 32000 characters"

    @pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
    @pytest.mark.parametrize("profile", [DALL_E_2, GPT_IMAGE_2])
    def test_that_says_nothing_is_refused(self, prompt: str, profile: ModelProfile) -> None:
        error = refusal(Generate(prompt), profile)
        assert (error.param, error.value) == ("prompt", prompt)
        assert error.allowed == "a description of the picture"

    @pytest.mark.parametrize("prompt", [None, b"a cat", 5, ["a cat"]])
    def test_that_is_no_text_is_refused_without_any_profile(self, prompt: Any) -> None:
        with pytest.raises(InvalidRequestError, match="allowed: a text") as caught:
            check_shape(Generate(prompt))
        assert caught.value.param == "prompt"

    def test_with_half_a_character_is_refused_without_any_profile(self) -> None:
        with pytest.raises(InvalidRequestError, match="lone surrogates") as caught:
            check_shape(Generate("a \ud83d cat"))
        assert caught.value.param == "prompt"


@pytest.mark.parametrize("name", ["user", "model", "size"])
def test_no_text_may_hold_half_a_character(name: str) -> None:
    facts: dict[str, Any] = {name: "\udcff"}
    for job in (Generate("a cat", **facts), Edit("a.png", "a cat", **facts), Variation("a.png", **facts)):
        with pytest.raises(InvalidRequestError, match="lone surrogates") as caught:
            check_shape(job)
        assert caught.value.param == name


@pytest.mark.parametrize("make", [generate, edit, variation])
class TestEveryEndpoint:
    @pytest.mark.parametrize("n", [None, 1, 2, 9, 10])
    def test_makes_1_to_10_pictures(self, make: Any, n: int | None) -> None:
        checked(make(n=n), DALL_E_2)

    def test_refuses_11_pictures(self, make: Any) -> None:
        error = refusal(make(n=11), DALL_E_2)
        assert (error.param, error.value, error.allowed) == ("n", 11, "1 to 10")
        assert "check=False" in str(error)

    @pytest.mark.parametrize("n", [0, -1, True, False, 1.0, "2"])
    def test_refuses_what_is_no_count_even_unchecked(self, make: Any, n: Any) -> None:
        with pytest.raises(InvalidRequestError, match="a whole number of at least 1") as caught:
            check_shape(make(n=n))
        assert caught.value.param == "n"
        assert caught.value.value is n
        assert "check=False" not in str(caught.value)

    @pytest.mark.parametrize("size", [None, "256x256", "512x512", "1024x1024"])
    def test_makes_pictures_of_three_sizes(self, make: Any, size: str | None) -> None:
        checked(make(size=size), DALL_E_2)

    @pytest.mark.parametrize(
        "size",
        ["255x255", "1024x1025", "1536x1024", "auto", "1024X1024", "1024", "", (256, 256), "256x256\n"],
    )
    def test_refuses_any_other_size(self, make: Any, size: Any) -> None:
        error = refusal(make(size=size), DALL_E_2)
        assert (error.param, error.value) == ("size", size)
        assert error.allowed == "256x256, 512x512 or 1024x1024"

    @pytest.mark.parametrize("response_format", [None, "url", "b64_json"])
    def test_answers_with_urls_or_base64(self, make: Any, response_format: str | None) -> None:
        checked(make(response_format=response_format), DALL_E_2)

    def test_refuses_any_other_form_of_answer(self, make: Any) -> None:
        error = refusal(make(response_format="base64"), DALL_E_2)
        assert (error.param, error.value, error.allowed) == ("response_format", "base64", "url or b64_json")

    def test_takes_an_end_user_and_any_parameter_left_out(self, make: Any) -> None:
        checked(make(user="hash-of-a-name"), DALL_E_2)

    def test_knows_no_rules_of_a_profile_without_any(self, make: Any) -> None:
        job = make(n=1000, size="9x9", response_format="file", user="x")
        profile = attrs.evolve(UNRULED, variation=DALL_E_2.variation)
        checked(job, profile)


class TestTheModelOf2023:
    @pytest.mark.parametrize("name", ["background", "output_format", "output_compression"])
    def test_takes_no_parameters_of_its_successors(self, name: str) -> None:
        value: Any = 50 if name == "output_compression" else "opaque"
        for make in (generate, edit):
            error = refusal(make(**{name: value}), DALL_E_2)
            assert (error.param, error.value, error.allowed) == (name, value, "not given")
            assert f"dall-e-2 takes no {name}" in str(error)

    def test_has_one_quality(self) -> None:
        checked(Generate("a cat", quality="standard"), DALL_E_2)
        error = refusal(Generate("a cat", quality="hd"), DALL_E_2)
        assert (error.param, error.value, error.allowed) == ("quality", "hd", "standard")


class TestTheLivingModel:
    @pytest.mark.parametrize(
        "size", ["auto", "1024x1024", "1536x1024", "1024x1536", "2048x1152", "3840x2160"]
    )
    def test_takes_named_and_free_sizes(self, size: str) -> None:
        checked(Generate("a cat", size=size), GPT_IMAGE_2)

    @pytest.mark.parametrize(
        ("size", "rule"),
        [
            ("1920x1080", "multiples of 16"),
            ("4096x2048", "longer than 3840"),
            ("2048x512", "3 times the short one"),
            ("512x512", "between 655360 and 8294400 pixels"),
            ("3840x3840", "between 655360 and 8294400 pixels"),
            ("big", "WIDTHxHEIGHT"),
            ("0x1024", "WIDTHxHEIGHT"),
            ("-16x1024", "WIDTHxHEIGHT"),
            ("1024x01024", "WIDTHxHEIGHT"),
            (" 1024x1024", "WIDTHxHEIGHT"),
            ("9999999999x16", "multiples of 16"),
            (f"{16 * 10**30}x16", "longer than 3840"),
            (f"{'9' * 101}x16", "WIDTHxHEIGHT"),
            (1024, "WIDTHxHEIGHT"),
        ],
    )
    def test_says_which_rule_a_size_breaks(self, size: Any, rule: str) -> None:
        error = refusal(Generate("a cat", size=size), GPT_IMAGE_2)
        assert (error.param, error.value) == ("size", size)
        assert rule in str(error)
        assert "1024x1024, 1536x1024, 1024x1536 or auto" in (error.allowed or "")

    def test_takes_no_response_format_because_it_always_sends_pictures(self) -> None:
        error = refusal(Generate("a cat", response_format="b64_json"), GPT_IMAGE_2)
        assert (error.param, error.value, error.allowed) == ("response_format", "b64_json", "not given")
        assert "always answers with the picture itself" in str(error)

    @pytest.mark.parametrize(
        ("name", "good", "bad", "allowed"),
        [
            ("quality", ["low", "medium", "high", "auto"], "hd", "low, medium, high or auto"),
            ("background", ["transparent", "opaque", "auto"], "white", "transparent, opaque or auto"),
            ("output_format", ["png", "jpeg", "webp"], "gif", "png, jpeg or webp"),
        ],
    )
    def test_takes_words_from_its_lists(self, name: str, good: list[str], bad: str, allowed: str) -> None:
        for make in (generate, edit):
            for value in good:
                checked(make(**{name: value}), GPT_IMAGE_2)
            error = refusal(make(**{name: bad}), GPT_IMAGE_2)
            assert (error.param, error.value, error.allowed) == (name, bad, allowed)

    @pytest.mark.parametrize("output_format", ["jpeg", "webp"])
    @pytest.mark.parametrize("compression", [0, 1, 99, 100])
    def test_compresses_jpeg_and_webp(self, output_format: str, compression: int) -> None:
        checked(Generate("x", output_format=output_format, output_compression=compression), GPT_IMAGE_2)

    @pytest.mark.parametrize("compression", [-1, 101, 50.0, True, "50"])
    def test_compresses_from_0_to_100(self, compression: Any) -> None:
        error = refusal(Generate("x", output_format="jpeg", output_compression=compression), GPT_IMAGE_2)
        assert (error.param, error.value, error.allowed) == ("output_compression", compression, "0 to 100")

    @pytest.mark.parametrize("output_format", [None, "png"])
    def test_does_not_compress_png(self, output_format: str | None) -> None:
        error = refusal(Generate("x", output_format=output_format, output_compression=50), GPT_IMAGE_2)
        assert error.param == "output_compression"
        assert "only with jpeg or webp" in (error.allowed or "")

    def test_has_no_transparent_jpeg(self) -> None:
        for output_format in (None, "png", "webp"):
            checked(Generate("x", background="transparent", output_format=output_format), GPT_IMAGE_2)
        error = refusal(Generate("x", background="transparent", output_format="jpeg"), GPT_IMAGE_2)
        assert (error.param, error.value) == ("background", "transparent")
        assert error.allowed == 'opaque or auto with output_format="jpeg"'

    def test_makes_no_variations(self) -> None:
        error = refusal(Variation("a.png"), GPT_IMAGE_2)
        assert (error.param, error.value) == ("model", "gpt-image-2")
        assert "dall-e-2" in (error.allowed or "")


PICTURE_JOBS = {"edit": Edit("a.png", "a cat"), "variation": Variation("a.png")}


@pytest.mark.parametrize("job", PICTURE_JOBS.values(), ids=PICTURE_JOBS)
class TestThePictureOf2023:
    def test_is_a_square_png_of_less_than_4_mib(self, job: Job) -> None:
        check_images(job, InputImages((picture(size=4 * MIB - 1),)), DALL_E_2)

    def test_is_refused_at_4_mib(self, job: Job) -> None:
        error = picture_refusal(job, InputImages((picture(size=4 * MIB),)))
        assert (error.param, error.value) == ("image", f"a.png ({4 * MIB} bytes)")
        assert "4 MiB" in (error.allowed or "")

    @pytest.mark.parametrize(
        ("media_type", "found"),
        [("image/jpeg", "JPEG"), ("image/webp", "WEBP"), ("application/octet-stream", "no picture")],
    )
    def test_is_refused_in_another_format(self, job: Job, media_type: str, found: str) -> None:
        error = picture_refusal(job, InputImages((picture(media_type=media_type),)))
        assert (error.param, error.value, error.allowed) == ("image", f"a.png ({found})", "a PNG file")

    @pytest.mark.parametrize(("width", "height"), [(64, 65), (65, 64)])
    def test_is_refused_when_it_is_not_square(self, job: Job, width: int, height: int) -> None:
        error = picture_refusal(job, InputImages((picture(width=width, height=height),)))
        assert (error.param, error.value) == ("image", f"a.png ({width}x{height})")
        assert error.allowed == "a square picture"

    def test_may_be_of_unknown_size(self, job: Job) -> None:
        check_images(job, InputImages((picture(width=None, height=None),)), DALL_E_2)

    def test_is_only_one(self, job: Job) -> None:
        error = picture_refusal(job, InputImages((picture(), picture())))
        assert (error.param, error.value, error.allowed) == ("image", "2 pictures", "one picture")


class TestMask:
    JOB = Edit("a.png", "a cat", mask="m.png")

    def test_has_the_measures_of_the_picture(self) -> None:
        check_images(self.JOB, InputImages((picture(),), picture(name="m.png")), DALL_E_2)

    @pytest.mark.parametrize("profile", [DALL_E_2, GPT_IMAGE_2, attrs.evolve(GPT_IMAGE_2, mask=None)])
    def test_of_other_measures_is_refused(self, profile: ModelProfile) -> None:
        error = picture_refusal(
            self.JOB, InputImages((picture(),), picture(name="m.png", width=128, height=128)), profile
        )
        assert (error.param, error.value, error.allowed) == ("mask", "128x128", "64x64")

    @pytest.mark.parametrize("unknown", [{"width": None}, {"height": None}, {"width": None, "height": None}])
    def test_of_unknown_measures_is_left_to_the_server(self, unknown: dict[str, None]) -> None:
        pictures = InputImages((picture(),), picture(name="m.png", **unknown))
        check_images(self.JOB, pictures, GPT_IMAGE_2)

    @pytest.mark.parametrize(
        "facts", [{"size": 4 * MIB}, {"media_type": "image/jpeg"}, {"width": 64, "height": 32}]
    )
    def test_keeps_the_rules_of_a_picture(self, facts: dict[str, Any]) -> None:
        error = picture_refusal(self.JOB, InputImages((picture(),), picture(name="m.png", **facts)))
        assert error.param == "mask"
        assert "m.png" in str(error)

    def test_is_measured_against_the_first_picture(self) -> None:
        images = (picture(), picture(width=32, height=32))
        check_images(self.JOB, InputImages(images, picture()), GPT_IMAGE_2)
        with pytest.raises(InvalidRequestError, match="mask is 64x64 and image is 32x32"):
            check_images(self.JOB, InputImages(images[::-1], picture()), GPT_IMAGE_2)


class TestTransparency:
    JOB = Edit("a.png", "a cat")

    def test_says_where_to_paint_when_there_is_no_mask(self) -> None:
        error = picture_refusal(self.JOB, InputImages((picture(alpha=False),)))
        assert (error.param, error.value) == ("image", "a.png")
        assert error.allowed == "a PNG with transparency, or a mask"
        assert "mask=" in str(error)

    @pytest.mark.parametrize("alpha", [True, None])
    def test_is_there_or_may_be(self, alpha: bool | None) -> None:
        check_images(self.JOB, InputImages((picture(alpha=alpha),)), DALL_E_2)

    def test_is_not_needed_with_a_mask_nor_by_a_variation_nor_by_the_living_model(self) -> None:
        opaque = picture(alpha=False)
        check_images(attrs.evolve(self.JOB, mask="m.png"), InputImages((opaque,), picture()), DALL_E_2)
        check_images(Variation("a.png"), InputImages((opaque,)), DALL_E_2)
        check_images(self.JOB, InputImages((opaque,)), GPT_IMAGE_2)


class TestPicturesOfTheLivingModel:
    JOB = Edit(["a.png"], "a cat")

    def test_are_up_to_16_of_three_formats_and_any_shape(self) -> None:
        kinds = ["image/png", "image/jpeg", "image/webp"]
        images = tuple(picture(media_type=kinds[i % 3], width=i + 1) for i in range(16))
        check_images(self.JOB, InputImages(images), GPT_IMAGE_2)

    def test_are_not_17(self) -> None:
        error = picture_refusal(self.JOB, InputImages((picture(),) * 17), GPT_IMAGE_2)
        assert (error.param, error.value, error.allowed) == ("image", "17 pictures", "1 to 16 pictures")

    def test_are_each_checked(self) -> None:
        images = (picture(), picture(name="b.gif", media_type="image/gif"))
        error = picture_refusal(self.JOB, InputImages(images), GPT_IMAGE_2)
        assert (error.value, error.allowed) == ("b.gif (GIF)", "a PNG or JPEG or WEBP file")

    def test_are_each_smaller_than_50_mib(self) -> None:
        check_images(self.JOB, InputImages((picture(size=50 * MIB - 1),)), GPT_IMAGE_2)
        assert picture_refusal(self.JOB, InputImages((picture(size=50 * MIB),)), GPT_IMAGE_2).param == "image"


def test_pictures_of_a_model_without_rules_for_them_are_not_checked() -> None:
    check_images(Edit("a.png", "x"), InputImages((picture(size=10**9, media_type="x"),)), UNRULED)


class TestDefaults:
    def test_name_a_living_model_on_the_makers_host(self) -> None:
        assert resolved(Generate("x"), MAKER, writes_files=False) == Generate("x", model="gpt-image-2")
        assert resolved(Edit("a.png", "x"), MAKER, writes_files=False).model == "gpt-image-2"

    def test_name_the_only_model_for_variations_there(self) -> None:
        assert resolved(Variation("a.png"), MAKER, writes_files=False).model == "dall-e-2"

    @pytest.mark.parametrize("job", [Generate("x"), Edit("a.png", "x"), Variation("a.png")])
    def test_leave_the_model_to_any_other_server(self, job: Job) -> None:
        assert resolved(job, OTHER, writes_files=False) is job
        assert resolved(job, OTHER, writes_files=True) is job

    def test_never_change_what_was_given(self) -> None:
        job = Generate("x", model="dall-e-2", response_format="url", n=3)
        assert resolved(job, MAKER, writes_files=True) is job

    @pytest.mark.parametrize("job", [Generate("x"), Edit("a.png", "x"), Variation("a.png")])
    def test_ask_for_the_picture_itself_when_files_are_wanted(self, job: Job) -> None:
        named = attrs.evolve(job, model="dall-e-2")
        assert resolved(named, OTHER, writes_files=True).response_format == "b64_json"
        assert resolved(named, OTHER, writes_files=False).response_format is None

    @pytest.mark.parametrize("model", ["gpt-image-2", "gpt-image-2-2026-04-21", "unheard-of"])
    def test_do_not_ask_a_model_that_may_not_know_the_parameter(self, model: str) -> None:
        assert resolved(Generate("x", model=model), MAKER, writes_files=True).response_format is None


class TestGenerateRequest:
    def test_holds_what_was_given_and_nothing_else(self) -> None:
        assert body(Generate("a cat")) == {"prompt": "a cat"}

    def test_holds_every_parameter_by_its_name(self) -> None:
        facts: dict[str, Any] = {
            "model": "m",
            "n": 2,
            "size": "auto",
            "quality": "low",
            "background": "opaque",
            "output_format": "webp",
            "output_compression": 50,
            "moderation": "low",
            "style": "vivid",
            "complexity": "high",
            "frame_count": 3,
            "frame_duration_ms": 100,
            "svg": {"model": "m", "reasoning": {"effort": "low"}},
            "partial_images": 2,
            "response_format": "url",
            "safety_identifier": "s",
            "user": "u",
        }
        assert body(Generate("a cat", **facts)) == {"prompt": "a cat", **facts}
        assert set(facts) | {"prompt"} == {field.name for field in attrs.fields(Generate)}

    def test_is_json_to_its_path(self) -> None:
        request = made(Generate("a \u732b \U0001f408"))
        assert (request.path, request.content_type) == ("/images/generations", "application/json")
        assert b"".join(part for part in request.segments() if isinstance(part, bytes)) == request.content
        assert request.length == len(b"".join(part for part in request.segments() if isinstance(part, bytes)))
        assert body(Generate("a \u732b \U0001f408")) == {"prompt": "a \u732b \U0001f408"}

    def test_weighs_as_much_as_it_asks_for(self) -> None:
        assert made(Generate("x")).weight == 1
        assert made(Generate("x", n=7)).weight == 7
        assert made(Generate("x", n=7), extra_body={"n": 3}).weight == 3
        assert made(Generate("x", n=7), extra_body={"n": "4"}).weight == 4
        assert made(Generate("x", n=7), extra_body={"n": None}).weight == 1
        assert made(Generate("x", n=7), extra_body={"n": "many"}).weight == 1

    def test_says_which_model_is_meant_for_the_limit(self) -> None:
        assert made(Generate("x", model="m")).model == "m"
        assert made(Generate("x", model="m"), extra_body={"model": "other"}).model == "other"
        assert made(Generate("x")).model is None

    def test_takes_further_fields_which_win_and_can_take_fields_out(self) -> None:
        job = Generate("a cat", model="m", n=2, size="auto")
        extra = {"n": 3, "size": None, "seed": 7, "nested": {"a": [1, None]}, "unset": None}
        assert body(job, extra_body=extra) == {
            "prompt": "a cat",
            "model": "m",
            "n": 3,
            "seed": 7,
            "nested": {"a": [1, None]},
        }

    @pytest.mark.parametrize("value", [object(), b"bytes", float("nan"), float("inf"), {1, 2}])
    def test_refuses_fields_that_json_does_not_have(self, value: object) -> None:
        with pytest.raises(InvalidRequestError, match="cannot be written as JSON") as caught:
            made(Generate("x"), extra_body={"odd": value})
        assert caught.value.param == "extra_body"

    def test_refuses_a_field_that_holds_itself_or_too_much(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        for odd in (loop, deep):
            with pytest.raises(InvalidRequestError, match=r"^extra_body cannot be written as JSON"):
                made(Generate("x"), extra_body={"odd": odd})

    def test_names_the_parameter_of_its_own_that_cannot_be_written(self) -> None:
        odd: Any = object()
        with pytest.raises(InvalidRequestError, match=r"^svg cannot be written as JSON") as caught:
            made(Generate("x", svg={"model": odd}), extra_body={"odd": 1})
        assert caught.value.param == "svg"

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_keeps_any_prompt_as_it_is(self, prompt: str) -> None:
        assert body(Generate(prompt)) == {"prompt": prompt}


class TestFormRequest:
    FIRST, SECOND, MASK = picture(name="1.png"), picture(name="2.png"), picture(name="m.png")

    def test_holds_one_picture_as_image(self) -> None:
        request = made(Edit("1.png", "a cat"), InputImages((self.FIRST,)))
        assert request.path == "/images/edits"
        assert request.content_type == "multipart/form-data; boundary=b0"
        assert parts(request) == [("image", self.FIRST), ("prompt", "a cat")]

    @pytest.mark.parametrize("given", [["1.png", "2.png"], ("1.png", "2.png")])
    def test_holds_a_list_of_pictures_under_a_name_with_brackets(self, given: Any) -> None:
        request = made(Edit(given, "a cat"), InputImages((self.FIRST, self.SECOND), self.MASK))
        assert parts(request) == [
            ("image[]", self.FIRST),
            ("image[]", self.SECOND),
            ("mask", self.MASK),
            ("prompt", "a cat"),
        ]

    def test_holds_a_list_of_one_as_a_list(self) -> None:
        assert parts(made(Edit(["1.png"], "x"), InputImages((self.FIRST,))))[0] == ("image[]", self.FIRST)

    def test_holds_numbers_and_truths_as_text(self) -> None:
        job = Edit("1.png", "x", n=2, output_compression=0)
        extra = {"flag": True, "off": False, "scale": 1.5}
        assert parts(made(job, InputImages((self.FIRST,)), extra_body=extra))[1:] == [
            ("prompt", "x"),
            ("n", "2"),
            ("output_compression", "0"),
            ("flag", "true"),
            ("off", "false"),
            ("scale", "1.5"),
        ]

    def test_holds_nested_fields_under_names_with_brackets(self) -> None:
        extra = {
            "svg": {"model": "m", "reasoning": {"effort": "low"}, "unset": None},
            "tags": ["a", None, "b"],
        }
        assert parts(made(Variation("1.png"), InputImages((self.FIRST,)), extra_body=extra))[1:] == [
            ("svg[model]", "m"),
            ("svg[reasoning][effort]", "low"),
            ("tags[]", "a"),
            ("tags[]", "b"),
        ]

    def test_leaves_out_what_extra_body_takes_out(self) -> None:
        job = Variation("1.png", model="dall-e-2", n=2, size="256x256", response_format="url", user="u")
        request = made(job, InputImages((self.FIRST,)), extra_body={"model": None, "n": 4})
        assert request.path == "/images/variations"
        assert parts(request)[1:] == [
            ("size", "256x256"),
            ("response_format", "url"),
            ("user", "u"),
            ("n", "4"),
        ]
        assert request.weight == 4
        assert request.model is None

    def test_refuses_half_a_character_in_further_fields(self) -> None:
        with pytest.raises(InvalidRequestError, match="lone surrogates") as caught:
            made(Variation("1.png"), InputImages((self.FIRST,)), extra_body={"style": "\ud800"})
        assert caught.value.param == "style"

    def test_knows_its_length_and_can_be_sent_again(self) -> None:
        request = made(Edit("1.png", "x", n=2), InputImages((self.FIRST,), self.MASK))
        once = list(request.segments())
        assert list(request.segments()) == once
        sizes = [len(part) if isinstance(part, bytes) else part.size for part in once]
        assert request.length == sum(sizes)


class TestSources:
    def test_are_none_for_a_prompt_alone(self) -> None:
        assert sources(Generate("x")) == Sources()

    def test_are_the_pictures_as_they_were_given(self) -> None:
        assert sources(Variation(b"png")) == Sources((b"png",))
        assert sources(Edit("a.png", "x", mask="m.png")) == Sources(("a.png",), "m.png")
        assert sources(Edit(["a.png", b"png"], "x")) == Sources(("a.png", b"png"))
        assert sources(Edit("a.png", "x", markup="m.png")) == Sources(("a.png",), None, "m.png")

    @pytest.mark.parametrize("nothing", [[], ()])
    def test_cannot_be_an_empty_list(self, nothing: Any) -> None:
        with pytest.raises(InvalidRequestError, match="at least one picture") as caught:
            sources(Edit(nothing, "x"))
        assert caught.value.param == "image"


def test_a_long_value_is_shown_short_and_kept_whole() -> None:
    error = refusal(Generate("x", size="9" * 500), DALL_E_2)
    assert len(str(error)) < 250
    assert error.value == "9" * 500

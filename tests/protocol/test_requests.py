"""From a job to a request: the model that is filled in, and the bytes that go over the wire."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._protocol.bodies import FormBody
from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.requests import Request, Sources, build_request, plan_request, sources
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.models import ModelProfile
from imagesdk.types import Upload

MAKER = Host.parse(OPENAI_BASE_URL)
OTHER = Host.parse("http://127.0.0.1:8000/v1")
MIB = 1024 * 1024
UNRULED = ModelProfile(name="unruled")


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
        with pytest.raises(InvalidRequestError, match="contains a lone surrogate") as caught:
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
        with pytest.raises(InvalidRequestError, match="at least one image") as caught:
            sources(Edit(nothing, "x"))
        assert caught.value.param == "image"

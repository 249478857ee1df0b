"""A job becomes a request: its defaults, its JSON or form body, its images and its headers."""

import json
import re
from functools import reduce
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._protocol.bodies import FormBody
from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.requests import (
    Request,
    Sources,
    build_request,
    plan_request,
    request_headers,
    sources,
)
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import Edit, Generate, Job, Variation
from imagesdk.types import Upload

OPENAI = Host.parse(OPENAI_BASE_URL)
OTHER = Host.parse("http://127.0.0.1:8000/v1")


def upload(name: str) -> Upload:
    return Upload(name, "image/png", 1000, width=64, height=64, alpha=True)


def request_for(job: Job, images: InputImages = InputImages(), **extra: Any) -> Request:  # noqa: B008 - a frozen value
    return build_request(job, images, extra_body=extra.get("extra_body"))


def body(job: Job, **extra: Any) -> Any:
    content = request_for(job, **extra).content
    assert isinstance(content, bytes)
    return json.loads(content)


def parts(request: Request) -> list[tuple[str, object]]:
    assert isinstance(request.content, FormBody)
    return [(part.name, part.value) for part in request.content.parts]


JOBS: list[Job] = [Generate("x"), Edit("a.png", "x"), Variation("a.png")]


def resolved(job: Job, host: Host, *, writes_files: bool = False) -> Job:
    return plan_request(job, host, check=False, writes_files=writes_files).job


def test_openai_has_a_default_model() -> None:
    models = [resolved(job, OPENAI).model for job in JOBS]
    assert models == ["gpt-image-2", "gpt-image-2", "dall-e-2"]
    assert resolved(JOBS[0], OPENAI) == Generate("x", model="gpt-image-2")


@pytest.mark.parametrize("job", JOBS)
def test_other_servers_have_no_default_model(job: Job) -> None:
    assert resolved(job, OTHER) is job
    assert resolved(job, OTHER, writes_files=True) is job


def test_parameters_of_the_caller_are_never_replaced() -> None:
    job = Generate("x", model="dall-e-2", response_format="url", n=3)
    assert resolved(job, OPENAI, writes_files=True) is job


@pytest.mark.parametrize("job", JOBS)
def test_a_model_with_a_response_format_returns_base64_if_the_images_go_to_files(job: Job) -> None:
    named = attrs.evolve(job, model="dall-e-2")
    assert resolved(named, OTHER, writes_files=True).response_format == "b64_json"
    assert resolved(named, OTHER).response_format is None


@pytest.mark.parametrize("model", ["gpt-image-2", "gpt-image-2-2026-04-21", "unheard-of"])
def test_a_model_without_a_response_format_is_not_sent_one(model: str) -> None:
    assert resolved(Generate("x", model=model), OPENAI, writes_files=True).response_format is None


def test_a_generation_contains_every_parameter_by_its_name() -> None:
    facts: dict[str, Any] = {
        "model": "m", "n": 2, "size": "auto", "quality": "low", "background": "opaque", "moderation": "low",
        "output_format": "webp", "output_compression": 50, "style": "vivid", "complexity": "high",
        "frame_count": 3, "frame_duration_ms": 100, "svg": {"model": "m", "reasoning": {"effort": "low"}},
        "partial_images": 2, "response_format": "url", "safety_identifier": "s", "user": "u",
    }  # fmt: skip
    assert body(Generate("a cat", **facts)) == {"prompt": "a cat", **facts}
    assert set(facts) | {"prompt"} == {field.name for field in attrs.fields(Generate)}


def test_a_generation_is_json_to_its_path() -> None:
    request = request_for(Generate("a \u732b \U0001f408"))
    assert (request.path, request.content_type) == ("/images/generations", "application/json")
    assert b"".join(part for part in request.segments() if isinstance(part, bytes)) == request.content
    assert request.length == len(b"".join(part for part in request.segments() if isinstance(part, bytes)))
    assert body(Generate("a \u732b \U0001f408")) == {"prompt": "a \u732b \U0001f408"}


@pytest.mark.parametrize(("n", "extra", "weight"), [
    (None, {}, 1), (7, {}, 7), (7, {"n": 3}, 3), (7, {"n": "4"}, 4), (7, {"n": None}, 1),
    (7, {"n": "many"}, 1),
])  # fmt: skip
def test_the_weight_of_a_request_is_its_number_of_images(
    n: int | None, extra: dict[str, Any], weight: int
) -> None:
    assert request_for(Generate("x", n=n), extra_body=extra).weight == weight


def test_a_request_names_the_model_of_its_rate_limit() -> None:
    assert request_for(Generate("x", model="m")).model == "m"
    assert request_for(Generate("x", model="m"), extra_body={"model": "other"}).model == "other"
    assert request_for(Generate("x")).model is None


def test_extra_body_adds_replaces_and_removes_fields() -> None:
    job = Generate("a cat", model="m", n=2, size="auto")
    extra = {"n": 3, "size": None, "seed": 7, "nested": {"a": [1, None]}, "unset": None}
    kept = {"prompt": "a cat", "model": "m", "n": 3, "seed": 7, "nested": {"a": [1, None]}}
    assert body(job, extra_body=extra) == kept


LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP = reduce(lambda inner, _: [inner], range(100_000), list[Any]())


@pytest.mark.parametrize(
    "value",
    [object(), b"bytes", float("nan"), float("inf"), {1, 2}, LOOP, DEEP],
    ids=lambda value: type(value).__name__,
)
def test_an_extra_field_that_json_cannot_represent_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"^extra_body cannot be written as JSON") as caught:
        request_for(Generate("x"), extra_body={"odd": value})
    assert caught.value.param == "extra_body"


def test_a_parameter_that_json_cannot_represent_is_named() -> None:
    odd: Any = object()
    with pytest.raises(InvalidRequestError, match=r"^svg cannot be written as JSON") as caught:
        request_for(Generate("x", svg={"model": odd}), extra_body={"odd": 1})
    assert caught.value.param == "svg"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_prompt_is_sent_unchanged(prompt: str) -> None:
    assert body(Generate(prompt)) == {"prompt": prompt}


FIRST, SECOND, MASK = upload("1.png"), upload("2.png"), upload("m.png")


def test_a_form_has_a_single_image_as_image() -> None:
    request = request_for(Edit("1.png", "a cat"), InputImages((FIRST,)))
    assert request.path == "/images/edits"
    assert re.fullmatch(r"multipart/form-data; boundary=imagesdk-[0-9a-f]{32}", request.content_type or "")
    assert parts(request) == [("image", FIRST), ("prompt", "a cat")]


@pytest.mark.parametrize("image", [["1.png", "2.png"], ("1.png", "2.png")])
def test_a_form_has_a_list_of_images_under_a_name_with_brackets(image: Any) -> None:
    request = request_for(Edit(image, "a cat"), InputImages((FIRST, SECOND), MASK))
    assert parts(request) == [("image[]", FIRST), ("image[]", SECOND), ("mask", MASK), ("prompt", "a cat")]
    assert parts(request_for(Edit(["1.png"], "x"), InputImages((FIRST,))))[0] == ("image[]", FIRST)


def test_a_form_has_numbers_and_booleans_as_text() -> None:
    job = Edit("1.png", "x", n=2, output_compression=0)
    request = request_for(job, InputImages((FIRST,)), extra_body={"flag": True, "off": False, "scale": 1.5})
    assert parts(request)[1:4] == [("prompt", "x"), ("n", "2"), ("output_compression", "0")]
    assert parts(request)[4:] == [("flag", "true"), ("off", "false"), ("scale", "1.5")]


def test_a_form_has_nested_fields_under_names_with_brackets() -> None:
    extra = {"svg": {"model": "m", "reasoning": {"effort": "low"}, "unset": None}, "tags": ["a", None, "b"]}
    assert parts(request_for(Variation("1.png"), InputImages((FIRST,)), extra_body=extra))[1:] == [
        ("svg[model]", "m"),
        ("svg[reasoning][effort]", "low"),
        ("tags[]", "a"),
        ("tags[]", "b"),
    ]


def test_extra_body_removes_fields_from_a_form() -> None:
    job = Variation("1.png", model="dall-e-2", n=2, size="256x256", response_format="url", user="u")
    request = request_for(job, InputImages((FIRST,)), extra_body={"model": None, "n": 4})
    assert request.path == "/images/variations"
    assert parts(request)[1:] == [("size", "256x256"), ("response_format", "url"), ("user", "u"), ("n", "4")]
    assert request.weight == 4
    assert request.model is None


def test_an_extra_field_of_a_form_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="contains a lone surrogate") as caught:
        request_for(Variation("1.png"), InputImages((FIRST,)), extra_body={"style": "\ud800"})
    assert caught.value.param == "style"


def test_a_form_has_a_known_length_and_can_be_sent_again() -> None:
    request = request_for(Edit("1.png", "x", n=2), InputImages((FIRST,), MASK))
    once = list(request.segments())
    assert list(request.segments()) == once
    sizes = [len(part) if isinstance(part, bytes) else part.size for part in once]
    assert request.length == sum(sizes)


def test_sources_are_the_images_as_the_caller_passed_them() -> None:
    assert sources(Generate("x")) == Sources()
    assert sources(Variation(b"png")) == Sources((b"png",))
    assert sources(Edit("a.png", "x", mask="m.png")) == Sources(("a.png",), "m.png")
    assert sources(Edit(["a.png", b"png"], "x")) == Sources(("a.png", b"png"))
    assert sources(Edit("a.png", "x", markup="m.png")) == Sources(("a.png",), None, "m.png")


@pytest.mark.parametrize("nothing", [[], ()])
def test_an_edit_with_an_empty_list_of_images_is_refused(nothing: Any) -> None:
    with pytest.raises(InvalidRequestError, match="at least one image") as caught:
        sources(Edit(nothing, "x"))
    assert caught.value.param == "image"


GENERATE = request_for(Generate("a cat"))


def headers_of(request: Request, **changes: Any) -> dict[str, str]:
    options: dict[str, Any] = {"accept": "application/json", "user_agent": "imagesdk/1", "auth": ()}
    options |= {"idempotency": ("Idempotency-Key", "k1"), "client_headers": {}, "call_headers": ()}
    return dict(request_headers(request, **{**options, **changes}))


def test_a_request_has_the_default_headers_of_its_body() -> None:
    assert headers_of(GENERATE, auth=[("authorization", "Bearer sk")]) == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "imagesdk/1",
        "x-client-request-id": "k1",
        "idempotency-key": "k1",
        "content-type": "application/json",
        "content-length": str(GENERATE.length),
        "authorization": "Bearer sk",
    }


def test_a_get_request_without_a_body_has_no_headers_of_a_body() -> None:
    sent = headers_of(Request("/models", 0, None, b"", "GET"))
    assert not sent.keys() & {"content-type", "content-length"}


def test_headers_of_the_call_replace_those_of_the_client_and_both_replace_the_defaults() -> None:
    sent = headers_of(
        GENERATE,
        client_headers={"user-agent": "client", "x-run": "client", "x-client-request-id": "client"},
        call_headers=[("x-run", "call")],
    )
    assert (sent["user-agent"], sent["x-run"], sent["x-client-request-id"]) == ("client", "call", "client")


def test_no_header_of_the_caller_replaces_the_key_and_none_of_the_client_the_idempotency_key() -> None:
    sent = headers_of(
        GENERATE,
        client_headers={"idempotency-key": "client"},
        call_headers=[("authorization", "call")],
        auth=[("authorization", "Bearer sk")],
    )
    assert (sent["idempotency-key"], sent["authorization"]) == ("k1", "Bearer sk")

"""Requests: the bytes that a call sends, and the jobs that are refused before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import respx

from imagesdk import (
    AsyncClient,
    AsyncImages,
    ConfigurationError,
    Edit,
    Generate,
    InvalidRequestError,
    Job,
    Variation,
)
from tests.support.sent_requests import form_file, form_text, last_sent, sent_json, sent_parts
from tests.support.small_images import JPEG, answer, png

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.one_loop,
    pytest.mark.filterwarnings("ignore::imagesdk.RetirementWarning"),
]
OWN = "https://images.test/v1"
SMALL = png(2, 2)
WIDE = png(4, 2)
OPAQUE = png(2, 2, alpha=False)
NOT_STREAMED = {"n", "frame_count", "frame_duration_ms", "svg", "response_format"}


async def test_a_request_has_only_the_parameters_that_the_caller_named(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    await own.images.generate("a white siamese cat")
    assert str(last_sent(wire).url) == f"{OWN}/images/generations"
    assert last_sent(wire).method == "POST"
    assert last_sent(wire).content == b'{"prompt":"a white siamese cat"}'


@pytest.mark.parametrize(
    ("name", "job", "missing"),
    [
        ("generate", Generate, {"partial_images"}),
        ("edit", Edit, {"partial_images"}),
        ("generate_stream", Generate, {*NOT_STREAMED, "style"}),
        ("edit_stream", Edit, NOT_STREAMED),
        ("create_variation", Variation, set[str]()),
    ],
)
def test_a_method_has_the_parameters_of_its_job_with_their_types(
    name: str, job: type[Any], missing: set[str]
) -> None:
    _, *parameters, _ = inspect.signature(getattr(AsyncImages, name)).parameters.values()
    fields = {field.name: field.type for field in attrs.fields(job) if field.name not in missing}
    assert {parameter.name: parameter.annotation for parameter in parameters} == fields


async def test_every_parameter_of_a_generation_goes_out_under_its_own_name(
    wire: respx.MockRouter, openai_client: AsyncClient
) -> None:
    parameters: dict[str, Any] = {
        "n": 2,
        "size": "1536x1024",
        "quality": "low",
        "background": "opaque",
        "output_format": "webp",
        "output_compression": 0,
        "user": "a1b2",
    }
    await openai_client.images.generate("ein Kätzchen", model="gpt-image-2", **parameters)

    assert sent_json(wire) == {"prompt": "ein Kätzchen", "model": "gpt-image-2", **parameters}


async def test_openai_gets_a_model_that_exists_when_none_is_named(
    wire: respx.MockRouter, openai_client: AsyncClient
) -> None:
    await openai_client.images.generate("a cat")
    assert sent_json(wire)["model"] == "gpt-image-2"
    await openai_client.images.edit(SMALL, "a cat")
    assert form_text("model", "gpt-image-2") in sent_parts(wire)
    await openai_client.images.create_variation(SMALL)
    assert form_text("model", "dall-e-2") in sent_parts(wire)


async def test_other_servers_get_no_model_when_none_is_named(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    await own.images.edit(SMALL, "a cat")
    assert sent_parts(wire) == [
        form_file("image", "image.png", "image/png", SMALL),
        form_text("prompt", "a cat"),
    ]
    await own.images.create_variation(SMALL)
    assert sent_parts(wire) == [form_file("image", "image.png", "image/png", SMALL)]


async def test_the_headers_name_the_account_and_the_accepted_types(
    wire: respx.MockRouter, openai_client: AsyncClient
) -> None:
    response = await openai_client.images.generate("a cat")

    headers = last_sent(wire).headers
    assert headers["authorization"] == "Bearer sk-1"
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("imagesdk/")
    assert headers["host"] == "api.openai.com"
    assert headers["idempotency-key"] == response.idempotency_key
    assert len(headers.get_list("idempotency-key")) == 1


async def test_without_a_key_no_header_names_the_account(wire: respx.MockRouter, own: AsyncClient) -> None:
    await own.images.generate("a cat")
    assert not {"authorization", "openai-organization", "openai-project"} & set(last_sent(wire).headers)


async def test_the_idempotency_key_is_new_for_each_call_unless_it_is_given(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    first = await own.images.generate("a cat")
    second = await own.images.generate("a cat")
    third = await own.images.generate("a cat", idempotency_key="mine-1")
    assert first.idempotency_key != second.idempotency_key
    assert third.idempotency_key == last_sent(wire).headers["idempotency-key"] == "mine-1"
    for bad in ("", "a\nb", "x" * 256, "schlüssel"):
        with pytest.raises(InvalidRequestError, match="idempotency_key"):
            await own.images.generate("a cat", idempotency_key=bad)


async def test_a_job_as_a_value_is_sent_like_the_named_call(wire: respx.MockRouter, own: AsyncClient) -> None:
    await own.images.send(Generate("a cat", n=2))
    assert sent_json(wire) == {"prompt": "a cat", "n": 2}
    await own.images.send(Edit(SMALL, "a dog"))
    assert sent_parts(wire)[1:] == [form_text("prompt", "a dog")]
    await own.images.send(Variation(SMALL, n=1))
    assert sent_parts(wire)[1:] == [form_text("n", "1")]


async def test_extra_fields_override_parameters_and_none_removes_one(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    extra = {"n": 3, "style": {"mood": ["calm"]}, "user": None}
    await own.images.generate("a cat", n=1, user="me", extra_body=extra)
    assert sent_json(wire) == {"prompt": "a cat", "n": 3, "style": {"mood": ["calm"]}}

    await own.images.edit(SMALL, "a cat", extra_body={"hd": True, **extra})
    assert sent_parts(wire)[1:] == [
        form_text("prompt", "a cat"),
        form_text("hd", "true"),
        form_text("n", "3"),
        form_text("style[mood][]", "calm"),
    ]

    with pytest.raises(InvalidRequestError, match="extra_body"):
        await own.images.generate("a cat", extra_body={"style": object()})
    assert wire.calls.call_count == 2


async def test_extra_headers_and_query_are_sent(wire: respx.MockRouter, own: AsyncClient) -> None:
    wire.post(f"{OWN}/images/generations", params={"api-version": "1 & 2"}).respond(content=answer(SMALL))
    await own.images.generate("a cat", extra_headers={"X-Trace": "t1"}, extra_query={"api-version": "1 & 2"})
    assert last_sent(wire).headers["x-trace"] == "t1"
    assert last_sent(wire).url.params["api-version"] == "1 & 2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-trace", "1\r\nx-evil: 1"),
        ("x-trace\r\nx-evil", "1"),
        ("x-trace", "é"),
        ("", "1"),
        ("Authorization", "Bearer other"),
        ("Content-Length", "1"),
        ("Host", "elsewhere.test"),
    ],
)
async def test_an_extra_header_cannot_replace_a_header_of_the_client(
    wire: respx.MockRouter, own: AsyncClient, name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        await own.images.generate("a cat", extra_headers={name: value})
    assert wire.calls.call_count == 0


@pytest.mark.parametrize(
    ("job", "param"),
    [
        (Generate(""), "prompt"),
        (Generate("a" * 1001, model="dall-e-2"), "prompt"),
        (Generate("half \ud83d"), "prompt"),
        (Generate("a cat", n=0), "n"),
        (Generate("a cat", n=True), "n"),
        (Generate("a cat", size="1024x1792", model="dall-e-2"), "size"),
        (Generate("a cat", output_compression=50), "output_compression"),
        (Edit(b"no image", "a cat"), "image"),
        (Edit([], "a cat"), "image"),
        (Edit([SMALL] * 17, "a cat"), "image"),
        (Edit(SMALL, "a cat", mask=WIDE), "mask"),
        (Edit(JPEG, "a cat", model="dall-e-2"), "image"),
        (Edit(WIDE, "a cat", model="dall-e-2"), "image"),
        (Edit(OPAQUE, "a cat", model="dall-e-2"), "image"),
        (Edit(png(2, 2, padding=4 * 1024**2), "a cat", model="dall-e-2"), "image"),
        (Variation(WIDE), "image"),
        (Variation(SMALL, model="gpt-image-2"), "model"),
        (Edit(42, "a cat"), "image"),  # type: ignore[arg-type]
        (Edit(SMALL, "a cat", mask={"path": "mask.png"}), "mask"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_job_that_breaks_a_rule_is_refused_before_a_byte_is_sent(
    wire: respx.MockRouter, openai_client: AsyncClient, job: Job, param: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await openai_client.images.send(job)
    assert caught.value.param == param
    assert param in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert wire.calls.call_count == 0


async def test_the_check_can_be_switched_off_for_a_call_or_a_client(
    wire: respx.MockRouter, openai_client: AsyncClient, make_client: Callable[..., AsyncClient]
) -> None:
    await openai_client.images.generate("a cat", size="1x1", quality="hd", check=False)
    assert sent_json(wire)["size"] == "1x1"
    async with make_client(OWN, check=False) as unchecked:
        await unchecked.images.edit(JPEG, "a cat", model="dall-e-2")
        assert sent_parts(wire)[0] == form_file("image", "image.jpg", "image/jpeg", JPEG)
        with pytest.raises(InvalidRequestError, match="1024x1024"):
            await unchecked.images.generate("a cat", model="dall-e-2", size="1x1", check=True)


async def test_an_unknown_model_is_never_checked(wire: respx.MockRouter, openai_client: AsyncClient) -> None:
    await openai_client.images.generate("", model="gpt-image-9", n=50, size="vast", quality="divine")
    assert sent_json(wire)["size"] == "vast"


@pytest.mark.parametrize(
    ("option", "message"),
    [("negative_prompt", "extra_body"), ("max_retries", "RetryPolicy"), ("stream", "whole images")],
)
async def test_an_unknown_option_is_a_type_error_that_names_the_replacement(
    wire: respx.MockRouter, own: AsyncClient, option: str, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        await own.images.generate("a cat", **{option: 1})  # type: ignore[arg-type]
    assert wire.calls.call_count == 0

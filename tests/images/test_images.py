"""What goes over the wire for each call, byte for byte, and what is refused before anything does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from imagesdk import (
    AsyncClient,
    ConfigurationError,
    Edit,
    Generate,
    InvalidRequestError,
    Job,
    Variation,
)
from tests.support.small_images import JPEG, answer, png

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.one_loop,
    pytest.mark.filterwarnings("ignore::imagesdk.RetirementWarning"),
]

MAKER = "https://api.openai.com/v1"
OWN = "https://images.test/v1"
SMALL = png(2, 2)


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    """Servers that answer every request with one picture, and keep what they were sent."""
    with respx.mock(assert_all_called=False) as wire:
        for base_url in (MAKER, OWN):
            for path in ("generations", "edits", "variations"):
                wire.post(f"{base_url}/images/{path}").respond(content=answer(SMALL))
        yield wire


@pytest.fixture
async def maker() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(api_key="sk-1", organization="org-1", project="proj-1") as client:
        yield client


@pytest.fixture
async def own(make_client: Callable[..., AsyncClient]) -> AsyncIterator[AsyncClient]:
    """A client of a server that is not the maker's."""
    async with make_client(OWN) as client:
        yield client


def sent(wire: respx.MockRouter) -> httpx.Request:
    request: httpx.Request = wire.calls.last.request
    return request


def sent_json(wire: respx.MockRouter) -> Any:
    return json.loads(sent(wire).content)


def sent_parts(wire: respx.MockRouter) -> list[tuple[str, bytes]]:
    """Return the head and the body of every part of the form that was sent."""
    request = sent(wire)
    kind, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    first, *middle, last = request.content.split(b"--" + boundary.encode())
    assert (first, last) == (b"", b"--\r\n")
    parts = [part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n") for part in middle]
    return [(head.decode(), body) for head, _, body in parts]


def text(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file(name: str, filename: str, media_type: str, data: bytes) -> tuple[str, bytes]:
    head = (
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {media_type}'
    )
    return head, data


async def test_a_generation_names_only_what_the_caller_named(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    await own.images.generate("a white siamese cat")

    assert str(sent(wire).url) == f"{OWN}/images/generations"
    assert sent(wire).method == "POST"
    assert sent(wire).content == b'{"prompt":"a white siamese cat"}'


async def test_every_parameter_of_a_generation_goes_out_under_its_own_name(
    wire: respx.MockRouter, maker: AsyncClient
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
    await maker.images.generate("ein Kätzchen", model="gpt-image-2", **parameters)

    assert sent_json(wire) == {"prompt": "ein Kätzchen", "model": "gpt-image-2", **parameters}


async def test_the_maker_is_told_a_model_that_lives(wire: respx.MockRouter, maker: AsyncClient) -> None:
    await maker.images.generate("a cat")
    assert sent_json(wire)["model"] == "gpt-image-2"

    await maker.images.edit(SMALL, "a cat")
    assert text("model", "gpt-image-2") in sent_parts(wire)

    await maker.images.create_variation(SMALL)
    assert text("model", "dall-e-2") in sent_parts(wire)


async def test_other_servers_are_told_no_model_that_the_caller_did_not_name(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    await own.images.edit(SMALL, "a cat")
    assert sent_parts(wire) == [file("image", "image.png", "image/png", SMALL), text("prompt", "a cat")]

    await own.images.create_variation(SMALL)
    assert sent_parts(wire) == [file("image", "image.png", "image/png", SMALL)]


async def test_an_edit_is_a_form_with_the_picture_the_mask_and_the_parameters(
    wire: respx.MockRouter, maker: AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "lounge.png").write_bytes(SMALL)

    await maker.images.edit(
        tmp_path / "lounge.png", "a pool", mask=SMALL, model="dall-e-2", n=2, size="256x256", user="a1b2"
    )

    assert str(sent(wire).url) == f"{MAKER}/images/edits"
    assert sent_parts(wire) == [
        file("image", "lounge.png", "image/png", SMALL),
        file("mask", "image.png", "image/png", SMALL),
        text("prompt", "a pool"),
        text("model", "dall-e-2"),
        text("n", "2"),
        text("size", "256x256"),
        text("user", "a1b2"),
    ]
    assert int(sent(wire).headers["content-length"]) == len(sent(wire).content)


async def test_several_pictures_go_out_as_an_array_in_their_order(
    wire: respx.MockRouter, maker: AsyncClient
) -> None:
    await maker.images.edit([SMALL, JPEG], "both")

    assert sent_parts(wire)[:2] == [
        file("image[]", "image.png", "image/png", SMALL),
        file("image[]", "image.jpg", "image/jpeg", JPEG),
    ]


async def test_a_variation_is_a_form_with_the_picture(wire: respx.MockRouter, maker: AsyncClient) -> None:
    await maker.images.create_variation(SMALL, n=2, size="512x512", response_format="url")

    assert str(sent(wire).url) == f"{MAKER}/images/variations"
    assert sent_parts(wire) == [
        file("image", "image.png", "image/png", SMALL),
        text("model", "dall-e-2"),
        text("n", "2"),
        text("size", "512x512"),
        text("response_format", "url"),
    ]


async def test_the_headers_say_who_asks_and_what_is_understood(
    wire: respx.MockRouter, maker: AsyncClient
) -> None:
    response = await maker.images.generate("a cat")

    headers = sent(wire).headers
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


async def test_without_a_key_nothing_says_who_asks(wire: respx.MockRouter, own: AsyncClient) -> None:
    await own.images.generate("a cat")

    assert not {"authorization", "openai-organization", "openai-project"} & set(sent(wire).headers)


async def test_the_idempotency_key_is_new_for_each_call_unless_it_is_given(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    first = await own.images.generate("a cat")
    second = await own.images.generate("a cat")
    third = await own.images.generate("a cat", idempotency_key="mine-1")

    assert first.idempotency_key != second.idempotency_key
    assert third.idempotency_key == sent(wire).headers["idempotency-key"] == "mine-1"
    for bad in ("", "a\nb", "x" * 256, "schlüssel"):
        with pytest.raises(InvalidRequestError, match="idempotency_key"):
            await own.images.generate("a cat", idempotency_key=bad)


async def test_a_job_as_a_value_is_sent_like_the_named_call(wire: respx.MockRouter, own: AsyncClient) -> None:
    await own.images.send(Generate("a cat", n=2))
    assert sent_json(wire) == {"prompt": "a cat", "n": 2}

    await own.images.send(Edit(SMALL, "a dog"))
    assert sent_parts(wire)[1:] == [text("prompt", "a dog")]

    await own.images.send(Variation(SMALL, n=1))
    assert sent_parts(wire)[1:] == [text("n", "1")]


async def test_extra_fields_win_and_none_takes_a_field_out(wire: respx.MockRouter, own: AsyncClient) -> None:
    extra = {"n": 3, "style": {"mood": ["calm"]}, "user": None}
    await own.images.generate("a cat", n=1, user="me", extra_body=extra)
    assert sent_json(wire) == {"prompt": "a cat", "n": 3, "style": {"mood": ["calm"]}}

    await own.images.edit(SMALL, "a cat", extra_body={"hd": True, **extra})
    assert sent_parts(wire)[1:] == [
        text("prompt", "a cat"),
        text("hd", "true"),
        text("n", "3"),
        text("style[mood][]", "calm"),
    ]

    with pytest.raises(InvalidRequestError, match="extra_body"):
        await own.images.generate("a cat", extra_body={"style": object()})
    assert wire.calls.call_count == 2


async def test_extra_headers_and_query_go_along(wire: respx.MockRouter, own: AsyncClient) -> None:
    wire.post(f"{OWN}/images/generations", params={"api-version": "1 & 2"}).respond(content=answer(SMALL))

    await own.images.generate("a cat", extra_headers={"X-Trace": "t1"}, extra_query={"api-version": "1 & 2"})

    assert sent(wire).headers["x-trace"] == "t1"
    assert sent(wire).url.params["api-version"] == "1 & 2"


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
async def test_an_extra_header_cannot_change_what_is_ours(
    wire: respx.MockRouter, own: AsyncClient, name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        await own.images.generate("a cat", extra_headers={name: value})

    assert wire.calls.call_count == 0


WIDE = png(4, 2)
OPAQUE = png(2, 2, alpha=False)


@pytest.mark.parametrize(
    ("job", "param"),
    [
        (Generate(""), "prompt"),
        (Generate("a" * 1001, model="dall-e-2"), "prompt"),
        (Generate("half \ud83d"), "prompt"),
        (Generate("a cat", n=0), "n"),
        (Generate("a cat", n=11), "n"),
        (Generate("a cat", n=True), "n"),
        (Generate("a cat", size="256x256"), "size"),
        (Generate("a cat", size="1000x1000"), "size"),
        (Generate("a cat", size="1024x1792", model="dall-e-2"), "size"),
        (Generate("a cat", quality="hd"), "quality"),
        (Generate("a cat", response_format="url"), "response_format"),
        (Generate("a cat", response_format="file", model="dall-e-2"), "response_format"),
        (Generate("a cat", output_format="jpeg", background="transparent"), "background"),
        (Generate("a cat", output_compression=50), "output_compression"),
        (Edit(b"no picture", "a cat"), "image"),
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
async def test_what_the_model_forbids_is_refused_before_a_byte_is_sent(
    wire: respx.MockRouter, maker: AsyncClient, job: Job, param: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await maker.images.send(job)

    assert caught.value.param == param
    assert param in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert wire.calls.call_count == 0


async def test_the_check_can_be_switched_off_for_a_call_or_a_client(
    wire: respx.MockRouter, maker: AsyncClient, make_client: Callable[..., AsyncClient]
) -> None:
    await maker.images.generate("a cat", size="1x1", quality="hd", check=False)
    assert sent_json(wire)["size"] == "1x1"

    async with make_client(OWN, check=False) as unchecked:
        await unchecked.images.edit(JPEG, "a cat", model="dall-e-2")
        assert sent_parts(wire)[0] == file("image", "image.jpg", "image/jpeg", JPEG)
        with pytest.raises(InvalidRequestError, match="1024x1024"):
            await unchecked.images.generate("a cat", model="dall-e-2", size="1x1", check=True)


async def test_an_unknown_model_is_never_checked(wire: respx.MockRouter, maker: AsyncClient) -> None:
    await maker.images.generate("", model="gpt-image-9", n=50, size="vast", quality="divine")

    assert sent_json(wire)["size"] == "vast"


async def test_without_a_model_other_servers_get_what_the_caller_said(
    wire: respx.MockRouter, own: AsyncClient
) -> None:
    await own.images.edit([JPEG, OPAQUE], "a cat", mask=WIDE, size="7x7", response_format="url")

    assert [head for head, _ in sent_parts(wire)].count(text("size", "7x7")[0]) == 1


@pytest.mark.parametrize(
    ("option", "said"),
    [("negative_prompt", "extra_body"), ("max_retries", "RetryPolicy"), ("stream", "whole images")],
)
async def test_an_unknown_option_is_a_type_error_that_names_the_way(
    wire: respx.MockRouter, own: AsyncClient, option: str, said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        await own.images.generate("a cat", **{option: 1})  # type: ignore[arg-type]

    assert wire.calls.call_count == 0


async def test_a_missing_file_is_said_before_anything_is_sent(
    wire: respx.MockRouter, own: AsyncClient, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        await own.images.edit(tmp_path / "missing.png", "a cat")
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        await own.images.edit(SMALL, "a cat", mask=str(tmp_path / "missing.png"))

    assert wire.calls.call_count == 0


async def test_files_are_asked_for_as_pictures_where_the_model_can_choose(
    wire: respx.MockRouter, maker: AsyncClient, tmp_path: Path
) -> None:
    await maker.images.generate("a cat", model="dall-e-2", out=tmp_path)
    assert sent_json(wire)["response_format"] == "b64_json"

    await maker.images.generate("a cat", model="gpt-image-2", out=tmp_path)
    assert "response_format" not in sent_json(wire)


@pytest.mark.parametrize("out", ["cat.png", "cats/{id}.{ext}", "{name}-{index}.png", "../{index}/../cat", ""])
async def test_a_destination_that_loses_pictures_is_refused_before_anything_is_sent(
    wire: respx.MockRouter, own: AsyncClient, out: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await own.images.generate("a cat", extra_body={"n": 2}, out=out)

    assert caught.value.param == "out"
    assert wire.calls.call_count == 0

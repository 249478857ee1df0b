"""Sources that are not images: refused before anything is sent, with a remedy."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from imagesdk import AsyncClient, InvalidRequestError, prepare_image
from tests.support.probed_sources import probe, refusal
from tests.support.small_images import JPEG, png

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

PNG = png(3, 2)
MakeClient = Callable[..., AsyncClient]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "image is empty"),
        (bytearray(), "image is empty"),
        (("cat.png", b""), "image is empty"),
        ("data:,", "image is empty"),
        (io.BytesIO(), "image is an empty file"),
    ],
)
async def test_an_empty_source_is_refused_with_its_kind(source: Any, message: str) -> None:
    assert message in str(await refusal(source))


async def test_an_empty_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "nothing.png").touch()
    assert "nothing.png" in str(await refusal(tmp_path / "nothing.png"))


@pytest.mark.parametrize("where", [len(PNG), len(PNG) + 5])
async def test_a_file_that_was_read_to_its_end_is_refused_and_keeps_its_position(where: int) -> None:
    file = io.BytesIO(PNG)
    file.seek(where)
    assert "image has no bytes left to read. Call seek(0) first." in str(await refusal(file))
    assert file.tell() == where


async def test_an_empty_pipe_or_async_file_is_refused(tmp_path: Path) -> None:
    class Once:
        def read(self, _: int) -> bytes:
            return b""

    assert "gave no bytes" in str(await refusal(Once()))
    (tmp_path / "cat.png").write_bytes(PNG)
    async with await anyio.open_file(tmp_path / "cat.png", "rb") as file:
        await file.read()
        assert "was read before" in str(await refusal(file))
        assert await file.tell() == len(PNG)


async def test_an_empty_source_is_refused_for_every_model_and_parameter(make_client: MakeClient) -> None:
    async with make_client("http://127.0.0.1:9/v1") as client:
        for model in (None, "gpt-image-2", "unheard-of"):
            with pytest.raises(InvalidRequestError, match="image is empty"):
                await client.images.edit(b"", "a cat", model=model, check=False)
        with pytest.raises(InvalidRequestError, match="mask is empty"):
            await client.images.edit(PNG, "a cat", mask=b"")
        with pytest.raises(InvalidRequestError, match="image is empty"):
            await client.images.create_variation(b"")
        with pytest.raises(InvalidRequestError, match="source is empty"):
            await client.files.upload(b"")


def base64_of(size: int, head: bytes = PNG) -> str:
    return base64.b64encode((head * (size // len(head) + 1))[:size]).decode()


@pytest.mark.parametrize(
    "text",
    [
        base64_of(300),
        base64_of(150_000),
        base64_of(300, JPEG),
        base64_of(300, b"any bytes at all"),
        base64.urlsafe_b64encode(JPEG * 100).decode(),
        base64.encodebytes(PNG * 100).decode(),
    ],
    ids=["short", "long", "JPEG", "no image", "safe in URLs", "in lines"],
)
async def test_base64_in_place_of_a_path_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="source looks like base64"):
        prepare_image(text)
    error = await refusal(text)
    assert f"image looks like base64 ({text[:40]}...)" in str(error)
    assert "base64.b64decode(...)" in str(error)
    assert text[:41] not in str(error)
    assert text[:41] not in str(error.value)


@pytest.mark.parametrize(
    "text", ["a/" * 200 + "cat", f"{'folder/' * 50}cat.png", "iVBORw0KGgo", "/9j/cats/cat"]
)
async def test_a_text_that_resembles_base64_may_be_a_path(text: str) -> None:
    with pytest.raises(FileNotFoundError):
        await probe(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is an empty text"),
        ("a\0b", "holds a NUL"),
        ("a prompt, perhaps? " * 500, "is a text of 9500 characters"),
        ("file:///x.png", "is the URL of a file, 'file:///x.png'. Pass the path itself, '/x.png'."),
        ("FILE:///a%20cat.png", "Pass the path itself, '/a cat.png'."),
        ("file:/x.png", "Pass the path itself, '/x.png'."),
        ("file://localhost/x.png", "Pass the path itself, '/x.png'."),
        ("file:///C:/x.png", "Pass the path itself, 'C:/x.png'."),
        ("file://[x/y.png", "Pass the path itself, '/y.png'."),
    ],
)
async def test_a_text_that_cannot_be_a_path_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        prepare_image(text)
    for error in (await refusal(text), caught.value):
        assert message in str(error)
        assert len(str(error)) < 200


async def test_a_file_opened_as_text_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.NamedTemporaryFile("w+", encoding="utf-8", dir=tmp_path))
        Path(temporary.name).write_bytes(PNG)
        sources: list[Any] = [io.StringIO("a cat"), io.StringIO(), temporary]
        sources += [stack.enter_context(path.open(encoding=each)) for each in ("utf-8", "latin-1")]
        for source in sources:
            error = await refusal(source)
            assert 'Open it with "rb"' in str(error)
            assert source.tell() == 0
            with pytest.raises(InvalidRequestError, match='Open it with "rb"'):
                prepare_image(source)
    for encoding in ("utf-8", "latin-1"):
        async with await anyio.open_file(path, encoding=encoding) as file:
            assert 'Open it with "rb"' in str(await refusal(file))

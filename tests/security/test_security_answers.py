"""What a hostile server can answer: no flood, no bomb, no page, and no file outside of the folder that was named."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import secrets
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import PIL.Image
import PIL.ImageFile
import pytest

import imagesdk
from imagesdk import AsyncClient, Caps, DownloadError, Image, RetryPolicy
from imagesdk._media.atomic import create_temporary, move_into_place, write_file
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, always, serving

SMALL = png()
ONCE = RetryPolicy(max_attempts=1)
MakeClient: TypeAlias = Callable[..., AsyncClient]


def endless(head: bytes, piece: bytes) -> Handler:
    """A handler that says ``piece`` again and again, as long as anybody listens."""

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(head)
        while True:
            await talk.send(piece)

    return handler


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "header": endless(b"HTTP/1.1 200 OK\r\nx-large: ", b"a" * 1000),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"x-more: a\r\n" * 100),
    "chunks": endless(CHUNKED, b"3e8\r\n" + b" " * 1000 + b"\r\n"),
    "chunk extension": endless(CHUNKED + b"1;", b"a" * 1000),
    "picture": endless(CHUNKED, b"3e8\r\n" + b"\x89" * 1000 + b"\r\n"),
    "trailers": endless(CHUNKED + b"0\r\n", b"x-more: a\r\n" * 100),
    "error": endless(CHUNKED.replace(b"200 OK", b"500 No"), b"3e8\r\n" + b"<" * 1000 + b"\r\n"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_answer_without_an_end_is_given_up(
    kind: str, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesdk._protocol.scanner.MAX_REST", 1_000_000)  # to be there sooner
    caps = Caps(image=1_000_000, response=1_000_000)
    async with (
        serving(ENDLESS[kind]) as server,
        make_client(server.base_url, caps=caps, retry=ONCE) as client,
    ):
        with pytest.raises(imagesdk.APIError) as caught:
            await client.images.generate("a cat")
        assert server.connections == 1

    assert caught.value.maybe_billed


@pytest.mark.anyio
@pytest.mark.parametrize("kind", sorted(set(ENDLESS) - {"error"}))
async def test_a_picture_without_an_end_is_given_up(
    kind: str, make_client: MakeClient, tmp_path: Path
) -> None:
    async with (
        serving(ENDLESS[kind]) as server,
        make_client(server.base_url, caps=Caps(image=1_000_000), retry=ONCE) as client,
    ):
        with pytest.raises(DownloadError):
            await client.images.download("/cat.png", to=tmp_path / "cat.png")
        assert server.connections == 1

    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("opening", [b'{"data": [{"b64_json": "', b'{"x": "', b""])
async def test_a_little_that_inflates_to_a_lot_is_given_up(
    status: int, opening: bytes, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesdk._protocol.scanner.MAX_REST", 1_000_000)
    bomb = gzip.compress(opening + b"A" * 50_000_000)
    assert len(bomb) < 60_000
    handler = always(bomb, status, content_encoding="gzip")
    caps = Caps(image=1_000_000, response=2_000_000)
    tracemalloc.start()
    try:
        async with serving(handler) as server, make_client(server.base_url, caps=caps, retry=ONCE) as client:
            with pytest.raises((imagesdk.APIResponseError, imagesdk.InternalServerError)):
                await client.images.generate("a cat")
            with pytest.raises(DownloadError):
                await client.images.download("/cat.png")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"error": ', b"}"), (b'{"data": [', b"]}")])
async def test_an_answer_that_is_nested_without_end_is_one_that_cannot_be_read(
    status: int, opened: bytes, closed: bytes, make_client: MakeClient
) -> None:
    handler = always(opened * 100_000 + b"1" + closed * 100_000, status)
    async with serving(handler) as server, make_client(server.base_url, retry=ONCE) as client:
        with pytest.raises((imagesdk.APIResponseError, imagesdk.BadRequestError)) as caught:
            await client.images.generate("a cat")

    assert len(str(caught.value)) < 500
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def dripping(head: bytes, drop: bytes) -> Handler:
    """A handler that says a little now and then, so that no silence ever is long."""

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(head)
        while True:
            await talk.send(drop)
            await anyio.sleep(0.01)

    return handler


@pytest.mark.anyio
@pytest.mark.parametrize(
    "handler",
    [
        dripping(b"", b"H"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"a"),
        dripping(b"HTTP/1.1 200 OK\r\nx-slow: ", b"a"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(CHUNKED + b"1;", b"a"),
        dripping(CHUNKED, b"1\r\n \r\n"),
        dripping(CHUNKED + b"0\r\n", b"a"),
    ],
    ids=["no status", "name", "value", "interim answers", "chunk extension", "chunks", "trailers"],
)
async def test_no_drip_outlasts_the_time_out(handler: Handler, make_client: MakeClient) -> None:
    async with serving(handler) as server, make_client(server.base_url, retry=ONCE) as client:
        with pytest.raises(imagesdk.APIError) as caught:
            await client.images.generate("a cat", timeout=0.2)
        with pytest.raises(DownloadError):
            await client.images.download("/cat.png", timeout=0.2)
        assert server.connections == 2

    assert caught.value.maybe_billed


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims so many pixels."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x06\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 10_000), (2**31 - 1, 1)])
async def test_a_picture_that_claims_too_many_pixels_is_not_given_room(
    size: tuple[int, int], make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_room(*_: object) -> None:
        raise AssertionError("room was made for the pixels")

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load_prepare", make_room)
    monkeypatch.setattr(PIL.Image, "new", make_room)
    async with serving(always(answer(claiming(*size)))) as server, make_client(server.base_url) as client:
        images = [(await client.images.generate("a cat", out=out))[0] for out in (None, tmp_path)]

    for image in images:
        assert (image.width, image.height) == size
        for decode in (image.to_pil, image.to_numpy):
            with pytest.raises(PIL.Image.DecompressionBombError):
                decode()


def test_only_formats_of_pictures_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow has decoders that run other programs: PostScript goes to Ghostscript, which has had its holes."""
    ran: list[tuple[object, ...]] = []

    def ghostscript(*given: object, **_: object) -> None:
        ran.append(given)

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", ghostscript)
    program = Image(data=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\n%%EOF\n")

    with pytest.raises(PIL.UnidentifiedImageError):
        program.to_pil()

    assert ran == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "prompt",
    [
        "../../cat",
        "/etc/passwd",
        "..",
        "a\0b",
        "C:\\Windows\\cat",
        "con",
        "a:stream",
        "\u202egnp.tac",
        "a" * 3000,
        "\u732b" * 900,
    ],
)
async def test_no_prompt_and_no_answer_puts_a_file_outside_of_the_folder(
    prompt: str, make_client: MakeClient, tmp_path: Path
) -> None:
    hostile = {
        "created": 1,
        "output_format": "../../sh",
        "size": "../..",
        "id": "../../id",
        "data": [
            {"b64_json": base64.b64encode(data).decode(), "revised_prompt": "../../cat", "index": "../.."}
            for data in (SMALL, b"#!/bin/sh\n", b"<html>")
        ],
    }
    handler = always(json.dumps(hostile).encode(), x_request_id="../../id", content_type="image/../../sh")
    before = set(tmp_path.parent.iterdir())
    async with serving(handler) as server, make_client(server.base_url) as client:
        for out in ("in/pictures/", "in/pictures/{slug}/{id}-{index}.{ext}"):
            for image in await client.images.generate(prompt, n=3, out=tmp_path / out):
                assert image.path is not None
                assert image.path.resolve().is_relative_to(tmp_path / "in" / "pictures")
                assert image.path.suffix in {".png", ".bin"}
                assert not image.path.stat().st_mode & 0o111

    assert set(tmp_path.parent.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 6


@pytest.mark.anyio
async def test_a_place_where_no_picture_can_be_put_is_found_out_before_anything_is_sent(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "0.png").mkdir()
    places = ("x" * 300 + ".png", "x" * 300 + "/", "{slug}/" + "x" * 300, "file/cat.png", "{index}.png")
    async with serving(always(answer(SMALL))) as server, make_client(server.base_url) as client:
        for out in places:
            with pytest.raises(OSError, match=r"too long|Is a directory|exists"):
                await client.images.generate("a cat", out=f"{tmp_path}/{out}")
        with pytest.raises(imagesdk.InvalidRequestError, match="no file name can have"):
            await client.images.generate("a cat", out=f"{tmp_path}/\ud800.png")
        assert server.requests == []


@pytest.mark.anyio
async def test_a_link_in_the_place_of_a_picture_is_replaced_and_not_followed(
    make_client: MakeClient, tmp_path: Path
) -> None:
    victim, hanging = tmp_path / "victim.txt", tmp_path / "absent.txt"
    victim.write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    for name, target in (("one.png", victim), ("two.png", hanging), ("three.png", victim)):
        (out / name).symlink_to(target)

    async with serving(always(answer(SMALL))) as server, make_client(server.base_url) as client:
        (image,) = await client.images.generate("a cat", out=out / "one.png")
        await client.images.download(image, to=out / "two.png")
    image.save(out / "three.png")

    for name in ("one.png", "two.png", "three.png"):
        assert not (out / name).is_symlink()
        assert (out / name).read_bytes() == SMALL
    assert victim.read_text() == "precious"
    assert not hanging.exists()


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guessed(size: int) -> str:
        return "0" * 2 * size

    monkeypatch.setattr(secrets, "token_hex", guessed)
    descriptor, temporary = create_temporary(tmp_path)
    os.close(descriptor)
    temporary.unlink()
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    for target in (victim, tmp_path / "absent.txt"):
        temporary.symlink_to(target)
        with pytest.raises(FileExistsError):
            write_file(tmp_path / "cat.png", SMALL)
        temporary.unlink()

    assert victim.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == [victim]


@pytest.mark.anyio
async def test_a_temporary_file_is_no_more_open_to_others_than_the_picture(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    def move(temporary: Path, final: Path, *, fsync: bool = False) -> None:
        modes.append(temporary.stat().st_mode & 0o777)
        move_into_place(temporary, final, fsync=fsync)
        modes.append(final.stat().st_mode & 0o777)

    monkeypatch.setattr("imagesdk._calls.file_names.move_into_place", move)
    before = os.umask(0o077)
    try:
        async with serving(always(answer(SMALL))) as server, make_client(server.base_url) as client:
            await client.images.generate("a cat", out=tmp_path / "cat.png")
    finally:
        os.umask(before)

    assert modes == [0o600, 0o600]

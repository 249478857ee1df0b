"""Hostile answers of a server: no flood, no bomb, and no file outside of the folder that was named."""

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
from pathlib import Path

import anyio
import PIL.Image
import PIL.ImageFile
import pytest

import imagesdk
from imagesdk import Caps, DownloadError, Image
from imagesdk._media.atomic import create_temporary, move_into_place, write_file
from tests.support.leaks import exposed
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, always

pytestmark = pytest.mark.anyio

SMALL = png()
MILLION = 1_000_000


def repeating(head: bytes, piece: bytes, pause: float | None = None) -> Handler:
    """A handler that sends ``piece`` again and again, as long as the client reads."""

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(head)
        while True:
            await talk.send(piece)
            if pause is not None:
                await anyio.sleep(pause)

    return handler


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "header": repeating(b"HTTP/1.1 200 OK\r\nx-large: ", b"a" * 1000),
    "headers": repeating(b"HTTP/1.1 200 OK\r\n", b"x-more: a\r\n" * 100),
    "chunks": repeating(CHUNKED, b"3e8\r\n" + b" " * 1000 + b"\r\n"),
    "chunk extension": repeating(CHUNKED + b"1;", b"a" * 1000),
    "image": repeating(CHUNKED, b"3e8\r\n" + b"\x89" * 1000 + b"\r\n"),
    "trailers": repeating(CHUNKED + b"0\r\n", b"x-more: a\r\n" * 100),
    "error": repeating(CHUNKED.replace(b"200 OK", b"500 No"), b"3e8\r\n" + b"<" * 1000 + b"\r\n"),
}
SLOW = {
    "no status": (b"", b"H"),
    "name": (b"HTTP/1.1 200 OK\r\n", b"a"),
    "value": (b"HTTP/1.1 200 OK\r\nx-slow: ", b"a"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk extension": (CHUNKED + b"1;", b"a"),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "trailers": (CHUNKED + b"0\r\n", b"a"),
}


@pytest.fixture
def early_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limit on the parts of an answer that are no image, to reach it sooner."""
    monkeypatch.setattr("imagesdk._protocol.scanner.MAX_REST", MILLION)


@pytest.mark.usefixtures("early_limit")
@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_endless_answer_is_abandoned(kind: str) -> None:
    async with exposed(ENDLESS[kind], caps=Caps(image=MILLION, response=MILLION)) as (client, server):
        with pytest.raises(imagesdk.APIError) as caught:
            await client.images.generate("a cat")
        assert server.connections == 1
    assert caught.value.maybe_billed


@pytest.mark.parametrize("kind", sorted(set(ENDLESS) - {"error"}))
async def test_an_endless_download_is_abandoned(kind: str, tmp_path: Path) -> None:
    async with exposed(ENDLESS[kind], caps=Caps(image=MILLION)) as (client, server):
        with pytest.raises(DownloadError):
            await client.images.download("/cat.png", to=tmp_path / "cat.png")
        assert server.connections == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("early_limit")
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("opening", [b'{"data": [{"b64_json": "', b'{"x": "', b""])
async def test_a_small_answer_that_inflates_to_a_large_one_is_abandoned(status: int, opening: bytes) -> None:
    bomb = gzip.compress(opening + b"A" * 50 * MILLION)
    assert len(bomb) < 60_000
    caps = Caps(image=MILLION, response=2 * MILLION)
    tracemalloc.start()
    try:
        async with exposed(always(bomb, status, content_encoding="gzip"), caps=caps) as (client, _):
            with pytest.raises((imagesdk.APIResponseError, imagesdk.InternalServerError)):
                await client.images.generate("a cat")
            with pytest.raises(DownloadError):
                await client.images.download("/cat.png")
        assert tracemalloc.get_traced_memory()[1] < 20 * MILLION
    finally:
        tracemalloc.stop()


@pytest.mark.one_loop
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"error": ', b"}"), (b'{"data": [', b"]}")])
async def test_an_answer_nested_too_deeply_cannot_be_read(status: int, opened: bytes, closed: bytes) -> None:
    async with exposed(always(opened * 100_000 + b"1" + closed * 100_000, status)) as (client, _):
        with pytest.raises((imagesdk.APIResponseError, imagesdk.BadRequestError)) as caught:
            await client.images.generate("a cat")
    assert len(str(caught.value)) < 500
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


@pytest.mark.parametrize(("head", "drop"), SLOW.values(), ids=SLOW)
async def test_an_answer_that_drips_does_not_outlast_the_timeout(head: bytes, drop: bytes) -> None:
    async with exposed(repeating(head, drop, pause=0.01)) as (client, server):
        with pytest.raises(imagesdk.APIError) as caught:
            await client.images.generate("a cat", timeout=0.2)
        with pytest.raises(DownloadError):
            await client.images.download("/cat.png", timeout=0.2)
        assert server.connections == 2
    assert caught.value.maybe_billed


def claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims this number of pixels."""
    header = b"IHDR" + struct.pack(">II", width, height) + SMALL[24:29]
    return SMALL[:12] + header + struct.pack(">I", zlib.crc32(header)) + SMALL[33:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 10_000), (2**31 - 1, 1)])
async def test_no_memory_is_allocated_for_an_image_that_claims_too_many_pixels(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_: object) -> None:
        raise AssertionError("memory was allocated for the pixels")

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load_prepare", allocate)
    monkeypatch.setattr(PIL.Image, "new", allocate)
    async with exposed(always(answer(claiming(*size)))) as (client, _):
        images = [(await client.images.generate("a cat", out=out))[0] for out in (None, tmp_path)]
    for image in images:
        assert (image.width, image.height) == size
        for decode in (image.to_pil, image.to_numpy):
            with pytest.raises(imagesdk.APIResponseError, match="pixels"):
                decode()


def test_only_formats_of_images_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow has decoders that run other programs: for PostScript it runs Ghostscript, which has had its holes."""
    ran: list[tuple[object, ...]] = []

    def ghostscript(*given: object, **_: object) -> None:
        ran.append(given)

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", ghostscript)
    program = Image(data=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\n%%EOF\n")
    with pytest.raises(imagesdk.APIResponseError, match="cannot identify"):
        program.to_pil()
    assert ran == []


@pytest.mark.parametrize(
    "prompt",
    [
        *("../../cat", "/etc/passwd", "..", "a\0b", "C:\\Windows\\cat", "con", "a:stream", "\u202egnp.tac"),
        *("a" * 3000, "\u732b" * 900),
    ],
)
async def test_no_prompt_and_no_answer_puts_a_file_outside_of_the_folder(prompt: str, tmp_path: Path) -> None:
    hostile = {
        "created": 1,
        "output_format": "../../sh",
        "size": "../..",
        "id": "../../id",
        "data": [
            {"b64_json": base64.b64encode(data).decode(), "revised_prompt": "../../cat", "index": "../.."}
            for data in (SMALL, b"#!/bin/sh\n\0", b"<html>\0")
        ],
    }
    handler = always(json.dumps(hostile).encode(), x_request_id="../../id", content_type="image/../../sh")
    before = set(tmp_path.parent.iterdir())
    async with exposed(handler) as (client, _):
        for out in ("in/images/", "in/images/{slug}/{id}-{index}.{ext}"):
            for image in await client.images.generate(prompt, n=3, out=tmp_path / out):
                assert image.path is not None
                assert image.path.resolve().is_relative_to(tmp_path / "in" / "images")
                assert image.path.suffix in {".png", ".bin"}
                assert not image.path.stat().st_mode & 0o111
    assert set(tmp_path.parent.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4  # HTML is no image


async def test_a_path_that_cannot_be_written_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "0.png").mkdir()
    long = "x" * 300
    async with exposed(always(answer(SMALL))) as (client, server):
        for out in (f"{long}.png", f"{long}/", "{slug}/" + long, "file/cat.png", "{index}.png"):
            with pytest.raises(OSError, match=r"too long|Is a directory|exists"):
                await client.images.generate("a cat", out=f"{tmp_path}/{out}")
        with pytest.raises(imagesdk.InvalidRequestError, match="no file name can have"):
            await client.images.generate("a cat", out=f"{tmp_path}/\ud800.png")
        assert server.requests == []


async def test_a_link_in_the_place_of_an_image_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, hanging, out = tmp_path / "victim.txt", tmp_path / "absent.txt", tmp_path / "out"
    victim.write_text("precious")
    out.mkdir()
    for name, target in (("one.png", victim), ("two.png", hanging), ("three.png", victim)):
        (out / name).symlink_to(target)
    async with exposed(always(answer(SMALL))) as (client, _):
        (image,) = await client.images.generate("a cat", out=out / "one.png")
        await client.images.download(image, to=out / "two.png")
    image.save(out / "three.png")
    for name in ("one.png", "two.png", "three.png"):
        assert not (out / name).is_symlink()
        assert (out / name).read_bytes() == SMALL
    assert victim.read_text() == "precious"
    assert not hanging.exists()


def test_a_link_at_a_temporary_file_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_temporary_file_is_private_as_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    def move(temporary: Path, final: Path, *, fsync: bool = False) -> None:
        modes.append(temporary.stat().st_mode & 0o777)
        move_into_place(temporary, final, fsync=fsync)
        modes.append(final.stat().st_mode & 0o777)

    monkeypatch.setattr("imagesdk._calls.file_names.move_into_place", move)
    before = os.umask(0o077)
    try:
        async with exposed(always(answer(SMALL))) as (client, _):
            await client.images.generate("a cat", out=tmp_path / "cat.png")
    finally:
        os.umask(before)
    assert modes == [0o600, 0o600]

"""Input files of every kind, which are read while they are sent."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.lowlevel
import pytest
from starlette.datastructures import UploadFile

from imagesdk import APITimeoutError, AsyncClient, RetryPolicy, Upload
from imagesdk._engine.request_body import PIECE, read_piece
from imagesdk._protocol.bodies import Base64Segment
from tests.support.probed_sources import probe, probe_and_read, probed, read, refusal
from tests.support.small_images import JPEG, WEBP, answer, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = pytest.mark.anyio
MakeClient = Callable[..., AsyncClient]

PNG = png(3, 2)
LARGE = png(3, 2, padding=2 * PIECE)
URL = "https://cdn.test/a.png"


class Stream(io.RawIOBase):
    """Bytes that come once, like those of a pipe."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readall(self) -> bytes:
        return self._left.read()

    def read(self, size: int = -1, /) -> bytes:
        return self._left.read(size)


class OnlyRead:
    """The least that a file object can be."""

    name = "camera.raw"

    def __init__(self) -> None:
        self.read = io.BytesIO(PNG).read


KINDS: dict[str, Callable[[Path], object]] = {
    "path": lambda path: path,
    "str": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "part of a memoryview": lambda path: memoryview(path.read_bytes() + b"?")[:-1],
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "stream": lambda path: Stream(path.read_bytes()),
    "read": lambda _: OnlyRead(),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
async def test_an_image_is_read_from_every_kind_of_source(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "camera.png"
    path.write_bytes(PNG)
    upload, data = await probe_and_read(make(path))
    assert data == PNG
    assert (upload.media_type, upload.size) == ("image/png", len(PNG))
    assert (upload.width, upload.height, upload.alpha) == (3, 2, True)
    assert upload.name in {"camera.png", "image.png"}


@pytest.mark.parametrize(
    ("given", "data", "name", "media_type"),
    [
        ("cat.png", PNG, "cat.png", "image/png"),
        ("cat.jpg", PNG, "cat.png", "image/png"),
        ("cat", PNG, "cat.png", "image/png"),
        ("cat.v2", PNG, "cat.png", "image/png"),
        ("CAT.PNG", PNG, "CAT.PNG", "image/png"),
        ("cat.png", JPEG, "cat.jpg", "image/jpeg"),
        ("cat.jpeg", JPEG, "cat.jpeg", "image/jpeg"),
        ("cat.png", WEBP, "cat.webp", "image/webp"),
        ("cat.png", b"no image", "cat.png", "application/octet-stream"),
        ("cat", b"no image", "cat", "application/octet-stream"),
        ("cat.heif", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "cat.heif", "image/heic"),
    ],
)
async def test_the_bytes_decide_the_format_and_the_extension_follows(
    given: str, data: bytes, name: str, media_type: str, tmp_path: Path
) -> None:
    (tmp_path / given).write_bytes(data)
    upload = await probe(tmp_path / given)
    assert (upload.name, upload.media_type) == (name, media_type)


async def test_a_file_object_is_read_from_its_position_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "album.bin"
    path.write_bytes(b"an album: " + PNG)
    with path.open("rb") as file:
        file.seek(len(b"an album: "))
        upload = await probe(file)
        assert await read(upload) == PNG
        assert await read(upload) == PNG
        assert file.tell() == len(b"an album: ")
    assert upload.name == "album.png"


async def test_a_pipe_is_read_once_and_can_be_sent_twice() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe:
        with os.fdopen(writer, "wb") as other_end:
            other_end.write(PNG)
        async with probed(pipe) as upload:
            assert await read(upload) == PNG
            assert await read(upload) == PNG
            assert upload.name == "image.png"


async def test_a_large_pipe_is_kept_on_disk_until_its_call_has_ended() -> None:
    async with probed(Stream(LARGE)) as upload:
        spool: Any = upload.source
        assert upload.size == len(LARGE)
        assert isinstance(spool.fileno(), int)
        assert await read(upload) == LARGE
    assert spool.closed


async def test_a_silent_pipe_blocks_only_its_own_call() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb") as other_end:
        with anyio.move_on_after(0.05) as given_up:
            await probe(pipe)
        assert given_up.cancelled_caught
        assert (await probe_and_read(io.BytesIO(PNG)))[1] == PNG
        other_end.close()  # lets the thread that was left behind end


async def test_a_stream_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesdk._calls.sources.MAX_SPOOL", 2 * PIECE)
    assert "a stream of more than" in str(await refusal(Stream(LARGE + bytes(PIECE))))


@pytest.mark.parametrize("thing", [None, 42, ["cat.png"], {"path": "cat.png"}, object()])
async def test_a_value_of_another_type_is_refused_with_the_allowed_ones(thing: object) -> None:
    error = await refusal(thing)
    assert "allowed: a path, bytes, a binary file" in str(error)
    assert error.value == type(thing).__name__


async def test_a_file_with_an_async_read_is_read_from_its_position_which_is_restored(tmp_path: Path) -> None:
    (tmp_path / "album.bin").write_bytes(b"an album: " + PNG)
    async with await anyio.open_file(tmp_path / "album.bin", "rb") as file:
        await file.seek(len(b"an album: "))
        upload, data = await probe_and_read(file)
        assert await file.tell() == len(b"an album: ")
    assert data == PNG
    assert upload.name == "album.png"


async def test_an_uploaded_file_of_a_form_keeps_its_name_and_can_be_read_again(tmp_path: Path) -> None:
    form = UploadFile(io.BytesIO(PNG), filename="../../camera.png")
    upload, data = await probe_and_read(form)
    assert (upload.name, data) == ("camera.png", PNG)
    assert await form.read() == PNG


class Slowly:
    """A source that gives a byte at a time, and lets others run before each."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    async def read(self, size: int = -1, /) -> bytes:
        await anyio.lowlevel.checkpoint()
        return self._left.read(min(1, size) if size >= 0 else 1)

    async def seek(self, offset: int, /) -> int:
        return self._left.seek(offset)

    async def tell(self) -> int:
        return self._left.tell()


async def test_concurrent_calls_can_send_one_async_file() -> None:
    source, found = Slowly(PNG), list[bytes]()

    async def send() -> None:
        found.append((await probe_and_read(source))[1])

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(send)
    assert found == [PNG] * 4


async def test_a_cancelled_call_restores_the_position_of_an_async_file() -> None:
    source = Slowly(PNG)
    await source.seek(5)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(probe, source)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert await source.tell() > 5
            scope.cancel()
    assert await source.tell() == 5


async def test_a_missing_file_and_a_folder_are_os_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await probe(tmp_path / "missing.png")
    with pytest.raises(IsADirectoryError):
        await probe(tmp_path)


async def test_a_large_file_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(LARGE)
    for source in (path, LARGE):
        upload = await probe(source)
        first = await read_piece(upload, 0)
        assert first == LARGE[:PIECE]
        assert await read_piece(upload, len(LARGE) - 5) == LARGE[-5:]
        assert await read_piece(upload, len(LARGE)) == b""


class Dribbling(io.BytesIO):
    """A file that gives less than was asked for, as raw files may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7 if size is None or size < 0 or size > 7 else size)


@pytest.mark.parametrize("length", [1, 2, 3, 100, PIECE // 4 * 3, PIECE // 4 * 3 + 1, 2 * PIECE])
async def test_base64_of_any_source_is_encoded_a_piece_at_a_time(length: int, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(length)
    (tmp_path / "a.bin").write_bytes(data)
    for source in (data, tmp_path / "a.bin", io.BytesIO(data)):
        segment = Base64Segment(await probe(source))
        text = b""
        while piece := await read_piece(segment, len(text)):
            assert len(piece) <= PIECE
            text += piece
        assert len(text) == segment.size
        assert base64.b64decode(text, validate=True) == data


async def test_base64_of_a_file_with_short_reads_is_complete() -> None:
    upload = await probe(Dribbling(PNG))
    assert base64.b64decode(await read_piece(Base64Segment(upload), 0)) == PNG


async def test_base64_of_a_file_that_became_shorter_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    upload = await probe(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(PNG[:10])
    with pytest.raises(OSError, match="became shorter"):
        await read_piece(Base64Segment(upload), 0)


async def test_a_relative_path_belongs_to_the_working_folder_at_the_time_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    upload = await probe("cat.png")
    monkeypatch.chdir("/")
    assert await read(upload) == PNG


async def test_reading_does_not_block_the_event_loop(tmp_path: Path) -> None:
    opened = threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert opened.wait(10)
            return super().read(size)

    uploads: list[Upload] = []

    async def look() -> None:
        uploads.append(await probe(Slow(PNG)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await anyio.wait_all_tasks_blocked()
        opened.set()
    assert await read(uploads[0]) == PNG


async def test_a_retry_sends_the_same_form_or_json_again_from_every_kind_of_source(
    make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(LARGE)
    data_url = f"data:image/png;base64,{base64.b64encode(LARGE).decode()}"

    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.answer(answer(PNG), 200 if len(talk.server.requests) == 2 else 500)

    with path.open("rb") as file:
        for source in (path, file, LARGE, Stream(LARGE)):
            async with serving(handler) as server, make_client(server.base_url) as client:
                response = await client.images.edit(source, "a cat")  # type: ignore[arg-type]
            first, second = server.requests
            assert response.attempts == 2
            assert first.body == second.body
            assert LARGE in first.body
        assert not file.closed
        for source in (path, file, LARGE):
            async with serving(handler) as server, make_client(server.base_url) as client:
                response = await client.images.edit([source, URL], "a cat")
            first, second = server.requests
            assert response.attempts == 2
            assert first.body == second.body
            assert json.loads(first.body)["images"] == [{"image_url": data_url}, {"image_url": URL}]


async def test_concurrent_calls_can_send_one_file_object(make_client: MakeClient) -> None:
    file = io.BytesIO(LARGE)
    async with serving(always(answer(PNG))) as server, make_client(server.base_url) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(client.images.edit, file, "a cat")
        assert [LARGE in sent.body for sent in server.requests] == [True] * 4


async def test_a_file_that_shrinks_while_it_is_sent_ends_the_call_with_an_os_error(
    make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(3, 2, padding=40 * PIECE))

    async def handler(talk: Conversation) -> None:
        await talk.head()
        path.write_bytes(PNG)
        await talk.dropped()

    async with serving(handler) as server, make_client(server.base_url) as client:
        with pytest.raises(OSError, match="became shorter"):
            await client.images.edit(path, "a cat")

        assert server.connections == 1


@pytest.mark.parametrize("method", ["edit", "upload"])
async def test_a_silent_pipe_ends_with_the_time_out_of_its_call(method: str, make_client: MakeClient) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb"):
        async with make_client("http://127.0.0.1:9/v1") as client:
            with pytest.raises(APITimeoutError, match="could not be read in time") as caught:  # noqa: PT012
                if method == "edit":
                    await client.images.edit(pipe, "a cat", timeout=0.05)
                else:
                    await client.files.upload(pipe, timeout=0.05)
    assert not caught.value.maybe_billed


@pytest.mark.parametrize("kind", ["named pipe", "device"])
async def test_a_path_of_a_pipe_or_a_device_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    error = await refusal(path)
    assert "image is a pipe or a device" in str(error)
    assert str(path) in str(error)
    assert 'Open it with open(path, "rb"), and pass the file.' in str(error)


@pytest.mark.parametrize("where", ["imagesdk._calls.sources", "imagesdk._engine.request_body"])
async def test_a_disk_that_hangs_ends_with_the_time_out_of_its_call_and_stops_no_other(
    where: str, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging").mkdir()
    for path in (tmp_path / "hanging" / "a.png", tmp_path / "a.png"):
        path.write_bytes(PNG)
    is_mended = threading.Event()

    def open_slowly(path: Path) -> IO[bytes]:
        if path.parent.name == "hanging":
            is_mended.wait(30)
        return path.open("rb")

    monkeypatch.setattr(f"{where}.open_without_waiting", open_slowly)
    async with serving(always(answer(PNG))) as server:
        async with make_client(server.base_url, retry=RetryPolicy(max_attempts=1)) as client:
            try:
                with pytest.raises(APITimeoutError) as caught:
                    await client.images.edit(tmp_path / "hanging" / "a.png", "a cat", timeout=0.05)
                assert not caught.value.maybe_billed
                assert (await client.images.edit(tmp_path / "a.png", "a cat"))[0].bytes == PNG
            finally:
                is_mended.set()

"""The request body and the response of one attempt: how much was sent, and the images that were read."""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from imagesdk import Upload
from imagesdk._engine.request_body import PIECE, TrackedBody
from imagesdk._engine.response import ResponseReader
from imagesdk._engine.sink import ImageSink, discard
from imagesdk._protocol.scanner import ImagePiece, ImageRef, ImageStart
from imagesdk._transport.exchange import WireRequest, WireResponse
from tests.support.small_images import JPEG, answer, png

pytestmark = pytest.mark.anyio

SMALL = png(2, 3)
LARGE = png(2, 3, padding=3 * 1024**2)
REQUEST = WireRequest("POST", "https://images.test/v1/images/generations", ())


class Canned:
    """A transport that gives a response in pieces cut anywhere."""

    def __init__(
        self, body: bytes, *, piece: int = 65536, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self._pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
        self._head = (status, headers or {})
        self.ended = False

    def exchange(self, request: WireRequest) -> AbstractAsyncContextManager[WireResponse]:
        assert request is REQUEST
        return self._exchange()

    @asynccontextmanager
    async def _exchange(self) -> AsyncGenerator[WireResponse, None]:
        async with aclosing(self._body()) as body:
            try:
                yield WireResponse(*self._head, body)
            finally:
                self.ended = True

    async def _body(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            await anyio.lowlevel.checkpoint()
            yield piece

    async def aclose(self) -> None:
        pass


def body_of(*segments: bytes | Upload, on_sent: Callable[[], None] = lambda: None) -> TrackedBody:
    length = sum(len(each) if isinstance(each, bytes) else each.size for each in segments)
    return TrackedBody(segments, length, on_sent)


async def read(transport: Canned, reader: ResponseReader, sink: ImageSink) -> None:
    async with transport.exchange(REQUEST) as response:
        reader.begin(response)
        await reader.read(response, sink)


async def received(transport: Canned, folder: Path | None = None) -> tuple[ResponseReader, ImageSink]:
    reader, sink = ResponseReader(), ImageSink(folder)
    await read(transport, reader, sink)
    return reader, sink


async def test_a_body_is_complete_after_its_last_byte_and_sent_when_more_is_asked_for() -> None:
    moments: list[str] = []
    upload = Upload(name="a.png", media_type="image/png", size=3, source=b"two")
    empty = Upload(name="a", media_type="text/plain", size=0)
    body = body_of(b"one", upload, empty, b"three", on_sent=lambda: moments.append("sent"))
    assert (body.started, body.complete) == (False, False)

    states = [(piece, body.started, body.complete, list(moments)) async for piece in body]

    assert states == [(b"one", True, False, []), (b"two", True, False, []), (b"three", True, True, [])]
    assert moments == ["sent"]


async def test_a_body_keeps_the_error_of_its_file(tmp_path: Path) -> None:
    missing = Upload(name="a", media_type="image/png", size=3, source=tmp_path / "a.png")
    body = body_of(b"one", missing)

    with pytest.raises(FileNotFoundError) as caught:
        async for _ in body:
            pass

    assert body.error is caught.value
    assert not body.complete


@pytest.mark.parametrize("place", [0, PIECE - 20, PIECE, 2 * PIECE - 1])
async def test_a_file_that_contains_the_boundary_of_its_form_is_not_sent_whole(
    place: int, tmp_path: Path
) -> None:
    file, size = tmp_path / "a.png", 2 * PIECE + 100
    file.write_bytes((bytes(place) + b"imagesdk-0123456789" + bytes(size))[:size])
    upload = Upload(name="a.png", media_type="image/png", size=size, source=file)
    for boundary, fits in ((b"imagesdk-0123456789", False), (b"imagesdk-9876543210", True)):
        body = TrackedBody([upload], size, lambda: None, boundary=boundary)
        sent, problem = 0, None
        try:
            async for piece in body:
                sent += len(piece)
        except OSError as error:
            problem = str(error)
        assert (problem is None) is fits
        assert (body.complete, sent == size) == (fits, fits)
        assert fits or problem == "a.png contains imagesdk-0123456789, the boundary of its form"


@pytest.mark.parametrize("piece", [1, 7, 65536])
async def test_images_are_read_into_memory_however_the_response_is_cut(piece: int) -> None:
    got, sink = await received(Canned(answer(SMALL, JPEG), piece=piece))

    assert got.status == 200
    assert got.problem is None
    assert [sink.images[number].data for number in (0, 1)] == [SMALL, JPEG]
    assert [sink.images[number].facts.height for number in (0, 1)] == [3, 2]
    document = got.scanner.document()
    assert [item["b64_json"] for item in document["data"]] == [ImageRef(0), ImageRef(1)]


async def test_images_go_to_temporary_files_and_leave_nothing_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"

    _, sink = await received(Canned(answer(LARGE, SMALL)), folder)

    files = [sink.images[number].temporary for number in (0, 1)]
    assert [file.read_bytes() if file else None for file in files] == [LARGE, SMALL]
    assert [sink.images[number].data for number in (0, 1)] == [None, None]
    assert sink.images[0].facts.media_type == "image/png"
    assert {file.parent if file else None for file in files} == {folder}


async def test_short_writes_continue_until_all_is_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def write_little(descriptor: int, data: memoryview) -> int:
        return write(descriptor, data[:100_000])

    monkeypatch.setattr(os, "write", write_little)
    _, sink = await received(Canned(answer(LARGE)), tmp_path)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [LARGE]
    await discard(sink)


async def test_discarding_removes_every_file_of_an_attempt_even_when_cancelled(tmp_path: Path) -> None:
    _, sink = await received(Canned(answer(SMALL, JPEG)), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2

    with anyio.CancelScope() as scope:
        scope.cancel()
        await discard(sink)

    assert list(tmp_path.iterdir()) == []
    assert sink.images == {}


async def test_an_incomplete_image_can_be_discarded(tmp_path: Path) -> None:
    sink = ImageSink(tmp_path)
    await sink.write(ImageStart(0))
    await sink.write(ImagePiece(0, bytes(2 * 1024**2)))

    await discard(sink)

    assert list(tmp_path.iterdir()) == []


async def test_a_failing_disk_is_an_os_error_and_ends_the_exchange(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    transport = Canned(answer(SMALL))

    with pytest.raises(OSError, match="file"):
        await received(transport, tmp_path / "file" / "folder")

    assert transport.ended


@pytest.mark.parametrize(
    ("transport", "problem"),
    [
        (Canned(answer(SMALL).replace(b"iVBOR", b"iVB?R")), "base64"),
        (Canned(gzip.compress(answer(SMALL))[:-9], headers={"content-encoding": "gzip"}), "too early"),
        (Canned(b"x" * 100, headers={"content-encoding": "gzip"}), "corrupt"),
        (Canned(answer(SMALL), headers={"content-encoding": "br"}), "not asked for"),
    ],
    ids=["base64", "cut", "corrupt", "brotli"],
)
async def test_an_unreadable_body_is_a_kept_problem(transport: Canned, problem: str, tmp_path: Path) -> None:
    got, sink = await received(transport, tmp_path)
    await discard(sink)

    assert problem in str(got.problem)
    assert got.status == 200
    assert transport.ended
    assert list(tmp_path.iterdir()) == []


async def test_a_response_has_not_succeeded_before_its_head() -> None:
    assert not ResponseReader().succeeded
    for status, is_success in {199: False, 200: True, 299: True, 300: False}.items():
        reader = ResponseReader()
        async with Canned(b"", status=status).exchange(REQUEST) as response:
            reader.begin(response)
        assert reader.succeeded == is_success

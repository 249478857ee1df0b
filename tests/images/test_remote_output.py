"""Images at URLs: complete or absent, verified, private, and never in memory as a whole."""

from __future__ import annotations

import hashlib
import pickle
import sys
import threading
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from imagesdk import AsyncClient, ConfigurationError, Generate, InvalidRequestError
from imagesdk._media.remote_files import Content, holds, upload
from imagesdk._media.remote_path import RemotePath
from tests.support.billing_server import BillingServer
from tests.support.file_systems import REGISTRY, Lab

_SPEC: Any = import_module("fsspec.spec")
pytestmark = pytest.mark.anyio


@pytest.fixture
def client(server: BillingServer, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url)


async def test_images_are_at_their_urls_and_nowhere_else(
    client: AsyncClient, lab: Lab, tmp_path: Path
) -> None:
    async with client:
        response = await client.images.generate("pair of cats", n=2, out="lab://b/{slug}-{index}.{ext}")
    assert [image.location for image in response] == [f"lab://b/pair-of-cats-{i}.png" for i in (0, 1)]
    assert [image.path for image in response] == [None, None]
    assert {f"lab://{name}": data for name, data in lab.content().items()} == {
        str(image.location): image.bytes for image in response
    }
    assert response[0].loaded
    assert "location='lab://b/pair-of-cats-0.png'" in repr(response[0])
    assert pickle.loads(pickle.dumps(response[0])).bytes == response[0].bytes
    assert list(tmp_path.iterdir()) == []


async def test_a_stream_a_url_of_the_server_and_a_download_are_written_to_urls(
    client: AsyncClient, lab: Lab, tmp_path: Path
) -> None:
    async with client:
        async with client.images.stream(Generate("a cat"), out="lab://b/streamed.png") as stream:
            streamed = await stream.final()
        fetched = await client.images.generate("url of a cat", out="lab://b/fetched.png")
        data = await client.images.download(fetched[0], to="lab://b/copies/")
    assert streamed[0].location == "lab://b/streamed.png"
    assert set(lab.content()) == {"b/streamed.png", "b/fetched.png", "b/copies/image-0.png"}
    assert lab.content()["b/copies/image-0.png"] == lab.content()["b/fetched.png"] == data
    assert list(tmp_path.iterdir()) == []


async def test_a_call_replaces_a_file_and_a_temporary_one_is_gone(client: AsyncClient, lab: Lab) -> None:
    lab.put("b/cat.png", b"old")
    async with client:
        response = await client.images.generate("a cat", out="lab://b/cat.png")
    assert lab.content() == {"b/cat.png": response[0].bytes}
    assert response[0].bytes != b"old"


async def test_a_cancelled_upload_leaves_nothing(
    client: AsyncClient, server: BillingServer, lab: Lab, tmp_path: Path
) -> None:
    lab.held = threading.Event()
    async with client, anyio.create_task_group() as tasks:

        async def call() -> None:
            await client.images.generate("a cat", out="lab://b/")

        tasks.start_soon(call)
        await anyio.to_thread.run_sync(lab.writing.wait, 10)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(10):  # rounds of the event loop, which delivers the cancellation
                await anyio.lowlevel.checkpoint()
        lab.held.set()
    assert server.billed == {"a cat": 1}
    assert lab.content() == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("lab://b/", "extra `fsspec`"),
        ("unheard://b/", "Protocol not known"),
        ("lacking://b/", "Install lacking"),
    ],
)
async def test_what_is_missing_is_named_before_anything_is_sent(
    client: AsyncClient,
    server: BillingServer,
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    words: str,
) -> None:
    if out.startswith("lab"):
        monkeypatch.setitem(sys.modules, "fsspec.core", None)
    known = {"class": "no_such_module.FileSystem", "err": "Install lacking"}
    monkeypatch.setitem(REGISTRY.known_implementations, "lacking", known)
    async with client:
        with pytest.raises(ConfigurationError) as caught:
            await client.images.generate("a cat", out=out)
        with pytest.raises(ConfigurationError):
            await client.images.download("/images/1", to=out)
    assert words in str(caught.value)
    assert (server.asked, server.downloads) == ([], [])


@pytest.mark.parametrize("forbidden", ["to write", "to list"])
async def test_a_folder_that_cannot_be_used_is_an_error_before_anything_is_sent(
    client: AsyncClient, server: BillingServer, lab: Lab, forbidden: str
) -> None:
    lab.problem = PermissionError("Forbidden") if forbidden == "to write" else None
    lab.may_list = forbidden != "to list"
    async with client:
        with pytest.raises(PermissionError, match=r"Forbidden.*lab://b/cats"):
            await client.images.generate("a cat", out="lab://b/cats/")
        lab.problem, lab.may_list = None, True
        await client.images.generate("a cat", out="lab://b/cats/")
    assert server.billed == {"a cat": 1}


@pytest.mark.parametrize("trouble", ["loses bytes", "raises"])
async def test_an_image_that_cannot_be_uploaded_is_kept_and_named(
    client: AsyncClient, lab: Lab, tmp_path: Path, trouble: str
) -> None:
    async with client:
        await client.images.generate("a dog", out="lab://b/")  # the folder is checked once
        before = lab.content()
        lab.loses_bytes, lab.problem = (
            trouble == "loses bytes",
            None if trouble == "loses bytes" else ValueError("down"),
        )
        with pytest.raises(OSError, match="The image is kept in") as caught:
            await client.images.generate("a cat", out="lab://b/cat.png")
    assert caught.value.filename == "lab://b/cat.png"
    assert lab.content() == before
    [kept] = tmp_path.iterdir()
    assert str(kept) in str(caught.value)
    assert kept.read_bytes().startswith(b"\x89PNG")


async def test_a_password_reaches_the_file_system_alone(
    client: AsyncClient, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with client:
        response = await client.images.generate("a cat", out="lab://me:hunter2@host/")
        assert lab.options[-1]["login"] == "me:hunter2"
        assert response[0].bytes  # read with the password
        lab.problem = OSError("login me:hunter2 failed")
        with pytest.raises(OSError, match="me:\\*\\*\\* failed") as caught:
            await client.images.generate("a cat", out="lab://me:hunter2@host/")
    shown = f"{caught.value!r} {caught.value.__cause__!r} {response!r} {response[0].location} {caplog.text}"
    assert "lab://me@host/" in shown
    assert "hunter2" not in shown
    assert b"hunter2" not in pickle.dumps(response)


async def test_a_path_alone_is_asked_for_where_no_url_can_be_written(client: AsyncClient, lab: Lab) -> None:
    async with client:
        response = await client.images.generate("a cat")
        with pytest.raises(InvalidRequestError, match="must be a local path"):
            response[0].save("lab://b/cat.png")
        with pytest.raises(InvalidRequestError, match="must be a local path"):
            await client.files.download("file-1", "lab://b/file")


class _Discarding(_SPEC.AbstractFileSystem):  # type: ignore[misc]
    """A file system that keeps hashes only, as a store far away."""

    protocol = "s3"
    cachable = False
    found: dict[str, Any] = {}  # noqa: RUF012 - shared by all instances

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any) -> Any:
        outer = self.found

        class File(_SPEC.AbstractBufferedFile):  # type: ignore[misc]
            def _initiate_upload(self) -> None:
                self.hashed, self.length = hashlib.md5(), 0

            def _upload_chunk(self, final: bool = False) -> None:
                data = self.buffer.getbuffer()
                self.hashed.update(data)
                self.length += len(data)
                if final:
                    outer[path] = {
                        "size": self.length,
                        "ETag": f'"{self.hashed.hexdigest()}"',
                        "type": "file",
                    }

        return File(self, path, mode, block_size)

    def info(self, path: str, **kwargs: Any) -> Any:
        try:
            return self.found[path]
        except KeyError:
            raise FileNotFoundError(path) from None


@pytest.mark.one_loop
async def test_an_upload_holds_a_few_parts_in_memory_whatever_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY._registry, "s3", _Discarding)
    size = 40 * 1024 * 1024
    (tmp_path / "large").touch()
    with (tmp_path / "large").open("r+b") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        content = await anyio.to_thread.run_sync(
            lambda: upload(tmp_path / "large", RemotePath("s3://b/large"), replace=True)
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert content.size == size
    assert peak < 16 * 1024 * 1024
    same = Content("unknown", size, content.tag)
    assert holds(RemotePath("s3://b/large"), same)  # by its hash alone
    assert holds(RemotePath("s3://b/other"), same) is None

"""Output files on a server of S3: moto's, with s3fs as it is used in production."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from imagesdk import AsyncClient
from imagesdk._media import remote_files
from imagesdk._media.remote_files import Content, holds, read, upload
from imagesdk._media.remote_path import RemotePath
from tests.support.billing_server import BillingServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.engines,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MIB = 1024 * 1024
KEY, SECRET = "AKIAEXAMPLE", "wJalrXUtnFEMIexample"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = import_module("moto.server").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Configure fsspec as its documentation says, and return the file system with an empty bucket."""
    conf = import_module("fsspec.config").conf
    monkeypatch.setitem(conf, "s3", {"endpoint_url": endpoint, "key": KEY, "secret": SECRET})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(remote_files, "_checked", set[RemotePath]())
    fs = import_module("fsspec").filesystem("s3")
    if fs.exists("bucket"):
        fs.rm("bucket", recursive=True)
    fs.mkdir("bucket")
    return fs


@pytest.fixture
def client(server: BillingServer, make_client: Callable[..., AsyncClient]) -> AsyncClient:
    return make_client(server.base_url)


def keys(fs: Any) -> list[str]:
    fs.invalidate_cache()
    return sorted(fs.find("bucket"))


def open_uploads(fs: Any) -> int:
    return len(fs.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads", []))


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 12 * MIB])
def test_an_object_of_any_size_is_verified_by_its_etag(
    s3: Any, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    read_back: list[str] = []

    def sha256(fs: Any, name: str) -> str:
        read_back.append(name)
        return ""

    monkeypatch.setattr(remote_files, "_sha256", sha256)
    content = upload(tmp_path / "file", RemotePath("s3://bucket/a/file.png"), replace=True)
    assert (content.size, read_back) == (size, [])
    assert holds(RemotePath("s3://bucket/a/file.png"), content)
    assert holds(RemotePath("s3://bucket/a/none.png"), content) is None
    assert read(RemotePath("s3://bucket/a/file.png")) == (tmp_path / "file").read_bytes()
    assert keys(s3) == ["bucket/a/file.png"]


@pytest.mark.parametrize("size", [100, 6 * MIB])
def test_an_object_of_another_program_is_not_replaced_although_it_appears_during_the_upload(
    s3: Any, tmp_path: Path, size: int
) -> None:
    path = RemotePath("s3://bucket/cat.png")
    (tmp_path / "file").write_bytes(os.urandom(size))

    def other_program_comes_first() -> bool:
        s3.pipe_file("bucket/cat.png", b"of another program")
        return False

    with pytest.raises(FileExistsError):
        upload(tmp_path / "file", path, replace=False, is_stopped=other_program_comes_first)
    assert read(path) == b"of another program"
    assert open_uploads(s3) == 0
    upload(tmp_path / "file", path, replace=True)
    assert (
        upload(tmp_path / "file", path, replace=False).size == size
    )  # a repeated request finds its own object


def test_an_object_with_another_kind_of_etag_is_read_back(s3: Any, tmp_path: Path) -> None:
    path = RemotePath("s3://bucket/cat.png")
    (tmp_path / "file").write_bytes(b"an image")
    content = upload(tmp_path / "file", path, replace=True)
    assert holds(path, Content(content.sha256, content.size, "etag of a key of the customer"))
    assert holds(path, Content("another", content.size, "etag of a key of the customer")) is False


async def test_calls_and_runs_put_their_images_into_the_bucket(
    client: AsyncClient, server: BillingServer, s3: Any, tmp_path: Path
) -> None:
    async with client:
        response = await client.images.generate("pair of cats", n=2, out="s3://bucket/calls/{index}.{ext}")
        assert [image.location for image in response] == [f"s3://bucket/calls/{i}.png" for i in (0, 1)]
        options: dict[str, Any] = {"out": "s3://bucket/run/{id}.{ext}", "journal": tmp_path / "run.db"}
        async with client.images.fan_out([f"job {i}" for i in range(20)], **options) as run:
            assert {outcome.status for outcome in await run.collect()} == {"done"}
        assert len(keys(s3)) == 22
        async with client.images.fan_out([f"job {i}" for i in range(20)], **options) as run:
            assert all(outcome.resumed for outcome in await run.collect())
    assert sum(server.billed.values()) == 21
    assert SECRET.encode() not in (tmp_path / "run.db").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


async def test_a_bucket_that_does_not_exist_is_an_error_before_anything_is_sent(
    client: AsyncClient, server: BillingServer, s3: Any
) -> None:
    async with client:
        with pytest.raises(FileNotFoundError, match="s3://absent/cats"):
            await client.images.generate("a cat", out="s3://absent/cats/")
    assert server.asked == []


async def test_a_cancelled_upload_leaves_neither_an_object_nor_its_parts(s3: Any, tmp_path: Path) -> None:
    from imagesdk._calls.file_names import upload as upload_in_thread

    (tmp_path / "file").write_bytes(os.urandom(16 * MIB))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            path = RemotePath("s3://bucket/cat.png")
            tasks.start_soon(lambda: upload_in_thread(tmp_path / "file", path, replace=True))
            while not open_uploads(s3):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert keys(s3) == []
    assert open_uploads(s3) == 0

"""``client.files`` against the emulator over a socket, and with wrong responses."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from imagesdk import (
    APIResponseError,
    AsyncClient,
    Client,
    FileId,
    FileObject,
    InvalidRequestError,
    NotFoundError,
    RateLimit,
    RetryPolicy,
)
from imagesdk.emulator import Emulator
from tests.support.small_images import png
from tests.support.socket_servers import always, in_turn, says, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

LARGE = png(2, 2, padding=3 * 1024**2)


@pytest.fixture
async def client(
    emulator: Emulator, make_client: Callable[..., AsyncClient]
) -> AsyncGenerator[AsyncClient, None]:
    async with make_client(emulator.base_url) as client:
        yield client


async def test_a_file_is_uploaded_looked_up_listed_and_deleted(client: AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "lounge.png"
    path.write_bytes(LARGE)
    file = await client.files.upload(path, expires_after=3600)
    assert (file.filename, file.bytes, file.purpose) == ("lounge.png", len(LARGE), "vision")
    assert file.created is not None
    assert file.expires_at is not None
    assert (file.expires_at - file.created).total_seconds() == 3600
    assert await client.files.retrieve(file) == file
    assert await client.files.retrieve(file.id) == await client.files.retrieve(FileId(file.id)) == file
    assert await client.files.list(purpose="vision") == (file,)
    assert await client.files.list(purpose="batch") == ()
    assert await client.files.delete(file) is True
    with pytest.raises(NotFoundError) as caught:
        await client.files.retrieve(file)
    assert not caught.value.maybe_billed


@pytest.mark.parametrize("kind", ["bytes", "file", "name"])
async def test_an_uploaded_file_is_downloaded_unchanged(
    client: AsyncClient, tmp_path: Path, kind: str
) -> None:
    lines = b'{"custom_id": "r1"}\n'
    source: Any = {"bytes": lines, "file": io.BytesIO(lines), "name": str(tmp_path / "r.jsonl")}[kind]
    (tmp_path / "r.jsonl").write_bytes(lines)
    file = await client.files.upload(source, "batch", filename="requests.jsonl")
    assert file.filename == "requests.jsonl"
    assert await client.files.content(file) == lines
    to = tmp_path / "back.jsonl"
    assert await client.files.download(file, to) == to
    assert to.read_bytes() == lines
    assert sorted(each.name for each in tmp_path.iterdir()) == ["back.jsonl", "r.jsonl"]


async def test_a_page_of_the_list_follows_another(client: AsyncClient) -> None:
    files = [await client.files.upload(png(), filename=f"{number}.png") for number in range(3)]
    first = await client.files.list(limit=2)
    second = await client.files.list(limit=2, after=first[-1].id)
    assert {file.id for file in first + second} == {file.id for file in files}
    assert len(first) == 2


def test_files_work_in_blocking_code(emulator: Emulator) -> None:
    with Client(base_url=emulator.base_url, api_key="", rate_limit=None) as client:
        file = client.files.upload(png(), filename="a.png")
        assert client.files.content(file) == png()
        assert client.files.delete(file)


async def test_uploads_do_not_count_as_images_of_the_rate_limit(
    emulator: Emulator, make_client: Callable[..., AsyncClient]
) -> None:
    limit = RateLimit(1, per=1000, scope="client")
    async with make_client(emulator.base_url, rate_limit=limit) as client:
        for _ in range(3):
            await client.files.upload(png(), timeout=5)


@pytest.mark.parametrize("name", ["", "..", "file-1/../../images", "file 1", "file-1?x", "a\n", "." * 5])
async def test_an_invalid_id_is_refused_before_anything_is_sent(client: AsyncClient, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="file-abc123") as caught:
        await client.files.retrieve(name)
    assert caught.value.param == "file"


@pytest.mark.parametrize("seconds", [3599, 2_592_001, 3600.5, True])
async def test_an_expiry_outside_the_allowed_range_is_refused(client: AsyncClient, seconds: Any) -> None:
    with pytest.raises(InvalidRequestError, match="3600 to 2592000 seconds"):
        await client.files.upload(png(), expires_after=seconds)


async def test_a_purpose_is_needed(client: AsyncClient) -> None:
    with pytest.raises(InvalidRequestError, match="vision"):
        await client.files.upload(png(), " ")


async def test_a_failed_lookup_is_retried(
    make_client: Callable[..., AsyncClient],
) -> None:
    described = json.dumps({"id": "file-1", "object": "file", "note": "kept"}).encode()
    handler = in_turn(says(b"", 500), says(b"", 503), says(b"{}"), says(described))
    policy = RetryPolicy(backoff=0, delivery="at_most_once")
    async with serving(handler) as server, make_client(server.base_url, retry=policy) as client:
        file = await client.files.retrieve("file-1")
    assert file == FileObject("file-1", extra={"note": "kept"})
    assert [sent.line.split()[:2] for sent in server.requests] == [["GET", "/v1/files/file-1"]] * 4
    assert all(sent.body == b"" for sent in server.requests)


@pytest.mark.parametrize("message", [b"[]", b'{"id": 5}', b"<html>"])
async def test_a_response_without_a_file_is_an_error_that_bills_nothing(
    make_client: Callable[..., AsyncClient], message: bytes
) -> None:
    async with serving(always(message)) as server, make_client(server.base_url) as client:
        with pytest.raises(APIResponseError) as caught:
            await client.files.retrieve("file-1", timeout=5)
    assert not caught.value.maybe_billed


async def test_a_failed_download_leaves_no_file(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    async with serving(always(b"no such file", 404)) as server, make_client(server.base_url) as client:
        with pytest.raises(NotFoundError):
            await client.files.download("file-1", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []

"""Fetching result URLs: from where, with what, and how often."""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx

from imagesdk import AsyncClient, Caps, DownloadError, Image, ImageNotLoadedError, Remedy
from tests.support.small_images import JPEG, answer_of_urls, png
from tests.support.socket_servers import Conversation, always, in_turn, says, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]
Names: TypeAlias = dict[str, list[str]]

SMALL = png()
PUBLIC = "93.184.216.34"
OWN = "https://images.test/v1"


@pytest.fixture
def name_service(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses that host names have."""
    known: dict[str, list[str]] = {}

    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        await anyio.lowlevel.checkpoint()
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(anyio, "getaddrinfo", look_up)
    return known


@pytest.fixture
async def own(make_client: MakeClient) -> AsyncIterator[AsyncClient]:
    async with make_client(OWN, api_key="sk-1", organization="org-1") as client:
        yield client


async def test_the_key_is_not_sent_to_the_server_of_the_images(make_client: MakeClient) -> None:
    async with serving(always(SMALL)) as server:
        async with make_client(server.base_url, api_key="sk-1", organization="org-1") as client:
            assert await client.images.download(f"{server.origin}/images/cat.png?sig=1") == SMALL

        (sent,) = server.requests
        assert sent.line == "GET /images/cat.png?sig=1 HTTP/1.1"
        assert not {"authorization", "openai-organization", "idempotency-key"} & set(sent.headers)
        assert sent.headers["user-agent"].startswith("imagesdk/")
        assert sent.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("url", ["/images/cat.png", "../images/cat.png", "{origin}/images/cat.png"])
async def test_a_url_on_the_server_s_own_origin_is_always_fetched(make_client: MakeClient, url: str) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.answer(answer_of_urls(url.format(origin=talk.server.origin)))
        await talk.request()
        await talk.answer(SMALL)

    async with serving(handler) as server, make_client(server.base_url) as client:
        response = await client.images.generate("a cat")
        assert await client.images.download(response[0]) == SMALL

        assert server.requests[1].line == "GET /images/cat.png HTTP/1.1"


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]", "LOCALHOST", "127.0.0.2"]
)
async def test_the_server_is_recognised_by_the_other_names_of_this_machine(
    make_client: MakeClient, host: str
) -> None:
    async with serving(always(SMALL)) as server, make_client(server.base_url, api_key="sk-1") as client:
        assert await client.images.download(f"http://{host}:{server.port}/images/cat.png?sig=1") == SMALL

        (sent,) = server.requests
        assert (sent.line, sent.headers["host"]) == (
            "GET /images/cat.png?sig=1 HTTP/1.1",
            f"127.0.0.1:{server.port}",
        )
        assert "authorization" not in sent.headers


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://127.0.0.1:9/v1", "http://localhost:10/cat.png"),
        ("http://127.0.0.1:9/v1", "http://localhost/cat.png"),
        ("http://127.0.0.1:9/v1", "http://10.0.0.1:9/cat.png"),
        ("http://127.0.0.1:9/v1", "http://127.1:9/cat.png"),
        ("http://images.lan:9/v1", "http://localhost:9/cat.png"),
        ("https://images.test/v1", "https://127.0.0.1/cat.png"),
        ("https://images.test/v1", "https://0.0.0.0/cat.png"),
    ],
)
async def test_no_other_program_on_this_machine_is_asked_and_the_error_names_the_ways_out(
    make_client: MakeClient, base_url: str, url: str
) -> None:
    async with make_client(base_url) as client:
        with respx.mock, pytest.raises(DownloadError) as caught:
            await client.images.download(url)
    host = urlsplit(url).hostname or ""
    assert caught.value.remedies == (Remedy.ASK_FOR_BASE64, Remedy.TRUST_RESULT_HOST.of(host))
    assert 'response_format="b64_json"' in str(caught.value)
    assert f"trusted_result_hosts=['{host}']" in str(caught.value)


async def test_the_hosts_that_the_caller_trusts_are_fetched_from_and_no_others(
    make_client: MakeClient,
) -> None:
    async with make_client(OWN, api_key="sk-1", trusted_result_hosts=["Images.LAN", "[fd00::1]"]) as client:
        with respx.mock as wire:
            plain = wire.get("http://images.lan:8080/cat.png").respond(content=SMALL)
            wire.get("https://[fd00::1]/cat.png").respond(content=SMALL)
            assert await client.images.download("http://images.lan:8080/cat.png") == SMALL
            assert await client.images.download("https://[fd00::1]/cat.png") == SMALL
            assert "authorization" not in plain.calls.last.request.headers
            for url in (
                "http://more.images.lan/cat.png",
                "http://images.lan.test/cat.png",
                "ftp://images.lan/cat.png",
            ):
                with pytest.raises(DownloadError):
                    await client.images.download(url)

        view = client.with_options(trusted_result_hosts=[])
        with respx.mock, pytest.raises(DownloadError, match="not https"):
            await view.images.download("http://images.lan:8080/cat.png")


async def test_a_redirect_leads_to_a_trusted_host_and_to_no_private_one(make_client: MakeClient) -> None:
    async with make_client(OWN, trusted_result_hosts=("images.lan",)) as client:
        for location, trusted in (("http://images.lan/cat.png", True), ("http://10.0.0.1/cat.png", False)):
            with respx.mock(assert_all_called=False) as wire:
                wire.get("https://images.test/v1/cat.png").respond(302, headers={"location": location})
                wire.get("http://images.lan/cat.png").respond(content=SMALL)
                if trusted:
                    assert await client.images.download("cat.png") == SMALL
                    continue
                with pytest.raises(DownloadError, match="not https"):
                    await client.images.download("cat.png")


NOT_HTTPS = ("http://elsewhere.test/cat.png", "ftp://elsewhere.test/cat.png", "http://images.test/cat.png")
INVALID = ("http://[", "https://a.test:99999/x.png", "https://[::1")


@pytest.mark.parametrize(
    ("urls", "message"),
    [((*NOT_HTTPS, "file:///etc/passwd", "data:image/png;base64,AAAA"), "not https"), (INVALID, "not a URL")],
)
async def test_urls_of_other_servers_must_be_valid_and_https(
    own: AsyncClient, urls: tuple[str, ...], message: str
) -> None:
    for url in urls:
        with respx.mock, pytest.raises(DownloadError, match=message):
            await own.images.download(url)


async def test_the_connection_goes_to_the_checked_address(own: AsyncClient, name_service: Names) -> None:
    name_service["cats.test"] = [PUBLIC, "1.1.1.1"]
    name_service["six.test"] = ["2606:2800:220:1::1"]

    with respx.mock as wire:
        four = wire.get(f"https://{PUBLIC}/cat.png?sig=1").respond(content=SMALL)
        six = wire.get("https://[2606:2800:220:1::1]:8443/cat.png").respond(content=SMALL)
        assert await own.images.download("https://cats.test/cat.png?sig=1#top") == SMALL
        assert await own.images.download("https://six.test:8443/cat.png") == SMALL

    request: httpx.Request = four.calls.last.request
    assert request.headers["host"] == "cats.test"
    assert request.extensions["sni_hostname"] == "cats.test"
    assert "authorization" not in request.headers
    assert six.calls.last.request.headers["host"] == "six.test:8443"


async def test_an_unknown_host_is_an_error_after_the_retries(own: AsyncClient, name_service: Names) -> None:
    assert name_service == {}

    with pytest.raises(DownloadError, match=r"cats\.test has no address") as caught:
        await own.images.download("https://cats.test/cat.png")

    assert caught.value.status_code is None


async def test_redirects_are_followed_a_few_times(make_client: MakeClient) -> None:
    moves = [says(b"", 302, location=f"/step{number}.png") for number in range(3)]
    async with serving(in_turn(*moves, says(SMALL))) as server, make_client(server.base_url) as client:
        assert await client.images.download("/cat.png") == SMALL
        assert [sent.line.split()[1] for sent in server.requests][-1] == "/step2.png"

    async with serving(always(b"", 302, location="/again")) as server:
        async with make_client(server.base_url) as client:
            with pytest.raises(DownloadError, match="too many redirects"):
                await client.images.download("/cat.png")
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://elsewhere.test/cat.png", "not https"),
        ("//127.0.0.1:1/cat.png", "not https"),
        ("https://inside.test/cat.png", "private address"),
        ("https://10.0.0.1/latest/meta-data", "private address"),
    ],
)
async def test_every_step_of_a_redirect_is_checked(
    make_client: MakeClient, name_service: Names, location: str, message: str
) -> None:
    name_service.update({"inside.test": ["10.0.0.1"], "10.0.0.1": ["10.0.0.1"]})

    async with serving(always(b"", 307, location=location)) as server, make_client(server.base_url) as client:
        with pytest.raises(DownloadError, match=message):
            await client.images.download("/cat.png")
        assert len(server.requests) == 1


async def test_transient_failures_are_retried_without_generating_again(make_client: MakeClient) -> None:
    async def cut(talk: Conversation) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + SMALL)
        talk.hang_up()

    steps = (says(b"", 503, retry_after="0.01"), cut, says(b"", 429), says(SMALL))
    async with serving(in_turn(*steps)) as server, make_client(server.base_url) as client:
        assert await client.images.download("/cat.png") == SMALL
        assert [sent.line.split()[0] for sent in server.requests] == ["GET"] * 4


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_an_expired_url_is_an_error_and_not_retried(make_client: MakeClient, status: int) -> None:
    async with serving(always(b"<Error/>", status)) as server, make_client(server.base_url) as client:
        with pytest.raises(DownloadError, match="result URLs expire") as caught:
            await client.images.download("/cat.png?sig=secret")
        assert len(server.requests) == 1

    assert caught.value.status_code == status
    assert caught.value.response is None
    assert "secret" not in str(caught.value)


async def test_retries_end_with_the_last_status(make_client: MakeClient) -> None:
    for retry_after, attempts in (("0", 4), ("3600", 1)):
        handler = always(b"", 503, retry_after=retry_after)
        async with serving(handler) as server, make_client(server.base_url) as client:
            with pytest.raises(DownloadError, match="status 503") as caught:
                await client.images.download("/cat.png")
            assert len(server.requests) == attempts
        assert caught.value.status_code == 503


async def test_an_image_beyond_the_cap_is_aborted(make_client: MakeClient) -> None:
    caps = Caps(image=1000)
    for handler in (always(bytes(1001)), always(gzip.compress(bytes(100_000)), content_encoding="gzip")):
        async with serving(handler) as server, make_client(server.base_url, caps=caps) as client:
            with pytest.raises(DownloadError, match="larger than 1000 bytes"):
                await client.images.download("/cat.png")
            assert len(server.requests) == 1


async def test_a_compressed_image_is_decompressed(make_client: MakeClient) -> None:
    packed = gzip.compress(SMALL)
    whole, cut = (says(body, content_encoding="gzip") for body in (packed, packed[:-9]))
    async with serving(in_turn(whole, cut)) as server, make_client(server.base_url) as client:
        assert await client.images.download("/cat.png") == SMALL
        with pytest.raises(DownloadError, match="too early"):
            await client.images.download("/cat.png")


async def test_a_server_that_hangs_is_left_at_the_time_out(make_client: MakeClient) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        await talk.dropped()
        left.set()

    async with serving(handler) as server, make_client(server.base_url) as client:
        with pytest.raises(DownloadError, match=r"within 0\.2 s"):
            await client.images.download("/cat.png", timeout=0.2)
        await left.wait()
        assert server.connections == 1


async def test_a_loaded_image_is_written_without_a_server(own: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "stored.jpg").write_bytes(JPEG)
    loaded = Image(index=3, media_type="image/png", data=SMALL, url="https://elsewhere.test/cat.png")
    stored = Image(path=tmp_path / "stored.jpg")

    with respx.mock:
        assert await own.images.download(loaded, to=tmp_path / "new" / "cat.png") == SMALL
        assert await own.images.download(loaded, to=tmp_path) == SMALL
        assert await own.images.download(stored) == JPEG
        with pytest.raises(ImageNotLoadedError):
            await own.images.download(Image())

    assert (tmp_path / "new" / "cat.png").read_bytes() == SMALL
    assert (tmp_path / "image-3.png").read_bytes() == SMALL


async def test_a_downloaded_image_is_named_after_its_format(make_client: MakeClient, tmp_path: Path) -> None:
    async with serving(always(JPEG)) as server, make_client(server.base_url) as client:
        await client.images.download("/cat.png", to=f"{tmp_path}/")
        await client.images.download("/cat.png", to=str(tmp_path / "mine.png"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["image-0.jpg", "mine.png"]

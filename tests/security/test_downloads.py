"""Downloads cannot be turned against the caller: addresses, names that change, credentials, and pages for images."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx

from imagesdk import AsyncClient, DownloadError, RetryPolicy
from tests.support.certificates import Authority
from tests.support.leaks import KEY, exposed
from tests.support.proxy_servers import Proxy
from tests.support.small_images import answer_of_urls, png
from tests.support.socket_servers import always, in_turn, says, serving

pytestmark = pytest.mark.anyio

SMALL = png()
PUBLIC = "93.184.216.34"
HTTP_CLIENTS = pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])


class Resolver:
    """A name service that gives each of its answers once, and the last one again and again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        await anyio.lowlevel.checkpoint()
        self.asked.append(host)
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(anyio, "getaddrinfo", resolver)
    return resolver


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    retry = RetryPolicy(backoff=0)
    async with AsyncClient(
        base_url="https://api.test/v1", api_key=KEY, rate_limit=None, retry=retry
    ) as client:
        yield client


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b::7f00:1",  # 127.0.0.1 and 10.0.0.1 by way of NAT64, https://www.rfc-editor.org/rfc/rfc6052
        "64:ff9b::a00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::1",  # by way of 6to4
        "2002:a00:1::1",
        "2001:0:7f00:1::1",  # Teredo
        "::7f00:1",  # addresses of IPv4 within IPv6, as they were written once
        "::a00:1",
        "::ffff:0:a00:1",
        "::ffff:a9fe:a9fe",
        "::ffff:6440:1",
        "fec0::1",  # site-local, as it was once
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",  # where clouds keep credentials for their machines
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        *("192.0.0.192", "198.18.0.1", "192.168.255.255", "172.16.0.1", "240.0.0.1", "255.255.255.255"),
        *("0.1.2.3", "2001:db8::1", "ff0e::1", "100::1", "::"),
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1"),
    ],
)
async def test_no_connection_is_opened_to_an_address_that_leads_inside(
    address: str, resolver: Resolver, client: AsyncClient
) -> None:
    resolver.answers["images.test"] = [[address], [PUBLIC, address]]
    for _ in range(2):
        with respx.mock, pytest.raises(DownloadError, match="private address"):
            await client.images.download("https://images.test/cat.png")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"],
)
async def test_no_notation_of_this_machine_s_address_is_fetched_from(host: str, client: AsyncClient) -> None:
    with respx.mock, pytest.raises(DownloadError, match=r"private address|has no address|not a URL"):
        await client.images.download(f"https://{host}/cat.png")


@pytest.mark.parametrize("address", ["64:ff9b::5db8:d822", "::ffff:93.184.216.34", "2606:2800:220:1::1"])
async def test_public_addresses_are_fetched_from_however_they_are_reached(
    address: str, resolver: Resolver, client: AsyncClient
) -> None:
    resolver.answers["images.test"] = [[address]]
    with respx.mock as wire:
        wire.get(f"https://[{address}]/cat.png").respond(content=SMALL)
        assert await client.images.download("https://images.test/cat.png") == SMALL


@pytest.mark.parametrize(
    ("status", "headers", "then"),
    [(503, {}, ["10.0.0.1"]), (302, {"location": "/moved.png"}, [PUBLIC, "::ffff:169.254.169.254"])],
    ids=["retry", "redirect"],
)
async def test_the_address_of_a_name_is_checked_again_on_each_retry_and_redirect(
    status: int, headers: dict[str, str], then: list[str], resolver: Resolver, client: AsyncClient
) -> None:
    resolver.answers["images.test"] = [[PUBLIC], then]
    with respx.mock as wire:
        public = wire.get(f"https://{PUBLIC}/cat.png").respond(status, headers=headers)
        with pytest.raises(DownloadError, match=r"private address \(.*(10\.0\.0\.1|169\.254\.169\.254)\)"):
            await client.images.download("https://images.test/cat.png")
    assert public.call_count == 1
    assert resolver.asked == ["images.test"] * 2


@pytest.mark.parametrize("name", ["images.test", "another.test"])
async def test_the_checked_address_is_connected_to_and_must_prove_its_name(
    name: str, resolver: Resolver, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that opens every tunnel to this machine sees where the client wants to go."""
    authority.is_known(monkeypatch)
    resolver.answers[name] = [[PUBLIC], ["127.0.0.1"]]
    proxy = Proxy()
    async with serving(proxy.handler) as front, serving(authority.secured(always(SMALL))) as server:
        monkeypatch.setenv("HTTPS_PROXY", front.origin)
        url = f"https://{name}:{server.port}/cat.png?sig=signature"
        async with AsyncClient(
            base_url="https://api.test/v1",
            api_key=KEY,
            organization="org-1",
            retry=RetryPolicy(max_attempts=1),
        ) as client:
            if name == "images.test":
                assert await client.images.download(url) == SMALL
            else:
                with pytest.raises(DownloadError, match="could not be fetched"):
                    await client.images.download(url)

        (tunnel,) = front.requests
        assert tunnel.line == f"CONNECT {PUBLIC}:{server.port} HTTP/1.1"
        seen = repr(tunnel.headers).encode() + tunnel.body + bytes(proxy.tunnelled)
        assert [word for word in (KEY, "org-1", "signature", "cat.png") if word.encode() in seen] == []
        assert len(server.requests) == (name == "images.test")
        for sent in server.requests:
            assert sent.headers["host"] == f"{name}:{server.port}"
            assert not {"authorization", "openai-organization"} & set(sent.headers)
    assert resolver.asked == [name]


@HTTP_CLIENTS
async def test_a_download_keeps_no_cookie_and_sends_none(http_client: Any) -> None:
    cookie = "session=1; path=/"
    steps = (
        says(b"", 302, location="/moved.png", set_cookie=cookie),
        says(SMALL, set_cookie=cookie),
        says(SMALL),
    )
    async with exposed(in_turn(*steps), http_client=http_client) as (client, server):
        await client.images.download("/cat.png")
        await client.images.download("/cat.png")
        assert len(server.requests) == 3
        assert all("cookie" not in sent.headers for sent in server.requests)


@HTTP_CLIENTS
async def test_no_credentials_come_from_a_url_or_from_a_file_of_passwords(
    http_client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    steps = (says(answer_of_urls("/cat.png")), says(SMALL), says(SMALL))
    async with exposed(in_turn(*steps), api_key="", http_client=http_client) as (client, server):
        await client.images.generate("a cat", out=tmp_path / "out")
        await client.images.download(f"http://me:secret@127.0.0.1:{server.port}/cat.png")
        assert len(server.requests) == 3
        for sent in server.requests:
            assert "authorization" not in sent.headers
            assert sent.headers["host"] == f"127.0.0.1:{server.port}"


async def test_credentials_in_a_url_are_not_sent_or_shown(resolver: Resolver, client: AsyncClient) -> None:
    resolver.answers["images.test"] = [[PUBLIC], ["10.0.0.1"]]
    url = "https://me:secret@images.test/cat.png?sig=signature#secret"
    with respx.mock as wire:
        route = wire.get(f"https://{PUBLIC}/cat.png?sig=signature").respond(content=SMALL)
        assert await client.images.download(url) == SMALL
        with pytest.raises(DownloadError) as caught:
            await client.images.download(url)
    headers = route.calls.last.request.headers
    assert headers["host"] == "images.test"
    assert "authorization" not in headers
    assert "secret" not in str(caught.value)
    assert "signature" not in str(caught.value)


async def test_an_image_that_is_its_own_url_is_not_shown_whole(client: AsyncClient) -> None:
    with respx.mock, pytest.raises(DownloadError, match=r"not https|not a URL") as caught:
        await client.images.download("data:image/png;base64," + "A" * 100_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"<html>Sign in to see this picture.</html>", "text/html; charset=utf-8"),
        (b'{"error": "no"}', "application/json"),
        (b"not found", "text/plain"),
    ],
)
async def test_a_page_is_not_taken_for_an_image(body: bytes, media_type: str, tmp_path: Path) -> None:
    page = says(body, content_type=media_type)
    steps = (says(answer_of_urls("/cat.png")), page, page)
    async with exposed(in_turn(*steps), retry=RetryPolicy(backoff=0)) as (client, server):
        with pytest.raises(DownloadError, match=media_type.partition(";")[0]) as caught:
            await client.images.generate("a cat", out=tmp_path)
        with pytest.raises(DownloadError, match="is not an image"):
            await client.images.download("/cat.png", to=tmp_path / "cat.png")
        assert len(server.requests) == 3
    assert caught.value.response is not None
    assert caught.value.response[0].url == "/cat.png"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("called", ["image/png", "", "application/octet-stream", "image/webp; charset=utf-8"])
@pytest.mark.parametrize("body", [b"<!doctype html>\n<p>Gone.", '{"error": "fort, \u00e9"}'.encode(), b"no"])
async def test_a_page_that_is_called_an_image_is_none(body: bytes, called: str, tmp_path: Path) -> None:
    async with exposed(always(body, content_type=called)) as (client, _):
        with pytest.raises(DownloadError, match="is not an image but text"):
            await client.images.download("/cat.png", to=tmp_path / "cat.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\x0a" + bytes(range(256)), {"content_type": "image/jxl"}),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", {"content_type": ""}),
        (b"<!-- " + b"a" * 2000 + b" --><svg/>", {"content_type": "image/svg+xml"}),
        (b"P3 1 1 255 0 0 0", {"content_type": "image/x-portable-pixmap"}),
        (SMALL, {}),
        (SMALL, {"content_type": "text/plain"}),
        (SMALL, {"content_type": "application/octet-stream"}),
    ],
)
async def test_an_image_is_one_whatever_its_server_calls_it(body: bytes, headers: dict[str, str]) -> None:
    async with exposed(always(body, 200, **headers)) as (client, _):
        assert await client.images.download("/cat") == body

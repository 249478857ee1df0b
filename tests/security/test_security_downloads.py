"""Downloads cannot be turned against the caller: addresses, names that change, credentials, and pages for pictures."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx

from imagesdk import AsyncClient, DownloadError, RetryPolicy
from tests.support.certificates import Authority
from tests.support.leaks import KEY
from tests.support.proxy_servers import Proxy
from tests.support.small_images import answer_of_urls, png
from tests.support.socket_servers import Conversation, always, in_turn, says, serving

pytestmark = pytest.mark.anyio

SMALL = png()
PUBLIC = "93.184.216.34"
OWN = "https://images.test/v1"
ONCE = RetryPolicy(max_attempts=1)
MakeClient: TypeAlias = Callable[..., AsyncClient]
HTTP_CLIENTS = pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])


class Resolver:
    """A name service that says each of its answers once, and the last for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        await anyio.lowlevel.checkpoint()
        self.asked.append(host)
        said = self.answers[host]
        addresses = said.pop(0) if len(said) > 1 else said[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(anyio, "getaddrinfo", resolver)
    return resolver


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
        "192.0.0.192",
        "198.18.0.1",
        "192.168.255.255",
        "172.16.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "0.1.2.3",
        "2001:db8::1",
        "ff0e::1",
        "100::1",
        "::",
    ],
)
async def test_an_address_that_leads_inside_is_not_connected_to(
    address: str, resolver: Resolver, make_client: MakeClient
) -> None:
    resolver.answers["pictures.test"] = [[address]]

    async with make_client(OWN, api_key=KEY) as client:
        with respx.mock, pytest.raises(DownloadError, match="private address"):
            await client.images.download("https://pictures.test/cat.png")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"],
)
async def test_no_way_of_writing_this_machine_gets_past(host: str, make_client: MakeClient) -> None:
    async with make_client(OWN, api_key=KEY, retry=ONCE) as client:
        with respx.mock, pytest.raises(DownloadError, match=r"private address|has no address|not a URL"):
            await client.images.download(f"https://{host}/cat.png")


@pytest.mark.parametrize("address", ["64:ff9b::5db8:d822", "::ffff:93.184.216.34", "2606:2800:220:1::1"])
async def test_public_addresses_are_fetched_from_however_they_are_reached(
    address: str, resolver: Resolver, make_client: MakeClient
) -> None:
    resolver.answers["pictures.test"] = [[address]]

    async with make_client(OWN) as client:
        with respx.mock as wire:
            wire.get(f"https://[{address}]/cat.png").respond(content=SMALL)
            assert await client.images.download("https://pictures.test/cat.png") == SMALL


async def test_a_name_that_changes_its_address_is_never_followed_inside(
    resolver: Resolver, make_client: MakeClient
) -> None:
    resolver.answers["pictures.test"] = [[PUBLIC], ["10.0.0.1"]]

    async with make_client(OWN) as client:
        with respx.mock as wire:
            public = wire.get(f"https://{PUBLIC}/cat.png").respond(503)
            with pytest.raises(DownloadError, match=r"private address \(10\.0\.0\.1\)"):
                await client.images.download("https://pictures.test/cat.png")

    assert public.call_count == 1
    assert resolver.asked == ["pictures.test"] * 2


async def test_a_redirect_to_a_name_that_has_changed_is_checked_anew(
    resolver: Resolver, make_client: MakeClient
) -> None:
    resolver.answers["pictures.test"] = [[PUBLIC], [PUBLIC, "::ffff:169.254.169.254"]]

    async with make_client(OWN) as client:
        with respx.mock as wire:
            wire.get(f"https://{PUBLIC}/cat.png").respond(302, headers={"location": "/moved.png"})
            with pytest.raises(DownloadError, match="private address"):
                await client.images.download("https://pictures.test/cat.png")

    assert resolver.asked == ["pictures.test"] * 2


@pytest.mark.parametrize("name", ["images.test", "another.test"])
async def test_the_checked_address_is_connected_to_and_has_to_prove_that_it_is_the_name(
    name: str,
    resolver: Resolver,
    make_client: MakeClient,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy, all of whose roads lead to this machine, sees where the client wants to go."""
    authority.is_known(monkeypatch)
    resolver.answers[name] = [[PUBLIC], ["127.0.0.1"]]
    proxy = Proxy()
    async with serving(proxy.handler) as front, serving(authority.secured(always(SMALL))) as server:
        monkeypatch.setenv("HTTPS_PROXY", front.origin)
        url = f"https://{name}:{server.port}/cat.png?sig=signature"
        terms: dict[str, Any] = {"api_key": KEY, "organization": "org-1", "retry": ONCE}
        async with make_client("https://api.test/v1", **terms) as client:
            if name == "images.test":
                assert await client.images.download(url) == SMALL
            else:
                with pytest.raises(DownloadError, match="could not be fetched"):
                    await client.images.download(url)

        (tunnel,) = front.requests
        assert tunnel.line == f"CONNECT {PUBLIC}:{server.port} HTTP/1.1"
        told = repr(tunnel.headers).encode() + tunnel.body + bytes(proxy.tunnelled)
        assert [word for word in (KEY, "org-1", "signature", "cat.png") if word.encode() in told] == []
        assert len(server.requests) == (name == "images.test")
        for sent in server.requests:
            assert sent.headers["host"] == f"{name}:{server.port}"
            assert not {"authorization", "openai-organization"} & set(sent.headers)
    assert resolver.asked == [name]


@HTTP_CLIENTS
async def test_a_download_takes_no_cookie_and_brings_none(
    http_client: type[httpx.AsyncClient] | None, make_client: MakeClient
) -> None:
    cookie = "session=1; path=/"
    steps = (
        says(b"", 302, location="/moved.png", set_cookie=cookie),
        says(SMALL, set_cookie=cookie),
        says(SMALL),
    )
    async with (
        serving(in_turn(*steps)) as server,
        make_client(server.base_url, http_client=http_client) as client,
    ):
        await client.images.download("/cat.png")
        await client.images.download("/cat.png")

        assert len(server.requests) == 3
        assert all("cookie" not in sent.headers for sent in server.requests)


@HTTP_CLIENTS
async def test_no_credentials_come_from_a_url_or_from_a_file_of_passwords(
    http_client: type[httpx.AsyncClient] | None,
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    steps = (says(answer_of_urls("/cat.png")), says(SMALL), says(SMALL))
    async with (
        serving(in_turn(*steps)) as server,
        make_client(server.base_url, http_client=http_client) as client,
    ):
        await client.images.generate("a cat", out=tmp_path / "out")
        await client.images.download(f"http://me:secret@127.0.0.1:{server.port}/cat.png")

        assert len(server.requests) == 3
        for sent in server.requests:
            assert "authorization" not in sent.headers
            assert sent.headers["host"] == f"127.0.0.1:{server.port}"


async def test_a_url_s_credentials_are_neither_sent_elsewhere_nor_told(
    resolver: Resolver, make_client: MakeClient
) -> None:
    resolver.answers["pictures.test"] = [[PUBLIC], ["10.0.0.1"]]
    url = "https://me:secret@pictures.test/cat.png?sig=signature#secret"

    async with make_client(OWN) as client:
        with respx.mock as wire:
            route = wire.get(f"https://{PUBLIC}/cat.png?sig=signature").respond(content=SMALL)
            assert await client.images.download(url) == SMALL
            with pytest.raises(DownloadError) as caught:
                await client.images.download(url)

    assert route.calls.last.request.headers["host"] == "pictures.test"
    assert "authorization" not in route.calls.last.request.headers
    assert "secret" not in str(caught.value)
    assert "signature" not in str(caught.value)


async def test_a_picture_that_is_its_own_url_is_not_told_whole(make_client: MakeClient) -> None:
    async with make_client(OWN) as client:
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
async def test_a_page_is_not_taken_for_a_picture(
    body: bytes, media_type: str, make_client: MakeClient, tmp_path: Path
) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.answer(answer_of_urls("/cat.png"))
        while True:
            await talk.request()
            await talk.answer(body, content_type=media_type)

    async with serving(handler) as server, make_client(server.base_url) as client:
        with pytest.raises(DownloadError, match=media_type.partition(";")[0]) as caught:
            await client.images.generate("a cat", out=tmp_path)
        with pytest.raises(DownloadError, match="not an image"):
            await client.images.download("/cat.png", to=tmp_path / "cat.png")
        assert len(server.requests) == 3

    assert caught.value.response is not None
    assert caught.value.response[0].url == "/cat.png"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("called", ["image/png", "", "application/octet-stream", "image/webp; charset=utf-8"])
@pytest.mark.parametrize("body", [b"<!doctype html>\n<p>Gone.", '{"error": "fort, \u00e9"}'.encode(), b"no"])
async def test_a_page_that_is_called_a_picture_is_none(
    body: bytes, called: str, make_client: MakeClient, tmp_path: Path
) -> None:
    async with (
        serving(always(body, content_type=called)) as server,
        make_client(server.base_url) as client,
    ):
        with pytest.raises(DownloadError, match="not an image but text"):
            await client.images.download("/cat.png", to=tmp_path / "cat.png")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "called"),
    [
        (b"\xff\x0a" + bytes(range(256)), "image/jxl"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", ""),
        (b"<!-- " + b"a" * 2000 + b" --><svg/>", "image/svg+xml"),
        (b"P3 1 1 255 0 0 0", "image/x-portable-pixmap"),
    ],
)
async def test_a_picture_of_a_format_that_is_not_known_is_one(
    body: bytes, called: str, make_client: MakeClient
) -> None:
    async with serving(always(body, content_type=called)) as server, make_client(server.base_url) as client:
        assert await client.images.download("/cat") == body


async def test_a_picture_is_one_whatever_its_server_calls_it(make_client: MakeClient) -> None:
    for handler in (
        always(SMALL),
        always(SMALL, content_type="text/plain"),
        always(SMALL, content_type="application/octet-stream"),
    ):
        async with serving(handler) as server, make_client(server.base_url) as client:
            assert await client.images.download("/cat.png") == SMALL

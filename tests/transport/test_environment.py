"""Proxies that the environment names: a call takes the way that httpx would take, and the key is kept from them."""

from __future__ import annotations

import pickle
import socket
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from imagesdk import AsyncClient, RetryPolicy, Timeouts, errors
from tests.support.certificates import Authority
from tests.support.proxy_servers import Proxy
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, Handler, RawServer, always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

SMALL = png()
ANSWER = answer(SMALL)
ONCE = RetryPolicy(max_attempts=1)
KEY = "sk-of-the-account"
MakeClient: TypeAlias = Callable[..., AsyncClient]


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """All hosts below .test are this machine."""
    look_up = socket.getaddrinfo

    def look_up_here(host: str | bytes | None, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        return look_up("127.0.0.1" if name.endswith(".test") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)


@pytest.fixture
def known(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that this process trusts."""
    authority.is_known(monkeypatch)
    return authority


def netloc(server: RawServer) -> str:
    return urlsplit(server.origin).netloc


async def error_of(
    client: AsyncClient, kind: Any, match: str | None = None, *, maybe_billed: bool = False
) -> Any:
    """Return the error of a call of a client, after a look at whether it may have been billed."""
    async with client:
        with pytest.raises(kind, match=match) as caught:
            await client.images.generate("a cat")
    assert getattr(caught.value, "maybe_billed", False) == maybe_billed
    return caught.value


def shown(error: BaseException) -> str:
    """All that a log or another process may get to see of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(pickle.dumps(error))


HERE, PLAIN, SECURE = "http://127.0.0.1:{plain}", "http://images.test:{plain}", "https://images.test:{secure}"


@pytest.mark.parametrize(
    ("environment", "origin", "goes_to"),
    [
        ("HTTP_PROXY={one}", PLAIN, "one"),
        ("HTTP_PROXY={one}", SECURE, "server"),
        ("HTTPS_PROXY={one}", PLAIN, "server"),
        ("HTTPS_PROXY={one}", SECURE, "one"),
        ("https_proxy={one}", SECURE, "one"),
        ("ALL_PROXY={one}", PLAIN, "one"),
        ("ALL_PROXY={one}", SECURE, "one"),
        ("all_proxy={one}", SECURE, "one"),
        ("HTTP_PROXY={one} ALL_PROXY={two}", PLAIN, "one"),
        ("HTTP_PROXY={one} ALL_PROXY={two}", SECURE, "two"),
        ("HTTPS_PROXY={one} https_proxy={two}", SECURE, "two"),
        ("HTTP_PROXY={one} http_proxy=", PLAIN, "server"),
        ("HTTP_PROXY={one} REQUEST_METHOD=GET", PLAIN, "server"),  # a CGI script, whose caller could set it
        ("ALL_PROXY={one_without_scheme}", PLAIN, "one"),
        ("ALL_PROXY={one_without_scheme}", SECURE, "one"),
        ("ALL_PROXY={one} NO_PROXY=127.0.0.1", HERE, "server"),
        ("ALL_PROXY={one} NO_PROXY=127.0.0.1", "https://127.0.0.1:{secure}", "server"),
        ("ALL_PROXY={one} NO_PROXY=127.0.0.1:{plain}", HERE, "server"),
        ("ALL_PROXY={one} NO_PROXY=127.0.0.1:1", HERE, "one"),
        # httpx2 knows networks
        pytest.param("ALL_PROXY={one} NO_PROXY=127.0.0.0/8", HERE, "one", marks=pytest.mark.of_httpx),
        ("ALL_PROXY={one} NO_PROXY=localhost", "http://localhost:{plain}", "server"),
        ("ALL_PROXY={one} NO_PROXY=localhost", HERE, "one"),
        ("ALL_PROXY={one} NO_PROXY=images.test", PLAIN, "server"),
        ("ALL_PROXY={one} NO_PROXY=images.test", SECURE, "server"),
        ("ALL_PROXY={one} NO_PROXY=images.test:{secure}", SECURE, "server"),
        ("ALL_PROXY={one} NO_PROXY=images.test:1", SECURE, "one"),
        ("ALL_PROXY={one} NO_PROXY=IMAGES.TEST", PLAIN, "server"),
        ("ALL_PROXY={one} NO_PROXY=test", PLAIN, "server"),
        ("ALL_PROXY={one} NO_PROXY=.test", PLAIN, "server"),
        ("ALL_PROXY={one} NO_PROXY=images.test", "http://eu.images.test:{plain}", "server"),
        ("ALL_PROXY={one} NO_PROXY=.images.test", "http://eu.images.test:{plain}", "server"),
        ("ALL_PROXY={one} NO_PROXY=ges.test", PLAIN, "one"),
        ("ALL_PROXY={one} NO_PROXY=elsewhere.test,images.test", PLAIN, "server"),
        ("ALL_PROXY={one} NO_PROXY=*", PLAIN, "server"),
        ("ALL_PROXY={one} NO_PROXY=*", SECURE, "server"),
        ("ALL_PROXY={one} no_proxy=images.test", SECURE, "server"),
        ("ALL_PROXY={one} NO_PROXY=", SECURE, "one"),
    ],
)
async def test_a_call_takes_the_same_route_as_httpx(
    monkeypatch: pytest.MonkeyPatch,
    make_client: MakeClient,
    known: Authority,
    environment: str,
    origin: str,
    goes_to: str,
) -> None:
    async with AsyncExitStack() as stack:

        async def start(handler: Handler) -> RawServer:
            return await stack.enter_async_context(serving(handler))

        servers = {
            "one": await start(Proxy().handler),
            "two": await start(Proxy().handler),
            "plain": await start(always(ANSWER)),
            "secure": await start(known.secured(always(ANSWER))),
        }
        places: dict[str, object] = {
            "one": servers["one"].origin,
            "two": servers["two"].origin,
            "one_without_scheme": netloc(servers["one"]),
            "plain": servers["plain"].port,
            "secure": servers["secure"].port,
        }
        for setting in environment.format_map(places).split(" "):
            monkeypatch.setenv(*setting.split("=", 1))
        base_url = f"{origin.format_map(places)}/v1"

        def seen() -> dict[str, list[tuple[str, str | None, str | None]]]:
            """Return the recorded requests, and clear them."""
            heads = {
                name: [
                    (sent.line, sent.headers.get("host"), sent.headers.get("proxy-authorization"))
                    for sent in server.requests
                ]
                for name, server in servers.items()
                if server.requests
            }
            for server in servers.values():
                server.requests.clear()
            return heads

        async with make_client(base_url) as client:
            response = await client.images.generate("a cat")
        ours = seen()
        async with httpx.AsyncClient() as reference:
            await reference.post(f"{base_url}/images/generations", content=b"{}")

        assert response[0].bytes == SMALL
        assert ours == seen()
        assert {"one", "two"} & set(ours) == {goes_to} - {"server"}


async def test_the_calls_of_a_client_share_a_tunnel_which_keeps_the_key_from_the_proxy(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, known: Authority
) -> None:
    proxy = Proxy()
    async with serving(proxy.handler) as front, serving(known.secured(always(ANSWER))) as server:
        monkeypatch.setenv("HTTPS_PROXY", front.origin)
        async with make_client(f"https://images.test:{server.port}/v1", api_key=KEY) as client:
            for _ in range(3):
                assert (await client.images.generate("a cat"))[0].bytes == SMALL

        assert [sent.line for sent in front.requests] == [f"CONNECT images.test:{server.port} HTTP/1.1"]
        assert "authorization" not in front.requests[0].headers
        assert len(proxy.tunnelled) > 0
        assert KEY.encode() not in proxy.tunnelled
        assert [sent.headers["authorization"] for sent in server.requests] == [f"Bearer {KEY}"] * 3


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_credentials_in_a_proxy_s_url_go_to_the_proxy_and_not_to_the_server(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, known: Authority, scheme: str
) -> None:
    handler = always(ANSWER) if scheme == "http" else known.secured(always(ANSWER))
    async with serving(Proxy("me:p@ss").handler) as front, serving(handler) as server:
        monkeypatch.setenv("ALL_PROXY", f"http://me:p%40ss@{netloc(front)}")
        async with make_client(f"{scheme}://images.test:{server.port}/v1") as client:
            response = await client.images.generate("a cat")

        assert response[0].bytes == SMALL
        assert [sent.headers["proxy-authorization"] for sent in front.requests] == ["Basic bWU6cEBzcw=="]
        assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_may_itself_be_reached_over_tls(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, known: Authority, scheme: str
) -> None:
    handler = always(ANSWER) if scheme == "http" else known.secured(always(ANSWER))
    async with serving(known.secured(Proxy().handler)) as front, serving(handler) as server:
        monkeypatch.setenv("ALL_PROXY", f"https://proxy.test:{front.port}")
        async with make_client(f"{scheme}://images.test:{server.port}/v1") as client:
            response = await client.images.generate("a cat")

        assert response[0].bytes == SMALL
        assert len(front.requests) == len(server.requests) == 1


@pytest.mark.parametrize("setting", ["HTTPS_PROXY", "HTTP_PROXY"])
async def test_a_certificate_for_another_name_is_refused_through_a_tunnel_and_without_one(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, known: Authority, setting: str
) -> None:
    async with serving(Proxy().handler) as front, serving(known.secured(always(ANSWER))) as server:
        monkeypatch.setenv(setting, front.origin)
        client = make_client(f"https://another.test:{server.port}/v1", retry=ONCE)
        await error_of(client, errors.APIConnectionError, "could not be reached")

        assert len(front.requests) == (setting == "HTTPS_PROXY")
        assert server.connections == 1
        assert server.requests == []


async def refuse_tunnels(talk: Conversation) -> None:
    await talk.request()
    await talk.answer(b"", 502)


async def hang_up_at_once(talk: Conversation) -> None:
    await talk.request()


async def hang_up_in_the_tunnel(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await talk.stream.receive()


@pytest.mark.parametrize(
    ("handler", "match"),
    [
        pytest.param(Proxy("me:another").handler, "ProxyError: 407", id="refused to the user"),
        pytest.param(refuse_tunnels, "ProxyError: 502", id="refused to all"),
        pytest.param(hang_up_at_once, "could not be reached", id="not opened"),
        pytest.param(hang_up_in_the_tunnel, "could not be reached", id="broken"),
    ],
)
async def test_a_tunnel_that_fails_before_the_request_is_sent_is_an_error_of_connecting_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, handler: Handler, match: str
) -> None:
    async with serving(handler) as front:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{netloc(front)}")
        error = await error_of(
            make_client("https://images.test/v1", retry=ONCE), errors.APIConnectionError, match
        )

    assert [word for word in ("secret", "bWU6c2VjcmV0") if word in shown(error)] == []


async def test_a_refused_tunnel_is_retried(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, known: Authority
) -> None:
    proxy = Proxy()

    async def handler(talk: Conversation) -> None:
        await (refuse_tunnels if talk.number == 1 else proxy.handler)(talk)

    async with serving(handler) as front, serving(known.secured(always(ANSWER))) as server:
        monkeypatch.setenv("HTTPS_PROXY", front.origin)
        async with make_client(f"https://images.test:{server.port}/v1") as client:
            response = await client.images.generate("a cat")

        assert (response.attempts, response.maybe_billed_before) == (2, False)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("handler", "kind", "status", "maybe_billed"),
    [
        pytest.param(
            Proxy("me:another").handler, errors.APIStatusError, 407, False, id="of the proxy itself"
        ),
        pytest.param(
            always(b"", 502), errors.InternalServerError, 502, True, id="of a gateway before the work"
        ),
    ],
)
async def test_a_status_of_a_forwarding_proxy_is_an_error_like_one_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
    make_client: MakeClient,
    handler: Handler,
    kind: type[errors.APIStatusError],
    status: int,
    maybe_billed: bool,
) -> None:
    async with serving(handler) as front:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{netloc(front)}")
        client = make_client("http://images.test/v1", retry=ONCE)
        error = await error_of(client, kind, str(status), maybe_billed=maybe_billed)

    assert error.status_code == status
    assert "secret" not in shown(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_down_is_named_without_its_password_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        proxy = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("ALL_PROXY", f"http://me:secret@{proxy}")

    client = make_client(f"{scheme}://images.test/v1", retry=ONCE)
    error = await error_of(client, errors.APIConnectionError, f"could not be reached .* the proxy {proxy}")

    assert "secret" not in shown(error)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1", "http://[bad"])
async def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, proxy: str
) -> None:
    scheme, _, rest = proxy.partition("//")
    monkeypatch.setenv("ALL_PROXY", f"{scheme}//user:secret-word@{rest}")

    client = make_client("http://images.test/v1", retry=ONCE)
    error = await error_of(client, (errors.ConfigurationError, errors.APIConnectionError), "proxy|URL")

    assert "secret-word" not in str(error)


async def test_a_tunnel_that_breaks_after_the_request_was_sent_leaves_the_outcome_unknown(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, known: Authority
) -> None:
    async with serving(Proxy().handler) as front, serving(known.secured(hang_up_at_once)) as server:
        monkeypatch.setenv("HTTPS_PROXY", front.origin)
        client = make_client(f"https://images.test:{server.port}/v1", retry=ONCE)
        await error_of(client, errors.OutcomeUnknownError, maybe_billed=True)


async def test_a_tls_handshake_in_a_tunnel_that_hangs_ends_at_the_connect_timeout(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient
) -> None:
    left = anyio.Event()

    async def handler(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await talk.dropped()
        left.set()

    async with serving(handler) as front:
        monkeypatch.setenv("HTTPS_PROXY", front.origin)
        client = make_client("https://images.test/v1", timeout=Timeouts(connect=0.1), retry=ONCE)
        await error_of(client, errors.APITimeoutError)
        await left.wait()

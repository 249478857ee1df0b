"""Clients for ``http_client=``: which are taken, what of theirs is in force, and what is not."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import aiohttp
import httpx
import httpx2
import pytest
from anyio.streams.tls import TLSAttribute

from imagesdk import AsyncClient, Client, RetryPolicy, errors
from imagesdk.emulator import Emulator
from tests.support.certificates import Authority
from tests.support.http_stacks import THEIRS, Stack, on
from tests.support.leaks import KEY
from tests.support.proxy_servers import Proxy
from tests.support.small_images import answer, png
from tests.support.socket_servers import Conversation, always, in_turn, says, serving

pytestmark = pytest.mark.anyio
MakeClient: TypeAlias = Callable[..., AsyncClient]

SMALL = png()
ANSWER = answer(SMALL)
ONCE = RetryPolicy(max_attempts=1)
OWN = "https://images.test/v1"
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            httpx.Client,
            r"httpx\.Client is a blocking one. Pass httpx\.AsyncClient",
            marks=pytest.mark.of_httpx,
        ),
        (httpx2.Client, r"httpx2\.Client is a blocking one. Pass httpx2\.AsyncClient"),
        (lambda: httpx2.Client, r"httpx2\.Client is a blocking one"),
        (httpx2.AsyncHTTPTransport, r"pass httpx2\.AsyncClient\(transport="),
        pytest.param(httpx.HTTPTransport, r"pass httpx\.AsyncClient\(transport=", marks=pytest.mark.of_httpx),
        (lambda: "http://proxy.test", r"httpx2\.AsyncClient, or a function .* not builtins\.str"),
        (object, r"not builtins\.object"),
    ],
)
def test_an_object_that_is_no_async_client_raises_a_remedy(make: Callable[[], Any], message: str) -> None:
    for kind in (AsyncClient, Client):
        with pytest.raises(errors.ConfigurationError, match=message):
            kind(base_url=OWN, http_client=make())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_session_of_aiohttp_raises_with_a_remedy() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(errors.ConfigurationError, match="through httpx-aiohttp"):
            AsyncClient(base_url=OWN, http_client=session)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def asynchronous() -> httpx.AsyncClient:
    raise AssertionError


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (httpx.Client, "blocking"),
        (httpx2.Client, "blocking"),
        (lambda: sys, r"not builtins\.module"),
        (lambda: None, r"not builtins\.NoneType"),
        (asynchronous, "must not be an async one"),
    ],
)
async def test_a_factory_of_something_else_raises_before_anything_is_sent(
    make_client: MakeClient, factory: Callable[[], Any], message: str
) -> None:
    async with serving(always(ANSWER)) as server:
        with pytest.raises(errors.ConfigurationError, match=message):
            async with make_client(server.base_url, http_client=factory) as client:
                await client.images.generate("a cat")

        assert server.connections == 0


@LIBRARIES
async def test_a_closed_client_is_not_taken_for_a_dead_server(make_client: MakeClient, library: Any) -> None:
    own = library.AsyncClient()
    await own.aclose()

    async with make_client(OWN, http_client=own) as client:
        with pytest.raises(errors.ConfigurationError, match="was closed"):
            await client.images.generate("a cat")


def test_the_blocking_client_takes_a_client_and_never_imports_httpx2(emulator: Emulator) -> None:
    program = (
        "import sys; sys.modules['httpx2'] = None; import httpx; from imagesdk import Client\n"
        f"with Client(base_url={emulator.base_url!r}, rate_limit=None, http_client=httpx.AsyncClient) as client:\n"
        "    print(len(client.images.generate('a cat', model='dall-e-2', size='256x256')))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == ("1\n", "")


@on(*THEIRS)
async def test_no_header_or_credential_of_the_client_is_sent(stack: Stack, make_client: MakeClient) -> None:
    adding = stack.factory(
        headers={"x-own": "1", "user-agent": "own"},
        cookies={"own": "1"},
        params={"own": "1"},
        auth=("me", "secret"),
        base_url="https://elsewhere.test",
        follow_redirects=True,
        timeout=0.0,
    )
    async with serving(in_turn(says(ANSWER), says(SMALL))) as server:
        async with make_client(server.base_url, api_key=KEY, http_client=adding) as client:
            await client.images.generate("a cat")
            await client.images.download("/cat.png")

    called, fetched = server.requests
    assert (called.line, fetched.line) == ("POST /v1/images/generations HTTP/1.1", "GET /cat.png HTTP/1.1")
    assert called.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in fetched.headers
    for sent in server.requests:
        assert not {"x-own", "cookie"} & set(sent.headers)
        assert sent.headers["user-agent"].startswith("imagesdk/")
        assert sent.headers["accept-encoding"] == "identity"


@on(*THEIRS)
async def test_event_hooks_see_and_read_requests_and_responses(stack: Stack, make_client: MakeClient) -> None:
    seen: list[str] = []

    async def request(request: Any) -> None:
        seen.append(f"{request.method} {request.url.path}")

    async def response(response: Any) -> None:
        seen.append(f"{response.status_code} {len(await response.aread())}")

    http_client = stack.factory(event_hooks={"request": [request], "response": [response]})
    async with serving(always(ANSWER)) as server:
        async with make_client(server.base_url, http_client=http_client) as client:
            made = await client.images.generate("a cat")

    assert made[0].bytes == SMALL
    assert seen == ["POST /v1/images/generations", f"200 {len(ANSWER)}"]


@on(*THEIRS)
async def test_a_hook_that_raises_changes_no_error_and_no_retry(
    stack: Stack, make_client: MakeClient
) -> None:
    async def unread(response: Any) -> None:
        response.raise_for_status()

    async def read(response: Any) -> None:
        await response.aread()
        response.raise_for_status()

    refusal = says(b'{"error": {"message": "no such key", "code": "invalid_api_key"}}', 401)
    steps = (says(b"", 503), says(ANSWER), refusal)
    for hook, message in ((unread, "401"), (read, "no such key")):
        http_client = stack.factory(event_hooks={"response": [hook]})
        async with serving(in_turn(*steps)) as server:
            async with make_client(server.base_url, http_client=http_client) as client:
                assert (await client.images.generate("a cat")).attempts == 2
                with pytest.raises(errors.AuthenticationError, match=message):
                    await client.images.generate("a cat")


@LIBRARIES
async def test_a_hook_s_error_of_another_request_is_no_response(
    make_client: MakeClient, library: Any
) -> None:
    async with serving(always(b"", 401)) as other, serving(always(ANSWER)) as server:

        async def report(response: Any) -> None:
            async with library.AsyncClient() as reporter:
                (await reporter.post(other.origin)).raise_for_status()

        own = library.AsyncClient(event_hooks={"response": [report]})
        async with own, make_client(server.base_url, http_client=own, retry=ONCE) as client:
            with pytest.raises(errors.OutcomeUnknownError, match=r"HTTPStatusError.*401"):
                await client.images.generate("a cat")


@LIBRARIES
async def test_mounts_may_answer_and_the_client_is_left_open(make_client: MakeClient, library: Any) -> None:
    def answer_at_once(request: Any) -> Any:
        return library.Response(200, content=ANSWER)

    mounts = {"https://images.test": library.MockTransport(answer_at_once)}
    async with library.AsyncClient(mounts=mounts) as own, make_client(OWN, http_client=own) as client:
        assert (await client.images.generate("a cat"))[0].bytes == SMALL
        await client.aclose()
        assert not own.is_closed


@LIBRARIES
async def test_a_transport_that_raises_is_a_lost_connection(make_client: MakeClient, library: Any) -> None:
    class Failing(library.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            async for _ in request.stream:
                pass
            raise LookupError("no such thing")

    own = library.AsyncClient(transport=Failing())
    async with own, make_client(OWN, http_client=own, retry=ONCE) as client:
        with pytest.raises(errors.OutcomeUnknownError, match="LookupError: no such thing"):
            await client.images.generate("a cat")


@on(*THEIRS)
@pytest.mark.parametrize("way", ["verify", "SSL_CERT_FILE", "unknown"])
async def test_the_authorities_of_the_client_are_the_ones_that_count(
    stack: Stack, make_client: MakeClient, authority: Authority, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    if way == "verify":
        options["verify"] = ssl.create_default_context(cafile=authority.file)
    elif way == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with serving(authority.secured(always(ANSWER))) as server:
        base_url = f"https://localhost:{server.port}/v1"
        async with make_client(base_url, http_client=stack.factory(**options), retry=ONCE) as client:
            if way == "unknown":
                with pytest.raises(errors.APIConnectionError, match="certificate") as caught:
                    await client.images.generate("a cat")
                assert not caught.value.maybe_billed
            else:
                assert (await client.images.generate("a cat"))[0].bytes == SMALL


@on(*THEIRS)
async def test_the_server_sees_the_client_s_certificate(
    stack: Stack, make_client: MakeClient, authority: Authority
) -> None:
    shown: list[Any] = []

    async def handler(talk: Conversation) -> None:
        shown.append(talk.stream.extra(TLSAttribute.peer_certificate))
        await always(ANSWER)(talk)

    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(authority.chain)
    async with serving(authority.demanding().secured(handler)) as server:
        base_url = f"https://localhost:{server.port}/v1"
        async with make_client(base_url, http_client=stack.factory(verify=context)) as client:
            await client.images.generate("a cat")

    assert ("DNS", "localhost") in shown[0]["subjectAltName"]


@on(*THEIRS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("way", ["proxy=", "ALL_PROXY"])
# of aiohttp to httpx-aiohttp 0.2
@pytest.mark.filterwarnings("ignore:.*BasicAuth|.*proxy_auth:DeprecationWarning")
async def test_a_proxy_of_the_client_with_credentials_is_used_and_keeps_no_key(
    stack: Stack,
    make_client: MakeClient,
    authority: Authority,
    scheme: str,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = Proxy("me:p@ss")
    handler = always(ANSWER) if scheme == "http" else authority.secured(always(ANSWER))
    options: dict[str, Any] = {"verify": ssl.create_default_context(cafile=authority.file)}
    async with serving(proxy.handler) as front, serving(handler) as server:
        url = front.origin.replace("http://", "http://me:p%40ss@")
        if way == "proxy=":
            options["proxy"] = url
        else:
            monkeypatch.setenv(way, url)
        base_url = f"{scheme}://images.test:{server.port}/v1"
        terms = {"api_key": KEY, "allow_insecure": True, "http_client": stack.factory(**options)}
        async with make_client(base_url, **terms) as client:
            assert (await client.images.generate("a cat"))[0].bytes == SMALL

    assert [sent.headers["proxy-authorization"] for sent in front.requests] == ["Basic bWU6cEBzcw=="]
    assert "proxy-authorization" not in server.requests[0].headers
    assert KEY.encode() not in proxy.tunnelled
    assert ("authorization" in front.requests[0].headers) == (scheme == "http")


@on(*THEIRS)
async def test_a_users_client_ignores_the_proxies_of_the_environment(
    stack: Stack, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(Proxy().handler) as front, serving(always(ANSWER)) as server:
        monkeypatch.setenv("ALL_PROXY", front.origin)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with make_client(server.base_url, http_client=stack.factory()) as client:
            await client.images.generate("a cat")

        assert (front.connections, server.connections) == (0, 1)


@on(*THEIRS)
async def test_a_tunnel_that_is_refused_costs_nothing(stack: Stack, make_client: MakeClient) -> None:
    async with serving(Proxy("me:another").handler) as front:
        http_client = stack.factory(proxy=front.origin.replace("http://", "http://me:secret@"))
        async with make_client(OWN, http_client=http_client, retry=ONCE) as client:
            with pytest.raises(errors.APIConnectionError, match="could not be reached") as caught:
                await client.images.generate("a cat")

    assert not caught.value.maybe_billed
    assert "secret" not in str(caught.value)

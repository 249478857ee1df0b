"""Set-up of clients, their rate limits by model, and the secrecy of their key."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import respx

from imagesdk import AsyncClient, ConfigurationError, LimitWaitError, RateLimit, RetryPolicy
from imagesdk.errors import APIError, DownloadError
from imagesdk.policies import DEFAULT_RATE_LIMIT
from tests.support.leaks import KEY, leaks
from tests.support.small_images import answer, answer_of_urls, png
from tests.support.socket_servers import Conversation, always, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

OWN = "https://images.test/v1"


@pytest.fixture
def generations() -> Iterator[respx.Route]:
    """The requests for images that the server OWN gets, each of which it answers with one image."""
    with respx.mock:
        yield respx.post(f"{OWN}/images/generations").respond(content=answer(png()))


def test_openai_needs_a_key() -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        AsyncClient()
    with pytest.raises(ConfigurationError, match="needs a key"):
        AsyncClient(base_url="https://eu.api.openai.com/v1", api_key="")


def test_other_servers_need_no_key() -> None:
    assert AsyncClient(base_url=f"{OWN}/").base_url == OWN


@pytest.mark.parametrize("host", ["images.test", "192.168.1.20:8000", "localhost.images.test"])
def test_a_key_does_not_go_over_plain_http_to_another_machine(host: str) -> None:
    with pytest.raises(ConfigurationError, match="plain http") as caught:
        AsyncClient(base_url=f"http://{host}/v1", api_key=KEY)
    assert KEY not in str(caught.value)
    AsyncClient(base_url=f"http://{host}/v1", api_key="")
    AsyncClient(base_url=f"http://{host}/v1", api_key=KEY, allow_insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "api.localhost", "[::1]:8000"])
def test_a_key_may_go_over_plain_http_to_this_machine(host: str) -> None:
    assert AsyncClient(base_url=f"http://{host}/v1", api_key=KEY).base_url == f"http://{host}/v1"


NO_URLS = ["api.openai.com/v1", "ftp://images.test/v1", "https://", "https://images.test:http/v1"]
ODD_URLS = [f"https://{rest}" for rest in ("me:secret@a.test/v1", "a.test/v1?key=secret", "a.test/v1#there")]


@pytest.mark.parametrize("base_url", [*NO_URLS, *ODD_URLS, "https://a.test/v 1", "https://a.test/\nv1"])
def test_a_base_url_that_cannot_be_used_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        AsyncClient(base_url=base_url)


@pytest.mark.parametrize("key", [f"{KEY}\r\nx-evil: 1", f"Bearer {KEY}", f"{KEY}ключ"])
def test_a_malformed_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="key") as caught:
        AsyncClient(base_url=OWN, api_key=key)
    assert leaks(caught.value) == []


@pytest.mark.parametrize("option", ["organization", "project"])
def test_an_organization_cannot_add_a_header(option: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        AsyncClient(base_url=OWN, **{option: "org\r\nx-evil: 1"})  # type: ignore[arg-type]


def test_a_blocking_http_client_is_refused_by_name() -> None:
    with httpx.Client() as blocking, pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient"):
        AsyncClient(base_url=OWN, http_client=blocking)  # type: ignore[arg-type]


async def test_the_environment_replaces_missing_arguments(
    generations: respx.Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", OWN)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    async with AsyncClient() as client:
        await client.images.generate("a cat")
    headers = generations.calls.last.request.headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"


async def test_arguments_override_the_environment(
    generations: respx.Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.test/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    async with AsyncClient(base_url=OWN, api_key="", organization="org-2") as client:
        await client.images.generate("a cat")
    headers = generations.calls.last.request.headers
    assert "authorization" not in headers
    assert headers["openai-organization"] == "org-2"


def generate(client: AsyncClient, model: str | None, n: int = 1) -> Awaitable[object]:
    return client.images.generate("a cat", model=model, n=n, check=False, timeout=5)


@pytest.mark.usefixtures("generations")
@pytest.mark.parametrize(
    ("rate_limit", "variable", "limits"),
    [
        (DEFAULT_RATE_LIMIT, "2/min", {None: 2}),
        (DEFAULT_RATE_LIMIT, "none", {None: None}),
        (RateLimit(3, scope="client"), "2/min", {None: 3}),
        (
            {"small": RateLimit(2), "free": None, "*": RateLimit(3)},
            "",
            {"small": 2, "free": None, "x": 3, None: 3},
        ),
        ({"small": RateLimit(2)}, "", {"small": 2, "other": 50}),
        ({"small": RateLimit(2)}, "7/min", {"small": 2, "other": 7}),
        ({"small": RateLimit(2), "*": None}, "7/min", {"small": 2, "other": None}),
    ],
)
async def test_a_model_has_its_own_limit_or_that_of_all_others_or_that_of_the_environment(
    rate_limit: Any, variable: str, limits: dict[str | None, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESDK_RATE_LIMIT", variable)
    async with AsyncClient(base_url=OWN, rate_limit=rate_limit) as client:
        for model, most in limits.items():
            await generate(client, model, most or 1000)
            if most is not None:
                with pytest.raises(LimitWaitError, match=f"rate limit of {most} images / 60 s"):
                    await generate(client, model, most + 1)


@pytest.mark.usefixtures("generations")
async def test_models_have_queues_of_their_own_which_clients_share_unless_the_scope_is_the_client() -> None:
    limits = {"one": RateLimit(1, scope="client"), "*": RateLimit(1)}
    async with (
        AsyncClient(base_url=OWN, rate_limit=limits) as first,
        AsyncClient(base_url=OWN, rate_limit=limits) as second,
    ):
        for client, model in ((first, "one"), (first, "other"), (second, "one"), (second, "another")):
            await generate(client, model)
        for client, model in ((first, "one"), (second, "one"), (second, "other"), (first, "another")):
            with pytest.raises(LimitWaitError, match="has no room"):
                await generate(client, model)


async def test_a_client_can_be_used_again_after_it_was_closed(generations: respx.Route) -> None:
    client = AsyncClient(base_url=OWN)
    async with client:
        await client.images.generate("a cat")
    await client.images.generate("a cat")
    await client.aclose()
    assert generations.call_count == 2


def test_a_client_is_neither_pickled_nor_copied() -> None:
    client = AsyncClient(base_url=OWN, api_key=KEY)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            attempt(client)


def test_the_key_is_in_exactly_one_object_and_that_does_not_print() -> None:
    client = AsyncClient(base_url=OWN, api_key=KEY, organization="org-1")
    assert KEY not in repr(client)
    holders = [holder for holder, value in _strings_within(client) if KEY in value]
    assert [type(holder).__name__ for holder in holders] == ["Secret"]
    assert KEY not in repr(holders[0])
    with pytest.raises(TypeError):
        pickle.dumps(holders[0])


@pytest.mark.parametrize("http_client", [None, httpx.AsyncClient])
@pytest.mark.parametrize("end", ["status", "no answer", "no connection", "no time", "garbage", "limit"])
async def test_the_key_is_in_no_error(
    end: str,
    http_client: type[httpx.AsyncClient] | None,
    make_client: Callable[..., AsyncClient],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    async def handler(talk: Conversation) -> None:
        await talk.request()
        if end == "status":
            await talk.answer(b'{"error": {"message": "no such key", "code": "invalid_api_key"}}', 401)
        elif end == "no time":
            await talk.dropped()
        elif end == "garbage":
            await talk.answer(b"\x00")

    async with serving(handler) as server:
        base_url = "http://127.0.0.1:1/v1" if end == "no connection" else server.base_url
        once = RetryPolicy(max_attempts=1)
        limit = RateLimit(1) if end == "limit" else None
        terms = {"retry": once, "rate_limit": limit, "http_client": http_client}
        async with make_client(base_url, api_key=KEY, **terms) as client:
            with pytest.raises(APIError) as caught:
                await client.images.generate("a cat", n=2, timeout=0.2 if end == "no time" else None)
        assert all("authorization" in sent.headers for sent in server.requests)

    assert_no_key(caught.value)
    assert KEY not in caplog.text


async def test_the_key_is_in_no_error_of_a_download(
    make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    async with (
        serving(always(answer_of_urls("http://127.0.0.1:1/cat.png"))) as server,
        make_client(server.base_url, api_key=KEY) as client,
    ):
        with pytest.raises(DownloadError) as caught:
            await client.images.generate("a cat", out=tmp_path)
    assert caught.value.response is not None
    assert_no_key(caught.value)


def assert_no_key(error: BaseException) -> None:
    """Fail if an error, or one that it was raised from, shows the key or leads to it."""
    assert leaks(error) == []
    link: BaseException | None = error
    while link is not None:
        assert [text for _, text in _strings_within(link) if KEY in text] == []
        link = link.__cause__ or link.__context__


def _strings_within(thing: object) -> list[tuple[object, str]]:
    """Return every text that can be reached through attributes and containers, with what holds it."""
    found: list[tuple[object, str]] = []
    seen: set[int] = set()
    waiting: list[tuple[object, object]] = [(None, thing)]
    while waiting:
        holder, value = waiting.pop()
        if isinstance(value, str | bytes):
            found.append((holder, value if isinstance(value, str) else repr(value)))
            continue
        if id(value) in seen or isinstance(value, type | type(pytest)):
            continue
        seen.add(id(value))
        waiting += [(value, part) for part in _parts(value)]
    return found


def _parts(value: Any) -> list[object]:
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)  # pyright: ignore[reportUnknownArgumentType]
    kind: type[Any] = value.__class__
    slots = [name for each in kind.__mro__ for name in getattr(each, "__slots__", ())]
    fields = [field.name for field in attrs.fields(kind)] if attrs.has(kind) else []
    names = {*slots, *fields} - {"__weakref__", "__dict__"}
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in names)]

"""Settings of callers and their environment cannot smuggle in a header, and a refusal does not show the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagesdk import AsyncClient, ConfigurationError, InvalidRequestError, RetryPolicy
from tests.support.leaks import KEY, exposed, leaks
from tests.support.small_images import answer, png
from tests.support.socket_servers import always

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

SMUGGLED = ["a\r\nx-evil: 1", "a\nx-evil: 1", "a\rb", "a\0b", "\u043a\u043b\u044e\u0447", "a\x7f", "a\x1b[2J"]
IMAGE = always(answer(png()))


@pytest.mark.parametrize("given", ["argument", "environment"])
@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("http://images.test/v1", KEY),
        ("images.test", KEY),
        ("https://images.test/v1", f"{KEY}\r\nx-evil: 1"),
        ("https://images.test/v1", f"\ufeff{KEY}"),
    ],
)
def test_the_refusal_of_a_setting_does_not_show_the_key(
    monkeypatch: pytest.MonkeyPatch, given: str, base_url: str, key: str
) -> None:
    if given == "environment":
        monkeypatch.setenv("OPENAI_API_KEY", key)
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    terms: dict[str, Any] = {"base_url": base_url, "api_key": key} if given == "argument" else {}
    with pytest.raises(ConfigurationError) as caught:
        AsyncClient(**terms)
    assert leaks(caught.value) == []


@pytest.mark.parametrize(
    "base_url",
    ["https://me:secret@images.test/v1", "https://me:secret@images.test:port/v1", "me:secret@images.test"],
)
def test_a_password_in_a_base_url_is_not_shown_whatever_else_is_wrong_with_it(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        AsyncClient(base_url=base_url, api_key=KEY)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["http://proxy.test:3128", "proxy.test:3128", "http://192.168.1.1"])
def test_a_key_for_this_machine_does_not_go_over_plain_http_to_a_proxy_elsewhere(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    here = "http://127.0.0.1:8000/v1"
    with pytest.raises(ConfigurationError, match="plain http"):
        AsyncClient(base_url=here, api_key=KEY)
    AsyncClient(base_url=here, api_key="")
    AsyncClient(base_url=here, api_key=KEY, allow_insecure=True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    AsyncClient(base_url=here, api_key=KEY)


def test_no_key_comes_from_a_file_of_home_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    (tmp_path / ".netrc").write_text(f"machine api.openai.com login me password {KEY}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="needs a key"):
        AsyncClient()


@pytest.mark.parametrize("text", SMUGGLED)
@pytest.mark.parametrize("where", ["api_key", "organization", "project"])
def test_no_setting_smuggles_in_a_header(where: str, text: str) -> None:
    terms: dict[str, Any] = {"base_url": "https://images.test/v1", "api_key": KEY, where: text}
    with pytest.raises(ConfigurationError) as caught:
        AsyncClient(**terms)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("text", [text for text in SMUGGLED if not text.isprintable()])
@pytest.mark.parametrize(
    "base_url", ["https://images.test/{}", "https://{}.images.test", "https://images.test:{}"]
)
def test_no_base_url_smuggles_in_a_header(base_url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        AsyncClient(base_url=base_url.format(text), api_key=KEY)


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        ("is not a header name", ["", "a b", "a:b", "key:", "a\r\nb", "a\0", "\u043a", "schl\u00fcssel"]),
        ("is reserved", ["host", "Authorization", "Content-Length", "transfer-encoding"]),
    ],
)
def test_the_idempotency_header_is_a_header_name_and_not_reserved(problem: str, names: list[str]) -> None:
    for name in names:
        with pytest.raises(ConfigurationError, match=f"^idempotency_header .* {problem}"):
            RetryPolicy(idempotency_header=name)


@pytest.mark.parametrize("text", SMUGGLED)
@pytest.mark.parametrize("where", ["name", "value", "key"])
async def test_no_option_of_a_call_smuggles_in_a_header(where: str, text: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "name": {"extra_headers": {text: "1"}},
        "value": {"extra_headers": {"x-own": text}},
        "key": {"idempotency_key": text},
    }
    async with exposed(IMAGE) as (client, server):
        with pytest.raises((ConfigurationError, InvalidRequestError)) as caught:
            await client.images.generate("a cat", **options[where])
        assert server.connections == 0
    assert leaks(caught.value) == []


@pytest.mark.parametrize(
    "options",
    [
        {"idempotency_key": " a"},
        {"idempotency_key": "a "},
        {"extra_query": {"q": "\ud800"}},
        {"extra_query": {"\ud800": "q"}},
    ],
)
async def test_an_option_that_cannot_be_sent_is_refused_without_the_key(options: dict[str, Any]) -> None:
    async with exposed(IMAGE) as (client, server):
        with pytest.raises(InvalidRequestError, match=min(options)) as caught:
            await client.images.generate("a cat", **options)
        assert server.connections == 0
    assert leaks(caught.value) == []


async def test_space_around_a_setting_is_not_sent() -> None:
    settings = {"api_key": f" {KEY} ", "organization": " org-1", "project": "proj-1 "}
    async with exposed(IMAGE, **settings) as (client, server):
        await client.images.generate("a cat", extra_headers={"x-own": " 1 "})
        headers = server.requests[0].headers
    names = ("authorization", "openai-organization", "openai-project", "x-own")
    assert [headers[name] for name in names] == [f"Bearer {KEY}", "org-1", "proj-1", "1"]

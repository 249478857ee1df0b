"""Errors for settings of the environment that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagesdk import APIConnectionError, AsyncClient, ConfigurationError, RetryPolicy
from tests.support.certificates import Authority
from tests.support.small_images import answer, png
from tests.support.socket_servers import always, serving

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_attempts=1)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1", "http://[bad"])
async def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., AsyncClient], proxy: str
) -> None:
    scheme, _, rest = proxy.partition("//")
    monkeypatch.setenv("ALL_PROXY", f"{scheme}//user:secret-word@{rest}")
    async with make_client("http://images.test/v1", retry=ONCE) as client:
        with pytest.raises((ConfigurationError, APIConnectionError), match=r"proxy|URL") as caught:
            await client.images.generate("a cat")

    assert "secret-word" not in str(caught.value)


async def test_a_proxy_that_is_down_is_named(
    monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., AsyncClient]
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://user:secret-word@127.0.0.1:1")
    async with make_client("http://images.test/v1", retry=ONCE) as client:
        with pytest.raises(APIConnectionError, match=r"the proxy 127\.0\.0\.1:1") as caught:
            await client.images.generate("a cat")

    assert not caught.value.maybe_billed


async def test_an_untrusted_certificate_is_named_in_the_error(
    monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    monkeypatch.setattr("imagesdk._transport.environment._tls", None)
    authority = Authority.found(tmp_path)
    async with (
        serving(authority.secured(always(answer(png())))) as server,
        make_client(f"https://localhost:{server.port}/v1", retry=ONCE) as client,
    ):
        with pytest.raises(APIConnectionError, match="certificate verify failed"):
            await client.images.generate("a cat")


@pytest.mark.parametrize("content", [None, ""])
async def test_unreadable_certificates_are_a_configuration_error(
    make_client: Callable[..., AsyncClient],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: str | None,
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr("imagesdk._transport.environment._tls", None)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with make_client("https://localhost:1/v1", retry=ONCE) as client:
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
            await client.images.generate("a cat")

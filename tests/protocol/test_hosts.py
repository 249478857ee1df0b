"""Servers: base URLs, keys, headers, and the URLs on the origin of a server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host, auth_headers, is_loopback, validate_headers
from imagesdk._protocol.secret import Secret
from imagesdk.errors import ConfigurationError
from imagesdk.jobs import Edit, Generate, Variation


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        (" http://127.0.0.1:8000 ", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_a_base_url_loses_its_trailing_slash(text: str, base_url: str) -> None:
    assert Host.parse(text).base_url == base_url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.openai.com/v1",
        "ftp://api.openai.com",
        "https://",
        "https:///v1",
        "http://[::1",
        "https://a.test:99999",
        "https://a.test:port",
        "https://a b.test",
        "https://a.test/\nv1",
        "https://user@a.test",
        "https://user:secret@a.test",
        "https://@a.test",
        "https://a.test/v1?key=1",
        "https://a.test/v1?",
        "https://a.test/v1#part",
        "https://a.test/v1#",
    ],
)
def test_an_invalid_base_url_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        Host.parse(text)


def test_a_password_in_a_base_url_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Host.parse("https://user:hunter2@a.test")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com:443"),
        ("https://API.openai.com:443", "https://api.openai.com:443"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://localhost", "http://localhost:80"),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, origin: str) -> None:
    assert Host.parse(text).origin == origin


@pytest.mark.parametrize(
    ("text", "is_openai_host"),
    [
        (OPENAI_BASE_URL, True),
        ("https://API.OpenAI.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.evil.test/v1", False),
        ("https://evil.test/api.openai.com", False),
        ("http://127.0.0.1:8000/v1", False),
    ],
)
def test_openai_is_recognized_by_its_host(text: str, is_openai_host: bool) -> None:
    assert Host.parse(text).is_openai is is_openai_host


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://a.test", True),
        ("http://localhost:8000", True),
        ("http://emulator.localhost", True),
        ("http://127.0.0.1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8000", True),
        ("http://a.test", False),
        ("http://localhost.evil.test", False),
        ("http://192.168.0.1", False),
        ("http://0.0.0.0", False),
    ],
)
def test_a_key_is_safe_over_https_and_on_loopback_hosts(text: str, safe: bool) -> None:
    assert Host.parse(text).is_secure is safe


def test_an_endpoint_has_a_url_with_its_query() -> None:
    host = Host.parse("https://a.test/v1/")
    assert host.url("/images/edits") == "https://a.test/v1/images/edits"
    assert host.url("/images/edits", {}) == "https://a.test/v1/images/edits"
    assert host.url("/x", {"api-version": "2025-04 &"}) == "https://a.test/v1/x?api-version=2025-04+%26"


@pytest.mark.parametrize(
    ("url", "whole", "own"),
    [
        ("https://a.test/p.png?sig=1", "https://a.test/p.png?sig=1", True),
        ("/v1/images/7/content?variant=0", "https://a.test/v1/images/7/content?variant=0", True),
        ("images/7.png", "https://a.test/v1/images/7.png", True),
        ("https://a.test:443/p.png", "https://a.test:443/p.png", True),
        ("http://a.test/p.png", "http://a.test/p.png", False),
        ("https://a.test:444/p.png", "https://a.test:444/p.png", False),
        ("https://b.test/p.png", "https://b.test/p.png", False),
        ("//b.test/p.png", "https://b.test/p.png", False),
        ("https://a.test@b.test/p.png", "https://a.test@b.test/p.png", False),
        ("file:///etc/passwd", "file:///etc/passwd", False),
    ],
)
def test_a_result_url_becomes_absolute_and_its_origin_is_known(url: str, whole: str, own: bool) -> None:
    host = Host.parse("https://a.test/v1")
    assert host.result_url(url) == whole
    assert host.is_same_origin(host.result_url(url)) is own


@given(st.text(st.sampled_from("htps:/[]@.a1%?#\\ ") | st.characters(), max_size=30))
def test_only_a_url_on_the_origin_of_the_server_is_trusted(url: str) -> None:
    host = Host.parse("https://a.test/v1")
    assert not host.is_same_origin(url) or url.strip().lower().startswith("https://")


def test_only_openai_has_a_default_model() -> None:
    openai, other = Host.parse(OPENAI_BASE_URL), Host.parse("http://localhost")
    jobs = (Generate("x"), Edit("a.png", "x"), Variation("a.png"))
    assert [openai.default_model(job) for job in jobs] == ["gpt-image-2", "gpt-image-2", "dall-e-2"]
    assert [other.default_model(job) for job in jobs] == [None, None, None]


def test_authentication_headers_have_the_key_organization_and_project() -> None:
    assert auth_headers(Secret("sk-1"), "org-1", "proj-1") == [
        ("authorization", "Bearer sk-1"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
    ]


@pytest.mark.parametrize("nothing", [None, ""])
def test_authentication_headers_omit_missing_values(nothing: str | None) -> None:
    assert auth_headers(Secret(""), nothing, nothing) == []


def test_extra_headers_get_names_in_lower_case() -> None:
    assert validate_headers([("X-Tag", " a "), ("api-key", "k")]) == [("x-tag", "a"), ("api-key", "k")]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("", "a", "is not a header name"),
        ("X Tag", "a", "is not a header name"),
        ("X-Tag:", "a", "is not a header name"),
        ("X-Tag\r\nX-Evil", "a", "is not a header name"),
        ("X-T\u00e4g", "a", "is not a header name"),
        ("X-Tag", "a\r\nX-Evil: 1", "line break"),
        ("X-Tag", "a\n", "line break"),
        ("X-Tag", "\x00", "line break"),
        ("X-Tag", "\u732b", "beyond ASCII"),
        ("Authorization", "Bearer sk-2", "set by the client itself"),
        ("content-length", "1", "set by the client itself"),
        ("Transfer-Encoding", "chunked", "set by the client itself"),
        ("HOST", "b.test", "set by the client itself"),
        ("Connection", "close", "set by the client itself"),
        ("Idempotency-Key", "mine", "idempotency_key="),
    ],
)
def test_an_invalid_header_or_one_of_the_client_is_refused(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        validate_headers([("X-Good", "1"), (name, value)])


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost.test", False),
        ("127.0.0.1.test", False),
        ("10.0.0.1", False),
        ("", False),
        ("2130706433", False),
    ],
)
def test_a_loopback_host_is_recognized_by_its_spelling(hostname: str, expected: Any) -> None:
    assert is_loopback(hostname) is expected

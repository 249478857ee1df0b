"""Servers: base URLs, keys, headers, and the URLs on the origin of a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host, auth_headers, is_loopback, validate_headers
from imagesdk._protocol.secret import Secret
from imagesdk.errors import ConfigurationError


@pytest.mark.parametrize(("text", "base_url"), [
    ("https://api.openai.com/v1", "https://api.openai.com/v1"),
    ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
    (" http://127.0.0.1:8000 ", "http://127.0.0.1:8000"), ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
])  # fmt: skip
def test_a_base_url_loses_its_trailing_slash(text: str, base_url: str) -> None:
    assert Host.parse(text).base_url == base_url


@pytest.mark.parametrize("text", [
    *("", "api.openai.com/v1", "ftp://api.openai.com", "https://", "https:///v1", "http://[::1"),
    *("https://a.test:99999", "https://a.test:port", "https://a b.test", "https://a.test/\nv1"),
    *("https://user@a.test", "https://user:hunter2@a.test", "https://@a.test"),
    *("https://a.test/v1?key=1", "https://a.test/v1?", "https://a.test/v1#part", "https://a.test/v1#"),
])  # fmt: skip
def test_an_invalid_base_url_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        Host.parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("text", "origin"), [
    ("https://api.openai.com/v1", "https://api.openai.com:443"),
    ("https://API.openai.com:443", "https://api.openai.com:443"),
    ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"), ("http://localhost", "http://localhost:80"),
])  # fmt: skip
def test_an_origin_is_scheme_host_and_port(text: str, origin: str) -> None:
    assert Host.parse(text).origin == origin


LOOPBACK = ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"]
REMOTE = [
    *("a.test", "localhost.evil.test", "127.0.0.1.test"),
    *("192.168.0.1", "10.0.0.1", "0.0.0.0", "2130706433"),
]


@pytest.mark.parametrize(("text", "is_openai"), [
    (OPENAI_BASE_URL, True), ("https://API.OpenAI.com/v1", True), ("https://eu.api.openai.com/v1", True),
    ("https://api.openai.com.evil.test/v1", False), ("https://evil.test/api.openai.com", False),
    ("http://127.0.0.1:8000/v1", False),
])  # fmt: skip
def test_openai_is_recognized_by_its_host(text: str, is_openai: bool) -> None:
    assert Host.parse(text).is_openai is is_openai


@pytest.mark.parametrize("hostname", [*LOOPBACK, *REMOTE])
def test_a_key_is_safe_over_https_and_on_loopback_hosts_recognized_by_their_spelling(hostname: str) -> None:
    assert is_loopback(hostname.strip("[]")) is (hostname in LOOPBACK)
    assert Host.parse(f"http://{hostname}:8000").is_secure is (hostname in LOOPBACK)
    assert Host.parse(f"https://{hostname}").is_secure


def test_an_endpoint_has_a_url_with_its_query() -> None:
    host = Host.parse("https://a.test/v1/")
    assert host.url("/images/edits") == "https://a.test/v1/images/edits"
    assert host.url("/images/edits", {}) == "https://a.test/v1/images/edits"
    assert host.url("/x", {"api-version": "2025-04 &"}) == "https://a.test/v1/x?api-version=2025-04+%26"


@pytest.mark.parametrize(("url", "whole", "own"), [
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
])  # fmt: skip
def test_a_result_url_becomes_absolute_and_its_origin_is_known(url: str, whole: str, own: bool) -> None:
    host = Host.parse("https://a.test/v1")
    assert host.result_url(url) == whole
    assert host.is_same_origin(host.result_url(url)) is own


@given(st.text(st.sampled_from("htps:/[]@.a1%?#\\ ") | st.characters(), max_size=30))
def test_only_a_url_on_the_origin_of_the_server_is_trusted(url: str) -> None:
    host = Host.parse("https://a.test/v1")
    assert not host.is_same_origin(url) or url.strip().lower().startswith("https://")


def test_authentication_headers_have_the_key_organization_and_project_unless_missing() -> None:
    expected = {"authorization": "Bearer sk-1", "openai-organization": "org-1", "openai-project": "proj-1"}
    assert dict(auth_headers(Secret("sk-1"), "org-1", "proj-1")) == expected
    assert auth_headers(Secret(""), None, None) == auth_headers(Secret(""), "", "") == []


def test_extra_headers_get_names_in_lower_case() -> None:
    assert validate_headers([("X-Tag", " a "), ("api-key", "k")]) == [("x-tag", "a"), ("api-key", "k")]


@pytest.mark.parametrize(("name", "value", "expected"), [
    *((name, "a", "is not a header name") for name in ("", "X Tag", "X-Tag:", "X-Tag\r\nX-Evil", "X-T\u00e4g")),
    *(("X-Tag", value, "line break") for value in ("a\r\nX-Evil: 1", "a\n", "\x00")),
    ("X-Tag", "\u732b", "beyond ASCII"),
    *((name, "1", "set by the client itself") for name in ("Authorization", "content-length", "HOST")),
    *((name, "close", "set by the client itself") for name in ("Transfer-Encoding", "Connection")),
    ("Idempotency-Key", "mine", "idempotency_key="),
])  # fmt: skip
def test_an_invalid_header_or_one_of_the_client_is_refused(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        validate_headers([("X-Good", "1"), (name, value)])

"""The key is found in every spelling, and nothing else is changed."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagesdk._protocol.secret import NO_KEY, Secret

KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=4, max_size=60)
AROUND = st.text(" \n\\\"'&%;#ux0é猫.", max_size=9)


@given(KEYS, AROUND, AROUND)
@example('k"\\u0041&amp;', "", "")
def test_a_key_is_removed_in_the_spellings_of_json_python_html_and_urls(
    key: str, before: str, after: str
) -> None:
    secret = Secret(key)
    if secret.removed_from(key) == key:  # part of a word of the API
        return
    for spelled in (key, json.dumps(key)[1:-1], repr(key)[1:-1], html.escape(key), quote(key, safe="")):
        cleaned = secret.removed_from(f"{before} {spelled} {after}")
        assert key not in cleaned
        assert spelled not in cleaned
        assert "<the key>" in cleaned


@pytest.mark.parametrize("key", ["k7Q/", "sk-ab/c_d.9", "sk-proj-" + "x9/" * 60])
def test_a_key_is_removed_when_its_characters_are_escaped_in_any_way(key: str) -> None:
    codes = [ord(character) for character in key]
    for spelled in (
        "".join(f"\\u{code:04x}" for code in codes),
        "".join(f"\\\\\\\\u{code:04X}" for code in codes),
        "".join(f"\\x{code:02x}" for code in codes),
        "".join(f"%{code:02X}" for code in codes),
        "".join(f"&#{code};" for code in codes),
        "".join(f"&#x{code:x};" for code in codes),
        key.replace("/", "\\/"),
        key.replace("/", "\\\\/"),
        f"\\u{codes[0]:04x}{key[1:]}",
    ):
        assert Secret(key).removed_from(f"No: {spelled}.") == "No: <the key>."


@given(st.text(" \n\\\"'&%;#ux0123abé猫.k", max_size=40))
def test_a_text_without_the_key_is_not_changed(text: str) -> None:
    assert Secret("k7Q-some-key").removed_from(text) == text


@pytest.mark.parametrize("key", ["", "abc", "none", "EMPTY", "test", "data", "message", "image_gen"])
def test_what_is_no_secret_is_not_searched(key: str) -> None:
    for secret in (Secret(key), NO_KEY):
        assert secret.removed_from(f"{key} and more {key}") == f"{key} and more {key}"
        assert not secret.may_be_in(key.encode(), escapes=0)


def test_a_short_key_is_no_part_of_a_longer_word_in_a_url() -> None:
    secret = Secret("k7Q4")
    assert secret.removed_from("https://x.test/a.png?sig=ak7Q4b") == "https://x.test/a.png?sig=ak7Q4b"
    assert (
        secret.removed_from("https://x.test/k7Q4/a.png?key=k7Q4&b")
        == "https://x.test/<the key>/a.png?key=<the key>&b"
    )
    assert secret.removed_from("see ak7Q4b") == "see a<the key>b"


def test_keys_and_values_of_a_document_lose_the_key() -> None:
    secret = Secret("k7Q4")
    document = {"k7Q4": ["a k7Q4", 1, None, ("k7Q4",)], "b": {"c": "d"}}
    cleaned = {"<the key>": ["a <the key>", 1, None, ("<the key>",)], "b": {"c": "d"}}
    assert secret.removed_from_value(document) == cleaned


@pytest.mark.parametrize("piece", ["\\", "\\\\u", "\\x4", "&#x0", "&#0", "%4", "k7Q"])
def test_a_long_run_of_what_may_begin_an_escape_is_read_once(piece: str) -> None:
    text = piece * 30_000  # an expression that goes back would take minutes
    assert Secret("k7Q-some-key").removed_from(text) == text

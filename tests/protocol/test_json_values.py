"""JSON from a server is parsed with a limit on its depth."""

import json

import pytest

from imagesdk._protocol.json_values import MAX_DEPTH, TooManyValuesError, parse_json

DEEPEST = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


@pytest.mark.parametrize(
    "text", [b"{}", b"[1, 2.5, null, true]", b'"caf\xc3\xa9"', b"\xef\xbb\xbf{}", b" 1 ", DEEPEST]
)
def test_json_is_parsed_up_to_the_maximum_depth(text: bytes) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("text", [b"", b"{", b"nonsense", b"\xff", b"9" * 5000])
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own words
        parse_json(text)


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}"), (b'{"a":[', b"]}")])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1000, 100_000])
def test_a_deeply_nested_text_does_not_exhaust_the_stack(begin: bytes, end: bytes, depth: int) -> None:
    with pytest.raises((RecursionError, TooManyValuesError)):
        parse_json(begin * depth + b"1" + end * depth)

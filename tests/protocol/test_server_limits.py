"""Limits and delays of responses: every header and sentence of real servers, and any other text."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagesdk._protocol.server_limits import (
    NO_SERVER_LIMITS,
    LimitUnit,
    ServerLimit,
    ServerLimits,
    parse_server_limits,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def parse(headers: dict[str, str] | None = None, words: str = "") -> ServerLimits:
    return parse_server_limits(headers or {}, words, NOW)


def family(what: str, **facts: str) -> dict[str, str]:
    return {f"x-ratelimit-{name}-{what}": value for name, value in facts.items()}


def test_a_response_without_limits_or_delays_has_none() -> None:
    assert parse({"content-type": "application/json"}, "no such model") == NO_SERVER_LIMITS
    assert NO_SERVER_LIMITS.wait is None
    assert not NO_SERVER_LIMITS.never_fits(10)


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"retry-after": "7"}, 7), ({"retry-after": " 7 "}, 7), ({"retry-after": "0"}, 0),
    ({"retry-after": "1.5"}, 1.5), ({"retry-after-ms": "534"}, 0.534),
    ({"retry-after-ms": "534", "retry-after": "1"}, 0.534),
    ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
    ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30),
    ({"retry-after": "Mon, 23 Nov 2026 12:00:30 -0000"}, 30),
    ({"retry-after": "Mon, 23 Nov 2026 13:00:30 +0100"}, 30),
    ({"retry-after": "Mon, 23 Nov 2026 11:59:00 GMT"}, 0), ({"retry-after": "26s"}, 26),
    ({"retry-after": "1m30s"}, 90),
])  # fmt: skip
def test_a_delay_is_read_from_headers(headers: dict[str, str], seconds: float) -> None:
    assert parse(headers, "try again in 99s").wait == pytest.approx(seconds)


@pytest.mark.parametrize(("words", "seconds"), [
    ("Please try again in 467ms.", 0.467), ("Please retry after 26 seconds.", 26),
    ("Please try again in 12s.", 12),
    ("Please try again in 20s. Visit https://platform.openai.com/account/rate-limits", 20),
    ("Please try again in 1m2s.", 62), ("Please try again in 6m0s", 360),
    ("Please try again in 1h2m3.5s.", 3723.5),
    ("please slow down and try again after 51.84 seconds.", 51.84),
    ("retry in 5s", 5), ("Try again in 1 second", 1), ("try again in 2 minutes 5 seconds", 125),
    ("try again in 1 hour", 3600), ("TRY AGAIN IN 3S", 3),
])  # fmt: skip
def test_a_delay_is_read_from_the_message(words: str, seconds: float) -> None:
    assert parse(words=words).wait == pytest.approx(seconds)


ABSURD = ["", "soon", "-5", "nan", "inf", "\x00"]


@pytest.mark.parametrize(
    "value",
    [*ABSURD, "1e400", "9" * 400]
    + [f"Mon, {date}" for date in ("99 Nov 2026 12:00:00 GMT", "23 Nov 99999 12:00:00 GMT")]
    + ["1 Jan 2024 00:00:00 +99999999999999999999"],
)
def test_an_absurd_delay_is_skipped_for_that_of_the_message(value: str) -> None:
    assert parse({"retry-after": value}).wait is None
    assert parse({"retry-after": value}, "try again in 3s").wait == 3
    assert parse({"retry-after-ms": value}, "try again in 3s").wait == 3


@pytest.mark.parametrize(
    "words", ["", "try again later", "try again in a moment", "in 3s", "try again in " + "9" * 400 + "s"]
)
def test_a_response_without_a_delay_has_none(words: str) -> None:
    assert parse(words=words).wait is None


@pytest.mark.parametrize(("headers", "message", "delay", "wait"), [
    ({}, "", "3.5s", 3.5), ({}, "Please retry in 26.448s.", "26s", 26.448),
    ({"retry-after": "7"}, "", "3.5s", 7), ({}, "", "soon", None), ({}, "", "", None),
])  # fmt: skip
def test_a_delay_of_the_body_is_read_after_headers_and_message(
    headers: dict[str, str], message: str, delay: str, wait: float | None
) -> None:
    assert parse_server_limits(headers, message, NOW, retry_delay=delay).wait == wait


@pytest.mark.parametrize(("reset", "seconds"), [
    ("1ms", 0.001), ("120ms", 0.12), ("58.891s", 58.891), ("6m0s", 360), (" 1h1m1s ", 3661), ("1d", 86400),
    ("12", 12), ("0.5", 0.5), (str(int(NOW.timestamp()) + 30), 30), (f"{NOW.timestamp() + 1.5:.1f}", 1.5),
    (str(int(NOW.timestamp()) - 30), 0),
])  # fmt: skip
@pytest.mark.parametrize("what", ["images", "input-images", "requests", "tokens"])
def test_a_delay_is_the_reset_of_a_limit_without_remaining_capacity(
    what: str, reset: str, seconds: float
) -> None:
    assert parse(family(what, limit="5", remaining="0", reset=reset)).wait == pytest.approx(seconds)
    assert parse(family(what, limit="5", remaining="1", reset=reset)).wait is None
    assert parse(family(what, limit="5", reset=reset)).wait is None


@pytest.mark.parametrize("reset", [*ABSURD, "-1s", "1s later", "1 fortnight"])
def test_an_absurd_reset_is_skipped(reset: str) -> None:
    assert parse(family("images", remaining="0", reset=reset)).waits == ()


@given(st.integers(0, 10**8))
def test_a_delay_as_a_date_is_the_time_until_then(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse({"retry-after": date}).wait == seconds


LONG_IMAGES = (
    "Rate limit exceeded for images per minute in organization org-x. Limit: 5/1min. Current: 6/1min. "
    "Please visit https://platform.openai.com/docs/guides/rate-limits to learn more."
)
LONG_INPUTS = (
    "Rate limit reached for gpt-image-2-codex (for limit gpt-image) in organization org on input-images "
    "per min: Limit 4000, Used 4000. Please try again in 467ms."
)
TOKENS = "on tokens per min (TPM): Limit 30000, Used 29446, Requested 821. Please try again in 534ms."
RECORDED = {
    "retry-after": "1", "retry-after-ms": "534",
    **family("input-images", limit="50000", remaining="49999", reset="1ms"),
    **family("tokens", limit="30000", remaining="0", reset="1.1s"),
}  # fmt: skip
EVERY = {"retry-after-ms": "534", "retry-after": "30", **family("images", remaining="0", reset="59s")}


@pytest.mark.parametrize(("headers", "words", "waits"), [
    (EVERY, "Please try again in 12s.", (0.534, 30, 12, 59)), (RECORDED, TOKENS, (0.534, 0.534, 1.1)),
    ({"retry-after": "1"}, "Please try again in 467ms.", (0.467,)),
    ({"retry-after": "12"}, "Please try again in 11.2s.", (11.2,)),
    ({"retry-after": "3"}, "Please try again in 1.5s.", (3, 1.5)),
])  # fmt: skip
def test_the_most_exact_delay_is_first_and_replaces_a_rounded_one(
    headers: dict[str, str], words: str, waits: tuple[float, ...]
) -> None:
    assert parse(headers, words).waits == pytest.approx(waits)


@pytest.mark.parametrize(("words", "refused", "limit", "per", "requested"), [
    (LONG_IMAGES, "images", 5, 60, None), (LONG_INPUTS, "images", 4000, 60, None),
    ("on input-images per min: Limit 5, Requested 10. Try again in 12s.", "images", 5, 60, 10),
    ("images per day: Limit 100, Used 100", "images", 100, 86400, None),
    ("images per minute. Limit: 0/1min. Current: 1/1min.", "images", 0, 60, None),
    ("images per minute. Limit: 20/1h.", "images", 20, 3600, None),
    ("images per minute. Limit: 1,000/1min. Current: 1,001/1min.", "images", 1000, 60, None),
    ("images per min: Limit 30,000, Used 29,990, Requested 50,000.", "images", 30000, 60, 50000),
    (TOKENS, "tokens", 30000, 60, 821),
    ("on requests per min (RPM): Limit 3, Used 3, Requested 1.", "requests", 3, 60, 1),
    ("requests per day. Limit: 200/1day.", "requests", 200, 86400, None),
    ("Limit: 20/1h", "images", 20, 3600, None), ("Limit: 50/10s", "images", 50, 10, None),
    ("Limit:50/min", "images", 50, 60, None), ("Limit: 5/2minutes", "images", 5, 120, None),
    ("LIMIT: 3 / 2 HOURS", "images", 3, 7200, None), ("Limit: 9/second", "images", 9, 1, None),
    ("Limit: 9/1 day", "images", 9, 86400, None), ("Limit: 9/0min", "images", 9, None, None),
    ("Limit: 9/fortnight", "images", 9, None, None), ("Limit 20, Used 20", "images", 20, None, None),
])  # fmt: skip
def test_a_limit_is_read_from_the_message(
    words: str, refused: LimitUnit, limit: int, per: float | None, requested: int | None
) -> None:
    limits = parse(words=words)
    assert limits.limits == {refused: ServerLimit(limit, per)}
    assert (limits.exceeded, limits.requested) == (refused, requested)


@pytest.mark.parametrize("words", [
    "You've exceeded the rate limit, please slow down and try again after 51.84 seconds.",
    "You exceeded your current quota, please check your plan and billing details.",
    "Resource has been exhausted (e.g. check quota).", "Limit: 2 concurrent requests", "Limit: none",
    "Limit: -5/1min", "limit5", "climate: limitless 5", "images per minute",
])  # fmt: skip
def test_a_message_without_a_limit_has_none(words: str) -> None:
    limits = parse(words=words)
    assert (limits.limits, limits.exceeded, limits.explicit) == ({}, None, False)


@pytest.mark.parametrize(
    ("what", "counted"),
    [("images", "images"), ("input-images", "images"), ("requests", "requests"), ("tokens", "tokens")],
)
def test_a_limit_is_read_from_the_headers_of_each_unit(what: str, counted: LimitUnit) -> None:
    limits = parse(family(what, limit="50", remaining="49", reset="1ms"))
    assert limits.limits == {counted: ServerLimit(50)}
    assert (limits.exceeded, limits.waits) == (None, ())


@pytest.mark.parametrize("what", ["audio-minutes", "project-tokens", "IMAGES", ""])
def test_a_limit_of_an_unknown_unit_is_ignored(what: str) -> None:
    assert parse(family(what, limit="50", remaining="0", reset="9s")) == NO_SERVER_LIMITS


@pytest.mark.parametrize("limit", ["", "many", "-5", "5.5", "1e3", "5, 5", " ", "٣", "\x00", "9" * 16])
def test_a_limit_that_is_not_a_whole_number_is_ignored(limit: str) -> None:
    assert parse(family("images", limit=limit)).limits == {}


def test_a_limit_of_images_precedes_that_of_input_images() -> None:
    for first, second in (("images", "input-images"), ("input-images", "images")):
        limits = {"images": "50", "input-images": "50000"}
        headers = {**family(first, limit=limits[first]), **family(second, limit=limits[second])}
        assert parse(headers).limits == {"images": ServerLimit(50)}
        assert parse(headers).explicit


def test_a_limit_in_the_message_precedes_that_in_headers() -> None:
    headers = {**family("images", limit="50"), **family("requests", limit="500")}
    limits = parse(headers, "images per minute. Limit: 5/1min.")
    assert limits.limits == {"images": ServerLimit(5, 60), "requests": ServerLimit(500)}
    assert limits.exceeded == "images"


@pytest.mark.parametrize(("headers", "words", "explicit"), [
    (family("images", limit="50"), "", True),
    ({}, "Rate limit exceeded for images per minute. Limit: 50/1min.", True),
    (family("input-images", limit="50000"), "", False), (family("requests", limit="50"), "", False),
    ({**family("input-images", limit="50000"), **family("images", remaining="3")}, "", False),
    ({}, "tokens per min: Limit 30000", False), ({}, "Rate limit reached. Limit: 500/1min.", False),
])  # fmt: skip
def test_a_limit_is_explicit_if_its_unit_is_images(
    headers: dict[str, str], words: str, explicit: bool
) -> None:
    assert parse(headers, words).explicit is explicit


@pytest.mark.parametrize(("words", "images", "never"), [
    ("images per minute. Limit: 0/1min. Current: 1/1min.", 1, True),
    ("images per minute. Limit: 5/1min. Current: 6/1min.", 1, False),
    ("images per minute. Limit: 5/1min. Current: 9/1min.", 5, False),
    ("images per minute. Limit: 5/1min. Current: 6/1min.", 6, True),
    ("input-images per min: Limit 5, Requested 10.", 1, True),
    ("input-images per min: Limit 5, Used 5, Requested 5.", 10, False),
    ("requests per minute. Limit: 5/1min.", 10, False), ("requests per minute. Limit: 0/1min.", 10, True),
    ("tokens per min (TPM): Limit 30000, Used 29446, Requested 821.", 1, False),
    ("tokens per min (TPM): Limit 30000, Used 0, Requested 30001.", 1, True),
    ("Limit: none", 10, False), ("Limit: " + "9" * 5000, 10, False), ("Requested 10", 10, False),
    ("", 10, False),
])  # fmt: skip
def test_a_limit_below_the_request_never_fits(words: str, images: int, never: bool) -> None:
    assert parse(words=words).never_fits(images) is never


def test_only_the_exceeded_limit_can_never_fit() -> None:
    headers = {**family("images", limit="0"), **family("requests", limit="0")}
    assert not parse(headers).never_fits(1)
    assert not parse(headers, "tokens per min: Limit 30000, Requested 821.").never_fits(1)


WORDS = (
    "limit limit: Limit: / min 1h per images input-images tokens requests requested Requested: try again in retry after "
    "ms s m h d seconds 0 5 12 51.84 -5 1e9 nan inf , . : + - GMT Nov Mon, 2026 12:00:30 99999999999999999999"
)
pieces = st.sampled_from(WORDS.split())
texts = st.lists(pieces, max_size=12).map(" ".join) | st.lists(pieces, max_size=6).map("".join) | st.text()
units = st.sampled_from(["images", "input-images", "requests", "tokens", "else"])
facts = st.sampled_from(["limit", "remaining", "reset"])
names = st.sampled_from(["retry-after", "retry-after-ms"]) | st.builds(
    "x-ratelimit-{}-{}".format, facts, units
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(names, texts, max_size=6), texts, st.integers(1, 10))
@example({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2300"}, "", 1)
@example({"retry-after": "0:"}, "", 1)
def test_any_text_gives_plausible_values_or_none(headers: dict[str, str], words: str, images: int) -> None:
    limits = parse(headers, words)
    assert all(0 <= seconds < math.inf for seconds in limits.waits)
    assert limits.wait == (limits.waits[0] if limits.waits else None)
    for limit in limits.limits.values():
        assert 0 <= limit.limit < 10**15
        assert limit.per is None or 0 < limit.per < math.inf
    assert limits.exceeded is None or limits.exceeded in limits.limits
    assert "images" in limits.limits or not limits.explicit
    assert limits.never_fits(images) in {True, False}

"""Responses, names and headers of any kind: each ends in a result or an error of ours, however it is cut."""

from __future__ import annotations

import base64
import json
import pickle
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePath
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagesdk import AsyncClient, DownloadError, InvalidRequestError, RateLimit, RetryPolicy
from imagesdk._media.output import OutputTemplate
from imagesdk._media.sniff import extension, sniff
from imagesdk._protocol.api_errors import is_error_document, status_failure
from imagesdk._protocol.decompression import Decompressor
from imagesdk._protocol.responses import parse_response
from imagesdk._protocol.retry import decide
from imagesdk._protocol.scanner import ImageEnd, ImagePiece, ImageStart, ScanError, Scanner
from imagesdk._protocol.server_limits import parse_server_limits
from imagesdk._protocol.sse import EventStream, Message
from imagesdk._ratelimit.window import SlidingWindow
from imagesdk.models import lookup
from tests.soak.exchanges import exchange
from tests.soak.mutations import Answer, mutated, pictures, recorded, urls
from tests.support.small_images import JPEG, WEBP, answer, png
from tests.support.socket_servers import always, serving

MakeClient: TypeAlias = Callable[..., AsyncClient]

pytestmark = pytest.mark.anyio

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)
CALLS = 100

chances = st.randoms(use_true_random=False)


def pieces(whole: bytes, cuts: Iterable[int]) -> list[bytes]:
    ends = sorted(cut % (len(whole) + 1) for cut in cuts)
    return [whole[begin:end] for begin, end in zip([0, *ends], [*ends, len(whole)], strict=True)]


def header(made: Answer, name: str) -> str | None:
    return next((value.decode("latin-1") for key, value in made.headers if key == name.encode()), None)


def read(chunks: Iterable[bytes], encoding: str | None) -> Any:
    """Return what a client makes of the body of a good answer: all of it, or why it cannot be read."""
    try:
        inflater, scanner = Decompressor(encoding), Scanner()
        found: dict[int, bytes] = {}
        for chunk in chunks:
            for plain in inflater.feed(chunk):
                for event in scanner.feed(plain):
                    if not isinstance(event, ImageEnd):
                        more = event.data if isinstance(event, ImagePiece) else b""
                        found[event.number] = found.get(event.number, b"") + more
        inflater.finish()
        document = scanner.document()
        if is_error_document(document):
            failure = status_failure(200, {}, scanner.rest(), now=NOW, requested=1)
            return type(failure.error), failure.error.message
        return parse_response(document, lookup("dall-e-2")), found
    except ScanError as error:
        return str(error)


@given(chances, st.sampled_from([pictures, urls, recorded]), st.lists(st.integers(0, 10**6), max_size=30))
def test_the_body_of_any_answer_is_read_or_refused_and_cuts_change_nothing(
    chance: Random, good: Callable[[Random], Answer], cuts: list[int]
) -> None:
    made = mutated(good(chance), chance)
    encoding = header(made, "content-encoding")
    assert read(pieces(made.body, cuts), encoding) == read([made.body], encoding)


def stream(chunks: Iterable[bytes]) -> Any:
    """Return the names, texts and images of server-sent events, or why they cannot be read."""
    events, found, whole = EventStream(), list[Any](), b""
    try:
        for chunk in chunks:
            for item in events.feed(chunk):
                if isinstance(item, ImageStart):
                    whole = b""
                elif isinstance(item, ImagePiece):
                    whole += item.data
                elif isinstance(item, ImageEnd):
                    found.append(whole)
                elif isinstance(item, Message):
                    found.append((item.event, item.scanner.rest()))
    except ScanError as error:
        return str(error)
    return found


words = [b"data:", b"data", b"event:", b"event: x", b": ", b" ", b"\xef\xbb\xbf"]
words += [b"\n", b"\n\n", b"\r", b"\r\n"]
words += [b'{"b64_json":"QUJD', b'"}', b'{"url":"data:image/png;base64,QUI=', b'"', b"\\", b"="]


@given(
    st.lists(st.sampled_from(words) | st.binary(max_size=6), max_size=25).map(b"".join),
    st.lists(st.integers(0, 10**4), max_size=20),
)
def test_any_event_stream_is_read_or_refused_and_cuts_change_nothing(whole: bytes, cuts: list[int]) -> None:
    expected = stream([whole])
    assert stream(pieces(whole, cuts)) == expected
    assert stream(whole[at : at + 1] for at in range(len(whole))) == expected


@given(chances, st.sampled_from([200, 400, 403, 404, 408, 409, 429, 500, 503, 599]), st.integers(1, 10))
def test_any_refusal_can_be_pickled_and_decided_on(chance: Random, status: int, requested: int) -> None:
    made = mutated(recorded(chance), chance)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in made.headers}

    failure = status_failure(status, headers, made.body, now=NOW, requested=requested)

    assert str(pickle.loads(pickle.dumps(failure.error))) == failure.error.message
    policy = RetryPolicy()
    decision = decide(
        failure, policy=policy, attempt=1, maybe_billed_retries=0, limited=False, remaining=None, chance=1.0
    )
    assert 0 <= getattr(decision, "delay", 0) <= policy.max_retry_after + policy.max_backoff


values = st.text(st.sampled_from("0123456789.-+:smhd GMTeE,") | st.characters(), max_size=30)
names = st.sampled_from(
    ["retry-after", "retry-after-ms"]
    + [
        f"x-ratelimit-{fact}-{what}"
        for fact in ("limit", "remaining", "reset")
        for what in ("images", "input-images", "requests", "tokens", "x")
    ]
)
sentences = st.lists(
    st.sampled_from(["Limit: ", "limit ", "/", "min", "1", "0", "999999999", "try again in ", "ms", "h", "."])
    | st.sampled_from([" images per min", " tokens per day", " requests per sec", "Requested ", " "])
    | st.characters(),
    max_size=20,
).map("".join)


@given(st.dictionaries(names, values, max_size=5), sentences, st.booleans())
def test_whatever_limits_a_server_reports_the_next_request_is_granted_in_the_end(
    headers: dict[str, str], message: str, adaptive: bool
) -> None:
    stated = parse_server_limits(headers, message, NOW)
    window = SlidingWindow(RateLimit(50), adaptive=adaptive)
    permit, other = window.enqueue(1), window.enqueue(1)
    window.grant_ready(0.0)
    window.sent(permit, 0.0)
    window.rejected(permit, 0.5, stated)
    window.accepted(other, stated)

    now, granted = 0.5, list[Any]()
    for _ in range(100):
        more, at = window.grant_ready(now)
        granted += more
        if at is None:
            break
        assert at > now
        now = at
    assert permit in granted
    window.sent(permit, now)
    assert window.limit.images >= 1
    assert 0 < window.limit.per < 1e12


heads = [png(7, 5), png(alpha=False), JPEG, WEBP, b"<svg>"]
heads += [b"GIF89a\x01\x00\x02\x00", b"\x00\x00\x00\x20ftypavif"]


@given(
    st.sampled_from(heads),
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255))),
)
def test_any_head_gives_facts_and_extension(head: bytes, length: int, changes: list[tuple[int, int]]) -> None:
    changed = bytearray(head[:length])
    for at, value in changes:
        if changed:
            changed[at % len(changed)] = value

    facts = sniff(bytes(changed))

    assert re.fullmatch("[a-z]{3,4}", extension(facts.media_type))
    assert all(size is None or 0 <= size < 2**32 for size in (facts.width, facts.height))


fields = st.sampled_from(
    ["{index}", "{job}", "{id}", "{slug}", "{ext}", "{index:03}", "{index:c}", "{slug!r}", "{{"]
)


@given(
    st.lists(fields | st.text("{}!:.[]/\\-%<>=^0cdxs\0a", max_size=4), min_size=1, max_size=8).map("".join)
)
@example("{index:c}.png")
def test_a_template_keeps_images_apart_and_in_its_folder_or_is_refused(out: str) -> None:
    with suppress(InvalidRequestError):
        destination = OutputTemplate.parse(out, n=3)
        paths = {destination.path(index=i, job=0, id="i", slug="a-cat", ext="png") for i in range(3)}
        assert len(paths) == 3
        for path in paths:
            assert "\0" not in str(path)
            assert ".." not in PurePath(str(path)).relative_to(str(destination.folder)).parts


@given(
    st.text(st.characters(exclude_characters='",\\', exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["", ";base64", ";BASE64", "; base64", ";base64 ", ";base6"]),
    st.binary(min_size=1, max_size=40),
    st.lists(st.integers(0, 10**4), max_size=10),
)
def test_a_data_url_gives_bytes_or_is_refused(kind: str, ending: str, data: bytes, cuts: list[int]) -> None:
    header = f"data:{kind}{ending}"
    url = f"{header},{base64.b64encode(data).decode()}"
    whole = json.dumps({"data": [{"url": url}]}, ensure_ascii=False).encode()

    found = read(pieces(whole, cuts), None)

    if re.search(";base64[ \t\r\n]*$", header, re.IGNORECASE | re.ASCII):
        assert found[1] == {0: data}
    else:
        assert found == "a data URL is not base64"


async def test_any_exchange_ends_with_a_response_or_our_error_and_leaves_nothing(tmp_path: Path) -> None:
    ended = await exchange(50, 0, CALLS, tmp_path)

    assert ended.total() == CALLS
    assert ended["response"] > CALLS / 10
    assert len(ended) > 8


@pytest.mark.parametrize(
    "host",
    ["\u2488", "a\u3002\u3002b", "xn--\ud800", "\u00e4" * 64],
    ids=["symbol", "empty label", "surrogate", "long label"],
)
async def test_a_url_whose_host_can_be_no_name_is_not_fetched(host: str) -> None:
    async with AsyncClient(base_url="https://images.test/v1", api_key="") as client:
        with pytest.raises(DownloadError):
            await client.images.download(f"https://{host}/cat.png", timeout=5)


async def test_an_empty_download_raises_and_leaves_no_file(make_client: MakeClient, tmp_path: Path) -> None:
    async with serving(always(b"", content_type="image/png")) as server:
        async with make_client(server.base_url) as client:
            with pytest.raises(DownloadError, match="empty"):
                await client.images.download("/cat.png", to=tmp_path / "cat.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tokens", [10**400, -(10**400), 10**30], ids=["huge", "huge and negative", "large"])
async def test_images_arrive_however_many_tokens_the_server_reports(
    make_client: MakeClient, tmp_path: Path, tokens: int
) -> None:
    handler = always(answer(png(), usage={"total_tokens": tokens}))
    limit = RateLimit(50, tokens=1000, scope="client")
    async with serving(handler) as server, make_client(server.base_url, rate_limit=limit) as client:
        for name in ("first.png", "second.png"):
            await client.images.generate("a cat", out=tmp_path / name, timeout=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "second.png"]

"""Lines of batch files, in and out: shards, results, and what became of lines without one."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagesdk import Edit, FileId, Generate, InvalidRequestError, Variation, models
from imagesdk._protocol.batch_api import parse_batch, poll_after
from imagesdk._protocol.batch_input import (
    BatchLine,
    Shard,
    ShardLimits,
    batch_line,
    halved,
    output_bytes,
)
from imagesdk._protocol.batch_output import BatchFileScanner, LineEnd, is_undone, line_result, read_line
from imagesdk._protocol.batch_rules import fate_of_rest, poll_delay, token_wait
from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host
from imagesdk._protocol.inputs import InputImages, RemoteImage
from imagesdk._protocol.responses import ParsedResponse
from imagesdk._protocol.retry import Failure
from imagesdk._protocol.scanner import ImagePiece
from imagesdk.reports import Batch, BatchCounts

HOST = Host(OPENAI_BASE_URL)
PROFILE = models.lookup("gpt-image-2")


def output_line(custom_id: str, images: Sequence[bytes] = (b"image",), **more: Any) -> bytes:
    data = [{"b64_json": base64.b64encode(image).decode()} for image in images]
    response = {"status_code": 200, "request_id": f"req-{custom_id}", "body": {"created": 1, "data": data}}
    line = {"id": "x", "custom_id": custom_id, "response": response, "error": None, **more}
    return json.dumps(line).encode()


def scanned(chunks: Sequence[bytes], start: int = 0) -> tuple[list[tuple[str | None, bytes]], int]:
    """Return the ``custom_id`` and the bytes of all images of each line, and the offset behind the last one."""
    scanner, found, pieces = BatchFileScanner(start=start), list[tuple[str | None, bytes]](), b""
    for events in [*(step for chunk in chunks for step in scanner.steps(chunk)), scanner.finish()]:
        for event in events:
            if isinstance(event, ImagePiece):
                pieces += event.data
            elif isinstance(event, LineEnd):
                found.append((read_line(event, {}).custom_id, pieces))
                pieces = b""
    return found, scanner.complete


def result(line: bytes) -> ParsedResponse | Failure:
    scanner = BatchFileScanner()
    steps = [*scanner.steps(line), scanner.finish()]
    [end] = [event for events in steps for event in events if isinstance(event, LineEnd)]
    return line_result(
        read_line(end, {}),
        profile=PROFILE,
        now=datetime.now(UTC),
        images=1,
        model="gpt-image-2",
        path="/images/generations",
        is_openai=True,
    )


@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=3), max_size=5),
    st.lists(st.integers(0, 2000), max_size=12),
    st.booleans(),
)
@example([[b"a"], [b"b"]], [], True)
def test_lines_are_the_same_wherever_a_chunk_ends(
    images: list[list[bytes]], cuts: list[int], ends_with_a_break: bool
) -> None:
    lines = [output_line(str(number), each) for number, each in enumerate(images)]
    content = b"\n".join(lines) + (b"\n" if ends_with_a_break and lines else b"")
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    chunks = [content[start:end] for start, end in pairwise(edges)]

    found, complete = scanned(chunks)
    assert found == [(str(number), b"".join(each)) for number, each in enumerate(images)]
    assert complete == len(content)


@given(st.integers(1, 5), st.integers(0, 4000))
def test_a_scan_from_the_end_of_the_last_complete_line_continues_where_a_download_broke(
    count: int, broken_at: int
) -> None:
    content = b"".join(output_line(str(number)) + b"\n" for number in range(count))
    scanner, before = BatchFileScanner(), list[str | None]()
    for events in scanner.steps(content[:broken_at]):
        before += [read_line(event, {}).custom_id for event in events if isinstance(event, LineEnd)]
    after, _ = scanned([content[scanner.complete :]], scanner.complete)

    assert [*before, *(custom_id for custom_id, _ in after)] == [str(number) for number in range(count)]


def test_a_line_that_cannot_be_read_names_its_job_and_does_not_affect_the_next_one() -> None:
    broken = b'{"custom_id": "one", "response": {"status_code": 200, "body": {"data": [{"b64_json": "%%"}]}}}'
    found, _ = scanned([broken + b"\n\n" + output_line("two")])
    assert [custom_id for custom_id, _ in found] == ["one", "two"]
    failure = result(broken)
    assert isinstance(failure, Failure)
    assert failure.kind == "unreadable"
    assert failure.error.maybe_billed


def line_with(status: int | None, body: object = None, error: object = None) -> bytes:
    response = None if status is None else {"status_code": status, "request_id": "r", "body": body}
    return json.dumps({"custom_id": "1", "response": response, "error": error}).encode()


@pytest.mark.parametrize(
    ("line", "kind", "error"),
    [
        (line_with(400, {"error": {"message": "no", "code": "invalid_value"}}), "refused", "BadRequestError"),
        (
            line_with(400, {"error": {"message": "no", "code": "moderation_blocked"}}),
            "refused",
            "ModerationError",
        ),
        (line_with(429, {"error": {"message": "slow"}}), "refused", "RateLimitError"),
        (line_with(500, {"error": {"message": "oh"}}), "unknown", "InternalServerError"),
        (line_with(0), "unknown", "OutcomeUnknownError"),
        (line_with(200, {"data": []}), "unreadable", "APIResponseError"),
        (line_with(200, None), "unreadable", "APIResponseError"),
        (line_with(None), "unknown", "OutcomeUnknownError"),
        (line_with(None, error={"code": "odd", "message": "what"}), "unknown", "OutcomeUnknownError"),
        (
            line_with(None, error={"code": "batch_expired", "message": "late"}),
            "never_sent",
            "APIConnectionError",
        ),
        (line_with(None, error={"code": "batch_cancelled"}), "never_sent", "APIConnectionError"),
        (b"[1]", "unreadable", "APIResponseError"),
        (b"not json", "unreadable", "APIResponseError"),
    ],
)
def test_every_kind_of_line_is_a_typed_failure(line: bytes, kind: str, error: str) -> None:
    failure = result(line)
    assert isinstance(failure, Failure)
    assert (failure.kind, type(failure.error).__name__) == (kind, error)
    assert failure.error.maybe_billed == (kind in {"unknown", "unreadable"})


def test_a_line_with_an_image_is_a_response() -> None:
    found = result(output_line("a", [b"one", b"two"]))
    assert isinstance(found, ParsedResponse)
    assert len(found.images) == 2


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=60),
    st.builds(ShardLimits, st.integers(1, 150), st.integers(1, 7), st.integers(1, 150)),
)
def test_no_shard_exceeds_a_limit_unless_it_has_one_line_and_no_line_is_lost(
    sizes: list[tuple[int, int]], limits: ShardLimits
) -> None:
    shards = [Shard(limits)]
    for content, output in sizes:
        line = BatchLine("/v1/images/generations", "m", bytes(content), output)
        if not shards[-1].takes(line):
            shards.append(Shard(limits))
        shards[-1].add(line)

    assert sum(shard.lines for shard in shards) == len(sizes)
    for shard in shards:
        within = shard.input_bytes <= limits.input_bytes and shard.output_bytes <= limits.output_bytes
        assert shard.lines == 1 or (within and shard.lines <= limits.lines)


def test_a_shard_is_bound_by_the_bytes_of_its_results_long_before_its_lines() -> None:
    job = Generate("a cat", model="gpt-image-2", size="2048x2048", quality="high")
    line = batch_line(job, InputImages(), "1-a", PROFILE, HOST)
    assert 5_000_000 < line.output_bytes < 20_000_000
    assert ShardLimits().output_bytes // line.output_bytes < 100
    assert output_bytes(Generate("a", n=4), PROFILE, 4) > 3 * output_bytes(Generate("a"), PROFILE, 1)


def test_halving_ends_at_one_line() -> None:
    limits = ShardLimits()
    for _ in range(40):
        limits = halved(limits, limits.lines)
    assert limits.lines == 1


def test_a_line_is_the_json_form_of_its_job_with_file_ids_for_images() -> None:
    job = Edit(
        [FileId("file-1"), "https://images.test/x.png"], "a pool", mask=FileId("file-2"), model="gpt-image-2"
    )
    images = InputImages(
        (RemoteImage(file_id="file-1"), RemoteImage("https://images.test/x.png")),
        RemoteImage(file_id="file-2"),
    )
    assert json.loads(batch_line(job, images, "7-pool", PROFILE, HOST).content) == {
        "custom_id": "7-pool",
        "method": "POST",
        "url": "/v1/images/edits",
        "body": {
            "prompt": "a pool",
            "model": "gpt-image-2",
            "images": [{"file_id": "file-1"}, {"image_url": "https://images.test/x.png"}],
            "mask": {"file_id": "file-2"},
        },
    }
    with pytest.raises(InvalidRequestError, match="no variations"):
        batch_line(Variation(b"x"), InputImages(), "1", PROFILE, HOST)


@pytest.mark.parametrize(
    ("status", "counts", "found", "gone", "fate"),
    [
        ("failed", None, 0, False, "undone"),
        ("failed", (0, 0, 0), 0, False, "undone"),
        ("failed", (10, 3, 0), 0, False, "unknown"),
        ("completed", (10, 10, 0), 9, False, "unknown"),
        ("completed", (10, 9, 0), 9, False, "unknown"),
        ("cancelled", (10, 4, 1), 5, False, "undone"),
        ("cancelled", (10, 5, 1), 5, False, "unknown"),
        ("cancelled", (10, 4, 0), 5, False, "unknown"),
        ("cancelled", (0, 0, 0), 0, False, "undone"),
        ("cancelled", None, 5, False, "unknown"),
        ("expired", (10, 5, 0), 5, False, "undone"),
        ("expired", (10, 5, 0), 5, True, "unknown"),
        ("expired", (9, 5, 0), 5, False, "unknown"),
        ("cancelling", (10, 5, 0), 5, False, "unknown"),
        ("in_progress", (10, 0, 0), 0, False, "unknown"),
    ],
)
def test_a_line_in_no_file_is_undone_only_if_counts_and_files_prove_it(
    status: str, counts: tuple[int, int, int] | None, found: int, gone: bool, fate: str
) -> None:
    batch = Batch("b", status, counts=None if counts is None else BatchCounts(*counts))
    assert fate_of_rest(batch, sent=10, found=found, gone=gone) == fate


def test_looks_become_rarer_unless_the_caller_or_the_server_names_a_time() -> None:
    delays = [poll_delay(looks, None, None) for looks in range(20)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (5.0, 60.0)
    assert poll_delay(3, 2.0, None) == 2.0
    assert poll_delay(3, 2.0, 30.0) == 30.0
    assert poll_delay(3, None, 0.1) == 1.0
    assert poll_after({"openai-poll-after-ms": "2500"}) == 2.5
    assert poll_after({"openai-poll-after-ms": "soon"}) is None
    waits = [token_wait(refusals) for refusals in range(1, 12)]
    assert (waits[0], waits[-1]) == (30.0, 600.0)


def test_a_batch_keeps_what_this_version_does_not_know() -> None:
    batch = parse_batch(
        {
            "id": "batch_1",
            "object": "batch",
            "status": "failed",
            "request_counts": {"total": "many"},
            "errors": {"data": [{"code": "invalid_url", "message": "no", "line": 3}, 7]},
            "metadata": {"a": 1},
            "completed_at": None,
            "failed_at": 10,
            "novelty": [1],
        }
    )
    assert batch.ended
    assert batch.counts is None
    assert [(problem.code, problem.line) for problem in batch.problems] == [("invalid_url", 3)]
    assert batch.ended_at == datetime.fromtimestamp(10, UTC)
    assert batch.extra == {"novelty": [1]}
    assert batch.metadata == {"a": "1"}


def test_only_an_error_that_names_the_end_of_the_batch_proves_that_a_request_was_not_begun() -> None:
    undone: list[bool] = []
    for code in ("batch_expired", "batch_cancelled", "server_error"):
        scanner = BatchFileScanner()
        steps = [*scanner.steps(line_with(None, error={"code": code})), scanner.finish()]
        undone += [is_undone(read_line(e, {})) for step in steps for e in step if isinstance(e, LineEnd)]
    assert undone == [True, True, False]

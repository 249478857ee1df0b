"""The rules of the verdict on invented logs: what they excuse, and what they find in the long run."""

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from imagesdk.emulator.detectors import judge
from imagesdk.emulator.log import ConnectionRecord, RequestRecord, SentImage
from imagesdk.emulator.verdict import Evidence
from imagesdk.emulator.wire import seconds_to_wait

PATH = "/v1/images/generations"


def log(*requests: dict[str, Any]) -> list[RequestRecord]:
    """Return records of requests that took a tenth of a second each, one second apart."""
    records: list[RequestRecord] = []
    for number, changes in enumerate(requests, start=1):
        record = RequestRecord("POST", PATH, None, None, False, number=number, fingerprint=f"job {number}")
        began = changes.get("began", float(number))
        times = {"began": began, "answered": began + 0.1, "ended": began + 0.1}
        records.append(evolve(record, **{"status": 200, "complete": True, "n": 1, **times, **changes}))
    return records


def rules_of(
    requests: list[RequestRecord], connections: list[ConnectionRecord] | None = None, limit: int | None = None
) -> list[str]:
    evidence = Evidence(requests, connections or [], limit)
    return [finding.rule for finding in judge(evidence).findings]


def same(*requests: dict[str, Any]) -> list[RequestRecord]:
    """Return attempts of one call."""
    return log(*({"idempotency_key": "one", **one} for one in requests))


DOWN = {"status": 503, "n": 1}


@pytest.mark.parametrize(
    ("requests", "found"),
    [
        (same({"billed": 1, "complete": False}, {"billed": 1}), ["billed-twice"]),
        (same({"billed": 1, "status": 500}, {"billed": 1}), ["billed-twice"]),
        (same({"billed": 1}, {"billed": 1}), ["billed-twice"]),
        (log({"billed": 1, "fingerprint": "a"}, {"billed": 1, "fingerprint": "a"}), []),
        (same({"billed": 0, "status": 500}, {"billed": 1}), []),
        (same({"status": 429, "retry_after": 2}, {}), ["retry-after-ignored"]),
        (same({"status": 429, "retry_after": 0.9}, {}), []),
        (log({"status": 429, "retry_after": 9}, {}), []),
        (same({"status": 400}, {"status": 400}), ["refusal-repeated"]),
        (same({"status": 401}, {"status": 200}), []),
        (same({"status": 429, "error": "insufficient_quota"}, {}), ["refusal-repeated"]),
        (log({"status": 400, "fingerprint": None}, {"status": 400, "fingerprint": None}), []),
        (same(*[DOWN] * 5), []),
        (same(*({**DOWN, "began": number * 0.11} for number in range(1, 6))), ["hammering"]),
        (log(*({**DOWN, "began": number * 0.11} for number in range(1, 30))), ["hammering"]),
        (log(*({**DOWN, "began": number * 0.001} for number in range(1, 60))), []),
        (log(*[DOWN] * 30), []),
    ],
)
def test_attempts_are_judged_by_what_their_client_knew(
    requests: list[RequestRecord], found: list[str]
) -> None:
    assert rules_of(requests) == found


@pytest.mark.parametrize(
    ("apart", "changes", "found"),
    [
        (1.0, {}, ["over-limit"]),
        (0.01, {}, []),  # all were sent before the first response
        (40.0, {}, []),
        (1.0, {"fault": "status 429"}, []),
        (1.0, {"idempotency_key": "one", "retry_after": 0.5}, []),
        (1.0, {"n": 9}, []),
    ],
)
def test_requests_beyond_the_limit_are_excused_if_nothing_had_been_reported(
    apart: float, changes: dict[str, Any], found: list[str]
) -> None:
    refused = {"status": 429, "remaining": 0, **changes}
    requests = log(*({**refused, "began": 1 + number * apart} for number in range(5)))

    assert rules_of(requests, limit=5) == found


def photo(size: int) -> SentImage:
    return SentImage("image", "otter.png", "image/png", size, "5ea")


@pytest.mark.parametrize(
    ("requests", "found"),
    [
        (log(*({"images": [photo(4_000_000)]} for _ in range(6))), ["upload-repeated"]),
        (log(*({"images": [photo(4_000)]} for _ in range(6))), []),
        (log({"images": [photo(9), photo(9)]}), ["upload-repeated"]),
        (log({"images": [photo(9), evolve(photo(9), field="mask")]}), []),
        (log(*({"path": "/v1/files", "images": [photo(9)]} for _ in range(2))), ["upload-repeated"]),
        (
            log(
                {"path": "/v1/files", "images": [photo(9)]},
                {"method": "DELETE", "path": "/v1/files/file-1"},
                {"path": "/v1/files", "images": [photo(9)]},
            ),
            [],
        ),
    ],
)
def test_an_upload_is_repeated_if_the_server_had_the_file(
    requests: list[RequestRecord], found: list[str]
) -> None:
    assert rules_of(requests) == found


STREAM = {"stream": True, "connection": 1, "complete": False}


@pytest.mark.parametrize(
    ("changes", "left", "found"),
    [
        ({}, True, ["stream-abandoned"]),
        ({"completed": True}, True, []),  # all that matters was read
        ({"complete": True}, True, []),
        ({"ended": None}, True, []),
        ({}, False, []),  # the server broke it
    ],
)
def test_a_stream_is_abandoned_if_its_client_left_before_the_completed_image(
    changes: dict[str, Any], left: bool, found: list[str]
) -> None:
    used = [ConnectionRecord(1, ("", 1), 0.9, 5.0, left=left)]

    assert rules_of(log({**STREAM, **changes}), used) == found


def connections(count: int, life: float | None) -> Iterator[tuple[dict[str, Any], ConnectionRecord]]:
    for number in range(1, count + 1):
        closed = None if life is None else number - 0.1 + life
        connection = ConnectionRecord(
            number, ("127.0.0.1", number), number - 0.1, closed, requests=1, left=True
        )
        yield {"connection": number}, connection


@pytest.mark.parametrize(
    ("count", "life", "at_once", "found"),
    [
        (6, 0.5, 1, ["connection-per-request"]),
        (5, 0.5, 1, []),
        (6, None, 1, []),
        (7, None, 1, ["connections-left-open"]),
        (7, None, 2, []),
    ],
)
def test_connections_are_judged_by_the_requests_that_were_in_progress_at_once(
    count: int, life: float | None, at_once: int, found: list[str]
) -> None:
    pairs = list(connections(count, life))
    requests = log(*(request for request, _ in pairs), *({"began": 1.05} for _ in range(at_once - 1)))
    used = [evolve(one, left=life is not None) for _, one in pairs]

    assert rules_of(requests, used) == found


def test_a_full_log_of_bad_requests_has_one_finding_a_rule() -> None:
    bad = {"idempotency_key": "one", "status": 429, "retry_after": 9, "remaining": 0, "billed": 1}
    requests = log(*({**bad, "connection": number} for number in range(1, 2_001)))
    used = [ConnectionRecord(number, ("", number), number - 0.1, requests=1) for number in range(1, 2_001)]

    verdict = judge(Evidence(requests, used, 5), ignore={"billed-twice"})

    assert [finding.rule for finding in verdict.findings] == [
        "retry-after-ignored",
        "over-limit",
        "connections-left-open",
    ]
    assert "and 1991 more" in str(verdict)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "500"}, 0.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_both_headers_and_both_forms_of_a_wait_are_read(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert seconds_to_wait(headers, 60.0) == seconds

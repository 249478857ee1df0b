"""Rules of the verdict: each looks for one mistake in the log, as a pure function.

A rule reports at most one finding, with all the requests that show it. The thresholds leave room for what a correct
client may do: a burst before it knows the limit, one connection for each parallel request, a fast first retry.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from imagesdk.emulator.log import ConnectionRecord, RequestRecord
from imagesdk.emulator.verdict import Evidence, Finding, Verdict

__all__ = ["RULES", "judge"]

Rule: TypeAlias = Callable[[Evidence], Finding | None]

_TOLERANCE = 0.05
"""Seconds by which a timer may be early."""
_REFUSALS = frozenset({400, 401, 403, 404, 413, 422})
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_CREDENTIALS = frozenset({401, 403})
_OVER_LIMIT = 3
_FAST = 0.1
"""Seconds. A shorter delay of a retry counts as none."""
_FAST_RETRIES = 3
_FAILURES_IN_A_ROW = 5
_CALLS_WHILE_DOWN = 10
_CONNECTIONS = 5
"""Connections for each request that was in progress at once."""
_COPIES, _COPIED_BYTES = 5, 8 * 1024 * 1024


def judge(evidence: Evidence, *, ignore: Container[str] = ()) -> Verdict:
    """Apply every rule whose name is not in ``ignore``."""
    found = (rule(evidence) for name, rule in RULES.items() if name not in ignore)
    billed = sum(record.billed for record in evidence.requests)
    return Verdict(tuple(finding for finding in found if finding), len(evidence.requests), billed)


def billed_twice(evidence: Evidence) -> Finding | None:
    """Find calls whose images were billed more than once."""
    twice: list[RequestRecord] = []
    images = 0
    for attempts in _calls(evidence):
        paid = [record for record in attempts if record.billed]
        for earlier, later in pairwise(paid):
            if earlier.idempotency_key is not None or _failed(earlier):
                twice += earlier, later
                images += later.billed
    return _finding(
        "billed-twice",
        f"{images} {_plural(images, 'image')} of calls that had been billed before",
        "no retry after a failure that the server may have billed, or the user's consent to it",
        "each such retry is paid at the full price",
        twice,
    )


def retry_after_ignored(evidence: Evidence) -> Finding | None:
    """Find retries that came before the time that the server asked for."""
    early: list[RequestRecord] = []
    worst = 0.0, 0.0
    for attempts in _calls(evidence):
        for earlier, later in _successive(attempts):
            waited = _waited(earlier, later)
            asked = earlier.retry_after or 0.0
            if waited < asked - _TOLERANCE:
                early.append(later)
                worst = max(worst, (asked - waited, waited))
    missing, waited = worst
    return _finding(
        "retry-after-ignored",
        f"{len(early)} {_plural(len(early), 'retry', 'retries')} before the end of Retry-After: one came after "
        f"{waited:.2f} s of {missing + waited:.2f} s",
        "a retry no sooner than Retry-After says",
        "the server rejects it again, and some servers extend the pause",
        early,
    )


def over_limit(evidence: Evidence) -> Finding | None:
    """Find requests beyond the rate limit whose client had been informed that there was no room."""
    if evidence.limit is None:
        return None
    obedient = {
        later.number
        for attempts in _calls(evidence)
        for earlier, later in _successive(attempts)
        if earlier.retry_after is not None and _waited(earlier, later) >= earlier.retry_after - _TOLERANCE
    }
    left: int | None = None
    window: deque[RequestRecord] = deque()
    most: list[RequestRecord] = []
    answered = deque(_by_time(evidence, lambda record: record.answered))
    for record in _by_time(evidence, lambda record: record.began):
        while answered and (answered[0].answered or 0.0) < record.began:
            remaining = answered.popleft().remaining
            left = left if remaining is None else remaining
        images = record.n or 1
        beyond = record.status == 429 and record.fault is None and images <= evidence.limit
        if beyond and left is not None and left < images and record.number not in obedient:
            window.append(record)
            while record.began - window[0].began >= evidence.window_seconds:
                window.popleft()
            most = max(most, list(window), key=len)
    return _finding(
        "over-limit",
        f"{len(most)} requests beyond {evidence.limit} images in {evidence.window_seconds:g} s, each after a response "
        "that reported too little room",
        "requests that keep to the limit, or wait for x-ratelimit-reset-images",
        "every rejected request delays the work, and many of them may lead to a block of the account",
        most if len(most) >= _OVER_LIMIT else [],
    )


def hammering(evidence: Evidence) -> Finding | None:
    """Find retries without a delay, and new calls one after the other, while the server fails."""
    fast: list[RequestRecord] = []
    for attempts in _calls(evidence):
        quick = [
            later
            for earlier, later in _successive(attempts)
            if _is_down(earlier) and later.began - (earlier.ended or 0.0) < _FAST
        ]
        fast += quick if len(quick) >= _FAST_RETRIES else []
    fast = fast or _new_calls_while_down(evidence)
    return _finding(
        "hammering",
        f"{len(fast)} requests to a failing server without a pause",
        "delays that grow with each failure, and a pause of new work while the server is down",
        "the load keeps the server down, and each request may be billed",
        fast,
    )


def _new_calls_while_down(evidence: Evidence) -> list[RequestRecord]:
    ended = deque(_by_time(evidence, lambda record: record.ended))
    failures = 0
    begun: set[str] = set()
    found: list[RequestRecord] = []
    for record in _by_time(evidence, lambda record: record.began):
        while ended and (ended[0].ended or 0.0) < record.began:
            last = ended.popleft()
            failures = failures + 1 if _is_down(last) else 0
            if not failures and len(found) < _CALLS_WHILE_DOWN:
                found.clear()
        if failures >= _FAILURES_IN_A_ROW and record.call not in begun:
            found.append(record)
        begun.add(record.call or "")
    if len(found) < _CALLS_WHILE_DOWN:
        return []
    spacing = (found[-1].began - found[0].began) / (len(found) - 1)
    return found if spacing < _FAST * 5 else []


def refusal_repeated(evidence: Evidence) -> Finding | None:
    """Find requests that were refused for good and sent again."""
    again: list[RequestRecord] = []
    statuses: set[int] = set()
    for attempts in _calls(evidence):
        for earlier, later in _successive(attempts):
            status = earlier.status or 0
            final = status in _REFUSALS or earlier.error in _NO_MONEY
            if final and not (status in _CREDENTIALS and later.status != status):
                again.append(later)
                statuses.add(status)
    return _finding(
        "refusal-repeated",
        f"{len(again)} {_plural(len(again), 'request')} sent again after {', '.join(map(str, sorted(statuses)))}",
        "an error for the user: the same request has the same response",
        "time and load for nothing, and a user who waits for an error",
        again,
    )


def octet_stream(evidence: Evidence) -> Finding | None:
    """Find images that were sent without their media type."""
    sent = [
        record
        for record in _image_requests(evidence)
        if any(image.media_type.startswith("application/octet-stream") for image in record.images)
    ]
    return _finding(
        "octet-stream",
        f"{len(sent)} {_plural(len(sent), 'request')} with an image as application/octet-stream",
        "the media type of each image, such as image/png, and a file name with its extension",
        "the API rejects the upload after all of it was sent",
        sent,
    )


def upload_repeated(evidence: Evidence) -> Finding | None:
    """Find images that were uploaded more often than needed."""
    again: list[RequestRecord] = []
    stored: set[tuple[object, str]] = set()
    uses: dict[str, dict[str, RequestRecord]] = {}
    size = 0
    for record in evidence.requests:
        if record.method == "DELETE" and "/files/" in record.path:
            stored.clear()
        if record.method != "POST" or record.status != 200:
            continue
        in_request: set[str] = set()
        for image in record.images:
            if record.path.endswith("/files"):
                key = record.parameters.get("purpose"), image.sha256
                repeated = key in stored
                stored.add(key)
            else:
                repeated = image.sha256 in in_request and image.field.startswith("image")
                calls = uses.setdefault(image.sha256, {})
                calls.setdefault(record.call or "", record)
                if len(calls) > _COPIES and len(calls) * image.size > _COPIED_BYTES:
                    repeated = True
            in_request.add(image.sha256)
            if repeated:
                size += image.size
                again += [record] if record not in again[-1:] else []
    return _finding(
        "upload-repeated",
        f"{size} bytes of files that the server had already",
        "one upload to /files, and its file_id in each edit",
        "the transfer takes longer than the request, and files count against the storage quota",
        again,
    )


def stream_abandoned(evidence: Evidence) -> Finding | None:
    """Find streams whose client left before it had read the completed image."""
    closed = {one.number for one in evidence.connections if one.left}
    left = [
        record
        for record in _image_requests(evidence)
        if record.stream
        and record.ended is not None
        and not (record.complete or record.completed)
        and record.connection in closed
    ]
    return _finding(
        "stream-abandoned",
        f"{len(left)} {_plural(len(left), 'stream')} that the client closed before the completed image",
        "a stream that is read to its completed event",
        "the images are billed in full and thrown away",
        left,
    )


def connection_per_request(evidence: Evidence) -> Finding | None:
    """Find connections that served one request each, many more than requests were ever in progress at once."""
    alone = [
        record
        for connection, record in _single_use(evidence)
        if connection.left and record.complete and (record.status or 500) < 400
    ]
    return _finding(
        "connection-per-request",
        f"{len(alone)} connections that were closed after one request",
        "one client for the life of the program, whose connections are used again",
        "a TCP and a TLS handshake before every request, often 100 ms or more",
        alone if len(alone) > _CONNECTIONS * _most_at_once(evidence) else [],
    )


def connections_left_open(evidence: Evidence) -> Finding | None:
    """Find clients that open connections beside idle ones, and close none.

    A pool has at most as many connections as there were requests at once.
    """
    used = {connection.number: record for connection, record in _single_use(evidence)}
    events = [(one.opened, 0, one.number) for one in evidence.connections]
    for one in evidence.connections:
        if one.number in used:
            events.append((used[one.number].ended or one.opened, 1, one.number))
            events.append((one.closed or math.inf, 2, one.number))
    idle: set[int] = set()
    most: set[int] = set()
    for _, kind, number in sorted(events):
        if kind == 1:
            idle.add(number)
        elif kind == 2:
            idle.discard(number)
        elif len(idle) > len(most):
            most = set(idle)
    return _finding(
        "connections-left-open",
        f"{len(most)} idle connections that were never used again, while another one was opened",
        "one client for the life of the program, or a client that is closed after its use",
        "sockets and memory until the process runs out of file descriptors",
        [used[number] for number in most] if len(most) > _CONNECTIONS * _most_at_once(evidence) else [],
    )


def _most_at_once(evidence: Evidence) -> int:
    """Return the largest number of requests that were in progress at once."""
    events = [(record.began, 0) for record in evidence.requests]
    events += [(math.inf if record.ended is None else record.ended, 1) for record in evidence.requests]
    current = most = 0
    for _, ends in sorted(events):
        current += -1 if ends else 1
        most = max(most, current)
    return most


def expired_url(evidence: Evidence) -> Finding | None:
    """Find downloads of result URLs that had expired."""
    late = [record for record in evidence.requests if record.expired]
    return _finding(
        "expired-url",
        f"{len(late)} {_plural(len(late), 'download')} of an expired result URL",
        "a download right after the response, or b64_json",
        "result URLs work for an hour: the image was paid for and is lost",
        late,
    )


def key_leaked(evidence: Evidence) -> Finding | None:
    """Find downloads of result URLs that carried the API key."""
    leaked = [record for record in evidence.requests if record.download and record.authorized]
    return _finding(
        "key-leaked",
        f"{len(leaked)} {_plural(len(leaked), 'download')} of a result URL with the API key",
        "no Authorization header for the hosts of result URLs",
        "the key reaches the logs of a host that is not the API",
        leaked,
    )


RULES: Mapping[str, Rule] = {
    "billed-twice": billed_twice,
    "retry-after-ignored": retry_after_ignored,
    "over-limit": over_limit,
    "hammering": hammering,
    "refusal-repeated": refusal_repeated,
    "octet-stream": octet_stream,
    "upload-repeated": upload_repeated,
    "stream-abandoned": stream_abandoned,
    "connection-per-request": connection_per_request,
    "connections-left-open": connections_left_open,
    "expired-url": expired_url,
    "key-leaked": key_leaked,
}
"""Every rule by its name."""


def _finding(
    rule: str, seen: str, expected: str, cost: str, records: Sequence[RequestRecord]
) -> Finding | None:
    numbers = tuple(sorted({record.number for record in records}))
    return Finding(rule, seen, expected, cost, numbers) if numbers else None


def _image_requests(evidence: Evidence) -> list[RequestRecord]:
    return [
        record
        for record in evidence.requests
        if record.method == "POST" and re.search(r"/images/(generations|edits|variations)$", record.path)
    ]


def _calls(evidence: Evidence) -> Iterable[list[RequestRecord]]:
    """Return the attempts of each call, in the order of their arrival."""
    calls: dict[str, list[RequestRecord]] = {}
    for record in _image_requests(evidence):
        if record.call is not None:
            calls.setdefault(record.call, []).append(record)
    return calls.values()


def _successive(attempts: Sequence[RequestRecord]) -> Iterator[tuple[RequestRecord, RequestRecord]]:
    """Yield attempts with the next one that began after their end."""
    for earlier, later in pairwise(attempts):
        if earlier.ended is not None and later.began >= (earlier.answered or earlier.ended):
            yield earlier, later


def _waited(earlier: RequestRecord, later: RequestRecord) -> float:
    return later.began - (earlier.answered or 0.0)


def _by_time(evidence: Evidence, time: Callable[[RequestRecord], float | None]) -> list[RequestRecord]:
    """Return the image requests that have a time, in its order."""
    known = [(when, record.number, record) for record in _image_requests(evidence) if (when := time(record))]
    return [record for *_, record in sorted(known, key=lambda one: one[:2])]


def _single_use(evidence: Evidence) -> Iterator[tuple[ConnectionRecord, RequestRecord]]:
    """Yield the connections that served one request to the API, with that request."""
    requests = {record.connection: record for record in evidence.requests if not record.download}
    for connection in evidence.connections:
        record = requests.get(connection.number)
        if record is not None and connection.requests == 1:
            yield connection, record


def _failed(record: RequestRecord) -> bool:
    """Return whether the client received no usable response."""
    return not record.complete or record.fault is not None or (record.status or 500) >= 400


def _is_down(record: RequestRecord) -> bool:
    """Return whether the server failed a request."""
    return (record.status or 0) >= 500 or (record.fault is not None and not record.complete)


def _plural(count: int, one: str, many: str = "") -> str:
    return one if count == 1 else many or f"{one}s"

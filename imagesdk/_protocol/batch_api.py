"""Requests and responses of the Batch API.

Pure functions. Parsers raise a :class:`.ScanError` if a response is not the expected one.
https://platform.openai.com/docs/api-reference/batch

===========================  ==================================================================================
server                       Batch API
===========================  ==================================================================================
OpenAI, compatible servers   as OpenAI documents it
Azure, v1                    the same; the input file must be processed before a batch names it
Azure, dated ``api-version`` refused: its form for images is not known
xAI                          refused: its form differs
===========================  ==================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from imagesdk._protocol.azure import AzureHost
from imagesdk._protocol.files_api import EXPIRY
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.json_values import dump_json, is_list, is_object, text, timestamp
from imagesdk._protocol.requests import Request
from imagesdk._protocol.scanner import ScanError, without_images
from imagesdk.errors import ConfigurationError, InvalidRequestError
from imagesdk.remedies import Remedy
from imagesdk.reports import Batch, BatchCounts, BatchProblem

PATH: Final = "/batches"
ENDPOINT: Final = "/v1/images/"
"""Start of the endpoint of a batch. It is a name, not a path below the base URL."""
ENDPOINTS: Final = frozenset({f"{ENDPOINT}generations", f"{ENDPOINT}edits"})
INTENT: Final = "imagesdk_intent"
"""Key of the metadata with the id under which the client has recorded a batch before its creation."""
POLL_AFTER: Final = "openai-poll-after-ms"
"""Header with the milliseconds after which a server wants to be asked again."""
PAGE: Final = 100
"""Batches of one page of a listing."""
TOKEN_LIMIT: Final = "token_limit_exceeded"  # noqa: S105 - a code
"""Code of a batch that exceeds the tokens that may be enqueued for its model."""

_WINDOW = "24h"
_MOST_PAIRS, _LONGEST_NAME, _LONGEST_VALUE = 16, 64, 512
_LONGEST_POLL = 3600.0
_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_ENDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")
_FIELDS = {
    "object", "id", "status", "endpoint", "model", "input_file_id", "output_file_id", "error_file_id", "request_counts",
    "errors", "created_at", "expires_at", "metadata", *_ENDS,
}  # fmt: skip


def check_host(host: Host) -> None:
    """Raise a ``ConfigurationError`` for a server whose Batch API for images is not known."""
    if isinstance(host, AzureHost) and not host.base_url.endswith("/v1"):
        summary = "With a dated api_version, the Batch API of Azure is not known to make images."
        raise ConfigurationError(summary, param="lane", remedies=(Remedy.USE_AZURE_V1, Remedy.USE_LIVE_LANE))
    if host.hostname == "api.x.ai" or host.hostname.endswith(".api.x.ai"):
        summary = "The Batch API of xAI has a form of its own, which this version does not speak."
        raise ConfigurationError(summary, param="lane", remedies=(Remedy.USE_LIVE_LANE,))


def create_request(
    input_file: str,
    endpoint: str,
    *,
    metadata: Mapping[str, str],
    output_expires_after: int | None = None,
) -> Request:
    """Build the request that creates a batch. It costs money, so no attempt is repeated without a look-up."""
    body: dict[str, Any] = {
        "input_file_id": input_file,
        "endpoint": endpoint,
        "completion_window": _WINDOW,
        "metadata": dict(metadata),
    }
    if output_expires_after is not None:
        body["output_expires_after"] = {"anchor": "created_at", "seconds": output_expires_after}
    return Request(PATH, 0, None, dump_json(body), costs=True)


def check_options(metadata: Mapping[str, str] | None, output_expires_after: int | None) -> None:
    """Raise an ``InvalidRequestError`` for metadata or a lifetime that the API does not take."""
    if output_expires_after is not None and (
        type(output_expires_after) is not int or not EXPIRY[0] <= output_expires_after <= EXPIRY[1]
    ):
        allowed = f"{EXPIRY[0]} to {EXPIRY[1]} seconds"
        raise InvalidRequestError.for_parameter("output_expires_after", output_expires_after, allowed=allowed)
    pairs = dict(metadata or {})
    allowed = (
        f"at most {_MOST_PAIRS - 1} texts of {_LONGEST_VALUE} characters, with names of {_LONGEST_NAME} "
        f"characters other than {INTENT!r}"
    )
    if INTENT in pairs or len(pairs) >= _MOST_PAIRS or not all(map(_is_pair, pairs.items())):
        raise InvalidRequestError.for_parameter("metadata", pairs, allowed=allowed)


def batch_request(batch: str | Batch, method: str = "GET", suffix: str = "") -> Request:
    """Build a request about one batch. Refuse an invalid id."""
    batch_id = batch if isinstance(batch, str) else batch.id
    if not _ID.fullmatch(batch_id) or set(batch_id) == {"."}:
        raise InvalidRequestError.for_parameter("batch", batch_id, allowed='an id such as "batch_abc123"')
    return Request(f"{PATH}/{batch_id}{suffix}", 0, None, b"", method)


def parse_batch(document: Any) -> Batch:
    """Parse a response that describes a batch."""
    if not is_object(document) or not _texts(document, "id", "status"):
        raise ScanError("the response describes no batch")
    metadata = document.get("metadata")
    ends = [timestamp(document.get(name)) for name in _ENDS]
    return Batch(
        id=document["id"],
        status=document["status"],
        endpoint=text(document.get("endpoint")),
        model=text(document.get("model")),
        input_file_id=text(document.get("input_file_id")),
        output_file_id=text(document.get("output_file_id")) or None,
        error_file_id=text(document.get("error_file_id")) or None,
        counts=_counts(document.get("request_counts")),
        problems=_problems(document.get("errors")),
        created=timestamp(document.get("created_at")),
        expires_at=timestamp(document.get("expires_at")),
        ended_at=next((end for end in ends if end is not None), None),
        metadata={str(k): str(v) for k, v in metadata.items()} if is_object(metadata) else {},
        extra=without_images({key: value for key, value in document.items() if key not in _FIELDS}),
    )


def parse_list(document: Any) -> tuple[tuple[Batch, ...], bool]:
    """Parse a page of batches. Return it, and whether there are more."""
    if not is_object(document) or not is_list(document.get("data")):
        raise ScanError("the response lists no batches")
    return tuple(parse_batch(item) for item in document["data"]), document.get("has_more") is True


def poll_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which the server wants to be asked again; ``None`` if it names none."""
    try:
        seconds = float(headers.get(POLL_AFTER, "")) / 1000
    except ValueError:
        return None
    return min(seconds, _LONGEST_POLL) if seconds >= 0 else None


def _counts(value: Any) -> BatchCounts | None:
    if not is_object(value):
        return None
    numbers = [value.get(name) for name in ("total", "completed", "failed")]
    if not all(type(number) is int and number >= 0 for number in numbers):
        return None
    return BatchCounts(*(int(number or 0) for number in numbers))


def _problems(value: Any) -> tuple[BatchProblem, ...]:
    found = value.get("data") if is_object(value) else value
    return tuple(
        BatchProblem(
            code=text(item.get("code")),
            message=text(item.get("message")),
            param=text(item.get("param")),
            line=item["line"] if type(item.get("line")) is int else None,
        )
        for item in (found if is_list(found) else ())
        if is_object(item)
    )


def _texts(document: dict[str, Any], *names: str) -> bool:
    return all(isinstance(document.get(name), str) for name in names)


def _is_pair(pair: tuple[object, object]) -> bool:
    name, value = pair
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and 0 < len(name) <= _LONGEST_NAME
        and len(value) <= _LONGEST_VALUE
    )

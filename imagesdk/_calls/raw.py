"""``client.request``: raw requests with the key, the retries and the rate limit of the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagesdk._calls.call_options import check_query, deadline_of, idempotency_key_of, timeouts_of
from imagesdk._calls.client_options import CallDefaults
from imagesdk._engine.call import Call
from imagesdk._engine.engine import Engine
from imagesdk._engine.sink import discard
from imagesdk._media.sniff import OCTET_STREAM
from imagesdk._protocol.hosts import Host, validate_headers
from imagesdk._protocol.json_values import dump_json, is_object
from imagesdk._protocol.requests import Request
from imagesdk.errors import InvalidRequestError
from imagesdk.policies import Timeouts
from imagesdk.types import RawResponse

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Idempotent methods: https://www.rfc-editor.org/rfc/rfc9110#name-idempotent-methods"""


def raw_call(
    method: str,
    path: str,
    *,
    body: Any,
    content: bytes | None,
    query: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    timeout: float | Timeouts | None,
    images: int,
    billed: bool | None,
    idempotency_key: str | None,
    host: Host,
    defaults: CallDefaults,
) -> Call[None]:
    """Turn the arguments of ``client.request`` into a call."""
    verb = method.upper()
    if not (verb.isascii() and verb.isalpha()):
        raise InvalidRequestError.for_parameter("method", method, allowed="one such as GET or POST")
    if body is not None and content is not None:
        raise InvalidRequestError("Give json or content, not both.", param="content")
    if type(images) is not int or images < 0:
        raise InvalidRequestError.for_parameter("images", images, allowed="a whole number of at least 0")
    target, path_query = host.target(path)
    check_query(query, "query")
    sent_headers = validate_headers((headers or {}).items())
    if content is not None and "content-type" not in dict(sent_headers):
        sent_headers.append(("content-type", OCTET_STREAM))
    model = body.get("model") if is_object(body) else None
    timeouts = timeouts_of(defaults, timeout)
    return Call(
        Request(
            target,
            images,
            model if isinstance(model, str) else None,
            content if content is not None else b"" if body is None else _json(body),
            verb,
            costs=billed if billed is not None else images > 0 or verb not in _REPEATABLE,
        ),
        parse=ignore_body,
        timeouts=timeouts,
        deadline=deadline_of(timeouts),
        idempotency_key=idempotency_key_of(idempotency_key),
        headers=tuple(sent_headers),
        query={**path_query, **(query or {})},
        raw=True,
        max_ok_status=399,
    )


async def send_raw(engine: Engine, call: Call[None]) -> RawResponse:
    """Send the call, and return the whole response."""
    result = await engine.send(call)
    try:
        return RawResponse(result.status, result.headers, result.sink.images[0].data or b"")
    finally:
        await discard(result.sink)


def _json(body: Any) -> bytes:
    try:
        return dump_json(body)
    except ValueError as error:
        problem, allowed = f"json cannot be written: {error}.", "values that JSON has"
        raise InvalidRequestError(problem, param="json", allowed=allowed) from None


def ignore_body(_: Any) -> None:
    """Parse nothing: the body of the response goes to the sink as it is."""

"""The headers of a request: what is sent by default, and which value wins."""

from __future__ import annotations

from typing import Any

from imagesdk import Generate
from imagesdk._protocol.inputs import InputImages
from imagesdk._protocol.requests import Request, build_request, request_headers

GENERATE = build_request(Generate("a cat"), InputImages(), boundary="x", extra_body=None)
LOOKUP = Request("/models", 0, None, b"", "GET")


def headers_of(request: Request, **changes: Any) -> dict[str, str]:
    options: dict[str, Any] = {
        "accept": "application/json",
        "user_agent": "imagesdk/1",
        "idempotency": ("Idempotency-Key", "k1"),
        "client_headers": {},
        "call_headers": (),
        "auth": (),
    }
    return dict(request_headers(request, **{**options, **changes}))


def test_a_request_has_the_default_headers_of_its_body() -> None:
    assert headers_of(GENERATE, auth=[("authorization", "Bearer sk")]) == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "imagesdk/1",
        "x-client-request-id": "k1",
        "idempotency-key": "k1",
        "content-type": "application/json",
        "content-length": str(GENERATE.length),
        "authorization": "Bearer sk",
    }


def test_a_get_request_without_a_body_has_no_headers_of_a_body() -> None:
    assert headers_of(LOOKUP).keys() & {"content-type", "content-length"} == set()


def test_headers_of_the_call_replace_those_of_the_client_and_both_replace_the_defaults() -> None:
    sent = headers_of(
        GENERATE,
        client_headers={"user-agent": "client", "x-run": "client", "x-client-request-id": "client"},
        call_headers=[("x-run", "call")],
    )
    assert (sent["user-agent"], sent["x-run"], sent["x-client-request-id"]) == ("client", "call", "client")


def test_no_header_of_the_caller_replaces_the_key_and_none_of_the_client_the_idempotency_key() -> None:
    sent = headers_of(
        GENERATE,
        client_headers={"idempotency-key": "client"},
        call_headers=[("authorization", "call")],
        auth=[("authorization", "Bearer sk")],
    )
    assert (sent["idempotency-key"], sent["authorization"]) == ("k1", "Bearer sk")

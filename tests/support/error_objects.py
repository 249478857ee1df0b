"""The error object of a response."""

from typing import Any

import httpx


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    """Return the error object of a response, which must have OpenAI's four keys and no unknown ones."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) - {"moderation_details"} == {"message", "type", "param", "code"}
    return error

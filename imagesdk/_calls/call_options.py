"""Options of one call: validated, with the defaults of the client filled in."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import urlencode

import attrs
from attrs import frozen

from imagesdk._calls.client_options import TIMEOUT, CallDefaults, replacement_of_timeout
from imagesdk._protocol.hosts import validate_headers
from imagesdk.errors import InvalidRequestError
from imagesdk.jobs import CallOptions
from imagesdk.policies import Timeouts, is_positive

_OPTIONS: Final = frozenset(CallOptions.__annotations__)
_KEY: Final = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_ELSEWHERE: Final = {
    "max_retries": "retries are a policy of the client: AsyncClient(retry=RetryPolicy(max_attempts=...))",
    "partial_images": "use images.generate_stream(..., partial_images=2) to receive partial images",
    "stream": "this method returns whole images; images.generate_stream and images.edit_stream show them while they "
    "are made",
}
"""Options of other clients, and what replaces them here."""


@frozen(kw_only=True)
class CallSettings:
    """The options of one call, in the form in which they are used."""

    timeouts: Timeouts
    deadline: float | None
    """The end of the total time on the monotonic clock; ``None`` for no end."""
    idempotency_key: str
    headers: tuple[tuple[str, str], ...]
    query: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None
    check: bool
    fsync: bool

    @classmethod
    def from_options(cls, options: CallOptions, defaults: CallDefaults) -> CallSettings:
        """Validate ``options``. The total time starts now."""
        _check_options(options)
        check, headers = options.get("check"), options.get("extra_headers")
        check_query(options.get("extra_query"), "extra_query")
        timeouts = timeouts_of(defaults, options.get("timeout"))
        return cls(
            timeouts=timeouts,
            deadline=deadline_of(timeouts),
            idempotency_key=idempotency_key_of(options.get("idempotency_key")),
            headers=tuple(validate_headers(headers.items())) if headers else (),
            query=options.get("extra_query"),
            extra_body=options.get("extra_body"),
            check=defaults.check if check is None else check,
            fsync=defaults.fsync,
        )


def timeouts_of(defaults: CallDefaults, timeout: float | Timeouts | None) -> Timeouts:
    """Return the time-outs of a call with the option ``timeout``."""
    if timeout is None or isinstance(timeout, Timeouts):
        return timeout or defaults.timeouts
    if not is_positive(timeout):
        remedies = replacement_of_timeout(timeout)
        raise InvalidRequestError.for_parameter("timeout", timeout, allowed=TIMEOUT, remedies=remedies)
    return attrs.evolve(defaults.timeouts, total=timeout)


def deadline_of(timeouts: Timeouts) -> float | None:
    """Return the end of the total time of a call that starts now."""
    return None if timeouts.total is None else time.monotonic() + timeouts.total


def idempotency_key_of(given: str | None) -> str:
    """Return ``given``, or a new key if it is ``None``."""
    if given is None:
        return new_idempotency_key()
    if not (isinstance(cast("object", given), str) and _KEY.fullmatch(given)):
        summary = "idempotency_key must have 1 to 255 printable ASCII characters, without space around them."
        raise InvalidRequestError(summary, param="idempotency_key", value=given)
    return given


def new_idempotency_key() -> str:
    """Return a random idempotency key."""
    return f"imagesdk-{uuid.uuid4()}"


def check_query(query: Mapping[str, str] | None, param: str) -> None:
    """Raise an error if a query cannot be encoded in a URL."""
    try:
        urlencode(query or {})
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{param} cannot be put into a URL: {error}.", param=param) from None


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _ELSEWHERE:
            raise TypeError(f"{name}= is not an option of a call here: {_ELSEWHERE[name]}.")
        if name not in _OPTIONS:
            remedy = f"Pass extra_body={{{name!r}: ...}} if the server has it."
            raise TypeError(f"there is no parameter {name}=. {remedy}")
    for name in ("extra_headers", "extra_query", "extra_body"):
        if not isinstance(given := options.get(name), (Mapping, type(None))):
            raise InvalidRequestError.for_parameter(name, given, allowed="a mapping, or None")
    if not isinstance(given := options.get("check"), (bool, type(None))):
        raise InvalidRequestError.for_parameter("check", given, allowed="True, False or None")

"""Calls that make no images: a request is sent, its JSON parsed, and nothing billed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from imagesdk._calls.call_options import deadline_of, new_idempotency_key, timeouts_of
from imagesdk._calls.client_options import CallDefaults
from imagesdk._engine.call import Call, Result
from imagesdk._engine.engine import Engine
from imagesdk._engine.sink import discard
from imagesdk._protocol.requests import Request
from imagesdk.policies import Timeouts

_T = TypeVar("_T")


async def send_query(
    engine: Engine,
    defaults: CallDefaults,
    request: Request,
    parse: Callable[[Any], _T],
    timeout: float | Timeouts | None,
    *,
    deadline: float | None = None,
    idempotency_key: str | None = None,
    **more: Any,
) -> Result[_T]:
    """Send a request of weight 0. The ``deadline`` is that of a larger call; ``more`` are fields of :class:`.Call`."""
    timeouts = timeouts_of(defaults, timeout)
    call = Call(
        request,
        parse=parse,
        timeouts=timeouts,
        deadline=deadline_of(timeouts) if deadline is None else deadline,
        idempotency_key=idempotency_key or new_idempotency_key(),
        fsync=defaults.fsync,
        **more,
    )
    return await engine.send(call)


async def ask(
    engine: Engine,
    defaults: CallDefaults,
    request: Request,
    parse: Callable[[Any], _T],
    timeout: float | Timeouts | None,
    **more: Any,
) -> _T:
    """Send a request of weight 0, and return its parsed response."""
    result = await send_query(engine, defaults, request, parse, timeout, **more)
    await discard(result.sink)
    return result.parsed

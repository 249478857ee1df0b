"""The transport of every client that brings none: single connections, each used by one attempt at a time.

Each slot is one httpx transport with a single connection, last in first out, and thrown away after any end that was not
clean: a pool that is never shared between requests can neither time out nor be poisoned by a cancelled one.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

from imagesdk._runtime.loops import PerLoop
from imagesdk._transport.connection import Connection, new_connection
from imagesdk._transport.exchange import (
    RELEASE_LIMIT,
    BodyIterator,
    WireRequest,
    WireResponse,
    finish,
    joined,
    request_of,
    transport_errors,
)


class DirectTransport:
    """A stack of single-connection transports for each loop and origin."""

    def __init__(self) -> None:
        self._idle: PerLoop[dict[str, list[Connection]]] = PerLoop(dict)
        self._process = os.getpid()

    def __del__(self) -> None:
        # What is left open at the end of a program, or belongs to the parent of a fork, is nobody's mistake.
        if sys.is_finalizing() or self._process != os.getpid():
            return
        open_to = {
            str(urlsplit(key).hostname)
            for idle in self._idle.living()
            for key, slots in idle.items()
            if slots
        }
        if open_to:
            warnings.warn(
                f"an AsyncClient was not closed and is connected to {', '.join(sorted(open_to))}: use "
                "'async with AsyncClient(...) as client', or await client.aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    @asynccontextmanager
    async def exchange(self, request: WireRequest) -> AsyncGenerator[WireResponse, None]:
        """Send ``request`` over an idle slot, or a new one."""
        parts = urlsplit(request.url)
        key = f"{parts.scheme}://{parts.netloc}/{request.server_name or ''}"
        idle = self._idle.get().setdefault(key, [])
        slot = await _from(idle) or await new_connection(request.url, request.server_name)
        clean = False
        opened = _Opened()
        try:
            with transport_errors(connecting=True, url=request.url):
                response: httpx.Response = await slot.transport.handle_async_request(
                    request_of(httpx, request, opened)
                )
            slot.stream = response.extensions.get("network_stream")
            body = BodyIterator(response.aiter_raw())
            try:
                yield WireResponse(response.status_code, joined(response.headers), body)
            finally:
                clean = await finish(response, body) and not slot.has_trailing_data
        finally:
            if clean and self._idle.get().get(key) is idle:  # else we were closed meanwhile
                idle.append(slot)
            else:
                await _close(slot)
                await _close(opened)

    async def aclose(self) -> None:
        """Close the idle connections of the running loop; those of other loops are dropped with it."""
        for slots in (self._idle.pop() or {}).values():
            for slot in slots:
                await _close(slot)


async def _from(idle: list[Connection]) -> Connection | None:
    """Take the slot that was used last and has nothing left to read; close those that have."""
    while idle:
        slot, usable = idle.pop(), False
        try:
            usable = not await slot.has_pending_data()
        finally:
            if not usable:
                await _close(slot)
        if usable:
            return slot
    return None


class _Opened:
    """The socket that an exchange opened, if it did: HTTP libraries lose one that is cancelled in its TLS handshake.

    Called by httpcore: https://www.encode.io/httpcore/extensions/#trace
    """

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            self._stream = facts["return_value"]

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


async def _close(thing: Connection | _Opened) -> None:
    with anyio.move_on_after(RELEASE_LIMIT, shield=True), suppress(Exception):
        await thing.aclose()

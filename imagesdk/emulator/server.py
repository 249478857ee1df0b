"""Running the application: beside your code in a thread of its own, or alone until Ctrl-C.

The server has its own thread and event loop, so the caller may use asyncio, trio or nothing. The socket is
bound before anything starts: the port is known and nobody else can take it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import date
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from imagesdk.emulator.app import create_app
from imagesdk.emulator.quirks import root_of
from imagesdk.emulator.state import EmulatorState

__all__ = ["Emulator", "serve"]

_PATIENCE = 10.0
"""Seconds to start, or to stop."""


class Emulator:
    """An emulator on ``127.0.0.1``, running inside a ``with`` block.

    ::

        with Emulator(limit=None) as emulator:
            client = openai.OpenAI(base_url=emulator.base_url, api_key="none")

    ``port=0`` takes a free one. The other arguments are those of :func:`~imagesdk.emulator.create_app`.
    An emulator may be entered again after it was left; what it remembers stays, until ``state.reset()``.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        limit: str | None = "50/min",
        seed: int = 0,
        as_of: date | None = None,
        require_key: bool = False,
        done_marker: bool = False,
        verified: bool = True,
        clock: Callable[[], float] = time.time,
        state: EmulatorState | None = None,
        quirks: str | None = None,
    ) -> None:
        self.state = state if state is not None else EmulatorState()
        """What the emulator remembers, and the faults it is asked for."""
        self._asked_port = port
        self._app = create_app(
            limit=limit,
            seed=seed,
            as_of=as_of,
            require_key=require_key,
            done_marker=done_marker,
            verified=verified,
            clock=clock,
            state=self.state,
            quirks=quirks,
        )
        self._root = root_of(quirks)
        self._running: tuple[_Server, threading.Thread, int] | None = None

    @property
    def port(self) -> int:
        """The port, while the emulator runs."""
        if self._running is None:
            raise RuntimeError("the emulator does not run: use it in a with block")
        return self._running[2]

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``, what a client wants to know; some of the ``quirks`` have another path."""
        return self.origin + self._root

    def __enter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("the emulator runs already")
        listener = _bound("127.0.0.1", self._asked_port)
        server = _Server(self._app)
        thread = threading.Thread(
            target=server.run, args=([listener],), name="imagesdk-emulator", daemon=True
        )
        thread.start()
        self.state.hang_up = server.hang_up
        if not server.ready.wait(_PATIENCE):
            server.should_exit = True
            listener.close()
            raise RuntimeError("the emulator did not start")
        port: int = listener.getsockname()[1]
        self._running = (server, thread, port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is None:
            return
        server, thread, _ = self._running
        self._running = None
        server.should_exit = True
        thread.join(_PATIENCE)
        self.state.hang_up = None


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    limit: str | None = "50/min",
    seed: int = 0,
    as_of: date | None = None,
    require_key: bool = False,
    allow_remote: bool = False,
    quirks: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Run the emulator until Ctrl-C.

    Args:
        host: Where to listen. An address that others can reach needs ``allow_remote=True``.
        port: 0 takes a free one.
        limit: As for :func:`~imagesdk.emulator.create_app`, like the next three.
        seed: See there.
        as_of: See there.
        require_key: See there.
        allow_remote: Let other machines in. The emulator was not made to stand on a network.
        quirks: As for :func:`~imagesdk.emulator.create_app`.
        ready: Called with the base URL once the emulator listens.

    Raises:
        ValueError: ``host`` is not a loopback address and ``allow_remote`` is not set, or there are no ``quirks``
            of the name.
        OSError: The port is taken.
    """
    if not allow_remote and not _is_loopback(host):
        raise ValueError(f"{host!r} is not a loopback address: other machines could use the emulator")
    state = EmulatorState()
    app = create_app(
        limit=limit,
        seed=seed,
        as_of=as_of,
        require_key=require_key,
        state=state,
        allow_remote=allow_remote,
        quirks=quirks,
    )
    listener = _bound(host, port)
    server = _Server(app)
    state.hang_up = server.hang_up
    if ready is not None:
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listener.getsockname()[1]}{root_of(quirks)}")
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])


class _Server(uvicorn.Server):
    """A quiet uvicorn that says when it listens and can close a single connection."""

    def __init__(self, app: ASGIApp) -> None:
        # h11 alone, so that a fault breaks a connection in the same way everywhere. No logging set-up:
        # the loggers belong to the program around us.
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Nobody waits for an answer of an emulator that is being stopped.
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol):
                connection.transport.close()
        await super().shutdown(sockets)

    def hang_up(self, scope: Scope) -> bool:
        """Close the connection of a request after what was written to it; ``False`` when it is not ours."""
        client = scope.get("client")
        for connection in self.server_state.connections:
            if (
                isinstance(connection, H11Protocol)
                and client is not None
                and connection.client == tuple(client)
            ):
                connection.transport.close()
                return True
        return False


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off for sockets that name their protocol, and answers would come 40 ms later.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option lets two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        error.filename = f"{host}:{port}"
        raise
    except BaseException:
        listener.close()
        raise
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

"""HTTP server of the application, in a thread of its own or alone until Ctrl-C.

The server has its own thread and event loop, so the caller may use asyncio, trio or nothing. The socket is
bound before the thread starts, so the port is known and cannot be taken by another program.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Self, Unpack, cast

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from imagesdk.emulator.app import create_app
from imagesdk.emulator.log import ConnectionRecord
from imagesdk.emulator.options import EmulatorOptions
from imagesdk.emulator.quirks import find
from imagesdk.emulator.snapshots import DataFolder
from imagesdk.emulator.state import EmulatorState

__all__ = ["Emulator", "EmulatorOptions", "serve"]

_TIMEOUT = 10.0  # seconds to start, to stop or to reset
_GRACE = 5.0  # seconds that requests have to end after their connections were closed
_TICK = 0.1  # seconds between the ticks on which uvicorn renews its Date header and notices a signal
_TICKS_TO_SAVE = 10
_HEADERS_TIMEOUT = 60.0  # seconds for the headers of a request, or for the rest of one that was answered
_TURNS = 20  # turns of the event loop, more than enough from a connection in the backlog to its request


class Emulator:
    """An emulator on ``127.0.0.1`` that runs inside a ``with`` block.

    ```python
    with Emulator(limit=None) as emulator:
        client = openai.OpenAI(base_url=emulator.base_url, api_key="none")
    ```

    ``port=0`` takes a free one. With ``ca_file`` the emulator speaks https, and writes the certificate that clients
    have to trust to this file. The other arguments are those of :func:`~imagesdk.emulator.create_app`. An emulator may be entered again after the block. It keeps its state until :meth:`reset`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        state: EmulatorState | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        **options: Unpack[EmulatorOptions],
    ) -> None:
        self.state = state if state is not None else EmulatorState()
        """Recorded requests, queued faults and more. A reset keeps the object."""
        self._requested_port = port
        self._ca_file = ca_file
        self._app = _Application(self.state, options)
        self._running: BackgroundServer | None = None

    @property
    def port(self) -> int:
        """The port, while the emulator runs."""
        if self._running is None:
            raise RuntimeError("the emulator does not run: use it in a with block")
        return self._running.port

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``, or the same with ``https``."""
        return f"{_scheme(self._ca_file)}://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The base URL for a client: ``http://127.0.0.1:PORT/v1``, or another path with some ``quirks``."""
        return self.origin + self._app.root

    def advance(self, seconds: float) -> None:
        """Let virtual time pass: the rate limit refills, result URLs and files expire, batches do their work.

        Raises:
            ValueError: If ``seconds`` is negative or not finite.
        """
        self.state.clock.advance(seconds)
        self.state.batches.update()

    def reset(self, **options: Unpack[EmulatorOptions]) -> None:
        """Return to the state of an emulator that has just started, on the same port.

        Closes every connection and waits up to 5 seconds for the end of current requests. Then forgets the
        recorded requests, the billed images, the queued faults, the result URLs, the uploaded files and the
        granted images of the rate limit, and the time that was added to the clock. So one emulator can serve many tests.

        Args:
            options: Options of the constructor, without ``port`` and ``state``. An option that is not given
                has the value that the constructor got.

        Raises:
            ValueError: If ``limit`` cannot be parsed or ``quirks`` is not a known server.
            TimeoutError: If the server does not react within 10 seconds.
        """
        app = self._app.changed(options)
        if self._running is not None:
            self._running.close_connections()
        self._app.current, self._app.root = app
        self.state.reset()

    def settle(self) -> None:
        """Wait until the requests and the closed connections of clients are in the log."""
        if self._running is not None:
            self._running.settle()

    def __enter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("the emulator runs already")
        server = BackgroundServer(self._app, self.state, self._requested_port, self._ca_file)
        server.start()
        self._running = server
        return self

    def __exit__(self, *error: object) -> None:
        if self._running is None:
            return
        server, self._running = self._running, None
        self.state.batches.sleep()
        server.stop()


class BackgroundServer:
    """Server of an application in a thread of its own, on ``127.0.0.1``."""

    def __init__(
        self,
        app: ASGIApp,
        state: EmulatorState | None = None,
        port: int = 0,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self.port = port
        """The port. 0 takes a free one at the start."""
        self._state = state if state is not None else EmulatorState()
        self._server = _Server(app, _tls(ca_file, "127.0.0.1"), self._state)

    def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: If the port is taken.
            RuntimeError: If the server does not start within 10 seconds.
        """
        listener = _bound("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        server = self._server
        self._thread = threading.Thread(
            target=lambda: server.run([listener]), name="imagesdk-emulator", daemon=True
        )
        self._thread.start()
        self._state.close_connection = server.close_connection
        if not server.ready.wait(_TIMEOUT):
            server.should_exit = True
            listener.close()
            raise RuntimeError("the emulator did not start")

    def stop(self) -> None:
        """Answer what has arrived, and close every connection."""
        self._server.stop()
        self._thread.join(_TIMEOUT)
        self._state.close_connection = None

    def close_connections(self) -> None:
        """Close every connection and wait until its request has ended."""
        self._server.close_connections()

    def settle(self) -> None:
        """Read what clients have sent so far."""
        self._server.settle()


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    allow_remote: bool = False,
    ca_file: str | os.PathLike[str] | None = None,
    ready: Callable[[str], None] | None = None,
    ended: Callable[[EmulatorState], None] | None = None,
    seed_file: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    **options: Unpack[EmulatorOptions],
) -> None:
    """Run the emulator until Ctrl-C.

    Args:
        host: Address to listen on. One that other machines can reach needs ``allow_remote=True``.
        port: Port to listen on. 0 takes a free one.
        allow_remote: Whether other machines may connect. The emulator is not hardened for a network.
        ca_file: Serve https, and write the certificate that clients have to trust to this file.
        ready: Called with the base URL once the emulator listens.
        ended: Called with the state after the last request.
        seed_file: File with the options, files and faults that the emulator starts with. See
            :mod:`imagesdk.emulator.seed_file`.
        data: Folder that keeps files, result URLs and the limit when the emulator ends. It is written once a second.
        options: As for :func:`~imagesdk.emulator.create_app`: ``limit``, ``seed``, ``as_of`` and others.

    Raises:
        ValueError: If ``host`` is not a loopback address and ``allow_remote`` is not set, or ``quirks`` is
            not a known server. If ``seed_file`` or ``data`` cannot be parsed.
        OSError: If the port is taken, or a file cannot be read or written.
    """
    if not allow_remote and not _is_loopback(host):
        raise ValueError(f"{host!r} is not a loopback address: other machines could use the emulator")
    state = EmulatorState()
    if seed_file is not None:
        from imagesdk.emulator.seed_file import read_seed_file

        seed = read_seed_file(seed_file)
        options, state.prepare = options | seed.options, seed.plant
    app = _Application(state, options, allow_remote=allow_remote)
    state.reset()
    folder = None if data is None else DataFolder(data)
    if folder is not None:
        folder.load(state)
        folder.save(state)
    tls = _tls(ca_file, host)
    listener = _bound(host, port)
    server = _Server(app, tls, state)
    if folder is not None:
        server.save = partial(folder.save, state)
    if ended is not None:
        server.ended = partial(ended, state)
    state.close_connection = server.close_connection
    if ready is not None:
        shown = f"[{host}]" if ":" in host else host
        ready(f"{_scheme(ca_file)}://{shown}:{listener.getsockname()[1]}{find(options.get('quirks')).root}")
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])


class _Application:
    """The application with the options of now, which a reset changes."""

    def __init__(self, state: EmulatorState, options: EmulatorOptions, *, allow_remote: bool = False) -> None:
        self._state = state
        self._options = options
        self._allow_remote = allow_remote
        self.current, self.root = self.changed({})
        state.configure = self._configure

    def changed(self, options: EmulatorOptions) -> tuple[ASGIApp, str]:
        """Return an application with other options, and the path of its base URL."""
        chosen = self._options | options
        app = create_app(**chosen, state=self._state, allow_remote=self._allow_remote)
        return app, find(chosen.get("quirks")).root

    def _configure(self, options: EmulatorOptions) -> None:
        self.current, self.root = self.changed(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the current application."""
        await self.current(scope, receive, send)


class _Server(uvicorn.Server):
    """A quiet uvicorn that is woken to stop instead of polling for it, and closes its connections itself."""

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext | None, state: EmulatorState) -> None:
        # asyncio and h11 alone, so that connections start and break in the same way everywhere: uvloop accepts
        # only a few connections a turn. No logging set-up: the loggers belong to the program around us.
        config = _Config(
            app,
            loop="asyncio",
            interface="asgi3",
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
        config.load()
        config.ssl, config.state = tls, state
        super().__init__(config)
        self.ready = threading.Event()
        self.save: Callable[[], None] | None = None
        """Called in a thread once a second, and at the end."""
        self.ended: Callable[[], None] | None = None
        """Called after the last request."""
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _TICK)
            if self.save is not None and ticks % _TICKS_TO_SAVE == 0:
                await asyncio.to_thread(self.save)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Connections in the backlog of a listener would be reset with it: a request that was sent counts.
        await _turns()
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self._drain()
        if self.save is not None:
            await asyncio.to_thread(self.save)
        if self.ended is not None:
            self.ended()

    def stop(self) -> None:
        """Make the server stop; callable from any thread."""
        self.should_exit = True
        # The loop is closed if the server has stopped by itself.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    def close_connections(self) -> None:
        """Close every connection and wait until its request has ended; callable from other threads."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result(_TIMEOUT)

    def settle(self) -> None:
        """Read what clients have sent so far; callable from other threads."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(_turns(), self._loop).result(_TIMEOUT)

    async def _drain(self) -> None:
        """Read what clients have sent, close every connection, and wait until every request has ended."""
        await _turns()
        deadline = time.monotonic() + _GRACE
        while (self._connections or self.server_state.tasks) and not self.force_exit:
            late = time.monotonic() > deadline
            for connection in self._connections:
                transport = connection.transport
                (transport.abort if late else transport.close)()
            if late:
                for task in self.server_state.tasks:
                    task.cancel()
                break
            await asyncio.sleep(0.001)

    @property
    def _connections(self) -> list[H11Protocol]:
        return [one for one in self.server_state.connections if isinstance(one, H11Protocol)]

    def close_connection(self, scope: Scope) -> bool:
        """Close the connection of a request after its pending writes. Return whether it is known."""
        client = tuple(scope.get("client") or ())
        found = [connection for connection in self._connections if connection.client == client]
        for connection in found:
            connection.transport.close()
        return bool(found)


class _Config(uvicorn.Config):
    """Configuration of uvicorn, through which connections find the state."""

    state: EmulatorState


class _Connection(H11Protocol):
    """A connection with a time limit while no application reads it: uvicorn's own limit begins after a response.

    The application limits the time between the parts of a body.
    """

    _limit: asyncio.TimerHandle | None = None
    _record: ConnectionRecord
    _left = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._state = cast("_Config", self.config).state
        self._record = self._state.connections.open(self.client or ("", 0), self._state.clock())
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def eof_received(self) -> None:
        self._left = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        now = self._state.clock()
        self._state.connections.close(self._record, now, left=self._left or exc is not None)
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Begin or continue to wait, unless the application has a request to answer."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        answered = not cycle or cycle.response_complete
        state = self.conn.their_state
        if not (state is h11.IDLE or (answered and state is h11.SEND_BODY)):
            self._unwatch()
        elif self._limit is None:
            self._limit = self.loop.call_later(_HEADERS_TIMEOUT, self.transport.close)

    def _unwatch(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


async def _turns() -> None:
    """Let the event loop accept connections and start requests that have arrived before."""
    await asyncio.sleep(0.001)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio only switches Nagle's algorithm off for sockets that name their protocol. With it, responses
    # arrive 40 ms later.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option lets two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError):
            error.filename = f"{host}:{port}"
        raise
    return listener


def _scheme(ca_file: object) -> str:
    return "http" if ca_file is None else "https"


def _tls(ca_file: str | os.PathLike[str] | None, host: str) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    from imagesdk.emulator.tls import server_context

    return server_context(ca_file, host)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"

"""Whole programs with a blocking client, and a server whose every answer the test sends itself."""

from __future__ import annotations

import atexit
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

from tests.support.small_images import answer, png
from tests.support.streamed_answers import partial

PATIENCE = 30
"""Seconds after which a program that should have ended has hung."""

ANSWER, PARTIAL = answer(png()), partial(png())

_WARNINGS = ["-W", "always::ResourceWarning", "-W", "ignore:This process:DeprecationWarning"]
"""Show what a program leaves open, and not that a process with threads forks (from Python 3.12 on)."""

_FORKING = """
import encodings.idna, gc, os, signal, socket, sqlite3, sys, threading
import httpcore, imagesdk, imagesdk._transport.single_connection
from imagesdk import AsyncClient, Client
threads_after_import = threading.active_count()
gc.collect()
gc.freeze()
control = socket.socket(fileno=int(sys.argv[1]))
while True:
    text, fds, _, _ = socket.recv_fds(control, 1 << 16, 3)
    if not text:
        sys.exit()
    if not (child := os.fork()):
        break
    for fd in fds:
        os.close(fd)
    control.send(b"%d" % child)
    control.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
control.close()
for number, fd in enumerate(fds):
    os.dup2(fd, number)
    os.close(fd)
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
exec(compile(text, "<string>", "exec"))
"""

_OPENING = """
def loop_threads():
    return [thread for thread in threading.enumerate() if thread.name == "imagesdk"]
"""


@functools.cache
def _forking_process() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *_WARNINGS, "-c", _FORKING, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    ours.settimeout(PATIENCE)
    return ours


class Program:
    """A Python program with a blocking client, called ``client``."""

    def __init__(self, port: int, text: str) -> None:
        client = f'Client(base_url="http://localhost:{port}/v1", api_key="", rate_limit=None)'
        text = f"{_OPENING}client = {client}\n{textwrap.dedent(text)}"
        self._control = _forking_process()
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - ``kill`` closes it
        stdin, own_end = os.pipe()
        self._stdin = os.fdopen(own_end, "w")
        own_end, stdout = os.pipe()
        self._stdout = os.fdopen(own_end)
        socket.send_fds(self._control, [text.encode()], [stdin, stdout, self._errors.fileno()])
        os.close(stdin)
        os.close(stdout)
        self._process = int(self._control.recv(64))
        self._ended = False

    def interrupt(self) -> None:
        os.kill(self._process, signal.SIGINT)

    def line(self) -> str:
        return self._stdout.readline().strip()

    def send_line(self) -> None:
        self._stdin.write("\n")
        self._stdin.flush()

    def end(self) -> tuple[int, str, str]:
        self._stdin.close()
        code = int(self._control.recv(64))
        self._ended = True
        self._errors.seek(0)
        return code, self._stdout.read().strip(), self._errors.read()

    def kill(self) -> None:
        if not self._ended:
            os.kill(self._process, signal.SIGKILL)
            self._control.recv(64)
        for file in (self._stdin, self._stdout, self._errors):
            file.close()


class Server:
    """A server that accepts, reads and answers only when the test calls it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]

    def request(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE)
        self.read_request(connection)
        return connection

    @staticmethod
    def read_request(connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        missing = int(lines[b"content-length"]) - len(body)
        while missing > 0:
            missing -= len(connection.recv(missing))

    @staticmethod
    def answer(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n"
        connection.sendall(head.encode() + ANSWER)

    def serve_once(self) -> None:
        with self.request() as connection:
            self.answer(connection)
            assert is_dropped(connection)

    def begin_stream(self) -> socket.socket:
        connection = self.request()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head + b"%x\r\n%b\r\n" % (len(PARTIAL), PARTIAL))
        return connection

    def close(self) -> None:
        self._listener.close()


Start: TypeAlias = Callable[[str], Program]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def start(server: Server) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(text: str) -> Program:
            program = Program(server.port, text)
            stack.callback(program.kill)
            return program

        yield start


def is_dropped(connection: socket.socket) -> bool:
    """Wait for the other side to send something or to close the connection; return whether it closes it."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True

"""How processes with blocking clients are interrupted, forked and ended: promises kept by whole programs."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

PATIENCE = 60
"""Seconds after which a program that should have ended has hung."""

WARNINGS = ["-W", "always::ResourceWarning", "-W", "ignore:This process:DeprecationWarning"]
"""What is left open is told, and from 3.12 on not that a process with threads forks."""

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
ANSWER = f'{{"created": 1, "data": [{{"b64_json": "{IMAGE}"}}]}}'.encode()


class Server:
    """A server whose every move the test makes itself."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]

    def request(self) -> socket.socket:
        """Accept a connection, read a whole request from it and leave it without an answer."""
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

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Program:
    """A Python program with a blocking client, ``client``, of the test's server."""

    def __init__(self, port: int, text: str) -> None:
        opening = f"""
            import gc, os, signal, sys, threading
            import imagesdk
            from imagesdk import Client
            client = Client(base_url="http://localhost:{port}/v1", api_key="", rate_limit=None)
            def loop_threads():
                return [thread for thread in threading.enumerate() if thread.name == "imagesdk"]
        """
        self._process = subprocess.Popen(
            [sys.executable, *WARNINGS, "-c", textwrap.dedent(opening) + textwrap.dedent(text)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def line(self) -> str:
        """The next line that the program prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self) -> None:
        """Let a program that waits for a line go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        """The exit code, the rest of the output, and what stands on standard error."""
        try:
            out, err = self._process.communicate(timeout=PATIENCE)
        finally:
            self._process.kill()
        return self._process.returncode, out.strip(), err


def is_dropped(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, which is waited for."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_ctrl_c_leaves_a_call_and_the_server_sees_the_connection_dropped(server: Server) -> None:
    program = Program(
        server.port,
        """
        try:
            client.images.generate("a cat")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        sys.stdin.readline()
        print(client.images.generate("a cat")[0].width)
        """,
    )
    with server.request() as connection:
        program.interrupt()
        assert program.line() == "interrupted"
        assert is_dropped(connection)
    program.tell()
    with server.request() as connection:
        server.answer(connection)
        assert program.end() == (0, "1", "")


def test_ctrl_c_that_nobody_catches_ends_the_program_like_any_other(server: Server) -> None:
    program = Program(server.port, "client.images.generate('a cat')")
    with server.request() as connection:
        program.interrupt()
        assert is_dropped(connection)
    code, _, err = program.end()
    assert code in {-signal.SIGINT, 1}
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "ExceptionGroup" not in err


def test_a_program_that_does_not_close_its_client_ends_cleanly(server: Server) -> None:
    program = Program(server.port, "print(client.images.generate('a cat')[0].width)")
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.end() == (0, "1", "")


def test_a_program_that_never_calls_starts_no_thread(server: Server) -> None:
    program = Program(server.port, "client.close(); print(threading.active_count())")
    assert program.end() == (0, "1", "")


def test_the_thread_ends_with_the_last_client(server: Server) -> None:
    program = Program(
        server.port,
        """
        other = Client(base_url=client.base_url, api_key="", rate_limit=None)
        client.images.generate("a cat")
        other.images.generate("a cat")
        client.close()
        [thread] = loop_threads()
        print(thread.is_alive())
        other.close()
        thread.join()
        print(threading.active_count())
        """,
    )
    for _ in range(2):
        connection = server.request()
        server.answer(connection)
        connection.close()
    assert program.end() == (0, "True\n1", "")


def test_the_exit_does_not_wait_for_a_daemon_thread_inside_a_call(server: Server) -> None:
    program = Program(
        server.port,
        """
        threading.Thread(target=client.images.generate, args=("a cat",), daemon=True).start()
        sys.stdin.readline()
        """,
    )
    with server.request() as connection:
        program.tell()
        assert is_dropped(connection)
    assert program.end() == (0, "", "")


def test_a_thread_that_python_waits_for_at_exit_can_finish_its_calls(server: Server) -> None:
    program = Program(
        server.port,
        """
        def work():
            threading.main_thread().join()
            client.images.generate("the first call opens a connection, by the name of its host")
            print(client.images.generate("a cat")[0].width)
        threading.Thread(target=work).start()
        """,
    )
    with server.request() as connection:
        server.answer(connection)
        server.read_request(connection)
        server.answer(connection)
        assert program.end() == (0, "1", "")


def test_sys_exit_inside_the_with_block_ends_the_program_with_its_code(server: Server) -> None:
    program = Program(
        server.port,
        """
        with client:
            client.images.generate("a cat")
            sys.exit(7)
        """,
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.end() == (7, "", "")


def test_a_client_used_before_a_fork_works_on_both_sides_of_it(server: Server) -> None:
    program = Program(
        server.port,
        """
        client.images.generate("the parent opens a connection")
        if (child := os.fork()) == 0:
            client.images.generate("the child opens its own")
            client.close()
            sys.exit(5)
        _, status = os.waitpid(child, 0)
        client.images.generate("the parent goes on with its own")
        print(os.waitstatus_to_exitcode(status), len(loop_threads()))
        """,
    )
    with server.request() as parent:
        server.answer(parent)
        with server.request() as child:
            server.answer(child)
            assert is_dropped(child)
        server.read_request(parent)
        server.answer(parent)
        assert program.end() == (0, "5 1", "")


def test_a_fork_under_a_call_of_another_thread_leaves_that_call_alone(server: Server) -> None:
    program = Program(
        server.port,
        """
        threading.Thread(target=lambda: print(client.images.generate("a cat")[0].width)).start()
        sys.stdin.readline()
        if os.fork() == 0:
            client.images.generate("a dog")
            sys.exit()
        os.wait()
        """,
    )
    with server.request() as parent:
        program.tell()
        with server.request() as child:
            server.answer(child)
            assert is_dropped(child)
        server.answer(parent)
        assert program.end() == (0, "1", "")


def test_a_loop_that_cannot_start_is_an_error_of_the_call(server: Server) -> None:
    program = Program(
        server.port,
        """
        import anyio
        run = anyio.run
        def refuse(function):
            raise OSError("too many open files")
        anyio.run = refuse
        try:
            client.images.generate("a cat")
        except RuntimeError as error:
            print(repr(error.__cause__))
        anyio.run = run
        print(client.images.generate("a cat")[0].width)
        """,
    )
    with server.request() as connection:
        server.answer(connection)
        assert program.end() == (0, "OSError('too many open files')\n1", "")


def test_interrupts_at_any_instant_leave_no_coroutine_behind(server: Server) -> None:
    program = Program(
        server.port,
        """
        import random
        import anyio
        from imagesdk._sync.lease import lease

        begun = ended = 0

        class Twin:
            async def aclose(self): pass
            async def work(self):
                global begun, ended
                begun += 1
                try:
                    await anyio.sleep(0.0002)
                finally:
                    ended += 1
            async def quiet(self):
                while begun != ended:
                    await anyio.sleep(0)

        armed = False
        def interrupt(number, frame):
            if armed:
                raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        held = lease(Twin)
        held.call(Twin.work)
        interrupted = 0
        for _ in range(1500):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-3), 1e-4)
                held.call(Twin.work)
                held.call(Twin.work)
                armed = False
            except KeyboardInterrupt:
                armed = False
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        held.call(Twin.quiet)
        print(interrupted > 100, len(loop_threads()))
        """,
    )
    assert program.end() == (0, "True 1", "")

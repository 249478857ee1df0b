"""How processes with blocking clients are interrupted, forked and ended: promises kept by whole programs."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import pytest

PATIENCE = 30
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
    """A Python program with a blocking client, called ``client``."""

    def __init__(self, port: int, text: str) -> None:
        opening = f"""
            import gc, os, signal, sys, threading
            import imagesdk
            from imagesdk import Client
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what is put in the background may ignore it
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
        out, err = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, out.strip(), err

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


Start: TypeAlias = Callable[[str], Program]


@pytest.fixture
def start(server: Server) -> Iterator[Start]:
    """Starts programs with a client of the test's server."""
    with ExitStack() as stack:

        def start(text: str) -> Program:
            program = Program(server.port, text)
            stack.callback(program.kill)
            return program

        yield start


def is_dropped(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, which is waited for."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_ctrl_c_leaves_a_call_and_the_server_sees_the_connection_dropped(
    server: Server, start: Start
) -> None:
    program = start(
        """
        try:
            client.images.generate("a cat")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        sys.stdin.readline()
        print(client.images.generate("a cat")[0].width)
        """
    )
    with server.request() as connection:
        program.interrupt()
        assert program.line() == "interrupted"
        assert is_dropped(connection)
    program.tell()
    with server.request() as connection:
        server.answer(connection)
        assert program.end() == (0, "1", "")


def test_ctrl_c_that_nobody_catches_ends_the_program_like_any_other(server: Server, start: Start) -> None:
    program = start("client.images.generate('a cat')")
    with server.request() as connection:
        program.interrupt()
        assert is_dropped(connection)
    code, _, err = program.end()
    assert code in {-signal.SIGINT, 1}
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "ExceptionGroup" not in err


def test_ctrl_c_interrupts_the_main_thread_and_leaves_the_calls_of_others_alone(
    server: Server, start: Start
) -> None:
    program = start(
        """
        thread = threading.Thread(target=lambda: print(client.images.generate("a cat")[0].width))
        thread.start()
        sys.stdin.readline()
        try:
            client.images.generate("a dog")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        thread.join()
        """
    )
    with server.request() as others:
        program.tell()
        with server.request() as main:
            program.interrupt()
            assert program.line() == "interrupted"
            assert is_dropped(main)
        server.answer(others)
        assert program.end() == (0, "1", "")


@pytest.mark.parametrize(("grace", "again"), [("0.01", False), ("1000", True)])
def test_an_interrupted_call_waits_for_its_end_a_while_and_not_after_a_second_ctrl_c(
    start: Start, grace: str, again: bool
) -> None:
    program = start(
        """
        import anyio
        from imagesdk._sync import portal
        from imagesdk._sync.lease import lease

        portal.GRACE = SECONDS

        class Stubborn:
            async def aclose(self):
                pass

            async def work(self):
                try:
                    print("working", flush=True)
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        print("clearing up", flush=True)
                        await anyio.sleep_forever()

        try:
            handle = lease(Stubborn)
            handle.call(Stubborn.work)
        except KeyboardInterrupt:
            print("interrupted")
        """.replace("SECONDS", grace)
    )
    assert program.line() == "working"
    program.interrupt()
    assert program.line() == "clearing up"
    if again:
        program.interrupt()
    assert program.end() == (0, "interrupted", "")


def test_a_name_service_that_hangs_holds_up_neither_ctrl_c_nor_the_exit(start: Start) -> None:
    program = start(
        """
        import socket

        def hang(*args, **options):
            print("looking up", flush=True)
            threading.Event().wait()

        socket.getaddrinfo = hang
        try:
            client.images.generate("a cat")
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert program.line() == "looking up"
    program.interrupt()
    assert program.end() == (0, "interrupted", "")


def test_an_error_that_nobody_catches_has_a_traceback_of_one_piece(server: Server, start: Start) -> None:
    program = start("client.images.generate('a cat')")
    with server.request() as connection:
        body = b'{"error": {"message": "No such thing."}}'
        connection.sendall(b"HTTP/1.1 400 No\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        code, _, err = program.end()
    assert code == 1
    assert err.startswith("Traceback (most recent call last):")
    last = "imagesdk.BadRequestError: The server answered 400: No such thing. "
    assert err.splitlines()[-1].startswith(last)
    assert 'File "<string>"' in err.splitlines()[1]
    for noise in ("ExceptionGroup", "direct cause", "During handling", "Future"):
        assert noise not in err


def test_a_program_that_does_not_close_its_client_ends_cleanly(server: Server, start: Start) -> None:
    program = start("print(client.images.generate('a cat')[0].width)")
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.end() == (0, "1", "")


def test_a_program_whose_last_call_is_made_at_exit_ends_cleanly(server: Server, start: Start) -> None:
    program = start(
        """
        import atexit
        atexit.register(lambda: client.images.generate("a last one"))
        client.images.generate("a cat")
        """
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    with server.request() as connection:
        server.answer(connection)
    assert program.end() == (0, "", "")


def test_a_client_that_is_forgotten_drops_its_connection_ends_its_thread_and_is_warned_of(
    server: Server, start: Start
) -> None:
    program = start(
        """
        client.images.generate("a cat")
        [thread] = loop_threads()
        del client
        gc.collect()
        thread.join()
        print(loop_threads(), flush=True)
        sys.stdin.readline()
        """
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.line() == "[]"
    program.tell()
    code, _, err = program.end()
    assert code == 0
    [warning] = [line for line in err.splitlines() if "tracemalloc" not in line]
    assert "ResourceWarning: a blocking client was not closed: use 'with Client(...) as client'" in warning


def test_a_client_that_was_closed_or_never_called_is_forgotten_in_silence(
    server: Server, start: Start
) -> None:
    program = start(
        """
        Client(base_url=client.base_url, api_key="").images
        view = client.images
        client.images.generate("a cat")
        client.close()
        del client, view
        gc.collect()
        """
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.end() == (0, "", "")


def test_a_client_forgotten_by_the_child_of_a_fork_is_not_warned_of_where_it_was_not_used(
    server: Server, start: Start
) -> None:
    program = start(
        """
        client.images.generate("a cat")
        if not (child := os.fork()):
            del client
            gc.collect()
            sys.exit()
        os.waitpid(child, 0)
        client.close()
        """
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.end() == (0, "", "")


def test_an_async_program_that_does_not_close_its_client_ends_cleanly(server: Server) -> None:
    """Python shows no warning of open sockets unless it is asked to."""
    text = f"""
        import asyncio
        from imagesdk import AsyncClient
        client = AsyncClient(base_url="http://localhost:{server.port}/v1", api_key="", rate_limit=None)
        asyncio.run(client.images.generate("a cat"))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)], stderr=subprocess.PIPE, text=True
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 0


def test_a_program_that_never_calls_starts_no_thread(server: Server, start: Start) -> None:
    program = start("client.close(); print(threading.active_count())")
    assert program.end() == (0, "1", "")


def test_the_thread_ends_with_the_last_client(server: Server, start: Start) -> None:
    program = start(
        """
        other = Client(base_url=client.base_url, api_key="", rate_limit=None)
        client.images.generate("a cat")
        other.images.generate("a cat")
        client.close()
        [thread] = loop_threads()
        print(thread.is_alive())
        other.close()
        thread.join()
        print(loop_threads())
        """
    )
    for _ in range(2):
        connection = server.request()
        server.answer(connection)
        connection.close()
    assert program.end() == (0, "True\n[]", "")


def test_the_exit_does_not_wait_for_a_daemon_thread_inside_a_call(server: Server, start: Start) -> None:
    program = start(
        """
        threading.Thread(target=client.images.generate, args=("a cat",), daemon=True).start()
        sys.stdin.readline()
        """
    )
    with server.request() as connection:
        program.tell()
        assert is_dropped(connection)
    assert program.end() == (0, "", "")


def test_a_thread_that_python_waits_for_at_exit_finishes_its_call(server: Server, start: Start) -> None:
    program = start(
        """
        def work():
            print(client.images.generate("a cat")[0].width)
        threading.Thread(target=work).start()
        def tell():
            threading.main_thread().join()
            print("the main thread has ended", flush=True)
        threading.Thread(target=tell).start()
        sys.stdin.readline()
        """
    )
    with server.request() as connection:
        program.tell()
        assert program.line() == "the main thread has ended"
        server.answer(connection)
        assert program.end() == (0, "1", "")


def test_sys_exit_inside_the_with_block_ends_the_program_with_its_code(server: Server, start: Start) -> None:
    program = start(
        """
        with client:
            client.images.generate("a cat")
            sys.exit(7)
        """
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.end() == (7, "", "")


def test_a_client_used_before_a_fork_works_on_both_sides_of_it(server: Server, start: Start) -> None:
    program = start(
        """
        client.images.generate("the parent opens a connection")
        if (child := os.fork()) == 0:
            client.images.generate("the child opens its own")
            client.close()
            sys.exit(5)
        _, status = os.waitpid(child, 0)
        client.images.generate("the parent goes on with its own")
        print(os.waitstatus_to_exitcode(status), len(loop_threads()))
        """
    )
    with server.request() as parent:
        server.answer(parent)
        with server.request() as child:
            server.answer(child)
            assert is_dropped(child)
        server.read_request(parent)
        server.answer(parent)
        assert program.end() == (0, "5 1", "")


def test_a_fork_under_a_call_of_another_thread_leaves_that_call_alone(server: Server, start: Start) -> None:
    program = start(
        """
        threading.Thread(target=lambda: print(client.images.generate("a cat")[0].width)).start()
        sys.stdin.readline()
        if os.fork() == 0:
            client.images.generate("a dog")
            sys.exit()
        os.wait()
        """
    )
    with server.request() as parent:
        program.tell()
        with server.request() as child:
            server.answer(child)
            assert is_dropped(child)
        server.answer(parent)
        assert program.end() == (0, "1", "")


def test_a_loop_that_cannot_start_is_an_error_of_the_call(server: Server, start: Start) -> None:
    program = start(
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
        """
    )
    with server.request() as connection:
        server.answer(connection)
        assert program.end() == (0, "OSError('too many open files')\n1", "")


STUB = """
    import anyio
    from imagesdk._sync.lease import lease

    begun = ended = 0

    class Stub:
        async def aclose(self):
            await anyio.sleep(0)

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
"""


def test_interrupts_at_any_instant_leave_nothing_behind(start: Start) -> None:
    program = start(
        textwrap.dedent(STUB)
        + textwrap.dedent("""
        import random, warnings
        warnings.simplefilter("ignore", ResourceWarning)  # of leases that an interrupt leaves open

        armed = False
        def interrupt(number, frame):
            if armed:
                raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        handle = lease(Stub)
        handle.call(Stub.work)
        interrupted = 0
        for number in range(1500):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-3), 5e-5)
                chosen = handle if number % 4 else lease(Stub)
                chosen.call(Stub.work)
                chosen.call(Stub.work)
                if chosen is not handle:
                    chosen.close()
                armed = False
            except KeyboardInterrupt:
                armed = False
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            chosen = None  # here: Python swallows what is raised in a finaliser, and tells of it
        gc.collect()
        handle.call(Stub.quiet)
        print(interrupted > 100, begun == ended)
        [thread] = loop_threads()
        handle.close()
        thread.join()
        """)
    )
    assert program.end() == (0, "True True", "")


def test_forks_under_busy_threads_do_not_hang(start: Start) -> None:
    program = start(
        textwrap.dedent(STUB)
        + textwrap.dedent("""
        handle = lease(Stub)
        stop = False
        def busy():
            while not stop:
                handle.call(Stub.work)
        threads = [threading.Thread(target=busy) for _ in range(8)]
        for thread in threads:
            thread.start()
        codes = set()
        for _ in range(12):
            if (child := os.fork()) == 0:
                handle.call(Stub.work)
                second = lease(Stub)
                second.call(Stub.work)
                second.close()
                os._exit(3)
            codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop = True
        for thread in threads:
            thread.join()
        print(codes)
        """)
    )
    assert program.end() == (0, "{3}", "")


def test_the_exit_is_silent_while_daemon_threads_are_busy(start: Start) -> None:
    program = start(
        textwrap.dedent(STUB)
        + textwrap.dedent("""
        import warnings
        warnings.simplefilter("ignore", ResourceWarning)  # of leases that are replaced by the next
        ready = threading.Barrier(9)
        def busy():
            handle = lease(Stub)
            handle.call(Stub.work)
            ready.wait()
            while True:
                handle = lease(Stub)
                handle.call(Stub.work)
        for _ in range(8):
            threading.Thread(target=busy, daemon=True).start()
        ready.wait()
        """)
    )
    assert program.end() == (0, "", "")

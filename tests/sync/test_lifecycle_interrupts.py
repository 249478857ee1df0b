"""How Ctrl-C and errors end programs with blocking clients, shown by whole programs."""

import signal
from pathlib import Path

import pytest

from tests.support.forked_programs import Server, Start, is_dropped, server, start

__all__ = ["server", "start"]


def test_ctrl_c_ends_a_call_and_drops_its_connection(server: Server, start: Start) -> None:
    program = start(
        """
        try:
            client.images.generate("a cat")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(client.images.generate("a cat")[0].width)
        """
    )
    with server.request() as connection:
        program.interrupt()
        assert program.line() == "interrupted"
        assert is_dropped(connection)
    server.serve_once()
    assert program.end() == (0, "1", "")


def test_ctrl_c_ends_a_stream_that_is_entered_or_read_and_drops_its_connection(
    server: Server, start: Start
) -> None:
    program = start(
        """
        for when in ("entered", "read"):
            try:
                with client.images.generate_stream("a river", partial_images=3) as stream:
                    print(next(stream).image.width, flush=True)
                    next(stream)
            except KeyboardInterrupt:
                print("interrupted when", when, flush=True)
        print(client.images.generate("a dog")[0].width)
        """
    )
    with server.request() as connection:
        program.interrupt()
        assert program.line() == "interrupted when entered"
        assert is_dropped(connection)
    with server.begin_stream() as connection:
        assert program.line() == "1"
        program.interrupt()
        assert is_dropped(connection)
    assert program.line() == "interrupted when read"
    server.serve_once()
    assert program.end() == (0, "1", "")


def test_ctrl_c_ends_a_run_and_drops_its_connections(server: Server, start: Start, tmp_path: Path) -> None:
    program = start(
        f"""
        try:
            with client.images.fan_out(["a", "b", "c"], out={str(tmp_path)!r}, concurrency=2) as run:
                print(next(run).place, flush=True)
                next(run)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        with client.images.fan_out(["a", "b", "c"], out={str(tmp_path)!r}) as run:
            print(*[outcome.status for outcome in run.collect()][:2])
        """
    )
    with server.request() as first, server.request() as second:
        server.answer(first)
        assert program.line() in {"0", "1"}
        server.read_request(first)  # the third job, on the same connection
        program.interrupt()
        assert is_dropped(first)
        assert is_dropped(second)
    assert program.line() == "interrupted"
    code, out, err = program.end()
    assert (code, err) == (0, "")
    assert sorted(out.split()) == ["done", "unknown"]


def test_an_uncaught_ctrl_c_ends_the_program_like_any_other(server: Server, start: Start) -> None:
    program = start("client.images.generate('a cat')")
    with server.request() as connection:
        program.interrupt()
        assert is_dropped(connection)
    code, _, err = program.end()
    assert code in {-signal.SIGINT, 1}
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "ExceptionGroup" not in err


def test_ctrl_c_ends_the_call_of_the_main_thread_only(server: Server, start: Start) -> None:
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
        program.send_line()
        with server.request() as main:
            program.interrupt()
            assert program.line() == "interrupted"
            assert is_dropped(main)
        server.answer(others)
        assert program.end() == (0, "1", "")


STUBBORN = """
        import anyio
        from imagesdk._sync import portal
        from imagesdk._sync.lease import lease

        working, clearing_up = threading.Event(), threading.Event()

        class Stubborn:
            async def aclose(self):
                pass

            async def work(self):
                try:
                    # Not print(): its lock, held by this thread at the end, would abort the interpreter.
                    os.write(1, b"working\\n")
                    working.set()
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        os.write(1, b"clearing up\\n")
                        clearing_up.set()
                        await anyio.sleep_forever()
"""
"""Opening of a program with a client whose coroutine does not end."""


@pytest.mark.parametrize(("grace", "again"), [("0.01", False), ("1000", True)])
def test_an_interrupted_call_waits_for_its_coroutine_until_the_grace_ends_or_a_second_ctrl_c(
    start: Start, grace: str, again: bool
) -> None:
    program = start(
        STUBBORN
        + f"""
        portal.GRACE = {grace}
        portal.EXIT_GRACE = 0.01
        try:
            handle = lease(Stubborn)
            handle.call(Stubborn.work)
        except KeyboardInterrupt:
            clearing_up.wait()  # however slow the other thread is
            print("interrupted")
        """
    )
    assert program.line() == "working"
    program.interrupt()
    assert program.line() == "clearing up"
    if again:
        program.interrupt()
    assert program.end() == (0, "interrupted", "")


def test_a_ctrl_c_that_does_not_reach_the_waiting_thread_interrupts_it_all_the_same(start: Start) -> None:
    program = start(
        STUBBORN
        + """
        portal.GRACE = 0.01
        portal.EXIT_GRACE = 0.01

        def deliver():  # as the system does where the main thread is about to wait
            working.wait()
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        threading.Thread(target=deliver).start()
        try:
            handle = lease(Stubborn)
            handle.call(Stubborn.work)
        except KeyboardInterrupt:
            clearing_up.wait()
            print("interrupted")
        """
    )
    assert [program.line(), program.line()] == ["working", "clearing up"]
    assert program.end() == (0, "interrupted", "")


def test_ctrl_c_ends_the_wait_of_the_exit_for_its_coroutines_without_a_traceback(start: Start) -> None:
    program = start(
        STUBBORN
        + """
        portal.EXIT_GRACE = 1000
        handle = lease(Stubborn)
        threading.Thread(target=handle.call, args=(Stubborn.work,), daemon=True).start()
        working.wait()
        """
    )
    assert [program.line(), program.line()] == ["working", "clearing up"]
    program.interrupt()
    assert program.end() == (0, "", "")


def test_a_hanging_resolver_delays_neither_ctrl_c_nor_the_exit(start: Start) -> None:
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


def test_interrupts_at_random_instants_leave_no_coroutine_running(start: Start) -> None:
    program = start(
        """
        import warnings
        from tests.soak.threads import interrupts
        warnings.simplefilter("ignore", ResourceWarning)  # of leases that an interrupt leaves open
        client.close()
        print(interrupts(seed=1, first=0, count=200)["interrupted"] > 20, loop_threads())
        """
    )
    assert program.end() == (0, "True []", "")


@pytest.mark.parametrize(
    ("text", "last_line"),
    [
        ("client.images.generate('a')", "imagesdk.BadRequestError: The server answered 400: No such thing. "),
        (
            "with client.images.generate_stream('a') as stream: list(stream)",
            "imagesdk.StreamError: The stream ended without its image",
        ),
        (
            "with client.images.fan_out(['a', 'b']) as run: next(run); raise LookupError('mine')",
            "LookupError: mine",
        ),
    ],
    ids=["of a call", "of a stream", "of the block of a run"],
)
def test_an_uncaught_error_has_one_traceback_without_internal_noise(
    server: Server, start: Start, text: str, last_line: str
) -> None:
    program = start(text)
    if "stream" in text:
        server.begin_stream().close()
    else:
        with server.request() as connection:
            if "fan_out" in text:
                server.answer(connection)
            else:
                body = b'{"error": {"message": "No such thing."}}'
                connection.sendall(b"HTTP/1.1 400 No\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            assert is_dropped(connection)
    code, _, err = program.end()
    assert code == 1
    assert err.splitlines()[-1].startswith(last_line)
    assert "ExceptionGroup" not in err
    if "stream" not in text:  # the cause of a broken stream is the error of the HTTP library
        assert err.startswith('Traceback (most recent call last):\n  File "<string>"')
        for noise in ("direct cause", "During handling", "Future"):
            assert noise not in err

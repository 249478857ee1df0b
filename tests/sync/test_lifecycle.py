"""How processes with blocking clients are interrupted, forked and ended, shown by whole programs."""

import signal

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
        sys.stdin.readline()
        print(client.images.generate("a cat")[0].width)
        """
    )
    with server.request() as connection:
        program.interrupt()
        assert program.line() == "interrupted"
        assert is_dropped(connection)
    program.send_line()
    with server.request() as connection:
        server.answer(connection)
        assert program.end() == (0, "1", "")


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


@pytest.mark.parametrize(("grace", "again"), [("0.01", False), ("1000", True)])
def test_an_interrupted_call_waits_for_its_coroutine_until_the_grace_ends_or_a_second_ctrl_c(
    start: Start, grace: str, again: bool
) -> None:
    program = start(
        """
        import anyio
        from imagesdk._sync import portal
        from imagesdk._sync.lease import lease

        portal.GRACE = SECONDS
        portal.EXIT_GRACE = 0.01

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


def test_an_uncaught_error_has_one_traceback_without_internal_noise(server: Server, start: Start) -> None:
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


def test_a_garbage_collected_client_drops_its_connection_ends_the_thread_and_warns(
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
    program.send_line()
    code, _, err = program.end()
    assert code == 0
    [warning] = [line for line in err.splitlines() if "tracemalloc" not in line]
    assert "ResourceWarning: a blocking client was not closed: use 'with Client(...) as client'" in warning


def test_garbage_collection_of_a_closed_or_unused_client_does_not_warn(server: Server, start: Start) -> None:
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


def test_garbage_collection_in_a_forked_child_does_not_warn_of_a_client_that_the_child_did_not_use(
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


def test_an_async_program_that_does_not_close_its_client_ends_cleanly(server: Server, start: Start) -> None:
    program = start(
        """
        import asyncio, warnings
        warnings.simplefilter("ignore", ResourceWarning)  # as Python does unless it is asked to show them
        async_client = AsyncClient(base_url=client.base_url, api_key="", rate_limit=None)
        asyncio.run(async_client.images.generate("a cat"))
        """
    )
    with server.request() as connection:
        server.answer(connection)
        assert is_dropped(connection)
    assert program.end() == (0, "", "")


def test_neither_the_import_nor_a_client_without_calls_starts_a_thread(start: Start) -> None:
    program = start("client.close(); print(threads_after_import, threading.active_count())")
    assert program.end() == (0, "1 1", "")


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


def test_the_exit_does_not_wait_for_the_call_of_a_daemon_thread(server: Server, start: Start) -> None:
    program = start(
        """
        threading.Thread(target=client.images.generate, args=("a cat",), daemon=True).start()
        sys.stdin.readline()
        """
    )
    with server.request() as connection:
        program.send_line()
        assert is_dropped(connection)
    assert program.end() == (0, "", "")


def test_a_thread_that_is_no_daemon_finishes_its_call_at_exit(server: Server, start: Start) -> None:
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
        program.send_line()
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


def test_a_client_used_before_a_fork_works_in_parent_and_child_with_separate_connections(
    server: Server, start: Start
) -> None:
    program = start(
        """
        client.images.generate("the parent opens a connection")
        if (child := os.fork()) == 0:
            client.images.generate("the child opens its own")
            client.close()
            sys.exit(5)
        _, status = os.waitpid(child, 0)
        client.images.generate("the parent continues on its own")
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


def test_a_fork_does_not_end_the_call_of_another_thread(server: Server, start: Start) -> None:
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
        program.send_line()
        with server.request() as child:
            server.answer(child)
            assert is_dropped(child)
        server.answer(parent)
        assert program.end() == (0, "1", "")


def test_a_loop_that_cannot_start_fails_the_call_and_the_next_call_starts_another(
    server: Server, start: Start
) -> None:
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


def test_forked_children_of_a_process_with_busy_threads_do_not_hang(start: Start) -> None:
    program = start(
        """
        from tests.soak.threads import forks
        client.close()
        print(forks(seed=1, first=0, count=4)["children"], loop_threads())
        """
    )
    assert program.end() == (0, "4 []", "")


def test_the_exit_is_silent_while_daemon_threads_are_busy(start: Start) -> None:
    program = start(
        """
        import warnings
        from imagesdk._sync.lease import lease
        from tests.soak.threads import Stub
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
        """
    )
    assert program.end() == (0, "", "")

"""How programs with blocking clients are forked and ended, shown by whole programs."""

from pathlib import Path

import pytest

from tests.support.forked_programs import Server, Start, is_dropped, server, start

__all__ = ["server", "start"]


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


def test_a_program_may_exit_during_a_stream_and_a_run_without_closing_them(
    server: Server, start: Start, tmp_path: Path
) -> None:
    program = start(
        f"""
        stream_manager = client.images.generate_stream("a river", partial_images=3)
        print(next(stream_manager.__enter__()).image.width, flush=True)
        run_manager = client.images.fan_out(["a", "b"], out={str(tmp_path)!r})
        print(next(run_manager.__enter__()).status, flush=True)
        """
    )
    with server.begin_stream() as stream:
        assert program.line() == "1"
        with server.request() as first, server.request() as second:
            server.answer(first)
            assert program.line() == "done"
            assert is_dropped(second)
        assert is_dropped(stream)
    code, out, _ = program.end()
    assert (code, out) == (0, "")


def test_a_program_whose_last_call_is_made_at_exit_ends_cleanly(server: Server, start: Start) -> None:
    program = start(
        """
        import atexit
        atexit.register(lambda: client.images.generate("a last one"))
        client.images.generate("a cat")
        """
    )
    server.serve_once()
    with server.request() as connection:
        server.answer(connection)
    assert program.end() == (0, "", "")


def test_the_exit_does_not_wait_for_the_call_and_the_stream_of_daemon_threads(
    server: Server, start: Start
) -> None:
    program = start(
        """
        def read():
            with client.images.generate_stream("a river", partial_images=3) as stream:
                print(next(stream).image.width, flush=True)
                next(stream)
        threading.Thread(target=read, daemon=True).start()
        sys.stdin.readline()
        threading.Thread(target=client.images.generate, args=("a cat",), daemon=True).start()
        sys.stdin.readline()
        """
    )
    with server.begin_stream() as stream:
        assert program.line() == "1"
        program.send_line()
        with server.request() as connection:
            program.send_line()
            assert is_dropped(connection)
        assert is_dropped(stream)
    assert program.end() == (0, "", "")


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


# Each makes one call.
PROGRAMS = {
    "does not close its client": "client.images.generate('a cat')",
    "starts a thread with its first call only": """
        Client(base_url=client.base_url, api_key="").close()
        print(threads_after_import, threading.active_count())
        client.images.generate("a cat")
        """,
    "does not close its asynchronous client": """
        import asyncio, warnings
        warnings.simplefilter("ignore", ResourceWarning)  # as Python does unless it is asked to show them
        async_client = AsyncClient(base_url=client.base_url, api_key="", rate_limit=None)
        asyncio.run(async_client.images.generate("a cat"))
        """,
    "calls sys.exit inside the with block": """
        with client:
            client.images.generate("a cat")
            sys.exit(7)
        """,
    "starts a second loop where the first cannot start": """
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
    "garbage-collects clients that it has closed or never used": """
        Client(base_url=client.base_url, api_key="").images
        view = client.images
        client.images.generate("a cat")
        client.close()
        del client, view
        gc.collect()
        """,
    "garbage-collects the client of its parent process in a forked child": """
        client.images.generate("a cat")
        if not (child := os.fork()):
            del client
            gc.collect()
            sys.exit()
        os.waitpid(child, 0)
        client.close()
        """,
}
ENDS = {
    "starts a thread with its first call only": (0, "1 1"),
    "calls sys.exit inside the with block": (7, ""),
    "starts a second loop where the first cannot start": (0, "OSError('too many open files')\n1"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_with_one_call_ends_with_its_code_and_without_a_warning(
    server: Server, start: Start, name: str
) -> None:
    program = start(PROGRAMS[name])
    server.serve_once()
    assert program.end() == (*ENDS.get(name, (0, "")), "")


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
        server.serve_once()
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
        server.serve_once()
        server.answer(parent)
        assert program.end() == (0, "1", "")


def test_a_child_forked_during_a_run_cannot_use_it_and_the_parent_finishes_it(
    server: Server, start: Start, tmp_path: Path
) -> None:
    program = start(
        f"""
        from imagesdk import JournalError
        with client.images.fan_out(["a"], out={str(tmp_path)!r}) as run:
            sys.stdin.readline()
            pid = os.fork()
            if pid == 0:
                try:
                    next(run)
                except RuntimeError as error:
                    print(error, flush=True)
                try:
                    with client.images.fan_out(["a"], out={str(tmp_path)!r}):
                        pass
                except JournalError as error:
                    print(str(error).split("(")[1][:7], flush=True)
            else:
                os.waitpid(pid, 0)
                sys.stdin.readline()
                print(*[outcome.status for outcome in run.collect()], flush=True)
        if pid:
            with client.images.fan_out(["a"], out={str(tmp_path)!r}) as run:
                print(run.collect()[0].resumed)
        """
    )
    with server.request() as connection:
        program.send_line()
        assert program.line() == "this belongs to the process that forked: make a new one here"
        assert program.line() == "process"
        program.send_line()
        server.answer(connection)
        assert program.line() == "done"
    assert program.end() == (0, "True", "")


def test_forked_children_of_a_process_with_busy_threads_do_not_hang(start: Start) -> None:
    program = start(
        """
        from tests.soak.threads import forks
        client.close()
        print(forks(seed=1, first=0, count=4)["children"], loop_threads())
        """
    )
    assert program.end() == (0, "4 []", "")


@pytest.mark.parametrize("first_call", ["", "client.images.generate('a dog')"], ids=["first", "later"])
def test_a_call_in_a_finaliser_at_the_end_of_the_interpreter_raises_instead_of_hanging(
    server: Server, start: Start, first_call: str
) -> None:
    program = start(
        f"""
        gc.unfreeze()  # as in a program that was not forked

        class Last:
            def __del__(self, client=client, write=os.write):
                try:
                    client.images.generate("a cat")
                except RuntimeError as error:
                    write(1, str(error).encode())

        last = Last()
        {first_call}
        """
    )
    if first_call:
        server.serve_once()
    message = "the interpreter is exiting, and no call can be made any more: make it before"
    assert program.end() == (0, message, "")


def test_a_call_in_a_thread_of_an_exit_handler_raises_after_the_end_of_the_loop(
    server: Server, start: Start
) -> None:
    program = start(
        """
        import atexit

        def call():
            try:
                client.images.generate("a cat")
            except RuntimeError:
                print("RuntimeError")

        def at_exit():
            thread = threading.Thread(target=call)
            try:
                thread.start()
            except RuntimeError:  # some versions of Python start no thread at exit
                print("RuntimeError")
            else:
                thread.join()

        atexit.register(at_exit)
        client.images.generate("a dog")
        """
    )
    server.serve_once()
    assert program.end() == (0, "RuntimeError", "")

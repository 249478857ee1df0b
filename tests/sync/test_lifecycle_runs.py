"""How programs with a blocking run are interrupted, forked and ended."""

from __future__ import annotations

from pathlib import Path

from tests.support.forked_programs import Server, Start, is_dropped, server, start

__all__ = ["server", "start"]


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


def test_an_error_in_the_block_of_a_run_has_the_traceback_of_the_caller_only(
    server: Server, start: Start
) -> None:
    program = start(
        """
        with client.images.fan_out(["a", "b"]) as run:
            next(run)
            raise LookupError("mine")
        """
    )
    with server.request() as first, server.request() as second:
        server.answer(first)
        assert is_dropped(second)
    code, _, err = program.end()
    assert code == 1
    assert err.strip().splitlines()[-1] == "LookupError: mine"
    assert "ExceptionGroup" not in err
    assert "During handling" not in err


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


def test_a_program_may_exit_during_a_run_without_closing_it(
    server: Server, start: Start, tmp_path: Path
) -> None:
    program = start(
        f"""
        manager = client.images.fan_out(["a", "b"], out={str(tmp_path)!r})
        run = manager.__enter__()
        print(next(run).status, flush=True)
        """
    )
    with server.request() as first, server.request() as second:
        server.answer(first)
        assert program.line() == "done"
        assert is_dropped(second)
    code, out, _ = program.end()
    assert (code, out) == (0, "")

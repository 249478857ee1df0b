"""How programs that read a blocking stream are interrupted and ended."""

from __future__ import annotations

import base64
import json
import socket

from tests.support.forked_programs import IMAGE, Server, Start, is_dropped, server, start

__all__ = ["server", "start"]

PARTIAL = json.dumps(
    {"type": "image_generation.partial_image", "b64_json": IMAGE, "partial_image_index": 0}
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

SIZE = len(base64.b64decode(IMAGE))


def begin_stream(server: Server) -> socket.socket:
    """Answer a request with a stream that sends one image and does not end."""
    connection = server.request()
    data = b"data: " + PARTIAL + b"\n\n"
    connection.sendall(HEAD + f"{len(data):x}\r\n".encode() + data + b"\r\n")
    return connection


def test_ctrl_c_ends_a_stream_and_drops_its_connection(server: Server, start: Start) -> None:
    program = start(
        """
        try:
            with client.images.generate_stream("a river", partial_images=3) as stream:
                print(len(next(stream).image.bytes), flush=True)
                next(stream)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(client.images.generate("a dog")[0].width)
        """
    )
    with begin_stream(server) as connection:
        assert program.line() == str(SIZE)
        program.interrupt()
        assert is_dropped(connection)
    assert program.line() == "interrupted"
    with server.request() as connection:
        server.answer(connection)
        assert program.end() == (0, "1", "")


def test_ctrl_c_while_a_stream_is_entered_cancels_the_request(server: Server, start: Start) -> None:
    program = start(
        """
        try:
            with client.images.generate_stream("a river") as stream:
                print("entered")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    with server.request() as connection:
        program.interrupt()
        assert is_dropped(connection)
    assert program.end() == (0, "interrupted", "")


def test_a_program_may_exit_during_a_stream_without_closing_it(server: Server, start: Start) -> None:
    program = start(
        """
        manager = client.images.generate_stream("a river", partial_images=3)
        stream = manager.__enter__()
        print(len(next(stream).image.bytes), flush=True)
        """
    )
    with begin_stream(server) as connection:
        assert program.line() == str(SIZE)
        assert is_dropped(connection)
    code, out, _ = program.end()
    assert (code, out) == (0, "")


def test_the_exit_does_not_wait_for_the_stream_of_a_daemon_thread(server: Server, start: Start) -> None:
    program = start(
        """
        def read():
            with client.images.generate_stream("a river", partial_images=3) as stream:
                print(len(next(stream).image.bytes), flush=True)
                next(stream)
        threading.Thread(target=read, daemon=True).start()
        sys.stdin.readline()
        """
    )
    with begin_stream(server) as connection:
        assert program.line() == str(SIZE)
        program.send_line()
        assert is_dropped(connection)
    assert program.end()[0] == 0


def test_an_uncaught_error_of_a_stream_has_no_exception_group(server: Server, start: Start) -> None:
    program = start(
        """
        with client.images.generate_stream("a river", partial_images=3) as stream:
            print(len(next(stream).image.bytes), flush=True)
            next(stream)
        """
    )
    with begin_stream(server) as connection:
        assert program.line() == str(SIZE)
        connection.close()
    code, _, err = program.end()
    assert code == 1
    assert err.strip().splitlines()[-1].startswith("imagesdk.StreamError: The stream ended without its image")
    assert "ExceptionGroup" not in err

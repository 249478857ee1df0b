"""Programs that exit during calls: soon, with their own exit code, and without output on stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from random import Random

from attrs import frozen

from tests.soak.answering import answering

_PATIENCE = 30
"""Seconds after which a program has hung and prints its stack."""
_OPENING = f"""
    import atexit, faulthandler, os, signal, sys, threading, time
    faulthandler.dump_traceback_later({_PATIENCE}, exit=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    from imagesdk import Client
    client = Client(base_url=sys.argv[1], api_key="", rate_limit=None)
    delay = float(sys.argv[2])
    call = lambda: client.images.generate("a cat")
    def calls():
        while True:
            call()
"""


@frozen
class Program:
    """A program and its expected end."""

    text: str
    codes: tuple[int, ...] = (0,)
    interrupted: bool = False
    """Whether it receives a Ctrl-C, which ends it like any other program."""


PROGRAMS = {
    "left open": Program("call()"),
    "busy daemon threads": Program(
        """
        for _ in range(8):
            threading.Thread(target=calls, daemon=True).start()
        time.sleep(delay)
        """
    ),
    "threads that Python waits for": Program(
        """
        for _ in range(8):
            threading.Thread(target=call).start()
        """
    ),
    "sys.exit in a with block": Program(
        """
        def until_closed():
            try:
                calls()
            except RuntimeError as error:
                assert "closed" in str(error), error
        for _ in range(3):
            threading.Thread(target=until_closed).start()
        with client:
            call()
            try:
                sys.exit(7)
            finally:
                time.sleep(delay)
        """,
        codes=(7,),
    ),
    "a call at exit, registered before": Program(
        """
        def last():
            try:
                call()
            except RuntimeError:
                pass  # some versions of Python start no thread at exit
        atexit.register(last)
        call()
        """
    ),
    "a call at exit, registered after": Program("call(); atexit.register(call)"),
    "closing at exit": Program("atexit.register(client.close); call()"),
    "os._exit": Program(
        """
        threading.Thread(target=calls, daemon=True).start()
        time.sleep(delay)
        os._exit(5)
        """,
        codes=(5,),
    ),
    "Ctrl-C": Program("call(); print(flush=True); calls()", codes=(-signal.SIGINT, 1, 130), interrupted=True),
    "Ctrl-C beside threads": Program(
        """
        threading.Thread(target=calls, daemon=True).start()
        call()
        print(flush=True)
        calls()
        """,
        codes=(-signal.SIGINT, 1, 130),
        interrupted=True,
    ),
}


def run(seed: int, first: int, count: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    names = list(PROGRAMS)
    with answering(longest=0.02) as base_url:
        for number in range(first, first + count):
            name = names[number % len(names)]
            _run(name, PROGRAMS[name], base_url, Random(f"{seed}/{number}").uniform(0, 0.05))
            counts[name] += 1
    return counts


def _run(name: str, program: Program, base_url: str, delay: float) -> None:
    text = textwrap.dedent(_OPENING) + textwrap.dedent(program.text)
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", text, base_url, str(delay)]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=surroundings)
    try:
        if program.interrupted:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=2 * _PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in program.codes, f"{name} (after {delay} s): {process.returncode}\n{errors}"
    if program.interrupted:
        assert errors.splitlines()[-1] == "KeyboardInterrupt", f"{name} (after {delay} s):\n{errors}"
        assert "ExceptionGroup" not in errors
        assert "ignored" not in errors
    else:
        assert not errors, f"{name} (after {delay} s):\n{errors}"

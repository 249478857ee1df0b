"""Programs that end at a chosen point, each forked from a process that has imported what it needs."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from imagesdk import Outcome
from imagesdk._engine.request_body import TrackedBody
from imagesdk.fan_out import output_files
from imagesdk.fan_out.journal import read_records

PATIENCE = 60
"""Seconds after which a program that should have ended has hung."""


def end_at(owner: object, name: str, *, after: bool, end: Callable[[], object], times: int = 1) -> None:
    """Call ``end`` when a function of ``owner`` is reached, or has returned, for that many times."""
    function: Callable[..., Any] = getattr(owner, name)
    reached = 0

    def count(here: bool) -> None:
        nonlocal reached
        reached += here
        if here and reached == times:
            end()

    async def awaited(*args: Any, **options: Any) -> Any:
        counts = owner is not TrackedBody or args[0].complete
        count(counts and not after)
        result = await function(*args, **options)
        count(counts and after)
        return result

    def called(*args: Any, **options: Any) -> Any:
        count(not after)
        result = function(*args, **options)
        count(after)
        return result

    setattr(owner, name, called if owner is output_files else awaited)


class Programs:
    """Processes that run ``main`` of a module whose last lines are :func:`serve`."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._forking: subprocess.Popen[str] | None = None

    def start(self, *arguments: Any) -> subprocess.Popen[str]:
        """Start a process of its own."""
        return self._python(json.dumps(arguments))

    def begin(self, *arguments: Any) -> int:
        """Fork a process, one at a time, and return its id. :meth:`exit_code` waits for its end."""
        if self._forking is None:
            self._forking = self._python()
            atexit.register(self._forking.communicate)
        assert self._forking.stdin is not None
        print(json.dumps(arguments), file=self._forking.stdin, flush=True)
        return self._number()

    def exit_code(self) -> int:
        """Wait for the forked process, and return its exit code: -9 if it was killed."""
        return self._number()

    def run(self, *arguments: Any) -> int:
        """Fork a process, and return its exit code."""
        self.begin(*arguments)
        return self.exit_code()

    def _number(self) -> int:
        assert self._forking is not None
        assert self._forking.stdout is not None
        return int(self._forking.stdout.readline())

    def _python(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", self._module, *arguments],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def check_files(out: Path, outcomes: list[Outcome]) -> None:
    """Check that a folder has one image of each outcome, as the journal records it, and nothing else."""
    paths = {image.path for outcome in outcomes for image in outcome.unwrap()}
    assert len(paths) == len(outcomes)
    left = {path for path in out.iterdir() if not path.name.startswith("journal.db")}
    assert left == paths, "files were left over"
    for record in read_records(out / "journal.db"):
        for image in (record.response or {})["images"]:
            data = (out / image["file"]["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == image["file"]["sha256"]


def serve(main: Callable[..., object]) -> None:
    """Run ``main`` with the arguments of this process, or in a fork for each line of its input."""
    if sys.argv[1:]:
        main(*json.loads(sys.argv[1]))
        return
    for name in ("encodings.idna", "httpcore", "imagesdk._transport.single_connection"):
        import_module(name)  # what the first request imports
    for line in sys.stdin:
        child = os.fork()
        if not child:
            signal.alarm(PATIENCE)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                main(*json.loads(line))
            except BaseException:  # noqa: BLE001 - the child must end here, whatever was raised
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

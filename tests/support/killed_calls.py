"""Programs that call ``images.once`` and are killed, at a chosen point or at any time."""

from __future__ import annotations

import atexit
import functools
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

import anyio

from imagesdk import AsyncClient, Generate, RetryPolicy
from imagesdk._coordination import claim_ledger, claims
from imagesdk._engine.request_body import TrackedBody
from imagesdk.fan_out import output_files, worker
from imagesdk.fan_out.claim_store import ClaimStore

PATIENCE = 60
LEASE = 0.5
"""Seconds of a lease in these programs."""
POINTS: dict[str, tuple[object, str, bool]] = {
    "before the claim": (ClaimStore, "claim", False),
    "after the claim": (ClaimStore, "claim", True),
    "before the commit of sending": (ClaimStore, "sending", False),
    "after the commit of sending": (ClaimStore, "sending", True),
    "when the request was sent": (TrackedBody, "__anext__", False),
    "when the response has arrived": (worker.JobRun, "receive", False),
    "after the commit of received": (ClaimStore, "received", True),
    "after the rename": (output_files, "move_if_free", True),
    "before the commit of done": (ClaimStore, "done", False),
    "after the commit of done": (ClaimStore, "done", True),
}
"""Points where a program is killed: an owner, the name of its function, and whether before or after that returns."""


def shorten_leases() -> None:
    setattr(claims, "LEASE", LEASE)  # noqa: B010 - it is final
    setattr(claim_ledger, "HEARTBEAT", LEASE / 4)  # noqa: B010


def kill_at(point: str) -> None:
    owner, name, after = POINTS[point]
    function: Callable[..., Any] = getattr(owner, name)

    async def awaited(*args: Any, **options: Any) -> Any:
        counts = owner is not TrackedBody or args[0].complete
        if counts and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await function(*args, **options)
        if counts:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def called(*args: Any, **options: Any) -> Any:
        function(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, called if owner is output_files else awaited)


async def call(base_url: str, shared: str, out: str, prompts: list[str]) -> None:
    retry = RetryPolicy(backoff=0)
    client = AsyncClient(base_url=base_url, api_key="", rate_limit=None, retry=retry, shared=shared)
    async with client, anyio.create_task_group() as tasks:
        limit = anyio.Semaphore(4)

        async def one(prompt: str) -> None:
            async with limit:
                outcome = await client.images.once(Generate(prompt), out=out)
                print(json.dumps([prompt, outcome.status]), flush=True)

        for prompt in prompts:
            tasks.start_soon(one, prompt)


def main(base_url: str, shared: str, out: str, prompts: list[str], point: str | None = None) -> None:
    shorten_leases()
    if point is not None:
        kill_at(point)
    anyio.run(call, base_url, shared, out, prompts)


def start(*arguments: Any) -> subprocess.Popen[str]:
    """Start a program with the arguments of :func:`main`."""
    return _python(json.dumps(arguments))


def begin(*arguments: Any) -> int:
    """Run :func:`main` in a process of its own, one at a time, and return its id. :func:`exit_code` waits for its end."""
    process = _forking_process()
    assert process.stdin is not None
    print(json.dumps(arguments), file=process.stdin, flush=True)
    return _number()


def exit_code() -> int:
    """Wait for the process, and return its exit code: -9 if it was killed."""
    return _number()


def _number() -> int:
    stdout = _forking_process().stdout
    assert stdout is not None
    return int(stdout.readline())


@functools.cache
def _forking_process() -> subprocess.Popen[str]:
    process = _python()
    atexit.register(process.communicate)
    return process


def _python(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.killed_calls", *arguments],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def fork_for_each_line() -> None:
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


if __name__ == "__main__":
    if sys.argv[1:]:
        main(*json.loads(sys.argv[1]))
    else:
        fork_for_each_line()

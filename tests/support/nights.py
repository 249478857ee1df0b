"""A nightly batch against the emulator, with everything in its way that a night has, and its accounts in the morning.

``python -m tests.support.nights`` reads a line of JSON for each run, and forks a process that makes it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import anyio
from attrs import define

from imagesdk import AsyncClient, AuthenticationError, Generate, RateLimit, RetryPolicy, cli
from imagesdk.emulator import Emulator
from imagesdk.fan_out import breaker
from imagesdk.fan_out.journal import read_records

_CONCURRENCY = 3
_MONTH = 30 * 24 * 3600.0
_REVOKED = 4
_FULL = 5
_PARTIAL = 3
_TERMINATED = 128 + signal.SIGTERM
_ENDINGS = {"killed": -signal.SIGKILL, "terminated": _TERMINATED, "revoked": _REVOKED, "full": _FULL}
"""Exit codes; 0 for the other troubles, and for a run that ends before its trouble."""
TROUBLES = ("killed", "terminated", "revoked", "away", "full", "month ahead", "month behind", "killed")
"""What befalls the runs of a night, one after the other. The last run is left in peace."""


def job_list(count: int) -> list[Generate]:
    return [
        Generate(f"image {number}", model="dall-e-2", size="256x256", response_format="b64_json")
        for number in range(count)
    ]


@define
class Night:
    """The runs of one night, and what they left."""

    count: int
    folder: Path
    emulator: Emulator
    process: subprocess.Popen[str]
    kills: int = 0
    is_away: bool = False

    def run(self, trouble: str, at: int, **options: Any) -> list[str]:
        """Make one run, with its trouble after ``at`` new outcomes. Return the statuses."""
        facts = [self.emulator.base_url, str(self.folder), self.count, trouble, at, options]
        self._tell(json.dumps(facts))
        child, seen, made = int(self._hear()), list[str](), 0
        while not (line := self._hear()).startswith("ended "):
            if line == "paused":
                self._come_back()
                continue
            outcome = json.loads(line)
            seen.append(outcome["status"])
            made += not outcome["resumed"]
            if not outcome["resumed"] and made == at:
                self._trouble(trouble, child)
            elif not outcome["resumed"] and made == 2 * at and trouble == "away":
                self._trouble("terminated", child)
        self.emulator.state.faults.clear()
        self._come_back()
        code = int(line.split()[1])
        finished = len(seen) == self.count and code in {0, _PARTIAL}
        assert finished or code == _ENDINGS.get(trouble, 0), (trouble, code)
        self.kills += trouble == "killed"
        return seen

    def _trouble(self, trouble: str, child: int) -> None:
        if trouble == "killed":
            os.kill(child, signal.SIGKILL)
        elif trouble in {"terminated", "month ahead", "month behind"}:
            os.kill(child, signal.SIGTERM)
        elif trouble == "revoked":
            body = {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}
            self.emulator.state.faults.http(401, body=body, times=self.count + 100)
        elif trouble == "away":
            self.emulator.__exit__()
            self.is_away = True

    def _come_back(self) -> None:
        if self.is_away:
            self.emulator.__enter__()
            self.is_away = False

    def billed(self) -> Counter[str]:
        """Return how often the server has worked on each job."""
        worked = (each for each in self.emulator.state.requests if each.status is None or each.status == 200)
        return Counter(str(each.prompt) for each in worked)

    def check(self, troubles: tuple[str, ...]) -> Counter[str]:
        """Make the last runs, and check that every job is accounted for: none lost, none paid twice."""
        statuses = Counter(self.run("none", 0))
        billed = self.billed()
        assert statuses.total() == self.count, statuses
        assert set(statuses) <= {"done", "unknown"}, statuses
        assert max(billed.values()) == 1, "a job was paid twice"
        assert statuses["unknown"] <= _CONCURRENCY * (
            self.kills + troubles.count("full") + troubles.count("away")
        )
        records = [*read_records(self.folder / "journal.db")]
        assert len(records) == self.count
        assert Counter(record.state for record in records) == statuses
        assert len(billed) >= statuses["done"]
        assert Counter(self.run("none", 0, retry_unknown=True)) == {"done": self.count}
        assert len(list(self.folder.glob("*.png"))) == self.count
        return Counter({f"jobs {status}": number for status, number in statuses.items()})

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def _hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process that forks has ended"
        return line.strip()


@contextmanager
def night(count: int, folder: Path) -> Generator[Night, None, None]:
    command = [sys.executable, "-m", "tests.support.nights"]
    with (
        Emulator(limit=None) as first,
        subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        port = first.port
        first.__exit__()
        with Emulator(port, limit=None) as emulator:
            yield Night(count, folder, emulator, process)
        assert process.stdin is not None
        process.stdin.close()


class _Pauses(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("the run pauses"):
            print("paused", flush=True)


async def _run(base_url: str, out: str, count: int, options: dict[str, Any]) -> int:
    client = AsyncClient(
        base_url=base_url, api_key="", rate_limit=RateLimit(10_000), retry=RetryPolicy(backoff=0.01)
    )
    async with (
        client,
        client.images.fan_out(
            job_list(count), out=f"{out}/{{id}}.{{ext}}", concurrency=_CONCURRENCY, **options
        ) as run,
    ):

        def stop(*_: object) -> None:
            run.stop()

        signal.signal(signal.SIGTERM, stop)
        try:
            async for outcome in run:
                print(json.dumps({"status": outcome.status, "resumed": outcome.resumed}), flush=True)
        except AuthenticationError:
            return _REVOKED
        except OSError as error:
            return _FULL if error.errno == errno.ENOSPC else 1
    return 0


def _command(base_url: str, out: str, count: int) -> int:
    """Make the run of a night with the command line."""
    settings = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "", "IMAGESDK_RATE_LIMIT": "none"}
    os.environ.update(settings)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    jobs = Path(out) / "jobs.jsonl"
    jobs.write_text("".join(f"{json.dumps(dict(job.parameters()))}\n" for job in job_list(count)))
    words = ["batch", str(jobs), "--out", f"{out}/{{id}}.{{ext}}", "--json", "-q"]
    return cli.run([*words, "--concurrency", str(_CONCURRENCY)])


def _prepare(trouble: str, at: int) -> None:
    breaker.FIRST_PAUSE = 0.05
    logging.getLogger("imagesdk").addHandler(logging.NullHandler())
    if trouble == "away":
        logging.getLogger("imagesdk").addHandler(_Pauses())
    if trouble.startswith("month"):
        real, offset = time.time, _MONTH if trouble == "month ahead" else -_MONTH
        time.time = lambda: real() + offset
    if trouble == "full":
        sink = cast("Any", import_module("imagesdk._engine.sink")).ImageSink
        write, written = sink._write_batch, 0

        def write_until_full(self: Any, pieces: list[bytes]) -> None:
            nonlocal written
            written += 1
            if written > at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(self, pieces)

        sink._write_batch = write_until_full


def fork_for_each_line() -> None:
    for name in ("encodings.idna", "httpcore", "imagesdk._transport.single_connection"):
        import_module(name)  # what the first request imports
    for line in sys.stdin:
        base_url, out, count, trouble, at, options = json.loads(line)
        child = os.fork()
        if not child:
            try:
                print(os.getpid(), flush=True)
                _prepare(trouble, at)
                if trouble == "terminated":
                    code = _command(base_url, out, count)
                else:
                    code = anyio.run(_run, base_url, out, count, options)
            except BaseException:  # noqa: BLE001 - the child must end here, whatever was raised
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            os._exit(code)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    fork_for_each_line()

"""The recipes of the page on engines: processes are killed, and no job is billed twice or lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import redis_broker
from tests.support.engine_kills import JOBS, LIMIT, account
from tests.support.recipes import environment_of_programs, write_programs

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(300),
]
DEADLINE = 240.0
"""Seconds until every job has ended."""
RECIPES = {
    "Kubernetes": """
        export PODS=2
        until JOB_COMPLETION_INDEX=0 python covers_job.py; do :; done &
        until JOB_COMPLETION_INDEX=1 python covers_job.py; do :; done""",
    "DBOS": "until python covers_dbos.py; do :; done",
    "Dramatiq": """
        for number in 1 2; do while true; do dramatiq covers_dramatiq --processes 1 --threads 24; done & done
        python covers_dramatiq.py""",
    "RQ": """
        for number in {1..15}; do rq worker covers --url $BROKER/4 & done
        python covers_rq.py""",
}
"""Commands that a supervisor repeats, as Kubernetes or systemd does."""


def workers_in(folder: Path) -> list[int]:
    """Return the Python processes of a folder that have no child processes."""
    found: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text("utf-8")
            is_here = (process / "cwd").readlink() == folder
            parent = int((process / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if is_here and "covers" in command and "python" in command and "multiprocessing" not in command:
            found[int(process.name)] = parent
    return [pid for pid in found if pid not in found.values()]


def rows_of(folder: Path, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Return the jobs of the ledger that have ended."""
    command = [sys.executable, "-m", "imagesdk", "--json", "ledger"]
    listed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    claims = [json.loads(line) for line in listed.stdout.splitlines()]
    ended = [claim for claim in claims if not claim["held"] and claim["state"] in {"done", "unknown"}]
    return [{"status": claim["state"], "path": next(iter(claim["paths"]), None)} for claim in ended]


@pytest.mark.parametrize("recipe", RECIPES)
def test_jobs_survive_processes_that_are_killed(recipe: str, tmp_path: Path) -> None:
    write_programs(tmp_path, JOBS)
    with account(tmp_path) as shop, redis_broker() as broker:
        environment = environment_of_programs(tmp_path, shop.emulator.base_url, f"{LIMIT}/min", broker)
        with (tmp_path / "log").open("wb") as log:
            shell = subprocess.Popen(
                ["bash", "-c", RECIPES[recipe]],
                cwd=tmp_path,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        over = threading.Event()
        killer = threading.Thread(target=shop.kill_workers, args=(lambda: workers_in(tmp_path), over.is_set))
        killer.start()
        try:
            until = time.monotonic() + DEADLINE
            while len(rows := rows_of(tmp_path, environment)) < JOBS and time.monotonic() < until:
                time.sleep(1)
        finally:
            over.set()
            killer.join()
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        print(f"{recipe}:", shop.check(rows))

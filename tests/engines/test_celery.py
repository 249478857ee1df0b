"""Celery: worker processes are killed, and no job is billed twice or lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from imagesdk.integrations.celery import add_task
from tests.support.brokers import redis_broker
from tests.support.engine_kills import JOBS, ROOT, account, children_of, worker_environment

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore"),
]
PARAMETERS = {"model": "dall-e-2", "size": "256x256"}


def test_jobs_survive_worker_processes_that_are_killed(tmp_path: Path) -> None:
    celery: Any = import_module("celery")
    with account(tmp_path) as shop, redis_broker() as broker:
        app = celery.Celery("covers", broker=f"{broker}/0", backend=f"{broker}/1")
        send_once = add_task(app, **shop.options)
        results = [send_once.delay({"prompt": f"cover {i}", **PARAMETERS}, key=f"{i}") for i in range(JOBS)]
        command = [sys.executable, "-m", "celery", "-A", "tests.engines.celery_app", "worker"]
        environment = {**worker_environment(), "BROKER": broker, "OPTIONS": json.dumps(shop.options)}
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [*command, "--concurrency=16", "--loglevel=info"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        over = threading.Event()
        killer = threading.Thread(
            target=shop.kill_workers, args=(lambda: children_of(worker.pid), over.is_set)
        )
        killer.start()
        try:
            rows = [result.get(timeout=200) for result in results]
        finally:
            over.set()
            killer.join()
            worker.terminate()
            worker.wait()
            app.close()
        print("celery:", shop.check(rows))

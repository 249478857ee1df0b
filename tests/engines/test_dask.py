"""Dask: workers are killed, and no job is billed twice or lost."""

from __future__ import annotations

import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from imagesdk.integrations.dask import map_jobs
from tests.support.engine_kills import JOBS, account, worker_environment

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore"),
]
PARAMETERS = {"model": "dall-e-2", "size": "256x256"}


def test_jobs_survive_workers_that_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed: Any = import_module("distributed")
    for name, value in worker_environment().items():
        monkeypatch.setenv(name, value)
    with (
        account(tmp_path) as shop,
        distributed.LocalCluster(n_workers=2, threads_per_worker=24, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        jobs = [{"prompt": f"cover {number}", **PARAMETERS} for number in range(JOBS)]
        futures = map_jobs(client, jobs, **shop.options)
        over = threading.Event()
        killer = threading.Thread(
            target=shop.kill_workers,
            args=(lambda: [worker.pid for worker in cluster.workers.values()], over.is_set),
        )
        killer.start()
        try:
            rows = client.gather(futures)
        finally:
            over.set()
            killer.join()
        print("dask:", shop.check(rows))

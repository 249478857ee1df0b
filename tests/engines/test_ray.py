"""Ray Data: actors are killed, and no job is billed twice or lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from imagesdk.integrations.ray import SendOnce
from tests.support.engine_kills import JOBS, Account, account, worker_environment

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore"),
]


class Sender(SendOnce):
    """The class of the package, in an actor that tells its process id."""

    def __init__(self, *, pids: str, **options: Any) -> None:
        import os

        (Path(pids) / str(os.getpid())).touch()
        super().__init__(**options)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return super().__call__(batch)


def rows_of(shop: Account, pids: Path) -> list[dict[str, Any]]:
    data: Any = import_module("ray.data")
    jobs = [
        {"prompt": f"cover {number}", "model": "dall-e-2", "size": "256x256", "isbn": number}
        for number in range(JOBS)
    ]
    options = {**shop.options, "pids": str(pids)}
    sent = data.from_items(jobs, override_num_blocks=4).map_batches(
        Sender, fn_constructor_kwargs=options, batch_size=15, compute=data.ActorPoolStrategy(size=2)
    )
    rows: list[dict[str, Any]] = sent.take_all()
    return rows


def test_jobs_survive_actors_that_are_killed(tmp_path: Path) -> None:
    ray: Any = import_module("ray")
    pids = tmp_path / "pids"
    pids.mkdir()
    environment = {name: worker_environment()[name] for name in ("PYTHONPATH", "PYTHONWARNINGS")}
    ray.init(num_cpus=3, include_dashboard=False, runtime_env={"env_vars": environment}, log_to_driver=False)
    over = threading.Event()
    try:
        with account(tmp_path) as shop:
            killer = threading.Thread(
                target=shop.kill_workers,
                args=(lambda: [int(path.name) for path in pids.iterdir()], over.is_set),
            )
            killer.start()
            try:
                rows = rows_of(shop, pids)
            finally:
                over.set()
                killer.join()
            assert sorted(row["isbn"] for row in rows) == list(range(JOBS))
            # The last rows of a batch may wait for the lease of a dead actor, 30 seconds.
            print("ray:", shop.check(rows))
    finally:
        ray.shutdown()

"""The programs of the page on engines, with the commands that it shows, on one machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from imagesdk.emulator import Emulator
from tests.support.brokers import redis_broker
from tests.support.doc_pages import BLOCK
from tests.support.recipes import (
    BOOKS,
    PAGE,
    SECTIONS,
    commands,
    environment_of_programs,
    programs,
    write_programs,
)

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(180),
]


def test_the_page_has_all_engines() -> None:
    assert list(SECTIONS) == ["Ray Data", "Celery", "Dask", "DBOS", "Dramatiq", "RQ", "Kubernetes"]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_the_page_make_every_image_once(section: str, tmp_path: Path) -> None:
    write_programs(tmp_path)
    with Emulator(limit=None) as emulator, redis_broker() as broker:
        environment = environment_of_programs(tmp_path, emulator.base_url, "50/10s", broker)
        log = tmp_path / "log"
        for count in (1,) if section == "Ray Data" else (1, 2):  # the second time, nothing is sent
            with log.open("ab") as output:
                shell = subprocess.Popen(
                    ["bash", "-c", "\n".join(["set -e", *commands(section)])],
                    cwd=tmp_path,
                    env=environment,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            try:
                assert shell.wait(120) == 0, log.read_text("utf-8")
                over = time.monotonic() + 60
                while len(re.findall(r"covers/(?:isbn-)?70", text := log.read_text("utf-8"))) < count * BOOKS:
                    assert time.monotonic() < over, text
                    time.sleep(0.1)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
        images = sorted(path.name for path in (tmp_path / "covers").iterdir())
        assert len(images) == BOOKS, images
        assert emulator.state.billed_images == BOOKS


def test_the_manifest_of_kubernetes_runs_the_program_of_the_page() -> None:
    [manifest] = [
        code for language, code in BLOCK.findall(PAGE) if language == "text" and "kind: Job" in code
    ]
    job: dict[str, Any] = import_module("yaml").safe_load(manifest)
    [container] = job["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert container["command"] == ["python", "covers_job.py"]
    assert int(environment["PODS"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    read = set(re.findall(r'os.environ\["(\w+)"\]', programs()["covers_job.py"]))
    assert read <= {*environment, "JOB_COMPLETION_INDEX"}

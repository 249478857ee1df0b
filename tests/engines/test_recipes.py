"""The programs of the page on engines, with the commands that it shows, on one machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from imagesdk.emulator import Emulator
from tests.support.brokers import redis_broker
from tests.support.doc_pages import BLOCK, ENGINES

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(120),
]
PAGE = ENGINES.read_text("utf-8")
SECTIONS = {
    part.partition("\n")[0]: part
    for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]
    if "```python" in part
}
BOOKS = 8


def programs() -> Iterator[tuple[str, str]]:
    for part in SECTIONS.values():
        for language, code in BLOCK.findall(part):
            if language == "python":
                yield code.partition("\n")[0].removeprefix("# "), code


def commands(part: str) -> str:
    """Return the commands of a section without those that install packages."""
    [text] = [
        code for language, code in BLOCK.findall(part) if language == "text" and "kind: Job" not in code
    ]
    lines = [line for line in text.splitlines() if not line.startswith("pip install ")]
    assert lines[-1].endswith(".py")
    return "\n".join(["set -e", *lines])


def test_the_page_has_all_engines() -> None:
    assert list(SECTIONS) == ["Ray Data", "Celery", "Dask", "DBOS", "Dramatiq", "RQ", "Kubernetes"]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_the_page_make_every_image_once(section: str, tmp_path: Path) -> None:
    for name, code in programs():
        (tmp_path / name).write_text(code, encoding="utf-8")
    with Emulator(limit=None) as emulator, redis_broker() as broker:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_API_KEY": "none",
            "IMAGESDK_RATE_LIMIT": "50/10s",
            "IMAGESDK_SHARED": f"sqlite:///{tmp_path}/ledger.db",
            "COVERS": f"{tmp_path}/covers/",
            "BROKER": broker,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(tmp_path),
        }
        log = tmp_path / "log"
        for count in (1,) if section == "Ray Data" else (1, 2):  # the second time, nothing is sent
            with log.open("ab") as output:
                shell = subprocess.Popen(
                    ["bash", "-c", commands(SECTIONS[section])],
                    cwd=tmp_path,
                    env=environment,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            try:
                assert shell.wait(60) == 0, log.read_text("utf-8")
                over = time.monotonic() + 30
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
    assert container["command"][1] in dict(programs())
    assert int(environment["PODS"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    code = dict(programs())["covers_job.py"]
    assert set(re.findall(r'os.environ\["(\w+)"\]', code)) <= {*environment, "JOB_COMPLETION_INDEX"}

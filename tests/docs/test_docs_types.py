"""The examples of the README and the docs are what strict type checkers accept. Runs in the session of the types."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.doc_pages import PAGES, ROOT, blocks

pytestmark = pytest.mark.types


def test_mypy_accepts_every_example_in_strict_mode(tmp_path: Path) -> None:
    written: list[str] = []
    for page in PAGES:
        for number, code in enumerate(blocks(page, "python"), start=1):
            file = tmp_path / f"{page.stem.replace('-', '_')}_{number}.py"
            file.write_text(code, encoding="utf-8")
            written.append(str(file))
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    command = [sys.executable, "-m", "mypy", *options, *written]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr

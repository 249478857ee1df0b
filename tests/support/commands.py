"""The command line in this process: what a process with these arguments, streams and settings would do, but sooner."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from imagesdk.__main__ import main

ROOT = Path(__file__).parents[2]


def environment_of(base_url: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "IMAGESDK_"))
    }
    ours = {"PYTHONPATH": str(ROOT), "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": ""}
    return {**kept, **ours, "IMAGESDK_RATE_LIMIT": "none"}


def run_command(
    arguments: tuple[str, ...], *, folder: Path, environment: Mapping[str, str], stdin: bytes = b""
) -> CompletedProcess[bytes]:
    out, err = BytesIO(), BytesIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("default")
        patch.chdir(folder)
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["imagesdk", *arguments])
        patch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin), "utf-8"))
        patch.setattr(sys, "stdout", TextIOWrapper(out, "utf-8"))
        patch.setattr(sys, "stderr", TextIOWrapper(err, "utf-8", line_buffering=True))
        try:
            code = main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
        return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

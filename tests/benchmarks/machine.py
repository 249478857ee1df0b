"""The machine under the benchmarks: cores, event loops, a clean environment, and the facts to print about it all."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SERVER_CORE, CLIENT_CORE = 1, 0

_PACKAGES = (
    *("imagesdk", "openai", "httpx", "httpx2", "aiohttp", "httpx-aiohttp", "anyio", "attrs", "pybase64"),
    *("uvloop", "tenacity", "aiolimiter"),
)
_UNWANTED = ("OPENAI_", "IMAGESDK_", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "SSL_CERT_")


def pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > max(SERVER_CORE, CLIENT_CORE):
        os.sched_setaffinity(0, {core})


def run(main: Coroutine[Any, Any, None]) -> None:
    loops: Any = asyncio
    with suppress(ImportError):
        loops = import_module("uvloop")
    loops.run(main)


def environment(**additions: str) -> dict[str, str]:
    """Return the environment without settings for clients, and with compiled modules kept, as users have it."""
    unwanted = {name for name in os.environ if name.startswith(_UNWANTED) or name.lower().endswith("_proxy")}
    return {name: os.environ[name] for name in os.environ.keys() - unwanted} | additions


def facts() -> dict[str, str]:
    processor = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        models = (line.split(": ")[1] for line in lines if line.startswith("model name"))
        processor = next(models, platform.machine())
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores ({processor}), {platform.system()}",
        "Python": platform.python_version(),
    }
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found

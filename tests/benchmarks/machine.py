"""The machine under the benchmarks: cores, event loops, a clean environment, and what to print about it all."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Coroutine
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SERVER_CORE, CLIENT_CORE = 1, 0
"""Cores for the server and for the client."""

_PACKAGES = (
    "imagesdk",
    "openai",
    "httpx",
    "httpx2",
    "aiohttp",
    "httpx-aiohttp",
    "anyio",
    "attrs",
    "pybase64",
    "uvloop",
    "tenacity",
    "aiolimiter",
)
_UNWANTED = ("OPENAI_", "IMAGESDK_", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "SSL_CERT_")


def pin(core: int) -> None:
    """Keep this process on one core, where the system can and there are cores to choose from."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > max(SERVER_CORE, CLIENT_CORE):
        os.sched_setaffinity(0, {core})


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the server's coroutine on the fastest event loop there is."""
    try:
        uvloop: Any = import_module("uvloop")
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def environment(**additions: str) -> dict[str, str]:
    """Return the environment without settings for clients, and with compiled modules kept.

    Without compiled modules an import is several times as slow, and no user has it so.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_UNWANTED) and not name.lower().endswith("_proxy")
    }
    return kept | additions


def facts() -> dict[str, str]:
    """Return the date, the machine and the versions of what was measured."""
    versions = {package: _version(package) for package in _PACKAGES}
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores ({_processor()}), {platform.system()}",
        "Python": platform.python_version(),
        **{package: found for package, found in versions.items() if found},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())

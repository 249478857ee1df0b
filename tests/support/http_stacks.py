"""The HTTP stacks that the client is tested on. ``python -m tests.support.http_stacks`` runs those tests and prints a table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, TypeAlias

import httpx
import httpx2
import httpx_aiohttp
import httpx_aiohttp.httpx2 as httpx2_aiohttp
import pytest
from attrs import frozen

HTTPClient: TypeAlias = httpx.AsyncClient | httpx2.AsyncClient


@frozen
class Stack:
    """A kind of client for ``http_client=``."""

    name: str
    packages: tuple[str, ...]
    make: Callable[..., HTTPClient] | None = None
    """Takes the arguments of ``httpx.AsyncClient``; ``None`` for our own connections."""
    options: Mapping[str, Any] = MappingProxyType({})
    backends: tuple[str, ...] = ("asyncio", "trio")
    library: Any = httpx

    def factory(self, **options: Any) -> Callable[[], HTTPClient] | None:
        make = self.make
        return None if make is None else lambda: make(**self.options, **options)

    def __str__(self) -> str:
        return self.name


HTTPCORE, HTTPCORE2 = ("httpx", "httpcore"), ("httpx2", "httpcore2")
AIOHTTP = ("httpx-aiohttp", "aiohttp")
HTTP2 = {"http2": True}

OWN = Stack("none given", HTTPCORE)
THEIRS = (
    Stack("httpx", HTTPCORE, httpx.AsyncClient),
    Stack("httpx, HTTP/2", (*HTTPCORE, "h2"), httpx.AsyncClient, HTTP2),
    Stack("httpx2", HTTPCORE2, httpx2.AsyncClient, library=httpx2),
    Stack("httpx2, HTTP/2", (*HTTPCORE2, "h2"), httpx2.AsyncClient, HTTP2, library=httpx2),
    Stack("httpx-aiohttp", ("httpx", *AIOHTTP), httpx_aiohttp.HttpxAiohttpClient, backends=("asyncio",)),
    Stack(
        "httpx-aiohttp on httpx2",
        ("httpx2", *AIOHTTP),
        httpx2_aiohttp.Httpx2AiohttpClient,
        backends=("asyncio",),
        library=httpx2,
    ),
)
STACKS = (OWN, *THEIRS)


def on(*stacks: Stack) -> pytest.MarkDecorator:
    """Run a test on every stack given, under every event loop that it knows."""
    pairs = [pytest.param(stack, loop, id=f"{stack}-{loop}") for stack in stacks for loop in stack.backends]
    return pytest.mark.parametrize(("stack", "anyio_backend"), pairs)


class _Counting:
    """A plugin of pytest that counts what passed, by stack and event loop."""

    def __init__(self) -> None:
        self.passed: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for stack in STACKS:
                for loop in stack.backends:
                    named = report.nodeid.endswith((f"[{stack}-{loop}]", f"-{stack}-{loop}]"))
                    self.passed[stack.name, loop] += named or f"[{stack}-{loop}-" in report.nodeid


def main() -> int:
    """Run the tests and print what passed on what, as docs/http-clients.md shows it."""
    counting = _Counting()
    code = pytest.main(
        ["-q", "tests/transport/test_http_stacks.py", "tests/transport/test_http_clients.py", *sys.argv[1:]],
        plugins=[counting],
    )
    print("\n| `http_client=` | versions | asyncio | trio |\n|---|---|---|---|")
    for stack in STACKS:
        versions = ", ".join(f"{package} {version(package)}" for package in stack.packages)
        counts = [counting.passed[stack.name, loop] or "-" for loop in ("asyncio", "trio")]
        print(f"| {stack} | {versions} | {counts[0]} | {counts[1]} |")
    return code


if __name__ == "__main__":
    sys.exit(main())

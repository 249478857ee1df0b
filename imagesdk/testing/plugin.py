"""Pytest plugin: fixtures that start nothing before a test asks for them, a marker, and the report of verdicts."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Generator, Iterator
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from imagesdk import AsyncClient, Client
    from imagesdk.emulator import Emulator
    from imagesdk.testing.server import ImageServer

__all__ = ["async_image_client", "image_client", "image_server"]

_MARKER = (
    "image_server(limit=None, as_of=None, quirks=None, strict=False, verdict=False, ignore=(), **options): options of the "
    "image_server fixture. strict: fail if a fault was not used or a request was unexpected; verdict: fail if the verdict "
    "on the client has findings, except for rules in ignore; the others are those of imagesdk.emulator.create_app"
)
_KEYS = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY")
_UNSET = (
    "OPENAI_ORG_ID",
    "OPENAI_ORGANIZATION",
    "OPENAI_PROJECT_ID",
    "AZURE_OPENAI_AD_TOKEN",
    "IMAGESDK_SHARED",
)
_SERVER = pytest.StashKey["ImageServer"]()
_REPORT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the report."""
    parser.getgroup("imagesdk").addoption(
        "--imagesdk-report",
        action="store_true",
        help="print what the tests' requests to image_server show about the client: double billing, ignored limits and more",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(scope="session")
def _image_emulator() -> Iterator[Emulator]:
    """Run one emulator in each process of the tests."""
    try:
        from imagesdk.emulator import Emulator
    except ModuleNotFoundError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    with Emulator(limit=None) as emulator:
        yield emulator


@pytest.fixture
def image_server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _image_emulator: Emulator
) -> ImageServer:
    """Serve the Images API for one test, and point the environment of clients at it.

    The state is that of a server that has just started. The marker ``image_server`` sets its options.
    """
    from imagesdk.testing.server import ImageServer

    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("image_server"))):
        options |= mark.kwargs
    server = ImageServer(_image_emulator, options)
    request.node.stash[_SERVER] = server
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.setenv(name, server.url)
    for name in _KEYS:
        monkeypatch.setenv(name, server.key)
    for name in _UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.origin)
    monkeypatch.setenv("IMAGESDK_RATE_LIMIT", server.limit)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(filter(None, [os.environ.get(name), "127.0.0.1"])))
    return server


@pytest.fixture
def image_client(image_server: ImageServer) -> Iterator[Client]:
    """Make a blocking client of ``image_server``, with the rate limit of the server."""
    from imagesdk import Client

    with Client(base_url=image_server.url, api_key=image_server.key) as client:
        yield client


@pytest.fixture
def async_image_client(request: pytest.FixtureRequest, image_server: ImageServer) -> AsyncClient:
    """Make a client of ``image_server`` for a test on any event loop. It is closed at the end of an async test.

    A test that runs a loop of its own closes the client there: ``async with async_image_client``.
    """
    from imagesdk import AsyncClient

    client = AsyncClient(base_url=image_server.url, api_key=image_server.key)
    if iscoroutinefunction(request.node.obj):
        # The end of an async fixture depends on the plugin that runs the test. The end of the test does not.
        request.node.obj = _closing(request.node.obj, client)
    return client


def _closing(test: Callable[..., Awaitable[object]], client: AsyncClient) -> Callable[..., Awaitable[object]]:
    @wraps(test)
    async def closing(*args: object, **kwargs: object) -> object:
        try:
            return await test(*args, **kwargs)
        finally:
            await client.aclose()

    return closing


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After the test, fail it for what its marker does not allow, and note its verdict for the report."""
    passed = False
    try:
        outcome = yield
        passed = True
    finally:
        server = item.stash.get(_SERVER, None)
        if server is not None and item.config.getoption("imagesdk_report"):
            verdict = server.verdict()
            if not verdict.ok:
                item.config.stash.setdefault(_REPORT, []).append(f"{item.nodeid}\n{verdict}")
    problems = server.problems() if server is not None and passed else None
    if problems:
        pytest.fail(problems, pytrace=False)
    return outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the findings of a process of pytest-xdist to the one that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["imagesdk_report"] = session.config.stash.get(_REPORT, list[str]())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the findings of a process of pytest-xdist."""
    found = getattr(node, "workeroutput", {}).get("imagesdk_report", [])
    node.config.stash.setdefault(_REPORT, []).extend(found)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the findings of all tests."""
    if not config.getoption("imagesdk_report"):
        return
    found = config.stash.get(_REPORT, list[str]())
    terminalreporter.section("verdict on the client of image_server")
    for text in found or ["nothing found"]:
        terminalreporter.write_line(text)

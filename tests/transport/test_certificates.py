"""Certificate authorities of the environment: which are trusted, and that they are loaded at the first https call."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from imagesdk import AsyncClient, ConfigurationError
from tests.support.certificates import Authority
from tests.support.small_images import answer, png
from tests.support.socket_servers import always, serving

MakeClient: TypeAlias = Callable[..., AsyncClient]

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

ANSWER = answer(png())


CALLS = """
    import anyio, httpx, ssl, sys, threading

    loads = 0
    load = ssl.SSLContext.load_verify_locations

    def count(*args, **options):
        global loads
        loads += 1
        return load(*args, **options)

    ssl.SSLContext.load_verify_locations = count

    from imagesdk import APIConnectionError, AsyncClient, RetryPolicy

    backend, plain, secure = sys.argv[1:]

    def make(base_url):
        return AsyncClient(base_url=base_url, api_key="", rate_limit=None, retry=RetryPolicy(max_attempts=1))
"""


async def run(program: str, *arguments: str, **settings: str) -> str:
    """Run a program in a process of its own, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = await anyio.run_process(
        [sys.executable, "-c", textwrap.dedent(CALLS) + textwrap.dedent(program), *arguments],
        env=environment | settings,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode().strip()


GREETING = """
    async def main():
        async with make(secure) as client:
            try:
                print((await client.images.generate("a cat"))[0].width)
            except APIConnectionError as error:
                print(type(error).__name__, error.maybe_billed, "certificate verify failed" in str(error))
        async with httpx.AsyncClient() as reference:
            try:
                print((await reference.post(secure)).status_code)
            except httpx.ConnectError as error:
                print("httpx.ConnectError")

    anyio.run(main, backend=backend)
"""


@pytest.mark.parametrize(
    ("settings", "is_known"),
    [
        ({}, False),
        ({"SSL_CERT_FILE": "file"}, True),
        ({"SSL_CERT_DIR": "folder"}, True),
        ({"SSL_CERT_FILE": "file", "SSL_CERT_DIR": "other folder"}, True),
        ({"SSL_CERT_FILE": "other file", "SSL_CERT_DIR": "folder"}, False),
    ],
)
async def test_only_the_authorities_of_the_environment_are_trusted(
    anyio_backend: str,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    settings: dict[str, str],
    is_known: bool,
) -> None:
    other = Authority.found(tmp_path_factory.mktemp("other"))
    files = {
        "file": authority.file,
        "folder": authority.folder,
        "other file": other.file,
        "other folder": other.folder,
    }
    named = {name: str(files[value]) for name, value in settings.items()}

    async with serving(authority.secured(always(ANSWER))) as server:
        printed = await run(GREETING, anyio_backend, "", f"https://localhost:{server.port}/v1", **named)

    expected = ["1", "200"] if is_known else ["APIConnectionError False True", "httpx.ConnectError"]
    assert printed.splitlines() == expected


COUNTING = """
    counts = [loads]

    async def calls(client):
        async with client:
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(client.images.generate, "a cat")
            await client.images.generate("a cat")

    async def at_once(*clients):
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(calls, client)

    plain_client = make(plain)
    clients = [make(secure), make(secure)]
    counts.append(loads)
    anyio.run(calls, plain_client, backend=backend)
    counts.append(loads)
    threads = [threading.Thread(target=lambda: anyio.run(at_once, *clients, backend=backend)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.append(loads)
    print(*counts)
"""


async def test_authorities_are_loaded_once_in_a_process_and_at_the_first_https_connection(
    anyio_backend: str, authority: Authority
) -> None:
    async with serving(always(ANSWER)) as plain, serving(authority.secured(always(ANSWER))) as secure:
        printed = await run(
            COUNTING,
            anyio_backend,
            plain.base_url,
            f"https://localhost:{secure.port}/v1",
            SSL_CERT_FILE=str(authority.file),
        )

        assert printed == "0 0 0 1"
        assert (len(plain.requests), len(secure.requests)) == (4, 16)


@pytest.mark.parametrize("content", [None, ""])
async def test_unreadable_certificates_are_a_configuration_error(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr("imagesdk._transport.environment._tls", None)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with make_client("https://localhost:1/v1") as client:
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
            await client.images.generate("a cat")

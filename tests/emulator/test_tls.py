"""The emulator over https, with a certificate that it makes itself."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagesdk import APIConnectionError, Client, RetryPolicy
from imagesdk.emulator import Emulator
from tests.emulator.api import SMALL


def test_a_client_that_trusts_the_file_uses_https_and_any_other_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca_file = tmp_path / "folder" / "ca.pem"
    monkeypatch.setattr("imagesdk._transport.environment._tls", None)
    with Emulator(ca_file=ca_file) as emulator:
        assert emulator.base_url == f"https://127.0.0.1:{emulator.port}/v1"
        with (
            Client(base_url=emulator.base_url, api_key="") as stranger,
            pytest.raises(APIConnectionError, match="certificate"),
        ):
            stranger.with_options(retry=RetryPolicy(max_attempts=1)).images.generate("a cat", **CHEAP)
        monkeypatch.setattr("imagesdk._transport.environment._tls", None)
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        with Client(base_url=emulator.base_url, api_key="") as client:
            response = client.images.generate("a cat", response_format="url", **CHEAP)
            assert (response[0].url or "").startswith(emulator.origin)
            assert len(client.images.download(response[0])) > 100
    monkeypatch.setattr("imagesdk._transport.environment._tls", None)


CHEAP: dict[str, Any] = {"model": "dall-e-2", "size": "256x256"}


def test_the_certificate_is_valid_for_every_name_of_this_machine_and_new_at_each_start(
    tmp_path: Path,
) -> None:
    ca_file, seen = tmp_path / "ca.pem", set[str]()
    emulator = Emulator(ca_file=ca_file)
    for _ in range(2):
        with emulator:
            trusted = ssl.create_default_context(cafile=ca_file)
            for host in ("127.0.0.1", "localhost"):
                url = f"https://{host}:{emulator.port}/v1/models"
                assert httpx.get(url, verify=trusted).status_code == 200
        seen.add(ca_file.read_text())
        assert "PRIVATE KEY" not in ca_file.read_text()
    assert len(seen) == 2


def test_serve_tls_names_the_file_to_trust_and_the_url(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imagesdk", "serve", "--port", "0", "--tls"]
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        base_url = server.stdout.readline().strip()
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+/v1", base_url)
        trusted = ssl.create_default_context(cafile=tmp_path / "imagesdk-ca.pem")
        answer = httpx.post(f"{base_url}/images/generations", json=SMALL, verify=trusted)
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=30)
    assert json.loads(answer.text)["data"][0]["url"].startswith(base_url.removesuffix("/v1"))
    assert f"SSL_CERT_FILE={tmp_path / 'imagesdk-ca.pem'}" in errors
    assert server.returncode == 0


def test_without_trustme_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[emulator\]'"):
        Emulator(ca_file=tmp_path / "ca.pem").__enter__()

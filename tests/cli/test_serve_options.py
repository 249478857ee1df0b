"""``imagesdk serve``: options for batches reach the emulator, and the secret of webhooks is shown."""

from collections.abc import Callable
from typing import Any

import pytest

from imagesdk.cli.parser import build
from imagesdk.cli.serve import run
from imagesdk.emulator import WEBHOOK_SECRET, server


def test_a_delay_and_a_receiver_of_webhooks_reach_the_emulator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def serve(host: str, port: int, *, ready: Callable[[str], None], **options: Any) -> None:
        seen.update(options)
        ready("http://127.0.0.1:8000/v1")

    monkeypatch.setattr(server, "serve", serve)
    url = "http://127.0.0.1:9000/hook"
    options = build().parse_args(["serve", "--batch-delay", "3600", "--webhook", url])

    assert run(options) == 0
    assert (seen["batch_delay"], seen["webhook_url"]) == (3600, url)
    assert f"Webhooks go to {url}. Their signing secret is {WEBHOOK_SECRET}." in capsys.readouterr().err

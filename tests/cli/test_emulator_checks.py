"""Checks of ``--emulator`` without ``--model``: its default model is known; that of another server is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesdk import BadRequestError, Client, cli
from imagesdk.cli.exits import FAILED, OK, USAGE
from imagesdk.emulator import Emulator
from tests.support.small_images import png

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("generate cat --size 1920x1080", "Use --size 1920x1088, the nearest valid size."),
        ("edit a.png cat --size 1920x1080", "Use --size 1920x1088, the nearest valid size."),
        ("vary a.png --size 500x500", "Use --size 512x512, the nearest valid size."),
        ("generate cat --quality standard", "allowed for gpt-image-2: low, medium, high or auto."),
    ],
)
def test_the_emulator_is_checked_before_sending_by_the_rules_of_its_default_model(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(png(64, 64))
    assert cli.run(["--emulator", *arguments.split()]) == USAGE
    assert text in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        ("generate cat --size 1024x640 -o cat.png", True),
        ("generate cat --size 7x7", False),
        ("edit missing.png cat", False),
        ("models --live", False),
        ("batch jobs.txt -o out", True),
        ("batch jobs.txt -o out --dry-run", False),
    ],
)
def test_only_images_of_the_emulator_are_noted_as_drawn(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, drawn: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.txt").write_text("a river\n")
    cli.run(["--emulator", *arguments.split()])
    assert ("the emulator draws these images" in capsys.readouterr().err) == drawn


def test_the_default_model_of_the_emulator_selects_the_format_of_the_file(
    capsys: Capture, tmp_path: Path
) -> None:
    out = tmp_path / "cat.webp"
    arguments = ["--emulator", "generate", "cat", "--size", "1024x640", "--quality", "low", "-o", str(out)]
    assert cli.run(arguments) == OK
    assert out.read_bytes()[8:12] == b"WEBP"
    assert "matching name" not in capsys.readouterr().err


def test_a_server_whose_model_is_unknown_decides_itself(
    capsys: Capture, tmp_path: Path, emulator: Emulator
) -> None:
    arguments = ["--base-url", emulator.base_url, "generate", "cat", "--size", "1920x1080"]
    assert cli.run([*arguments, "-o", str(tmp_path)]) == FAILED
    assert "must both be divisible by 16" in capsys.readouterr().err
    with (
        Client(base_url=emulator.base_url, api_key="") as client,
        pytest.raises(BadRequestError, match="must both be divisible by 16"),
    ):
        client.images.generate("cat", size="1920x1080")
    assert len(emulator.state.requests) == 2

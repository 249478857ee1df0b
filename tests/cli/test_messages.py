"""Messages and help of the command line in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesdk import cli

Capture = pytest.CaptureFixture[str]
NOWHERE = ("--base-url", "http://127.0.0.1:9/v1")

MESSAGES = [
    ("edit nofile.png cat", 1, "imagesdk: image: no file named 'nofile.png'.\n"),
    (
        "edit cat lounge.png",
        1,
        "image: no file named 'cat'. Give the images first, and then the prompt: imagesdk edit IMAGE PROMPT.\n",
    ),
    ("edit a.png cat --mask hole.png", 1, "--mask: no file named 'hole.png'.\n"),
    ("edit nofile.png cat --square crop", 1, "imagesdk: nofile.png: No such file or directory\n"),
    ("log x/", 1, "imagesdk: no journal.db in 'x/': pass the --out folder of a batch\n"),
    ("log nowhere", 1, "imagesdk: no journal 'nowhere': pass the --out folder of a batch\n"),
    ("batch nofile.txt -o out", 1, "imagesdk: nofile.txt: No such file or directory\n"),
    (
        "vary a.png --model gpt-image-2",
        2,
        "gpt-image-2 has no variations endpoint. Use imagesdk edit IMAGE PROMPT.",
    ),
    ("generate cat --timeout 0", 2, "imagesdk: --timeout must be greater than 0 seconds (got 0)\n"),
    (
        "edit p.txt cat --model gpt-image-2",
        2,
        "image p.txt is not an image (starts with 'a poem'). Supported: PNG, JPEG, WebP. Add --no-check",
    ),
    ("generate cat --size 1920x1080 --model gpt-image-2", 2, "Use --size 1920x1088, the nearest valid size."),
    ("batch n.csv -o out", 2, "column 'name' is not an API parameter; to use it in prompts add --prompt"),
]


@pytest.mark.parametrize(("command", "code", "text"), MESSAGES)
def test_a_mistake_is_explained_in_options(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: int, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "")
    Path("x").mkdir()
    Path("p.txt").write_text("a poem")
    Path("n.csv").write_text("name,prompt\nx,a cat\n")
    Path("a.png").write_bytes(b"GIF89a")
    where = () if command.startswith("log") else NOWHERE
    assert cli.run([*where, *command.split()]) == code
    shown = capsys.readouterr().err
    assert text in shown
    assert "Errno" not in shown


def test_the_emulator_checks_by_the_rules_of_its_own_model_before_anything_is_sent(capsys: Capture) -> None:
    assert cli.run(["--emulator", "generate", "cat", "--size", "1920x1080"]) == 2
    assert "Use --size 1920x1088, the nearest valid size." in capsys.readouterr().err


HELP = [
    ("vary", "--user ID", "id of your end user"),
    ("cost", "--batch-api", "with OpenAI's Batch API discount"),
    ("cost", "--no-check", "estimate even if the model rejects the parameters"),
    ("log", "--state STATE", "show only jobs in this state: done, unknown, "),
    (
        "batch",
        "FILE",
        ".txt (one prompt per line), .csv or .jsonl (one parameter per column or key); - reads stdin",
    ),
    ("batch", "--grace SECONDS", "time for the jobs that were sent, before they are cancelled (default: 20)"),
    ("batch", "--stop-on {fatal,never}", "end the run at an answer that every job would get, such as 401"),
    ("batch", "--max-failures N", "end the run after N failed or unknown jobs"),
    ("batch", "--give-up-after SECONDS", "end the run if the server is away for so long (default: 900)"),
]


@pytest.mark.parametrize(("command", "option", "text"), HELP)
def test_the_help_says_what_an_option_does(capsys: Capture, command: str, option: str, text: str) -> None:
    assert cli.run([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert option in shown
    assert text in shown

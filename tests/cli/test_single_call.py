"""Single calls of the command line: dry runs, logs, previews, examples and suggestions."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image

from imagesdk.cli import examples, parser, preview
from imagesdk.emulator import Emulator
from tests.support.commands import environment_of, run_command
from tests.support.small_images import JPEG, png

Run = Callable[..., "CompletedProcess[bytes]"]
KEY = "sk-not-to-be-seen"
CHEAP = ("--model", "dall-e-2", "--size", "256x256")
IMAGE = png(256, 256)


@pytest.fixture
def run(tmp_path: Path, emulator: Emulator) -> Run:
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "mask.png").write_bytes(IMAGE)

    def call(*arguments: str, stdin: bytes = b"", **env: str) -> CompletedProcess[bytes]:
        environment = {**environment_of(emulator.base_url), **env}
        return run_command(arguments, folder=tmp_path, environment=environment, stdin=stdin)

    return call


def test_a_dry_run_prints_the_request_and_sends_nothing(run: Run, emulator: Emulator, tmp_path: Path) -> None:
    done = run("generate", "a river's bank", "--quality", "low", "--dry-run", OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert text.startswith(f"POST {emulator.base_url}/images/generations\n")
    assert '"quality": "low"' in text
    assert "authorization: Bearer $OPENAI_API_KEY" in text
    assert KEY not in text
    assert emulator.state.requests == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "mask.png"]


def test_a_dry_run_needs_no_key_and_still_checks_the_request(run: Run) -> None:
    assert run("generate", "a river", "--dry-run", OPENAI_BASE_URL="", OPENAI_API_KEY="").returncode == 0
    wrong = run("generate", "a river", "--dry-run", "--size", "7x7", *CHEAP[:2])
    assert wrong.returncode == 2
    assert b"256x256" in wrong.stderr


def test_the_curl_line_of_a_dry_run_makes_the_same_request(
    run: Run, emulator: Emulator, tmp_path: Path
) -> None:
    command = ("edit", "a.png", "it's a pool", "--mask", "mask.png", *CHEAP)
    facts = json.loads(run(*command, "--dry-run", "--json").stdout)
    assert [part["name"] for part in facts["form"] if part["filename"]] == ["image", "mask"]
    words = shlex.split(facts["curl"])
    assert words[0] == "curl"
    assert {"image=@a.png;type=image/png", "mask=@mask.png;type=image/png"} <= set(words)
    assert "prompt=it's a pool" in words
    if shutil.which("curl"):
        done = subprocess.run(["sh", "-c", f"{facts['curl']} -sS"], cwd=tmp_path, capture_output=True)
        assert len(json.loads(done.stdout)["data"]) == 1, done.stderr


def test_a_dry_run_shortens_an_image_that_is_part_of_the_json(run: Run) -> None:
    url = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
    done = run("edit", url, "a pool", "--moderation", "low", "--dry-run", "--model", "gpt-image-2")
    assert done.returncode == 0, done.stderr
    assert b"characters)" in done.stdout
    assert url.encode() not in done.stdout


@pytest.mark.parametrize(("flag", "level"), [("-v", "INFO"), ("-vv", "DEBUG")])
def test_verbose_prints_the_log_to_stderr(run: Run, flag: str, level: str) -> None:
    done = run("generate", "a river", *CHEAP, "-o", "r.png", flag)
    assert (b"DEBUG: POST /images/generations succeeded" in done.stderr) is (level == "DEBUG")
    assert b"a river" not in done.stderr
    assert done.stdout == b"r.png\n"
    failed = run("generate", "a river", "--model", "no-such-model", flag)
    assert b"INFO: POST /images/generations failed" in failed.stderr


def test_a_log_file_has_every_call_with_its_time(run: Run, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        assert run("generate", "a river", *CHEAP, "-o", name, "--log-file", "calls.log", "-q").stderr == b""
    lines = (tmp_path / "calls.log").read_text().splitlines()
    assert len([line for line in lines if "POST /images/generations succeeded" in line]) == 2
    assert lines[0].startswith("20")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("genrate x", "did you mean generate?"),
        ("generate x --qualty low", "did you mean --quality?"),
        ("log out --emulator", "--emulator has no meaning for imagesdk log"),
        ("--emulator log out", "--emulator has no meaning for imagesdk log"),
        ("serve --json", "--json has no meaning for imagesdk serve"),
        ("-v cost x", "--verbose has no meaning for imagesdk cost"),
    ],
)
def test_a_misspelt_or_meaningless_option_is_explained(run: Run, arguments: str, text: str) -> None:
    done = run(*arguments.split())
    assert done.returncode == 2
    assert text in done.stderr.decode()


def test_every_help_ends_with_examples_that_parse(run: Run) -> None:
    for command, text in examples.EXAMPLES.items():
        shown = run(command, "--help").stdout.decode()
        assert f"examples:\n{text}" in shown
        for line in text.splitlines():
            words = shlex.split(line.partition("   ")[0] if "   " in line.strip() else line, comments=False)
            start = words.index("imagesdk")
            stops = [at for at, word in enumerate(words) if word in {">", "|"} and at > start]
            options = parser.parse(words[start + 1 : stops[0] if stops else None])
            assert options.command == command
    assert set(examples.EXAMPLES) == set(parser.build().commands)


KITTY = {"TERM": "xterm-kitty"}
COLOURS = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        (KITTY, True, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, True, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, True, "iterm2"),
        (COLOURS, True, "blocks"),
        ({**COLOURS, "NO_COLOR": "1"}, True, None),
        ({**KITTY, "NO_COLOR": "1"}, True, "kitty"),
        (KITTY, False, None),
        ({**KITTY, "TMUX": "/tmp/tmux-0/default,1,0"}, True, None),
        ({**KITTY, "CI": "true"}, True, None),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, True, None),
        ({"TERM": "xterm-256color"}, True, None),
    ],
)
def test_a_preview_is_shown_only_on_terminals_that_can(
    environment: dict[str, str], terminal: bool, expected: str | None
) -> None:
    assert preview.protocol_of("auto", environment, terminal=terminal) == expected
    assert preview.protocol_of("off", environment, terminal=terminal) is None


def test_kitty_receives_a_small_png_in_chunks() -> None:
    big = BytesIO()
    Image.effect_noise((2000, 1000), 90).save(big, "PNG")
    text = preview.encode(big.getvalue(), "kitty")
    assert text is not None
    pieces = text.split("\x1b\\")[:-1]
    assert all(len(piece.partition(";")[2]) <= 4096 for piece in pieces)
    assert pieces[0].startswith("\x1b_Ga=T,f=100,q=2,c=40,m=1;")
    assert pieces[-1].startswith("\x1b_Gm=0;")
    data = base64.b64decode("".join(piece.partition(";")[2] for piece in pieces))
    assert Image.open(BytesIO(data)).size == (512, 256)


def test_iterm2_and_half_blocks_show_the_image_and_an_unreadable_one_shows_nothing() -> None:
    red = BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(red, "PNG")
    inline = preview.encode(red.getvalue(), "iterm2")
    assert inline is not None
    assert inline.startswith("\x1b]1337;File=inline=1;size=")
    blocks = preview.encode(red.getvalue(), "blocks")
    assert blocks is not None
    lines = blocks.split("\n")
    assert len(lines) == 20
    assert all(line.count("\u2580") == 40 and line.endswith("\x1b[0m") for line in lines)
    assert set(lines[0].split("\u2580")[:-1]) == {"\x1b[38;2;255;0;0;48;2;255;0;0m"}
    assert preview.encode(JPEG, "blocks") is None


def test_a_preview_can_be_forced_and_is_off_in_a_pipe(run: Run) -> None:
    piped = run("generate", "a river", *CHEAP, "-o", "r.png", **KITTY)
    assert piped.stdout == b"r.png\n"
    forced = run("generate", "a river", *CHEAP, "-o", "s.png", "--preview", "iterm2")
    assert forced.stdout.startswith(b"s.png\n\x1b]1337;File=")


def test_no_color_leaves_no_colour_in_help_or_progress(run: Run) -> None:
    from rich.console import Console

    shown = Console(
        force_terminal=True, file=StringIO(), _environ={"NO_COLOR": "1", "TERM": "xterm-256color"}
    )
    shown.print("[red]1 failed[/red]")
    file = shown.file
    assert isinstance(file, StringIO)
    assert "\x1b[31m" not in file.getvalue()
    assert b"\x1b[" not in run("--help", NO_COLOR="1", FORCE_COLOR="1").stdout

"""Commands that share a rate limit with other processes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.commands import environment_of, run_command


@pytest.mark.parametrize("by_option", [True, False])
def test_an_image_command_uses_the_store_of_the_option_or_of_the_environment(
    tmp_path: Path, by_option: bool
) -> None:
    environment = {**environment_of(""), "IMAGESDK_RATE_LIMIT": "50/min"}
    if not by_option:
        environment["IMAGESDK_SHARED"] = "sqlite:///limits.sqlite"
    options = ("--shared", "sqlite:///limits.sqlite") if by_option else ()
    done = run_command(
        ("--emulator", "generate", "a cat", "-o", "cat.png", *options),
        folder=tmp_path,
        environment=environment,
    )
    assert (done.returncode, done.stdout) == (0, b"cat.png\n"), done.stderr
    with closing(sqlite3.connect(tmp_path / "limits.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (1,)


@pytest.mark.parametrize("command", [("generate", "a cat"), ("batch", "jobs.txt", "-o", "out")])
def test_a_url_of_no_store_is_wrong_usage_and_shows_no_password(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "jobs.txt").write_text("a cat\n")
    done = run_command(
        ("--emulator", *command, "--shared", "http://me:hush@host"),
        folder=tmp_path,
        environment=environment_of(""),
    )
    assert done.returncode == 2
    assert b"--shared must be a URL that begins with sqlite:///" in done.stderr
    assert b"hush" not in done.stderr

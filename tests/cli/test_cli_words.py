"""What the command line says of mistakes: as JSON where that is asked for, and in its own words rather than Python's."""

from __future__ import annotations

import ast
import json
import re
import socket
from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from imagesdk import APIError, cli
from imagesdk.cli import exits, parser
from imagesdk.cli.exits import FAILED, USAGE
from imagesdk.cli.wording import in_options

Capture = pytest.CaptureFixture[str]

COMMANDS = {
    "generate": ("generate", "x"),
    "edit": ("edit", "a.png", "x"),
    "vary": ("vary", "a.png"),
    "batch": ("batch", "a.txt", "-o", "out"),
    "log": ("log", "out"),
    "cost": ("cost", "x"),
}


def options(command: str) -> Namespace:
    return parser.parse(COMMANDS[command])


def complaint(capsys: Capture, *arguments: str, code: int = USAGE) -> str:
    assert cli.run(arguments) == code
    return capsys.readouterr().err


class TestWrongUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("--json", "generate", "x", "--foo"),
            ("generate", "x", "-n", "two", "--json"),
            ("--json", "nonsense"),
            ("--json",),
            ("log", "out", "--json", "--state", "foo"),
        ],
    )
    def test_is_told_as_json_where_that_is_asked_for(
        self, capsys: Capture, arguments: tuple[str, ...]
    ) -> None:
        error = json.loads(complaint(capsys, *arguments))["error"]
        assert (error["type"], error["exit_code"]) == ("UsageError", USAGE)
        assert error["message"]
        assert "usage:" not in error["message"]

    def test_is_told_with_how_it_is_written(self, capsys: Capture) -> None:
        said = complaint(capsys, "generate", "x", "-n", "two")
        assert said.startswith("usage: imagesdk generate ")
        assert said.splitlines()[-1] == "imagesdk: argument -n: invalid int value: 'two'"

    def test_of_a_prompt_without_quotes_says_so(self, capsys: Capture) -> None:
        said = "unrecognized arguments: cat on mat; a prompt of several words stands in quotes"
        assert said in complaint(capsys, "generate", "a", "cat", "on", "mat")
        assert "quotes" not in complaint(capsys, "generate", "a", "--foo", "bar")
        assert "quotes" not in complaint(capsys, "log", "a", "b")

    @pytest.mark.parametrize("port", ["99999", "-1", "http"])
    def test_of_a_port_says_what_a_port_is(self, capsys: Capture, port: str) -> None:
        assert f"from 0 to 65535, not '{port}'" in complaint(capsys, "serve", f"--port={port}")

    def test_of_a_state_says_which_there_are(self, capsys: Capture) -> None:
        assert "'done', 'refused', 'failed', 'unknown'" in complaint(capsys, "log", "out", "--state", "foo")


def test_a_port_that_is_taken_is_named_with_a_way_out(capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint(capsys, "serve", "--port", str(port), code=FAILED)
    assert (
        said == f"imagesdk: 127.0.0.1:{port}: Address already in use; try --port 0, which takes a free one\n"
    )


@pytest.mark.parametrize(("message", "lines"), [("It broke.", 2), ("It may have been made and billed.", 1)])
def test_that_it_may_have_been_billed_is_said_once(capsys: Capture, message: str, lines: int) -> None:
    def fail(_: Namespace) -> int:
        raise APIError(message, maybe_billed=True)

    assert exits.guarded(Namespace, fail, as_json=False) == FAILED
    assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize(
    ("command", "message", "said"),
    [
        (
            "generate",
            "It has no n. Leave it out, or pass check=False.",
            "It has no n. Leave it out, or give --no-check.",
        ),
        ("batch", "It has no n. Leave it out, or pass check=False.", "It has no n. Leave it out."),
        ("generate", "n is 0. check=False sends it anyway.", "n is 0. --no-check sends it anyway."),
        ("batch", "n is 0. check=False sends it anyway.", "n is 0."),
        ("edit", "imagesdk.prepare_image(...) makes one.", "--square crop (or pad) makes one."),
        ("batch", "imagesdk.prepare_image(...) makes one.", "imagesdk.prepare_image(...) makes one."),
        (
            "vary",
            'imagesdk.prepare_image(..., square="crop") makes one; "pad" keeps all of it.',
            "--square crop makes one; --square pad keeps all of it.",
        ),
        (
            "edit",
            "pass mask=, a PNG (imagesdk.make_mask(image, boxes=[...]) makes one)",
            "give --mask, a PNG (--mask-box L,T,R,B makes one)",
        ),
        ("batch", "a higher budget= goes on", "a higher --budget goes on"),
        ("batch", "give this one another journal= and out=.", "give this one another --journal and --out."),
        ("log", "is no journal; name another file with journal=.", "is no journal; name another file."),
        ("generate", "out='a.png' gives all the same name", "--out 'a.png' gives all the same name"),
        (
            "generate",
            "total must be a positive number or None, not 0.",
            "--timeout must be a positive number, not 0.",
        ),
        ("log", "retry_unknown=True (--retry-unknown) sends it again.", "--retry-unknown sends it again."),
        ("batch", 'only with output_format="gif"', "only with --output-format gif"),
        ("vary", 'only with output_format="gif"', 'only with output_format="gif"'),
        ("generate", "the limit you have with rate_limit=.", "the limit you have with IMAGESDK_RATE_LIMIT."),
        ("batch", "the limit you have with rate_limit=.", "the limit you have with --limit."),
        ("generate", "set OPENAI_API_KEY or pass api_key=.", "set OPENAI_API_KEY."),
        ("generate", "try base_url='http://a/v1'.", "try --base-url 'http://a/v1'."),
        ("generate", "the server said that 1 + 1=2", "the server said that 1 + 1=2"),
    ],
)
def test_advice_names_the_options_that_the_command_has(command: str, message: str, said: str) -> None:
    assert in_options(message, options(command)) == said


SPEAKING = (
    "imagesdk._engine.response",
    "imagesdk._protocol.remedies",
    "imagesdk._protocol.parameter_checks",
    "imagesdk._protocol.api_errors",
    "imagesdk._protocol.image_checks",
    "imagesdk._media.output",
    "imagesdk._ratelimit.shared",
    "imagesdk.client",
    "imagesdk.fan_out.output_files",
    "imagesdk.fan_out.journal",
    "imagesdk.fan_out.lock",
    "imagesdk.fan_out.spending",
    "imagesdk.fan_out.runner",
    "imagesdk.fan_out.resume",
    "imagesdk.policies",
)
"""Modules whose words reach the command line."""
NEVER_SAID = ("AZURE_OPENAI_ENDPOINT", "token_provider", "partial_images=", "streaming is only", "?mode=")
"""In texts that no command can bring about: of Azure's client and of streams; and in one that is no message."""
_PYTHON = re.compile(r"\b[a-z_]+=(?!=)")
_CALL = re.compile(r"imagesdk\.\w+\([^()]*\)")


def messages(module: str) -> Iterator[str]:
    """The texts in a module that speak of keyword arguments, with an ``x`` for what is filled in."""
    tree = ast.parse(Path(str(import_module(module).__file__)).read_text("utf-8"))
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    pieces = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if node in prose or node in pieces:
            continue
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value)
                if isinstance(part, ast.Constant)
                else "'x'"
                if isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
                else "x"
                for part in node.values
            )
        if _PYTHON.search(text):
            yield text


@pytest.mark.parametrize("module", SPEAKING)
def test_no_message_names_a_keyword_argument_of_python(module: str) -> None:
    for message in messages(module):
        if any(words in message for words in NEVER_SAID):
            continue
        for command in ("batch",) if ".fan_out." in module else ("edit", "batch"):
            said = in_options(message, options(command))
            assert not _PYTHON.search(_CALL.sub("", said)), f"{command}: {said}"

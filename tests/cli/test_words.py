"""Errors on the command line: as JSON with ``--json``, and worded as options instead of Python."""

from __future__ import annotations

import ast
import json
import re
import socket
from argparse import Namespace
from functools import cache, partial
from pathlib import Path

import pytest

import imagesdk
from imagesdk import ImageSDKError, Remedy, cli
from imagesdk.cli import exits, parser, remedies
from imagesdk.cli.exits import FAILED, USAGE
from imagesdk.cli.remedies import error_text
from imagesdk.remedies import KINDS

Capture = pytest.CaptureFixture[str]

COMMANDS = {
    "generate": ("generate", "x"),
    "edit": ("edit", "a.png", "x"),
    "vary": ("vary", "a.png"),
    "batch": ("batch", "a.txt", "-o", "out"),
    "log": ("log", "out"),
    "cost": ("cost", "x"),
}
ANOTHER_JOURNAL = "Wait until it ends, or give this run another --journal and --out."


_stopped = partial(imagesdk.RunStoppedError, "It ended.")


def _status(kind: type[imagesdk.APIStatusError], status: int) -> imagesdk.APIStatusError:
    return kind("No.", status_code=status)


@cache
def options(command: str) -> Namespace:
    return parser.parse(COMMANDS[command])


def complaint(capsys: Capture, *arguments: str, code: int = USAGE) -> str:
    assert cli.run(arguments) == code
    return capsys.readouterr().err


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
def test_wrong_usage_with_json_is_json(capsys: Capture, arguments: tuple[str, ...]) -> None:
    error = json.loads(complaint(capsys, *arguments))["error"]
    assert (error["type"], error["exit_code"]) == ("UsageError", USAGE)
    assert error["message"]
    assert "usage:" not in error["message"]


def test_wrong_usage_shows_the_usage_of_the_command(capsys: Capture) -> None:
    text = complaint(capsys, "generate", "x", "-n", "two")
    assert text.startswith("usage: imagesdk generate ")
    assert text.splitlines()[-1] == "imagesdk: argument -n: invalid int value: 'two'"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("generate a cat on mat", "arguments: cat on mat; put a prompt of several words in quotes"),
        ("generate a --foo bar", "arguments: --foo bar\n"),
        ("log a b", "arguments: b\n"),
        ("serve --port=99999", "from 0 to 65535, not '99999'"),
        ("serve --port=-1", "from 0 to 65535, not '-1'"),
        ("batch a.txt -o b --grace inf", "argument --grace: a number of seconds of at least 0, not 'inf'"),
        ("batch a.txt -o b --grace soon", "not 'soon'"),
        ("serve --port=http", "from 0 to 65535, not 'http'"),
        ("log out --state foo", "'done', 'refused', 'failed', 'unknown'"),
    ],
)
def test_wrong_usage_is_explained(capsys: Capture, arguments: str, text: str) -> None:
    assert text in complaint(capsys, *arguments.split())


def test_a_port_in_use_is_named_with_a_remedy(capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = complaint(capsys, "serve", "--port", str(port), code=FAILED)
    problem = "Address already in use; try --port 0, which picks a free port"
    assert text == f"imagesdk: 127.0.0.1:{port}: {problem}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_stopped(reason="max_failures", last_error=imagesdk.APIConnectionError("away")), exits.PARTIAL),
        (_stopped(reason="server_away", last_error=imagesdk.APIConnectionError("away")), FAILED),
        (
            _stopped(reason="server_away", last_error=imagesdk.LimitWaitError("no room", retry_after=None)),
            exits.LIMIT,
        ),
        (_stopped(reason="server_away"), exits.PARTIAL),
        (_status(imagesdk.QuotaExceededError, 429), exits.LIMIT),
        (_status(imagesdk.PermissionDeniedError, 403), exits.AUTHENTICATION),
        (_status(imagesdk.ModerationError, 400), exits.MODERATION),
    ],
)
def test_an_error_that_ends_a_run_has_the_exit_code_of_its_reason(error: Exception, code: int) -> None:
    def fail(_: Namespace) -> int:
        raise error

    assert exits.run_guarded(Namespace, fail, as_json=False) == code


@pytest.mark.parametrize(("billed", "times"), [(True, 1), (False, 0)])
def test_a_possible_bill_is_stated_once(capsys: Capture, billed: bool, times: int) -> None:
    def fail(_: Namespace) -> int:
        raise imagesdk.APIError("It broke.", maybe_billed=billed)

    assert exits.run_guarded(Namespace, fail, as_json=False) == FAILED
    assert capsys.readouterr().err.count("may have been made and billed") == times


@pytest.mark.parametrize(
    ("command", "remedy", "words"),
    [
        ("generate", Remedy.SKIP_CHECK, "Add --no-check to send it anyway."),
        ("batch", Remedy.SKIP_CHECK, ""),
        ("generate", Remedy.LEAVE_OUT.of("output_format"), "Leave --output-format out."),
        ("vary", Remedy.LEAVE_OUT.of("output_format"), "Leave output_format out."),
        ("generate", Remedy.LEAVE_OUT.of("n"), "Leave -n out."),
        ("generate", Remedy.LEAVE_OUT, "Leave it out."),
        ("edit", Remedy.CONVERT_IMAGE, "Convert it to a PNG with --square crop (or pad)."),
        ("batch", Remedy.CONVERT_IMAGE, "Convert it to an 8-bit RGB PNG."),
        ("vary", Remedy.PREPARE_SQUARE, "Make it square with --square crop; --square pad keeps all of it."),
        ("edit", Remedy.MAKE_MASK, "Make a mask that fits with --mask-box L,T,R,B."),
        ("batch", Remedy.MAKE_MASK, ""),
        ("batch", Remedy.RAISE_BUDGET, "Run again with a higher --budget to continue."),
        ("batch", Remedy.USE_ANOTHER_JOURNAL, ANOTHER_JOURNAL),
        ("log", Remedy.NAME_ANOTHER_FILE, "Name another file."),
        ("batch", Remedy.RETRY_UNKNOWN, "Add --retry-unknown to send it again."),
        ("log", Remedy.RETRY_UNKNOWN, "Run the batch with --retry-unknown to send it again."),
        ("generate", Remedy.CHOOSE_FORMAT.of("gif"), "Add --output-format gif."),
        ("vary", Remedy.CHOOSE_FORMAT.of("gif"), "Set the output format to gif."),
        ("generate", Remedy.SET_RATE_LIMIT, "Set IMAGESDK_RATE_LIMIT to the limit of your account."),
        ("batch", Remedy.SET_RATE_LIMIT, "Give the limit of your account as --limit."),
        ("generate", Remedy.RAISE_TIMEOUT, "Give a longer --timeout."),
        ("batch", Remedy.RAISE_TIMEOUT, ""),
        ("generate", Remedy.SET_KEY, "Set OPENAI_API_KEY."),
        ("generate", Remedy.USE_BASE_URL.of("http://a/v1"), "Try --base-url http://a/v1."),
        ("generate", Remedy.RETRY_LATER, "Try again later."),
    ],
)
def test_a_remedy_names_an_option_only_to_a_command_that_has_it(
    command: str, remedy: Remedy, words: str
) -> None:
    error = ImageSDKError("It broke.", remedies=[remedy])
    assert error_text(error, options(command)) == f"It broke. {words}".strip()


_invalid = imagesdk.InvalidRequestError.for_parameter
_wrong = imagesdk.ConfigurationError.for_parameter
_ANSWER = "The server answers that n=2"


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        ("batch", _invalid("out", "a", allowed="b"), "--out is 'a'; allowed: b."),
        ("generate", _invalid("n", 0, allowed="1"), "-n is 0; allowed: 1."),
        ("vary", _invalid("style", "x", allowed="y"), "style is 'x'; allowed: y."),
        ("generate", _invalid("prompt", "", allowed="y"), "prompt is ''; allowed: y."),
        ("batch", _wrong("concurrency", 0, allowed="a number"), "--concurrency must be a number, not 0."),
        ("generate", imagesdk.BadRequestError(_ANSWER, param="n"), _ANSWER),
        ("generate", OSError("size is wrong"), "size is wrong"),
    ],
)
def test_a_parameter_at_fault_is_named_as_its_option(command: str, error: Exception, words: str) -> None:
    assert error_text(error, options(command)) == words


@pytest.mark.parametrize("command", COMMANDS)
def test_no_remedy_on_the_command_line_is_worded_as_python(command: str) -> None:
    for kind in sorted(KINDS):
        words = error_text(ImageSDKError("It broke.", remedies=[Remedy(kind, "VALUE")]), options(command))
        assert not _PYTHON.search(words), f"{kind}: {words}"


def test_every_remedy_with_its_own_wording_exists() -> None:
    assert set(remedies.WITHOUT_OPTIONS) <= set(remedies.IN_OPTIONS) <= KINDS


PACKAGE = Path(imagesdk.__file__).parent
OTHERS = re.compile(
    r"(cli|emulator|testing|_sync)/|(_calls/call_options|_engine/logs|_media/(notebook|web_pages)|_protocol/(azure|bodies|error_bodies)"
    r"|_transport/user_client|fan_out/gallery|prepare|remedies|types)\.py"
)
"""Modules whose texts do not reach the command line."""
PATTERNS = (
    "streaming is only",
    "?mode=",
    "bytes=",
    "[A-Za-z0-9+/_=",
    "RetryPolicy(",
    "Caps(",
    "Timeouts(",
    "Client.azure(",
)
"""In texts that are no messages, or of options that no command has."""
_PYTHON = re.compile(r"\b[a-z_]+=(?!=)|\bimagesdk\.\w+\(|\bclient\.\w+\.\w+\(")
_OPTION = re.compile(r"(?<![\w-])--[a-z]")


@cache
def messages(module: Path) -> list[str]:
    """Return the texts of a module without its docstrings."""
    nodes = list(ast.walk(ast.parse(module.read_text("utf-8"))))
    prose = {node.value for node in nodes if isinstance(node, ast.Expr)}
    constants = (node for node in nodes if isinstance(node, ast.Constant) and node not in prose)
    return [node.value for node in constants if isinstance(node.value, str)]


def test_no_summary_names_a_keyword_argument_of_python_or_an_option() -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if not OTHERS.match(str(path.relative_to(PACKAGE)))]
    texts = [text for path in paths for text in messages(path) if not any(part in text for part in PATTERNS)]
    assert [text for text in texts if _PYTHON.search(text) or _OPTION.search(text)] == []
    assert len(texts) > 1000


def test_no_remedy_in_python_names_an_option_of_the_command_line() -> None:
    words = [str(Remedy(kind, "VALUE")) for kind in sorted(KINDS)]
    assert [text for text in words if _OPTION.search(text)] == []
    assert len(words) > 80


def test_no_text_of_the_library_names_an_option_of_the_command_line() -> None:
    programs = tuple(str(PACKAGE / name) for name in ("cli", "emulator", "testing", "_sync/generator"))
    paths = [path for path in PACKAGE.rglob("*.py") if not str(path).startswith(programs)]
    texts = [text for path in paths for text in messages(path)]
    assert [text for text in texts if _OPTION.search(text)] == []
    assert len(texts) > 2000


def test_no_text_of_the_command_line_names_a_keyword_argument_of_python() -> None:
    others = {
        "demo.py",
        "preview.py",
        "request_preview.py",
    }  # code to copy, and the protocols of terminals and forms
    modules = [path for path in (PACKAGE / "cli").glob("*.py") if path.name not in others]
    texts = [text for path in modules for text in messages(path)]
    assert [text for text in texts if _PYTHON.search(text)] == []
    assert len(texts) > 500

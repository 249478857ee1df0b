"""The words of the command line, and which module answers to which command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from imagesdk.cli.exits import UsageError
from imagesdk.cli.parameters import add_options
from imagesdk.cli.shaping import parse_box

_EXAMPLES = """\
examples:
  imagesdk demo                                      pictures without a key, drawn by the emulator
  imagesdk generate "a white siamese cat" -o cat.png
  imagesdk generate "a river" -n 4 -o rivers/        prints four paths
  imagesdk edit lounge.png "a lounge with a pool" --mask mask.png
  imagesdk vary corgi.png -n 2 --model dall-e-2 --base-url http://127.0.0.1:8000/v1
  imagesdk batch prompts.txt --out pictures/         a picture for each line; again: what is new
  imagesdk serve --port 8000                         an emulator of the Images API
  imagesdk cost "a river" --quality high             what it is likely to cost
  imagesdk models                                    what is known of each model

The key is read from OPENAI_API_KEY. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some of a batch
not done, 4 key refused, 5 refused by the content filter, 6 rate limit or quota, 130 Ctrl-C.
"""

_PROMPTED = frozenset({"generate", "edit", "cost"})
"""Commands with a prompt among their arguments."""
_OUT = "FILE, DIR or TEMPLATE with {index} {id} {slug} {ext}; - for stdout (default: this folder)"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: it cannot be read.
    """
    parser = build()
    options, left = parser.parse_known_args(arguments)
    if left:
        said = f"unrecognized arguments: {' '.join(left)}"
        if options.command in _PROMPTED and not any(word.startswith("-") for word in left):
            said += "; a prompt of several words stands in quotes"
        parser.error(said)
    return options


def dispatch(options: argparse.Namespace) -> int:
    """Run the command that the options name."""
    module = import_module(f"imagesdk.cli.{options.command}")
    code: int = module.run(options)
    return code


def build() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    shared = _shared()
    parser = _Parser(
        prog="imagesdk",
        description="Create, edit and vary pictures from prompts with the Images API.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared],
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_generate(commands.add_parser("generate", parents=[shared], help="make pictures from a prompt"))
    _add_edit(commands.add_parser("edit", parents=[shared], help="change a picture as a prompt says"))
    _add_vary(commands.add_parser("vary", parents=[shared], help="make pictures that resemble one"))
    _add_batch(
        commands.add_parser("batch", parents=[shared], help="do the jobs of a file, or go on with them")
    )
    _add_log(commands.add_parser("log", parents=[shared], help="say what a batch has done so far"))
    _add_cost(commands.add_parser("cost", parents=[shared], help="say what pictures are likely to cost"))
    _add_models(commands.add_parser("models", parents=[shared], help="say what is known of each model"))
    _add_serve(commands.add_parser("serve", parents=[shared], help="run the emulator until Ctrl-C"))
    _add_demo(commands.add_parser("demo", parents=[shared], help="make the first pictures, without a key"))
    return parser


class _Parser(argparse.ArgumentParser):
    """Leaves it to :mod:`imagesdk.cli.exits` how an error is told."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, usage=self.format_usage())


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help=str(kwargs.get("help")))

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import imagesdk

        print(f"imagesdk {imagesdk.__version__}")
        parser.exit()


def _shared() -> _Parser:
    """Options that may stand before or after the command."""
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("global options")
    server = group.add_mutually_exclusive_group()
    server.add_argument(
        "--base-url", metavar="URL", help="the server (default: OPENAI_BASE_URL, or the maker's)"
    )
    server.add_argument(
        "--emulator", action="store_true", help="use an emulator inside this process: no key, no cost"
    )
    group.add_argument("--json", action="store_true", help="print one JSON object instead of paths")
    group.add_argument("-q", "--quiet", action="store_true", help="nothing on stderr but errors")
    return shared


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="what to draw, in detail; - reads it from stdin")
    _add_picture_options(parser, "generate")


def _add_edit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", metavar="IMAGE", nargs="+", help="the picture, or several; - reads it from stdin"
    )
    parser.add_argument("prompt", metavar="PROMPT", help="the whole new picture in words")
    parser.add_argument(
        "--mask", metavar="FILE", help="a PNG that is transparent where the picture is to change"
    )
    parser.add_argument(
        "--markup",
        metavar="FILE",
        help="a transparent PNG with what to change drawn on it, instead of a mask",
    )
    _add_shape_options(parser, boxes=True)
    _add_picture_options(parser, "edit")


def _add_vary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a square PNG; - reads it from stdin")
    _add_shape_options(parser)
    _add_picture_options(parser, "vary")


def _add_shape_options(parser: argparse.ArgumentParser, *, boxes: bool = False) -> None:
    parser.add_argument(
        "--square",
        choices=("crop", "pad"),
        help="make any picture a square PNG first: crop keeps the middle, pad adds transparent margins",
    )
    if boxes:
        parser.add_argument(
            "--mask-box",
            action="append",
            type=parse_box,
            metavar="L,T,R,B",
            help="where to paint, in pixels of the (squared) picture; can be given again",
        )


def _add_picture_options(parser: argparse.ArgumentParser, command: str) -> None:
    parser.add_argument("-o", "--out", default=".", metavar="OUT", help=_OUT.replace("%", "%%"))
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for the whole command")
    parser.add_argument("--no-check", action="store_true", help="send it though the model's rules forbid it")
    add_options(parser, command)


def _add_batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help="prompts a line, .csv or .jsonl with a parameter a column or key; - for stdin",
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="or a TEMPLATE with {job} {id} {slug} {index} {ext}"
    )
    group = parser.add_argument_group("the file")
    group.add_argument("--format", choices=("txt", "csv", "jsonl"), help="(default: by the name of the file)")
    group.add_argument("--prompt", metavar="TEMPLATE", help="made of columns, such as 'photo of {name}'")
    group.add_argument("--id-column", metavar="COLUMN", help="the column with a name for each job, for {id}")
    group = parser.add_argument_group("the run")
    group.add_argument("--dry-run", action="store_true", help="say what it would do and cost; send nothing")
    group.add_argument("--journal", metavar="FILE", help="what remembers the jobs (default: DIR/journal.db)")
    group.add_argument(
        "--delivery",
        choices=("at-most-once", "at-least-once"),
        default="at-most-once",
        help="whether what may have been billed is repeated (default: %(default)s)",
    )
    group.add_argument("--retry-unknown", action="store_true", help="send again what may have been billed")
    group.add_argument("--budget", metavar="DOLLARS", help="for all jobs of the journal, such as '20 USD'")
    group.add_argument(
        "--unknown-price",
        choices=("stop", "allow"),
        default="stop",
        help="send what has no known price though there is a budget (default: stop)",
    )
    group.add_argument(
        "--concurrency", type=int, metavar="N", help="jobs under way (default: as the limit lets)"
    )
    group.add_argument("--limit", metavar="RATE", help="images per time, such as 500/min, or none")
    group.add_argument("--gallery", action="store_true", help="write DIR/index.html, a page of all pictures")
    add_options(parser, "batch")


def _add_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="JOURNAL", help="the journal, or the folder that it is in")
    parser.add_argument(
        "--state",
        choices=("planned", "sending", "received", "done", "refused", "failed", "unknown"),
        metavar="STATE",
        help="only jobs that are so: done, unknown, failed, refused, planned, sending or received",
    )


def _add_cost(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", help="what to draw; - reads it from stdin")
    parser.add_argument(
        "--edit", metavar="IMAGE", nargs="+", help="the pictures to edit; they are only counted"
    )
    parser.add_argument("--batch", action="store_true", help="at the price of a batch")
    parser.add_argument("--no-check", action="store_true", help="reckon though the model's rules forbid it")
    add_options(parser, "cost")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="all of one model, with the sources")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument(
        "--allow-remote", action="store_true", help="let other machines in; it was not made for that"
    )
    parser.add_argument("--port", type=_port, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument("--limit", default="50/min", help="images per time, or none (default: 50/min)")
    parser.add_argument(
        "--seed", type=int, default=0, help="other pictures for the same prompts (default: 0)"
    )
    parser.add_argument("--as-of", metavar="DATE", help="be the API of that day, such as 2023-06-01")
    parser.add_argument("--require-key", action="store_true", help="answer 401 to requests without a key")
    parser.add_argument(
        "--quirks",
        metavar="SERVER",
        help="answer as another server does, such as localai or azure (see docs/servers.md)",
    )


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a whole number from 0 to 65535, not {text!r}")
    return port


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--out",
        default="imagesdk-demo",
        metavar="DIR",
        help="(default: imagesdk-demo, where it replaces what it made before)",
    )
    parser.add_argument("--force", action="store_true", help="replace files of another folder, too")

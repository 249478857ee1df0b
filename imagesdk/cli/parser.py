"""Argument parser of the command line, and dispatch to the module of a command."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from imagesdk.cli.exits import UsageError
from imagesdk.cli.parameters import add_options
from imagesdk.cli.shaping import parse_box

_EXAMPLES = """\
examples:
  imagesdk demo                                      images without a key, drawn by the emulator
  imagesdk generate "a white siamese cat" -o cat.png
  imagesdk generate "a river" -n 4 -o rivers/        prints four paths
  imagesdk edit lounge.png "a lounge with a pool" --mask mask.png
  imagesdk vary corgi.png -n 2 --model dall-e-2 --base-url http://127.0.0.1:8000/v1
  imagesdk batch prompts.txt --out images/           one image per line; run again to resume
  imagesdk serve --port 8000                         an emulator of the Images API
  imagesdk cost "a river" --quality high             estimate the cost
  imagesdk models                                    facts about the models

The key is read from OPENAI_API_KEY. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 batch incomplete,
4 key refused, 5 refused by the content filter, 6 rate limit or quota, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.
"""

_PROMPTED = frozenset({"generate", "edit", "cost"})
"""Commands with a prompt as an argument."""
_ACK = "let refused and failed jobs rest: the batch no longer sends them, and can exit with 0"
_DELIVERY = "whether to retry attempts that may have been billed (default: %(default)s)"
_DEMO_OUT = "folder (default: imagesdk-demo, where it replaces earlier files of the demo)"
_FILE = ".txt (one prompt per line), .csv or .jsonl (one parameter per column or key); - reads stdin"
_FORGET = (
    "forget jobs that changed before so long, such as 30d; the next call with such a key sends its job again"
)
_GIVE_UP_AFTER = "end the run if the server is away for so long (default: %(default)g)"
_GRACE = "after SIGTERM: time for the jobs that were sent, before they are cancelled (default: %(default)g)"
_LANE = (
    "live: one call a job; batch: in batches, for half the price, within a day; auto: live what would be late"
)
_MASK_BOX = "area to repaint, in pixels of the (squared) image; repeatable"
_OUT = "FILE, DIR or TEMPLATE with {index} {id} {slug} {ext}; - writes to stdout (default: current folder)"
_RUN_OUT = "folder, or TEMPLATE with {job} {id} {slug} {index} {ext}"
_SHARED_STORE = (
    "store of the rate limit that processes share, such as redis://host (default: IMAGESDK_SHARED)"
)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_STATUS = "only jobs in this state: done, unknown, failed, refused, planned, sending or received"
_STOP_ON = "fatal: end the run at an answer that every job would get, such as 401 (default: %(default)s)"
_SQUARE = "convert the image to a square PNG first: crop keeps the middle, pad adds transparent margins"
_STATES = ("planned", "sending", "received", "done", "refused", "failed", "unknown")
_UNKNOWN_PRICE = "with a budget: whether to send jobs without a known price (default: stop)"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = build()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        message = f"unrecognized arguments: {' '.join(unknown)}"
        if options.command in _PROMPTED and not any(word.startswith("-") for word in unknown):
            message += "; put a prompt of several words in quotes"
        parser.error(message)
    return options


def dispatch(options: argparse.Namespace) -> int:
    """Run the command that the options name."""
    module = import_module(f"imagesdk.cli.{options.command}")
    code: int = module.run(options)
    return code


def build() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    shared = _shared()
    parser = _Parser(
        prog="imagesdk",
        description="Generate, edit and vary images with the Images API.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared],
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_generate(commands.add_parser("generate", parents=[shared], help="generate images from a prompt"))
    _add_edit(commands.add_parser("edit", parents=[shared], help="edit images with a prompt"))
    _add_vary(commands.add_parser("vary", parents=[shared], help="make variations of an image"))
    _add_batch(commands.add_parser("batch", parents=[shared], help="run the jobs of a file, or resume them"))
    batches = commands.add_parser("batches", parents=[shared], help="list, watch, cancel or fetch batches")
    _add_batches(batches, shared)
    _add_log(commands.add_parser("log", parents=[shared], help="list the jobs of a batch and their states"))
    _add_ledger(
        commands.add_parser("ledger", parents=[shared], help="list the jobs of a ledger that processes share")
    )
    _add_cost(commands.add_parser("cost", parents=[shared], help="estimate the cost of images"))
    _add_models(commands.add_parser("models", parents=[shared], help="show facts about the models"))
    _add_serve(commands.add_parser("serve", parents=[shared], help="run the emulator until Ctrl-C"))
    _add_demo(commands.add_parser("demo", parents=[shared], help="make the first images, without a key"))
    return parser


class _Parser(argparse.ArgumentParser):
    """Parser that raises errors for :mod:`imagesdk.cli.exits` to print."""

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
    """Return the options that may precede or follow the command."""
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("global options")
    add = group.add_mutually_exclusive_group().add_argument
    add("--base-url", metavar="URL", help="base URL of the server (default: OPENAI_BASE_URL, or OpenAI)")
    add("--emulator", action="store_true", help="use an emulator inside this process: no key, no cost")
    group.add_argument("--json", action="store_true", help="print one JSON object instead of paths")
    group.add_argument("-q", "--quiet", action="store_true", help="print only errors to stderr")
    return shared


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="description of the image; - reads stdin")
    _add_image_options(parser, "generate")


def _add_edit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", metavar="IMAGE", nargs="+", help="one or several images; - reads stdin")
    add("prompt", metavar="PROMPT", help="description of the whole new image")
    add("--mask", metavar="FILE", help="PNG that is transparent where the image is to change")
    add("--markup", metavar="FILE", help="transparent PNG with the changes drawn on it, instead of a mask")
    _add_preparation_options(parser, boxes=True)
    _add_image_options(parser, "edit")


def _add_vary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a square PNG; - reads stdin")
    _add_preparation_options(parser)
    _add_image_options(parser, "vary")


def _add_preparation_options(parser: argparse.ArgumentParser, *, boxes: bool = False) -> None:
    add = parser.add_argument
    add("--square", choices=("crop", "pad"), help=_SQUARE)
    if boxes:
        add("--mask-box", action="append", type=parse_box, metavar="L,T,R,B", help=_MASK_BOX)


def _add_image_options(parser: argparse.ArgumentParser, command: str) -> None:
    add = parser.add_argument
    add("-o", "--out", default=".", metavar="OUT", help=_OUT)
    add("--force", action="store_true", help="replace FILE if it exists")
    add("--timeout", type=float, metavar="SECONDS", help="time limit of the whole command")
    add("--no-check", action="store_true", help="send the request even if it breaks the rules of the model")
    add("--shared", metavar="URL", help=_SHARED_STORE)
    add_options(parser, command)


def _add_batch(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", help=_FILE)
    add("-o", "--out", required=True, metavar="DIR", help=_RUN_OUT)
    add = parser.add_argument_group("the file").add_argument
    add("--format", choices=("txt", "csv", "jsonl"), help="format of FILE (default: by its extension)")
    add("--prompt", metavar="TEMPLATE", help="prompt made of columns, such as 'photo of {name}'")
    add("--id-column", metavar="COLUMN", help="column with a unique name for each job, for {id}")
    add = parser.add_argument_group("the run").add_argument
    add("--dry-run", action="store_true", help="print what would be sent and its cost; send nothing")
    add("--journal", metavar="FILE", help="file that records the jobs (default: DIR/journal.db)")
    add("--delivery", choices=("at-most-once", "at-least-once"), default="at-most-once", help=_DELIVERY)
    add("--retry-unknown", action="store_true", help="send jobs again that may have been billed")
    add("--budget", metavar="DOLLARS", help="maximum cost of all jobs of the journal, such as '20 USD'")
    add("--unknown-price", choices=("stop", "allow"), default="stop", help=_UNKNOWN_PRICE)
    jobs = "maximum number of concurrent jobs (default: by the rate limit)"
    add("--stop-on", choices=("fatal", "never"), default="fatal", help=_STOP_ON)
    add("--max-failures", type=int, metavar="N", help="end the run after N failed or unknown jobs")
    add("--give-up-after", type=float, default=900.0, metavar="SECONDS", help=_GIVE_UP_AFTER)
    add("--concurrency", type=int, metavar="N", help=jobs)
    add("--limit", metavar="RATE", help="rate limit in images, such as 500/min, or none")
    add("--shared", metavar="URL", help=_SHARED_STORE)
    add("--grace", type=_seconds, default=20.0, metavar="SECONDS", help=_GRACE)
    add("--gallery", action="store_true", help="write DIR/index.html, a page of all images")
    add = parser.add_argument_group("the lanes").add_argument
    add("--lane", choices=("live", "batch", "auto"), default="live", help=_LANE)
    add("--deadline", metavar="TIME", help="time for all jobs, from the first start, such as 20h")
    add("--poll", type=float, metavar="SECONDS", help="seconds between two looks at a batch")
    add_options(parser, "batch")


def _add_batches(parser: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", parents=[shared], help="list the batches of the account, newest first"
    )
    listing.add_argument("--limit", type=int, metavar="N", help="maximum number of batches")
    one = argparse.ArgumentParser(add_help=False)
    one.add_argument("batch", metavar="ID", help="the id of a batch, such as batch_abc123")
    poll = argparse.ArgumentParser(add_help=False)
    poll.add_argument("--poll", type=float, metavar="SECONDS", help="seconds between two looks")
    actions.add_parser("show", parents=[shared, one], help="show all facts about a batch")
    waiting = actions.add_parser("wait", parents=[shared, one, poll], help="wait for the end of a batch")
    waiting.add_argument("--timeout", type=float, metavar="SECONDS", help="maximum time to wait")
    actions.add_parser(
        "cancel", parents=[shared, one], help="cancel a batch; what is done is delivered and billed"
    )
    fetching = actions.add_parser(
        "fetch", parents=[shared, one, poll], help="wait for a batch, and write its images"
    )
    fetching.add_argument("-o", "--out", required=True, metavar="DIR", help=_RUN_OUT)


def _add_log(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", metavar="JOURNAL", help="the journal, or its folder")
    shown = "show only jobs in this state: done, unknown, failed, refused, planned, sending or received"
    add("--state", choices=_STATES, metavar="STATE", help=shown)
    add = parser.add_mutually_exclusive_group().add_argument
    add("--check", action="store_true", help="list damaged rows of the journal")
    add("--ack", action="store_true", help=_ACK)


def _add_ledger(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("url", metavar="URL", nargs="?", help="such as sqlite:///FILE (default: IMAGESDK_SHARED)")
    add("--status", choices=_STATES, metavar="STATUS", help=_STATUS)
    add("--limit", type=_count, metavar="N", help="only the N jobs that changed last, the latest first")
    add("--csv", action="store_true", help="print a table as CSV")
    add("--forget", type=_age, metavar="AGE", help=_FORGET)
    add("--yes", action="store_true", help="forget without asking")


def _add_cost(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("prompt", metavar="PROMPT", nargs="?", help="description of the image; - reads stdin")
    add("--edit", metavar="IMAGE", nargs="+", help="images to edit; only their number counts")
    add("--batch-api", action="store_true", help="with OpenAI's Batch API discount")
    add("--no-check", action="store_true", help="estimate even if the model rejects the parameters")
    add_options(parser, "cost")


def _add_models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", nargs="?", help="show all facts about one model, with their sources")
    add("--live", action="store_true", help="ask the server for its models, and when it ends them")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--allow-remote", action="store_true", help="accept other machines; not secure")
    add("--port", type=_port, default=8000, help="port to listen on; 0 picks a free one (default: 8000)")
    add("--limit", default="50/min", help="rate limit in images, or none (default: 50/min)")
    add("--seed", type=int, default=0, help="seed of the drawings (default: 0)")
    add("--as-of", metavar="DATE", help="emulate the API of that day, such as 2023-06-01")
    add("--require-key", action="store_true", help="respond with 401 to requests without a key")
    add("--seed-file", metavar="FILE", help="JSON or TOML with options, files and faults to start with")
    add("--data", metavar="FOLDER", help="keep files and result URLs in FOLDER when the emulator ends")
    tls = "serve https; write the certificate that clients have to trust to FILE (default: %(const)s)"
    add("--tls", nargs="?", const="imagesdk-ca.pem", metavar="FILE", help=tls)
    quirks = "emulate another server, such as localai or azure (see docs/servers.md)"
    add("--quirks", metavar="SERVER", help=quirks)
    delay = "time that a batch takes; from 24 hours on, it expires (default: %(default)g)"
    add("--batch-delay", type=_seconds, default=0.0, metavar="SECONDS", help=delay)
    add("--webhook", metavar="URL", help="send a signed webhook to URL when a batch ends")


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a whole number from 0 to 65535, not {text!r}")
    return port


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds of at least 0, not {text!r}")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number of at least 1, not {text!r}")
    return int(text)


def _age(text: str) -> float:
    spelled = re.fullmatch(r"(\d+)([smhdw])", text.strip())
    if spelled is None:
        raise argparse.ArgumentTypeError(f"an age is written like 30d, 12h or 2w, not {text!r}")
    return int(spelled[1]) * _SECONDS[spelled[2]]


def _add_demo(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-o", "--out", default="imagesdk-demo", metavar="DIR", help=_DEMO_OUT)
    add("--force", action="store_true", help="replace files in another folder, too")

"""Shared steps of the commands: the client of the global options, prompts and images from stdin, notes and JSON."""

from __future__ import annotations

import json
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import UsageError
from imagesdk.cli.remedies import error_text

if TYPE_CHECKING:
    from imagesdk import Client


def note_emulator(options: Namespace) -> None:
    """Print that images of the emulator are not those of a model."""
    if has_flag(options, "emulator"):
        note(options, "the emulator draws these images; no model generates them")


@contextmanager
def open_client(
    options: Namespace, *, sends: bool = True, **client_options: Any
) -> Generator[Client, None, None]:
    """Open the client of the global options. A command that sends no requests needs no key."""
    from imagesdk import Client
    from imagesdk._calls.client_options import shared_store
    from imagesdk.cli.waiting import WaitNotices

    if (url := getattr(options, "shared", None)) is not None:
        client_options["shared"] = shared_store(url, "--shared") or ""
    with ExitStack() as stack:
        if not has_flag(options, "quiet"):
            notices = WaitNotices(lambda text: note(options, f"imagesdk: {text}"))
            stack.callback(notices.close)
            client_options["observers"] = [notices]
        stack.enter_context(warnings.catch_warnings())
        warnings.showwarning = partial(_note_warning, options)
        if has_flag(options, "emulator"):
            from imagesdk.emulator import Emulator

            emulator = stack.enter_context(Emulator())
            yield stack.enter_context(Client(base_url=emulator.base_url, api_key="", **client_options))
        else:
            if not sends and not os.environ.get("OPENAI_API_KEY"):
                client_options |= {"api_key": "none", "allow_insecure": True}
            yield stack.enter_context(Client(base_url=getattr(options, "base_url", None), **client_options))


def _note_warning(options: Namespace, message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as a line of the program, without the place in the code."""
    note(options, f"imagesdk: {error_text(message, options) if isinstance(message, Warning) else message}")


def read_prompt(text: str) -> str:
    """Return a prompt. ``-`` reads stdin."""
    return sys.stdin.buffer.read().decode("utf-8").strip() if text == "-" else text


def read_source(name: str) -> str | bytes:
    """Return an input image. ``-`` reads stdin."""
    if name != "-":
        return name
    if data := sys.stdin.buffer.read():
        return data
    raise UsageError("there is no image on stdin")


def note(options: Namespace, text: str) -> None:
    """Print a text to stderr, unless ``--quiet`` is set."""
    if not has_flag(options, "quiet"):
        from imagesdk.errors import printable

        print("\n".join(map(printable, text.split("\n"))), file=sys.stderr)


def print_json(facts: object) -> None:
    """Print a JSON object on one line. Amounts, dates and paths become strings."""
    print(json.dumps(facts, default=str), flush=True)


def has_flag(options: Namespace, name: str) -> bool:
    """Whether a global option is set, before or after the command."""
    return bool(getattr(options, name, False))

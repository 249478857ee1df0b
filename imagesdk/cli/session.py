"""Shared steps of the image commands: the client, the request, and the output of paths, JSON and notes."""

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

from imagesdk.cli.exits import OK, UsageError
from imagesdk.cli.formats import extension_warning, with_named_format
from imagesdk.cli.remedies import error_text

if TYPE_CHECKING:
    from imagesdk import CallOptions, Client, ImagesResponse, Job


def make_images(options: Namespace, job: Job, doing: str) -> int:
    """Send ``job`` and print the paths of its images."""
    from imagesdk._media.output import expand_output_path, is_file

    to_stdout = options.out == "-"
    if to_stdout:
        _check_stdout(options)
    elif not (options.force or "{" in options.out) and is_file(expand_output_path("out", options.out)):
        raise UsageError(f"{options.out} already exists; --force replaces it")
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(f"--timeout must be greater than 0 seconds (got {options.timeout:g})")
    call: CallOptions = {"timeout": options.timeout, "check": False if options.no_check else None}
    if not to_stdout:
        call["out"] = options.out
    if has_flag(options, "emulator") and job.model is None:
        job = _with_default_model(job)
    with open_client(options) as client, _status(options, doing):
        response = client.images.send(with_named_format(job, options.out, client.base_url), **call)
        data = client.images.download(response[0]) if to_stdout else b""
    note_emulator(options)
    if to_stdout:
        sys.stdout.buffer.write(data)
    elif has_flag(options, "json"):
        print_json(_facts(response))
    else:
        for image in response:
            print(image.location)
    for image in response:
        if image.location is not None and (problem := extension_warning(image.location, image.media_type)):
            note(options, f"imagesdk: {problem}")
    return OK


def note_emulator(options: Namespace) -> None:
    """Print that images of the emulator are not those of a model."""
    if has_flag(options, "emulator"):
        note(options, "the emulator draws these images; no model generates them")


def _with_default_model(job: Job) -> Job:
    """Return the job with the model that the emulator uses, so that its rules are checked before anything is sent."""
    import attrs

    from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host

    return attrs.evolve(job, model=Host(OPENAI_BASE_URL).default_model(job))


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


def _check_stdout(options: Namespace) -> None:
    if (options.n or 1) > 1:
        raise UsageError("-o - writes one image; pass a folder for several")
    if has_flag(options, "json"):
        raise UsageError("-o - and --json cannot both use stdout")
    if sys.stdout.isatty():
        raise UsageError("an image would garble the terminal; pipe it, or pass a file with -o")


@contextmanager
def _status(options: Namespace, doing: str) -> Generator[None, None, None]:
    """Show a status on a terminal: a spinner with rich, otherwise a line."""
    if has_flag(options, "quiet") or not sys.stderr.isatty():
        yield
        return
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        print(f"{doing} ...", file=sys.stderr)
        yield
        return
    with Console(stderr=True).status(doing):
        yield


def _facts(response: ImagesResponse) -> dict[str, Any]:
    usage = response.usage
    image_facts = ("media_type", "width", "height", "url", "revised_prompt")
    usage_facts = ("input_tokens", "output_tokens", "total_tokens")
    return {
        "data": [
            {"path": image.location, **{name: getattr(image, name) for name in image_facts}}
            for image in response
        ],
        "created": None if response.created is None else int(response.created.timestamp()),
        "usage": None if usage is None else {name: getattr(usage, name) for name in usage_facts},
        "cost_usd": response.cost,
        "request_id": response.request_id,
    }

"""The common part of ``generate``, ``edit`` and ``vary``: one call, and the output of its images."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imagesdk.cli.exits import OK, UsageError
from imagesdk.cli.formats import extension_warning, with_named_format
from imagesdk.cli.preview import show
from imagesdk.cli.session import has_flag, note, note_emulator, open_client, print_json

if TYPE_CHECKING:
    from imagesdk import CallOptions, ImagesResponse, Job


def make_images(options: Namespace, job: Job, doing: str) -> int:
    """Send ``job`` and print the paths of its images."""
    from imagesdk._media.output import expand_output_path, is_file

    to_stdout = options.out == "-"
    if to_stdout and not options.dry_run:
        _check_stdout(options)
    elif not (options.dry_run or options.force or "{" in options.out) and is_file(
        expand_output_path("out", options.out)
    ):
        raise UsageError(f"{options.out} already exists; --force replaces it")
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(f"--timeout must be greater than 0 seconds (got {options.timeout:g})")
    call: CallOptions = {"timeout": options.timeout, "check": False if options.no_check else None}
    if not to_stdout and not options.dry_run:
        call["out"] = options.out
    if has_flag(options, "emulator") and job.model is None:
        job = _with_default_model(job)
    if options.dry_run:
        from imagesdk.cli.request_preview import print_request

        return print_request(options, job, call)
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
            if image.loaded:
                show(image.bytes, options.preview)
    for image in response:
        if image.location is not None and (problem := extension_warning(image.location, image.media_type)):
            note(options, f"imagesdk: {problem}")
    return OK


def _with_default_model(job: Job) -> Job:
    """Return the job with the model that the emulator uses, so that its rules are checked before anything is sent."""
    import attrs

    from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host

    return attrs.evolve(job, model=Host(OPENAI_BASE_URL).default_model(job))


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

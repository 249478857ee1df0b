"""Generated pages of the reference: the public names, the modules, and the help of every command."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import imagesdk
from imagesdk.cli import parser

_SECTIONS: Final = {
    "Clients": "Client AsyncClient ClientOptions",
    "Images": "Images AsyncImages CallOptions ImageStream AsyncImageStream",
    "Jobs": "Generate Edit Variation Svg SvgReasoning Labelled JobLike Source",
    "Results": "ImagesResponse Image PartialImage CompletedImage Usage SvgUsage RawResponse",
    "Runs": "Run AsyncRun Outcome Progress DryRun Notice",
    "Policies": "RateLimit RetryPolicy Timeouts Caps",
    "Prices": "estimate Estimate",
    "Preparation": "prepare_image make_mask",
    "Files, models, provenance": (
        "Files AsyncFiles FileId FileObject Upload Models AsyncModels ServedModel ModelProfile Provenance "
        "AsyncProvenance ProvenanceCheck ProvenanceSignal"
    ),
}
_MODULES: Final = ("events", "telemetry", "models", "emulator", "testing", "webhooks", "batches")


def api() -> str:
    """Return the page of the public names of the package."""
    sections = {title: names.split() for title, names in _SECTIONS.items()}
    listed = {name for names in sections.values() for name in names}
    others = [name for name in imagesdk.__all__ if name not in listed]
    sections["Batches"] = [name for name in others if "Batch" in name]
    others = [name for name in others if "Batch" not in name]
    sections["Errors"] = [name for name in others if name.endswith("Error")]
    sections["Further names"] = [name for name in others if not name.endswith("Error")]
    lines = ["# The API", "", "What `from imagesdk import ...` offers.", ""]
    for title, names in sections.items():
        present = [name for name in names if name in imagesdk.__all__]
        if present:
            lines += [f"## {title}", "", *(line for name in present for line in (f"::: imagesdk.{name}", ""))]
    return "\n".join(lines)


def api_as_text() -> str:
    """Return the signature and the docstring of every public name, and of the public members of classes."""
    lines = ["# The API", "", "Signatures and docstrings of all public names.", ""]
    for name in imagesdk.__all__:
        value = getattr(imagesdk, name)
        lines += [f"## imagesdk.{name}", "", *_described(name, value)]
        if not inspect.isclass(value) or issubclass(value, BaseException):
            continue
        for member, function in vars(value).items():
            public = not member.startswith("_") and (
                inspect.isroutine(function) or isinstance(function, property)
            )
            if public and inspect.getdoc(function):
                lines += [f"### {name}.{member}", "", *_described(member, getattr(value, member))]
    return "\n".join(lines)


def _described(name: str, value: object) -> list[str]:
    signature = ""
    if callable(value):
        with suppress(TypeError, ValueError):
            signature = str(inspect.signature(value)).replace("'", "")
    return [f"`{name}{signature}`", "", inspect.getdoc(value) or "", ""]


def modules() -> str:
    """Return the page of the public modules."""
    lines = ["# Modules", "", "Public modules beside the package itself.", ""]
    for name in _MODULES:
        try:
            importlib.import_module(f"imagesdk.{name}")
        except ModuleNotFoundError:
            continue
        lines += [
            f"## imagesdk.{name}",
            "",
            f"::: imagesdk.{name}",
            "    options:",
            "      show_root_heading: false",
            "",
        ]
    return "\n".join(lines)


def command_line() -> str:
    """Return the page with the help of every command."""
    return "\n".join(["# Every option", "", "What `--help` prints.", "", *_helps()])


def _helps() -> Iterator[str]:
    overview = parser.build()
    yield from ("## imagesdk", "", "```text", overview.format_help().rstrip(), "```", "")
    for name, command in overview.commands.items():
        yield from (f"## imagesdk {name}", "", "```text", command.format_help().rstrip(), "```", "")

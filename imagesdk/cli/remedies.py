"""Wording of remedies for the command line: ``--no-check`` instead of ``check=False``.

A remedy names an option only if the command has the option. Otherwise it has another wording or none. A remedy that is not
in the table has the wording of Python.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from imagesdk.remedies import Remedy


class _Wording(NamedTuple):
    words: str
    option: str | None = None
    """The option that the words name, by its name in the parser."""
    without: str = ""
    """The words for a command without the option; empty to omit the remedy."""


_NONE: Final = _Wording("")
IN_OPTIONS: Final = {
    "skip_check": _Wording("Add --no-check to send it anyway.", "no_check"),
    "choose_format": _Wording(
        "Add --output-format {value}.", "output_format", "Set the output format to {value}."
    ),
    "use_size": _Wording(
        "Use --size {value}, the nearest valid size.", "size", "Use the nearest valid size, {value}."
    ),
    "use_model": _Wording("Use --model {value}.", "model", "Use the model {value}."),
    "use_edit": _Wording("Use imagesdk edit IMAGE PROMPT."),
    "use_stream": _NONE,
    "stream_one_image": _NONE,
    "set_partial_images": _NONE,
    "pass_opaque_background": _Wording(
        "Leave --background out or give --background opaque; other models make transparent images.",
        "background",
        "Use an opaque background; other models make transparent images.",
    ),
    "convert_image": _Wording(
        "Convert it to a PNG with --square crop (or pad).", "square", "Convert it to an 8-bit RGB PNG."
    ),
    "prepare_square": _Wording(
        "Make it square with --square crop; --square pad keeps all of it.", "square", "Make it square."
    ),
    "prepare_small_square": _Wording(
        "Make a small square PNG with --square crop.",
        "square",
        "Make it a square PNG of less than {value} bytes.",
    ),
    "shrink_image": _Wording(
        "Make it a smaller square PNG with --square crop.", "square", "Make it smaller."
    ),
    "make_mask": _Wording("Make a mask that fits with --mask-box L,T,R,B.", "mask_box"),
    "pass_mask": _Wording(
        "Give --mask, a PNG that is transparent where the image is to change, or make the image itself transparent there.",
        "mask",
        "Give a mask, a PNG that is transparent where the image is to change, or make the image itself transparent there.",
    ),
    "pass_image": _Wording("Give the file itself, or a public URL."),
    "download_image": _Wording("Download it, and give the file."),
    "upload_image": _Wording("Upload it, and give the id of the file."),
    "pass_path": _Wording("Give the path itself, {value}."),
    "pass_source": _Wording("Give a path or a URL."),
    "decode_base64": _Wording("Give a file, or a data: URL."),
    "open_as_binary": _NONE,
    "rewind_file": _NONE,
    "name_another_file": _Wording("Name another file with --journal.", "journal", "Name another file."),
    "use_another_journal": _Wording(
        "Wait until it ends, or give this run another --journal and --out.", "journal", "Wait until it ends."
    ),
    "move_journal": _Wording(
        "Put the journal into a folder that can be written to, such as with --journal.",
        "journal",
        "Put the journal into a folder that can be written to.",
    ),
    "free_disk_space": _Wording("Free disk space and run the same command again to continue."),
    "use_later_version": _Wording("Use that version, or another --journal.", "journal", "Use that version."),
    "pass_out": _NONE,
    "restore_file": _Wording(
        "Put the file back, or add --retry-unknown to make it again.",
        "retry_unknown",
        "Put the file back, or run the batch with --retry-unknown to make it again.",
    ),
    "retry_unknown": _Wording(
        "Add --retry-unknown to send it again.",
        "retry_unknown",
        "Run the batch with --retry-unknown to send it again.",
    ),
    "raise_budget": _Wording(
        "Run again with a higher --budget to continue.",
        "budget",
        "Run the batch with a higher --budget to continue.",
    ),
    "allow_unknown_price": _Wording(
        "Add --unknown-price allow to send such jobs uncounted.",
        "unknown_price",
        "Run the batch with --unknown-price allow to send such jobs uncounted.",
    ),
    "raise_caps": _NONE,
    "change_idempotency_key": _Wording("Wait for the other request under the same key."),
    "pass_idempotency_key": _NONE,
    "ask_for_fewer": _Wording("Ask for fewer images at once (-n).", "n", "Ask for fewer images at once."),
    "set_rate_limit": _Wording(
        "Give the limit of your account as --limit.",
        "limit",
        "Set IMAGESDK_RATE_LIMIT to the limit of your account.",
    ),
    "parse_rate_limit": _NONE,
    "raise_timeout": _Wording("Give a longer --timeout.", "timeout"),
    "set_key": _Wording("Set OPENAI_API_KEY."),
    "set_azure_key": _Wording("Set AZURE_OPENAI_API_KEY."),
    "set_azure_endpoint": _Wording("Set AZURE_OPENAI_ENDPOINT, such as https://NAME.openai.azure.com."),
    "check_key": _Wording("Check the key in OPENAI_API_KEY."),
    "check_azure_key": _Wording(
        "Check the key in AZURE_OPENAI_API_KEY, and that the endpoint is that of its resource."
    ),
    "check_token_provider": _NONE,
    "check_base_url": _Wording(
        "Check --base-url (with its /v1) and the name of the model; some servers have no edits or variations."
    ),
    "check_connection": _Wording("Check the connection, --base-url and the proxy that HTTPS_PROXY names."),
    "correct_base_url": _Wording("Correct --base-url."),
    "use_base_url": _Wording("Try --base-url {value}."),
    "send_no_key": _Wording("Unset OPENAI_API_KEY to send none."),
    "use_key_option": _Wording("Set the key as OPENAI_API_KEY."),
    "use_client_options": _NONE,
    "raise_max_pixels": _NONE,
    "load_image": _Wording("Download it, or give --out.", "out", "Download it."),
    "install_heif": _Wording("Convert the image first."),
}
"""Remedies with a wording of their own."""


_ARGUMENTS: Final = frozenset({"prompt", "image", "path"})
"""Parameters that are arguments of a command, not options."""


def error_text(error: BaseException, options: Namespace) -> str:
    """Return the text of an error for a user of the command with these options."""
    facts = getattr(error, "facts", None) or getattr(error, "summary", None) or str(error)
    name = getattr(error, "param", None)
    if name and _has(options, name) and facts.startswith(f"{name} "):
        facts = f"{_flag(name)}{facts.removeprefix(name)}"
    remedies: tuple[Remedy, ...] = getattr(error, "remedies", ())
    return " ".join(filter(None, (facts, *(_remedy_text(remedy, options) for remedy in remedies))))


def _remedy_text(remedy: Remedy, options: Namespace) -> str:
    if remedy.kind == "leave_out":
        name = remedy.value or "it"
        return f"Leave {_flag(name) if _has(options, name) else name} out."
    wording = IN_OPTIONS.get(remedy.kind)
    if wording is None:
        return str(remedy)
    words = wording.words if wording.option is None or _has(options, wording.option) else wording.without
    return words.format(value=remedy.value)


def _has(options: Namespace, name: str) -> bool:
    return name == "base_url" or (name not in _ARGUMENTS and hasattr(options, name))


def _flag(name: str) -> str:
    return "-n" if name == "n" else f"--{name.replace('_', '-')}"

"""Wording of remedies for the command line: ``--no-check`` instead of ``check=False``.

A remedy names an option only if the command has the option. Otherwise it has another wording or none. A remedy that is not
in the table has the wording of Python.
"""

from __future__ import annotations

import re
from argparse import Namespace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from imagesdk.fan_out.outcomes import Notice
    from imagesdk.remedies import Remedy

_PYTHON_ONLY: Final = (
    "use_stream stream_one_image set_partial_images open_as_binary rewind_file pass_out raise_caps "
    "pass_idempotency_key parse_rate_limit check_token_provider use_client_options raise_max_pixels use_retry_policy "
    "use_timeouts use_extra_query use_azure_client use_http_client show_svg trust_result_host set_shared change_key"
)
IN_OPTIONS: Final = {
    **dict.fromkeys(_PYTHON_ONLY.split(), ""),
    "skip_check": "Add --no-check to send it anyway.",
    "choose_format": "Add --output-format {value}.",
    "use_size": "Use --size {value}, the nearest valid size.",
    "use_model": "Use --model {value}.",
    "use_edit": "Use imagesdk edit IMAGE PROMPT.",
    "pass_opaque_background": "Leave --background out or give --background opaque; other models make transparent images.",
    "convert_image": "Convert it to a PNG with --square crop (or pad).",
    "prepare_square": "Make it square with --square crop; --square pad keeps all of it.",
    "prepare_small_square": "Make a small square PNG with --square crop.",
    "shrink_image": "Make it a smaller square PNG with --square crop.",
    "make_mask": "Make a mask that fits with --mask-box L,T,R,B.",
    "pass_mask": "Give --mask, a PNG that is transparent where the image is to change, or make the image itself transparent there.",
    "pass_image": "Give the file itself, or a public URL.",
    "download_image": "Download it, and give the file.",
    "upload_image": "Upload it, and give the id of the file.",
    "pass_image_first": "Give the images first, and then the prompt: imagesdk edit IMAGE PROMPT.",
    "pass_path": "Give the path itself, {value}.",
    "pass_source": "Give a path or a URL.",
    "open_pipe": "Redirect it to stdin, and give - for the image.",
    "decode_base64": "Give a file, or a data: URL.",
    "name_another_file": "Name another file with --journal.",
    "use_another_journal": "Wait until it ends, or give this run another --journal and --out.",
    "move_journal": "Put the journal into a folder that can be written to, such as with --journal.",
    "free_disk_space": "Free disk space and run the same command again to continue.",
    "use_later_version": "Use that version, or another --journal.",
    "check_journal": "Restore the journal from a copy, or delete the damaged rows, which --check lists.",
    "put_journal_back": "Put the journal back before the next batch, which makes all jobs again without it.",
    "restore_file": "Put the file back, or add --retry-unknown to make it again.",
    "retry_unknown": "Add --retry-unknown to send it again.",
    "resume_run": "Run the same command again to continue.",
    "use_live_lane": "Use --lane live.",
    "use_batch_lane": "Run the same command with --lane batch or auto to fetch it.",
    "choose_lane": "Add --lane auto, or leave it out.",
    "use_azure_v1": "",
    "use_fan_out": "Use imagesdk batch FILE --lane batch, which makes as many batches as it needs.",
    "raise_deadline": "Give a later --deadline to make more of them.",
    "wait_for_batch": "Wait for its end with imagesdk batches wait {value}.",
    "check_batch": "Look at it with imagesdk batches show {value}.",
    "raise_give_up_after": "Give a longer --give-up-after to wait longer for the server.",
    "raise_max_failures": "Give a higher --max-failures to go on after more failures.",
    "set_quality": "Give --quality low, medium or high to reserve less.",
    "raise_budget": "Run again with a higher --budget to continue.",
    "allow_unknown_price": "Add --unknown-price allow to send such jobs uncounted.",
    "change_idempotency_key": "Wait for the other request under the same key.",
    "ask_for_fewer": "Ask for fewer images at once (-n).",
    "set_rate_limit": "Give the limit of your account as --limit.",
    "raise_limit_wait": "Run the same command again later.",
    "raise_timeout": "Give a longer --timeout.",
    "set_key": "Set OPENAI_API_KEY.",
    "set_azure_key": "Set AZURE_OPENAI_API_KEY.",
    "set_azure_endpoint": "Set AZURE_OPENAI_ENDPOINT, such as https://NAME.openai.azure.com.",
    "check_key": "Check the key in OPENAI_API_KEY.",
    "check_azure_key": "Check the key in AZURE_OPENAI_API_KEY, and that the endpoint is that of its resource.",
    "check_base_url": "Check --base-url (with its /v1) and the name of the model; some servers have no edits or variations.",
    "check_connection": "Check the connection, --base-url and the proxy that HTTPS_PROXY names.",
    "correct_base_url": "Correct --base-url.",
    "use_base_url": "Try --base-url {value}.",
    "send_no_key": "Unset OPENAI_API_KEY to send none.",
    "use_key_option": "Set the key as OPENAI_API_KEY.",
    "load_image": "Download it, or give --out.",
    "ask_for_base64": "Add --response-format b64_json to receive the image itself.",
    "fetch_task": "Use a model that answers with images.",
    "install_heif": "Convert the image first.",
    "pass_local_journal": "Give --journal run.db, a local file.",
    "download_to_url": "",
}
"""The wording for commands with the options that it names."""
WITHOUT_OPTIONS: Final = {
    "choose_format": "Set the output format to {value}.",
    "use_size": "Use the nearest valid size, {value}.",
    "use_model": "Use the model {value}.",
    "pass_opaque_background": "Use an opaque background; other models make transparent images.",
    "convert_image": "Convert it to an 8-bit RGB PNG.",
    "prepare_square": "Make it square.",
    "prepare_small_square": "Make it a square PNG of less than {value} bytes.",
    "shrink_image": "Make it smaller.",
    "pass_mask": "Give a mask, a PNG that is transparent where the image is to change, or make the image itself transparent there.",
    "name_another_file": "Name another file.",
    "use_another_journal": "Wait until it ends.",
    "move_journal": "Put the journal into a folder that can be written to.",
    "pass_local_journal": "Name a local journal.",
    "use_later_version": "Use that version.",
    "check_journal": "Restore the journal from a copy, or delete the damaged rows, which `imagesdk log --check` lists.",
    "restore_file": "Put the file back, or run the batch with --retry-unknown to make it again.",
    "retry_unknown": "Run the batch with --retry-unknown to send it again.",
    "raise_budget": "Run the batch with a higher --budget to continue.",
    "allow_unknown_price": "Run the batch with --unknown-price allow to send such jobs uncounted.",
    "ask_for_fewer": "Ask for fewer images at once.",
    "set_rate_limit": "Set IMAGESDK_RATE_LIMIT to the limit of your account.",
    "load_image": "Download it.",
}
"""The wording for other commands. A remedy that is not in the table is left out there."""

_OPTION: Final = re.compile(r"(?<!\S)\(?--?([a-z][a-z-]*)")
_ARGUMENTS: Final = frozenset({"prompt", "image", "path"})
"""Parameters that are arguments of a command, not options."""


def error_text(error: BaseException | Notice, options: Namespace) -> str:
    """Return the text of an error, or of a notice of a run, for a user of the command with these options: one printable line."""
    from imagesdk.errors import printable
    from imagesdk.remedies import joined

    facts = getattr(error, "facts", None) or getattr(error, "summary", None) or _system_text(error)
    name = getattr(error, "param", None)
    if name and _has(options, name) and facts.startswith((f"{name} ", f"{name}:")):
        facts = f"{_flag(name)}{facts.removeprefix(name)}"
    remedies: tuple[Remedy, ...] = getattr(error, "remedies", ())
    return printable(joined(facts, (_remedy_text(remedy, options) for remedy in remedies)))


def _system_text(error: object) -> str:
    """Return the text of an error of the system without its number: ``cats.txt: No such file or directory``."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _remedy_text(remedy: Remedy, options: Namespace) -> str:
    if remedy.kind == "leave_out":
        name = remedy.value or "it"
        return f"Leave {_flag(name) if _has(options, name) else name} out."
    if remedy.kind not in IN_OPTIONS:
        return str(remedy)
    words = IN_OPTIONS[remedy.kind]
    if not all(_has(options, name.replace("-", "_")) for name in _OPTION.findall(words)):
        words = WITHOUT_OPTIONS.get(remedy.kind, "")
    return words.format(value=remedy.value)


def _has(options: Namespace, name: str) -> bool:
    return name == "base_url" or (name not in _ARGUMENTS and hasattr(options, name))


def _flag(name: str) -> str:
    return "-n" if name == "n" else f"--{name.replace('_', '-')}"

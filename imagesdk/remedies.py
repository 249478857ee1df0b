"""Remedies: instructions that an error carries as data, apart from their wording.

============================  =====================================
reader                        wording
============================  =====================================
``str(error)``                Python, in this module
the command line              options, in ``imagesdk.cli.remedies``
============================  =====================================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from attrs import evolve, frozen

__all__ = ["Remedy"]


@frozen
class Remedy:
    """An instruction for the caller of a failed call.

    Example:
        ```python
        except InvalidRequestError as error:
            if Remedy.SKIP_CHECK in error.remedies:
                ...
        ```
    """

    kind: str
    """The name of the constant in lower case, such as ``"skip_check"``."""
    value: str | None = None
    """The value that the remedy names, such as the nearest valid size."""

    SKIP_CHECK: ClassVar[Remedy]
    LEAVE_OUT: ClassVar[Remedy]
    CHOOSE_FORMAT: ClassVar[Remedy]
    USE_SIZE: ClassVar[Remedy]
    USE_MODEL: ClassVar[Remedy]
    USE_ANOTHER_MODEL: ClassVar[Remedy]
    USE_EDIT: ClassVar[Remedy]
    USE_STREAM: ClassVar[Remedy]
    STREAM_ONE_IMAGE: ClassVar[Remedy]
    SET_PARTIAL_IMAGES: ClassVar[Remedy]
    PASS_OPAQUE_BACKGROUND: ClassVar[Remedy]
    CONVERT_IMAGE: ClassVar[Remedy]
    PREPARE_SQUARE: ClassVar[Remedy]
    PREPARE_SMALL_SQUARE: ClassVar[Remedy]
    SHRINK_IMAGE: ClassVar[Remedy]
    RENDER_SVG: ClassVar[Remedy]
    MAKE_MASK: ClassVar[Remedy]
    PASS_MASK: ClassVar[Remedy]
    DRAW_MARKUP: ClassVar[Remedy]
    PASS_IMAGE: ClassVar[Remedy]
    DOWNLOAD_IMAGE: ClassVar[Remedy]
    UPLOAD_IMAGE: ClassVar[Remedy]
    PASS_PATH: ClassVar[Remedy]
    PASS_SOURCE: ClassVar[Remedy]
    DECODE_BASE64: ClassVar[Remedy]
    OPEN_AS_BINARY: ClassVar[Remedy]
    READ_FILE: ClassVar[Remedy]
    REWIND_FILE: ClassVar[Remedy]
    PUT_IN_TEMPLATE: ClassVar[Remedy]
    NAME_ANOTHER_FILE: ClassVar[Remedy]
    USE_ANOTHER_JOURNAL: ClassVar[Remedy]
    MOVE_JOURNAL: ClassVar[Remedy]
    FREE_DISK_SPACE: ClassVar[Remedy]
    RECOVER_JOURNAL: ClassVar[Remedy]
    USE_LATER_VERSION: ClassVar[Remedy]
    PASS_OUT: ClassVar[Remedy]
    RENAME_JOB: ClassVar[Remedy]
    RESTORE_FILE: ClassVar[Remedy]
    RETRY_UNKNOWN: ClassVar[Remedy]
    RAISE_BUDGET: ClassVar[Remedy]
    ALLOW_UNKNOWN_PRICE: ClassVar[Remedy]
    RAISE_CAPS: ClassVar[Remedy]
    CHANGE_CONTENT: ClassVar[Remedy]
    CHANGE_REQUEST: ClassVar[Remedy]
    CHANGE_PARAMETER: ClassVar[Remedy]
    CHANGE_IDEMPOTENCY_KEY: ClassVar[Remedy]
    PASS_IDEMPOTENCY_KEY: ClassVar[Remedy]
    RETRY: ClassVar[Remedy]
    RETRY_LATER: ClassVar[Remedy]
    CHECK_BILLING: ClassVar[Remedy]
    ASK_FOR_FEWER: ClassVar[Remedy]
    ASK_FOR_HIGHER_LIMIT: ClassVar[Remedy]
    PARSE_RATE_LIMIT: ClassVar[Remedy]
    SET_RATE_LIMIT: ClassVar[Remedy]
    RAISE_TIMEOUT: ClassVar[Remedy]
    VERIFY_ORGANIZATION: ClassVar[Remedy]
    SET_KEY: ClassVar[Remedy]
    TRY_EMULATOR: ClassVar[Remedy]
    SET_AZURE_KEY: ClassVar[Remedy]
    CHECK_KEY: ClassVar[Remedy]
    CHECK_AZURE_KEY: ClassVar[Remedy]
    CHECK_TOKEN_PROVIDER: ClassVar[Remedy]
    CHECK_PERMISSIONS: ClassVar[Remedy]
    CHECK_MODEL: ClassVar[Remedy]
    CHECK_DEPLOYMENT: ClassVar[Remedy]
    CHECK_BASE_URL: ClassVar[Remedy]
    CHECK_CONNECTION: ClassVar[Remedy]
    CORRECT_BASE_URL: ClassVar[Remedy]
    USE_BASE_URL: ClassVar[Remedy]
    USE_HTTPS: ClassVar[Remedy]
    SEND_NO_KEY: ClassVar[Remedy]
    SET_NO_PROXY: ClassVar[Remedy]
    INSTALL_HEIF: ClassVar[Remedy]
    UPGRADE_PILLOW: ClassVar[Remedy]
    REINSTALL_PILLOW: ClassVar[Remedy]
    RAISE_MAX_PIXELS: ClassVar[Remedy]
    CLOSE_OTHER_PROGRAM: ClassVar[Remedy]
    LOAD_IMAGE: ClassVar[Remedy]
    SET_AZURE_ENDPOINT: ClassVar[Remedy]
    USE_KEY_OPTION: ClassVar[Remedy]
    USE_CLIENT_OPTIONS: ClassVar[Remedy]

    def of(self, value: object) -> Remedy:
        """Return this remedy with a value."""
        return evolve(self, value=str(value))

    def __str__(self) -> str:
        """Return the instruction for Python code; empty for a kind of another version."""
        words = _IN_PYTHON.get(self.kind, "")
        return words.format(value=self.value or "it")


_IN_PYTHON: Final = {
    "skip_check": "Pass check=False to send it anyway.",
    "leave_out": "Leave {value} out.",
    "choose_format": "Pass output_format={value!r}.",
    "use_size": "Pass size={value!r}, the nearest valid size.",
    "use_model": "Use model={value!r}.",
    "use_another_model": "Use another model.",
    "use_edit": "Use images.edit(image, prompt).",
    "use_stream": "Use images.{value}(..., partial_images=2) to receive partial images.",
    "stream_one_image": "Ask for one image per stream (n=1).",
    "set_partial_images": "Pass partial_images=1 to 3, or do not stream.",
    "pass_opaque_background": (
        'Leave background out or pass background="opaque"; other models make transparent images.'
    ),
    "convert_image": "Convert the image with imagesdk.prepare_image(...).",
    "prepare_square": (
        'Make it square with imagesdk.prepare_image(..., square="crop"); square="pad" keeps all of it.'
    ),
    "prepare_small_square": (
        'Make a small square PNG with imagesdk.prepare_image(..., square="crop", max_bytes={value}).'
    ),
    "shrink_image": "Make the image smaller with imagesdk.prepare_image(..., max_bytes={value}).",
    "render_svg": "Render the drawing as a PNG first.",
    "make_mask": "Make a mask that fits with imagesdk.make_mask(image, boxes=[...]).",
    "pass_mask": (
        "Pass mask=, a PNG that is transparent where the image is to change, or make the image itself "
        "transparent there."
    ),
    "draw_markup": "Draw the markup on a transparent PNG of the same width and height as the (first) image.",
    "pass_image": "Pass the image itself, or a public URL.",
    "download_image": "Fetch it with client.images.download(...), and pass the bytes.",
    "upload_image": "Upload it with client.files.upload(...), and pass what that returns.",
    "pass_path": "Pass the path itself, {value}.",
    "pass_source": "Pass a path, a URL, bytes or a file.",
    "decode_base64": "Pass base64.b64decode(...), or a data: URL.",
    "open_as_binary": 'Open it with "rb".',
    "read_file": "Read a file that must be awaited, and pass the bytes.",
    "rewind_file": "Call seek(0) first.",
    "put_in_template": "Name a folder, or put {value} into it.",
    "name_another_file": "Name another file with journal=.",
    "use_another_journal": "Wait until it ends, or give this run another journal= and out=.",
    "move_journal": "Put the journal into a folder that can be written to, such as with journal=.",
    "free_disk_space": "Free disk space and run the same list again to continue.",
    "recover_journal": (
        "Move the journal away, or try `sqlite3 {value} .recover`. A run without it makes all its jobs again."
    ),
    "use_later_version": "Use that version, or another journal=.",
    "pass_out": "Pass out=, a folder or a template, beside journal=.",
    "rename_job": "Give the changed job another id.",
    "restore_file": "Put the file back, or pass retry_unknown=True to make it again.",
    "retry_unknown": "Pass retry_unknown=True to send it again.",
    "raise_budget": "Run again with a higher budget= to continue.",
    "allow_unknown_price": 'Pass unknown_price="allow" to send such jobs uncounted.',
    "raise_caps": "Pass larger caps=Caps(...) to the client.",
    "change_content": (
        "Change the prompt or the image. A wrong refusal can be reported at https://help.openai.com with "
        "the request id."
    ),
    "change_request": "Change the request: the server would refuse it again.",
    "change_parameter": "Change the parameter that it names, or leave it out.",
    "change_idempotency_key": (
        "Wait for the other request under the same key, or pass another idempotency_key=."
    ),
    "pass_idempotency_key": "Pass idempotency_key= instead.",
    "retry": "Try again.",
    "retry_later": "Try again later.",
    "check_billing": "Check the plan and the billing limits of the account; waiting does not help.",
    "ask_for_fewer": "Ask for fewer images at once (n=).",
    "ask_for_higher_limit": "Ask for a higher limit in the limits page of the account's settings.",
    "parse_rate_limit": "Pass rate_limit={value}, or RateLimit.parse({value}).",
    "set_rate_limit": "Pass the limit of your account as rate_limit=.",
    "raise_timeout": "Pass a longer timeout=.",
    "verify_organization": (
        "Verify the organization at https://platform.openai.com/settings/organization/general; it can "
        "take up to 15 minutes until the model works."
    ),
    "set_key": "Set OPENAI_API_KEY or pass api_key=.",
    "try_emulator": (
        "Without a key, `imagesdk demo` and `imagesdk serve` show everything against an emulator."
    ),
    "set_azure_key": "Set AZURE_OPENAI_API_KEY, or pass api_key= or token_provider=.",
    "check_key": "Check the key in OPENAI_API_KEY or api_key=.",
    "check_azure_key": (
        "Check the key in AZURE_OPENAI_API_KEY or api_key=, and that the endpoint is that of its resource."
    ),
    "check_token_provider": "Check the credentials that token_provider signs in with.",
    "check_permissions": "Check the permissions of the key, its project and its organization.",
    "check_model": "Check the name of the model, and whether the account may use it.",
    "check_deployment": "Check the name of the deployment, which is the model on Azure, and the api-version.",
    "check_base_url": (
        "Check base_url (with its /v1) and the name of the model; some servers have no edits or variations."
    ),
    "check_connection": "Check the connection, base_url and the proxy that HTTPS_PROXY names.",
    "correct_base_url": "Correct base_url.",
    "use_base_url": "Try base_url={value!r}.",
    "use_https": "Use https.",
    "send_no_key": "Pass api_key='' to send none, or allow_insecure=True if the network is your own.",
    "set_no_proxy": "Set NO_PROXY to keep requests to this machine from a proxy.",
    "install_heif": (
        "Install pillow-heif and call pillow_heif.register_heif_opener(), or convert the image first."
    ),
    "upgrade_pillow": "Install Pillow 11.3 or later, or convert the image first.",
    "reinstall_pillow": "Install a Pillow that has the decoder, or convert the image first.",
    "raise_max_pixels": "Set PIL.Image.MAX_IMAGE_PIXELS higher if you trust the image.",
    "close_other_program": "Close the other program that uses it.",
    "load_image": (
        'Fetch it with client.images.download(image), or ask for the image itself with out="folder/" or '
        'response_format="b64_json".'
    ),
    "set_azure_endpoint": (
        "Set AZURE_OPENAI_ENDPOINT or pass endpoint=, such as https://NAME.openai.azure.com."
    ),
    "use_key_option": "Pass a key as api_key=, and a query as extra_query=.",
    "use_client_options": "Use api_key=, base_url= or idempotency_key= instead.",
}
KINDS: Final = frozenset(_IN_PYTHON)
"""The kinds of this version."""

for _kind in KINDS:
    setattr(Remedy, _kind.upper(), Remedy(_kind))


def worded(summary: str, remedies: Iterable[Remedy]) -> str:
    """Return a summary and its remedies as one text."""
    return " ".join(filter(None, (summary, *map(str, remedies))))


Remedy.__module__ = "imagesdk"

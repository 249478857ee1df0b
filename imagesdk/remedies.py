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
from typing import Final

from attrs import evolve, frozen

__all__ = ["Remedy"]

_IN_PYTHON: Final = dict[str, str]()
"""The instructions of this version, by kind."""


class _Words:
    """The instruction of a constant of :class:`Remedy`. As an attribute of the class it is the remedy."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __set_name__(self, owner: type[Remedy], name: str) -> None:
        self._kind = name.lower()
        _IN_PYTHON[self._kind] = self._words

    def __get__(self, instance: Remedy | None, owner: type[Remedy]) -> Remedy:
        return owner(self._kind)


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

    # fmt: off
    SKIP_CHECK = _Words("Pass check=False to send it anyway.")
    LEAVE_OUT = _Words("Leave {value} out.")
    CHOOSE_FORMAT = _Words("Pass output_format={value!r}.")
    USE_SIZE = _Words("Pass size={value!r}, the nearest valid size.")
    USE_MODEL = _Words("Use model={value!r}.")
    USE_ANOTHER_MODEL = _Words("Use another model.")
    USE_EDIT = _Words("Use images.edit(image, prompt).")
    USE_STREAM = _Words("Use images.{value}(..., partial_images=2) to receive partial images.")
    STREAM_ONE_IMAGE = _Words("Ask for one image per stream (n=1).")
    SET_PARTIAL_IMAGES = _Words("Pass partial_images=1 to 3, or do not stream.")
    PASS_OPAQUE_BACKGROUND = _Words('Leave background out or pass background="opaque"; other models make transparent images.')
    CONVERT_IMAGE = _Words("Convert the image with imagesdk.prepare_image(...).")
    PREPARE_SQUARE = _Words('Make it square with imagesdk.prepare_image(..., square="crop"); square="pad" keeps all of it.')
    PREPARE_SMALL_SQUARE = _Words('Make a small square PNG with imagesdk.prepare_image(..., square="crop", max_bytes={value}).')
    SHRINK_IMAGE = _Words("Make the image smaller with imagesdk.prepare_image(..., max_bytes={value}).")
    SHOW_SVG = _Words("Save it with save(), or show its data_url().")
    RENDER_SVG = _Words("Render the drawing as a PNG first.")
    MAKE_MASK = _Words("Make a mask that fits with imagesdk.make_mask(image, boxes=[...]).")
    PASS_MASK = _Words("Pass mask=, a PNG that is transparent where the image is to change, or make the image itself transparent there.")
    DRAW_MARKUP = _Words("Draw the markup on a transparent PNG of the same width and height as the (first) image.")
    PASS_IMAGE = _Words("Pass the image itself, or a public URL.")
    DOWNLOAD_IMAGE = _Words("Fetch it with client.images.download(...), and pass the bytes.")
    UPLOAD_IMAGE = _Words("Upload it with client.files.upload(...), and pass what that returns.")
    PASS_IMAGE_FIRST = _Words("Pass the image first, and then the prompt: edit(image, prompt).")
    PASS_PATH = _Words("Pass the path itself, {value}.")
    PASS_SOURCE = _Words("Pass a path, a URL, bytes or a file.")
    DECODE_BASE64 = _Words("Pass base64.b64decode(...), or a data: URL.")
    OPEN_AS_BINARY = _Words('Open it with "rb".')
    OPEN_PIPE = _Words('Open it with open(path, "rb"), and pass the file.')
    READ_FILE = _Words("Read a file that must be awaited, and pass the bytes.")
    REWIND_FILE = _Words("Call seek(0) first.")
    PUT_IN_TEMPLATE = _Words("Name a folder, or put {value} into it.")
    NAME_ANOTHER_FILE = _Words("Name another file with journal=.")
    USE_ANOTHER_JOURNAL = _Words("Wait until it ends, or give this run another journal= and out=.")
    MOVE_JOURNAL = _Words("Put the journal into a folder that can be written to, such as with journal=.")
    FREE_DISK_SPACE = _Words("Free disk space and run the same list again to continue.")
    RECOVER_JOURNAL = _Words("Move the journal away, or try `sqlite3 {value} .recover`. A run without it makes all its jobs again.")
    REMOVE_FILE = _Words("Remove {value}, or move it away.")
    PUT_JOURNAL_BACK = _Words("Put the journal back before the next run, which makes all jobs again without it.")
    DELETE_ROW = _Words("Restore the journal from a copy, or delete the row with `{value}`: the run then sends its job again.")
    CHECK_JOURNAL = _Words("Restore the journal from a copy, or delete the damaged rows, which the command `imagesdk log` finds.")
    USE_LATER_VERSION = _Words("Use that version, or another journal=.")
    PASS_OUT = _Words("Pass out=, a folder or a template, beside journal=.")
    SET_SHARED = _Words('Pass shared="sqlite:///FILE" or shared="redis://HOST/0" to the client, or set IMAGESDK_SHARED.')
    CHANGE_KEY = _Words("Give the other job a key= of its own.")
    CHECK_STORE = _Words("Check the URL of the store, and that it can be reached from here.")
    RENAME_JOB = _Words("Give the changed job another id.")
    RESTORE_FILE = _Words("Put the file back, or pass retry_unknown=True to make it again.")
    RETRY_UNKNOWN = _Words("Pass retry_unknown=True to send it again.")
    RESUME_RUN = _Words("Run the same jobs again to continue.")
    RAISE_GIVE_UP_AFTER = _Words("Pass a longer give_up_after= to wait longer for the server.")
    RAISE_MAX_FAILURES = _Words("Pass a higher max_failures= to go on after more failures.")
    SET_QUALITY = _Words('Pass quality="low", "medium" or "high" to reserve less.')
    RAISE_BUDGET = _Words("Run again with a higher budget= to continue.")
    ALLOW_UNKNOWN_PRICE = _Words('Pass unknown_price="allow" to send such jobs uncounted.')
    RAISE_CAPS = _Words("Pass larger caps=Caps(...) to the client.")
    CHANGE_CONTENT = _Words("Change the prompt or the image. A wrong refusal can be reported at https://help.openai.com with the request id.")
    CHANGE_REQUEST = _Words("Change the request: the server would refuse it again.")
    CHANGE_PARAMETER = _Words("Change the parameter that it names, or leave it out.")
    CHANGE_IDEMPOTENCY_KEY = _Words("Wait for the other request under the same key, or pass another idempotency_key=.")
    PASS_IDEMPOTENCY_KEY = _Words("Pass idempotency_key= instead.")
    FETCH_TASK = _Words("Fetch its result with client.request(...) as the documentation of the server says, or use a model that answers with images.")
    RETRY = _Words("Try again.")
    RETRY_LATER = _Words("Try again later.")
    CHECK_BILLING = _Words("Check the plan and the billing limits of the account; waiting does not help.")
    ASK_FOR_FEWER = _Words("Ask for fewer images at once (n=).")
    ASK_FOR_HIGHER_LIMIT = _Words("Ask for a higher limit in the limits page of the account's settings.")
    PARSE_RATE_LIMIT = _Words("Pass rate_limit={value}, or RateLimit.parse({value}).")
    SET_RATE_LIMIT = _Words("Pass the limit of your account as rate_limit=.")
    CHECK_QUOTA = _Words("Check the quota and the billing of the account, and the proxies on the way to the server.")
    RAISE_LIMIT_WAIT = _Words("Pass retry=RetryPolicy(max_limit_wait=...) to wait longer, or None to wait without end.")
    RAISE_TIMEOUT = _Words("Pass a longer timeout=.")
    VERIFY_ORGANIZATION = _Words("Verify the organization at https://platform.openai.com/settings/organization/general; it can take up to 15 minutes until the model works.")
    SET_KEY = _Words("Set OPENAI_API_KEY or pass api_key=.")
    TRY_EMULATOR = _Words("Without a key, `imagesdk demo` and `imagesdk serve` show everything against an emulator.")
    SET_AZURE_KEY = _Words("Set AZURE_OPENAI_API_KEY, or pass api_key= or token_provider=.")
    CHECK_KEY = _Words("Check the key in OPENAI_API_KEY or api_key=.")
    CHECK_AZURE_KEY = _Words("Check the key in AZURE_OPENAI_API_KEY or api_key=, and that the endpoint is that of its resource.")
    CHECK_TOKEN_PROVIDER = _Words("Check the credentials that token_provider signs in with.")
    CHECK_PERMISSIONS = _Words("Check the permissions of the key, its project and its organization.")
    CHECK_MODEL = _Words("Check the name of the model, and whether the account may use it.")
    CHECK_DEPLOYMENT = _Words("Check the name of the deployment, which is the model on Azure, and the api-version.")
    CHECK_BASE_URL = _Words("Check base_url (with its /v1) and the name of the model; some servers have no edits or variations.")
    CHECK_CONNECTION = _Words("Check the connection, base_url and the proxy that HTTPS_PROXY names.")
    CORRECT_BASE_URL = _Words("Correct base_url.")
    USE_BASE_URL = _Words("Try base_url={value!r}.")
    USE_HTTPS = _Words("Use https.")
    SEND_NO_KEY = _Words("Pass api_key='' to send none, or allow_insecure=True if the network is your own.")
    SET_NO_PROXY = _Words("Set NO_PROXY to keep requests to this machine from a proxy.")
    INSTALL_HEIF = _Words("Install pillow-heif and call pillow_heif.register_heif_opener(), or convert the image first.")
    INSTALL_EXTRA = _Words("Install the extra `{value}` of imagesdk.")
    INSTALL_FILE_SYSTEM = _Words("Install that package, which the extra `fsspec` does not include.")
    PASS_LOCAL_JOURNAL = _Words('Pass journal="run.db", a local file, or journal=None to record nothing.')
    DOWNLOAD_TO_URL = _Words("Write to a URL with out=, or with client.images.download(image, to=...).")
    UPGRADE_PILLOW = _Words("Install Pillow 11.3 or later, or convert the image first.")
    REINSTALL_PILLOW = _Words("Install a Pillow that has the decoder, or convert the image first.")
    RAISE_MAX_PIXELS = _Words("Set PIL.Image.MAX_IMAGE_PIXELS higher if you trust the image.")
    CLOSE_OTHER_PROGRAM = _Words("Close the other program that uses it.")
    ASK_FOR_BASE64 = _Words('Pass response_format="b64_json" to receive the image itself.')
    TRUST_RESULT_HOST = _Words("Pass trusted_result_hosts=[{value!r}] to the client if that host is yours.")
    LOAD_IMAGE = _Words('Fetch it with client.images.download(image), or ask for the image itself with out="folder/" or response_format="b64_json".')
    SET_AZURE_ENDPOINT = _Words("Set AZURE_OPENAI_ENDPOINT or pass endpoint=, such as https://NAME.openai.azure.com.")
    USE_KEY_OPTION = _Words("Pass a key as api_key=, and a query as extra_query=.")
    USE_RETRY_POLICY = _Words("Use retry=RetryPolicy(max_attempts=3) for the max_retries=2 of openai.")
    USE_TIMEOUTS = _Words("Use {value} in place of httpx.Timeout.")
    USE_EXTRA_QUERY = _Words("Pass extra_query= to a call.")
    USE_AZURE_CLIENT = _Words("Use {value}.")
    USE_HTTP_CLIENT = _Words("Pass http_client=httpx.AsyncClient({value}=...).")
    USE_LIVE_LANE = _Words('Pass lane="live", or send such jobs one by one.')
    USE_BATCH_LANE = _Words('Run the same jobs with lane="batch" or "auto" to fetch it.')
    CHOOSE_LANE = _Words('Pass lane="auto" as well, or leave it out.')
    USE_AZURE_V1 = _Words("Leave api_version out to use the v1 API.")
    USE_FAN_OUT = _Words('Use images.fan_out(..., lane="batch"), which makes as many batches as it needs.')
    RAISE_DEADLINE = _Words("Pass a later deadline= to make more of them.")
    WAIT_FOR_BATCH = _Words("Wait for its end with client.batches.wait({value!r}).")
    CHECK_BATCH = _Words("Look at it with client.batches.retrieve({value!r}).")
    USE_CLIENT_OPTIONS = _Words("Use api_key=, base_url= or idempotency_key= instead.")
    PASS_WEBHOOK_SECRET = _Words("Pass the signing secret of this webhook endpoint (whsec_...).")
    PASS_WEBHOOK_HEADERS = _Words("Pass all headers of the request.")
    PASS_RAW_BODY = _Words("Pass the body as it arrived, before a framework parses it.")
    CHECK_SYSTEM_CLOCK = _Words("Respond with status 400; if it was sent just now, correct the clock of this machine.")
    # fmt: on

    def of(self, value: object) -> Remedy:
        """Return this remedy with a value."""
        return evolve(self, value=str(value))

    def __str__(self) -> str:
        """Return the instruction for Python code; empty for a kind of another version."""
        return _IN_PYTHON.get(self.kind, "").format(value=self.value or "it")


KINDS: Final = frozenset(_IN_PYTHON)
"""The kinds of this version."""


def worded(summary: str, remedies: Iterable[Remedy]) -> str:
    """Return a summary and its remedies as one text."""
    return joined(summary, map(str, remedies))


def joined(summary: str, instructions: Iterable[str]) -> str:
    """Return a summary and instructions as one text. A summary of the system has no full stop of its own."""
    advice = " ".join(filter(None, instructions))
    stop = "" if not advice or summary.endswith((".", "!", "?")) else "."
    return f"{summary}{stop} {advice}".strip()


Remedy.__module__ = "imagesdk"

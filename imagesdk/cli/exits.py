"""Exit codes, and the printing of errors to stderr.

====  =======================================================================
code  meaning
====  =======================================================================
0     done
1     the server failed, rejected the request or could not be reached, or a file could not be used
2     wrong usage: an unknown option, an invalid parameter, no key
3     some jobs of a batch are not done, for other reasons than 4, 5 or 6, or for several
4     the key is wrong or lacks a permission
5     refused by the content filter
6     the rate limit or the quota is used up
129   SIGHUP
130   Ctrl-C
141   the reader of stdout closed the pipe
143   SIGTERM
====  =======================================================================
"""

from __future__ import annotations

import errno
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Collection
from typing import TextIO

from imagesdk.cli.remedies import error_text

OK = 0
FAILED = 1
USAGE = 2
PARTIAL = 3
AUTHENTICATION = 4
MODERATION = 5
LIMIT = 6
INTERRUPTED = 130
BROKEN_PIPE = 141
_READER_GONE = frozenset({errno.EPIPE, errno.EIO})
"""Errors of a pipe that was closed, and of a terminal that hung up."""


class UsageError(Exception):
    """A command line that cannot be executed."""

    def __init__(self, message: str, *, usage: str = "") -> None:
        super().__init__(message)
        self.usage = usage
        """The usage line of the command, if the syntax is wrong."""


def run_guarded(parse: Callable[[], Namespace], command: Callable[[Namespace], int], *, as_json: bool) -> int:
    """Run ``command`` with the options of ``parse``. Convert exceptions to a message and an exit code."""
    options = Namespace()
    try:
        options = parse()
        code = command(options)
        sys.stdout.flush()
        return code
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else USAGE
    except KeyboardInterrupt:
        print("imagesdk: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output(sys.stdout)
        return BROKEN_PIPE
    except Exception as error:
        if not (
            isinstance(error, (OSError, ModuleNotFoundError)) or type(error).__module__.startswith("imagesdk")
        ):
            raise
        return _report_error(error, options, as_json=as_json)


def try_print(stream: TextIO, write: Callable[[], None]) -> bool:
    """Call ``write``, and return whether the reader of the stream is there. If not, discard all further output."""
    try:
        write()
    except OSError as error:
        if error.errno not in _READER_GONE:
            raise
        _discard_output(stream)
        return False
    return True


def _discard_output(stream: TextIO) -> None:
    # Without this the interpreter would fail at exit, when it flushes the buffer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def exit_code_of(error: Exception) -> int:
    """Return the exit code for the error of a command."""
    from imagesdk import errors

    if isinstance(error, errors.RunStoppedError):
        last = error.last_error
        return PARTIAL if error.reason == "max_failures" or last is None else exit_code_of(last)
    codes = {
        USAGE: (UsageError, ModuleNotFoundError, errors.InvalidRequestError, errors.ConfigurationError),
        AUTHENTICATION: (errors.AuthenticationError, errors.PermissionDeniedError),
        MODERATION: (errors.ModerationError,),
        LIMIT: (errors.RateLimitError, errors.LimitWaitError),
    }
    return next((code for code, kinds in codes.items() if isinstance(error, kinds)), FAILED)


def batch_exit_code(codes: Collection[int]) -> int:
    """Return the exit code of a batch for the different codes of the jobs that are not done."""
    code = next(iter(codes), OK) if len(codes) < 2 else PARTIAL
    return code if code in {OK, AUTHENTICATION, MODERATION, LIMIT} else PARTIAL


def _report_error(error: Exception, options: Namespace, *, as_json: bool) -> int:
    code, message = exit_code_of(error), error_text(error, options)
    facts = {"type": type(error).__name__, "message": message, "exit_code": code}
    for name in ("status_code", "code", "param", "request_id", "attempts", "maybe_billed", "idempotency_key"):
        if (value := getattr(error, name, None)) is not None:
            facts[name] = value
    if as_json:
        print(json.dumps({"error": facts}), file=sys.stderr)
        return code
    print(f"{getattr(error, 'usage', '')}imagesdk: {message}", file=sys.stderr)
    if request_id := facts.get("request_id"):
        from imagesdk.errors import printable

        print(printable(f"imagesdk: the server's request id is {request_id}"), file=sys.stderr)
    return code

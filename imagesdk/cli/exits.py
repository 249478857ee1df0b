"""Exit codes: the one place where an outcome becomes a number, and an error a line on stderr.

====  =======================================================================
code  meaning
====  =======================================================================
0     done
1     the server failed, refused or could not be reached; or a file could not be used
2     wrong usage: an unknown option, a parameter the model rules out, no key
3     some jobs of a batch are not done
4     the key is wrong or may not do that
5     refused by the content filter
6     the rate limit or the quota is used up
130   Ctrl-C
141   the reader of stdout went away
====  =======================================================================
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable
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


class UsageError(Exception):
    """The command line asks for something that cannot be done as it stands."""

    def __init__(self, message: str, *, usage: str = "") -> None:
        super().__init__(message)
        self.usage = usage
        """How the command is written, where that is what went wrong."""


def run_guarded(parse: Callable[[], Namespace], command: Callable[[Namespace], int], *, as_json: bool) -> int:
    """Run ``command`` with what ``parse`` returns, and turn whatever is raised into a message and an exit code."""
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
    except (UsageError, ModuleNotFoundError) as error:
        return _report_error(error, USAGE, options, as_json=as_json)
    except OSError as error:
        return _report_error(error, FAILED, options, as_json=as_json)
    except Exception as error:
        if not type(error).__module__.startswith("imagesdk"):
            raise
        return _report_error(error, code_of(error), options, as_json=as_json)


def try_print(stream: TextIO, write: Callable[[], None]) -> bool:
    """Call what prints to a stream, and return whether it is read; if not, what follows is sent nowhere."""
    try:
        write()
    except BrokenPipeError:
        _discard_output(stream)
        return False
    return True


def _discard_output(stream: TextIO) -> None:
    # What is still buffered can go nowhere; without this the interpreter complains at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def code_of(error: Exception) -> int:
    """Return the exit code for an error of the package."""
    from imagesdk import errors

    if isinstance(error, (errors.InvalidRequestError, errors.ConfigurationError)):
        return USAGE
    if isinstance(error, (errors.AuthenticationError, errors.PermissionDeniedError)):
        return AUTHENTICATION
    if isinstance(error, errors.ModerationError):
        return MODERATION
    if isinstance(error, (errors.RateLimitError, errors.LimitWaitError)):
        return LIMIT
    return FAILED


def _report_error(error: Exception, code: int, options: Namespace, *, as_json: bool) -> int:
    message = error_text(error, options)
    facts = {"type": type(error).__name__, "message": message, "exit_code": code}
    for name in ("status_code", "code", "param", "request_id", "attempts", "maybe_billed", "idempotency_key"):
        if (value := getattr(error, name, None)) is not None:
            facts[name] = value
    if as_json:
        print(json.dumps({"error": facts}), file=sys.stderr)
        return code
    print(f"{getattr(error, 'usage', '')}imagesdk: {message}", file=sys.stderr)
    if request_id := facts.get("request_id"):
        print(f"imagesdk: the server's request id is {request_id}", file=sys.stderr)
    return code

"""Faults by name or status, with the words of :class:`~imagesdk.emulator.faults.Fault`, and their text form.

The text form is for programs in other languages: ``503``, ``429,retry_after=1`` or ``cut,after_events=2,times=2``. The
header ``X-Emulator-Fault`` has it, and so has a word in the prompt: ``a cat emulator:503``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypedDict, Unpack, cast, get_args

from attrs import evolve, fields, frozen

from imagesdk.emulator.faults import Fault, FaultTarget
from imagesdk.emulator.known_errors import KNOWN_ERRORS

__all__ = [
    "NAMED_FAULTS",
    "FaultWords",
    "RequestedFault",
    "fault_in_prompt",
    "make_fault",
    "parse_fault",
    "read_fault",
]

NAMED_FAULTS: Mapping[str, Fault] = {
    "reset": Fault(drop=True),
    "reset_after_work": Fault(drop=True, after_work=True),
    "truncated": Fault(truncate=1000),
    "cut": Fault(drop=True, after_events=1),
    "end_early": Fault(end_early=True, after_events=1),
    "stream_error": Fault(stream_error="nested", error="server_error", after_events=1),
    "slow": Fault(delay=2),
    "hang": Fault(delay=3600),
    "garbage": Fault(garbage=True),
    "plain": Fault(plain=True),
}
"""Faults by name. The words of a call change them."""
_IN_PROMPT = re.compile(r"(?<!\S)emulator:(\S+)")
_COUNTED = ("times", "after_events", "truncate", "max_partials")


class FaultWords(TypedDict, total=False):
    """Details of a fault. The fields of :class:`~imagesdk.emulator.faults.Fault` have the same names."""

    retry_after: float
    """Seconds, for the header ``Retry-After``."""
    drop: bool
    after_work: bool
    delay: float
    after_events: int
    truncate: int
    end_early: bool
    garbage: bool
    plain: bool
    max_partials: int
    error: str
    headers: Mapping[str, str]
    body: object


@frozen
class RequestedFault:
    """Fault with the requests that it applies to."""

    fault: Fault
    times: int = 1
    on: FaultTarget = "images"


def make_fault(what: int | str | None = None, **words: Unpack[FaultWords]) -> Fault:
    """Return a fault.

    Args:
        what: HTTP status, the name of an error or of a fault, or ``None`` if the words say everything.
        words: Details, with the names of :class:`FaultWords`.

    Raises:
        ValueError: If the fault would have no effect, or a name is not known.
    """
    name = "" if what is None else str(what)
    if name.isdecimal():
        if int(name) not in range(200, 600):
            raise ValueError(f"a status is a number from 200 to 599, not {name}")
        fault = Fault(status=int(name), name=f"status {name}")
    elif name in KNOWN_ERRORS:
        fault = Fault(status=KNOWN_ERRORS[name]().status, error=name, name=name)
    elif name in NAMED_FAULTS:
        fault = evolve(NAMED_FAULTS[name], name=name)
    elif name:
        known = ", ".join([*NAMED_FAULTS, *KNOWN_ERRORS])
        raise ValueError(f"a fault is a status or one of {known}, not {name!r}")
    else:
        fault = Fault(name=", ".join(words))
    changes = dict(words)
    error = changes.get("error")
    if error is not None:
        if error not in KNOWN_ERRORS:
            raise ValueError(f"error is one of {', '.join(KNOWN_ERRORS)}, not {error!r}")
        if fault.stream_error is None:
            changes.setdefault("status", fault.status or KNOWN_ERRORS[str(error)]().status)
    retry_after = changes.pop("retry_after", None)
    if retry_after is not None:
        given = cast("Mapping[str, str]", changes.get("headers") or {})
        changes["headers"] = {**given, "retry-after": f"{retry_after:g}"}
        changes.setdefault("status", fault.status or HTTPStatus.TOO_MANY_REQUESTS.value)
    unknown = set(changes) - {field.name for field in fields(Fault)}
    if unknown:
        raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
    fault = evolve(fault, **changes)  # type: ignore[arg-type]  # the names were checked
    if evolve(fault, name="", after_work=False, after_events=None) == Fault():
        raise ValueError("a fault needs a status, a name or a word such as drop=True")
    return fault


def read_fault(given: Mapping[str, object]) -> RequestedFault:
    """Read a fault from a JSON object: ``{"fault": 429, "retry_after": 1, "times": 2, "on": "images"}``.

    Raises:
        ValueError: If a value is not of its type, or a name is not known.
    """
    words = dict(given)
    what, times, on = words.pop("fault", None), words.pop("times", 1), words.pop("on", "images")
    if what is not None and (isinstance(what, bool) or not isinstance(what, int | str)):
        raise ValueError(f"fault is a status or a name, not {what!r}")
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ValueError(f"times is a number of requests, not {times!r}")
    if on not in get_args(FaultTarget):
        raise ValueError(f"on is one of {', '.join(get_args(FaultTarget))}, not {on!r}")
    for name, value in words.items():
        kind = _KINDS.get(name)
        if kind is None:
            raise ValueError(f"a fault has no {name!r}: it has {', '.join(_KINDS)}")
        if not isinstance(value, kind) or (
            isinstance(value, bool) and kind is not bool and kind is not object
        ):
            raise ValueError(f"{name} has a value of the wrong type: {value!r}")
    fault = make_fault(what, **cast("FaultWords", words))
    return RequestedFault(fault, times, cast("FaultTarget", on))


def parse_fault(text: str) -> RequestedFault:
    """Parse the text form of a fault.

    Raises:
        ValueError: If the text is not a fault.
    """
    words = [word.strip() for word in text.split(",")]
    given: dict[str, object] = {} if "=" in words[0] else {"fault": words.pop(0)}
    for word in words:
        name, _, value = word.partition("=")
        given[name] = _read_value(name, value)
    return read_fault(given)


def fault_in_prompt(prompt: str) -> str | None:
    """Return the text form of a fault that a prompt contains."""
    found = _IN_PROMPT.search(prompt)
    return None if found is None else found[1].rstrip(".!?)")


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "retry_after": (int, float),
    "drop": bool,
    "after_work": bool,
    "delay": (int, float),
    "after_events": int,
    "truncate": int,
    "end_early": bool,
    "garbage": bool,
    "plain": bool,
    "max_partials": int,
    "error": str,
    "headers": dict,
    "body": object,
}


def _read_value(name: str, value: str) -> object:
    if value.lower() in {"", "true", "1"} and _KINDS.get(name) is bool:
        return True
    if name in _COUNTED and value.isdecimal():
        return int(value)
    if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
        return float(value)
    return value

"""Rows of a journal as job records. A damaged row is an error that names the row, never an untyped one.

A row is damaged if a value has another type or form than the journal writes. Every value that a run uses later is checked
here, so that the code behind it needs no checks.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_args

from imagesdk.errors import JournalError, preview
from imagesdk.fan_out.fingerprint import name_of
from imagesdk.fan_out.serialization import error_of, files_of, response_of
from imagesdk.fan_out.store import JobRecord, State
from imagesdk.remedies import Remedy

COLUMNS: Final = (
    "key, content, occurrence, label, idempotency_key, state, answer, error, cost, params, kind, images, model, "
    "sent_at, acknowledged, batch"
)
"""Columns of a record, in the order of :func:`record_of`."""
DAMAGE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading a damaged value raises."""
_STATES: Final = frozenset(get_args(State))
_MOST_DOLLARS: Final = 10**9
_IS_KEY: Final = re.compile(r"[0-9a-f]+-\d+")
_IMAGE_TEXTS: Final = ("url", "media_type", "revised_prompt")


def record_of(row: tuple[Any, ...], path: Path) -> JobRecord:
    """Return the record of a row of the journal at ``path``.

    Raises:
        JournalError: If the row is damaged.
    """
    try:
        return _checked(row, path.parent)
    except DAMAGE as problem:
        raise damaged(path, row[0], problem) from problem


def damaged(path: Path, key: object, problem: Exception) -> JournalError:
    """Return the error of a damaged row."""
    summary = f"The row {key!r} of the journal {path} is damaged: {_text(problem)}."
    if not (isinstance(key, str) and _IS_KEY.fullmatch(key)):
        return JournalError(summary, remedies=(Remedy.RECOVER_JOURNAL.of(path),))
    delete = f"\"DELETE FROM jobs WHERE key = '{key}'\""  # noqa: S608 - text of an error
    return JournalError(
        summary, remedies=(Remedy.DELETE_ROW.of(f"sqlite3 {shlex.quote(str(path))} {delete}"),)
    )


def dollars(path: Path, key: object, amounts: tuple[object, ...]) -> Decimal:
    """Return the sum of the amounts of a row.

    Raises:
        JournalError: If an amount is damaged.
    """
    try:
        return sum((_amount(amount) for amount in amounts if amount is not None), start=Decimal(0))
    except DAMAGE as problem:
        raise damaged(path, key, problem) from problem


def _checked(row: tuple[Any, ...], folder: Path) -> JobRecord:
    key, content, occurrence, label, idempotency_key, state, answer, error, cost, params, *call = row
    kind, images, model, sent_at, acknowledged, batch = call
    texts = {
        "key": key,
        "content": content,
        "idempotency_key": idempotency_key,
        "params": params,
        "kind": kind,
    }
    for name, value in {**texts, "label": label or "", "model": model or "", "batch": batch or ""}.items():
        _require(name, value, str)
        value.encode()
    _require("images", images, int)
    if key != f"{content}-{occurrence}":
        raise ValueError("its key is not that of its content")
    if state not in _STATES:
        raise ValueError(f"its state is {preview(state)}")
    if sent_at is not None:
        _require("sent_at", sent_at, float, int)
    if cost is not None:
        _amount(cost)
    response = None if answer is None else _object("answer", answer)
    failure = None if error is None else _object("error", error)
    if response is None and state in {"received", "done"}:
        raise ValueError("it has no answer")
    if failure is None and state == "refused":
        raise ValueError("it has no error")
    if response is not None:
        check_answer(response, folder)
    if failure is not None:
        str(error_of(failure))
    name = label or name_of(content, occurrence)
    stored = (key, name, idempotency_key, state, response, failure, cost, _object("params", params))
    return JobRecord(*stored, kind, images, model, sent_at, bool(acknowledged), batch)


def check_answer(answer: Mapping[str, Any], folder: Path) -> None:
    """Raise one of :data:`DAMAGE` if a value of a stored response is damaged."""
    for image in answer["images"]:
        _require("index", image["index"], int)
        for name in _IMAGE_TEXTS:
            _require(name, image.get(name, ""), str)
    for file in files_of(answer, folder):
        _require("sha256", file.sha256, str)
        if "\0" in f"{file.path}{file.temporary}":
            raise ValueError("a path holds a NUL")
        f"{file.path}{file.temporary}".encode()
    response_of(answer, folder)


def _object(name: str, text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise TypeError(f"its {name} is {preview(text)}")
    found: dict[str, Any] = json.loads(text)
    _require(name, found, dict)
    return found


def _amount(text: object) -> Decimal:
    try:
        amount = Decimal(text) if isinstance(text, str) else Decimal("NaN")
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _MOST_DOLLARS:
        raise ValueError(f"{preview(text)} is no amount of dollars")
    return amount


def _require(name: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"its {name} is {preview(value)}")


def _text(problem: Exception) -> str:
    if isinstance(problem, KeyError):
        return f"{problem} is missing"
    return (str(problem) or type(problem).__name__).rstrip(".").encode("utf-8", "replace").decode()

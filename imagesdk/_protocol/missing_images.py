"""Reasons for a success response without an image, in the fields of many servers.

===========================================================  =======================
field                                                        result
===========================================================  =======================
``error``, ``message``, ``finish_reason`` and similar texts  a reason
a text or flag of a content filter                           a reason for moderation
``task_id``, or a ``status`` such as ``queued``              an unfinished task
===========================================================  =======================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from imagesdk._protocol.json_values import is_list, is_object
from imagesdk._protocol.scanner import ImageRef, ScanError
from imagesdk.errors import excerpt

_MAX_REASON = 300  # in characters
_MAX_REASONS = 3
_MAX_TEXT = 2000  # of a field, in characters
_BLOCKED = frozenset({"blockreason", "blockedreason", "filterreason", "moderationreason", "raifilteredreason",
                      "raimediafilteredreasons", "refusal"})  # fmt: skip
_TEXTS = frozenset({"content", "detail", "error", "errormessage", "errors", "failurereason", "finishreason", "message",
                    "msg", "reason", "stopreason", "text"})  # fmt: skip
# Codes: these are reasons only if they name a content filter.
_CODES = frozenset({"code", "state", "status", "taskstatus", "type"})
_FLAGS = frozenset({"blocked", "filtered", "flagged", "hasnsfwconcepts", "isnsfw", "moderated", "nsfw",
                    "nsfwcontentdetected"})  # fmt: skip
# Fields that repeat the request or describe an image, or that are no answer.
_NO_REASONS = frozenset(
    {"input", "meta", "metadata", "parameters", "prompt", "request", "revisedprompt", "usage"}
)
_FINE = frozenset({"completed", "done", "end_turn", "finish_reason_unspecified", "finished", "ok", "stop", "succeed",
                   "succeeded", "success"})  # fmt: skip
_MODERATED = (
    r"safety|unsafe|moderat|nsfw|prohibited|blocklist|sensitive|inappropriate|flagged|data.?inspection|"
    r"content.?(filter|polic|violat)|policy.?violation|violat\w*\W+(\w+\W+){0,4}(polic|guideline|term)"
)
_TASK_IDS = ("task_id", "taskId")
_PENDING = frozenset({"accepted", "in_progress", "in_queue", "notrunning", "pending", "processing", "queued", "running",
                      "starting", "submitted"})  # fmt: skip
_FAILED = frozenset({"canceled", "cancelled", "error", "failed", "failure"})


@frozen
class Reason:
    """Why an image is missing, in the words of the server."""

    text: str
    moderated: bool = False
    category: str | None = None
    """The category of a content filter, if it names one."""


@frozen
class Task:
    """Work that a server has accepted and not finished."""

    id: str | None
    status: str | None


class NoImageError(ScanError):
    """A response that was read and has no image. ``document`` is the response."""

    def __init__(self, message: str, document: object) -> None:
        super().__init__(message)
        self.document = document


def reasons_of(document: object) -> list[Reason]:
    """Return the reasons that a response, or an entry of it, gives for missing images; those of a content filter first."""
    found = dict.fromkeys(_reasons(document, "", ""))
    return sorted(found, key=lambda reason: not reason.moderated)


def text_of(reasons: list[Reason]) -> str:
    """Return reasons as one text; empty if there are none."""
    texts = dict.fromkeys(reason.text for reason in reasons)
    return excerpt("; ".join(list(texts)[:_MAX_REASONS]), _MAX_REASON)


def task_of(document: object) -> Task | None:
    """Return the unfinished task that a response describes."""
    for holder in _holders(document):
        id_ = next(
            (str(holder[name]) for name in _TASK_IDS if isinstance(holder.get(name), (str, int))), None
        )
        words = [holder.get(name) for name in ("task_status", "status", "state")]
        status = next((word for word in words if isinstance(word, str)), None)
        word = (status or "").lower()
        if word in _PENDING or (id_ is not None and word not in _FAILED | _FINE):
            other = holder.get("id")
            return Task(id_ or (str(other) if isinstance(other, (str, int)) else None), status)
    return None


def _holders(document: object) -> Iterator[dict[str, Any]]:
    if is_object(document):
        yield document
        for name in ("output", "result", "data"):
            inner = document.get(name)
            yield from (item for item in (inner if is_list(inner) else [inner]) if is_object(item))


def _reasons(value: object, name: str, parent: str) -> Iterator[Reason]:
    key = name.replace("_", "").replace("-", "").lower()
    if key in _NO_REASONS:
        return
    if is_object(value):
        for inner, item in value.items():
            yield from _reasons(item, inner, name)
    elif is_list(value):
        for item in value:
            yield from _reasons(item, name, parent)
    elif isinstance(value, ImageRef):
        if value.text is not None:
            shown = excerpt(" ".join(value.text.split()), 100)
            seen = f"is the text {shown!r}" if value.text else "is empty"
            yield Reason(f"the image {seen}", _names_filter(value.text))
    elif value is True and key in _FLAGS:
        category = parent if key == "filtered" and parent else None
        yield Reason(f"{category or name} was filtered" if category else name, True, category)
    elif isinstance(value, str) and value.strip() and value.strip().lower() not in _FINE:
        words = value.strip()[:_MAX_TEXT]
        moderated = key in _BLOCKED or _names_filter(words)
        if key in _BLOCKED or key in _TEXTS or (key in _CODES and moderated):
            yield Reason(words, moderated)


def _names_filter(text: str) -> bool:
    return re.search(_MODERATED, text, re.IGNORECASE) is not None  # compiled at first use

"""What makes two jobs of a run the same: their content, and never their place. Pure.

The content is the kind of job, its parameters and the bytes of its pictures. Of several jobs with one content the first is
one job, the second another, so that a prompt given twice makes two pictures, and the same list again makes none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import attrs
from attrs import frozen

from imagesdk._protocol.parameter_checks import IMAGE_PARAMETERS
from imagesdk.jobs import Job

_SHOWN = 12
"""Characters of a digest that are enough to tell the jobs of a run apart."""


@frozen
class Hashes:
    """The pictures that a job sends: SHA-256 of their bytes, or the address or id of one that the server has."""

    images: Sequence[str] = ()
    mask: str | None = None
    markup: str | None = None


def parameters(job: Job) -> dict[str, Any]:
    """Return what a job says, but for its pictures."""
    return {
        name: value
        for name, value in attrs.asdict(job, recurse=False).items()
        if value is not None and name not in IMAGE_PARAMETERS
    }


def digest(job: Job, hashes: Hashes) -> str:
    """Return the identity of a job's content."""
    content = {"kind": type(job).__name__, "parameters": parameters(job), **attrs.asdict(hashes)}
    content["images"] = list(hashes.images)
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def name_of(content: str, occurrence: int) -> str:
    """Return a short name for the ``occurrence``-th (from 0) job of this content."""
    return content[:_SHOWN] if not occurrence else f"{content[:_SHOWN]}-{occurrence + 1}"

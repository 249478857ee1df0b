"""A key for tests that look for it, and where an error would tell it."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

KEY = "sk-the-sentinel-of-these-tests"
_HERE = Path(__file__).parents[1]


def _links(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it was raised from or during."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def leaks(error: BaseException) -> list[str]:
    """Where an error tells the key to those who print, log, collect or store it with the variables of its frames."""
    told = {"its text": str(error), "its pickle": repr(pickle.dumps(error)), "its facts": repr(vars(error))}
    for link in _links(error):
        name = type(link).__name__
        told[f"{name}, formatted"] = "".join(traceback.format_exception(link))
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if Path(frame.f_code.co_filename).is_relative_to(_HERE):
                continue  # the caller knows the key
            for variable, value in frame.f_locals.items():
                place = f"{variable} in {frame.f_code.co_qualname} ({frame.f_code.co_filename})"
                told[place] = _printed(value)
    return [place for place, text in told.items() if KEY in text]


def _printed(value: object) -> str:
    """What a collector of local variables makes of one; objects that are half made cannot always be printed."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - whatever it is, it shows nothing
        return ""

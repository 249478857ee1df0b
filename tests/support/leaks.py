"""A key for tests that look for it, a client that holds it, and the places where an error would show it."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from imagesdk import AsyncClient, RetryPolicy
from tests.support.socket_servers import Handler, RawServer, serving

KEY = "sk-the-sentinel-of-these-tests"
_HERE = Path(__file__).parents[1]


@asynccontextmanager
async def exposed(handler: Handler, **options: Any) -> AsyncGenerator[tuple[AsyncClient, RawServer], None]:
    """Run a server, and a client of it that holds the key and does not retry."""
    terms: dict[str, Any] = {"api_key": KEY, "rate_limit": None, "retry": RetryPolicy(max_attempts=1)}
    async with serving(handler) as server, AsyncClient(base_url=server.base_url, **terms | options) as client:
        yield client, server


def _links(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def leaks(error: BaseException, key: str = KEY) -> list[str]:
    """Return where an error shows the key to code that prints, logs or stores it with the variables of its frames."""
    shown = {"its text": str(error), "its pickle": repr(pickle.dumps(error)), "its facts": repr(vars(error))}
    for link in _links(error):
        name = type(link).__name__
        shown[f"{name}, formatted"] = "".join(traceback.format_exception(link))
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if Path(frame.f_code.co_filename).is_relative_to(_HERE):
                continue  # the caller knows the key
            for variable, value in frame.f_locals.items():
                place = f"{variable} in {frame.f_code.co_qualname} ({frame.f_code.co_filename})"
                shown[place] = _printed(value)
    return [place for place, text in shown.items() if key in text]


def _printed(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - an object that is half made may have no repr
        return ""

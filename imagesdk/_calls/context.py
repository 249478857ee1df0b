"""Helpful errors for streams and runs that are used without ``async with``."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

_T = TypeVar("_T")


def entering_hint(method: str, *, blocking: bool) -> str:
    """Return a sentence that shows how to enter the stream or run that ``method`` of ``client.images`` returns."""
    thing = "run" if method == "fan_out" else "stream"
    begin = "with" if blocking else "async with"
    return f"{method} is entered first: `{begin} client.images.{method}(...) as {thing}:`, and then use `{thing}`"


class NotEntered(AbstractAsyncContextManager[_T], Generic[_T]):
    """A context manager whose other uses raise an error with the ``async with`` statement to write."""

    def __init__(self, manager: AbstractAsyncContextManager[_T], method: str) -> None:
        self._manager = manager
        self._method = method

    async def __aenter__(self) -> _T:
        return await self._manager.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._manager.__aexit__(exc_type, exc_value, traceback)

    if not TYPE_CHECKING:  # type checkers report these uses themselves

        def __iter__(self) -> NoReturn:
            raise TypeError(f"{entering_hint(self._method, blocking=False)}.")

        __aiter__ = __await__ = __iter__

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(f"There is no {name} here: {entering_hint(self._method, blocking=False)}.")

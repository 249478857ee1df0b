"""Leases: the handles of blocking clients on their asynchronous objects.

``lease()`` builds the asynchronous object at once, so a wrong argument is reported at the caller's line.
Rules: a lease holds no lock, so a fork cannot copy a taken one; each process builds its own asynchronous object.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, TypeVar, cast

from imagesdk._protocol.secret import Secret
from imagesdk._sync import portal
from imagesdk._sync.context import BlockingContext, ContextHandle
from imagesdk._sync.membership import Membership


class Closable(Protocol):
    """An asynchronous object that owns connections."""

    async def aclose(self) -> None:
        """Close the connections."""


_A = TypeVar("_A")
_B = TypeVar("_B")
_T = TypeVar("_T")
_P = ParamSpec("_P")
_W = TypeVar("_W")
_ClosableT = TypeVar("_ClosableT", bound=Closable)


class Lease(Generic[_A]):
    """A handle on one asynchronous object. Only the owner, which ``lease()`` creates, closes the connections."""

    def __init__(self, built: "_PerProcess[_A]", membership: Membership, *, owner: bool = False) -> None:
        self._built = built
        self._membership = membership
        self._owner = owner

    def __reduce__(self) -> NoReturn:
        raise TypeError("a blocking client cannot be copied or pickled: make a new one where it is needed")

    @property
    def async_object(self) -> _A:
        """The asynchronous object, for members that need no event loop."""
        return self._built.get()

    def call(
        self, method: Callable[Concatenate[_A, _P], Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run ``method(async_object, *args, **kwargs)`` on the loop and wait for its result."""
        return self._membership.call(partial(method, self.async_object, *args, **kwargs))

    def view(self, pick: Callable[[_A], _B]) -> "Lease[_B]":
        """Return a lease on a part of the asynchronous object."""
        built = self._built
        return Lease(_PerProcess(lambda: pick(built.get())), self._membership)

    def derive(
        self, method: Callable[Concatenate[_A, _P], _B], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> "Lease[_B]":
        """Return a lease on the result of a plain method of the asynchronous object."""
        return self.view(lambda async_object: method(async_object, *args, **kwargs))

    def context(
        self,
        wrap: Callable[[ContextHandle[_B]], _W],
        method: Callable[Concatenate[_A, _P], AbstractAsyncContextManager[_B]],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> BlockingContext[_B, _W]:
        """Return a blocking context manager over that of ``method``; ``wrap`` makes the value of its block."""
        name = getattr(method, "__name__", type(method).__name__)
        return BlockingContext(
            self._membership, lambda: method(self.async_object, *args, **kwargs), wrap, name
        )

    def close(self) -> None:
        """Cancel the running calls and close the asynchronous object. A second call does nothing."""
        if self._owner:
            self._membership.close()


def lease(build: Callable[_P, _ClosableT], /, *args: _P.args, **kwargs: _P.kwargs) -> Lease[_ClosableT]:
    """Return a lease on ``build(*args, **kwargs)``, which is called now, and once more in each forked child."""
    kept: dict[str, Any] = dict(kwargs)
    if isinstance(kept.get("api_key"), str):
        kept["api_key"] = Secret(kept["api_key"])  # kept for a fork, and nothing else holds it
    untyped = cast("Callable[..., _ClosableT]", build)
    built = _PerProcess(lambda: untyped(*args, **kept))
    return Lease(built, Membership(lambda: built.get().aclose), owner=True)


class _PerProcess(Generic[_A]):
    """A value that is built once in each process."""

    def __init__(self, build: Callable[[], _A]) -> None:
        self._build = build
        self._forks = portal.forks()
        self._value = build()

    def get(self) -> _A:
        if self._forks != portal.forks():
            self._value = self._build()
            self._forks = portal.forks()
        return self._value

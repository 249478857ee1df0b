"""What a blocking client holds instead of an event loop: its asynchronous twin and a place in the portal.

A lease builds the twin at once (so that a bad argument is reported where it stands), joins the portal at the
first call and leaves it when the client is closed or collected. The portal itself is in ``portal.py``.
Rules: a lease holds no lock (so that a fork finds none taken); what was built before a fork is built anew in
the child; a closed lease stays closed.
"""

import warnings
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, TypeVar, cast

from imagesdk._protocol.secret import Secret
from imagesdk._sync import portal
from imagesdk._sync.hosting import Hosted, Hosting
from imagesdk._sync.portal import Portal, PortalEndedError


class Closable(Protocol):
    """An asynchronous object with connections of its own."""

    async def aclose(self) -> None:
        """Close them."""
        ...


_FORGOTTEN = "a blocking client was not closed: use 'with Client(...) as client', or client.close()"

_A = TypeVar("_A")
_B = TypeVar("_B")
_T = TypeVar("_T")
_P = ParamSpec("_P")
_W = TypeVar("_W")
_ClosableT = TypeVar("_ClosableT", bound=Closable)


class Lease(Generic[_A]):
    """Access to one asynchronous object, the twin, from threads without an event loop.

    Made by ``lease()``; ``view`` and ``derive`` make further ones that share its connections and are closed with it,
    and whose own closing does nothing.
    """

    def __init__(self, twin: "_Built[_A]", stay: "Stay", *, owner: bool = False) -> None:
        self._twin = twin
        self._stay = stay
        self._owner = owner

    def __reduce__(self) -> NoReturn:
        raise TypeError("a blocking client cannot be copied or pickled: make a new one where it is needed")

    @property
    def twin(self) -> _A:
        """The asynchronous object, for what needs no event loop."""
        return self._twin.get()

    def call(
        self,
        method: Callable[Concatenate[_A, _P], Coroutine[Any, Any, _T]],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run ``method(twin, *args, **kwargs)`` on the loop and wait for its result.

        Raises:
            RuntimeError: the lease is closed, or this is the loop's own thread.
        """
        return self._stay.call(partial(method, self.twin, *args, **kwargs))

    def view(self, pick: Callable[[_A], _B]) -> "Lease[_B]":
        """A lease on something that belongs to the twin."""
        twin = self._twin
        return Lease(_Built(lambda: pick(twin.get())), self._stay)

    def derive(
        self, method: Callable[Concatenate[_A, _P], _B], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> "Lease[_B]":
        """A lease on what a plain method of the twin returns."""
        return self.view(lambda twin: method(twin, *args, **kwargs))

    def host(
        self,
        wrap: Callable[[Hosted[_B]], _W],
        method: Callable[Concatenate[_A, _P], AbstractAsyncContextManager[_B]],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> Hosting[_B, _W]:
        """A blocking context manager over what ``method(twin, *args, **kwargs)`` returns; ``wrap`` makes its value."""
        name = getattr(method, "__name__", type(method).__name__)
        return Hosting(self._stay, lambda: method(self.twin, *args, **kwargs), wrap, name)

    def close(self) -> None:
        """Cancel the calls that are under way and close the twin; a second call does nothing."""
        if self._owner:
            self._stay.leave()


def lease(make: Callable[_P, _ClosableT], /, *args: _P.args, **kwargs: _P.kwargs) -> Lease[_ClosableT]:
    """A lease on ``make(*args, **kwargs)``, which is called now, and once more in each forked child."""
    kept: dict[str, Any] = dict(kwargs)
    if isinstance(kept.get("api_key"), str):
        kept["api_key"] = Secret(kept["api_key"])  # it is kept for a fork, and no other object holds it
    build = cast("Callable[..., _ClosableT]", make)
    twin = _Built(lambda: build(*args, **kept))
    return Lease(twin, Stay(lambda: twin.get().aclose), owner=True)


class _Built(Generic[_A]):
    """Something built once in each process."""

    def __init__(self, build: Callable[[], _A]) -> None:
        self._build = build
        self._forks = portal.forks()
        self._value = build()

    def get(self) -> _A:
        if self._forks != portal.forks():
            self._value = self._build()
            self._forks = portal.forks()
        return self._value


class Stay:
    """A client's place in the portal: taken at the first call, given up when closed or collected."""

    _guest: object = None  # for the finaliser of one whose making a Ctrl-C broke off
    _closed = True

    def __init__(self, aclose: Callable[[], Callable[[], Awaitable[None]]]) -> None:
        self._aclose = aclose
        self._guest = object()  # not the stay itself, which must be collectable
        self._portal: Portal | None = None
        self._closed = False

    def __del__(self, _dismiss: Callable[[object], bool] = portal.dismiss) -> None:
        # At exit ``dismiss`` finds no portal that takes calls: a script that ends without closing ends in silence.
        if _dismiss(self._guest) and not self._closed:
            warnings.warn(_FORGOTTEN, ResourceWarning, source=self, stacklevel=2)

    def call(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run ``start()`` on the loop and wait for its result."""
        while True:
            place = self._join()
            try:
                return place.call(self._guest, start)
            except PortalEndedError:
                continue  # it ended between the two lines above, without having begun the call

    def host(self, run: Callable[[], Awaitable[None]]) -> None:
        """Have a task run until it ends by itself or the client is closed. Called on the loop, within a call."""
        assert self._portal is not None  # noqa: S101 - that runs the call
        self._portal.host(self._guest, run)

    def leave(self) -> None:
        """Give up the place: cancel what is under way and close the connections."""
        self._closed = True  # before looking at the portal; ``_join`` does the two the other way round
        place, self._portal = self._portal, None
        if place is not None and place.usable:
            place.close_guest(self._guest)

    def _join(self) -> Portal:
        place = self._portal
        if not self._closed and (place is None or not place.usable):
            place = portal.enter(self._guest, self._aclose())
            self._portal = place
        if self._closed or place is None:
            if place is not None:
                place.dismiss(self._guest)
            raise portal.closed()
        return place

"""The membership of one blocking client in the portal.

It begins with the client's first call, and ends when the client is closed or garbage-collected. After a fork, the
first call in the child joins a portal of the child.
Rules: a membership holds no lock, so a fork cannot copy a taken one; a closed membership stays closed.
"""

import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeVar

from imagesdk._sync import portal as portals
from imagesdk._sync.calls import ClientId
from imagesdk._sync.portal import Portal, PortalEndedError

_NOT_CLOSED = "a blocking client was not closed: use 'with Client(...) as client', or client.close()"

_T = TypeVar("_T")


class Membership:
    """The registration of one client with the portal that runs its calls."""

    _client: ClientId = None  # for the finaliser, if a Ctrl-C interrupts ``__init__``
    _closed = True

    def __init__(self, aclose: Callable[[], Callable[[], Awaitable[None]]]) -> None:
        self._aclose = aclose
        self._client = object()  # not the membership itself, which must be collectable
        self._portal: Portal | None = None
        self._closed = False

    def __del__(self, _finalise: Callable[[Callable[[], object]], None] = portals.finalise) -> None:
        _finalise(self._finalise)

    def _finalise(self, _remove: Callable[[ClientId], bool] = portals.remove_client) -> None:
        # At exit no portal takes calls, so a script that ends without closing its client ends silently.
        if _remove(self._client) and not self._closed:
            warnings.warn(_NOT_CLOSED, ResourceWarning, source=self, stacklevel=4)

    def call(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run ``function()`` on the loop and wait for its result."""
        if sys.is_finalizing():  # no thread but this one runs any more
            raise portals.exiting_error()
        while True:
            portal = self._join()
            try:
                return portal.call(self._client, function)
            except PortalEndedError:
                continue  # it ended between the two lines above, before it started the call

    def start_task(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run ``function()`` as a task until it ends or the client is closed. Called on the loop, within a call."""
        assert self._portal is not None  # noqa: S101 - it runs the call
        self._portal.start_task(self._client, function)

    def post(self, message: Callable[[], None]) -> None:
        """Run ``message()`` on the loop soon, if that still takes calls. Safe in a finaliser."""
        if (portal := self._portal) is not None and portal.usable:
            portal.post(message)

    def close(self) -> None:
        """Leave the portal: cancel the client's calls and close its connections."""
        self._closed = True  # before reading the portal: ``_join`` does the two in the other order
        portal, self._portal = self._portal, None
        if portal is not None and portal.usable:
            portal.close_client(self._client)

    def _join(self) -> Portal:
        portal = self._portal
        if not self._closed and (portal is None or not portal.usable):
            portal = portals.join(self._client, self._aclose())
            self._portal = portal
        if self._closed or portal is None:
            if portal is not None:
                portal.remove_client(self._client)
            raise portals.closed_error()
        return portal

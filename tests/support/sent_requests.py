"""What a route of respx was sent, with types."""

from __future__ import annotations

from typing import Any

import httpx
import respx


def sent_to(route: respx.Route) -> list[httpx.Request]:
    """Return the requests that a route got, in order."""
    calls: Any = route.calls
    return [call.request for call in calls]

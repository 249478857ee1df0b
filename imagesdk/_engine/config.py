"""Settings of an engine: shared by all views of a client, and changed by a view."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import field, frozen

from imagesdk._engine.tokens import BearerTokenSource
from imagesdk._protocol.hosts import Host
from imagesdk._protocol.secret import Secret
from imagesdk._ratelimit.shared import LimiterRegistry
from imagesdk._ratelimit.unlimited import ConcurrencyLimiter
from imagesdk._transport.exchange import Transport
from imagesdk.events import Event, Observer
from imagesdk.policies import DEFAULT_RATE_LIMIT, Caps, RateLimit, RetryPolicy, SharedStore

_logger = logging.getLogger("imagesdk")
Limits: TypeAlias = RateLimit | Mapping[str, RateLimit | None] | None

ANY_MODEL = "*"
"""The key, in a mapping of rate limits by model, of all models that the mapping does not name."""


def _by_model(limits: Limits) -> Mapping[str, RateLimit | None]:
    return limits if isinstance(limits, Mapping) else {ANY_MODEL: limits}


@frozen
class EngineConfig:
    """Settings that a view (``client.with_options``) may change."""

    retry: RetryPolicy = RetryPolicy()  # noqa: RUF009 - a frozen value
    limits: Mapping[str, RateLimit | None] = field(factory=dict[str, RateLimit | None], converter=_by_model)
    """Rate limits by model; ``None`` is for no limit. The default limit holds for models that are not named."""
    caps: Caps = Caps()  # noqa: RUF009 - a frozen value
    observers: tuple[Observer, ...] = field(default=(), converter=tuple[Observer, ...])
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Headers of every request, by their names in lower case."""
    shared: SharedStore | None = None
    """Store through which processes share the rate limits."""

    def limit_of(self, model: str | None) -> RateLimit | None:
        """Return the rate limit that the caller set for a model; ``None`` for no limit."""
        return self.limits.get(model or "", self.limits.get(ANY_MODEL, DEFAULT_RATE_LIMIT))

    def observe(self, event: Event) -> None:
        """Call every observer. An observer that raises is logged and changes nothing."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception:
                _logger.exception("an observer failed at %s", type(event).__name__)


class EngineShared:
    """Shared state of all views of one client: the server, the key, the connections and the rate-limit windows."""

    def __init__(
        self,
        host: Host,
        key: Secret | BearerTokenSource,
        transport: Transport,
        user_agent: str,
        *,
        organization: str | None = None,
        project: str | None = None,
        registry: LimiterRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.key = key
        self.transport = transport
        self.user_agent = user_agent
        self.organization = organization
        self.project = project
        self.account = (host.origin, key.fingerprint(), organization or "", project or "")
        """What a rate limit is bound to, besides the model."""
        self.registry = registry
        """The limiters of the process; ``None`` for those that all clients share."""
        self.own_registry = LimiterRegistry(clock=clock)
        """The limiters of this client alone."""
        self.unlimited = ConcurrencyLimiter(clock=clock)
        self.clock = clock

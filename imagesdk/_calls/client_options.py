"""Options of a client: validated once, with their defaults.

A message names the option, the value and what is allowed. Of a value that may hold a key or a password it shows
only the type. Policies validate their own values, in :mod:`imagesdk.policies`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import attrs
from attrs import field, frozen

from imagesdk._engine.engine import ANY_MODEL
from imagesdk._protocol.hosts import validate_headers
from imagesdk.errors import ConfigurationError
from imagesdk.events import Observer
from imagesdk.policies import (
    DEFAULT_RATE_LIMIT,
    Caps,
    ClientOptions,
    RateLimit,
    RetryPolicy,
    SharedStore,
    Timeouts,
    is_positive,
)
from imagesdk.remedies import Remedy, worded

TIMEOUT: Final = "a number of seconds greater than 0, Timeouts(...) or None"
"""Allowed values of ``timeout=``, of a client and of a call."""
_TIMEOUTS: Final = "timeout=Timeouts(connect={0.connect}, attempt={0.read})"
_LIMIT: Final = 'a RateLimit, a text such as "50/min", or None'
_LIMIT_VARIABLE: Final = "IMAGESDK_RATE_LIMIT"
_STORE_VARIABLE: Final = "IMAGESDK_SHARED"
_ELSEWHERE: Final[Mapping[str, Remedy]] = {
    "max_retries": Remedy.USE_RETRY_POLICY,
    "default_query": Remedy.USE_EXTRA_QUERY,
    "azure_endpoint": Remedy.USE_AZURE_CLIENT.of("Client.azure(endpoint)"),
    "azure_deployment": Remedy.USE_AZURE_CLIENT.of("Client.azure(endpoint, deployment=...)"),
    "azure_ad_token": Remedy.USE_AZURE_CLIENT.of("Client.azure(endpoint, token_provider=lambda: token)"),
    "azure_ad_token_provider": Remedy.USE_AZURE_CLIENT.of("Client.azure(endpoint, token_provider=...)"),
    "api_version": Remedy.USE_AZURE_CLIENT.of("Client.azure(endpoint, api_version=...)"),
    "proxy": Remedy.USE_HTTP_CLIENT.of("proxy"),
    "proxies": Remedy.USE_HTTP_CLIENT.of("proxy"),
    "transport": Remedy.USE_HTTP_CLIENT.of("transport"),
    "verify": Remedy.USE_HTTP_CLIENT.of("verify"),
}
"""Options of clients of other packages, and what replaces them here."""
_HOST_NAME: Final = re.compile(r"[\w.-]+|\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]?")
"""A name, an IPv4 address, or an IPv6 address."""


@frozen
class CallDefaults:
    """Options of the client that apply where a call names none."""

    timeouts: Timeouts
    check: bool
    fsync: bool


@frozen(kw_only=True)
class ClientSettings:
    """The options of a client, or of a view of it, in the form in which they are used."""

    timeouts: Timeouts = field(factory=Timeouts)
    retry: RetryPolicy = field(factory=RetryPolicy)
    limits: Mapping[str, RateLimit | None] = field(factory=lambda: {ANY_MODEL: DEFAULT_RATE_LIMIT})
    """Rate limits by model; ``"*"`` is for all models that are not named."""
    check: bool = True
    caps: Caps = field(factory=Caps)
    fsync: bool = False
    observers: tuple[Observer, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    trusted_result_hosts: frozenset[str] = frozenset()
    shared: SharedStore | None = None

    @classmethod
    def from_options(cls, options: ClientOptions) -> ClientSettings:
        """Return the settings of a new client. ``IMAGESDK_RATE_LIMIT`` replaces the default rate limit."""
        settings = cls(**_validated({"shared": None, **options}, ()))
        text = os.environ.get(_LIMIT_VARIABLE, "").strip()
        if not text or settings.limits.get(ANY_MODEL, DEFAULT_RATE_LIMIT) is not DEFAULT_RATE_LIMIT:
            return settings
        others = parse_rate_limit(_LIMIT_VARIABLE, text)
        return attrs.evolve(settings, limits={**settings.limits, ANY_MODEL: others})

    def with_options(self, options: ClientOptions) -> ClientSettings:
        """Return settings that differ in ``options``. Headers are added to those of the client."""
        return attrs.evolve(self, **_validated(options, self.headers))

    @property
    def call_defaults(self) -> CallDefaults:
        """The settings that a call may override."""
        return CallDefaults(self.timeouts, self.check, self.fsync)


def _validated(options: ClientOptions, present_headers: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Return the fields of :class:`ClientSettings` that ``options`` set."""
    reject_unknown(options.keys() - ClientOptions.__annotations__.keys())
    changes = dict[str, Any](options)
    for name, (is_valid, expected) in _KINDS.items():
        if name in changes and not is_valid(changes[name]):
            remedies = replacement_of_timeout(changes[name])
            raise ConfigurationError.for_parameter(name, changes[name], allowed=expected, remedies=remedies)
    if "timeout" in changes:
        timeout = changes.pop("timeout")
        changes["timeouts"] = timeout if isinstance(timeout, Timeouts) else Timeouts(total=timeout)
    if "rate_limit" in changes:
        changes["limits"] = _limits(changes.pop("rate_limit"))
    if "shared" in changes:
        changes["shared"] = shared_store(changes["shared"])
    if "observers" in changes:
        changes["observers"] = _observers(changes["observers"])
    if "trusted_result_hosts" in changes:
        changes["trusted_result_hosts"] = _host_names(changes["trusted_result_hosts"])
    if "default_headers" in changes:
        given: object = changes.pop("default_headers")
        given = dict[str, str]() if given is None else given
        if not isinstance(given, Mapping):
            raise _of_wrong_type("default_headers", given, "a mapping of names to texts")
        headers = validate_headers(cast("Mapping[str, str]", given).items())
        changes["headers"] = tuple({**dict(present_headers), **dict(headers)}.items())
    return changes


def reject_unknown(names: Iterable[str]) -> None:
    """Raise an error for options that no client has. It names what replaces an option of another package."""
    if name := min(names, default=""):
        raise TypeError(worded(f"A client has no option {name}=.", replacements_of([name])))


def replacements_of(names: Iterable[str]) -> tuple[Remedy, ...]:
    """Return what replaces options of other packages."""
    return tuple(_ELSEWHERE[name] for name in names if name in _ELSEWHERE)


def replacement_of_timeout(value: object) -> tuple[Remedy, ...]:
    """Return what replaces a ``Timeout`` of httpx or httpx2; nothing for any other value."""
    if type(value).__name__ != "Timeout" or not (hasattr(value, "connect") and hasattr(value, "read")):
        return ()
    return (Remedy.USE_TIMEOUTS.of(_TIMEOUTS.format(value)),)


def require_str(name: str, value: object) -> None:
    """Raise an error if a value is neither text nor ``None``."""
    if value is not None and not isinstance(value, str):
        raise _of_wrong_type(name, value, "a text")


def require_bool(name: str, value: object) -> None:
    """Raise an error if a value is neither ``True`` nor ``False``."""
    if not isinstance(value, bool):
        raise ConfigurationError.for_parameter(name, value, allowed="True or False")


def shared_store(value: object, name: str = "shared") -> SharedStore | None:
    """Return the store that an option names, or else ``IMAGESDK_SHARED``; ``None`` for none.

    Raises:
        ConfigurationError: If the value is no URL of a store, or if the package for it is missing.
    """
    if value is None:
        value, name = os.environ.get(_STORE_VARIABLE, "").strip(), _STORE_VARIABLE
    if isinstance(value, str):
        if not value:
            return None
        try:
            value = SharedStore(value)
        except ConfigurationError as error:
            raise ConfigurationError(error.summary.replace("shared", name, 1), param=name) from None
    if not isinstance(value, SharedStore):
        raise _of_wrong_type(name, value, "a URL, SharedStore(...) or None")
    from imagesdk._coordination.stores import resolve

    return resolve(value)


def parse_rate_limit(name: str, text: str) -> RateLimit | None:
    """Parse a rate limit such as ``50/min``, or ``none``. ``name`` is the option or variable at fault."""
    if text.strip().lower() == "none":
        return None
    try:
        return RateLimit.parse(text)
    except ConfigurationError:
        allowed = "written like 50/min, 5/s, 500/h or 50/10s, or be none"
        raise ConfigurationError.for_parameter(name, text, allowed=allowed) from None


def _limits(value: object) -> Mapping[str, RateLimit | None]:
    if not isinstance(value, Mapping):
        return {ANY_MODEL: _limit("rate_limit", value, f"{_LIMIT}; or a mapping of models to these")}
    limits = dict[str, RateLimit | None]()
    for model, limit in cast("Mapping[object, object]", value).items():
        if not isinstance(model, str):
            allowed = 'the name of a model, or "*"'
            raise ConfigurationError.for_parameter("A key of rate_limit", model, allowed=allowed)
        limits[model] = _limit(f"rate_limit[{model!r}]", limit, _LIMIT)
    return limits


def _limit(name: str, value: object, expected: str) -> RateLimit | None:
    if isinstance(value, str):
        return parse_rate_limit(name, value)
    if value is None or isinstance(value, RateLimit):
        return value
    raise ConfigurationError.for_parameter(name, value, allowed=expected)


def _observers(value: Any) -> tuple[Observer, ...]:
    try:
        observers: tuple[Any, ...] = tuple(value)
    except TypeError:
        observers = (None,)
    if not all(callable(observer) for observer in observers):
        allowed = "a list of functions, such as [print]"
        raise ConfigurationError.for_parameter("observers", value, allowed=allowed)
    return observers


def _host_names(value: Any) -> frozenset[str]:
    names: list[Any] = [None]
    with suppress(TypeError):
        names = [None] if isinstance(value, (str, bytes)) else list(value)
    if not all(isinstance(name, str) and _HOST_NAME.fullmatch(name) for name in names):
        allowed = 'a list of host names without scheme or port, such as ["images.lan"]'
        shown = "one with a user" if "@" in repr(value) else None  # it may contain a password
        raise ConfigurationError.for_parameter("trusted_result_hosts", value, allowed=allowed, shown=shown)
    return frozenset(name.lower().strip("[]") for name in names)


def _of_wrong_type(name: str, value: object, allowed: str) -> ConfigurationError:
    kind = f"a value of type {type(value).__name__}"
    return ConfigurationError.for_parameter(name, value, allowed=allowed, shown=kind)


def _is(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


def _is_timeout(value: object) -> bool:
    return value is None or isinstance(value, Timeouts) or is_positive(value)


_KINDS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "timeout": (_is_timeout, TIMEOUT),
    "retry": (_is(RetryPolicy), "a RetryPolicy, such as RetryPolicy(max_attempts=4)"),
    "check": (_is(bool), "True or False"),
    "caps": (_is(Caps), "Caps, such as Caps(image=64 * 1024 * 1024)"),
    "fsync": (_is(bool), "True or False"),
}
"""Options of one kind: the test of a value, and the words of the message."""

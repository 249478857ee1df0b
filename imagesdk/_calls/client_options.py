"""Validate client options and convert them to their internal form.

Rule: a message names the option, its value and what is allowed; of what may hold a key or a password, only the type is
shown. The values of policies are checked where they are made, in :mod:`imagesdk.policies`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict, cast

from imagesdk._engine.config import Limits
from imagesdk.errors import ConfigurationError
from imagesdk.events import Observer
from imagesdk.policies import Caps, RateLimit, RetryPolicy, Timeouts, is_positive

_LIMIT: Final = 'a RateLimit, a text such as "50/min", or None'
TIMEOUT: Final = "a number of seconds greater than 0, Timeouts(...) or None"
"""What ``timeout=`` may be, of a client and of a call."""


class Settings(TypedDict, total=False):
    """The :class:`~imagesdk.policies.ClientOptions` that were given, each in the one form that is used."""

    timeout: float | Timeouts | None
    retry: RetryPolicy
    rate_limit: Limits
    check: bool
    caps: Caps
    fsync: bool
    observers: tuple[Observer, ...]
    default_headers: Mapping[str, str]


def validate_client_options(options: Mapping[str, Any]) -> Settings:
    """Return the options of a client, or of a view of it.

    Raises:
        ConfigurationError: one is of the wrong kind.
    """
    for name, (fits, expected) in _KINDS.items():
        if name in options and not fits(options[name]):
            raise ConfigurationError.for_parameter(name, options[name], allowed=expected)
    found = dict(options)
    if "rate_limit" in found:
        found["rate_limit"] = _limits(found["rate_limit"])
    if "observers" in found:
        found["observers"] = _observers(found["observers"])
    if "default_headers" in found:
        found["default_headers"] = _headers(found["default_headers"])
    return cast("Settings", found)


def require_str(name: str, value: object) -> None:
    """Refuse what is no text, where one (or nothing) is wanted.

    Raises:
        ConfigurationError: it is none.
    """
    if value is not None and not isinstance(value, str):
        raise _of_wrong_type(name, value, "a text")


def require_bool(name: str, value: object) -> None:
    """Refuse what is neither true nor false.

    Raises:
        ConfigurationError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigurationError.for_parameter(name, value, allowed="True or False")


def parse_rate_limit(name: str, text: str) -> RateLimit | None:
    """Read a rate limit as it is written: ``50/min`` and the like, or ``none``. ``name`` says where it stands.

    Raises:
        ConfigurationError: it has another form.
    """
    if text.strip().lower() == "none":
        return None
    try:
        return RateLimit.parse(text)
    except ConfigurationError:
        allowed = "written like 50/min, 5/s, 500/h or 50/10s, or be none"
        raise ConfigurationError.for_parameter(name, text, allowed=allowed) from None


def _limits(value: object) -> Limits:
    if not isinstance(value, Mapping):
        return _limit("rate_limit", value, f"{_LIMIT}; or a mapping of models to these")
    by_model = cast("Mapping[object, object]", value)
    found = dict[str, RateLimit | None]()
    for model, limit in by_model.items():
        if not isinstance(model, str):
            allowed = 'the name of a model, or "*"'
            raise ConfigurationError.for_parameter("A key of rate_limit", model, allowed=allowed)
        found[model] = _limit(f"rate_limit[{model!r}]", limit, _LIMIT)
    return found


def _limit(name: str, value: object, expected: str) -> RateLimit | None:
    if isinstance(value, str):
        return parse_rate_limit(name, value)
    if value is None or isinstance(value, RateLimit):
        return value
    raise ConfigurationError.for_parameter(name, value, allowed=expected)


def _observers(value: Any) -> tuple[Observer, ...]:
    try:
        found: tuple[Any, ...] = tuple(value)
    except TypeError:
        found = (None,)
    if not all(callable(observer) for observer in found):
        allowed = "a list of functions, such as [print]"
        raise ConfigurationError.for_parameter("observers", value, allowed=allowed)
    return found


def _headers(value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _of_wrong_type("default_headers", value, "a mapping of names to texts")
    return cast("Mapping[str, str]", value)


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
"""Options of one kind: what fits, and what to say of it."""

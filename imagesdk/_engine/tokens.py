"""Bearer tokens in place of a key, from a function of the user: fetched in a thread, one at a time, and cached.

A token is cached until :data:`MARGIN` seconds before its expiry, or for :data:`UNKNOWN_LIFE` seconds if its expiry is
unknown. It is dropped when the server rejects it. (azure-identity caches too, so calling it often is cheap.)
"""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.to_thread

from imagesdk._protocol.secret import NO_KEY, Secret
from imagesdk._runtime.loops import PerLoop
from imagesdk._runtime.threads import nothing_sent
from imagesdk.errors import APITimeoutError, AuthenticationError, ConfigurationError
from imagesdk.remedies import Remedy

MARGIN = 60.0
"""Seconds before its expiry in which a token is not used."""
UNKNOWN_LIFE = 60.0
"""Seconds that a token with unknown expiry is cached."""


class Token(Protocol):
    """A token and its expiry in seconds since the epoch, such as the ``AccessToken`` of azure-identity."""

    @property
    def token(self) -> str: ...
    @property
    def expires_on(self) -> float: ...


TokenProvider: TypeAlias = Callable[[], str | tuple[str, float] | Token]
"""A function that returns a token: a ``str``, a pair of token and expiry in seconds since the epoch, or an object with
``token`` and ``expires_on``. It is called in a thread, and may block."""


async def current_key(key: Secret | BearerTokenSource, seconds: float | None) -> Secret:
    """Return the key, or a token in its place, within so many seconds."""
    if isinstance(key, Secret):
        return key
    try:
        with nothing_sent("to fetch a token"), anyio.fail_after(seconds):
            return await key.get()
    except TimeoutError:
        raise APITimeoutError("No token came from token_provider in time. Nothing was sent.") from None


def known_key(key: Secret | BearerTokenSource) -> Secret:
    """Return the key, or the latest token, to remove it from texts of a server."""
    return key if isinstance(key, Secret) else key.latest


class BearerTokenSource:
    """The bearer tokens of one client."""

    def __init__(
        self,
        provider: TokenProvider,
        *,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not callable(provider):
            raise ConfigurationError(
                f"token_provider is a function that returns a token, not {type(provider).__name__}: such as "
                "azure.identity.get_bearer_token_provider(credential, scope)."
            )
        if inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(
            getattr(provider, "__call__", None)  # noqa: B004 - an object whose __call__ is a coroutine
        ):
            raise ConfigurationError(_NOT_ASYNC)
        self._provider = provider
        self._wall_clock = wall_clock
        self._clock = clock
        self._limiters = PerLoop(lambda: anyio.CapacityLimiter(1))
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._cached: tuple[Secret, float] | None = None
        self.latest: Secret = NO_KEY
        """The latest token, valid or not."""

    def __repr__(self) -> str:
        return "<BearerTokenSource>"

    def fingerprint(self) -> str:
        """Return the name of the account for rate limits: tokens change, the account does not."""
        return "token"

    async def get(self) -> Secret:
        """Return a valid token."""
        if (cached := self._valid()) is not None:
            return cached
        async with self._limiters.get():  # waiting calls occupy no thread
            if (cached := self._valid()) is not None:
                return cached
            limiter = anyio.CapacityLimiter(1)
            return await anyio.to_thread.run_sync(self._fetch, abandon_on_cancel=True, limiter=limiter)

    def forget(self) -> None:
        """Drop the cached token, which the server has rejected."""
        self._cached = None

    def _valid(self) -> Secret | None:
        cached = self._cached
        return cached[0] if cached is not None and self._clock() < cached[1] else None

    def _fetch(self) -> Secret:
        if self._process != os.getpid():  # a thread of the parent process may have held the lock
            self._process, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if (cached := self._valid()) is not None:
                return cached
            try:
                provided = self._provider()
            except Exception as error:
                message = f"token_provider failed with {type(error).__name__}, and nothing was sent."
                raise AuthenticationError(message, remedies=(Remedy.CHECK_TOKEN_PROVIDER,)) from error
            try:
                token, expiry = _parse_token(provided)
            finally:
                del provided  # tracebacks may show the values of variables
            seconds = UNKNOWN_LIFE if expiry is None else expiry - self._wall_clock() - MARGIN
            self._cached, self.latest = (token, self._clock() + seconds), token
            return token


def _parse_token(provided: Any) -> tuple[Secret, float | None]:
    """Return a token and its expiry."""
    kind = type(provided).__name__
    value, expiry = None, None
    try:
        if inspect.iscoroutine(provided):
            provided.close()
        if inspect.isawaitable(provided):
            raise ConfigurationError(_NOT_ASYNC)
        match provided:
            case str():
                value = provided
            case (first, second, *_):
                value, expiry = first, second
            case _:
                value, expiry = getattr(provided, "token", None), getattr(provided, "expires_on", None)
        if not isinstance(value, str) or not value.strip():
            raise ConfigurationError(
                "token_provider must return a token: a text, a pair of a text and its end in seconds since the epoch, "
                f"or an object with token and expires_on; not {kind}."
            )
        if isinstance(expiry, bool) or not isinstance(expiry, int | float | None):
            end = type(expiry).__name__
            raise ConfigurationError(f"The end of a token is a number of seconds since the epoch, not {end}.")
        return Secret(value, "The token"), expiry
    finally:
        del provided, value  # tracebacks may show the values of variables


_NOT_ASYNC = (
    "token_provider is a plain function, which runs in a thread, not an async one: with azure-identity, take "
    "get_bearer_token_provider and the credential from azure.identity, not from azure.identity.aio."
)

"""Tokens in place of a key, from a function of the user's: fetched off the loop, one at a time, kept until they expire.

A token is kept until :data:`MARGIN` seconds before its end where its end is known, else for :data:`UNKNOWN_LIFE`
seconds; and no longer once the server has refused it. (azure-identity keeps its own, so that asking it often is cheap.)
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

from imagesdk._protocol.secret import Secret
from imagesdk._runtime.loops import PerLoop
from imagesdk.errors import APITimeoutError, AuthenticationError, ConfigurationError
from imagesdk.remedies import Remedy

MARGIN = 60.0
"""Seconds before its end that a token is not used any more."""
UNKNOWN_LIFE = 60.0
"""Seconds that a token is kept whose end is not known."""


class Token(Protocol):
    """A token and its end, as the ``AccessToken`` of azure-identity."""

    @property
    def token(self) -> str:
        """The token."""
        ...

    @property
    def expires_on(self) -> float:
        """When it ends, in seconds since the epoch."""
        ...


TokenProvider: TypeAlias = Callable[[], str | tuple[str, float] | Token]
"""Returns a token: as a text, as a pair with its end in seconds since the epoch, or as an object with ``token`` and
``expires_on``. It is called in a thread, and may block."""


async def current_key(key: Secret | BearerTokenSource, seconds: float | None) -> Secret:
    """Return the key, or a token in its place, within so many seconds. Nothing is sent without it.

    Raises:
        APITimeoutError: no token came in time.
        AuthenticationError: the provider failed.
        ConfigurationError: what it returned is no token.
    """
    if isinstance(key, Secret):
        return key
    try:
        with anyio.fail_after(seconds):
            return await key.get()
    except TimeoutError:
        raise APITimeoutError("No token came from token_provider in time. Nothing was sent.") from None


class BearerTokenSource:
    """The tokens of one client."""

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
        self._kept: tuple[Secret, float] | None = None

    def __repr__(self) -> str:
        return "<TokenSource>"

    def fingerprint(self) -> str:
        """Return what stands for the account in the registry of limits: tokens change, the account does not."""
        return "token"

    async def get(self) -> Secret:
        """Return a token that is good for now.

        Raises:
            AuthenticationError: the provider failed.
            ConfigurationError: what it returned is no token.
        """
        if (kept := self._good()) is not None:
            return kept
        async with self._limiters.get():  # so that those who wait hold no threads
            if (kept := self._good()) is not None:
                return kept
            return await anyio.to_thread.run_sync(
                self._fetched, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )

    def forget(self) -> None:
        """Keep no token any longer: the server has refused it."""
        self._kept = None

    def _good(self) -> Secret | None:
        kept = self._kept
        return kept[0] if kept is not None and self._clock() < kept[1] else None

    def _fetched(self) -> Secret:
        if self._process != os.getpid():  # a thread that the fork left behind may have held it
            self._process, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if (kept := self._good()) is not None:
                return kept
            try:
                given = self._provider()
            except Exception as error:
                raise AuthenticationError(
                    f"token_provider failed with {type(error).__name__}, and nothing was sent.",
                    remedies=(Remedy.CHECK_TOKEN_PROVIDER,),
                ) from error
            try:
                token, end = _read(given)
            finally:
                del given  # tracebacks may show the values of variables
            left = UNKNOWN_LIFE if end is None else end - self._wall_clock() - MARGIN
            self._kept = (token, self._clock() + left)
            return token


def _read(given: Any) -> tuple[Secret, float | None]:
    """Return a token and when it ends."""
    kind = type(given).__name__
    value, end = None, None
    try:
        if inspect.iscoroutine(given):
            given.close()
        if inspect.isawaitable(given):
            raise ConfigurationError(_NOT_ASYNC)
        match given:
            case str():
                value = given
            case (first, second, *_):
                value, end = first, second
            case _:
                value, end = getattr(given, "token", None), getattr(given, "expires_on", None)
        if not isinstance(value, str) or not value.strip():
            raise ConfigurationError(
                "token_provider must return a token: a text, a pair of a text and its end in seconds since the epoch, "
                f"or an object with token and expires_on; not {kind}."
            )
        if isinstance(end, bool) or not isinstance(end, int | float | None):
            raise ConfigurationError(
                f"The end of a token is a number of seconds since the epoch, not {type(end).__name__}."
            )
        return Secret(value, "The token"), end
    finally:
        del given, value  # tracebacks may show the values of variables


_NOT_ASYNC = (
    "token_provider is a plain function, which runs in a thread, not an async one: with azure-identity, take "
    "get_bearer_token_provider and the credential from azure.identity, not from azure.identity.aio."
)

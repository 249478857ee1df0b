"""``AsyncClient``: configuration, and ownership of what calls share. What is done with it is in other modules."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

import attrs

from imagesdk._client_transport import ClientTransport
from imagesdk._download import Downloader
from imagesdk._engine import Engine
from imagesdk._environment import remote_plain_proxy
from imagesdk._http_families import HTTPClient
from imagesdk._preparing import Defaults
from imagesdk._protocol.hosts import MAKER_BASE_URL, Host, checked_headers
from imagesdk._secret import Secret
from imagesdk._slot_transport import SlotTransport
from imagesdk._version import __version__
from imagesdk.errors import ConfigurationError
from imagesdk.events import Observer
from imagesdk.files import AsyncFiles
from imagesdk.images import AsyncImages
from imagesdk.policies import DEFAULT_RATE_LIMIT, Caps, RateLimit, RetryPolicy, Timeouts

_LIMIT_VARIABLE = "IMAGESDK_RATE_LIMIT"


class AsyncClient:
    """A client of the Images API, for asyncio and trio.

    It may be used from several tasks at once, in several event loops one after the other, and by as many
    calls as you like: they wait in line for the rate limit. Close it with ``async with`` or ``aclose()``.

    Example:
        async with AsyncClient() as client:
            response = await client.images.generate("a white siamese cat", out="cats/")

    Args:
        api_key: The key; ``OPENAI_API_KEY`` when not given. ``""`` sends none, for servers that want none.
        base_url: The server; ``OPENAI_BASE_URL`` or else the maker's own when not given.
        organization: ``OPENAI_ORG_ID`` when not given.
        project: ``OPENAI_PROJECT_ID`` when not given.
        timeout: Seconds for a whole call, or :class:`Timeouts`.
        retry: When a failed attempt is made again.
        rate_limit: Images per window, counted on this side; ``None`` for no limit; or limits by model, with
            ``"*"`` for the others. ``IMAGESDK_RATE_LIMIT`` (such as ``50/min``, or ``none``) when not given.
        check: Whether to refuse what the rules of the model forbid before anything is sent.
        caps: How large answers may be.
        fsync: Whether files of ``out=`` are on the disk itself, safe from a loss of power, before a call returns.
        http_client: An ``httpx.AsyncClient`` or ``httpx2.AsyncClient`` to send requests with, or a function
            without arguments that makes one for each event loop.
        observers: Called with every event of :mod:`imagesdk.events`.
        allow_insecure: Let a key go over plain http to another machine.

    Raises:
        ConfigurationError: no key where one is needed, an unusable base URL, a key that would go over plain
            http, an ``http_client`` of another kind.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        timeout: float | Timeouts | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
        rate_limit: RateLimit | Mapping[str, RateLimit | None] | None = DEFAULT_RATE_LIMIT,
        check: bool = True,
        caps: Caps = Caps(),  # noqa: B008
        fsync: bool = False,
        http_client: HTTPClient | Callable[[], HTTPClient] | None = None,
        observers: Sequence[Observer] = (),
        allow_insecure: bool = False,
    ) -> None:
        given: Any = os.environ.get("OPENAI_API_KEY", "") if api_key is None else api_key
        try:
            key = given if isinstance(given, Secret) else Secret(given)
        finally:
            del api_key, given  # tracebacks may show the values of variables
        host = Host.parse(base_url or os.environ.get("OPENAI_BASE_URL") or MAKER_BASE_URL)
        if host.is_maker and not key:
            raise ConfigurationError(
                f"{host.base_url} needs a key: set OPENAI_API_KEY or pass api_key=. "
                "Without a key, `imagesdk demo` and `imagesdk serve` show everything against an emulator."
            )
        proxy = remote_plain_proxy(host.base_url) if http_client is None else None
        if key and not allow_insecure and (proxy or not host.is_private_wire):
            raise ConfigurationError(
                f"The key would go over plain http to {proxy or host.base_url}. Use https, pass api_key='' to send none, "
                "or allow_insecure=True if the network is your own."
                + (" NO_PROXY keeps requests to this machine from a proxy." if proxy else "")
            )
        account: dict[str, str | None] = {
            "organization": organization or os.environ.get("OPENAI_ORG_ID"),
            "project": project or os.environ.get("OPENAI_PROJECT_ID"),
        }
        account.update(checked_headers((name, value) for name, value in account.items() if value))
        transport = SlotTransport() if http_client is None else ClientTransport(http_client)
        user_agent = _user_agent()
        self._engine = Engine(
            host=host,
            key=key,
            organization=account.get("organization"),
            project=account.get("project"),
            transport=transport,
            retry=retry,
            rate_limit=_limit_of_environment() if rate_limit is DEFAULT_RATE_LIMIT else rate_limit,
            caps=caps,
            observers=tuple(observers),
            user_agent=user_agent,
        )
        timeouts = timeout if isinstance(timeout, Timeouts) else attrs.evolve(Timeouts(), total=timeout)
        defaults = Defaults(timeouts, check, fsync)
        downloader = Downloader(host, transport, retry, caps, user_agent)
        self._images = AsyncImages(self._engine, downloader, defaults)
        self._files = AsyncFiles(self._engine, defaults)

    @property
    def images(self) -> AsyncImages:
        """Make, edit and vary pictures."""
        return self._images

    @property
    def files(self) -> AsyncFiles:
        """Upload, look up and delete files, such as pictures that edits name by their id."""
        return self._files

    @property
    def base_url(self) -> str:
        """The server, without a trailing slash."""
        return self._engine.host.base_url

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop. The client can be used again."""
        await self._engine.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<AsyncClient {self.base_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A client holds a key and connections and cannot be pickled; build one where it is needed."
        )


def _limit_of_environment() -> RateLimit | None:
    text = os.environ.get(_LIMIT_VARIABLE, "").strip()
    if text.lower() == "none":
        return None
    return RateLimit.parse(text) if text else DEFAULT_RATE_LIMIT


def _user_agent() -> str:
    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"imagesdk/{__version__} python/{python}"


AsyncClient.__module__ = "imagesdk"

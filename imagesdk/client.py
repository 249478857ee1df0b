"""``AsyncClient``: its options, and the connections, rate limits and defaults that its calls share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, NoReturn, Self, Unpack

from imagesdk._calls.build import ClientContext
from imagesdk._calls.client_options import (
    ClientSettings,
    reject_unknown,
    replacements_of,
    require_bool,
    require_str,
    shared_store,
)
from imagesdk._calls.raw import raw_call, send_raw
from imagesdk._engine.config import EngineConfig, EngineShared
from imagesdk._engine.download import Downloader
from imagesdk._engine.engine import Engine
from imagesdk._engine.tokens import BearerTokenSource, TokenProvider
from imagesdk._protocol.hosts import OPENAI_BASE_URL, Host, validate_headers
from imagesdk._protocol.secret import Secret
from imagesdk._transport.environment import remote_plain_proxy
from imagesdk._transport.exchange import Transport
from imagesdk._transport.httpx_compat import HTTPClient
from imagesdk._transport.single_connection import DirectTransport
from imagesdk._version import __version__
from imagesdk.errors import ConfigurationError
from imagesdk.events import Observer
from imagesdk.files import AsyncFiles
from imagesdk.images import AsyncImages
from imagesdk.policies import (
    DEFAULT_RATE_LIMIT,
    Caps,
    ClientOptions,
    RateLimit,
    RetryPolicy,
    SharedStore,
    Timeouts,
)
from imagesdk.remedies import Remedy
from imagesdk.types import RawResponse

if TYPE_CHECKING:
    from imagesdk.batches import AsyncBatches
    from imagesdk.provenance import AsyncProvenance
    from imagesdk.served import AsyncModels

_USER_AGENT = f"imagesdk/{__version__} python/{'.'.join(map(str, sys.version_info[:3]))}"


class AsyncClient:
    """A client of the Images API, for asyncio and trio.

    It may be used from several tasks at once, in several event loops one after the other, and for any number of
    calls, which queue for the rate limit. Close it with ``async with`` or ``aclose()``.

    Example:
        ```python
        async with AsyncClient() as client:
            response = await client.images.generate("a white siamese cat", out="cats/")
        ```

    Args:
        api_key: The key of the account. Default: ``OPENAI_API_KEY``. ``""`` sends no key, for servers without keys.
        base_url: The URL of the server. Default: ``OPENAI_BASE_URL``, or else the server of OpenAI.
        organization: The id of the organization. Default: ``OPENAI_ORG_ID``.
        project: The id of the project. Default: ``OPENAI_PROJECT_ID``.
        timeout: Seconds for a whole call, or :class:`Timeouts`. ``None``: no end.
        retry: The policy for retries of failed attempts.
        rate_limit: The limit that the client keeps to: a :class:`RateLimit`, a text such as ``"50/min"``, ``None`` for
            no limit, or a mapping of models to these, with ``"*"`` for all other models. ``IMAGESDK_RATE_LIMIT`` (such
            as ``50/min``, or ``none``) applies where neither the option nor ``"*"`` is given.
        shared: The store through which processes share one rate limit: a URL such as ``"redis://host/0"`` or
            ``"sqlite:///shared.sqlite"``, or a :class:`SharedStore`. Default: ``IMAGESDK_SHARED``. ``""``: none.
        check: Whether requests that break a rule of the model are refused before anything is sent.
        caps: Maximum sizes of responses.
        fsync: Whether to fsync output files before a call returns.
        http_client: An ``httpx.AsyncClient`` or ``httpx2.AsyncClient`` that sends the requests, or a function without
            arguments that returns one for each event loop.
        observers: Functions that are called with every event of :mod:`imagesdk.events`.
        default_headers: Headers of every request to the server, but not of downloads.
        trusted_result_hosts: Host names whose result URLs are fetched even over plain http and from private addresses.
        allow_insecure: Whether a key may be sent over plain http to another machine.

    Raises:
        ConfigurationError: If a key is needed and missing, if it would be sent over plain http, if the base URL cannot
            be used, or if an option has a wrong value.
        TypeError: If there is no such option. The error names what replaces an option of the official client.
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
        rate_limit: RateLimit | str | Mapping[str, RateLimit | str | None] | None = DEFAULT_RATE_LIMIT,
        shared: SharedStore | str | None = None,
        check: bool = True,
        caps: Caps = Caps(),  # noqa: B008
        fsync: bool = False,
        http_client: HTTPClient | Callable[[], HTTPClient] | None = None,
        observers: Sequence[Observer] = (),
        default_headers: Mapping[str, str] | None = None,
        trusted_result_hosts: Sequence[str] = (),
        allow_insecure: bool = False,
        **unknown: Never,
    ) -> None:
        try:
            reject_unknown(unknown)
            key = _secret(api_key, "OPENAI_API_KEY")
            shared = shared_store(shared) or ""
        finally:
            del api_key  # tracebacks may show the values of variables
        for name, text in (("base_url", base_url), ("organization", organization), ("project", project)):
            require_str(name, text)
        host = Host.parse(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_BASE_URL)
        if host.needs_key and not key:
            remedies = Remedy.SET_KEY, Remedy.TRY_EMULATOR
            raise ConfigurationError(f"{host.base_url} needs a key.", remedies=remedies)
        self._set_up(
            host,
            key,
            {
                "organization": organization or os.environ.get("OPENAI_ORG_ID"),
                "project": project or os.environ.get("OPENAI_PROJECT_ID"),
            },
            http_client,
            {
                "timeout": timeout,
                "retry": retry,
                "rate_limit": rate_limit,
                "shared": shared,
                "check": check,
                "caps": caps,
                "fsync": fsync,
                "observers": observers,
                "default_headers": default_headers or {},
                "trusted_result_hosts": trusted_result_hosts,
            },
            allow_insecure=allow_insecure,
        )

    @classmethod
    def azure(
        cls,
        endpoint: str | None = None,
        *,
        deployment: str | None = None,
        api_version: str | None = None,
        model: str | None = None,
        api_key: str | None = None,
        token_provider: TokenProvider | None = None,
        http_client: HTTPClient | Callable[[], HTTPClient] | None = None,
        allow_insecure: bool = False,
        **options: Unpack[ClientOptions],
    ) -> Self:
        """Return a client for Azure OpenAI.

        Without ``api_version`` the client uses the v1 API. With a date it uses the API with deployments in its paths.

        Example:
            ```python
            client = AsyncClient.azure("https://NAME.openai.azure.com", deployment="covers", model="gpt-image-2")
            ```

        Args:
            endpoint: The URL of the resource. Default: ``AZURE_OPENAI_ENDPOINT``.
            deployment: The deployment for all requests. Default: each call names its own as ``model=``.
            api_version: A date such as ``"2025-04-01-preview"``, or ``"preview"`` for new features of the v1 API.
            model: The model that is deployed, for its checks and prices. Not needed if the deployment has the name of
                its model.
            api_key: The key of the resource. Default: ``AZURE_OPENAI_API_KEY``, if there is no ``token_provider``.
            token_provider: A function that returns a token, in place of a key, such as
                ``azure.identity.get_bearer_token_provider(credential, "https://ai.azure.com/.default")``. It is called
                in a thread, never twice at once. A token is kept until a minute before it expires, or for a minute if
                its expiry is unknown.
            http_client: As in :class:`AsyncClient`.
            allow_insecure: Whether a key may be sent over plain http to another machine.
            options: Those of :class:`ClientOptions`.

        Raises:
            ConfigurationError: If there is neither a key nor a token provider, or both, if the endpoint cannot be used,
                or if an option has a wrong value.
        """
        try:
            if api_key and token_provider is not None:
                raise ConfigurationError("Give api_key or token_provider, not both.")
            key: Secret | BearerTokenSource = (
                _secret(api_key, "AZURE_OPENAI_API_KEY")
                if token_provider is None
                else BearerTokenSource(token_provider)
            )
        finally:
            del api_key
        texts = {"endpoint": endpoint, "deployment": deployment, "api_version": api_version, "model": model}
        for name, text in texts.items():
            require_str(name, text)
        address = endpoint or os.environ.get("AZURE_OPENAI_ENDPOINT", "")
        if not address:
            remedies = (Remedy.SET_AZURE_ENDPOINT,)
            raise ConfigurationError("Azure needs an endpoint.", param="endpoint", remedies=remedies)
        from imagesdk._protocol.azure import AzureHost

        host = AzureHost.of(
            address,
            deployment=deployment,
            model=model,
            api_version=api_version,
            key_header="api-key" if token_provider is None else "authorization",
        )
        if not key:
            raise ConfigurationError(f"{host.base_url} needs a key.", remedies=(Remedy.SET_AZURE_KEY,))
        client = cls.__new__(cls)
        client._set_up(host, key, {}, http_client, options, allow_insecure=allow_insecure)  # noqa: SLF001 - our own
        return client

    def _set_up(
        self,
        host: Host,
        key: Secret | BearerTokenSource,
        account: dict[str, str | None],
        http_client: HTTPClient | Callable[[], HTTPClient] | None,
        options: ClientOptions,
        *,
        allow_insecure: bool,
    ) -> None:
        settings = ClientSettings.from_options(options)
        require_bool("allow_insecure", allow_insecure)
        proxy = remote_plain_proxy(host.base_url) if http_client is None else None
        if key and not allow_insecure and (proxy or not host.is_secure):
            raise ConfigurationError(
                f"The key would go over plain http to {proxy or host.base_url}.",
                remedies=(Remedy.USE_HTTPS, Remedy.SEND_NO_KEY, *([Remedy.SET_NO_PROXY] if proxy else [])),
            )
        headers = dict(validate_headers((name, value) for name, value in account.items() if value))
        transport: Transport = DirectTransport()
        if http_client is not None:
            from imagesdk._transport.user_client import UserClientTransport

            transport = UserClientTransport(http_client)
        shared = EngineShared(
            host=host,
            key=key,
            transport=transport,
            user_agent=_USER_AGENT,
            organization=headers.get("organization"),
            project=headers.get("project"),
        )
        downloader = Downloader(
            host, transport, settings.retry, settings.caps, _USER_AGENT, key, settings.trusted_result_hosts
        )
        self._use(Engine(shared, _engine_config(settings)), downloader, settings, owner=True)

    def _use(self, engine: Engine, downloader: Downloader, settings: ClientSettings, *, owner: bool) -> None:
        self._context = ClientContext(engine, downloader, settings.call_defaults, settings.shared)
        self._settings = settings
        self._owner = owner
        self._images = AsyncImages(self._context)
        self._files = AsyncFiles(self._context)

    @property
    def images(self) -> AsyncImages:
        """Create, edit and vary images."""
        return self._images

    @property
    def files(self) -> AsyncFiles:
        """Upload, look up and delete files, such as images that edits refer to by id."""
        return self._files

    @property
    def provenance(self) -> AsyncProvenance:
        """Check images for proof that a model of OpenAI made them."""
        from imagesdk.provenance import AsyncProvenance

        return AsyncProvenance(self._context)

    @property
    def models(self) -> AsyncModels:
        """Look up the models of the server, and when it ends them."""
        from imagesdk.served import AsyncModels

        return AsyncModels(self._context)

    @property
    def batches(self) -> AsyncBatches:
        """Create, watch and fetch batches, which cost half and take up to a day."""
        from imagesdk.batches import AsyncBatches

        return AsyncBatches(self._context)

    @property
    def base_url(self) -> str:
        """The URL of the server, without a trailing slash."""
        return self._context.engine.host.base_url

    def with_options(self, **changes: Unpack[ClientOptions]) -> AsyncClient:
        """Return a view of the client: the same connections, key and rate-limit windows, with other options.

        A view with another ``rate_limit=`` counts in the same windows, unless the scope of the limit is the client.
        Closing a view closes nothing. Close its client.

        Example:
            ```python
            patient = client.with_options(timeout=600, retry=RetryPolicy(max_attempts=8))
            ```

        Raises:
            ConfigurationError: If there is no such option, if its value is wrong, or if a header cannot be sent.
        """
        if unknown := set(changes) - set(ClientOptions.__annotations__):
            remedies = replacements_of(sorted(unknown))
            reason = "" if remedies else ": another server or key needs another client"
            raise ConfigurationError(
                f"with_options takes {', '.join(ClientOptions.__annotations__)}, not {', '.join(sorted(unknown))}{reason}.",
                remedies=remedies,
            )
        view = type(self).__new__(type(self))
        settings = self._settings.with_options(changes)
        engine = self._context.engine.with_config(_engine_config(settings))
        downloader = self._context.downloader.with_options(
            retry=settings.retry, caps=settings.caps, trusted_hosts=settings.trusted_result_hosts
        )
        view._use(engine, downloader, settings, owner=False)  # noqa: SLF001 - our own
        return view

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        images: int = 0,
        billed: bool | None = None,
        idempotency_key: str | None = None,
    ) -> RawResponse:
        """Send a request of your own to the same server, with the key, retries and rate limit of the client.

        Example:
            ```python
            models = (await client.request("GET", "/models")).json()
            ```

        Args:
            method: The HTTP method, such as ``"GET"``.
            path: A path below the base URL, such as ``"/models"``, or a whole URL on the origin of the server.
            json: A body to encode as JSON.
            content: A body as bytes, in place of ``json``. Its type is the ``content-type`` of ``headers``.
            query: Parameters of the URL.
            headers: Further headers.
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.
            images: The number of images that the request asks for, which the rate limit counts.
            billed: Whether a second execution may be billed again, so that retries follow the rules for images.
                Default: ``True`` with images, and for POST and PATCH.
            idempotency_key: The key that every attempt sends. Default: a random key.

        Raises:
            InvalidRequestError: If the request cannot be sent.
            APIError: If the request fails. A status of 400 and above raises the same error as any other call.
        """
        call = raw_call(
            method,
            path,
            body=json,
            content=content,
            query=query,
            headers=headers,
            timeout=timeout,
            images=images,
            billed=billed,
            idempotency_key=idempotency_key,
            host=self._context.engine.host,
            defaults=self._context.defaults,
        )
        return await send_raw(self._context.engine, call)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. The client can be used again."""
        if self._owner:
            await self._context.engine.transport.aclose()

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
        summary = "A client holds a key and connections and cannot be pickled"
        raise TypeError(f"{summary}; build one where it is needed.")


def _engine_config(settings: ClientSettings) -> EngineConfig:
    headers = dict(settings.headers)
    return EngineConfig(
        settings.retry, settings.limits, settings.caps, settings.observers, headers, settings.shared
    )


def _secret(given: Any, variable: str) -> Secret:
    try:
        value = os.environ.get(variable, "") if given is None else given
        if not isinstance(value, Secret):
            require_str("api_key", value)
        return value if isinstance(value, Secret) else Secret(value)
    finally:
        value = given = None  # tracebacks may show the values of variables


AsyncClient.__module__ = "imagesdk"

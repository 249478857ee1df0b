"""Azure OpenAI: two surfaces, deployments in place of models, a header of its own for the key.

The v1 surface is the maker's API under another address: ``/openai/v1/images/generations``, with the name of the
deployment for a model. The classic surface has the deployment in its path and a dated version in its query:
``/openai/deployments/NAME/images/generations?api-version=2025-04-01-preview``, and its body names no model.

https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from attrs import frozen

from imagesdk._protocol.hosts import Host, Route
from imagesdk.errors import ConfigurationError, InvalidRequestError
from imagesdk.jobs import Job

_DATED_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-[a-z]+)?")
_API_VERSION = re.compile(r"[A-Za-z0-9._-]+")
_V1, _CLASSIC = "/openai/v1", "/openai"


@frozen
class AzureHost(Host):
    """A resource of Azure OpenAI, by one of its two surfaces."""

    key_header: str = "api-key"
    deployment: str | None = None
    """What every request is for; ``None`` where each call names its own."""
    model: str | None = None
    """What is deployed there, where that was said."""
    api_version: str | None = None

    @classmethod
    def of(
        cls,
        endpoint: str,
        *,
        deployment: str | None,
        model: str | None,
        api_version: str | None,
        key_header: str = "api-key",
    ) -> AzureHost:
        """Read an endpoint, with or without ``/openai`` or ``/openai/v1`` at its end.

        Raises:
            ConfigurationError: it is no endpoint, or does not go with ``api_version``.
        """
        plain = endpoint.partition("?")[0].rstrip("/")
        if "/deployments/" in plain or plain.endswith("/images/generations"):
            raise ConfigurationError(
                "endpoint is the address of the resource, such as https://NAME.openai.azure.com: what follows it "
                "goes into deployment= and api_version=."
            )
        base_url = Host.parse(endpoint).base_url
        if api_version is not None and not _API_VERSION.fullmatch(api_version):
            raise ConfigurationError(
                f'api_version is a date such as "2025-04-01-preview", or "preview", not {api_version!r}.'
            )
        if deployment is not None and not deployment.strip():
            raise ConfigurationError(
                "deployment is the name of a deployment; leave it out to name one with each call."
            )
        classic = api_version is not None and _DATED_VERSION.fullmatch(api_version) is not None
        root = base_url.removesuffix(_V1)
        if classic and root != base_url:
            raise ConfigurationError(
                f"api_version={api_version!r} is of the surface without /v1, and the endpoint ends with {_V1}: "
                "leave one of them out."
            )
        root = root.removesuffix(_CLASSIC)
        return cls(
            root + (_CLASSIC if classic else _V1),
            key_header=key_header,
            deployment=deployment,
            model=model,
            api_version=api_version,
        )

    @property
    def is_classic(self) -> bool:
        """Whether deployments are part of the path."""
        return not self.base_url.endswith(_V1)

    @property
    def needs_key(self) -> bool:
        """Whether a key is needed: always."""
        return True

    @property
    def suggested_base_url(self) -> str | None:
        """Nothing: what the path lacks is not to be guessed."""
        return None

    @property
    def uses_list_prices(self) -> bool:
        """Whether the maker's published prices hold: Azure asks the same for each token."""
        return True

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the URL of an endpoint, with the version where there is one."""
        versioned = {"api-version": self.api_version} if self.api_version else {}
        return super().url(path, {**versioned, **(query or {})})

    def default_model(self, job: Job) -> str | None:
        """Return what is deployed, where that was said."""
        return self.model if self.deployment else None

    def route(self, path: str, model: str | None) -> Route:
        """Return where a request for pictures goes.

        Raises:
            InvalidRequestError: nothing names a deployment.
        """
        name = self.deployment or model
        if name is None:
            raise InvalidRequestError(
                "On Azure a deployment must be named: in AsyncClient.azure(deployment=...), or with the call as model=.",
                param="model",
                allowed="the name of a deployment",
            )
        if self.is_classic:
            return Route(f"/deployments/{quote(name, safe='')}{path}", name, in_body=False)
        return Route(path, name)

    def resolve_model(self, name: str | None) -> str | None:
        """Return the model whose rules hold: the one that was named, else the one that the deployment is called after."""
        if self.deployment is None:
            return self.model or name
        return name or self.deployment

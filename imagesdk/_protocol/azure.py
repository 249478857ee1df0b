"""Azure OpenAI: deployments instead of models, and the key in the header ``api-key``.

Azure offers the API in two forms:

=======  ===============================================  ========================  =====================
API      path of a generation                             query                     deployment
=======  ===============================================  ========================  =====================
v1       ``/openai/v1/images/generations``                optional ``api-version``  ``model`` in the body
classic  ``/openai/deployments/NAME/images/generations``  dated ``api-version``     in the path
=======  ===============================================  ========================  =====================

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
    """A resource of Azure OpenAI, with one of the two APIs."""

    key_header: str = "api-key"
    deployment: str | None = None
    """The deployment of every request; ``None`` if each call names one."""
    model: str | None = None
    """The model of the deployment, if the caller states it."""
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
        """Parse an endpoint, with or without ``/openai`` or ``/openai/v1`` at its end."""
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
            message = "deployment is the name of a deployment; leave it out to name one with each call."
            raise ConfigurationError(message)
        classic = api_version is not None and _DATED_VERSION.fullmatch(api_version) is not None
        root = base_url.removesuffix(_V1)
        if classic and root != base_url:
            raise ConfigurationError(
                f"api_version={api_version!r} is for endpoints without /v1, but the endpoint ends with {_V1}. "
                "Leave one of them out."
            )
        root = root.removesuffix(_CLASSIC)
        return cls(root + (_CLASSIC if classic else _V1), key_header, deployment, model, api_version)

    @property
    def needs_key(self) -> bool:
        """Always: Azure requires a key."""
        return True

    @property
    def suggested_base_url(self) -> str | None:
        """No suggestion: the path of a resource cannot be guessed."""
        return None

    def url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the URL of an endpoint, with ``api-version`` if it is set."""
        versioned = {"api-version": self.api_version} if self.api_version else {}
        return super().url(path, {**versioned, **(query or {})})

    def default_model(self, job: Job) -> str | None:
        """Return the model of the deployment, if the caller states both."""
        return self.model if self.deployment else None

    def route(self, path: str, model: str | None) -> Route:
        """Return the route of an image request, and refuse one that names no deployment."""
        name = self.deployment or model
        if name is None:
            raise InvalidRequestError(
                "On Azure a deployment must be named: in AsyncClient.azure(deployment=...), or with the call as model=.",
                param="model",
                allowed="the name of a deployment",
            )
        if not self.base_url.endswith(_V1):
            return Route(f"/deployments/{quote(name, safe='')}{path}", name, in_body=False)
        return Route(path, name)

    def resolve_model(self, name: str | None) -> str | None:
        """Return the model whose rules apply: the stated model, otherwise the one that the deployment is named after."""
        if self.deployment is None:
            return self.model or name
        return name or self.deployment

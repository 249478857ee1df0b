"""Proxies and trusted certificates from the environment.

The variables are those of httpx: HTTPS_PROXY, ALL_PROXY, NO_PROXY and so on, SSL_CERT_FILE and SSL_CERT_DIR.
"""

from __future__ import annotations

import os
import ssl
import threading
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import httpx

from imagesdk._protocol.hosts import is_loopback
from imagesdk.errors import ConfigurationError


def remote_plain_proxy(url: str) -> str | None:
    """Return host and port of the proxy on another machine that could read a request to ``url``."""
    try:
        proxy = urlsplit(proxy_for(url) or "")
    except ValueError:  # the first request will report it
        return None
    if not url.startswith("http:") or proxy.hostname is None or is_loopback(proxy.hostname):
        return None
    return proxy.netloc.rpartition("@")[2]


def redacted_proxy(proxy: str) -> str:
    """Return the URL of a proxy without its password."""
    return proxy.rpartition("@")[2]


def proxy_for(url: str) -> str | None:
    """Return the proxy of the environment for ``url``; ``None`` for a direct connection."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


_tls: ssl.SSLContext | None = None
_tls_lock = threading.Lock()


async def tls_context() -> ssl.SSLContext:
    """Return the TLS context of the process, with the certificates of the environment; built at first use."""
    return await anyio.to_thread.run_sync(_build_tls_context) if _tls is None else _tls


def _build_tls_context() -> ssl.SSLContext:
    global _tls  # noqa: PLW0603 - one context for the process is the point
    with _tls_lock:
        if _tls is None:
            try:
                if file := os.environ.get("SSL_CERT_FILE"):
                    Path(file).stat()  # httpx before 0.28 ignores a file that does not exist
                _tls = httpx.create_ssl_context()
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"The certificates to trust cannot be read ({error}): see SSL_CERT_FILE and SSL_CERT_DIR."
                ) from None
        return _tls


class _NamedServerContext(ssl.SSLContext):
    """A context for a server of a given name: in the tunnel of a proxy, httpcore takes the name from the URL."""

    context: ssl.SSLContext
    name: str

    def wrap_bio(self, incoming: Any, outgoing: Any, server_side: bool = False, *_: Any, **__: Any) -> Any:
        return self.context.wrap_bio(incoming, outgoing, server_side, self.name)


def with_server_hostname(context: ssl.SSLContext, name: str) -> ssl.SSLContext:
    """Return a context that trusts as ``context`` does and checks for a server of that name."""
    named = _NamedServerContext(ssl.PROTOCOL_TLS_CLIENT)
    named.context, named.name = context, name
    return named

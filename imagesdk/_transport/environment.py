"""What the environment says about the way to a server: proxies, and certificates to trust.

As in plain httpx: HTTPS_PROXY, ALL_PROXY, NO_PROXY and their like, SSL_CERT_FILE and SSL_CERT_DIR.
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
    """Return the proxy on another machine, by host and port, that would see all of a request to ``url``."""
    try:
        proxy = urlsplit(proxy_for(url) or "")
    except ValueError:  # found out, and told, by the first request
        return None
    if not url.startswith("http:") or proxy.hostname is None or is_loopback(proxy.hostname):
        return None
    return proxy.netloc.rpartition("@")[2]


def redacted_proxy(proxy: str) -> str:
    """A proxy without the password that its URL may hold."""
    return proxy.rpartition("@")[2]


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for ``url`` (HTTPS_PROXY, ALL_PROXY, NO_PROXY and their like)."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


_tls: ssl.SSLContext | None = None
_tls_lock = threading.Lock()


async def tls_context() -> ssl.SSLContext:
    """Return the process's TLS context, with the CA settings of the environment; built at first need."""
    if _tls is not None:
        return _tls
    return await anyio.to_thread.run_sync(_build)


def _build() -> ssl.SSLContext:
    global _tls  # noqa: PLW0603 - one context for the process is the point
    with _tls_lock:
        if _tls is None:
            try:
                if file := os.environ.get("SSL_CERT_FILE"):
                    Path(file).stat()  # httpx before 0.28 passes over one that is not there
                _tls = httpx.create_ssl_context()
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"The certificates to trust cannot be read ({error}): see SSL_CERT_FILE and SSL_CERT_DIR."
                ) from None
        return _tls


class _Expecting(ssl.SSLContext):
    """The process's TLS context, for a server of a given name.

    httpcore takes the name to expect from ``sni_hostname``, but within the tunnel of a proxy from the URL.
    """

    context: ssl.SSLContext
    name: str

    def wrap_bio(self, incoming: Any, outgoing: Any, server_side: bool = False, *_: Any, **__: Any) -> Any:
        return self.context.wrap_bio(incoming, outgoing, server_side, self.name)


def with_server_hostname(context: ssl.SSLContext, name: str) -> ssl.SSLContext:
    """Return a context that trusts as ``context`` does and expects a server of that name."""
    expecting = _Expecting(ssl.PROTOCOL_TLS_CLIENT)
    expecting.context, expecting.name = context, name
    return expecting

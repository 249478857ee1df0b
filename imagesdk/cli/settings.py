"""Settings of the command line, each with its origin. A key is reported as set or not, never shown."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from attrs import frozen

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "emulator": ("starlette", "uvicorn", "python-multipart", "pillow", "trustme"),
    "cli": ("rich", "shtab"),
    "pillow": ("pillow",),
    "fast": ("pybase64",),
    "httpx2": ("httpx2",),
    "aiohttp": ("httpx-aiohttp",),
    "redis": ("redis",),
    "fsspec": ("fsspec",),
    "otel": ("opentelemetry-api",),
    "ray": ("ray",),
    "celery": ("celery",),
    "dask": ("distributed",),
}
"""The distributions of each extra."""
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_PLAIN = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "AZURE_OPENAI_ENDPOINT", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SWITCHES = ("IMAGESDK_SHARED", "NO_COLOR", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")


@frozen
class Setting:
    """A setting, its value as it may be shown, and where it is set."""

    name: str
    value: str | None
    """``None`` if it is not set."""
    origin: str
    """An option, an environment variable, or ``"default"``."""


def settings_of(options: Namespace) -> list[Setting]:
    """Return the settings that a command with these options has."""
    found = [base_url_of(options), _key("OPENAI_API_KEY"), _key("AZURE_OPENAI_API_KEY"), rate_limit_of()]
    found += [_plain(name) for name in _PLAIN]
    found += [_proxy(name) for name in _PROXIES]
    return [*found, *(_plain(name) for name in _SWITCHES)]


def base_url_of(options: Namespace) -> Setting:
    """Return the base URL of the server."""
    if given := getattr(options, "base_url", None):
        return Setting("base_url", _without_password(given), "--base-url")
    if given := os.environ.get("OPENAI_BASE_URL"):
        return Setting("base_url", _without_password(given), "OPENAI_BASE_URL")
    from imagesdk._protocol.hosts import OPENAI_BASE_URL

    return Setting("base_url", OPENAI_BASE_URL, "default")


def rate_limit_of() -> Setting:
    """Return the rate limit, as written."""
    if text := os.environ.get("IMAGESDK_RATE_LIMIT", "").strip():
        return Setting("rate_limit", text, "IMAGESDK_RATE_LIMIT")
    from imagesdk.policies import DEFAULT_RATE_LIMIT

    per = "min" if DEFAULT_RATE_LIMIT.per == 60 else f"{DEFAULT_RATE_LIMIT.per:g}s"
    return Setting("rate_limit", f"{DEFAULT_RATE_LIMIT.images}/{per}", "default")


def missing_of(extra: str) -> list[str]:
    """Return the distributions of an extra that are not installed."""
    missing: list[str] = []
    for name in EXTRAS[extra]:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def _key(name: str) -> Setting:
    length = len(os.environ.get(name, ""))
    return Setting(name.lower(), f"set ({length} characters)" if length else None, name)


def _plain(name: str) -> Setting:
    value = os.environ.get(name)
    return Setting(name.lower(), _without_password(value) if value else None, name)


def _without_password(value: str) -> str:
    """Return a URL without its user, password and query; another value as it is."""
    scheme, separator, rest = value.partition("://")
    place, slash, path = rest.partition("/")
    path, query, _ = path.partition("?")
    if not separator:
        return value
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}{'?...' if query else ''}"


def _proxy(name: str) -> Setting:
    """Return a proxy without its password. Variables in lower case win, as in httpx."""
    from imagesdk._transport.environment import redacted_proxy

    origin = name.lower() if os.environ.get(name.lower()) else name
    value = os.environ.get(origin)
    return Setting(name.lower(), redacted_proxy(value) if value else None, origin)

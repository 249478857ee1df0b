"""``imagesdk doctor``: check the key, the server, the limit, the network, the clock and the extras. It costs nothing."""

from __future__ import annotations

import os
import platform
import time
from argparse import Namespace
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import asdict, frozen

from imagesdk.cli.exits import OK, USAGE, exit_code_of
from imagesdk.cli.remedies import error_text
from imagesdk.cli.session import has_flag, open_client, print_json
from imagesdk.cli.settings import EXTRAS, base_url_of, missing_of, rate_limit_of

if TYPE_CHECKING:
    from imagesdk import Client

State: TypeAlias = Literal["ok", "note", "problem"]

_CLOCK_TOLERANCE = 5.0
"""Seconds that the clocks of this machine and of the server may differ."""
_TIMEOUT = 20.0


@frozen
class Finding:
    """The result of one check."""

    check: str
    state: State
    text: str
    code: int = OK
    """The exit code of a problem."""


def run(options: Namespace) -> int:
    """Print the findings. Return 0 if there is no problem, or the exit code of the first one."""
    findings: list[Finding] = []
    for finding in _check(options):
        findings.append(finding)
        if not has_flag(options, "json"):
            print(f"{finding.state:<8}{finding.check:<12}{finding.text}", flush=True)
    problems = [finding for finding in findings if finding.state == "problem"]
    if has_flag(options, "json"):
        print_json({"ok": not problems, "findings": [asdict(finding) for finding in findings]})
    else:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        print(count if problems else "everything is in order")
    return problems[0].code if problems else OK


def _check(options: Namespace) -> Iterator[Finding]:
    from imagesdk import __version__

    versions = f"imagesdk {__version__}, Python {platform.python_version()}, httpx {version('httpx')}"
    yield Finding("versions", "ok", f"{versions}, {platform.system()} {platform.machine()}")
    missing = {extra: names for extra in EXTRAS if (names := missing_of(extra))}
    present = ", ".join(extra for extra in EXTRAS if extra not in missing) or "none"
    yield Finding("extras", "ok", f"installed: {present}")
    if missing:
        texts = (f"{extra} (needs {', '.join(names)})" for extra, names in missing.items())
        yield Finding("extras", "note", f"not installed: {'; '.join(texts)}")
    yield from _check_settings(options)
    if options.offline:
        return
    yield from _check_server(options)


def _check_settings(options: Namespace) -> Iterator[Finding]:
    from imagesdk._calls.client_options import parse_rate_limit
    from imagesdk._protocol.hosts import Host
    from imagesdk._transport.environment import proxy_for, redacted_proxy
    from imagesdk.errors import ConfigurationError

    limit = rate_limit_of()
    try:
        parse_rate_limit(limit.origin, limit.value or "")
        yield Finding("limit", "ok", f"{limit.value} images ({limit.origin})")
    except ConfigurationError as error:
        yield Finding("limit", "problem", error_text(error, options), USAGE)
    if has_flag(options, "emulator"):
        return
    base_url = base_url_of(options)
    try:
        given = getattr(options, "base_url", None) or os.environ.get("OPENAI_BASE_URL")
        host = Host.parse(given or base_url.value or "")
    except ConfigurationError as error:
        yield Finding("base URL", "problem", error_text(error, options), USAGE)
        return
    yield Finding("base URL", "ok", f"{host.base_url} ({base_url.origin})")
    if host.suggested_base_url is not None:
        yield Finding(
            "base URL", "note", f"its path has no version: most servers want {host.suggested_base_url}"
        )
    yield _check_key(needed=host.needs_key)
    proxy = proxy_for(host.base_url)
    yield Finding("proxy", "ok", redacted_proxy(proxy) if proxy else "none for this server")
    yield _check_certificates()


def _check_key(*, needed: bool) -> Finding:
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key:
        if needed:
            return Finding("key", "problem", "OPENAI_API_KEY is not set, and this server needs a key", USAGE)
        return Finding("key", "note", "OPENAI_API_KEY is not set; this server may need none")
    if key != key.strip() or key.strip("\"'") != key:
        return Finding("key", "problem", "OPENAI_API_KEY begins or ends with white space or a quote", USAGE)
    return Finding("key", "ok", f"OPENAI_API_KEY is set ({len(key)} characters)")


def _check_certificates() -> Finding:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if path := os.environ.get(name):
            if not Path(path).exists():
                return Finding("CA", "problem", f"{name} names {path}, which does not exist", USAGE)
            return Finding("CA", "ok", f"{path} ({name})")
    return Finding("CA", "ok", "the certificates that httpx trusts by default")


def _check_server(options: Namespace) -> Iterator[Finding]:
    """Ask for the models of the server, which is free, and compare the clocks."""
    from imagesdk.errors import ImageSDKError, NotFoundError

    try:
        with open_client(options, rate_limit=None, timeout=_TIMEOUT) as client:
            yield from _ask(client)
    except NotFoundError:
        yield Finding("server", "note", "it answers, but has no GET /models")
    except ImageSDKError as error:
        yield Finding("server", "problem", error_text(error, options), exit_code_of(error))


def _ask(client: Client) -> Iterator[Finding]:
    began = time.perf_counter()
    response = client.request("GET", "/models")
    milliseconds = (time.perf_counter() - began) * 1000
    try:
        count = f"{len(response.json()['data'])} models"
    except (ValueError, KeyError, TypeError):
        count = "no list of models"
    yield Finding("server", "ok", f"GET /models: {response.status_code}, {count}, {milliseconds:.0f} ms")
    date = response.headers.get("date")
    if date is None:
        yield Finding("clock", "note", "the server sends no date")
        return
    try:
        ahead = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        yield Finding("clock", "note", "the server sends no readable date")
        return
    if abs(ahead) > _CLOCK_TOLERANCE:
        direction = "ahead of" if ahead > 0 else "behind"
        yield Finding(
            "clock",
            "problem",
            f"{abs(ahead):.0f} s {direction} the server: expiry dates of URLs are wrong",
            1,
        )
    else:
        yield Finding("clock", "ok", "agrees with the server")

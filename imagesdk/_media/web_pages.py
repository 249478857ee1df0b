"""Web pages in one piece: style and script inside the page, and a policy that allows nothing else.

What a page shows is untrusted. The content security policy names style and script by their hashes, so that neither
a prompt nor a file name can add another, and the page loads nothing but images from its own place.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

__all__ = ["SHARED", "asset", "page_head", "page_script"]

SHARED: Final = ("imagesdk._media", "page")
"""Package and name of the style and the script that every page has."""


@cache
def asset(package: str, name: str) -> str:
    """Return the text of a file of the package. Blocks at its first use."""
    return files(package).joinpath(name).read_text("utf-8")


def page_head(title: str, package: str, name: str, *, connect: str = "'none'") -> str:
    """Return the beginning of a page up to ``<body>``, with the styles and the policy of ``name``.

    ``connect`` is where the script may send requests.
    """
    style = _both(package, name, "css")
    policy = (
        f"default-src 'none'; img-src 'self' file: data: blob:; style-src {_hash(style)}; "
        f"script-src {_hash(page_source(package, name))}; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    return (
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )


def page_script(package: str, name: str) -> str:
    """Return the end of a page, with its scripts."""
    return f"<script>{page_source(package, name)}</script>\n</body>\n</html>\n"


def page_source(package: str, name: str) -> str:
    """Return the scripts of a page."""
    return _both(package, name, "js")


def _both(package: str, name: str, kind: str) -> str:
    return f"\n{asset(SHARED[0], f'{SHARED[1]}.{kind}')}{asset(package, f'{name}.{kind}')}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

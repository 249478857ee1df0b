"""``llms.txt`` and ``llms-full.txt``: the documentation for language models, https://llmstxt.org."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SUMMARY = (
    "Unofficial Python client for the OpenAI Images API: an async core, a blocking facade, a command line, and an "
    "emulator that needs no key. Install from git; the package of this name on PyPI is another one."
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")


def index(entries: Iterable[tuple[str, str, str]], texts: Mapping[str, str]) -> str:
    """Return ``llms.txt``: the pages by section, each with its first sentence."""
    lines = ["# imagesdk", "", f"> {_SUMMARY}"]
    section: str | None = None
    for name, title, page in entries:
        if page not in texts:
            continue
        if name != section:
            section = name
            lines += ["", f"## {name or 'Start'}", ""]
        lines.append(f"- [{title}]({page}): {first_sentence(texts[page])}")
    return "\n".join(lines) + "\n"


def full(entries: Iterable[tuple[str, str, str]], texts: Mapping[str, str]) -> str:
    """Return ``llms-full.txt``: all pages one after the other, in the order of the navigation."""
    return (
        "\n\n".join(f"<!-- {page} -->\n{texts[page].strip()}" for _, _, page in entries if page in texts)
        + "\n"
    )


def first_sentence(text: str) -> str:
    """Return the first sentence of a page after its title."""
    for paragraph in re.split(r"\n\s*\n", text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
        if plain and not plain.startswith(("#", "```", "|", "!", ">", "<", "-")):
            return _SENTENCE_END.split(plain, maxsplit=1)[0]
    return ""

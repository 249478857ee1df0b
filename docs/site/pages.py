"""Pages of the site: their sources in the repository, their links, and their order in the navigation."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "docs" / "site" / "mkdocs.yml"
GENERATED: Final = {"reference/api.md", "reference/modules.md", "reference/cli.md"}
_ELSEWHERE: Final = {
    "index.md": "docs/guide.md",
    "contributing.md": "CONTRIBUTING.md",
    "code-of-conduct.md": ".github/CODE_OF_CONDUCT.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks-2026-11.md": "tests/benchmarks/results/2026-11.md",
}
"""Pages that have another name in the repository."""
_ENTRY = re.compile(r"^(?P<indent> *)- (?P<title>[^:\n]+): *(?P<page>\S+\.md)?$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\])\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_INLINE = re.compile(r"`[^`\n]*`")


def sources() -> dict[str, str]:
    """Return the file in the repository of each page of the site."""
    own = {
        path.name: f"docs/{path.name}"
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.name != "guide.md"
    }
    return {**own, **_ELSEWHERE}


def navigation() -> list[tuple[str, str, str]]:
    """Return section, title and page of each entry of the navigation."""
    found: list[tuple[str, str, str]] = []
    section = ""
    text = CONFIG.read_text("utf-8")
    for entry in _ENTRY.finditer(text, text.index("\nnav:\n")):
        if entry["page"] is None:
            section = entry["title"]
        else:
            found.append((section if len(entry["indent"]) > 2 else "", entry["title"], entry["page"]))
    return found


def config_for(pages: set[str]) -> str:
    """Return the configuration without entries for pages that do not exist."""

    def kept(entry: re.Match[str]) -> bool:
        return entry["page"] is None or entry["page"] in pages

    lines = CONFIG.read_text("utf-8").splitlines(keepends=True)
    return "".join(
        line for line in lines if (entry := _ENTRY.match(line.rstrip("\n"))) is None or kept(entry)
    )


def prose(text: str) -> str:
    """Return a page without its blocks of code."""
    return _FENCED.sub("", text)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page."""
    return {slug(heading) for heading in _HEADING.findall(prose(text))}


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and Python-Markdown make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def links(text: str) -> Iterator[str]:
    """Yield the targets of the links of a page that are not URLs."""
    for found in _LINK.finditer(_INLINE.sub("", prose(text))):
        if "://" not in found["target"] and not found["target"].startswith("mailto:"):
            yield found["target"]


def for_site(page: str, source: str, text: str) -> str:
    """Return a page with links between files of the repository as links between pages of the site."""
    page_of = {file: name for name, file in sources().items()}

    def target(found: re.Match[str]) -> str:
        path, _, anchor = found["target"].partition("#")
        if not path or "://" in found["target"]:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        there = page_of.get(file, file.removeprefix("docs/"))
        relative = posixpath.relpath(there, posixpath.dirname(page) or ".")
        return f"({relative}{'#' if anchor else ''}{anchor})"

    return _LINK.sub(target, text)


def broken_links(texts: dict[str, str], files: set[str]) -> list[str]:
    """Return the links of pages to pages, files and anchors that do not exist."""
    broken: list[str] = []
    for page, text in texts.items():
        for link in links(text):
            path, _, anchor = link.partition("#")
            there = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
            if (there not in texts and there not in files) or (
                anchor and there in texts and there not in GENERATED and anchor not in anchors(texts[there])
            ):
                broken.append(f"{page}: {link}")
    return broken

"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENGINES = ROOT / "docs" / "engines.md"
"""The page whose programs need heavy packages, and run in the session ``engines``."""


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the blocks of a page, but for programs that need heavy packages."""
    known = [language for language in languages if page != ENGINES or language == "text"]
    return [code for language, code in BLOCK.findall(page.read_text("utf-8")) if language in known]

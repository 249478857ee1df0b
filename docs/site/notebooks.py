"""The tutorial as notebooks: made from its pages, compared with them, and executed against the emulator.

``python -m docs.site.notebooks`` writes them, ``--check`` fails if one is stale, ``--execute FOLDER`` runs them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from docs.site.pages import ROOT

PAGES = sorted((ROOT / "docs").glob("tutorial-*.md"))
FOLDER = ROOT / "docs" / "notebooks"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)
_SECONDS = 120


def notebook_of(text: str) -> dict[str, Any]:
    """Return the notebook of a page: prose and console blocks as Markdown, Python blocks as code."""
    cells: list[dict[str, Any]] = []
    prose, end = "", 0

    def add(kind: str, source: str) -> None:
        source = source.strip()
        if source:
            cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}}
            if kind == "code":
                cell |= {"execution_count": None, "outputs": []}
            cells.append({**cell, "source": source.splitlines(keepends=True)})

    for block in _BLOCK.finditer(text):
        prose += text[end : block.start()]
        end = block.end()
        if block[1] == "python":
            add("markdown", prose)
            add("code", block[2])
            prose = ""
        else:
            prose += block[0]
    add("markdown", re.sub(r"\[This page as a notebook\]\([^)]*\)\. ", "", prose + text[end:]))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def written(page: Path) -> str:
    """Return the text of the notebook of a page."""
    return json.dumps(notebook_of(page.read_text("utf-8")), indent=1, ensure_ascii=False) + "\n"


def execute(target: Path) -> None:
    """Execute every notebook against an emulator, and write it with its outputs."""
    nbclient, nbformat = import_module("nbclient"), import_module("nbformat")
    from imagesdk.emulator import Emulator

    target.mkdir(parents=True, exist_ok=True)
    with Emulator(limit=None) as emulator:
        os.environ |= {"OPENAI_BASE_URL": emulator.base_url, "OPENAI_API_KEY": "none"}
        for page in PAGES:
            notebook = nbformat.reads(written(page), as_version=4)
            with tempfile.TemporaryDirectory() as folder:
                resources = {"metadata": {"path": folder}}
                nbclient.NotebookClient(notebook, timeout=_SECONDS, resources=resources).execute()
            (target / f"{page.stem}.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
            print(f"executed {page.stem}.ipynb")


def main() -> int:
    """Write, check or execute the notebooks."""
    options = argparse.ArgumentParser(description="The tutorial as notebooks.")
    options.add_argument("--check", action="store_true", help="fail if a notebook is stale")
    options.add_argument(
        "--execute", type=Path, metavar="FOLDER", help="execute them, and write the results there"
    )
    given = options.parse_args()
    if given.execute is not None:
        execute(given.execute)
        return 0
    stale: list[str] = []
    FOLDER.mkdir(exist_ok=True)
    for page in PAGES:
        path, text = FOLDER / f"{page.stem}.ipynb", written(page)
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(path.name)
            if not given.check:
                path.write_text(text, encoding="utf-8")
    print(", ".join(stale) or "all notebooks are fresh", "are stale" if given.check and stale else "")
    return 1 if given.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

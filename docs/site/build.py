"""``python -m docs.site.build``: assemble the pages of the site in ``build/docs``, and check their links.

With ``--site`` it builds the site with zensical, and adds ``llms.txt`` and the pages as Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from docs.site import llms, reference
from docs.site.pages import ROOT, broken_links, config_for, for_site, navigation, sources

BUILD = ROOT / "build"


def texts() -> dict[str, str]:
    """Return the text of each page of the site."""
    own = {
        page: for_site(page, source, (ROOT / source).read_text("utf-8")) for page, source in sources().items()
    }
    generated = {
        "reference/api.md": reference.api(),
        "reference/modules.md": reference.modules(),
        "reference/cli.md": reference.command_line(),
    }
    return {**own, **generated}


def files() -> dict[str, Path]:
    """Return the files beside the pages: images, notebooks and the licence."""
    docs = ROOT / "docs"
    found = {
        path.relative_to(docs).as_posix(): path
        for name in ("assets", "notebooks")
        for path in (docs / name).iterdir()
    }
    return {"LICENSE": ROOT / "LICENSE", **found}


def assemble(target: Path) -> list[str]:
    """Write pages, files and configuration; return the broken links."""
    shutil.rmtree(target, ignore_errors=True)
    pages = texts()
    for page, text in pages.items():
        path = target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, source in files().items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    (target.parent / "mkdocs.yml").write_text(config_for(set(pages)), encoding="utf-8")
    return broken_links(pages, set(files()))


def main() -> int:
    """Assemble the pages, and build the site if asked."""
    options = argparse.ArgumentParser(description="The site of the documentation.")
    options.add_argument("--site", action="store_true", help="build the site with zensical")
    options.add_argument("--notebooks", type=Path, metavar="FOLDER", help="executed notebooks to publish")
    given = options.parse_args()
    broken = assemble(BUILD / "docs")
    for link in broken:
        print(f"broken link in {link}", file=sys.stderr)
    if broken:
        return 1
    if given.notebooks is not None:
        shutil.copytree(given.notebooks, BUILD / "docs" / "notebooks", dirs_exist_ok=True)
    if given.site:
        command = ["zensical", "build", "--clean", "--strict", "-f", str(BUILD / "mkdocs.yml")]
        done = subprocess.run(command, cwd=ROOT)  # noqa: S603 - our own command
        if done.returncode:
            return done.returncode
        pages = {**texts(), "reference/api.md": reference.api_as_text()}
        for page, text in pages.items():
            path = BUILD / "site" / page
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (BUILD / "site" / "llms.txt").write_text(llms.index(navigation(), pages), encoding="utf-8")
        (BUILD / "site" / "llms-full.txt").write_text(llms.full(navigation(), pages), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

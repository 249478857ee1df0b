"""The site of the documentation: its navigation, links, notebooks, generated pages and texts for language models."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import imagesdk
from docs.site import build, llms, notebooks, pages, reference
from imagesdk.cli import parser
from tests.support.doc_pages import ROOT, blocks


def test_every_page_is_once_in_the_navigation() -> None:
    listed = [page for _, _, page in pages.navigation()]
    assert len(listed) == len(set(listed))
    there = {*pages.sources(), *pages.GENERATED}
    assert there - set(listed) == set(), "add the page to docs/site/mkdocs.yml"


def test_the_configuration_of_a_build_has_only_pages_that_exist() -> None:
    written = pages.config_for({"index.md", "install.md"})
    assert re.findall(r"\S+\.md$", written, re.MULTILINE) == ["index.md", "install.md"]
    assert "  - Tutorial:\n" in written
    assert "plugins:\n" in written


def test_all_links_and_anchors_of_the_site_lead_somewhere() -> None:
    assert pages.broken_links(build.texts(), set(build.files())) == []


def test_a_broken_link_and_a_broken_anchor_are_found() -> None:
    texts = {
        "a.md": "# A\n[x](b.md#there) [y](b.md#nowhere) [z](c.md) [w](#a) `[v](d.md)`",
        "b.md": "# B\n## There!\n",
    }
    assert pages.broken_links(texts, set()) == ["a.md: b.md#nowhere", "a.md: c.md"]


def test_an_anchor_is_that_of_github() -> None:
    assert pages.slug("One `generate()`") == "one-generate"
    assert pages.slug("`--json` of `generate`, `edit` and `vary`") == "--json-of-generate-edit-and-vary"
    assert pages.slug("When [the server](x.md) is away") == "when-the-server-is-away"


def test_links_between_files_become_links_between_pages() -> None:
    text = "[a](guide.md) [b](../SECURITY.md#reporting) [c](https://x.test/guide.md) [d](#here)"
    shown = pages.for_site("install.md", "docs/install.md", text)
    assert shown == "[a](index.md) [b](security.md#reporting) [c](https://x.test/guide.md) [d](#here)"
    assert pages.for_site("changelog.md", "CHANGELOG.md", "[a](docs/install.md)") == "[a](install.md)"


def test_the_notebooks_are_those_of_the_tutorial() -> None:
    assert len(notebooks.PAGES) == 4
    for page in notebooks.PAGES:
        committed = (notebooks.FOLDER / f"{page.stem}.ipynb").read_text("utf-8")
        assert committed == notebooks.written(page), "run: python -m docs.site.notebooks"
        cells = json.loads(committed)["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        assert code == [block.strip() for block in blocks(page, "python")]


def test_the_generated_reference_has_every_public_name_and_every_command() -> None:
    assert set(re.findall(r"^::: imagesdk\.(\w+)$", reference.api(), re.MULTILINE)) == set(imagesdk.__all__)
    text = reference.api_as_text()
    assert "### AsyncClient.with_options" in text
    assert all(f"## imagesdk.{name}\n" in text for name in imagesdk.__all__)
    helps = reference.command_line()
    assert all(f"## imagesdk {name}\n" in helps for name in parser.build().commands)
    assert "::: imagesdk.events" in reference.modules()


def test_llms_txt_lists_each_page_with_its_first_sentence() -> None:
    entries = [
        ("", "Install", "install.md"),
        ("How-to", "Errors", "errors.md"),
        ("How-to", "Gone", "gone.md"),
    ]
    texts = {
        "install.md": "# Install\n\n```text\nx\n```\n\nPython [3.11](x.md) or later. More.",
        "errors.md": "# E\n\n| a |\n\nAn error.",
    }
    shown = llms.index(entries, texts)
    assert shown.startswith("# imagesdk\n\n> Unofficial Python client")
    assert "## Start\n\n- [Install](install.md): Python 3.11 or later.\n" in shown
    assert shown.endswith("## How-to\n\n- [Errors](errors.md): An error.\n")
    assert llms.full(entries, texts).index("# Install") < llms.full(entries, texts).index("# E\n")


def test_every_page_of_the_site_has_a_first_sentence_for_llms_txt() -> None:
    texts = build.texts()
    empty = [page for page in texts if not llms.first_sentence(texts[page])]
    assert empty == []


def test_the_page_on_the_environment_lists_every_variable_that_the_package_reads() -> None:
    page = (ROOT / "docs" / "environment.md").read_text("utf-8")
    variable = re.compile(r"[\"'](?=IMAGESDK|OPENAI|AZURE_OPENAI|OTEL|SSL)([A-Z]+(?:_[A-Z]+)+)[\"']")
    modules = [path for path in (ROOT / "imagesdk").rglob("*.py") if "emulator" not in path.parts]
    read = {name for path in modules for name in variable.findall(path.read_text("utf-8"))}
    assert {name for name in read if f"`{name}`" not in page} == set()
    assert len(read) > 8


def test_the_page_on_schemas_has_every_field_and_column() -> None:
    page = (ROOT / "docs" / "schemas.md").read_text("utf-8")
    from imagesdk.fan_out.rows import COLUMNS

    assert [column for column in COLUMNS.split(", ") if f"`{column}`" not in page] == []
    for module, function in (
        ("batch", "_print"),
        ("batch", "_plan_facts"),
        ("log", "facts_of"),
        ("batches", "_facts"),
        ("ledger", "_facts"),
        ("single_call", "_facts"),
    ):
        tree = ast.parse((ROOT / "imagesdk" / "cli" / f"{module}.py").read_text("utf-8"))
        [node] = [
            each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == function
        ]
        keys = {
            key.value
            for each in ast.walk(node)
            if isinstance(each, ast.Dict)
            for key in each.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
        assert {key for key in keys if f"`{key}`" not in page} == set()


def test_the_pages_are_assembled_with_their_files(tmp_path: Path) -> None:
    assert build.assemble(tmp_path / "docs") == []
    assert (tmp_path / "docs" / "index.md").read_text("utf-8").startswith("# Documentation")
    assert (tmp_path / "docs" / "assets" / "performance.png").exists()
    assert "nav:" in (tmp_path / "mkdocs.yml").read_text("utf-8")


def test_the_scripts_of_the_site_are_programs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.site.notebooks", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "all notebooks are fresh")

"""Facts of the project that stand in several files agree."""

import re
import tomllib

import imagesdk
from tests.support.doc_pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {imagesdk.__version__}\n" in citation
    assert f"\nlicense: {PROJECT['project']['license']}\n" in citation


def test_the_name_of_the_distribution_is_in_one_file() -> None:
    # A distribution is looked up by its name for metadata only: the package knows its own version.
    lookup = re.compile(r"\b(?:version|metadata|distribution|requires|files)\([\"']imagesdk[\"']\)")
    sources = [*(ROOT / "imagesdk").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / "noxfile.py"]
    assert [path for path in sources if lookup.search(path.read_text("utf-8"))] == []
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    installs = re.compile(r"pip3? install (?:-\S+ )*[\"']?imagesdk\b")
    assert [path.name for path in pages if installs.search(path.read_text("utf-8"))] == []


def test_the_forge_runs_what_contributors_run() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert "bash .ci/run" in workflow
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE))
    named = {word for line in re.findall(r"--session ([\w ]+)", ci) for word in line.split()}
    assert {"lint", "types", "facade", "lowest", "docs", "release"} <= named <= sessions


def test_every_nox_session_is_explained_to_contributors() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE)
    assert [name for name in sessions if f"`{name}`" not in page] == []
    assert len(sessions) > 10

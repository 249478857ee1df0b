"""Run the tests of one official client: ``python -m tests.peers python`` or ``python -m tests.peers node [SOURCE]``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from imagesdk.emulator import Emulator
from imagesdk.emulator.drawing.painting import Painting
from tests.peers.expected import EXPECTED, compare
from tests.peers.prepared import Prepared

GITHUB = "https://github.com/openai/openai-node"
RESOURCES = ("images", "files", "batches", "models", "content_provenance_checks")
"""Resources of the API that the emulator serves."""


def _draw(self: Painting, index: int) -> Image.Image:
    """Draw next to nothing."""
    return Image.linear_gradient("L").resize((32, 32)).convert("RGBA")


def run_python(folder: Path, environment: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    """Run the tests in the sdist of the installed release. Return how many ran, and the texts of failed ones by name."""
    release = f"openai=={version('openai')}"
    fetch = ["download", "--quiet", "--no-deps", "--no-binary", "openai", release, "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *fetch], check=True)
    (archive,) = folder.glob("openai-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    source = folder / archive.name.removesuffix(".tar.gz")
    shutil.rmtree(source / "src")  # the installed release is tested
    report = folder / "report.xml"
    files = [f"tests/api_resources/test_{name}.py" for name in RESOURCES]
    found = [name for name in files if (source / name).is_file()]
    options = ["-q", "--no-header", "--tb=line", "-n0", f"--junitxml={report}"]
    subprocess.run([sys.executable, "-m", "pytest", *options, *found], cwd=source, env=environment)
    cases = list(ElementTree.parse(report).iter("testcase"))
    failures = {
        f"{case.get('classname')}::{case.get('name')}": f"{problem.get('message')} {problem.text}"
        for case in cases
        for problem in case
        if problem.tag in {"failure", "error"}
    }
    return sum(case.find("skipped") is None for case in cases), failures


def run_node(folder: Path, environment: Mapping[str, str], source: str) -> tuple[int, dict[str, str]]:
    """Run the tests of a clone, or of GitHub, on the package of the same release."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", source, str(clone)], check=True)
    release = json.loads((clone / "package.json").read_text())["version"]
    project = folder / "project"
    project.mkdir()
    (project / "package.json").write_text('{"type": "module", "private": true}')
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"openai@{release}", "vitest@4"]
    subprocess.run(install, cwd=project, check=True)
    for name in RESOURCES:
        test = clone / "tests" / "api-resources" / f"{name.replace('_', '-')}.test.ts"
        if test.is_file():
            shutil.copy(test, project)
    report = project / "report.json"
    run = ["npx", "vitest", "run", "--globals", "--reporter=json", f"--outputFile={report}"]
    subprocess.run(run, cwd=project, env=environment)
    results = [
        one for file in json.loads(report.read_text())["testResults"] for one in file["assertionResults"]
    ]
    failures = {
        one["fullName"]: "\n".join(one["failureMessages"]) for one in results if one["status"] == "failed"
    }
    return len(results), failures


def main(client: str, source: str = GITHUB) -> int:
    """Run the tests of a client. Return 1 if one fails that is not expected to, or the other way round."""
    Painting._draw = _draw  # type: ignore[method-assign]
    with (
        tempfile.TemporaryDirectory() as folder,
        Emulator(limit=None, upload_limit=None, batch_delay=3600) as emulator,
    ):
        application = vars(emulator)["_app"]
        application.current = Prepared(application.current)
        environment = os.environ | {"TEST_API_BASE_URL": emulator.base_url}
        where = Path(folder)
        count, failures = (
            run_python(where, environment) if client == "python" else run_node(where, environment, source)
        )
    surprising, unmet = compare(failures, EXPECTED[client])
    print(f"{client}: {count} tests, {count - len(failures)} passed, {len(failures)} answered otherwise")
    for one in EXPECTED[client]:
        print(f"  as expected: {one.tests}: {one.reason}")
    for name in surprising:
        print(f"  NOT EXPECTED: {name}: {failures[name][:400]}")
    for tests in unmet:
        print(f"  NO LONGER SO: {tests}")
    return 1 if surprising or unmet or not count else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The README and the docs tell the truth: every Python and console block runs against the emulator."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import openai
import pytest
from PIL import Image, ImageDraw

import imagesdk
from imagesdk.emulator import Emulator
from tests.support.commands import run_command
from tests.support.doc_pages import BLOCK, PAGES, ROOT, blocks
from tests.support.odd_images import phone

AS_OF = re.compile(r"<!-- emulator: (\d{4}-\d{2}-\d{2}) -->")
LANGUAGES = {"python", "console", "text"}

RUNNER = """
import json, sys
for number, code in enumerate(json.load(sys.stdin), start=1):
    exec(compile(code, f"example {number}", "exec"), {"__name__": "__main__"})
"""
"""A program that runs the examples of a page, each in a module of its own."""

RUNNABLE = [page for page in PAGES if blocks(page, "python", "console")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures that the examples name."""
    picture = Image.new("RGBA", (256, 256), (200, 180, 160, 255))
    mask = picture.copy()
    ImageDraw.Draw(mask).ellipse((64, 64, 192, 192), fill=(0, 0, 0, 0))
    for name in ("otter", "image", "lounge", "sunlit_lounge", "corgi_and_cat_paw"):
        picture.save(tmp_path / f"{name}.png")
    mask.save(tmp_path / "mask.png")
    (tmp_path / "prompts.txt").write_text("a river at dawn\na river at dusk\n")
    (tmp_path / "products.csv").write_text("sku,name\n7001,a lamp\n7002,a chair\n")
    (tmp_path / "phone.jpg").write_bytes(phone())
    return tmp_path


@pytest.fixture
def environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The environment that a page tells its reader to have, with an emulator for the server."""
    page: Path = request.param
    as_of = AS_OF.search(page.read_text("utf-8"))
    with Emulator(limit=None, as_of=date.fromisoformat(as_of[1]) if as_of else None) as emulator:
        yield {
            **os.environ,
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_API_KEY": "none",
            "IMAGESDK_RATE_LIMIT": "none",
            "PYTHONPATH": str(ROOT),
        }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    languages = {language for language, _ in BLOCK.findall(page.read_text("utf-8"))}
    assert languages <= LANGUAGES


@pytest.mark.parametrize(
    ("environment", "page"),
    [(page, page) for page in RUNNABLE],
    ids=lambda page: page.name,
    indirect=["environment"],
)
def test_every_example_runs(page: Path, environment: dict[str, str], folder: Path) -> None:
    examples = blocks(page, "python")
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=folder,
        env=environment,
        input=json.dumps(examples),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for code in blocks(page, "console"):
        _run_console(code, folder, environment)


def _run_console(code: str, folder: Path, environment: dict[str, str]) -> None:
    environment = {name: value for name, value in environment.items() if name != "OPENAI_BASE_URL"}
    for chunk in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, _, shown = chunk.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "imagesdk"
        done = run_command(tuple(arguments), folder=folder, environment=environment)
        assert done.returncode == 0, f"{command}\n{done.stderr.decode()}"
        assert fnmatchcase(done.stdout.decode(), shown), f"{command}\n{done.stdout.decode()}"


def test_the_set_up_commands_install_from_the_checkout() -> None:
    text = "\n".join(blocks(ROOT / "README.md", "text"))
    commands = [line for line in text.splitlines() if "venv" in line]
    assert len(commands) == 2
    for command in commands:
        assert re.search(r"pip install -q (-e )?\"\.\[\w+(,\w+)*\]\"", command)


def test_every_python_example_of_the_2023_documentation_has_its_twin() -> None:
    text = (ROOT / "docs" / "from-2023.md").read_text("utf-8")
    kinds = [language for language, _ in BLOCK.findall(text)]
    old = [code for code in blocks(ROOT / "docs" / "from-2023.md", "text") if "openai" in code]
    assert len(old) == 6
    for at, kind in enumerate(kinds):
        assert kind != "text" or kinds[at + 1] == "python"


def test_the_errors_of_the_official_client_are_all_told_in_ours() -> None:
    text = (ROOT / "docs" / "from-the-official-client.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+Error`.*?) \| (.+) \|$", text, re.MULTILINE)
    theirs = {name for their, _ in rows for name in re.findall(r"\w+Error", their)}
    ours = {name for _, our in rows for name in re.findall(r"\w+Error", our)}
    assert theirs >= {cls.__name__ for cls in openai.APIStatusError.__subclasses__()}
    assert theirs >= {"OpenAIError", "APIError", "APIConnectionError", "APITimeoutError", "APIStatusError"}
    kept = {
        name for their, our in rows if our.startswith("the same") for name in re.findall(r"\w+Error", their)
    }
    assert [name for name in sorted(theirs) if not hasattr(openai, name)] == []
    assert [name for name in sorted(ours | kept) if not hasattr(imagesdk, name)] == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_each_test_that_the_security_page_names_for_a_promise_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    ]
    assert len(named) > 30
    assert missing == []

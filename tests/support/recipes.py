"""The programs and commands of the page on engines."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.support.doc_pages import BLOCK, ENGINES

PAGE = ENGINES.read_text("utf-8")
SECTIONS = {
    part.partition("\n")[0]: part
    for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]
    if "```python" in part
}
BOOKS = 8
"""Jobs of each program."""


def programs() -> dict[str, str]:
    """Return the programs by file name."""
    codes = [
        code for part in SECTIONS.values() for language, code in BLOCK.findall(part) if language == "python"
    ]
    return {code.partition("\n")[0].removeprefix("# "): code for code in codes}


def write_programs(folder: Path, books: int = BOOKS) -> None:
    """Write all programs to a folder, with so many jobs each."""
    for name, code in programs().items():
        assert f"range({BOOKS})" in code
        text = code.replace(f"range({BOOKS})", f"range({books})")
        (folder / name).write_text(text, encoding="utf-8")


def commands(section: str) -> list[str]:
    """Return the commands of a section without those that install packages."""
    texts = [code for language, code in BLOCK.findall(SECTIONS[section]) if language == "text"]
    [text] = [code for code in texts if "kind: Job" not in code]
    return [line for line in text.splitlines() if not line.startswith("pip install ")]


def environment_of_programs(folder: Path, base_url: str, limit: str, broker: str) -> dict[str, str]:
    """Return the settings of the programs in a folder."""
    return {
        **os.environ,
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "none",
        "IMAGESDK_RATE_LIMIT": limit,
        "IMAGESDK_SHARED": f"sqlite:///{folder}/ledger.db",
        "COVERS": f"{folder}/covers/",
        "BROKER": broker,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
    }

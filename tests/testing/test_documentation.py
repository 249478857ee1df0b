"""The tests in the documentation, as pytest runs them for a reader."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support.doc_pages import ROOT, blocks


def test_the_tests_of_the_page_pass_for_a_reader(pytester: pytest.Pytester) -> None:
    examples = [code for code in blocks(ROOT / "docs" / "testing.md", "python") if "def test_" in code]
    for number, code in enumerate(examples):
        (pytester.path / f"test_example_{number}.py").write_text(code)
    pytester.makeini("[pytest]")  # or else a folder above may have settings
    Image.new("RGBA", (64, 64)).save(Path(pytester.path) / "otter.png")

    result = pytester.runpytest_inprocess(
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:hypothesispytest",
        "--strict-markers",
        "-W",
        "error",
    )

    result.assert_outcomes(passed=len(examples))
    assert len(examples) == 4

"""The prose of the package and its pages has plain words: no verb of speech for data, no riddle for a name."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.support.doc_pages import BLOCK, PAGES, ROOT

SOURCES = sorted((ROOT / "imagesdk").rglob("*.py"))
BANNED = re.compile(
    r"\b(?:told|said|stands|comes|goes\s+on|given\s+up|made\s+again|in\s+line|whoever|for\s+whom|nobody's|the\s+maker"
    r"|pictures?)\b",
    re.IGNORECASE,
)
QUOTES = re.compile(r"``.*?``|`[^`]{1,200}`", re.DOTALL)
"""Inline code, which may be a name or a text of a server."""
TARGETS = re.compile(r"\]\([^)]*\)")
"""Addresses of links."""
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)

Prose = tuple[int, str]
"""The number of its first line, and the text."""


def _blank(text: str, *patterns: re.Pattern[str]) -> str:
    for pattern in patterns:
        text = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    return text


def _docstrings(text: str) -> Iterator[Prose]:
    """Yield the docstrings of modules, classes, functions and attributes: every string that is a statement."""
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as docstring):
                segment = "".join(lines[docstring.lineno - 1 : docstring.end_lineno])
                yield docstring.lineno, _blank(segment, FENCED, QUOTES)
            case _:
                pass


def _comments(text: str) -> Iterator[Prose]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], _blank(token.string, QUOTES)


def _messages(text: str) -> Iterator[Prose]:
    """Yield the texts of more than one word that are no docstrings: errors, remedies, logs and help."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as message) if " " in message and id(node) not in docstrings:
                yield node.lineno, _blank(message, QUOTES)
            case _:
                pass


def _page(text: str) -> Prose:
    return 1, _blank(text, BLOCK, QUOTES, TARGETS)


def _offenders(file: Path, prose: Iterator[Prose]) -> Iterator[str]:
    for first, text in prose:
        for found in BANNED.finditer(text):
            line = first + text.count("\n", 0, found.start())
            yield f"{file.relative_to(ROOT)}:{line} {' '.join(found[0].split())}"


def test_docstrings_comments_messages_and_pages_have_plain_words() -> None:
    offenders: list[str] = []
    for page in PAGES:
        offenders += _offenders(page, iter([_page(page.read_text("utf-8"))]))
    for source in SOURCES:
        text = source.read_text("utf-8")
        offenders += _offenders(source, _docstrings(text))
        offenders += _offenders(source, _comments(text))
        offenders += _offenders(source, _messages(text))
    assert offenders == [], "\n".join(offenders)


def test_code_is_not_prose() -> None:
    text = 'x = "the maker"  # `picture` is what they call it\n"""An image, ``picture`` to others."""\n'
    assert [found for _, prose in _docstrings(text) for found in BANNED.findall(prose)] == []
    assert [found for _, prose in _comments(text) for found in BANNED.findall(prose)] == []
    assert BANNED.search(_page("```text\na picture\n```\n[a](picture.png) `picture`\n")[1]) is None


def test_prose_is_found_with_its_line() -> None:
    text = '"""First.\n\nThe pictures are told."""\nx = f"{y} is made again"  # in line\n'
    file = ROOT / "x.py"
    assert list(_offenders(file, _docstrings(text))) == ["x.py:3 pictures", "x.py:3 told"]
    assert list(_offenders(file, _comments(text))) == ["x.py:4 in line"]
    assert list(_offenders(file, _messages(text))) == ["x.py:4 made again"]

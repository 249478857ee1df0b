"""The blocking classes have the members, signatures and docstrings of the asynchronous ones."""

import ast
import inspect
import re
import textwrap
from typing import Any

import pytest

import imagesdk
from imagesdk import AsyncClient
from imagesdk._sync.generator import __main__ as generator
from imagesdk._sync.generator.docstrings import METHODS, PHRASES

NAMES = ("Client", "Images", "ImageStream", "Run", "Files", "Provenance", "Models", "Batches", "BatchResults")
BLOCKING = [getattr(imagesdk, name) for name in NAMES]
EXAMPLE = re.compile(
    r"^ *```python\n(.*?)^ *```$|^Example:\n((?:    (?!```)[^\n]*\n?)+)", re.MULTILINE | re.DOTALL
)
SPECIAL = {*METHODS, *METHODS.values(), "__init__", "__repr__", "__reduce__"}


def public_members(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_") or name in SPECIAL}


def signatures(cls: type, *, made_by_users: bool) -> dict[str, object]:
    """Return the parameters and results of methods and properties, with the names of the blocking classes."""

    def blocking(annotation: Any) -> Any:
        asynchronous = (
            r"(?<![\w.])(Abstract)?Async(?=Client|Files|Image|Run|Provenance|Models|Batch|ContextManager)"
        )
        return re.sub(asynchronous, r"\1", annotation) if isinstance(annotation, str) else annotation

    found: dict[str, object] = {}
    for name, member in public_members(cls).items():
        if name != "__init__" or made_by_users:
            getter: Any = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            signature = inspect.signature(getter)
            parameters = signature.parameters.values()
            found[METHODS.get(name, name)] = (
                [(item.name, item.kind, item.default, blocking(item.annotation)) for item in parameters],
                blocking(signature.return_annotation),
            )
    return found


def docstrings(cls: type) -> list[str]:
    return [inspect.getdoc(member) or "" for member in (cls, *public_members(cls).values())]


def test_the_facade_is_what_the_generator_writes() -> None:
    assert generator.TARGET.read_text(encoding="utf-8") == generator.facade(generator.SOURCES, PHRASES)


@pytest.mark.parametrize("blocking", BLOCKING)
def test_a_blocking_class_has_the_members_and_signatures_of_the_asynchronous_one(blocking: type) -> None:
    asynchronous = getattr(imagesdk, f"Async{blocking.__name__}")
    made_by_users = asynchronous is AsyncClient
    expected = signatures(asynchronous, made_by_users=made_by_users)
    assert signatures(blocking, made_by_users=made_by_users) == expected
    assert f"{blocking.__module__}.{blocking.__qualname__}" == f"imagesdk.{blocking.__name__}"


@pytest.mark.parametrize("blocking", BLOCKING)
def test_no_docstring_of_a_blocking_class_mentions_asynchronous_code(blocking: type) -> None:
    words = r"\bawait\b|\basync \w+|\baclose\b|asyncio|trio|(?<!httpx\.)(?<!httpx2\.)\bAsync[A-Z]\w+"
    assert not re.findall(words, "\n".join(docstrings(blocking)))


@pytest.mark.parametrize("blocking", BLOCKING)
def test_the_examples_in_docstrings_are_python(blocking: type) -> None:
    examples = [example for text in docstrings(blocking) for example in EXAMPLE.findall(text)]
    assert examples
    for fenced, indented in examples:
        ast.parse(textwrap.dedent(fenced or indented))

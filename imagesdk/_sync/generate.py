"""Writes the blocking clients, ``facade.py``: ``python -m imagesdk._sync.generate [--check]``.

What the asynchronous classes offer is read by ``reading.py``, from syntax alone: neither the core nor its
dependencies are imported. Here is how it is written down. Rule: the text depends on the sources only, and is
formatted as the formatter would have it.
"""

import argparse
import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from imagesdk._sync.reading import AsyncClass, Import, Kind, Member, Reading, RefusedError, read
from imagesdk._sync.translation import PHRASES, Translator, blocking_name

PACKAGE = Path(__file__).parents[1]
SOURCES = {
    f"imagesdk.{name}": PACKAGE.joinpath(*name.split(".")).with_suffix(".py")
    for name in ("client", "images", "streams", "fan_out.run", "files")
}
"""The modules with asynchronous classes, in the order of the facade."""

TARGET = Path(__file__).with_name("facade.py")

_WIDTH = 110
_LINES_SHOWN = 40
_PRIVATE = "  # pyright: ignore[reportPrivateUsage] - the default of a parameter"
_CLOSE_DOCSTRING = (
    '"""Close the connections and give up the calls under way; the client cannot be used any more."""'
)
_HEADER = '''\
"""The blocking clients: the asynchronous ones, with every coroutine run by the portal.

GENERATED from {sources} by ``python -m imagesdk._sync.generate``.
Do not change it: change those, and run it again.
"""
'''


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the facade, or find out with ``--check`` whether it is stale; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m imagesdk._sync.generate", description="Write the blocking clients."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if they are stale")
    options = parser.parse_args(arguments)
    try:
        text = facade(SOURCES, PHRASES)
    except RefusedError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    if not options.check:
        TARGET.write_text(text, encoding="utf-8", newline="\n")
        return 0
    present = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if present == text:
        return 0
    lines = difflib.unified_diff(
        present.splitlines(), text.splitlines(), "facade.py", "generated", n=1, lineterm=""
    )
    print("facade.py is stale: run python -m imagesdk._sync.generate", file=sys.stderr)
    print(*list(lines)[:_LINES_SHOWN], sep="\n", file=sys.stderr)
    return 1


def facade(sources: dict[str, Path], phrases: dict[str, str]) -> str:
    """Return the text of the facade of the modules (name -> file).

    Raises:
        RefusedError: something has no translation, or one of the phrases is not in the sources any more.
    """
    reading = read(sources)
    names = [cls.name for cls in reading.classes]
    public = ", ".join(f'"{name}"' for name in sorted(map(blocking_name, names)))
    *files, last = [f"``{path.name}``" for path in sources.values()]
    head = _HEADER.format(sources=f"{', '.join(files)} and {last}" if files else last)
    imports = "\n".join(_imports(reading))
    translator = Translator(names, phrases)
    classes = "\n\n\n".join(_Writer(cls, translator).text() for cls in reading.classes)
    if translator.unused:
        raise RefusedError(f"translation.py: no docstring says {min(translator.unused)!r} any more")
    return f"{head}\n{imports}\n\n__all__ = [{public}]\n\n\n{classes}\n"


class _Writer:
    """Writes one class down."""

    def __init__(self, cls: AsyncClass, translator: Translator) -> None:
        self._cls = cls
        self._translate = translator.translate
        self._resources = [member for member in cls.members if member.kind is Kind.RESOURCE]
        self._lease = f"{'Hosted' if cls.is_hosted else 'Lease'}[{cls.name}]"

    def text(self) -> str:
        members = [self._member(member) for member in self._cls.members]
        if self._cls.is_client:
            members.append(self._holder("_hold"))
        else:
            members.insert(0, self._holder("__init__"))
        if any(member.kind in {Kind.VIEW, Kind.FACTORY} for member in self._cls.members):
            members.append(self._adopter())
        head = [f"class {blocking_name(self._cls.name)}:"]
        if self._cls.docstring:
            head += [f"    {self._translate(self._cls.docstring)}", ""]
        head.append(f'    __module__ = "{self._cls.module.partition(".")[0]}"')
        return "\n\n".join(["\n".join(head), *members])

    def _holder(self, name: str) -> str:
        return _indented([f"def {name}(self, held: {self._lease}) -> None:", *self._holding()])

    def _holding(self) -> Iterator[str]:
        yield "    self._lease = held"
        for member in self._resources:
            view = f"held.view(lambda twin: twin.{member.name})"
            yield f"    self._{member.name} = {member.returns}({view})"

    def _adopter(self) -> str:
        lines = ["self = cls.__new__(cls)", "self._hold(held)", "return self"]
        signature = f"def _on(cls, held: {self._lease}) -> Self:"
        return _indented(["@classmethod", signature, *(f"    {line}" for line in lines)])

    def _member(self, member: Member) -> str:
        lines: list[str] = []
        if member.kind in {Kind.VALUE, Kind.RESOURCE}:
            lines.append("@property")
        if member.kind is Kind.FACTORY:
            lines.append("@classmethod")
        texts = [parameter.text for parameter in member.parameters]
        remarks = [parameter.remark for parameter in member.parameters]
        lines += _laid_out(f"def {member.name}(", texts, f") -> {member.returns}:", 4, remarks)
        docstring = _CLOSE_DOCSTRING if member.kind is Kind.CLOSE else member.docstring
        if docstring:
            lines.append(f"    {self._translate(docstring)}")
        lines += [f"    {line}" for line in self._body(member)]
        return _indented(lines)

    def _body(self, member: Member) -> list[str]:
        name = self._cls.name
        passed = [parameter.passed for parameter in member.parameters if parameter.passed]
        hand = "" if member.returns in {"None", "NoReturn"} else "return "
        match member.kind:
            case Kind.CONSTRUCTOR:
                return [*_laid_out("held = lease(", [name, *passed], ")", 8), "self._hold(held)"]
            case Kind.FACTORY:
                made = _laid_out("held = lease(", [f"{name}.{member.name}", *passed], ")", 8)
                return [*made, "return cls._on(held)"]
            case Kind.VIEW:
                made = _laid_out("held = self._lease.derive(", [f"{name}.{member.name}", *passed], ")", 8)
                return [*made, "return self._on(held)"]
            case Kind.HOST:
                wrapper = member.returns.partition("[")[2].removesuffix("]")
                return _laid_out(
                    "return self._lease.host(", [wrapper, f"{name}.{member.name}", *passed], ")", 8
                )
            case Kind.ITERATE:
                return ["return self"]
            case Kind.NEXT:
                return [f"return self._lease.next({name}.__anext__)"]
            case Kind.CALL:
                return _laid_out(f"{hand}self._lease.call(", [f"{name}.{member.name}", *passed], ")", 8)
            case Kind.PLAIN if member.name == "__repr__":
                blocking = blocking_name(name)
                return [f'return repr(self._lease.twin).replace("{name}", "{blocking}", 1)']
            case Kind.PLAIN:
                return _laid_out(f"{hand}self._lease.twin.{member.name}(", passed, ")", 8)
            case Kind.VALUE:
                return [f"return self._lease.twin.{member.name}"]
            case Kind.RESOURCE:
                return [f"return self._{member.name}"]
            case Kind.CLOSE:
                return ["self._lease.close()"]
            case Kind.ENTER:
                return ["return self"]
            case Kind.EXIT:
                return ["self.close()"]


def _imports(reading: Reading) -> Iterator[str]:
    imports = {*reading.imports, Import("imagesdk._sync.lease", "Lease")}
    if any(cls.is_hosted for cls in reading.classes):
        imports.add(Import("imagesdk._sync.hosting", "Hosted"))
    if any(cls.is_client for cls in reading.classes):
        imports.add(Import("imagesdk._sync.lease", "lease"))
    if any(member.kind in {Kind.VIEW, Kind.FACTORY} for cls in reading.classes for member in cls.members):
        imports.add(Import("typing", "Self"))
    for_types = {item for item in imports if item.for_types_only}
    if for_types:
        imports.add(Import("typing", "TYPE_CHECKING"))
    yield "from __future__ import annotations\n"
    yield from _sections(imports - for_types)
    if for_types:
        yield "\nif TYPE_CHECKING:"
        yield from (
            f"    {line}" if line else "" for text in _sections(for_types) for line in text.split("\n")
        )


def _sections(imports: Iterable[Import]) -> Iterator[str]:
    sections: list[list[Import]] = [[], [], []]
    for item in imports:
        top = item.module.partition(".")[0]
        sections[0 if top in sys.stdlib_module_names else 2 if top == PACKAGE.name else 1].append(item)
    yield "\n\n".join("\n".join(_statements(section)) for section in sections if section)


def _statements(imports: list[Import]) -> Iterator[str]:
    for item in sorted(imports):
        if not item.name:
            yield f"import {item.module}" + (f" as {item.alias}" if item.alias else "")
    for module in sorted({item.module for item in imports if item.name}):
        items = sorted((item for item in imports if item.module == module and item.name), key=_import_order)
        names = [f"{item.name} as {item.alias}" if item.alias else item.name for item in items]
        remark = _PRIVATE if any(name.startswith("_") for name in names) else ""
        line = f"from {module} import {', '.join(names)}"
        if len(line) <= _WIDTH:
            yield line + remark
        else:
            yield "\n".join([f"from {module} import ({remark}", *(f"    {name}," for name in names), ")"])


def _import_order(item: Import) -> tuple[int, str]:
    constant = item.name.isupper() and len(item.name) > 1
    return (0 if constant else 1 if item.name[:1].isupper() else 2, item.name)


def _laid_out(
    opening: str, items: list[str], closing: str, indent: int, remarks: Iterable[str] = ()
) -> list[str]:
    line = opening + ", ".join(items) + closing
    if len(line) + indent <= _WIDTH and "\n" not in line and not any(remarks):
        return [line]
    lines = [
        f"    {item},  {remark}" if remark else f"    {item},"
        for item, remark in zip_longest(items, remarks, fillvalue="")
    ]
    return [opening, *lines, closing]


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

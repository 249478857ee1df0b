"""Parser of the asynchronous classes: their members, and the imports that their signatures need.

Signatures and docstrings are copied as text, so the result is the same in every version of Python.
Rule: a member is of one of these kinds, or is refused with its file and line. Nothing is guessed.

| member | kind |
|---|---|
| ``async def m`` | ``CALL``: runs in the portal |
| ``def m``, ``__repr__``, ``__reduce__`` | ``PLAIN``: needs no loop |
| ``def m`` that returns ``AbstractAsyncContextManager[AsyncX]`` | ``CONTEXT``: used with ``with`` |
| ``@property`` | ``VALUE``: needs no loop |
| ``@property`` that returns another asynchronous class | ``RESOURCE`` |
| ``def m`` of a client that returns the client's class | ``VIEW``: on the same connections |
| ``@classmethod`` of a client that returns the client's class | ``FACTORY`` |
| ``__init__``, ``aclose``, ``__aenter__``, ``__aexit__`` of a client | ``INIT``, ``CLOSE``, ``ENTER``, ``EXIT`` |
| ``__aiter__``, ``__anext__`` of the value of a context manager | ``ITER``, ``NEXT`` |
"""

import ast
import builtins
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NoReturn, TypeAlias

Import: TypeAlias = tuple[str, str]
"""Module and name; the name is empty for ``import module``."""
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_ASYNCHRONOUS = re.compile(r"Async|Await|Coroutine")
_RESERVED = {"cls", "handle", "lease", "self"}
"""Names that the bodies of the blocking methods use."""


class UnsupportedSyntax(Exception):  # noqa: N818 - it names a fact about the source
    """The source has a member that the facade cannot offer. The message begins with the file and line."""


Kind = Enum("Kind", "CALL PLAIN CONTEXT VALUE RESOURCE VIEW FACTORY INIT CLOSE ENTER EXIT ITER NEXT")

_KINDS_IN_CONTEXTS = {Kind.CALL, Kind.PLAIN, Kind.VALUE, Kind.ITER, Kind.NEXT}
_IMPORTS = {
    Kind.CONTEXT: ("contextlib", "AbstractContextManager"),
    Kind.VIEW: ("typing", "Self"),
    Kind.FACTORY: ("typing", "Self"),
}
"""Imports of the blocking method, in place of the names in the annotation of the result."""


@dataclass(frozen=True)
class Member:
    """A method or property of an asynchronous class."""

    kind: Kind
    name: str
    signature: list[str]
    """The lines from ``def`` to the colon."""
    arguments: list[str]
    """How the blocking method passes its parameters on."""
    returns: str
    """The result; for a context manager, the class of its value."""
    docstring: list[str]


@dataclass(frozen=True)
class AsyncClass:
    """An asynchronous class and the module that defines it."""

    name: str
    module: str
    docstring: list[str]
    members: list[Member]
    is_client: bool
    """Whether users construct and close it."""
    is_context: bool
    """Whether it is the value of an asynchronous context manager."""


def parse(sources: dict[str, Path]) -> tuple[list[AsyncClass], set[Import], set[Import]]:
    """Parse the ``Async...`` classes of the modules (name -> file), and the imports that their signatures need.

    The second set of imports is needed by type checkers only, as in the sources.
    """
    modules = [_Module(name, path) for name, path in sources.items()]
    known: dict[str, _Module] = {}
    for module in modules:
        for node in module.classes:
            if node.name in known:
                module.refuse(node, f"there are two classes named {node.name}")
            known[node.name] = module
    contexts = {_context_value(item) for module in modules for node in module.classes for item in node.body}
    imports: set[Import] = set()
    nodes = [(module, node) for module in modules for node in module.classes]
    classes = [_ClassParser(*each, set(known), contexts, imports).parse() for each in nodes]
    at_run_time = {(cls.module, cls.name) for cls in classes}
    typed = {name for module in modules for name in module.typing_only} & imports - at_run_time
    return classes, imports - typed, typed


class _Module:
    """The lines of one source, its classes, and the origins of its names."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        text = path.read_text(encoding="utf-8")
        self.lines = text.splitlines()
        self.origins: dict[str, Import] = {}
        self.typing_only: set[Import] = set()
        self.classes: list[ast.ClassDef] = []
        for statement in ast.parse(text, str(path)).body:
            self._add(statement)

    def refuse(self, node: ast.stmt | ast.expr | ast.arg, reason: str) -> NoReturn:
        raise UnsupportedSyntax(f"{self.path}:{node.lineno}: {reason}")

    def _add(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import(names=[ast.alias(name=name, asname=None)]):
                self.origins[name] = (name, "")
            case ast.ImportFrom(module=str(module), names=names, level=0):
                self.origins.update((item.name, (module, item.name)) for item in names if not item.asname)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body):
                before = set(self.origins.values())
                for inner in body:
                    self._add(inner)
                self.typing_only = set(self.origins.values()) - before
            case ast.AsyncFunctionDef(name=name) if not name.startswith("_"):
                self.refuse(statement, f"the public coroutine function {name} is in no class")
            case ast.ClassDef(name=name):
                self.origins[name] = (self.name, name)
                if name.startswith("Async"):
                    self.classes.append(statement)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                self.origins[name] = (self.name, name)
            case _:
                pass  # a signature that needs a name from elsewhere is refused


@dataclass
class _ClassParser:
    """Parser of one class."""

    module: _Module
    node: ast.ClassDef
    known: set[str]
    contexts: set[str]
    imports: set[Import]

    def parse(self) -> AsyncClass:
        node, module = self.node, self.module
        if node.bases or node.keywords or node.decorator_list:
            module.refuse(node, f"{node.name} has a base class or a decorator, which may add members")
        names = {item.name for item in node.body if isinstance(item, _Function)}
        self.is_client = {"__init__", "aclose"} <= names
        self.is_context = node.name in self.contexts
        members = [member for item in _body(node) if (member := self._member(item)) is not None]
        self.imports.add((module.name, node.name))
        docstring = self._docstring(node)
        return AsyncClass(node.name, module.name, docstring, members, self.is_client, self.is_context)

    def _member(self, node: ast.stmt) -> Member | None:
        if not isinstance(node, _Function):
            self.module.refuse(node, f"{self.node.name} may have only methods and properties")
        self._refuse_public_attributes(node)
        is_private = node.name.startswith("_") and not node.name.endswith("__")
        if is_private or (node.name == "__init__" and not self.is_client):
            return None
        if node.returns is None:
            self.module.refuse(node, f"{node.name} has no return annotation")
        returns = _context_value(node) or ast.unparse(node.returns)
        kind = self._kind(node, returns)
        if kind is None or (self.is_context and kind not in _KINDS_IN_CONTEXTS):
            self.module.refuse(node, f"there is no translation for {node.name} in {self.node.name}")
        if kind in _IMPORTS:
            self.imports.add(_IMPORTS[kind])
        elif kind is not Kind.RESOURCE:
            self._check(node.returns, f"the result of {node.name}")
        first = min(item.lineno for item in [node, *node.decorator_list])
        signature = self.module.lines[first - 1 : node.returns.end_lineno]
        if not signature[-1].endswith(":"):
            self.module.refuse(node, f"the line of the signature of {node.name} does not end with it")
        return Member(kind, node.name, signature, self._arguments(node), returns, self._docstring(node))

    def _kind(self, node: _Function, returns: str) -> Kind | None:
        body = "\n".join(map(ast.unparse, _body(node)))
        own = self.is_client and returns in {"Self", self.node.name}
        signature = (ast.unparse(node.args), returns)
        decorators = [ast.unparse(item) for item in node.decorator_list]
        match decorators, isinstance(node, ast.AsyncFunctionDef), node.name:
            case [], False, "__init__":
                return Kind.INIT
            case [], True, "aclose" if self.is_client and signature == ("self", "None"):
                return Kind.CLOSE
            case [], True, "__aenter__" if self.is_client and body == "return self":
                return Kind.ENTER
            case [], True, "__aexit__" if self.is_client and body == "await self.aclose()":
                return Kind.EXIT
            case [], False, "__aiter__" if self.is_context and body == "return self":
                return Kind.ITER
            case [], True, "__anext__" if self.is_context:
                return Kind.NEXT
            case [], False, "__repr__" | "__reduce__":
                return Kind.PLAIN
            case _, _, name if name == "aclose" or name.endswith("__"):
                return None
            case ["property"], False, _:
                is_resource = self.is_client and returns in self.known - self.contexts
                return Kind.RESOURCE if is_resource else Kind.VALUE
            case ["classmethod"], False, _ if own:
                return Kind.FACTORY
            case [], False, _ if _context_value(node) in self.known:
                return Kind.CONTEXT
            case [], False, _:
                return Kind.VIEW if own else Kind.PLAIN
            case [], True, _:
                return Kind.CALL
            case _:
                return None

    def _arguments(self, node: _Function) -> list[str]:
        found = node.args
        if found.posonlyargs or found.vararg:
            self.module.refuse(node, f"{node.name} has positional-only parameters")
        others = found.args[1:]
        for parameter in [*others, *found.kwonlyargs, *filter(None, [found.kwarg])]:
            if parameter.annotation is None or parameter.arg in _RESERVED:
                self.module.refuse(parameter, f"{parameter.arg} has no annotation, or a reserved name")
            self._check(parameter.annotation, f"the parameter {parameter.arg}")
        for default in filter(None, [*found.defaults, *found.kw_defaults]):
            self._import_names(default)
        passed = [item.arg for item in others] + [f"{item.arg}={item.arg}" for item in found.kwonlyargs]
        return [*passed, f"**{found.kwarg.arg}"] if found.kwarg else passed

    def _check(self, annotation: ast.expr, what: str) -> None:
        text = ast.unparse(annotation)
        if _ASYNCHRONOUS.search(text) or "'" in text:
            self.module.refuse(annotation, f"{what} is asynchronous, or its annotation is in quotes: {text}")
        self._import_names(annotation)

    def _import_names(self, expression: ast.expr) -> None:
        for name in [inner for inner in ast.walk(expression) if isinstance(inner, ast.Name)]:
            if name.id in self.module.origins:
                self.imports.add(self.module.origins[name.id])
            elif not hasattr(builtins, name.id):
                self.module.refuse(name, f"no import or definition that can be copied names {name.id}")

    def _refuse_public_attributes(self, node: _Function) -> None:
        for inner in ast.walk(node):
            match inner:
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()) if name[0] != "_":
                    self.module.refuse(inner, f"the public attribute {name}: make it a property")
                case _:
                    pass

    def _docstring(self, node: _Function | ast.ClassDef) -> list[str]:
        first = node.body[0]
        return self.module.lines[first.lineno - 1 : first.end_lineno] if _has_docstring(node) else []


def _context_value(node: ast.stmt) -> str:
    """Return the class of the value, for a method that returns an asynchronous context manager; else ``""``."""
    match node:
        case ast.FunctionDef(returns=ast.Subscript(value=ast.Name(id=name), slice=ast.Name(id=value))):
            return value if name == "AbstractAsyncContextManager" else ""
        case _:
            return ""


def _has_docstring(node: _Function | ast.ClassDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None


def _body(node: _Function | ast.ClassDef) -> list[ast.stmt]:
    return node.body[1:] if _has_docstring(node) else node.body

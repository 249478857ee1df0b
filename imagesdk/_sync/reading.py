"""Reads the asynchronous classes from their source text: what the facade has to offer, and what it cannot.

The syntax tree says what there is; signatures and docstrings are kept as the text they are written in, so that
the result is the same from every version of Python. How a member is written down is in ``generate.py``.
Rule: what has no certain translation is refused with its file and line. Nothing is guessed.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import NoReturn, TypeAlias

from imagesdk._sync.translation import METHODS

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_AWAITABLE = {
    "AbstractAsyncContextManager",
    "AsyncContextManager",
    "AsyncGenerator",
    "AsyncIterable",
    "AsyncIterator",
    "Awaitable",
    "Coroutine",
}
_REMARK = re.compile(r",?\s*(# (?:noqa|type|pyright): ?.*)")
_RESERVED = {"cls", "held", "lease", "self"}


class RefusedError(Exception):
    """The source has something that the facade cannot offer; the message begins with its file and line."""


class Kind(Enum):
    """What a member becomes."""

    CONSTRUCTOR = auto()
    CALL = auto()  # a coroutine: handed to the portal
    CLOSE = auto()
    ENTER = auto()
    EXIT = auto()
    PLAIN = auto()  # needs no loop: forwarded
    VALUE = auto()  # a property that needs no loop
    RESOURCE = auto()  # a property with another of the classes
    VIEW = auto()  # a method that returns one of the classes on the same connections
    FACTORY = auto()  # a class method that makes a client
    HOST = auto()  # a method that returns an asynchronous context manager of one of the classes
    ITERATE = auto()  # __aiter__
    NEXT = auto()  # __anext__


_SPECIAL = {"__init__": Kind.CONSTRUCTOR, "__repr__": Kind.PLAIN, "__reduce__": Kind.PLAIN}
_ITERATION = {"__aiter__": Kind.ITERATE, "__anext__": Kind.NEXT}
_MANAGER = "AbstractAsyncContextManager"
_CONTEXT = {"__aenter__": (Kind.ENTER, "return self"), "__aexit__": (Kind.EXIT, "await self.aclose()")}


@dataclass(frozen=True)
class Parameter:
    """One parameter: its text in the signature, how it is passed on, and a remark for checkers."""

    text: str
    passed: str
    remark: str = ""


@dataclass(frozen=True)
class Member:
    """A method or property of an asynchronous class."""

    kind: Kind
    name: str
    parameters: list[Parameter]
    returns: str
    docstring: str | None


@dataclass(frozen=True)
class AsyncClass:
    """An asynchronous class and the module it is imported from."""

    name: str
    module: str
    docstring: str | None
    members: list[Member]
    is_hosted: bool = False
    """Whether it is the value of an asynchronous context manager, and used by one task only."""

    @property
    def is_client(self) -> bool:
        """Whether users construct and close it; the others belong to one that they do."""
        return any(member.kind is Kind.CLOSE for member in self.members)


@dataclass(frozen=True, order=True)
class Import:
    """Where a name comes from: ``from module import name``, or ``import module`` where ``name`` is empty."""

    module: str
    name: str = ""
    alias: str = ""
    for_types_only: bool = False


@dataclass
class Reading:
    """Everything that was read: the classes, and the imports that their signatures need."""

    classes: list[AsyncClass] = field(default_factory=list[AsyncClass])
    imports: set[Import] = field(default_factory=set[Import])


def read(sources: dict[str, Path]) -> Reading:
    """Read the public ``Async...`` classes of the modules (name -> file), in this order.

    Raises:
        RefusedError: something has no translation.
    """
    modules = [_Module(name, path) for name, path in sources.items()]
    known = [node.name for module in modules for node in module.classes]
    hosted = {name for module in modules for name in module.hosted()}
    reading = Reading()
    for module in modules:
        for node in module.classes:
            reading.classes.append(_ClassReader(module, node, known, hosted, reading).read())
    return reading


class _Module:
    """The syntax tree and the text of one source, and where its names come from."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.origins: dict[str, Import] = {}
        self.classes: list[ast.ClassDef] = []
        self._survey(ast.parse(self.text, str(path)).body, for_types_only=False)

    def hosted(self) -> Iterator[str]:
        """The classes that its classes hand out by asynchronous context managers."""
        for node in self.classes:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and (name := _managed(item)):
                    yield name

    def segment(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or ""

    def remark(self, node: ast.expr | ast.arg) -> str:
        """The comment for a checker that follows a parameter on its line."""
        line = self.text.splitlines()[(node.end_lineno or node.lineno) - 1].encode()
        found = _REMARK.fullmatch(line[node.end_col_offset :].decode())
        return found[1] if found else ""

    def refuse(self, node: ast.AST, reason: str) -> NoReturn:
        raise RefusedError(f"{self.path}:{getattr(node, 'lineno', 1)}: {reason}")

    def _survey(self, statements: list[ast.stmt], *, for_types_only: bool) -> None:
        for statement in statements:
            match statement:
                case ast.Import(names=names):
                    for item in names:
                        bound = item.asname or item.name.partition(".")[0]
                        self.origins[bound] = Import(item.name, "", item.asname or "", for_types_only)
                case ast.ImportFrom(module=module, names=names, level=level):
                    package = ".".join(self.name.split(".")[:-level]) if level else ""
                    source = ".".join(filter(None, [package, module]))
                    for item in names:
                        self.origins[item.asname or item.name] = Import(
                            source, item.name, item.asname or "", for_types_only
                        )
                case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body):
                    self._survey(body, for_types_only=True)
                case ast.AsyncFunctionDef(name=name) if not name.startswith("_"):
                    self.refuse(statement, f"the public coroutine function {name} is in no class")
                case ast.ClassDef(name=name) if name.startswith("Async"):
                    self.classes.append(statement)
                    self.origins[name] = Import(self.name, name)
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    self.origins[name] = Import(self.name, name)
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    self.origins[name] = Import(self.name, name)
                case _:
                    pass


class _ClassReader:
    """Reads one class."""

    def __init__(
        self, module: _Module, node: ast.ClassDef, known: list[str], hosted: set[str], reading: Reading
    ) -> None:
        self._module = module
        self._node = node
        self._known = known
        self._hosted = hosted
        self._reading = reading

    def read(self) -> AsyncClass:
        node, refuse = self._node, self._module.refuse
        if node.bases or node.keywords:
            refuse(node, f"{node.name} has base classes, whose members would be missed")
        if node.decorator_list:
            refuse(node, f"{node.name} has a decorator")
        if self._known.count(node.name) > 1:
            refuse(node, f"there are two classes named {node.name}")
        body = _without_docstring(node)
        is_client = any(isinstance(item, ast.AsyncFunctionDef) and item.name == "aclose" for item in body)
        members = [member for item in body for member in self._members(item, is_client=is_client)]
        if is_client and all(member.kind is not Kind.CONSTRUCTOR for member in members):
            refuse(node, f"{node.name} has aclose but no __init__")
        self._need(node.name, node)
        hosted = node.name in self._hosted
        if hosted:
            self._refuse_in_hosted(members)
        return AsyncClass(node.name, self._module.name, self._docstring_text(node), members, hosted)

    def _refuse_in_hosted(self, members: list[Member]) -> None:
        odd = {Kind.CLOSE, Kind.HOST, Kind.RESOURCE, Kind.VIEW, Kind.FACTORY}
        for member in members:
            if member.kind in odd:
                self._module.refuse(
                    self._node,
                    f"{self._node.name} comes from a context manager and cannot have {member.name}",
                )

    def _members(self, statement: ast.stmt, *, is_client: bool) -> Iterator[Member]:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                _refuse_public_attributes(self._module, statement)
                private = statement.name.startswith("_") and not statement.name.endswith("__")
                if not private and (is_client or statement.name != "__init__"):
                    yield self._member(statement)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if not name.startswith("_"):
                    self._module.refuse(statement, f"the public class attribute {name}: make it a property")
            case _:
                self._module.refuse(statement, "a statement that is no method")

    def _member(self, node: _Function) -> Member:
        kind = self._kind(node)
        returns = "None" if kind is Kind.CONSTRUCTOR else self._returns(node)
        return Member(
            kind,
            METHODS.get(node.name, node.name),
            self._parameters(node),
            returns,
            self._docstring_text(node),
        )

    def _kind(self, node: _Function) -> Kind:
        refuse = self._module.refuse
        if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own_nodes(node)):
            refuse(node, f"{node.name} is a generator")
        decorators = [self._module.segment(decorator) for decorator in node.decorator_list]
        coroutine = isinstance(node, ast.AsyncFunctionDef)
        name = node.name
        match decorators:
            case ["property"] if coroutine:
                refuse(node, f"{name} is a property that is awaited")
            case ["property"]:
                return Kind.RESOURCE if self._registered(node.returns) else Kind.VALUE
            case ["classmethod"] if not coroutine and self._returns_own_class(node):
                return Kind.FACTORY
            case [] if name.endswith("__"):
                return self._special(node)
            case []:
                pass
            case _:
                refuse(node, f"{name}: no translation for {' '.join('@' + text for text in decorators)}")
        if _managed(node) in self._known:
            return Kind.HOST
        if name == "aclose":
            if not coroutine or ast.unparse(node.args) != "self" or not _is_none(node.returns):
                refuse(node, "aclose is not `async def aclose(self) -> None`")
            return Kind.CLOSE
        if self._registered(node.returns) in self._hosted:
            refuse(node, f"{name} returns a class that only a context manager can hand out")
        if self._registered(node.returns) or self._returns_own_class(node):
            if coroutine:
                refuse(node, f"{name} is awaited and returns a class with coroutines")
            return Kind.VIEW
        return Kind.CALL if coroutine else Kind.PLAIN

    def _special(self, node: _Function) -> Kind:
        name = node.name
        if name in _SPECIAL:
            return _SPECIAL[name]
        body = [self._module.segment(statement) for statement in _without_docstring(node)]
        if name in _ITERATION:
            self._refuse_iteration(node, body)
            return _ITERATION[name]
        if name not in _CONTEXT:
            self._module.refuse(node, f"no translation for {name}")
        kind, expected = _CONTEXT[name]
        if body != [expected]:
            self._module.refuse(node, f"{name} does more than `{expected}`")
        return kind

    def _refuse_iteration(self, node: _Function, body: list[str]) -> None:
        if self._node.name not in self._hosted:
            self._module.refuse(node, f"{self._node.name} can be iterated and comes from no context manager")
        if node.name == "__anext__" and not isinstance(node, ast.AsyncFunctionDef):
            self._module.refuse(node, "__anext__ is no coroutine")
        if node.name == "__aiter__" and (isinstance(node, ast.AsyncFunctionDef) or body != ["return self"]):
            self._module.refuse(node, "__aiter__ does more than `return self`")

    def _parameters(self, node: _Function) -> list[Parameter]:
        arguments = node.args
        first, *others = [*arguments.posonlyargs, *arguments.args]
        defaults = [*[None] * (len(others) - len(arguments.defaults)), *arguments.defaults]
        result = [Parameter(first.arg, "")]
        for place, (argument, default) in enumerate(zip(others, defaults, strict=True), 2):
            result.append(self._parameter(argument, default, passed=argument.arg))
            if place == len(arguments.posonlyargs):
                result.append(Parameter("/", ""))
        if arguments.vararg:
            result.append(self._parameter(arguments.vararg, stars="*", passed=f"*{arguments.vararg.arg}"))
        elif arguments.kwonlyargs:
            result.append(Parameter("*", ""))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            result.append(self._parameter(argument, default, passed=f"{argument.arg}={argument.arg}"))
        if arguments.kwarg:
            result.append(self._parameter(arguments.kwarg, stars="**", passed=f"**{arguments.kwarg.arg}"))
        return result

    def _parameter(
        self, argument: ast.arg, default: ast.expr | None = None, *, stars: str = "", passed: str
    ) -> Parameter:
        module = self._module
        if argument.annotation is None:
            module.refuse(argument, f"the parameter {argument.arg} has no annotation")
        if argument.arg in _RESERVED:
            module.refuse(argument, f"a parameter cannot be named {argument.arg}")
        self._check(argument.annotation, f"the parameter {argument.arg}")
        text = f"{stars}{argument.arg}: {module.segment(argument.annotation)}"
        if default is not None:
            self._need_all(default)
            text += f" = {module.segment(default)}"
        return Parameter(text, passed, module.remark(default or argument))

    def _returns(self, node: _Function) -> str:
        if node.returns is None:
            self._module.refuse(node, f"{node.name} has no return annotation")
        registered = self._registered(node.returns)
        if registered:
            return registered.removeprefix("Async")
        managed = _managed(node)
        if managed in self._known:
            self._reading.imports.add(Import("contextlib", "AbstractContextManager"))
            return f"AbstractContextManager[{managed.removeprefix('Async')}]"
        self._check(node.returns, f"the result of {node.name}")
        return self._module.segment(node.returns)

    def _check(self, annotation: ast.expr, what: str) -> None:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            self._module.refuse(annotation, f"{what} has an annotation in quotes")
        for inner in ast.walk(annotation):
            name = (
                inner.id
                if isinstance(inner, ast.Name)
                else inner.attr
                if isinstance(inner, ast.Attribute)
                else ""
            )
            if name in _AWAITABLE:
                self._module.refuse(inner, f"{what} is awaitable or asynchronous ({name})")
            if isinstance(inner, ast.Name) and name.startswith("Async"):
                self._module.refuse(inner, f"{what} has coroutines ({name})")
        self._need_all(annotation)

    def _registered(self, annotation: ast.expr | None) -> str | None:
        if isinstance(annotation, ast.Name) and annotation.id in self._known:
            return annotation.id
        return None

    def _returns_own_class(self, node: _Function) -> bool:
        return isinstance(node.returns, ast.Name) and node.returns.id in {"Self", self._node.name}

    def _need_all(self, expression: ast.expr) -> None:
        for inner in ast.walk(expression):
            if isinstance(inner, ast.Name):
                self._need(inner.id, inner)

    def _need(self, name: str, node: ast.AST) -> None:
        origin = self._module.origins.get(name)
        if origin is not None:
            self._reading.imports.add(origin)
        elif not hasattr(builtins, name):
            self._module.refuse(node, f"it is not clear where {name} comes from")

    def _docstring_text(self, node: _Function | ast.ClassDef) -> str | None:
        docstring = _docstring(node)
        return None if docstring is None else self._module.segment(docstring)


def _docstring(node: _Function | ast.ClassDef) -> ast.expr | None:
    match node.body[0]:
        case ast.Expr(value=ast.Constant(value=str()) as docstring):
            return docstring
        case _:
            return None


def _managed(node: _Function) -> str:
    """The class whose asynchronous context manager a method says that it returns; empty for any other method."""
    match node.returns:
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Name(id=managed)) if name == _MANAGER:
            return "" if isinstance(node, ast.AsyncFunctionDef) else managed
        case _:
            return ""


def _without_docstring(node: _Function | ast.ClassDef) -> list[ast.stmt]:
    return node.body[1:] if _docstring(node) else node.body


def _is_none(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Constant) and annotation.value is None


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _refuse_public_attributes(module: _Module, node: _Function) -> None:
    for inner in ast.walk(node):
        match inner:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()) if not name.startswith(
                "_"
            ):
                module.refuse(inner, f"the public attribute {name}: make it a property")
            case _:
                pass

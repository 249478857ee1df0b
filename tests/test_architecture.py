"""The floors of the package: who may import whom, what each module owes its reader, and what an import costs."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagesdk

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "imagesdk"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

FLOORS = {
    "imagesdk.errors": 0,
    "imagesdk.types": 0,
    "imagesdk.jobs": 0,
    "imagesdk.policies": 0,
    "imagesdk.models": 0,
    "imagesdk.models.profile": 0,
    "imagesdk.models.catalog": 0,
    "imagesdk.models.sizes": 0,
    "imagesdk.pricing": 0,
    "imagesdk.events": 0,
    "imagesdk._media.sniff": 0,
    "imagesdk._media.pillow": 0,
    "imagesdk._media.upload": 0,
    "imagesdk._media.notebook": 0,
    "imagesdk._media.output": 0,
    "imagesdk._protocol.secret": 0,
    "imagesdk._version": 0,
    "imagesdk._runtime.callsite": 0,
    "imagesdk._protocol": 1,
    "imagesdk._transport.exchange": 2,
    "imagesdk._transport.connection": 2,
    "imagesdk._transport.single_connection": 2,
    "imagesdk._transport.user_client": 2,
    "imagesdk._transport.httpx_compat": 2,
    "imagesdk._transport.environment": 2,
    "imagesdk._calls.sources": 2,
    "imagesdk._engine.sink": 2,
    "imagesdk._engine.download": 2,
    "imagesdk._runtime.loops": 2,
    "imagesdk._engine.tokens": 2,
    "imagesdk._ratelimit": 2,
    "imagesdk.prepare": 2,
    "imagesdk.telemetry": 2,
    "imagesdk._engine.call": 3,
    "imagesdk._engine.state": 3,
    "imagesdk._engine.logs": 3,
    "imagesdk._engine.stream": 3,
    "imagesdk._engine.engine": 3,
    "imagesdk._engine.response": 3,
    "imagesdk._calls.client_options": 4,
    "imagesdk._calls.context": 4,
    "imagesdk._calls.build": 4,
    "imagesdk._calls.raw": 4,
    "imagesdk.streams": 4,
    "imagesdk._calls.retirement": 4,
    "imagesdk._calls.finish": 4,
    "imagesdk._calls.file_names": 4,
    "imagesdk.images": 4,
    "imagesdk.fan_out": 4,
    "imagesdk.batches": 4,
    "imagesdk.files": 4,
    "imagesdk.client": 4,
    "imagesdk._sync": 5,
    "imagesdk.cli": 6,
    "imagesdk.testing": 6,
    "imagesdk.distributed": 6,
    "imagesdk.emulator": 6,
    "imagesdk.__main__": 7,
}
"""A module or package, and the number of its floor. The package itself loads its names on first use."""

MAY_USE_EMULATOR = {"imagesdk.emulator", "imagesdk.cli", "imagesdk.testing", "imagesdk.__main__"}
NOT_IN_PROTOCOL = {"httpx", "anyio", "asyncio", "time", "random", "socket", "os", "pathlib"}
SAYS_NOTHING = {"core", "utils", "util", "common", "helpers", "helper", "base", "manager"}
TOLD_IN = {
    "_protocol": "The protocol",
    "_ratelimit": "One attempt",
    "fan_out": "Runs",
    "_sync": "The facade",
    "cli": "The command line",
    "emulator": "The emulator",
}
"""The section of docs/architecture.md about each package."""
HEAVY = ("httpx", "anyio", "attr", "attrs", "asyncio")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(name: str) -> str:
    """The entry of the table that a module belongs to: ``imagesdk.x`` for ``imagesdk.x.y.Z``."""
    return ".".join(name.split(".")[:2])


def resolved(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = path.relative_to(ROOT).parts[: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere in it, in full."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolved(path, node)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def our_imports(path: Path) -> set[str]:
    found = {package_of(name) for name in imports(path) if name.startswith("imagesdk.")}
    return {name for name in found if name in FLOORS or is_a_module(name)}


def is_a_module(name: str) -> bool:
    at = ROOT.joinpath(*name.split("."))
    return at.with_suffix(".py").exists() or at.is_dir()


def imported_at_run_time(path: Path) -> set[str]:
    """Modules of ours that loading a file loads: not those in functions, nor for type checkers only."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolved(path, node)
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.ClassDef)):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    names = {name_of(module) for module in MODULES}
    return found & names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_stands_on_a_floor_and_imports_from_no_higher_one(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert imported_at_run_time(path) == set()
        return
    own = package_of(name_of(path))
    assert own in FLOORS, f"{own} has no floor in the table"
    unknown = our_imports(path) - set(FLOORS)
    assert not unknown, f"{unknown} have no floor in the table"
    above = {name for name in our_imports(path) if FLOORS[name] > FLOORS[own]}
    assert not above, f"{name_of(path)} (floor {FLOORS[own]}) imports {above} from above"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_emulator_shares_only_data_and_protocol_with_the_client(path: Path) -> None:
    own, used = package_of(name_of(path)), our_imports(path)
    if own == "imagesdk.emulator":
        assert {name for name in used if FLOORS[name] > 1} <= {"imagesdk.emulator"}
    elif own not in MAY_USE_EMULATOR:
        assert "imagesdk.emulator" not in used


def test_no_two_modules_load_each_other() -> None:
    graph = {name_of(path): imported_at_run_time(path) - {"imagesdk"} for path in MODULES}
    done: set[str] = set()

    def follow(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in sorted(graph[name] - {name}):
                follow(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        if name != "imagesdk":
            follow(name, ())
    assert len(done) == len(MODULES) - 1


PURE = [
    *sorted((PACKAGE / "_protocol").rglob("*.py")),
    *(PACKAGE / "_ratelimit" / f"{name}.py" for name in ("queue", "window", "pacing", "secondary")),
]


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_the_protocol_and_the_rules_of_the_rate_limit_do_no_io_and_have_no_clock(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)} & NOT_IN_PROTOCOL == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_lives_in_it(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring.split()) >= 4


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_page_on_the_architecture_names_a_module_where_it_tells_of_its_package(path: Path) -> None:
    *packages, name = path.relative_to(PACKAGE).with_suffix("").parts
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    text = sections["Floors"]
    if packages and name != "__init__":
        text = sections[TOLD_IN[packages[0]]]
    elif packages:
        name = packages[0]
    named = {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", span)}
    assert name in named or (name == "__init__" and not packages)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_read_in_one_go(path: Path) -> None:
    if path.name != "facade.py":  # which nobody writes; its sources are read instead
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_named_for_what_it_is_about(path: Path) -> None:
    words = {word for part in path.relative_to(PACKAGE).with_suffix("").parts for word in part.split("_")}
    assert words & SAYS_NOTHING == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_text_of_ours_names_the_other_package_on_pypi(path: Path) -> None:
    assert f"pip install {imagesdk.__name__}" not in path.read_text(encoding="utf-8")


def modules_after(statement: str) -> set[str]:
    program = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import imagesdk")
    assert "imagesdk" in loaded
    assert {name for name in loaded if name.partition(".")[0] in HEAVY} == set()
    assert {name for name in loaded if name.startswith("imagesdk.")} == set()


def test_a_job_and_a_policy_are_made_without_loading_the_http_library() -> None:
    loaded = modules_after("import imagesdk; imagesdk.Generate('a cat'); imagesdk.RateLimit()")
    assert "imagesdk.jobs" in loaded
    assert loaded & {"httpx", "anyio", "asyncio"} == set()


@pytest.mark.parametrize("name", imagesdk.__all__)
def test_every_public_name_resolves_and_reads_as_ours(name: str) -> None:
    value = getattr(imagesdk, name)
    assert name in dir(imagesdk)
    if inspect.isclass(value):
        assert value.__module__ == "imagesdk"
        assert value.__qualname__ == name
        assert value.__doc__


def test_public_names_are_listed_once() -> None:
    assert len(set(imagesdk.__all__)) == len(imagesdk.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = imagesdk.Nonsense


def test_what_type_checkers_see_is_what_runs() -> None:
    """The block for type checkers, the table of homes and ``__all__`` name the same things."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (str(node.module), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("imagesdk.")
        for alias in node.names
    }
    assert {name for _, name in seen} == {*imagesdk.__all__, "__version__"}
    for module, name in seen:
        assert getattr(importlib.import_module(module), name) is getattr(imagesdk, name)

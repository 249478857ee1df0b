"""The rooms of the package: which may import which, what each module owes its reader, and what an import costs."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from operator import attrgetter
from pathlib import Path

import pytest

import imagesdk

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "imagesdk"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = (
    {"__main__"},
    {"cli", "testing"},
    {"emulator", "telemetry", "integrations"},
    {"_sync"},
    {"client"},
    {"images", "batches"},
    {"fan_out", "files", "provenance", "served"},
    {"_calls", "streams"},
    {"_engine"},
    {"_coordination"},
    {"_ratelimit", "_transport"},
    {"_protocol", "pricing"},
    {"jobs", "prepare"},
    {"types", "reports", "webhooks"},
    {"_media", "policies"},
    {"_runtime", "events", "models"},
    {"errors"},
    {"remedies", "_version"},
)
"""The rooms from the top down: each imports only rooms of the rows below its own.

``imagesdk/__init__`` loads its names on first use and is in no row.
"""
FLOOR_OF = {room: -row for row, rooms in enumerate(ROOMS) for room in rooms}
UPWARD = {("errors", "types")}
"""For type checkers only: an error that carries a result, as in httpx."""
MAY_USE_EMULATOR = {"cli", "emulator", "testing", "__main__"}
EMULATOR_DATA = {"errors", "events", "jobs", "types", "_version"}
EMULATOR_RULES = {"_media", "_protocol", "models", "policies", "pricing"}
"""Pure rules. The emulator checks requests with rules of its own: an oracle shares no code with its client."""
PURE = (
    "_protocol/",
    *(f"_ratelimit/{name}.py" for name in ("window", "queue", "pacing", "sliding_log")),
    *(f"_coordination/{name}.py" for name in ("shared_window", "store_clock")),
)
NOT_PURE = {"httpx", "anyio", "asyncio", "trio", "time", "random", "socket", "os", "pathlib", "threading"}
MEANINGLESS = {"core", "utils", "util", "common", "helpers", "helper", "base", "manager"}
MOST_AT_THE_TOP = 42
HEAVY = ("httpx", "anyio", "attr", "attrs", "asyncio")


def name_of(path: Path) -> str:
    """Return the dotted name of a module below ``imagesdk``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = {name_of(path): path for path in MODULES}


def room_of(name: str) -> str:
    return name.partition(".")[0]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports anywhere in it, also in functions and for type checkers only."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def our_imports(name: str) -> frozenset[str]:
    """Return the modules of the package that a module imports."""
    found: set[str] = set()
    for imported in imports(NAMES[name]):
        below = imported.removeprefix("imagesdk.")
        if below != imported:
            found.add(below if below in NAMES else below.rpartition(".")[0] or "__init__")
    return frozenset(found & set(NAMES)) - {name, "__init__"}


def test_every_room_has_its_place() -> None:
    assert {room_of(name) for name in NAMES} - set(FLOOR_OF) == {"__init__"}
    assert len([path for path in PACKAGE.iterdir() if path.name != "__pycache__"]) <= MOST_AT_THE_TOP
    private = [path.name for path in PACKAGE.glob("_[a-z]*.py")]
    assert private == ["_version.py"]


def test_a_room_imports_only_rooms_below_it() -> None:
    offenders = [
        f"{name} -> {other}"
        for name in NAMES
        for other in our_imports(name)
        if name != "__init__"
        and room_of(name) != room_of(other)
        and (room_of(name), room_of(other)) not in UPWARD
        and FLOOR_OF[room_of(other)] >= FLOOR_OF[room_of(name)]
    ]
    assert offenders == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {other for other in our_imports(name) if (room_of(name), room_of(other)) not in UPWARD}
        for name in NAMES
        if name != "__init__"
    }
    circles: list[str] = []
    done: set[str] = set()

    def follow(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circles.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in sorted(graph[name]):
                follow(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        follow(name, ())
    assert circles == []


def test_only_programs_use_the_emulator_and_it_shares_only_data_and_pure_rules() -> None:
    offenders: list[str] = []
    for name in NAMES:
        used = {room_of(other) for other in our_imports(name)}
        if room_of(name) == "emulator":
            offenders += [
                f"{name} -> {room}" for room in used - EMULATOR_DATA - EMULATOR_RULES - {"emulator"}
            ]
        elif room_of(name) not in MAY_USE_EMULATOR and "emulator" in used:
            offenders.append(f"{name} -> emulator")
    assert offenders == []


def test_pure_modules_do_no_io_and_have_no_clock() -> None:
    offenders = {
        name: used
        for name, path in NAMES.items()
        if path.relative_to(PACKAGE).as_posix().startswith(PURE)
        and (used := {imported.partition(".")[0] for imported in imports(path)} & NOT_PURE)
    }
    assert offenders == {}


def test_a_module_says_what_it_holds_and_can_be_read_in_one_go() -> None:
    docstrings = {name: ast.get_docstring(parsed(path)) or "" for name, path in NAMES.items()}
    assert [name for name, text in docstrings.items() if len(text.split()) < 3] == []
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in NAMES.items()}
    # The facade is generated: people read its sources instead.
    assert [name for name, lines in lengths.items() if lines > 500 and name != "_sync.facade"] == []


def test_a_module_is_named_for_its_content() -> None:
    offenders = {name for name in NAMES if {*re.split(r"[._]", name)} & MEANINGLESS}
    assert offenders == set()


def test_the_page_on_the_architecture_names_every_room_and_every_module_of_a_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {word for span in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"\w+", span)}
    expected = {name.rpartition(".")[2] for name in NAMES} - {"__init__"}
    assert expected - named == set()


def test_no_text_of_ours_installs_the_other_package_of_this_name() -> None:
    named = f"pip install {imagesdk.__name__}"
    assert [name for name, path in NAMES.items() if named in path.read_text(encoding="utf-8")] == []


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


def test_every_public_name_resolves_and_reads_as_ours() -> None:
    offenders: list[str] = []
    for name in imagesdk.__all__:
        value = getattr(imagesdk, name)
        ours = name in dir(imagesdk)
        if inspect.isclass(value):
            ours &= (value.__module__, value.__qualname__) == ("imagesdk", name) and bool(value.__doc__)
        if not ours:
            offenders.append(name)
    assert offenders == []


def test_public_names_are_listed_once() -> None:
    assert len(set(imagesdk.__all__)) == len(imagesdk.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        attrgetter("Nonsense")(imagesdk)


def test_the_stub_and_the_package_name_the_same_things() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    seen = {
        (str(node.module), alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {name for _, name in seen} == {*imagesdk.__all__, "__version__"}
    for module, name in seen:
        assert getattr(importlib.import_module(module), name) is getattr(imagesdk, name)

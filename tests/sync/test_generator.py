"""The generator of the blocking clients: its output for an invented asynchronous client, and what it refuses."""

import importlib
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import ModuleType

import pytest

from imagesdk._sync.generator import __main__ as generator
from imagesdk._sync.generator.docstrings import DocstringTranslator
from imagesdk._sync.generator.parse import UnsupportedSyntax

SHOP = '''
from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Any, NoReturn, Self

import anyio

from imagesdk_sample.shelves import AsyncShelf, AsyncTill, Label

FEW = 3


class AsyncShop:
    """A shop, for asyncio and
    trio. Use it so:

    Example:
        async def main():
            async with AsyncShop("here") as shop:
                async for x in shop: await shop.buy("tea")

    It may wrap an ``httpx.AsyncClient``; close it with `aclose`. See `AsyncShelf`.
    """

    def __init__(
        self,
        place: str,
        stock: Sequence[str] = (),
        *,
        folder: str | os.PathLike[str] | None = None,
        few: int = FEW,
        tags: Sequence[str] = tuple(),  # noqa: C408 - as written
        **rest: Any,
    ) -> None:
        self._place = place
        self._stock = list(stock)
        self._rest = rest
        self._shelf = AsyncShelf(self)

    @classmethod
    def abroad(cls, place: str) -> AsyncShop:
        """Make an `AsyncShop` abroad."""
        return cls(f"{place} (abroad)")

    @property
    def place(self) -> str:
        """Where it is."""
        return self._place

    @property
    def shelf(self) -> AsyncShelf:
        """Its shelf."""
        return self._shelf

    def label(self, text: str, *, size: int = 1) -> Label:
        """Write a label."""
        return Label(text * size)

    def moved(self, place: str) -> Self:
        """The same shop elsewhere."""
        return type(self)(place, self._stock)

    async def stock(
        self, first: int = 0, *, last_one_that_is_shown: int | None = None, price: Decimal | None = None
    ) -> list[str]:
        """``await shop.stock()`` says what there is."""
        await anyio.sleep(0)
        return [*self._stock, *self._rest][first:last_one_that_is_shown]

    async def forget(
        self, everything: bool = True, and_this_parameter_makes_the_line_long: bool = False
    ) -> None:
        await anyio.sleep(0)
        self._stock.clear()

    def till(self, coins: Sequence[int]) -> AbstractAsyncContextManager[AsyncTill]:
        """Open an `AsyncTill`: ``async with shop.till([1]) as till: async for coin in till: ...``"""
        return self._till(coins)

    @asynccontextmanager
    async def _till(self, coins: Sequence[int]) -> AsyncGenerator[AsyncTill, None]:
        till = AsyncTill(coins)
        try:
            yield till
        finally:
            await anyio.sleep(0)
            till._open = False

    async def aclose(self) -> None:
        """Close it in one event loop."""

    async def __aenter__(self) -> Self:
        """Go in."""
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncShop({self._place!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a shop does not travel")
'''

SHELVES = '''
from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Self

import anyio


class Label(str):
    pass


class AsyncShelf:
    def __init__(self, shop: object) -> None:
        self._shop = shop

    async def thread(self) -> int:
        """The thread that does the work."""
        return threading.get_ident()


class AsyncTill:
    def __init__(self, coins: Sequence[int]) -> None:
        self._coins = list(coins)
        self._open = True

    @property
    def left(self) -> int:
        return len(self._coins)

    def add(self, coin: int) -> None:
        self._coins.append(coin)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        """Take a coin."""
        if not self._coins:
            raise StopAsyncIteration
        return self._coins.pop(0)

    async def task(self, scale: int = 1) -> int:
        """Which task does the work, in a scope that only one task may hold."""
        with anyio.CancelScope():
            return anyio.get_current_task().id * scale
'''


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources of a package with the client above."""
    package = tmp_path_factory.mktemp("sources") / "imagesdk_sample"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shop.py").write_text(SHOP)
    (package / "shelves.py").write_text(SHELVES)
    return {f"imagesdk_sample.{name}": package / f"{name}.py" for name in ("shop", "shelves")}


@pytest.fixture(scope="module")
def text(sources: dict[str, Path]) -> str:
    """The text of the facade of the client above."""
    return generator.facade(sources, {"for asyncio and trio.": "for everybody."})


@pytest.fixture(scope="module")
def sample(sources: dict[str, Path], text: str) -> ModuleType:
    """The facade of the client above, imported."""
    package = sources["imagesdk_sample.shop"].parent
    (package / "facade.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(package.parent), *sys.path])
        return importlib.import_module("imagesdk_sample.facade")


def test_coroutines_become_blocking_calls(sample: ModuleType) -> None:
    with sample.Shop("here", ["tea", "milk"], jam=1) as shop:
        assert shop.stock() == ["tea", "milk", "jam"]
        assert shop.stock(1, last_one_that_is_shown=2) == ["milk"]
        assert shop.forget() is None
        assert shop.stock() == ["jam"]


def test_members_that_need_no_event_loop_are_forwarded(sample: ModuleType) -> None:
    shop = sample.Shop("here")
    assert shop.place == "here"
    assert shop.label("tea", size=2) == "teatea"
    assert repr(shop) == "Shop('here')"
    with pytest.raises(TypeError, match="does not travel"):
        shop.__reduce__()


def test_resources_are_blocking_and_share_the_connections(sample: ModuleType) -> None:
    with sample.Shop("here") as shop:
        assert type(shop.shelf) is sample.Shelf
        assert shop.shelf.thread() != threading.get_ident()
    with pytest.raises(RuntimeError, match="closed"):
        shop.shelf.thread()


def test_a_method_that_returns_the_class_gives_a_blocking_view(sample: ModuleType) -> None:
    with sample.Shop("here", ["tea"]) as shop:
        moved = shop.moved("there")
        assert type(moved) is sample.Shop
        assert moved.place == "there"
        assert moved.stock() == ["tea"]
        assert type(moved.shelf) is sample.Shelf


def test_a_class_method_makes_a_blocking_client(sample: ModuleType) -> None:
    with sample.Shop.abroad("Ghent") as shop:
        assert type(shop) is sample.Shop
        assert shop.place == "Ghent (abroad)"
        assert shop.stock() == []


def test_a_context_manager_gives_an_iterator_that_one_task_uses(sample: ModuleType) -> None:
    with sample.Shop("here") as shop:
        with shop.till([1, 2]) as till:
            assert type(till) is sample.Till
            assert till.left == 2
            assert next(till) == 1
            till.add(3)
            assert list(till) == [2, 3]
            assert till.task() == till.task()
            assert till.task(scale=0) == 0
            async_till = till._handle.async_object
            assert async_till._open
        assert not async_till._open
        with pytest.raises(RuntimeError, match="block was left"):
            next(till)


def test_docstrings_describe_the_blocking_class(sample: ModuleType) -> None:
    expected = """
        A shop, for everybody. Use it so: Example: def main():
        with Shop("here") as shop: for x in shop: shop.buy("tea")
        It may wrap an ``httpx.AsyncClient``; close it with `close`. See `Shelf`.
    """
    assert (sample.Shop.__doc__ or "").split() == expected.split()
    assert sample.Shop.stock.__doc__ == "``shop.stock()`` says what there is."


def test_signatures_keep_their_text_and_are_laid_out_as_by_the_formatter(text: str) -> None:
    assert (
        """
    def __init__(
        self,
        place: str,
        stock: Sequence[str] = (),
        *,
        folder: str | os.PathLike[str] | None = None,
        few: int = FEW,
        tags: Sequence[str] = tuple(),  # noqa: C408 - as written
        **rest: Any,
    ) -> None:
        handle = lease(AsyncShop, place, stock, folder=folder, few=few, tags=tags, **rest)
"""
        in text
    )
    assert "    @property\n    def shelf(self) -> Shelf:\n" in text
    assert "    def till(self, coins: Sequence[int]) -> AbstractContextManager[Till]:\n" in text
    assert "    def stock(\n        self, first: int = 0, *," in text
    assert "    def forget(self, everything: bool = True, and_this" in text


def test_only_the_imports_that_signatures_need_are_written(text: str) -> None:
    assert [line for line in text[: text.index("__all__")].splitlines() if "import" in line] == [
        "from __future__ import annotations",
        "import os",
        "from collections.abc import Sequence",
        "from contextlib import AbstractContextManager",
        "from decimal import Decimal",
        "from typing import Any, NoReturn, Self",
        "from imagesdk_sample.shelves import AsyncShelf, AsyncTill, Label",
        "from imagesdk_sample.shop import FEW, AsyncShop",
        "from imagesdk._sync.context import ContextHandle",
        "from imagesdk._sync.lease import Lease, lease",
    ]


def test_what_a_source_imports_for_type_checkers_only_is_imported_for_them_only(tmp_path: Path) -> None:
    path = tmp_path / "client.py"
    path.write_text("""from __future__ import annotations
from typing import TYPE_CHECKING, Any
if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction
    from imagesdk_sample.shelves import AsyncShelf
class AsyncX:
    async def cost(self, scale: Any) -> Decimal:
        return scale
class AsyncShelf:
    async def thread(self) -> int:
        return 1
""")
    text = generator.facade({"imagesdk.client": path}, {})
    assert "\n\nif TYPE_CHECKING:\n    from decimal import Decimal\n\n__all__" in text
    assert "from typing import TYPE_CHECKING, Any\n" in text
    assert "\nfrom imagesdk.client import AsyncShelf, AsyncX\n" in text
    assert "Fraction" not in text


def test_a_phrase_that_no_docstring_contains_is_refused(sources: dict[str, Path]) -> None:
    with pytest.raises(UnsupportedSyntax, match="no docstring contains 'under trio'"):
        generator.facade(sources, {"under trio": "anywhere"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("await x()", "x()"),
        ("x = [await y for z in w]", "x = [y for z in w]"),
        ("print((await x(y())).z, 1)", "print(x(y()).z, 1)"),
        ("an AsyncClient, AsyncClients, MyAsyncClient", "a Client, AsyncClients, MyAsyncClient"),
        ("an ``httpx.AsyncClient``", "an ``httpx.AsyncClient``"),
        ("An ``AsyncImages`` of an ``AsyncClient``", "An ``Images`` of a ``Client``"),
        ("awaiting async work", "awaiting async work"),
        ("client.aclose()", "client.close()"),
    ],
)
def test_words_are_translated_and_their_neighbours_left_alone(text: str, expected: str) -> None:
    assert DocstringTranslator(["AsyncClient", "AsyncImages"], {}).translate(text) == expected


CLIENT = """
class AsyncX:
    def __init__(self) -> None:
        self._x = 1
    async def aclose(self) -> None:
        pass
    def s(self) -> AbstractAsyncContextManager[AsyncS]:
        ...
"""
UNSUPPORTED = """
def m(self) -> AsyncIterator[int]:                         | result of m is asynchronous
def m(self) -> AbstractAsyncContextManager[int]:           | result of m is asynchronous
async def m(self) -> AbstractAsyncContextManager[AsyncS]:  | result of m is asynchronous
async def m(self) -> AsyncX:                               | result of m is asynchronous
def m(self) -> list[AsyncX]:                               | result of m is asynchronous
def m(self) -> AsyncS:                                     | result of m is asynchronous
@property; def m(self) -> AsyncS:                          | result of m is asynchronous
async def m(self, f: Callable[[], Awaitable[int]]) -> int: | parameter f is asynchronous
async def m(self, other: AsyncX) -> int:                   | parameter other is asynchronous
async def m(self) -> 'int':                                | annotation is in quotes
async def m(self, a) -> int:                               | a has no annotation
async def m(self, handle: int) -> int:                     | a reserved name
async def m(self, a: int, /) -> int:                       | positional-only
async def m(self, *a: int) -> int:                         | positional-only
async def m(self):                                         | m has no return annotation
async def m(self) -> Mystery:                              | names Mystery
async def m(self, a: int = MYSTERY) -> int:                | names MYSTERY
async def m(self) -> Alias:                                | names Alias
async def m(self) -> Relative:                             | names Relative
async def m(self) -> int: return 1                         | line of the signature
@cached; def m(self) -> int:                               | no translation for m
@property; async def m(self) -> int:                       | no translation for m
@classmethod; async def m(cls) -> AsyncX:                  | no translation for m
@classmethod; def m(cls) -> int:                           | no translation for m
def __len__(self) -> int:                                  | no translation for __len__
async def __aenter__(self) -> Self:                        | no translation for __aenter__
async def __aexit__(self, a: int, b: int, c: int) -> None: | no translation for __aexit__
async def aclose(self, *, fast: bool) -> None:             | no translation for aclose
def __aiter__(self) -> Self: ;    return self              | no translation for __aiter__
limit = 3                                                  | only methods and properties
if True:                                                   | only methods and properties
def _m(self) -> None: ;    self.limit = 3                  | public attribute limit
"""
UNSUPPORTED_IN_CONTEXTS = """
def m(self) -> AsyncX:                                     | result of m is asynchronous
def m(self) -> AbstractAsyncContextManager[AsyncS]:        | no translation for m
def __anext__(self) -> int:                                | no translation for __anext__
async def __aiter__(self) -> Self: ;    return self        | no translation for __aiter__
def __aiter__(self) -> Self:                               | no translation for __aiter__
async def aclose(self) -> None:                            | no translation for aclose
"""
UNSUPPORTED_MODULES = """
class AsyncX(Base):                                        | a base class or a decorator
@final; class AsyncX:                                      | a base class or a decorator
class AsyncX: ;    async def aclose(self) -> None:         | no translation for aclose
class AsyncX: ;    a = 1; class AsyncX:                    | two classes named AsyncX
async def call() -> None:                                  | in no class
"""
IN_CONTEXT = f"{CLIENT}class AsyncS:\n"
TABLES = ((CLIENT, UNSUPPORTED), (IN_CONTEXT, UNSUPPORTED_IN_CONTEXTS), ("", UNSUPPORTED_MODULES))
CASES = [
    (before, source.rstrip(), reason)
    for before, table in TABLES
    for source, _, reason in (row.partition("| ") for row in table.strip().splitlines())
]


@pytest.mark.parametrize(("before", "source", "reason"), CASES, ids=[source for _, source, _ in CASES])
def test_source_without_a_translation_is_refused_with_file_and_line(
    tmp_path: Path, before: str, source: str, reason: str
) -> None:
    before = f"from typing import Self\nfrom a import b as Alias\nfrom .a import Relative\n{before}"
    margin = "    " if "class Async" in before else ""
    lines = [line.rstrip().removeprefix(" ") for line in source.split(";")]
    wrong = "".join(f"{margin}{line}\n" for line in lines)
    if wrong.endswith(":\n"):
        wrong += f"{margin}        pass\n"
    path = tmp_path / "client.py"
    path.write_text(before + wrong + ("" if "class AsyncS" in before else "class AsyncS:\n    pass\n"))
    with pytest.raises(UnsupportedSyntax) as caught:
        generator.facade({"imagesdk.client": path}, {})
    file, line, message = str(caught.value).split(":", 2)
    assert file == str(path)
    assert 0 < int(line) - before.count("\n") <= wrong.count("\n")
    assert reason in message


def test_the_unsupported_members_are_all_that_is_wrong_with_their_sources(tmp_path: Path) -> None:
    path = tmp_path / "client.py"
    path.write_text(f"{CLIENT}class AsyncS:\n    async def m(self, a: int) -> int:\n        pass\n")
    assert "def m(self, a: int) -> int:" in generator.facade({"imagesdk.client": path}, {})


def test_check_reports_a_stale_facade_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "facade.py"
    monkeypatch.setattr(generator, "TARGET", target)
    assert generator.main(["--check"]) == 1
    assert not target.exists()
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    stale = target.read_text().replace("def generate(", "def make(")
    target.write_text(stale)
    capsys.readouterr()
    assert generator.main(["--check"]) == 1
    assert "facade.py is stale" in capsys.readouterr().err
    assert target.read_text() == stale


def test_a_refusal_is_printed_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "client.py"
    source.write_text("class AsyncX:\n    limit = 3\n")
    monkeypatch.setattr(generator, "TARGET", tmp_path / "facade.py")
    monkeypatch.setattr(generator, "SOURCES", {"imagesdk.client": source})
    assert generator.main([]) == 2
    assert f"{source}:2: " in capsys.readouterr().err
    assert not (tmp_path / "facade.py").exists()


def test_the_generator_runs_where_no_dependency_is_installed() -> None:
    text = """
        import runpy, sys
        sys.modules.update(dict.fromkeys(["anyio", "attr", "attrs", "httpx"]))
        sys.argv = ["generator", "--check"]
        runpy.run_module("imagesdk._sync.generator", run_name="__main__")
    """
    environment = os.environ | {"PYTHONPATH": str(generator.PACKAGE.parent)}
    command = [sys.executable, "-c", textwrap.dedent(text)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

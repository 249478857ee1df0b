"""The generator of the blocking clients: what it writes for an invented asynchronous client, and what it refuses."""

import importlib
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from imagesdk._sync import generate
from imagesdk._sync.reading import RefusedError
from imagesdk._sync.translation import Translator

CLIENT = '''
from __future__ import annotations

import os as system
import typing
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio

from .shelves import AsyncShelf, AsyncTill, Label

if TYPE_CHECKING:
    import httpx
    from decimal import Decimal

FEW = 3


class AsyncShop:
    """A shop, for asyncio and
    trio. Use it so:

    Example:
        async def main():
            async with AsyncShop("here") as shop:
                async for x in shop: await shop.buy("tea")

        asyncio.run(main())

    It may wrap an ``httpx.AsyncClient``; close it with `aclose`. See `AsyncShelf`.
    """

    def __init__(
        self,
        place: str,
        /,
        *stock: str,
        http_client: httpx.AsyncClient | None = None,
        few: int = FEW,
        tags: Sequence[str] = tuple(),  # noqa: C408 - as written
        **rest: Any,
    ) -> None:
        if not place:
            raise ValueError("no place")
        self._place = place
        self._stock = list(stock)
        self._few = few
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
        return type(self)(place, *self._stock)

    async def stock(self, first: int = 0, *, last: int | None = None, price: Decimal | None = None) -> list[str]:
        """``await shop.stock()`` says what there is."""
        await anyio.sleep(0)
        return [*self._stock, *self._rest][first:last]

    async def forget(self) -> None:
        await anyio.sleep(0)
        self._stock.clear()

    async def home(self) -> str:
        return system.curdir

    def till(self, *coins: int) -> AbstractAsyncContextManager[AsyncTill]:
        """Open an `AsyncTill`: ``async with shop.till(1) as till: async for coin in till: ...``"""
        return self._till(coins)

    @asynccontextmanager
    async def _till(self, coins: tuple[int, ...]) -> AsyncGenerator[AsyncTill, None]:
        till = AsyncTill(coins)
        try:
            yield till
        finally:
            await anyio.sleep(0)
            till._open = False

    async def _hidden(self) -> None: ...

    async def aclose(self) -> None:
        """Close it in one event loop."""

    async def __aenter__(self) -> Self:
        """Go in."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncShop({self._place!r})"

    def __reduce__(self) -> typing.NoReturn:
        raise TypeError("a shop does not travel")
'''

SHELVES = '''
from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import anyio

if TYPE_CHECKING:
    from imagesdk_sample.shop import AsyncShop


class Label(str):
    pass


class AsyncShelf:
    def __init__(self, shop: AsyncShop) -> None:
        self._shop = shop

    async def thread(self) -> int:
        """The thread that does the work."""
        return threading.get_ident()


class AsyncTill:
    def __init__(self, coins: tuple[int, ...]) -> None:
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


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The facade of the client above, generated and imported."""
    package = tmp_path / "imagesdk_sample"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shop.py").write_text(CLIENT)
    (package / "shelves.py").write_text(SHELVES)
    (package / "facade.py").write_text(sample_text(package))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in [name for name in sys.modules if name.startswith("imagesdk_sample")]:
        del sys.modules[name]
    return importlib.import_module("imagesdk_sample.facade")


def sample_text(package: Path) -> str:
    sources = {f"imagesdk_sample.{name}": package / f"{name}.py" for name in ("shop", "shelves")}
    return generate.facade(sources, {"for asyncio and trio.": "for everybody."})


def test_coroutines_become_calls_that_wait(sample: ModuleType) -> None:
    with sample.Shop("here", "tea", "milk", jam=1) as shop:
        assert shop.stock() == ["tea", "milk", "jam"]
        assert shop.stock(1, last=2) == ["milk"]
        assert shop.forget() is None
        assert shop.stock() == ["jam"]
        assert shop.home() == os.curdir


def test_what_needs_no_event_loop_is_forwarded(sample: ModuleType) -> None:
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
    with sample.Shop("here", "tea") as shop:
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
        with shop.till(1, 2) as till:
            assert type(till) is sample.Till
            assert till.left == 2
            assert next(till) == 1
            till.add(3)
            assert list(till) == [2, 3]
            assert till.task() == till.task()
            assert till.task(scale=0) == 0
            twin = till._lease.twin
            assert twin._open
        assert not twin._open
        with pytest.raises(RuntimeError, match="block was left"):
            next(till)


def test_an_error_of_the_constructor_is_raised_at_once(sample: ModuleType) -> None:
    with pytest.raises(ValueError, match="no place"):
        sample.Shop("")


def test_docstrings_speak_of_the_blocking_class(sample: ModuleType) -> None:
    expected = """
        A shop, for everybody. Use it so:

            Example:
                def main():
                    with Shop("here") as shop:
                        for x in shop: shop.buy("tea")

                main()

            It may wrap an ``httpx.AsyncClient``; close it with `close`. See `Shelf`.
    """
    assert textwrap.dedent(sample.Shop.__doc__ or "").split() == expected.split()
    assert sample.Shop.stock.__doc__ == "``shop.stock()`` says what there is."
    assert "cannot be used any more" in sample.Shop.close.__doc__


def test_signatures_are_kept_word_for_word(sample: ModuleType, tmp_path: Path) -> None:
    text = sample_text(tmp_path / "imagesdk_sample")
    assert (
        """
    def __init__(
        self,
        place: str,
        /,
        *stock: str,
        http_client: httpx.AsyncClient | None = None,
        few: int = FEW,
        tags: Sequence[str] = tuple(),  # noqa: C408 - as written
        **rest: Any,
    ) -> None:
        held = lease(AsyncShop, place, *stock, http_client=http_client, few=few, tags=tags, **rest)
"""
        in text
    )
    assert "def label(self, text: str, *, size: int = 1) -> Label:" in text


def test_only_the_imports_that_signatures_need_are_written(sample: ModuleType, tmp_path: Path) -> None:
    text = sample_text(tmp_path / "imagesdk_sample")
    lines = text[: text.index("__all__")].splitlines()
    assert [line for line in lines if "import" in line] == [
        "from __future__ import annotations",
        "import typing",
        "from collections.abc import Sequence",
        "from contextlib import AbstractContextManager",
        "from typing import TYPE_CHECKING, Any, Self",
        "from imagesdk_sample.shelves import AsyncShelf, AsyncTill, Label",
        "from imagesdk_sample.shop import FEW, AsyncShop",
        "from imagesdk._sync.hosting import Hosted",
        "from imagesdk._sync.lease import Lease, lease",
        "    from decimal import Decimal",
        "    import httpx",
    ]


def test_a_phrase_that_no_docstring_has_any_more_is_refused(sample: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "imagesdk_sample"
    sources = {f"imagesdk_sample.{name}": folder / f"{name}.py" for name in ("shop", "shelves")}
    with pytest.raises(RefusedError, match="no docstring says 'under trio'"):
        generate.facade(sources, {"under trio": "anywhere"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("await x()", "x()"),
        ("x = [await y for z in w]", "x = [y for z in w]"),
        ("anyio.run(main)", "main()"),
        ("an AsyncClient, AsyncClients, MyAsyncClient", "a Client, AsyncClients, MyAsyncClient"),
        ("an ``httpx.AsyncClient``", "an ``httpx.AsyncClient``"),
        ("An ``AsyncImages`` of an ``AsyncClient``", "An ``Images`` of a ``Client``"),
        ("awaiting async work", "awaiting async work"),
        ("client.aclose()", "client.close()"),
    ],
)
def test_words_are_translated_and_their_neighbours_left_alone(text: str, expected: str) -> None:
    assert Translator(["AsyncClient", "AsyncImages"], {}).translate(text) == expected


GENERATOR = "async def m(self) -> None:\n        yield"
REFUSED = {
    "generator": (GENERATOR, "m is a generator"),
    "asynchronous result": ("def m(self) -> AsyncIterator[int]: ...", "AsyncIterator"),
    "context manager": (
        "def m(self) -> AbstractAsyncContextManager[int]: ...",
        "AbstractAsyncContextManager",
    ),
    "awaitable callback": (
        "async def m(self, f: Callable[[], Awaitable[int]]) -> None: ...",
        "parameter f is await",
    ),
    "unknown asynchronous class": ("def m(self) -> AsyncOther: ...", "AsyncOther"),
    "registered class inside a type": ("def m(self) -> list[AsyncX]: ...", "AsyncX"),
    "registered class as a parameter": ("async def m(self, other: AsyncX) -> None: ...", "parameter other"),
    "awaited registered class": ("async def m(self) -> AsyncX: ...", "awaited and returns"),
    "unknown decorator": ("@cached\n    def m(self) -> int: ...", "no translation for @cached"),
    "setter": ("@m.setter\n    def m(self, value: int) -> None: ...", "no translation for @m.setter"),
    "awaited property": ("@property\n    async def m(self) -> int: ...", "property that is awaited"),
    "async class method": (
        "@classmethod\n    async def m(cls) -> AsyncX: ...",
        "no translation for @classmethod",
    ),
    "unknown special method": ("def __len__(self) -> int: ...", "no translation for __len__"),
    "busy aenter": (
        "async def __aenter__(self) -> Self:\n        await self.m()\n        return self",
        "does more",
    ),
    "parameter without annotation": ("async def m(self, a) -> None: ...", "parameter a has no annotation"),
    "parameter with a taken name": ("async def m(self, held: int) -> None: ...", "cannot be named held"),
    "no return annotation": ("async def m(self): ...", "no return annotation"),
    "quoted annotation": ("async def m(self) -> 'int': ...", "in quotes"),
    "unknown name": ("async def m(self) -> Mystery: ...", "where Mystery comes from"),
    "class attribute": ("limit = 3", "public class attribute limit"),
    "public attribute": ("def _m(self) -> None:\n        self.limit = 3", "public attribute limit"),
    "aclose with parameters": ("async def aclose(self, *, fast: bool) -> None: ...", "aclose is not"),
    "awaited context manager": (
        "async def m(self) -> AbstractAsyncContextManager[AsyncX]: ...",
        "AbstractAsyncContextManager",
    ),
    "iteration outside a context manager": (
        "def __aiter__(self) -> Self:\n        return self",
        "no context manager",
    ),
    "client without constructor": ("async def aclose(self) -> None: ...", "aclose but no __init__"),
    "other statement": ("if True:\n        pass", "no method"),
}


HOSTED = """class AsyncX:
    def s(self) -> AbstractAsyncContextManager[AsyncS]: ...
class AsyncS:
"""


@pytest.mark.parametrize(("member", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_translation_is_refused_with_its_place(tmp_path: Path, member: str, reason: str) -> None:
    assert_refused(tmp_path, f"class AsyncX:\n    {member}\n", reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class AsyncX(Base):\n    pass", "base classes"),
        ("@final\nclass AsyncX:\n    pass", "decorator"),
        ("class AsyncX:\n    _a = 1\nclass AsyncX:\n    _b = 1", "two classes"),
        ("async def call() -> None: ...", "in no class"),
        (f"{HOSTED}    def m(self) -> AsyncX: ...", "cannot have m"),
        (f"{HOSTED}    def m(self) -> AbstractAsyncContextManager[AsyncS]: ...", "cannot have m"),
        (f"{HOSTED}    def __anext__(self) -> int: ...", "__anext__ is no coroutine"),
        (f"{HOSTED}    async def __aiter__(self) -> Self:\n        return self", "__aiter__ does more"),
        (
            f"{HOSTED}    def __aiter__(self) -> Self:\n        self._a = 1\n        return self",
            "__aiter__ does more",
        ),
        (
            f"{HOSTED}    _a = 1\nclass AsyncY:\n    def m(self) -> AsyncS: ...",
            "only a context manager can hand out",
        ),
    ],
)
def test_modules_that_would_be_misread_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert_refused(tmp_path, text, reason)


def assert_refused(folder: Path, text: str, reason: str) -> None:
    path = folder / "client.py"
    path.write_text(text)
    with pytest.raises(RefusedError) as caught:
        generate.facade({"imagesdk.client": path}, {})
    place, _, message = str(caught.value).partition(": ")
    assert place.startswith(f"{path}:")
    assert place.removeprefix(f"{path}:").isdecimal()
    assert reason in message


def test_check_tells_a_stale_facade_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "facade.py"
    monkeypatch.setattr(generate, "TARGET", target)
    assert generate.main(["--check"]) == 1
    assert not target.exists()
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    target.write_text(target.read_text().replace("def generate(", "def make("))
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "-    def make(" in told
    assert "+    def generate(" in told


def test_a_refusal_is_told_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "client.py"
    source.write_text("class AsyncX:\n    limit = 3\n")
    monkeypatch.setattr(generate, "TARGET", tmp_path / "facade.py")
    monkeypatch.setattr(generate, "SOURCES", {"imagesdk.client": source})
    assert generate.main([]) == 2
    assert f"{source}:2: " in capsys.readouterr().err
    assert not (tmp_path / "facade.py").exists()


def test_the_generator_runs_where_nothing_else_is_installed() -> None:
    text = """
        import runpy, sys
        sys.modules.update(dict.fromkeys(["anyio", "attr", "attrs", "httpx"]))
        sys.argv = ["generate", "--check"]
        runpy.run_module("imagesdk._sync.generate", run_name="__main__")
    """
    root = generate.PACKAGE.parent
    done: Any = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], cwd=root, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")

"""Output paths, which mean the same in every argument: ``~``, templates, and invalid paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagesdk import AsyncClient, Image, InvalidRequestError
from imagesdk._media.output import expand_output_path, image_path
from imagesdk.cli import run
from imagesdk.emulator import Emulator
from tests.support.small_images import answer, png
from tests.support.socket_servers import always, in_turn, says, serving

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

PNG = png(3, 2)
IMAGE = Image(index=2, media_type="image/png", data=PNG)
OWN = "http://127.0.0.1:9/v1"
MakeClient = Callable[..., AsyncClient]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and an empty one to work in."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


async def test_tilde_is_the_home_folder_in_every_path_that_is_written(
    home: Path, make_client: MakeClient
) -> None:
    async with serving(always(answer(PNG))) as server, make_client(server.base_url) as client:
        response = await client.images.generate("a cat", out="~/one.png")
        await client.images.generate("a cat", out=Path("~/two.png"))
        await client.images.generate("a cat", out="~/many/{index}.{ext}")
        await client.images.download(response[0], to="~/to/")
        async with client.images.fan_out(["a cat"], out="~/run/{job}.png", journal="~/jobs.db") as made:
            await made.collect()
        async with client.images.fan_out(["a cat"], out="~/whole/{job}.png") as made:
            await made.collect()
        there = await client.images.dry_run(["a cat"], out="~/whole/{job}.png")
    assert response[0].path == home / "one.png"
    assert there.resumed == 1
    async with serving(in_turn(says(PNG))) as server, make_client(server.base_url) as client:
        assert await client.files.download("file-1", "~/file.png") == home / "file.png"
    assert IMAGE.save("~/saved.png") == home / "saved.png"
    of_runs = {"run/0.png", "jobs.db", "whole/0.png", "whole/journal.db"}
    assert files_in(home) >= of_runs | {"one.png", "two.png", "many/0.png", "to/image-0.png"}
    assert files_in(home) >= {"file.png", "saved.png"}
    assert files_in(Path.cwd()) == set()


def test_tilde_is_the_home_folder_on_the_command_line_which_replaces_no_file_unasked(
    home: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", emulator.base_url)
    command = ["generate", "a cat", "--model", "dall-e-2", "--size", "256x256", "--out=~/cat.png"]
    assert run(command) == 0
    assert files_in(home) == {"cat.png"}
    assert run(command) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["~x.png", "~root/x.png", "a~/x.png", "a/~/x.png", "~"])
@pytest.mark.usefixtures("home")
def test_tilde_is_literal_unless_it_starts_the_path(name: str) -> None:
    assert expand_output_path("out", name) == name


@pytest.mark.usefixtures("home")
def test_tilde_is_literal_if_a_folder_has_that_name() -> None:
    Path("~").mkdir()
    assert expand_output_path("out", "~/x.png") == "~/x.png"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("o/{index}.{ext}", "o/2.png"),
        ("o/{index:03}.jpg", "o/002.jpg"),
        ("{index}/{index}.{ext}", "2/2.png"),
        ("o/{{index}}.png", "o/{{index}}.png"),
        ("{3F2504E0-4F89-11D3-9A0C-0305E82C3301}.png", "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}.png"),
        ("o/{", "o/{"),
    ],
)
async def test_a_template_is_filled_in_when_an_image_is_saved(
    path: str, name: str, home: Path, make_client: MakeClient
) -> None:
    assert IMAGE.save(home / path) == home / name
    assert (home / name).read_bytes() == PNG
    (home / name).unlink()
    async with make_client(OWN) as client:
        await client.images.download(IMAGE, to=home / path)
    assert files_in(home) == {name}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{slug}.png", "{slug} is not known when an image is saved"),
        ("{job}/{index}.png", "{job} is not known"),
        ("{index}-{nonsense}.png", "is not a template"),
        ("{index}{.png", "is not a template"),
        ("{index}/../x.png", "leaves its folder"),
    ],
)
async def test_a_template_with_an_unknown_field_is_refused(
    path: str, message: str, home: Path, make_client: MakeClient
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        IMAGE.save(path)
    assert message in str(caught.value)
    assert caught.value.param == "path"
    async with make_client(OWN) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.images.download("https://cdn.test/a.png", to=path)
    assert caught.value.param == "to"
    assert files_in(Path.cwd()) == files_in(home) == set()


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800.png", 5, None])
@pytest.mark.usefixtures("home")
async def test_an_invalid_path_is_refused_before_anything_is_sent(path: Any, make_client: MakeClient) -> None:
    with pytest.raises(InvalidRequestError, match="path"):
        IMAGE.save(path)
    with pytest.raises(InvalidRequestError, match="to"):
        image_path("to", path, 0, "png")
    async with make_client(OWN) as client:
        with pytest.raises(InvalidRequestError, match="to"):
            await client.files.download("file-1", path)
        if path is not None:
            with pytest.raises(InvalidRequestError, match="out"):
                await client.images.generate("a cat", out=path)
            with pytest.raises(InvalidRequestError, match="to"):
                await client.images.download("https://cdn.test/a.png", to=path)
            with pytest.raises(InvalidRequestError, match="journal"):
                async with client.images.fan_out(["a cat"], out="o/", journal=path):
                    pass

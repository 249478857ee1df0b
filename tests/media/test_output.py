"""Files are whole or absent, and their names stay inside the folder that the caller named."""

import errno
import os
import string
from contextlib import suppress
from pathlib import Path, PurePath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagesdk._media import atomic
from imagesdk._media.atomic import create_temporary, move_into_place, remove_left_over, write_file
from imagesdk._media.output import (
    FOLDER_TEMPLATE,
    OutputPath,
    OutputTemplate,
    check_writable,
    open_output,
    slug,
)
from imagesdk.errors import InvalidRequestError


@given(st.text(max_size=200), st.integers(min_value=1, max_value=40))
@example("../../etc/passwd", 40)
@example("C:\\Windows\\system32", 40)
@example("a\0b", 40)
@example("\ud800", 40)
@example("\u200b\u202e", 40)
@example("\U0001d7d8" * 100, 40)
@example("\ufdfa" * 50, 40)
@example("\U00020000" * 50, 40)
@example("...", 40)
@example("-", 40)
def test_a_slug_is_one_safe_piece_of_a_name_within_its_limit(text: str, limit: int) -> None:
    made = slug(text, limit)
    assert made
    assert len(made) <= max(limit + 1, len("image"))
    assert len(made.encode()) <= max(3 * limit + 1, len("image"))
    assert all(character.isalnum() or character == "-" for character in made)
    assert made.lower() == made
    assert not made.startswith("-")
    assert made == slug(text, limit)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("A white siamese cat!", "a-white-siamese-cat"),
        ("  spaces   and\ttabs\n", "spaces-and-tabs"),
        ("snake_case", "snake-case"),
        ("\u732b\u306e\u7d75", "\u732b\u306e\u7d75"),
        ("caf\u00e9 \uff11\uff12", "caf\u00e9-12"),
        ("!?", "image"),
        ("", "image"),
        ("one two three four five six seven eight nine ten", "one-two-three-four-five-six-seven-eight"),
    ],
)
def test_a_slug_reads_like_its_text(text: str, made: str) -> None:
    assert slug(text) == made


@pytest.mark.parametrize(
    "name", ["con", "CON", "prn", "aux", "nul", "com1", "COM9", "lpt1", "Lpt9", "com\u00b9"]
)
def test_a_slug_is_never_the_name_of_a_device(name: str) -> None:
    assert slug(name).endswith("-")
    assert slug(f"{name} of the century") == f"{slug(name)}of-the-century"


def path_of(destination: OutputTemplate, index: int = 1, slug_: str = "a-cat") -> OutputPath:
    return destination.path(index=index, job=7, id="x9", slug=slug_, ext="png")


@pytest.mark.parametrize("out", ["cats/", "cats", "a/b", "./cats"])
def test_a_folder_gets_names_that_keep_images_apart(out: str) -> None:
    destination = OutputTemplate.parse(out, n=10)
    assert destination == OutputTemplate(Path(out), FOLDER_TEMPLATE)
    assert path_of(destination) == Path(out) / "a-cat-x9-1.png"
    assert len({path_of(destination, index) for index in range(10)}) == 10


def test_a_folder_with_a_dot_in_its_name_is_still_a_folder(tmp_path: Path) -> None:
    (tmp_path / "cats.v2").mkdir()
    assert OutputTemplate.parse(tmp_path / "cats.v2", n=3).folder == tmp_path / "cats.v2"
    assert OutputTemplate.parse(f"{tmp_path}/new.v3/", n=3).folder == tmp_path / "new.v3"


@pytest.mark.parametrize(
    ("out", "path"),
    [
        *((name, name) for name in ("cat.png", "a/cat.png", "a}b.png", "../up.png")),
        ("images/{slug}/{job:03d}-{id}-{index}.{ext}", "images/a-cat/007-x9-1.png"),
        ("a/{{x}}-{index}.png", "a/{x}-1.png"),
        ("/a/{index}.{ext}", "/a/1.png"),
    ],
)
def test_a_file_name_is_one_file_and_a_template_is_filled_in(out: str, path: str) -> None:
    assert path_of(OutputTemplate.parse(out)) == Path(path)
    assert path_of(OutputTemplate.parse(Path(out))) == Path(path)


@pytest.mark.parametrize("template", ["cat.png", "{slug}.{ext}", "{id}-{slug}.png", "{job}/{slug}.png"])
def test_a_template_that_gives_all_images_one_name_is_refused_for_several(template: str) -> None:
    assert Path(str(path_of(OutputTemplate.parse(template, n=1)))).suffix == ".png"
    with pytest.raises(InvalidRequestError, match="all 2 images the same name") as caught:
        OutputTemplate.parse(template, n=2)
    assert r"put {index} into it" in str(caught.value)
    assert (caught.value.param, caught.value.value) == ("out", template)


UNKNOWN_FIELDS = ["{prompt}.png", "{}.png", "{0}.png", "{index.real}.png", "{slug[0]}.png"]
BROKEN_FIELDS = [
    "{slug.__class__}.png",
    "{index",
    "index}{",
    "{index!z}.png",
    "{slug:d}.png",
    "{slug:{ext}}.png",
]


@pytest.mark.parametrize("template", UNKNOWN_FIELDS + BROKEN_FIELDS)
def test_a_template_that_cannot_be_filled_is_refused_and_the_fields_are_named(template: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        OutputTemplate.parse(template)
    assert caught.value.param == "out"
    assert caught.value.value == template
    for field in ("index", "job", "id", "slug", "ext"):
        assert f"{{{field}}}" in str(caught.value)


@pytest.mark.parametrize("template", ["{slug}/../{index}.png", "a/{index}/../../b.png", "{index}/.."])
def test_a_template_cannot_leave_its_folder(template: str) -> None:
    with pytest.raises(InvalidRequestError, match="leaves its folder"):
        OutputTemplate.parse(template)


@pytest.mark.parametrize("out", ["", "a\0b", "{index}\0.png", "\ud800.png"])
def test_a_path_that_no_file_can_have_is_refused(out: str) -> None:
    with pytest.raises(InvalidRequestError, match="out is empty, or holds a NUL or another character"):
        OutputTemplate.parse(out)


@given(st.text(max_size=60), st.text(string.printable, max_size=20))
def test_no_prompt_puts_an_image_outside_the_folder(prompt: str, ending: str) -> None:
    destination = OutputTemplate.parse("images/{slug}-{index}.{ext}")
    path = destination.path(index=0, job=0, id="x", slug=slug(prompt + ending), ext="png")
    assert path.parent == Path("images")


@given(st.text(st.sampled_from("{}!:.[]/\\-%0ab") | st.characters(), min_size=1, max_size=25))
@example("{index:}}")
@example("{in/dex}")
@example("{slug:/<5}")
@example("a{{b/{index}")
def test_any_template_is_parsed_or_refused(out: str) -> None:
    with suppress(InvalidRequestError):
        destination = OutputTemplate.parse(out)
        assert PurePath(str(path_of(destination))).is_relative_to(str(destination.folder))


def test_a_written_file_is_whole_and_alone(tmp_path: Path) -> None:
    final = tmp_path / "new" / "deep" / "cat.png"
    for data in (b"old and longer", b"image"):
        assert write_file(final, data) == final
        assert final.read_bytes() == data
        assert list(final.parent.iterdir()) == [final]


class _FullDisk:
    """A file that takes a few bytes and then no more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> "_FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, data: bytes) -> int:
        os.write(self._descriptor, data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "cat.png"
    final.write_bytes(b"old")

    def full(descriptor: int, _mode: str) -> _FullDisk:
        return _FullDisk(descriptor)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(final, b"image")
    assert final.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [final]


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_temporary: Path, _final: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "move_into_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "cat.png", b"image")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["taken", "n" * 300])
def test_a_file_that_cannot_be_renamed_leaves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match=r"taken|nnn"):
        write_file(tmp_path / name, b"image")
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_temporary_files_have_unique_names_and_do_not_look_like_images(tmp_path: Path) -> None:
    made = [create_temporary(tmp_path / "new") for _ in range(3)]
    for descriptor, path in made:
        os.close(descriptor)
        assert path.parent == tmp_path / "new"
        assert path.name.startswith(".imagesdk-")
        assert path.suffix == ".part"
    assert len({path for _, path in made}) == 3


def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    before = os.umask(0o027)
    try:
        plain.write_bytes(b"image")
        write_file(tmp_path / "cat.png", b"image")
    finally:
        os.umask(before)
    assert (tmp_path / "cat.png").stat().st_mode == plain.stat().st_mode


OWNER = "0123abcd"


def test_only_left_over_files_of_the_run_that_asks_are_removed(tmp_path: Path) -> None:
    names = f"{OWNER}-{'a' * 16}", f"{OWNER}-{'b' * 16}", f"fedcba98-{'c' * 16}", "d" * 16, "notes"
    left_over, named, of_another_run, of_a_call, foreign = (
        tmp_path / f".imagesdk-{name}.part" for name in names
    )
    for path in (left_over, named, of_another_run, of_a_call, foreign):
        path.write_bytes(b"half an image")
        os.utime(path, (0, 0))
    check_writable(tmp_path)
    assert left_over.exists()
    remove_left_over(tmp_path, OWNER, {named.name})
    assert sorted(tmp_path.iterdir()) == sorted([named, of_another_run, of_a_call, foreign])


def test_a_link_with_the_name_of_a_temporary_file_is_not_removed(tmp_path: Path) -> None:
    link = tmp_path / f".imagesdk-{OWNER}-{'c' * 16}.part"
    link.symlink_to(tmp_path / "elsewhere.txt")
    remove_left_over(tmp_path, OWNER, ())
    assert link.is_symlink()


LONG = "x" * 300


@pytest.mark.parametrize("out", [f"{LONG}.png", f"{{index}}{LONG}", f"a/{LONG}/{{index}}.png"])
def test_a_name_that_is_too_long_is_found_beforehand(tmp_path: Path, out: str) -> None:
    with pytest.raises(OSError, match="name too long"):
        open_output(f"{tmp_path}/{out}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("out", "error"),
    [
        ("file/folder/", NotADirectoryError),
        ("{index}/cat.png", NotADirectoryError),
        ("folder{index}.png", IsADirectoryError),
    ],
)
def test_a_path_that_is_taken_by_a_file_or_a_folder_is_found_beforehand(
    out: str, error: type[OSError], tmp_path: Path
) -> None:
    for name in ("file", "0"):
        (tmp_path / name).touch()
    (tmp_path / "folder0.png" / "kept").mkdir(parents=True)
    with pytest.raises(error):
        open_output(f"{tmp_path}/{out}")
    open_output(f"{tmp_path}/new/folder/")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


@pytest.mark.parametrize("prompt", ["a cat " * 20, "猫 " * 40])
def test_a_slug_is_cut_where_the_name_around_it_leaves_little_room(tmp_path: Path, prompt: str) -> None:
    destination = open_output(f"{tmp_path}/{'x' * 200}{{slug}}{'y' * 40}-{{index}}.{{ext}}")
    path = Path(str(path_of(destination, slug_=slug(prompt))))
    path.write_bytes(b"an image")
    assert 240 < len(path.name.encode()) <= 255
    assert path_of(destination, slug_="cat").name == f"{'x' * 200}cat{'y' * 40}-1.png"


def test_fsync_syncs_the_folder_of_a_file_that_is_moved_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "part").write_bytes(b"image")
    move_into_place(tmp_path / "part", tmp_path / "a" / "b.png", fsync=True)
    assert (tmp_path / "a" / "b.png").read_bytes() == b"image"
    assert not (tmp_path / "part").exists()
    assert synced == [(tmp_path / "a").stat().st_ino]

"""URLs of remote output files: what they name, what is refused, and that a password is not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesdk._media.output import FOLDER_TEMPLATE, OutputTemplate, expand_output_path, image_path
from imagesdk._media.remote_path import RemotePath, parse_remote
from imagesdk.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("out", "folder", "template"),
    [
        ("s3://bucket", "s3://bucket", FOLDER_TEMPLATE),
        ("s3://my.bucket", "s3://my.bucket", FOLDER_TEMPLATE),
        ("s3://bucket/cats/", "s3://bucket/cats", FOLDER_TEMPLATE),
        ("S3://bucket/cats", "s3://bucket/cats", FOLDER_TEMPLATE),
        ("gs://bucket/v1.2/", "gs://bucket/v1.2", FOLDER_TEMPLATE),
        ("s3://bucket/cat.png", "s3://bucket", "cat.png"),
        ("memory://{{x}}/{slug}.{ext}", "memory://{{x}}", "{slug}.{ext}"),
        ("s3://bucket/a/{id}/{index:02d}.{ext}", "s3://bucket/a", "{id}/{index:02d}.{ext}"),
        ("sftp://me:secret@host/a/", "sftp://me@host/a", FOLDER_TEMPLATE),
    ],
)
def test_a_url_is_a_folder_a_file_or_a_template(out: str, folder: str, template: str) -> None:
    assert OutputTemplate.parse(out) == OutputTemplate(RemotePath(folder), template)


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("https://host/folder/", "no file can be written to https"),
        ("simplecache::s3://bucket/", "'::'"),
        ("s3://bucket/cat.png?versionId=3", "'?'"),
        ("s3://bucket/a/../b/", "'..'"),
        ("s3://bucket//b/", "empty part"),
        ("s3://{slug}/{index}.png", "is not fixed"),
        ("s3://bucket/{name}.png", "not a template"),
        (Path("s3://bucket/cats"), "a URL as a str"),
        ("file://elsewhere/a.png", "another host"),
        ("ftp://me:secret@host/a/../b", "ftp://me:***@host"),
    ],
)
def test_what_no_image_can_be_written_to_is_refused(out: str | Path, reason: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        OutputTemplate.parse(out)
    assert reason in f"{caught.value} {caught.value.allowed}"
    assert "secret" not in f"{caught.value!r} {caught.value} {caught.value.value}"


def test_images_with_the_same_name_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidRequestError, match=r"'s3://bucket/cat.png', which gives all 2 images"):
        OutputTemplate.parse("s3://bucket/cat.png", n=2)


@pytest.mark.parametrize("url", ["file:///tmp/cats/", "local:///tmp/cats/", "file://localhost/tmp/cats/"])
def test_the_url_of_a_local_folder_is_its_path(url: str) -> None:
    assert OutputTemplate.parse(url) == OutputTemplate(Path("/tmp/cats"), FOLDER_TEMPLATE)


def test_a_download_to_a_url_has_a_file_name() -> None:
    assert str(image_path("to", "s3://bucket/a/", 2, "webp")) == "s3://bucket/a/image-2.webp"
    assert str(image_path("to", "s3://bucket/a/{index}.{ext}", 2, "webp")) == "s3://bucket/a/2.webp"
    assert str(image_path("to", "s3://bucket/cat.png", 2, "webp")) == "s3://bucket/cat.png"


def test_a_drive_of_windows_is_no_url() -> None:
    assert expand_output_path("out", "C://cats") == "C://cats"


def test_a_path_on_a_host_keeps_its_password_to_itself() -> None:
    path = parse_remote("out", "sftp://me:s3cr%40t@host/a/b.tar.png")
    assert (path.name, path.stem, str(path.parent)) == ("b.tar.png", "b.tar", "sftp://me@host/a")
    assert str(path.with_stem("c")) == "sftp://me@host/a/c.png"
    assert "s3cr" not in f"{path!r} {path}"
    assert path.full_url == "sftp://me:s3cr%40t@host/a/b.tar.png"
    assert path.without_password("login me:s3cr@t failed") == "login me:*** failed"

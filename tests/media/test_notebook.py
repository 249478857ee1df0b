"""Notebook display: small, safe, and never with an error."""

from __future__ import annotations

import base64
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import CompletedImage, Image, ImagesResponse, PartialImage
from imagesdk._media.sniff import sniff
from tests.support.odd_images import encoded, halves, holed

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
URL = Image(url="https://cdn.test/a.png?sig=SECRET")


def shown(thing: Any, **options: Any) -> tuple[dict[str, str], dict[str, Any]]:
    data, metadata = thing._repr_mimebundle_(**options)
    return data, metadata


def noise(width: int, height: int, mode: str = "RGB") -> PIL.Image.Image:
    values = numpy.random.default_rng(1).integers(0, 256, (height, width, len(mode)), dtype=numpy.uint8)
    return PIL.Image.fromarray(values)


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def sources(html: str) -> list[str]:
    return [str(attributes["src"]) for tag, attributes in Tags(html).tags if tag == "img"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_formats_that_notebooks_know_are_passed_unchanged(kind: str) -> None:
    image = encoded(halves(), kind)
    media_type = f"image/{kind.lower()}"
    data, metadata = shown(Image(data=image))
    assert set(data) == {media_type, "text/plain"}
    assert base64.b64decode(data[media_type]) == image
    assert metadata == {media_type: {"width": 40, "height": 20}}


def test_a_wide_image_is_at_most_512_pixels_wide() -> None:
    _, metadata = shown(Image(data=encoded(PIL.Image.new("RGB", (3000, 1500)))))
    assert metadata == {"image/png": {"width": 512, "height": 256}}


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "jpeg"), ("RGBA", "png")])
def test_a_large_image_is_made_smaller(mode: str, kind: str) -> None:
    image = encoded(noise(1600, 1200, mode))
    data, metadata = shown(Image(data=image))
    small = base64.b64decode(data[f"image/{kind}"])
    assert len(small) < len(image)
    assert (sniff(small).width, sniff(small).height) == (1024, 768)
    assert metadata[f"image/{kind}"] == {"width": 512, "height": 384}


def test_a_large_animation_stays_an_animation() -> None:
    frames = [noise(400, 400), noise(400, 400).rotate(90), noise(400, 400).rotate(180), noise(400, 400)]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert len(gif) > 512 * 1024
    assert base64.b64decode(shown(Image(data=gif))[0]["image/gif"]) == gif


def test_without_pillow_a_large_image_is_shown_whole_and_a_huge_one_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large, huge = encoded(noise(800, 800)), encoded(noise(2000, 2000))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert base64.b64decode(shown(Image(data=large))[0]["image/png"]) == large
    data, _ = shown(Image(data=huge))
    assert set(data) == {"text/plain"}
    assert "cannot be shown here" in data["text/plain"]


def test_webp_is_shown_by_a_tag() -> None:
    data, _ = shown(Image(data=encoded(halves(), "WEBP")))
    assert set(data) == {"text/html", "text/plain"}
    assert sources(data["text/html"])[0].startswith("data:image/webp;base64,")
    assert 'width="40" height="20"' in data["text/html"]


def test_an_svg_is_shown_as_an_image_so_that_its_scripts_do_not_run() -> None:
    for thing in (Image(data=SVG), ImagesResponse(data=(Image(data=SVG),)), PartialImage(Image(data=SVG))):
        data, _ = shown(thing)
        assert set(data) == {"text/html", "text/plain"}
        assert "script" not in data["text/html"]
        (source,) = sources(data["text/html"])
        assert source == f"data:image/svg+xml;base64,{base64.b64encode(SVG).decode()}"


def test_a_url_is_named_and_never_fetched() -> None:
    data, _ = shown(URL)
    assert set(data) == {"text/plain"}
    assert "client.images.download(image)" in data["text/plain"]
    html = shown(ImagesResponse(data=(URL,)))[0]["text/html"]
    assert sources(html) == []
    assert "client.images.download(image)" in html
    assert "SECRET" not in html + data["text/plain"]


def test_a_response_is_a_row_of_small_images(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(encoded(halves()))
    images = (Image(data=encoded(noise(1000, 1000))), Image(path=tmp_path / "cat.png"), URL)
    for thing in (ImagesResponse(data=images), CompletedImage(ImagesResponse(data=images))):
        data, metadata = shown(thing)
        assert data["text/plain"] == repr(thing)
        assert metadata == {}
        assert len(sources(data["text/html"])) == 2
        assert len(data["text/html"]) < 500_000
        assert "cat.png" in Tags(data["text/html"]).text
    assert set(shown(ImagesResponse())[0]) == {"text/plain"}


def test_a_partial_image_is_shown_like_an_image() -> None:
    data, _ = shown(PartialImage(Image(data=holed()), partial_image_index=1))
    assert base64.b64decode(data["image/png"]) == holed()
    assert data["text/plain"].startswith("<PartialImage 1 of <Image")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_no_text_of_a_server_becomes_a_tag(text: str) -> None:
    hostile = f'"><script>alert(1)</script><img src=x onerror="{text}'
    image = Image(data=holed(), revised_prompt=hostile, media_type=hostile)
    html = shown(ImagesResponse(data=(image, Image(path=Path("/missing") / f"{hostile}.png"))))[0][
        "text/html"
    ]
    tags = Tags(html).tags
    assert [tag for tag, _ in tags] == ["div", "figure", "img", "figcaption", "figure", "figcaption"]
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert next(attributes for tag, attributes in tags if tag == "figure")["title"] == hostile


@pytest.mark.parametrize(
    "image",
    [
        Image(),
        Image(data=b"no image"),
        Image(path=Path("/missing/cat.png")),
        Image(path=Path("/")),
        Image(data=encoded(noise(1000, 1000))[:600_000]),
    ],
    ids=repr,
)
def test_an_image_that_cannot_be_shown_is_a_text(image: Image) -> None:
    for thing in (image, ImagesResponse(data=(image,)), PartialImage(image)):
        data, _ = shown(thing)
        assert repr(image) in data["text/plain"]


@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"<svg>", b"II*\0"]),
    rest=st.binary(max_size=200),
)
def test_no_bytes_raise_an_error(start: bytes, rest: bytes) -> None:
    assert "text/plain" in shown(Image(data=start + rest))[0]
    assert "text/html" in shown(ImagesResponse(data=(Image(data=start + rest),)))[0]


def test_include_and_exclude_select_the_media_types() -> None:
    image = Image(data=holed())
    assert set(shown(image, include={"image/png"})[0]) == {"image/png"}
    data, metadata = shown(image, exclude={"image/png"})
    assert (set(data), metadata) == ({"text/plain"}, {})
    assert set(shown(ImagesResponse(data=(image,)), exclude=["text/html"])[0]) == {"text/plain"}


def test_a_rotated_image_has_the_width_and_height_of_its_display() -> None:
    tags = PIL.Image.Exif()
    tags[0x0112] = 6
    _, metadata = shown(Image(data=encoded(halves(), "JPEG", exif=tags.tobytes())))
    assert metadata["image/jpeg"] == {"width": 20, "height": 40}

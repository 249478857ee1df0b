"""Gallery of a run: its content, and hostile prompts that stay text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesdk import JobLike, Labelled
from imagesdk.fan_out.gallery import page, write_gallery
from imagesdk.fan_out.store import JobRecord, State
from tests.support.runs import Runs

HOSTILE = [
    "<script>alert(1)</script>",
    "</p><img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "--></main><!-- &lt; &amp; ${x} `",
]


class Read(HTMLParser):
    """Tags, images and prompts of a page, as a browser parses them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[str] = []
        self.attributes = set[str]()
        self.prompts: list[str] = []
        self.ids: list[str | None] = []
        self.links: list[str | None] = []
        self._in_card = False
        self._in_prompt = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "a" and self._in_card:
            self.links.append(dict(attrs).get("href"))
        if tag == "article":
            self._in_card = True
            self.ids.append(dict(attrs).get("id"))
        if tag == "img" and self._in_card:
            self.images.append(dict(attrs)["src"] or "")
        if tag == "p" and self._in_card:
            self._in_prompt = True
            self.prompts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._in_prompt = False
        if tag == "article":
            self._in_card = False

    def handle_data(self, data: str) -> None:
        if self._in_prompt:
            self.prompts[-1] += data


@pytest.mark.anyio
async def test_every_image_and_every_failure_has_a_card(runs: Runs) -> None:
    out = runs.out
    jobs: list[JobLike] = [*HOSTILE, "refuse me", Labelled("a #1?", "a cat")]
    await runs.all(jobs, out=f"{out}/images #1/{{id}}.{{ext}}", journal=out / "j.db")
    to = write_gallery(out / "j.db", out / "index.html")
    found = Read(to.read_text("utf-8"))
    assert sorted(found.prompts) == sorted([*HOSTILE, "refuse me", "a cat"])
    assert len(found.images) == 5
    assert all((out / unquote(image)).is_file() for image in found.images)
    assert found.tags.count("script") == 1
    assert write_gallery(out / "j.db", to) == to


def test_a_file_that_is_not_a_gallery_is_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "index.html"
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match="left alone"):
        write_gallery(tmp_path / "journal.db", mine)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("url", "links"),
    [
        ("https://a.test/x.png?a=1&b=2", ["https://a.test/x.png?a=1&b=2"]),
        ("javascript:alert(1)", []),
        ("", []),
    ],
)
def test_an_image_that_is_in_no_file_links_to_its_url_alone(url: str, links: list[str]) -> None:
    job = JobRecord("", "a", "", "done", {"images": [{"url": url}]}, params={"prompt": "a cat"})
    found = Read("".join(page(iter([job]), Path("x"), Path("x"))))
    assert [link for link in found.links if link] == links
    assert found.prompts == ["a cat"]


def test_failures_are_grouped_by_their_reason_with_the_most_frequent_first() -> None:
    def failed(number: int, state: State, reason: str) -> JobRecord:
        return JobRecord(
            "", f"{number}", "", state, None, {"message": reason}, params={"prompt": f"{number}"}
        )

    jobs = [failed(0, "failed", "rare"), *(failed(number, "failed", "often") for number in (1, 2))]
    text = "".join(
        page(iter([*jobs, failed(3, "refused", "no"), JobRecord("", "4", "")]), Path("x"), Path("x"))
    )
    assert Read(text).prompts == ["3", "1", "2", "0", "Generate"]
    assert "2 jobs" in text
    assert "Not sent yet" in text
    assert "3 failed, 1 refused, 1 planned." in text


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from(HOSTILE), max_size=4)
)
def test_a_prompt_is_never_anything_but_text_in_the_page(texts: list[str]) -> None:
    response = {"images": [{"file": {"path": "0.png"}}]}
    jobs = (
        JobRecord("", text, "", "done", response, {"message": text}, params={"prompt": text, "user": text})
        for text in texts
    )
    found = Read("".join(page(jobs, Path("x"), Path("x"))))
    assert found.prompts == texts
    assert found.tags.count("script") == 1
    assert len(found.images) == len(texts)
    assert found.ids == [f"job-{text}" for text in texts]  # no label takes the id of a part of the page
    assert not {name for name in found.attributes if name.startswith("on")}

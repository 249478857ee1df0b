"""Files of jobs: valid lines become jobs, and an invalid line is an error with its number."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesdk import Edit, Generate, Variation
from imagesdk.cli.batch_files import FileFormat, LineError, ReadOptions, Row, detect_format, rows
from tests.support.odd_values import json_values

STREAM_ONLY = "column 'partial_images' is not a parameter of a generation"
UNKNOWN_COLUMN = (
    "line 2: column 'sise' is not an API parameter; to use it in prompts add --prompt 'photo of {sise}'"
)
printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=10)


def read(text: str, form: FileFormat, **options: Any) -> list[Row | LineError]:
    return list(rows(io.StringIO(text, newline=""), ReadOptions(format=form, **options)))


def jobs(text: str, form: FileFormat, **options: Any) -> list[Any]:
    return [row.job if isinstance(row, Row) else str(row) for row in read(text, form, **options)]


@pytest.mark.parametrize(
    ("name", "beginning", "form"),
    [
        ("prompts.txt", "", "txt"),
        ("list.CSV", "", "csv"),
        ("list.jsonl", "", "jsonl"),
        ("prompts", "", "txt"),
        ("-", ' {"prompt": "a"}', "jsonl"),
        ("-", "a cat", "txt"),
    ],
)
def test_the_format_is_detected_by_the_name_or_the_first_character(
    name: str, beginning: str, form: str
) -> None:
    assert detect_format(name, beginning) == form


def test_a_text_file_has_a_prompt_in_each_line_that_is_not_empty() -> None:
    found = read("\ufeffa cat\r\n\n  a dog  \n", "txt", defaults={"size": "auto", "style": None})
    assert found == [Row(1, Generate("a cat", size="auto")), Row(3, Generate("a dog", size="auto"))]


def test_columns_are_parameters_and_options_are_their_defaults() -> None:
    text = 'prompt,size,n\n"two\nlines",auto,2\na,,\n'
    found = read(text, "csv", defaults={"size": "1024x1024", "n": 1})
    assert found == [
        Row(2, Generate("two\nlines", size="auto", n=2)),
        Row(4, Generate("a", size="1024x1024", n=1)),
    ]


def test_a_header_ignores_case_unless_there_is_a_template() -> None:
    assert jobs("Prompt,SIZE,N\na,auto,2\n", "csv") == [Generate("a", size="auto", n=2)]
    [row] = read("Prompt,Size\na,7001\n", "csv", id_column="Size")
    assert row == Row(2, Generate("a"), "7001")
    assert jobs("Name,Size\nshirt,XL\n", "csv", prompt="photo of {Name}") == [Generate("photo of shirt")]


def test_lines_with_images_are_edits_and_variations() -> None:
    text = "image,prompt,mask\na.png,a pool,m.png\na.png;b.png,both,\nc.png,,\n"
    assert jobs(text, "csv", defaults={"style": "vivid", "model": "x"}) == [
        Edit("a.png", "a pool", mask="m.png", model="x"),
        Edit(["a.png", "b.png"], "both", model="x"),
        Variation("c.png", model="x"),
    ]
    assert jobs('{"image": ["a.png", "b.png"], "prompt": "both"}', "jsonl") == [
        Edit(["a.png", "b.png"], "both")
    ]


def test_a_template_makes_prompts_of_columns() -> None:
    text = "name,sku,n\ncat,7,2\n"
    [row] = read(text, "csv", prompt="photo of {name} in {{braces}}", id_column="sku")
    assert row == Row(2, Generate("photo of cat in {braces}", n=2), "7")
    [row] = read('{"name": "a {b}", "n": 2}\n', "jsonl", prompt="photo of {name}")
    assert row == Row(1, Generate("photo of a {b}", n=2))


def test_a_template_can_access_only_columns() -> None:
    [found] = jobs('{"name": "cat"}', "jsonl", prompt="{name.__class__}")
    assert "there is no 'name.__class__'" in found


@pytest.mark.parametrize(
    ("text", "form", "options", "expected"),
    [
        ("prompt,sise\na,b\n", "csv", {}, UNKNOWN_COLUMN),
        ("prompt,n\na,two\n", "csv", {}, "line 2: n is a whole number, not 'two'"),
        ("prompt,n\na\n", "csv", {}, "line 2: the line has 1 cell, but the header has 2 columns"),
        ("prompt,prompt\na,b\n", "csv", {}, "line 1: two columns have the same name"),
        ("size\nauto\n", "csv", {}, "line 2: there is no prompt, only 'size'"),
        ("prompt,size\n,auto\n", "csv", {}, "line 2: there is no prompt in this line"),
        ("text;size\na;auto\n", "csv", {}, "only 'text;size'; separate the cells of a .csv with commas"),
        ("Prompt,PROMPT\na,b\n", "csv", {}, "there is no prompt, only 'Prompt', 'PROMPT'"),
        ('{"text": "a", "n": 1}', "jsonl", {}, "there is no prompt, only 'text', 'n'"),
        ("prompt,partial_images\na,2\n", "csv", {}, STREAM_ONLY),
        ('prompt\n"a', "csv", {}, "line 2: unexpected end of data"),
        ("prompt,svg\na,{\n", "csv", {}, "line 2: svg is a JSON object"),
        ("\n\n{", "jsonl", {}, "line 3: this is not JSON"),
        ("[1]", "jsonl", {}, "line 1: this is neither a JSON object"),
        ("a", "txt", {"id_column": "sku"}, "line 1: there is no 'sku', which --id-column names"),
        ("a", "txt", {"prompt": "{b}"}, "line 1: there is no 'b', which --prompt names"),
        ("a", "txt", {"prompt": "{b"}, "line 1: --prompt cannot be filled in"),
        ("a", "txt", {"prompt": "{}"}, "line 1: "),
    ],
)
def test_an_invalid_line_is_an_error_with_its_number(
    text: str, form: FileFormat, options: dict[str, Any], expected: str
) -> None:
    [found] = jobs(text, form, **options)
    assert expected in found


def test_lines_after_an_invalid_one_are_read() -> None:
    found = read('{"prompt": "a"}\nnonsense\n"b"\n', "jsonl")
    assert [isinstance(row, Row) for row in found] == [True, False, True]
    assert isinstance(found[2], Row)
    assert found[2].line == 3


@given(st.lists(st.dictionaries(st.sampled_from(["prompt", "size", "user"]), printable, min_size=1)))
def test_csv_and_json_lines_give_the_same_jobs(lines: list[dict[str, str]]) -> None:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["prompt", "size", "user"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    as_json = "\n".join(json.dumps(line) for line in lines)
    ours = [job if isinstance(job, Generate) else "no prompt" for job in jobs(file.getvalue(), "csv")]
    theirs = [job if isinstance(job, Generate) else "no prompt" for job in jobs(as_json, "jsonl")]
    assert ours == theirs


@given(st.text(), st.sampled_from(["txt", "csv", "jsonl"]), st.none() | st.text(max_size=5))
def test_any_text_gives_jobs_or_errors_with_line_numbers(
    text: str, form: FileFormat, prompt: str | None
) -> None:
    lines = text.count("\n") + text.count("\r") + 1
    for row in read(text, form, prompt=prompt):
        assert 1 <= row.line <= lines


@settings(max_examples=60)
@given(
    json_values | st.dictionaries(st.sampled_from(["prompt", "image", "n", "svg", "id", "x"]), json_values)
)
def test_whatever_json_a_line_holds_it_is_a_job_or_an_error_with_its_number(value: Any) -> None:
    text = json.dumps({"prompt": "a"}) + "\n" + json.dumps(value) + "\n"
    options: list[dict[str, Any]] = [{}, {"prompt": "photo of {x} {n}"}, {"id_column": "id"}]
    for each in options:
        assert [row.line for row in read(text, "jsonl", **each)] == [1, 2]


def test_an_svg_that_is_nested_too_deeply_is_an_error_with_its_number() -> None:
    [found] = jobs("prompt,svg\na," + "[" * 100_000 + "\n", "csv")
    assert found.startswith("line 2: svg is a JSON object")

"""The jobs of ``imagesdk batch`` from the text of its file: prompts a line, CSV, or JSON lines. Pure.

Rule: nothing is guessed. What a line says and no job has is an error with the number of the line.
"""

from __future__ import annotations

import csv
import json
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import attrs
from attrs import frozen

from imagesdk.jobs import Edit, Generate, Job, Variation

FileFormat: TypeAlias = Literal["txt", "csv", "jsonl"]
"""How the jobs are written down."""

_SUFFIXES: Final[Mapping[str, FileFormat]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_NUMBERS: Final = frozenset({"n", "output_compression", "frame_count", "frame_duration_ms"})
_STREAM_ONLY: Final = frozenset({"partial_images"})
_PARAMETERS: Final = frozenset(
    name for kind in (Generate, Edit, Variation) for name in attrs.fields_dict(kind)
)
_IMAGE_SEPARATOR: Final = ";"
"""Between the pictures of an edit in one cell."""


class LineError(Exception):
    """A line says no job."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@frozen
class Row:
    """One job, its name if it has one, and the line where it stands."""

    line: int
    job: Job
    id: str | None = None


@frozen(kw_only=True)
class ReadOptions:
    """How a file is to be read."""

    format: FileFormat
    prompt: str | None = None
    """A template of the prompt, such as ``photo of {name}``, with columns in it."""
    id_column: str | None = None
    defaults: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """The parameters of jobs that do not name them."""


def detect_format(name: str, beginning: str) -> FileFormat:
    """Return how a file is written: by its name, or for ``-`` by how it begins."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if name == "-":
        return "jsonl" if beginning.lstrip().startswith("{") else "txt"
    return _SUFFIXES.get(suffix, "txt")


def rows(lines: Iterable[str], options: ReadOptions) -> Iterator[Row | LineError]:
    """Yield the jobs of a file, and in the place of one that cannot be read, why."""
    if options.format == "csv":
        yield from _of_csv(lines, options)
        return
    for number, line in enumerate(lines, 1):
        if text := line.strip().removeprefix("\ufeff"):
            try:
                values = {"prompt": text} if options.format == "txt" else _of_json(number, text)
                yield _row(number, values, options)
            except LineError as error:
                yield error


def _of_json(number: int, text: str) -> Mapping[str, Any]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise LineError(number, f"this is not JSON ({problem})") from None
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise LineError(number, "this is not a JSON object, nor a prompt in quotes")
    named = cast("dict[str, Any]", value)
    return {name: value for name, value in named.items() if value is not None}


def _of_csv(lines: Iterable[str], reading: ReadOptions) -> Iterator[Row | LineError]:
    reader = csv.reader(lines, strict=True)
    head: list[str] = []
    number = 1
    try:
        for cells in reader:
            if not head:
                head = _head(cells, reading)
                if len(set(head)) < len(head):
                    raise LineError(number, "two columns have one name")
            elif any(cells):
                try:
                    if len(cells) != len(head):
                        raise LineError(number, _cell_count_problem(len(cells), len(head)))
                    values = {name: cell for name, cell in zip(head, cells, strict=True) if cell.strip()}
                    yield _row(number, values, reading, columns=head)
                except LineError as error:
                    yield error
            number = reader.line_num + 1
    except csv.Error as problem:
        yield LineError(number, str(problem))
    except LineError as error:
        yield error


def _head(cells: Sequence[str], reading: ReadOptions) -> list[str]:
    """Return the names of the columns; ``Prompt`` is ``prompt``, unless a template decides what columns mean."""
    names = [cell.strip().removeprefix("\ufeff") for cell in cells]
    if reading.prompt is not None:
        return names
    lowered = Counter(name.lower() for name in names)
    return [
        name.lower()
        if name.lower() in _PARAMETERS and lowered[name.lower()] == 1 and name != reading.id_column
        else name
        for name in names
    ]


def _row(
    line: int, values: Mapping[str, Any], reading: ReadOptions, columns: Sequence[str] | None = None
) -> Row:
    facts = dict(values)
    name = _name(line, facts, reading)
    if reading.prompt is not None:
        facts["prompt"] = _fill_template(line, reading.prompt, facts)
    kind: type[Job] = Generate
    if "image" in facts:
        kind = Edit if "prompt" in facts else Variation
    elif "prompt" not in facts:
        raise LineError(line, _no_prompt(list(facts) if columns is None else columns))
    allowed = set(attrs.fields_dict(kind)) - _STREAM_ONLY
    unknown = [key for key in facts if key not in allowed]
    if unknown and reading.prompt is None:
        raise LineError(
            line,
            f"{unknown[0]!r} is no parameter of {_operation_name(kind)}; there are {', '.join(sorted(allowed))}",
        )
    made = {key: _value(line, key, value) for key, value in facts.items() if key in allowed}
    usual = {key: value for key, value in reading.defaults.items() if key in allowed}
    return Row(line, kind(**{**usual, **made}), name)


def _cell_count_problem(cells: int, columns: int) -> str:
    are = f"is {cells} cell" if cells == 1 else f"are {cells} cells"
    return f"there {are}, and the head has {columns}"


def _no_prompt(names: Sequence[str]) -> str:
    if "prompt" in names:
        return "there is no prompt in this line"
    said = f"there is no prompt, only {', '.join(map(repr, names))}" if names else "there is no prompt"
    return (
        f"{said}; the cells of a .csv stand between commas" if len(names) == 1 and ";" in names[0] else said
    )


def _name(line: int, facts: dict[str, Any], reading: ReadOptions) -> str | None:
    if reading.id_column is None:
        return None
    if reading.id_column not in facts:
        raise LineError(line, f"there is no {reading.id_column!r}, which --id-column names")
    name = facts[reading.id_column]
    if reading.prompt is None or f"{{{reading.id_column}" not in reading.prompt:
        del facts[reading.id_column]
    return str(name)


def _fill_template(line: int, template: str, facts: Mapping[str, Any]) -> str:
    try:
        return _TemplateFormatter().vformat(template, (), facts)
    except KeyError as missing:
        raise LineError(line, f"there is no {missing.args[0]!r}, which --prompt names") from None
    except (ValueError, IndexError) as problem:
        raise LineError(line, f"--prompt cannot be filled in: {problem}") from None


class _TemplateFormatter(string.Formatter):
    """Fills in values as they are: no attributes, items or conversions, which could show what is no column."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        return str(value)

    def convert_field(self, value: Any, conversion: object) -> Any:
        return value


def _value(line: int, name: str, value: Any) -> Any:
    if name in _NUMBERS:
        try:
            return int(value) if isinstance(value, str) else value
        except ValueError:
            raise LineError(line, f"{name} is a whole number, not {value!r}") from None
    if name == "image" and isinstance(value, str) and _IMAGE_SEPARATOR in value:
        return [part.strip() for part in value.split(_IMAGE_SEPARATOR) if part.strip()]
    if name == "svg" and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            raise LineError(line, f"svg is a JSON object, not {value!r}") from None
    return value


def _operation_name(kind: type[Job]) -> str:
    return {Generate: "a generation", Edit: "an edit", Variation: "a variation"}[kind]

"""Parser of the files of ``imagesdk batch``. Pure functions.

==========  =====================================================
format      a job
==========  =====================================================
``txt``     a line with a prompt
``csv``     a row with a parameter in each column
``jsonl``   a line with a JSON object, or with a prompt in quotes
==========  =====================================================

A row with an ``image`` is an edit, and without a ``prompt`` a variation. An unknown column or key is an error with the
number of the line.
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
"""The format of a file of jobs."""

_SUFFIXES: Final[Mapping[str, FileFormat]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_NUMBERS: Final = frozenset({"n", "output_compression", "frame_count", "frame_duration_ms"})
_STREAM_ONLY: Final = frozenset({"partial_images"})
_OPERATIONS: Final[dict[type[Job], str]] = {
    Generate: "a generation",
    Edit: "an edit",
    Variation: "a variation",
}
_PARAMETERS: Final = frozenset(name for kind in _OPERATIONS for name in attrs.fields_dict(kind))
_IMAGE_SEPARATOR: Final = ";"
"""Separator of several images in a cell."""


class LineError(Exception):
    """A line that is not a valid job."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@frozen
class Row:
    """A job with its line number and its optional id."""

    line: int
    job: Job
    id: str | None = None


@frozen(kw_only=True)
class ReadOptions:
    """Options of the command for its file."""

    format: FileFormat
    prompt: str | None = None
    """A template of the prompt with names of columns, such as ``photo of {name}``."""
    id_column: str | None = None
    defaults: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """Parameters for jobs without their own."""


def detect_format(name: str, beginning: str) -> FileFormat:
    """Return the format of a file by its name, or of stdin by its first character."""
    if name == "-":
        return "jsonl" if beginning.lstrip().startswith("{") else "txt"
    return _SUFFIXES.get(name[name.rfind(".") :].lower(), "txt")


def rows(lines: Iterable[str], options: ReadOptions) -> Iterator[Row | LineError]:
    """Yield the jobs of a file, and an error in the place of each invalid line."""
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
        raise LineError(number, "this is neither a JSON object nor a prompt in quotes")
    return {name: part for name, part in cast("dict[str, Any]", value).items() if part is not None}


def _of_csv(lines: Iterable[str], options: ReadOptions) -> Iterator[Row | LineError]:
    reader = csv.reader(lines, strict=True)
    head: list[str] = []
    number = 1
    try:
        for cells in reader:
            if not head:
                head = _head(cells, options)
                if len(set(head)) < len(head):
                    raise LineError(number, "two columns have the same name")
            elif any(cells):
                try:
                    if len(cells) != len(head):
                        count = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
                        problem = f"the line has {count}, but the header has {len(head)} columns"
                        raise LineError(number, problem)
                    values = {name: cell for name, cell in zip(head, cells, strict=True) if cell.strip()}
                    yield _row(number, values, options, columns=head)
                except LineError as error:
                    yield error
            number = reader.line_num + 1
    except csv.Error as problem:
        yield LineError(number, str(problem))
    except LineError as error:
        yield error


def _head(cells: Sequence[str], options: ReadOptions) -> list[str]:
    """Return the names of the columns. Without a template, ``Prompt`` and ``PROMPT`` mean ``prompt``."""
    names = [cell.strip().removeprefix("\ufeff") for cell in cells]
    if options.prompt is not None:
        return names
    lowered = Counter(name.lower() for name in names)
    kept = {name for name, count in lowered.items() if count > 1 or name not in _PARAMETERS}
    return [name if name.lower() in kept or name == options.id_column else name.lower() for name in names]


def _row(
    line: int, values: Mapping[str, Any], options: ReadOptions, columns: Sequence[str] | None = None
) -> Row:
    facts = dict(values)
    name = _name(line, facts, options)
    if options.prompt is not None:
        facts["prompt"] = _fill_template(line, options.prompt, facts)
    kind: type[Job] = Generate
    if "image" in facts:
        kind = Edit if "prompt" in facts else Variation
    elif "prompt" not in facts:
        raise LineError(line, _no_prompt(list(facts) if columns is None else columns))
    allowed = set(attrs.fields_dict(kind)) - _STREAM_ONLY
    unknown = [key for key in facts if key not in allowed]
    if unknown and options.prompt is None:
        raise LineError(line, _unknown_column(unknown[0], kind, options))
    own = {key: _value(line, key, value) for key, value in facts.items() if key in allowed}
    defaults = {key: value for key, value in options.defaults.items() if key in allowed}
    return Row(line, kind(**{**defaults, **own}), name)


def _unknown_column(name: str, kind: type[Job], options: ReadOptions) -> str:
    column = f"{'column' if options.format == 'csv' else 'key'} {name!r}"
    if name in _PARAMETERS:
        return f"{column} is not a parameter of {_OPERATIONS[kind]}"
    return (
        f"{column} is not an API parameter; to use it in prompts add --prompt 'photo of {{{name}}}', "
        f"to label files --id-column {name}, or remove it"
    )


def _no_prompt(names: Sequence[str]) -> str:
    if "prompt" in names:
        return "there is no prompt in this line"
    problem = f"there is no prompt, only {', '.join(map(repr, names))}" if names else "there is no prompt"
    only_semicolons = len(names) == 1 and ";" in names[0]
    return f"{problem}; separate the cells of a .csv with commas" if only_semicolons else problem


def _name(line: int, facts: dict[str, Any], options: ReadOptions) -> str | None:
    if options.id_column is None:
        return None
    if options.id_column not in facts:
        raise LineError(line, f"there is no {options.id_column!r}, which --id-column names")
    name = facts[options.id_column]
    if options.prompt is None or f"{{{options.id_column}" not in options.prompt:
        del facts[options.id_column]
    return str(name)


def _fill_template(line: int, template: str, facts: Mapping[str, Any]) -> str:
    try:
        return _TemplateFormatter().vformat(template, (), facts)
    except KeyError as missing:
        raise LineError(line, f"there is no {missing.args[0]!r}, which --prompt names") from None
    except (ValueError, IndexError) as problem:
        raise LineError(line, f"--prompt cannot be filled in: {problem}") from None


class _TemplateFormatter(string.Formatter):
    """Formatter without attributes, items and conversions, so that a template can access only columns."""

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
    if name != "svg" or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise LineError(line, f"svg is a JSON object, not {value!r}") from None

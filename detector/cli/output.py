"""How the verbs that list records print them: tables for people, JSON and CSV for programs."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.runtime.printing import csv_line, json_text, printable

WIDTH_UNKNOWN = 200  # of a table that goes to a file
GAP = 2  # blanks between columns
NUMBER = re.compile(r"(?:-?[\d,]+(?:\.\d+)?|-)?")  # right-aligned; unknown ones too


class Listing(StrEnum):
    """How records are written."""

    human = "human"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


Row = Mapping[str, Any]


def chosen(output: Listing | None, *, stream: bool = False) -> Listing:
    """The form that was asked for, else the one that fits where the output goes."""
    if output is not None:
        return output
    if sys.stdout.isatty():
        return Listing.human
    return Listing.jsonl if stream else Listing.json


def field_of(row: Row, path: str) -> Any:
    """A field by its dotted path, None where it is absent; lists become text.

    >>> field_of({"entity": {"value": "c-1"}}, "entity.value"), field_of({}, "a.b")
    ('c-1', None)
    """
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return json_text(value) if isinstance(value, Mapping) else value


def console(*, stderr: bool = False, wrap: bool = True, markup: bool = False, width_min: int = 0) -> Console:
    """A console for tables and sentences: in a stranger's string `:x:` is no emoji, and a figure has no colour.

    Where a line is not to be wrapped, it is left to the terminal, so that it can be searched and copied. Made when it
    is needed: by then `--color` was read. A file has no width: `WIDTH_UNKNOWN`, or `width_min` if that is more.
    """
    out = sys.stderr if stderr else sys.stdout
    width = None if out.isatty() or os.environ.get("COLUMNS") else max(WIDTH_UNKNOWN, width_min)
    return Console(stderr=stderr, width=width, markup=markup, emoji=False, highlight=False, soft_wrap=not wrap)


def confirmed(question: str, *, yes: bool) -> None:
    """Ask on a terminal, unless told not to; a no ends the program."""
    if not yes and sys.stdin.isatty():
        typer.confirm(printable(question), abort=True)


def write_rows(rows: Sequence[Row], columns: Mapping[str, str], output: Listing, *, nothing: str) -> None:
    """Write records: `columns` maps headings to dotted paths for people and CSV; JSON has every field."""
    if output is Listing.json:
        sys.stdout.write(json_text(list(rows), indent=True) + "\n")
    elif output is Listing.jsonl:
        sys.stdout.write("".join(json_text(row) + "\n" for row in rows))
    elif output is Listing.csv:
        sys.stdout.write(csv_line(columns))
        sys.stdout.write("".join(csv_line(field_of(row, path) for path in columns.values()) for row in rows))
    elif not rows:
        console().print(nothing)
    else:
        _write_table([[_cell(row, path) for path in columns.values()] for row in rows], list(columns))


def _cell(row: Row, path: str) -> str:
    value = field_of(row, path)
    return "" if value is None else printable(str(value))


def _write_table(rows: list[list[str]], headings: list[str]) -> None:
    """A table; where it is wider than the terminal, each record by itself: folded words are hard to read."""
    width = sum(max(map(cell_len, column)) + GAP for column in zip(headings, *rows, strict=True))
    out = console(width_min=width)
    if width - GAP <= out.width:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for at, heading in enumerate(headings):
            numbers = all(NUMBER.fullmatch(cells[at]) for cells in rows)
            table.add_column(heading, justify="right" if numbers else "left")
        for cells in rows:
            table.add_row(*map(Text, cells))
        out.print(table)
        return
    for number, cells in enumerate(rows):
        record = Table.grid(padding=(0, GAP, 0, 0))
        record.add_column(style="bold", no_wrap=True)
        record.add_column(overflow="fold")
        for heading, cell in zip(headings, cells, strict=True):
            if cell:
                record.add_row(Text(heading), Text(cell))
        out.print(*([] if number == 0 else [""]), record, sep="\n")


def write_stream(rows: Iterable[Row], columns: Mapping[str, str], output: Listing) -> None:
    """Write records as they come, each one at once."""
    if output is Listing.csv:
        sys.stdout.write(csv_line(columns))
    elif output is Listing.human:
        sys.stdout.write("  ".join(columns) + "\n")
    for row in rows:
        if output in (Listing.json, Listing.jsonl):
            sys.stdout.write(json_text(row) + "\n")
        elif output is Listing.csv:
            sys.stdout.write(csv_line(field_of(row, path) for path in columns.values()))
        else:
            cells = (field_of(row, path) for path in columns.values())
            sys.stdout.write("  ".join("-" if cell is None else printable(str(cell)) for cell in cells) + "\n")
        sys.stdout.flush()


def write_one(row: Row, output: Listing) -> None:
    """Write one record whole: its fields line by line for people."""
    if output is Listing.human:
        for path, value in _flat(row, ""):
            print(f"{path:<28} {printable('-' if value is None else str(value))}")
    elif output is Listing.csv:
        sys.stdout.write(csv_line(["field", "value"]) + "".join(csv_line(item) for item in _flat(row, "")))
    else:
        sys.stdout.write(json_text(row, indent=output is Listing.json) + "\n")


def _flat(value: Any, path: str) -> Iterable[tuple[str, Any]]:
    """The leaves of a record with their dotted paths; names are ours, but facts' may be anything."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{path}.{printable(str(name))}" if path else printable(str(name)))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{path}[{number}]")
    else:
        yield path, " ".join(map(str, value)) if isinstance(value, list | tuple) else value

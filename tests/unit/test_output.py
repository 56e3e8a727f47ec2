"""What strangers wrote is printed harmlessly: on terminals, in JSON, in CSV."""

import csv
import io
import unicodedata
from typing import Any

import orjson
import pytest

from detector.__main__ import speak
from detector.cli.output import Listing, field_of, write_one, write_rows, write_stream
from detector.runtime.printing import FORMULA_STARTS, csv_line, json_text, printable
from tests import hostile_strings

HOSTILE = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "line\nbreak\r\t",
    "abc\u202etxt.exe",
    "\u2066\u200b\u2028\ufeff",
    "[bold red]no markup[/] :skull:",
    "[/]",
    "\\[bold",
    "\U000e0041tag",
    "nul\x00",
)
FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1", "  =1+1", "\n=1")
COLUMNS = {"value": "value", "nested": "deep.value"}


def rows() -> list[dict[str, Any]]:
    return [{"value": text, "deep": {"value": [text, text]}, "number": -1} for text in (*HOSTILE, *FORMULAS)]


@pytest.mark.parametrize("listing", list(Listing))
@pytest.mark.parametrize("form", ["rows", "stream", "one"])
def test_no_control_or_direction_character_is_printed(
    capsys: pytest.CaptureFixture[str], listing: Listing, form: str
) -> None:
    if form == "rows":
        write_rows(rows(), COLUMNS, listing, nothing="none")
    elif form == "stream":
        write_stream(rows(), COLUMNS, listing)
    else:
        for row in rows():
            write_one(row, listing)
    said = capsys.readouterr().out
    assert {c for c in said if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}} <= {"\n"}
    assert "no markup" in said
    if listing is not Listing.jsonl and listing is not Listing.json:
        assert "[bold red]no markup[/] :skull:" in said


def test_json_keeps_every_value() -> None:
    held = rows()
    assert orjson.loads(json_text(held)) == orjson.loads(json_text(held, indent=True)) == held


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_computes_no_cell(text: str) -> None:
    ((cell, number),) = csv.reader(io.StringIO(csv_line([text, -1])))
    assert cell.startswith("'")
    assert number == "-1"
    assert cell[1:] == printable(text)


def test_a_field_is_found_by_its_path() -> None:
    row = {"a": {"b": [1, 2]}, "c": {"d": {"e": 1}}}
    assert field_of(row, "a.b") == "1 2"
    assert field_of(row, "c.d") == '{"e":1}'
    assert field_of(row, "a.x.y") is None


def test_people_are_told_where_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([], COLUMNS, Listing.human, nothing="no alert")
    write_rows([], COLUMNS, Listing.csv, nothing="no alert")
    write_rows([], COLUMNS, Listing.json, nothing="no alert")
    assert capsys.readouterr().out == "no alert\nvalue,nested\n[]\n"


@pytest.mark.parametrize("name", sorted(hostile_strings.HOSTILE))
def test_a_csv_cell_of_a_strangers_string_is_one_printable_cell_and_no_formula(name: str) -> None:
    text = hostile_strings.HOSTILE[name]
    line = csv_line([text, "next"])
    ((cell, after),) = csv.reader(io.StringIO(line, newline=""))
    assert after == "next"
    assert not cell.lstrip(" ").startswith(FORMULA_STARTS)
    assert not hostile_strings.unprintable(line)
    assert cell in (printable(text), "'" + printable(text))


class Terminal(io.BytesIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_without_a_character_gets_a_question_mark_and_a_file_is_utf_8() -> None:
    for raw, written in ((Terminal(), b"gr?n ?"), (io.BytesIO(), "grün █".encode())):
        stream = io.TextIOWrapper(raw, encoding="ascii")
        speak(stream)
        stream.write("grün █")
        stream.flush()
        assert raw.getvalue() == written
    speak(io.StringIO())  # a test's capture has no encoding

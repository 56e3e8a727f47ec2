r"""Print what strangers wrote: strings of logs and records, made harmless for terminals and spreadsheets.

Purpose: the one way in which a value that an attacker may have chosen (an account's name,
a user agent, an operator's reason) reaches a terminal, a JSON or a CSV file.
Invariants: of a terminal's output every character is printable: no control characters (so
no ANSI sequences), no bidirectional or zero-width ones, no separators but the blank. JSON
stays the same value: what cannot be printed is escaped. A CSV cell is never a formula.
Limits: look-alike letters stay as they are.
Source: Unicode's categories as `str.isprintable` has them; OWASP's page on CSV injection.
"""

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

import orjson
from rich.markup import escape

from detector.sinks.escaping import printable

__all__ = ["clean", "csv_cell", "csv_line", "json_text", "printable"]

# The wide forms too: some spreadsheets read them as the narrow ones.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def clean(text: str) -> str:
    r"""Make a string from a log safe to print through rich: no control characters, no markup.

    >>> clean("a\x1b[31mb[bold]")
    'a�[31mb\\[bold]'
    """
    return escape(printable(text))


def json_text(value: Any, *, indent: bool = False) -> str:
    r"""Write a value as JSON that a terminal takes as text: what is not printable is escaped.

    >>> json_text({"by": "a\u202e\x9b"})
    '{"by":"a\\u202e\\u009b"}'
    """
    written = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None).decode()
    if written.isprintable():
        return written
    return "".join(c if c == "\n" or c.isprintable() else _escaped(c) for c in written)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def csv_cell(value: Any) -> Any:
    """Make one cell harmless: text that a spreadsheet would compute gets an apostrophe before it.

    >>> csv_cell("=cmd()"), csv_cell(-1), csv_cell("a-1")
    ("'=cmd()", -1, 'a-1')
    """
    if not isinstance(value, str):
        return value
    return "'" + printable(value) if value.lstrip(" ").startswith(FORMULA_STARTS) else printable(value)


def csv_line(cells: Iterable[Any]) -> str:
    r"""Write one line of a CSV file, with its end.

    >>> csv_line(["a,b", 1, None])
    '"a,b",1,\n'
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([csv_cell(cell) for cell in cells])
    return out.getvalue()

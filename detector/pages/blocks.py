"""Blocks: what a page is made of, before anything is markup.

Purpose: the report and the live page say what they show as these values; one template renders them.
Invariants: every string is plain text. The template escapes it, so a block may carry what a
stranger wrote; only `Plot.svg` is markup, and `plots` makes it from numbers and escaped labels.
Limits: a section names its place on the page with an id of our own, never with a value of a log.
"""

from typing import Literal, NamedTuple

from markupsafe import Markup

Tone = Literal["plain", "good", "warn", "bad", "muted"]


class Note(NamedTuple):
    """A paragraph; `unknown` ones say what cannot be told, and what it would take."""

    text: str
    tone: Tone = "plain"
    kind: Literal["note"] = "note"


class Code(NamedTuple):
    """A command to copy."""

    label: str
    text: str
    kind: Literal["code"] = "code"


class Tile(NamedTuple):
    """One number that counts."""

    label: str
    value: str
    detail: str = ""
    tone: Tone = "plain"


class Tiles(NamedTuple):
    """Numbers side by side."""

    tiles: tuple[Tile, ...]
    kind: Literal["tiles"] = "tiles"


class Column(NamedTuple):
    """A column's heading, and whether numbers stand in it."""

    heading: str
    numeric: bool = False


class Table(NamedTuple):
    """Rows of text; the first cell of each is its heading."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "nothing"
    note: str = ""
    folded: bool = False  # shown when it is asked for
    kind: Literal["table"] = "table"


class Plot(NamedTuple):
    """A drawing, what it shows in words, its legend, and its numbers as a table."""

    name: str  # ours: letters, digits and hyphens
    title: str
    says: str
    svg: Markup
    legend: tuple[str, ...]
    data: Table
    filled: bool = False  # bars, not lines


class Plots(NamedTuple):
    """Drawings side by side, where there is room."""

    plots: tuple[Plot, ...]
    kind: Literal["plots"] = "plots"


class Bar(NamedTuple):
    """One piece of evidence as a bar: its words, its weight and what it says."""

    label: str
    family: str
    weight: float  # natural log odds, signed
    share: float  # 0 to 1 of the longest bar
    counted: bool
    facts: str


class Card(NamedTuple):
    """An alert for a reader: what, how sure, why, what was done."""

    name: str  # ours
    title: str
    badge: str
    tone: Tone
    summary: str
    fields: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...]
    verdict: str
    cleared: tuple[str, ...]
    shares: Table | None
    samples: Table | None
    open: bool = False


class Cards(NamedTuple):
    """Alerts, one below the other."""

    cards: tuple[Card, ...]
    empty: str
    kind: Literal["cards"] = "cards"


Block = Note | Code | Tiles | Table | Plots | Cards


class Section(NamedTuple):
    """A part of the page under a heading."""

    name: str  # ours: its place on the page
    heading: str
    blocks: tuple[Block, ...]


def columns(*headings: str) -> tuple[Column, ...]:
    """Columns by their headings; one that begins with # holds numbers.

    >>> columns("name", "#count")[1]
    Column(heading='count', numeric=True)
    """
    return tuple(Column(h.removeprefix("#"), h.startswith("#")) for h in headings)

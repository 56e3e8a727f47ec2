"""Plots: lines, steps and bars as SVG that needs no script, no network and no font of its own.

Purpose: every figure of the pages. An own few hundred lines because a page must stay under a
few megabytes, be read aloud and follow the reader's colours: what libraries draw is either an
image, or a script of megabytes, or SVG without names.
Invariants: a plot has a title, a sentence that says what it shows, and its numbers as a table.
Series differ by dash and mark besides their colour, and colours are classes of the style sheet,
so that light, dark and print differ there alone. Labels are escaped, and what cannot be printed is replaced.
Limits: five series; 200 points are drawn of each, 60 rows stand in the table.
Source: nice tick steps are 1, 2 and 5 times powers of ten.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

from detector.pages.blocks import Column, Plot, Table
from detector.pages.words import number
from detector.records import format_time
from detector.runtime.printing import printable

WIDTH, HEIGHT = 360, 230  # as wide as a phone shows it, so that its letters keep their size there
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 26, 44
POINTS_MAX, ROWS_MAX, SERIES_MAX = 200, 60, 5
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TIME_STEPS_MS = tuple(HOUR_MS * hours for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 1_344, 2_688, 8_784))

Point = tuple[float, float]


class Axis(NamedTuple):
    """What an axis shows, and how: along a line, by powers of ten, or as UTC times (ms)."""

    label: str
    scale: Literal["linear", "log", "time"] = "linear"
    shown: Callable[[float], str] = number
    start: float | None = None
    stop: float | None = None
    ticks: tuple[float, ...] = ()  # where labels stand; else round values


class Series(NamedTuple):
    """A named row of points, in order of x; `steps` hold their value to the next point."""

    name: str
    points: Sequence[Point]
    steps: bool = False


class Mark(NamedTuple):
    """A place on the x axis that has a name."""

    x: float
    label: str


def nice_ticks(start: float, stop: float, *, wanted: int = 5) -> list[float]:
    """Round values between two bounds.

    >>> nice_ticks(0, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    >>> nice_ticks(3, 3)
    [3.0]
    """
    if stop <= start:
        return [float(start)]
    raw = (stop - start) / wanted
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.999)
    first = math.ceil(start / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(stop / step + 1e-9) + 1)]


class _Scale:
    """From values to places in the drawing."""

    def __init__(self, axis: Axis, values: Sequence[float], *, low: float, high: float) -> None:
        """Map the values' range, or the axis' own, on [low, high] of the drawing."""
        known = [v for v in values if math.isfinite(v) and (axis.scale != "log" or v > 0)]
        start = axis.start if axis.start is not None else min(known, default=0.0)
        stop = axis.stop if axis.stop is not None else max(known, default=1.0)
        if stop <= start:
            stop = start * 10 if axis.scale == "log" else start + 1
        self.axis, self.start, self.stop, self.low, self.high = axis, start, stop, low, high
        self.log = axis.scale == "log"

    def at(self, value: float) -> float:
        """Where a value stands; beyond the range at its edge."""
        value = min(max(value, self.start), self.stop)
        start, stop = (math.log10(self.start), math.log10(self.stop)) if self.log else (self.start, self.stop)
        part = ((math.log10(value) if self.log else value) - start) / (stop - start)
        return round(self.low + part * (self.high - self.low), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Places that carry a label."""
        if self.axis.ticks:
            return [(tick, self.axis.shown(tick)) for tick in self.axis.ticks if self.start <= tick <= self.stop]
        if self.log:
            powers = range(math.ceil(math.log10(self.start) - 1e-9), math.floor(math.log10(self.stop) + 1e-9) + 1)
            return [(10.0**p, self.axis.shown(10.0**p)) for p in powers]
        if self.axis.scale == "time":
            return self._times()
        return [(tick, self.axis.shown(tick)) for tick in nice_ticks(self.start, self.stop)]

    def _times(self) -> list[tuple[float, str]]:
        step = next((s for s in TIME_STEPS_MS if (self.stop - self.start) / s <= 5), TIME_STEPS_MS[-1])
        first = math.ceil(self.start / step)
        found = [n * step for n in range(first, math.floor(self.stop / step) + 1)]
        texts = [(tick, format_time(int(tick))) for tick in found]
        # A day is said by its date; an hour of it by the clock.
        return [(tick, said[5:10] if tick % DAY_MS == 0 else said[11:16]) for tick, said in texts]


def thinned(points: Sequence[Point], *, most: int) -> list[Point]:
    """Take every nth point, and the last one.

    >>> thinned([(float(n), 0.0) for n in range(10)], most=4)
    [(0.0, 0.0), (3.0, 0.0), (6.0, 0.0), (9.0, 0.0)]
    """
    if len(points) <= most:
        return list(points)
    step = -(-len(points) // (most - 1))
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _frame(name: str, *, title: str, says: str, inside: Sequence[Markup], height: int = HEIGHT) -> Markup:
    """The drawing around its parts."""
    return Markup(
        '<svg class="plot" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-t {n}-d">'
        '<title id="{n}-t">{t}</title><desc id="{n}-d">{d}</desc>{inside}</svg>'
    ).format(w=WIDTH, h=height, n=name, t=printable(title), d=printable(says), inside=Markup("").join(inside))


def _text(x: float, y: float, said: str, *, anchor: str, css: str = "tick") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, css, printable(said)
    )


def _line(x1: float, y1: float, x2: float, y2: float, *, css: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, css)


def _axes(x: _Scale, y: _Scale) -> list[Markup]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    out = []
    for tick, said in y.ticks():
        out += [_line(LEFT, y.at(tick), right, y.at(tick), css="grid")]
        out += [_text(LEFT - 6, y.at(tick) + 4, said, anchor="end")]
    for tick, said in x.ticks():
        out += [_line(x.at(tick), bottom, x.at(tick), bottom + 4, css="axis")]
        out += [_text(min(x.at(tick), right - 3.2 * len(said) + 6), bottom + 17, said, anchor="middle")]
    out += [_line(LEFT, bottom, right, bottom, css="axis")]
    out += [_text((LEFT + right) / 2, HEIGHT - 8, x.axis.label, anchor="middle", css="label")]
    out += [_text(4, 14, y.axis.label, anchor="start", css="label")]
    return out


def _path(series: Series, number_: int, x: _Scale, y: _Scale) -> Markup:
    points = thinned(series.points, most=POINTS_MAX)
    places = [(x.at(a), y.at(b)) for a, b in points]
    words, before = [], None
    for a, b in places:
        words += [f"M{a} {b}"] if before is None else [f"H{a}V{b}" if series.steps else f"L{a} {b}"]
        before = b
    path = Markup('<path d="{}" class="line s{}"/>').format("".join(words), number_)
    if series.steps or len(places) > 24:
        return path
    dots = [Markup('<circle cx="{}" cy="{}" r="2.6" class="dot s{}"/>').format(a, b, number_) for a, b in places]
    return path + Markup("").join(dots)


def _marks(marks: Sequence[Mark], x: _Scale) -> list[Markup]:
    out = []
    for row, mark in enumerate(marks):
        place = x.at(mark.x)
        late = place > (LEFT + WIDTH) / 2
        out += [_line(place, TOP, place, HEIGHT - BOTTOM, css="mark")]
        words = {"anchor": "end" if late else "start", "css": "marked"}
        out += [_text(place + (-4 if late else 4), TOP + 10 + 13 * (row % 4), mark.label, **words)]
    return out


def lines(
    name: str,
    *,
    title: str,
    says: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    marks: Sequence[Mark] = (),
) -> Plot:
    """Draw lines or steps over one x axis; the table has every series' value where any of them has one."""
    assert 0 < len(series) <= SERIES_MAX, f"{name}: {len(series)} series"
    xs = [a for s in series for a, _ in s.points] + [m.x for m in marks]
    ys = [b for s in series for _, b in s.points]
    across = _Scale(x, xs, low=LEFT, high=WIDTH - RIGHT)
    up = _Scale(y, [*ys, *([] if y.scale == "log" else [0.0])], low=HEIGHT - BOTTOM, high=TOP)
    inside = _axes(across, up) + _marks(marks, across)
    inside += [_path(s, n, across, up) for n, s in enumerate(series)]
    return Plot(
        name=name,
        title=title,
        says=says,
        svg=_frame(name, title=title, says=says, inside=inside),
        legend=tuple(s.name for s in series) if len(series) > 1 else (),
        data=_data(title, x=x, y=y, series=series),
    )


def _data(title: str, *, x: Axis, y: Axis, series: Sequence[Series]) -> Table:
    every = sorted({a for s in series for a, _ in s.points})
    kept = [a for a, _ in thinned([(a, 0.0) for a in every], most=ROWS_MAX)]
    held = [dict(s.points) for s in series]

    def said(value: float) -> str:
        return format_time(int(value))[:16].replace("T", " ") if x.scale == "time" else x.shown(value)

    rows = tuple((said(a), *(y.shown(h[a]) if a in h else "" for h in held)) for a in kept)
    note = f"{len(kept)} of {len(every)} points." if len(kept) < len(every) else ""
    heads = [Column(s.name if len(series) > 1 else y.label, True) for s in series]
    return Table(f"Data: {title}", (Column(x.label), *heads), rows, note=note)


def bars(
    name: str,
    *,
    title: str,
    says: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
) -> Plot:
    """Draw a histogram: groups of upright bars; `marks` name places between them, counted in groups from 0."""
    assert 0 < len(series) <= SERIES_MAX, f"{name}: {len(series)} series"
    assert labels, f"{name}: no group"
    across = _Scale(Axis("", start=0, stop=len(labels)), [], low=LEFT, high=WIDTH - RIGHT)
    up = _Scale(y, [*(v for _, values in series for v in values), 0.0], low=HEIGHT - BOTTOM, high=TOP)
    wide = (across.at(1) - across.at(0)) * 0.8 / len(series)
    bottom = HEIGHT - BOTTOM
    empty = Axis(x.label, shown=lambda _: "")
    inside = _axes(_Scale(empty, [0.0, 1.0], low=LEFT, high=WIDTH - RIGHT), up)
    every = -(-len(labels) // 6)
    for group, label in enumerate(labels):
        for n, (_, values) in enumerate(series):
            left = across.at(group) + (across.at(1) - across.at(0)) * 0.1 + n * wide
            top = up.at(values[group])
            shape = Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="{:.1f}" class="bar s{}"/>')
            inside += [shape.format(left, top, wide, bottom - top, n)] if values[group] else []
        if group % every == 0:
            inside += [_text(across.at(group + 0.5), bottom + 17, label, anchor="middle")]
    inside += _marks(marks, across)
    rows = tuple((label, *(y.shown(v[at]) for _, v in series)) for at, label in enumerate(labels))
    heads = tuple(Column(who if len(series) > 1 else y.label, True) for who, _ in series)
    return Plot(
        name=name,
        title=title,
        says=says,
        svg=_frame(name, title=title, says=says, inside=inside),
        legend=tuple(who for who, _ in series) if len(series) > 1 else (),
        data=Table(f"Data: {title}", (Column(x.label), *heads), rows),
        filled=True,
    )

"""Words: numbers, shares, times and durations as a person reads them.

Purpose: one way of writing a value on every page.
Invariants: what is not known is written as an en dash, never as nought.
Limits: English, and UTC.
"""

from detector.records import format_time
from detector.story import figure

UNKNOWN = "\u2013"


def count(value: float | None) -> str:
    """Write a count.

    >>> count(1234567), count(None)
    ('1,234,567', '–')
    """
    return UNKNOWN if value is None else f"{value:,.0f}"


def number(value: float | None) -> str:
    """Write a number with as many digits as it deserves.

    >>> number(0.31234), number(12345.6), number(3.0)
    ('0.312', '12,346', '3')
    """
    return UNKNOWN if value is None else figure(value)


def share(value: float | None) -> str:
    """Write a part of one as per cent.

    >>> share(0.116912), share(1.0), share(None)
    ('11.7 %', '100 %', '–')
    """
    if value is None:
        return UNKNOWN
    return f"{100 * value:.0f} %" if value in (0.0, 1.0) else f"{100 * value:.1f} %"


def interval(bounds: list[float] | None, *, scale: float = 100.0, unit: str = " %") -> str:
    """Write a 95 % interval.

    >>> interval([0.0858, 0.1566])
    '95 %: 8.6 to 15.7 %'
    """
    if bounds is None:
        return ""
    digits = 0 if scale * bounds[1] >= 1000 else 1
    return f"95 %: {scale * bounds[0]:,.{digits}f} to {scale * bounds[1]:,.{digits}f}{unit}"


def duration(seconds: float | None) -> str:
    """Write a time span.

    >>> duration(45), duration(5_400), duration(3.2 * 86_400), duration(None)
    ('45 s', '1.5 h', '3.2 d', '–')
    """
    if seconds is None:
        return UNKNOWN
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= (2 * size if unit == "d" else size):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def when(time_ms: int | None) -> str:
    """Write a time to the second.

    >>> when(1_782_050_400_007)
    '2026-06-21 14:00:00'
    """
    return UNKNOWN if time_ms is None else format_time(time_ms)[:19].replace("T", " ")


def plural(value: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "alert"), plural(2, "alert")
    ('1 alert', '2 alerts')
    """
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def sized(size_bytes: float) -> str:
    """Write a size.

    >>> sized(1_617_067), sized(900)
    ('1.6 MB', '900 B')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"

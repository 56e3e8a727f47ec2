"""How far a long verb came, on standard error: a line that changes on a terminal, JSON lines for programs."""

import shutil
import sys
import time

from detector.records import format_time
from detector.runtime.outcome import Progress
from detector.runtime.printing import json_text

EVERY_S = 1.0
EVERY_S_PROGRAMS = 5.0
WIDTH_MAX = 110


class ProgressLine:
    """Share, events, rate, event time, alerts, time left."""

    def __init__(self, *, shown: bool) -> None:
        """Start the clock."""
        self.shown, self.start_s, self.last_s = shown, time.monotonic(), 0.0

    def __call__(self, p: Progress) -> None:
        """Show how far a run came, now and then."""
        now_s, terminal = time.monotonic(), sys.stderr.isatty()
        if not self.shown or now_s - self.last_s < (EVERY_S if terminal else EVERY_S_PROGRAMS):
            return
        self.last_s = now_s
        spent_s = max(now_s - self.start_s, 1e-3)
        sys.stderr.write(_line(p, spent_s) if terminal else _record(p, spent_s))
        sys.stderr.flush()

    def done(self) -> None:
        """Leave a terminal's line empty."""
        if self.shown and self.last_s and sys.stderr.isatty():
            sys.stderr.write("\r" + " " * _width() + "\r")


def _line(p: Progress, spent_s: float) -> str:
    """The line for people, over the one before."""
    share = f"{100 * p.share:5.1f} %" if p.share is not None else "   ? %"
    left = f", {_left_s(p, spent_s):,.0f} s left" if p.share else ""
    rate = f"{p.rows:,} events, {p.rows / spent_s:,.0f}/s"
    said, width = f"{share}  {rate}, at {format_time(p.end_ms)}, {p.alerts} alerts{left}", _width()
    return f"\r{said[:width]:<{width}}"


def _width() -> int:
    """What fits on a terminal's line, less one: a full line would begin the next."""
    return min(shutil.get_terminal_size().columns - 1, WIDTH_MAX)


def _record(p: Progress, spent_s: float) -> str:
    """The same as a line of JSON; what is not known is null."""
    said = {
        "share": round(p.share, 4) if p.share is not None else None,
        "events": p.rows,
        "events_per_s": round(p.rows / spent_s),
        "event_time": format_time(p.end_ms),
        "alerts": p.alerts,
        "left_s": round(_left_s(p, spent_s)) if p.share else None,
    }
    return json_text(said) + "\n"


def _left_s(p: Progress, spent_s: float) -> float:
    return spent_s / p.share - spent_s if p.share else 0.0

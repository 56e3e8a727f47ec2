"""The progress line of a long verb, on standard error."""

import sys
import time

from detector.records import format_time
from detector.runtime.outcome import Progress

PROGRESS_EVERY_S = 1.0


class ProgressLine:
    """The progress line on standard error: share, events, rate, event time, alerts, time left."""

    def __init__(self, *, shown: bool) -> None:
        """Start the clock."""
        self.shown, self.start_s, self.last_s = shown, time.monotonic(), 0.0

    def __call__(self, p: Progress) -> None:
        """Show how far a run came, once a second at most."""
        now_s = time.monotonic()
        if not self.shown or now_s - self.last_s < PROGRESS_EVERY_S:
            return
        self.last_s = now_s
        spent_s = max(now_s - self.start_s, 1e-3)
        share = f"{100 * p.share:5.1f} %" if p.share is not None else "   ? %"
        left = f", {spent_s / p.share - spent_s:,.0f} s left" if p.share else ""
        rate = f"{p.rows:,} events, {p.rows / spent_s:,.0f}/s"
        text = f"{share}  {rate}, at {format_time(p.end_ms)}, {p.alerts} alerts{left}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text:<110}")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def done(self) -> None:
        """Leave a terminal's line empty."""
        if self.shown and self.last_s and sys.stderr.isatty():
            sys.stderr.write("\r" + " " * 110 + "\r")

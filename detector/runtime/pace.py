"""Pace: let a replay take its time, as the events did.

Purpose: `--speed real` and `--speed 10x`: ranges are cut finer and handed on when their
event time has come.
Invariants: cuts change no outcome; only when it appears.
Limits: a step of event time beyond `GAP_MS_MAX` (a wrong clock, a hole in the log) is not
waited for. Granularity is a half second of waiting.
"""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from detector.frames import NUM, Frame
from detector.runtime.feed import Piece

GAP_MS_MAX = 86_400_000
STEP_S = 0.5


def _part(frame: Frame, first: int, stop: int) -> Frame:
    a, b = (int(x) for x in np.searchsorted(frame.positions, [first, stop]))
    return frame._replace(
        first=first,
        stop=stop,
        rejects=frame.rejects if first == frame.first else 0,
        ids=frame.ids[a:b],
        numbers=frame.numbers[a:b],
        positions=frame.positions[a:b],
        event_ids=frame.event_ids[a:b],
    )


class Pace:
    """Waits so that event time runs `factor` times as fast as the clock."""

    def __init__(
        self,
        factor: float,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start at the first event."""
        self.factor, self.clock_s, self.sleep = factor, clock_s, sleep
        self.start_s: float | None = None
        self.start_ms = self.reached_ms = 0

    def _await(self, time_ms: int) -> None:
        if self.start_s is None:
            self.start_s, self.start_ms, self.reached_ms = self.clock_s(), time_ms, time_ms
        if time_ms - self.reached_ms > GAP_MS_MAX:
            self.start_ms += time_ms - self.reached_ms
        self.reached_ms = max(self.reached_ms, time_ms)
        left_s = (time_ms - self.start_ms) / 1000 / self.factor - (self.clock_s() - self.start_s)
        if left_s > 0:
            self.sleep(left_s)

    def parts(self, piece: Piece) -> Iterator[Piece]:
        """Cut a range where event time moves on by a step, and hand the parts on in their time."""
        frames = [f for f in piece.frames if len(f.positions)]
        if not frames:
            yield piece
            return
        positions = np.concatenate([f.positions for f in frames])
        order = np.argsort(positions, kind="stable")
        positions = positions[order]
        times = np.maximum.accumulate(np.concatenate([f.numbers[:, NUM.TIME] for f in frames])[order])
        steps = times // max(1, int(STEP_S * 1000 * self.factor))
        at = [0, *(np.flatnonzero(steps[1:] != steps[:-1]) + 1).tolist()]
        edges = [piece.first, *positions[at[1:]].tolist(), piece.stop]
        for number, (first, stop) in enumerate(pairwise(edges)):
            self._await(int(times[at[number]]))
            rows = int(((positions >= first) & (positions < stop)).sum())
            yield piece._replace(
                first=first,
                stop=stop,
                frames=[_part(f, first, stop) for f in frames],
                rejects=piece.rejects if number == 0 else [],
                outside=piece.outside if number == 0 else 0,
                rows=rows,
                end_ms=int(times[np.searchsorted(positions, stop) - 1]),
            )

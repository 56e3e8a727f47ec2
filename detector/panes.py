"""Panes: per-source clocks, lateness, buffered rows, and the canonical order.

Purpose: turn frames, however they are cut and interleaved, into closed panes whose
rows stand in an order that depends on row content alone.
Invariants: a row is late if it is older than its own source's running maximum less
`lateness_ms`; a pane closes when the minimum over sources of (maximum less
lateness) has passed its end, so no row that is not late can miss its pane. An
event far ahead of what follows it never moves a clock. A range delivered twice is
trimmed; a hole is an error. Within a pane an `event_id` counts once. A row that states
its ingest time is held against that and waits for nothing.
Limits: beyond `rows_max` rows in memory those furthest ahead go to the store, if any; beyond
the judge's bound the oldest pane is forced closed and counted, and what still comes for it is
late. Sources are fixed at start, one not seen yet holds the watermark back, one that ended
goes on behind what passed. Ticks await lookaheads.
Source: watermarks and event time after Akidau et al., "The Dataflow Model" (VLDB 2015).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.frames import ID, NUM, Frame, unwire, wire
from detector.records import DetectorError
from detector.spill import Part, Store, gathered_by_source, own
from detector.vocabulary import RejectReason

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

NEVER = -(1 << 62)
# A row is ahead of its neighbours when most of the next rows lie more than the
# allowed skew before it: eight rows tell one wild clock from a quiet night.
LOOKAHEAD_ROWS = 8
# A last row has no followers; further than this ahead of its predecessor it is a wrong clock.
LONELY_AHEAD_MS = 30 * 86_400_000
# When rows leave memory a quarter of the bound goes at once, so that each costs little.
KEPT_SHARE = 0.75


class GapError(DetectorError):
    """A source's frames do not join: events would be lost."""


class Source:
    """One source partition's clock and position (the state of a watermark)."""

    __slots__ = ("ended", "max_ms", "pending", "stop")

    def __init__(self) -> None:
        """Start before all events, at an unknown position."""
        self.max_ms = NEVER
        self.stop = -1
        self.ended = False
        self.pending: list[tuple[Frame, int]] = []  # frames whose rows from an index on await their lookahead


class Refused(NamedTuple):
    """Rows that were not applied: late, duplicate or future_time, by position."""

    source: str
    position: int
    reason: RejectReason


class Away(NamedTuple):
    """Rows of one source and pane that are in the store."""

    source: str
    rows: int
    handle: int


class Pane(NamedTuple):
    """The rows of one closed pane in canonical order."""

    end_ms: int
    ids: U64  # (rows, IDS)
    numbers: I64  # (rows, NUMBERS)
    parts: list[Part]
    order: I64  # canonical row -> row of the concatenated parts

    def origin(self, row: int) -> tuple[Frame, int]:
        """Find the frame, and the row in it, of a canonical row."""
        at = int(self.order[row])
        for frame, start, stop in self.parts:
            if at < stop - start:
                return frame, start + at
            at -= stop - start
        raise IndexError(f"row {row} is beyond the pane's {len(self.order)} rows")

    def names_of(self, keys: U64, rows: I64) -> list[bytes | None]:
        """Look digests up, each in the dictionary of the frame that its canonical row came from."""
        out: list[bytes | None] = [None] * keys.size
        if len(self.parts) == 1:
            _look_up(self.parts[0][0], keys, np.arange(keys.size), out)
            return out
        ends = np.cumsum([stop - start for _, start, stop in self.parts])
        parts = np.searchsorted(ends, self.order[rows], side="right")
        for part in np.flatnonzero(np.bincount(parts)).tolist():
            _look_up(self.parts[part][0], keys, np.flatnonzero(parts == part), out)
        return out

    def event_id(self, row: int) -> str:
        """Name the event of a canonical row."""
        frame, at = self.origin(row)
        return str(frame.event_ids[at].as_py())


def _look_up(frame: Frame, keys: U64, wanted: I64, out: list[bytes | None]) -> None:
    """Write the names of `keys[wanted]` that a frame's dictionary holds."""
    if not frame.name_digests.size:
        return
    at = np.minimum(np.searchsorted(frame.name_digests, keys[wanted]), frame.name_digests.size - 1)
    known = frame.name_digests[at] == keys[wanted]
    places = at[known]
    # The bytes as they lie: a scalar of Arrow for each name would take ten times as long.
    _, offsets, data = frame.names.buffers()
    if data is None:
        return
    ends = np.frombuffer(offsets, np.int32)[frame.names.offset :]
    text = memoryview(data)
    starts, stops = ends[places].tolist(), ends[places + 1].tolist()
    for i, start, stop in zip(wanted[known].tolist(), starts, stops, strict=True):
        out[i] = bytes(text[start:stop])


class PaneBuffer:
    """Buffered rows by pane, and the clocks of the sources."""

    def __init__(
        self,
        sources: tuple[str, ...],
        *,
        pane_ms: int,
        lateness_ms: int,
        skew_ms_max: int,
        store: Store | None = None,
    ) -> None:
        """Fix the set of sources; each holds the watermark until it is seen or ended."""
        self.pane_ms, self.lateness_ms, self.skew_ms_max = pane_ms, lateness_ms, skew_ms_max
        self.store = store
        self.sources = {name: Source() for name in sorted(sources)}
        self.panes: dict[int, list[Part]] = {}
        self.away: dict[int, list[Away]] = {}
        self.rows_away = 0
        self.closed_ms = NEVER  # end of the last closed pane
        self.forced_ms = NEVER  # end of the last pane that was closed before its time
        self.rows = 0  # in memory and away
        self.late = 0
        self.late_by_pane: dict[int, int] = {}  # by the pane that was current when they came; open ones only
        self.forced = 0
        self.refused: list[Refused] = []

    def watermark_ms(self) -> int:
        """Nothing earlier than this will be applied any more."""
        clocks = [s.max_ms for s in self.sources.values() if not s.ended]
        if not clocks:
            return max((s.max_ms for s in self.sources.values()), default=NEVER) + self.pane_ms + self.lateness_ms
        return min(clocks) - self.lateness_ms if min(clocks) > NEVER else NEVER

    def add(self, frame: Frame) -> None:
        """Buffer a frame's rows. Raises `GapError` when it does not join its source's last one."""
        source = self.sources.get(frame.source)
        if source is None:
            raise GapError(f"frame of unknown source {frame.source!r}; known: {', '.join(self.sources)}")
        if 0 <= source.stop < frame.first:
            raise GapError(
                f"{frame.source}: frames end at {source.stop}, the next begins at {frame.first}: rows are missing"
            )
        if frame.stop <= source.stop:
            return
        skip = int(np.searchsorted(frame.positions, source.stop)) if frame.first < source.stop else 0
        source.stop = frame.stop
        if len(frame.positions) > skip:
            if source.ended:  # the end came too early: what passed without this source passed before its time
                passed_ms = self.watermark_ms() // self.pane_ms * self.pane_ms
                self.forced_ms = max(self.forced_ms, self.closed_ms, passed_ms)
                source.ended = False
            source.pending.append((frame, skip))
            self._settle(frame.source, source, final=False)

    def tick(self, source_name: str, time_ms: int) -> None:
        """Advance an idle source: nothing before `time_ms` will come from it."""
        source = self.sources[source_name]
        if not source.pending:
            source.max_ms = max(source.max_ms, time_ms)

    def end(self, source_name: str) -> None:
        """Close a source: its held rows are decided and it no longer holds the watermark."""
        source = self.sources[source_name]
        self._settle(source_name, source, final=True)
        source.ended = True

    def _settle(self, name: str, source: Source, *, final: bool) -> None:
        """Decide the pending rows whose lookahead is complete."""
        if not source.pending:
            return
        times = np.concatenate([f.numbers[at:, NUM.TIME] for f, at in source.pending])
        total = times.size
        ready = total if final else max(0, total - LOOKAHEAD_ROWS)
        # Rows with an ingest time are held against that, so they need not wait for followers.
        unstamped = np.concatenate([f.numbers[at:, NUM.INGEST] for f, at in source.pending])[ready:] < 0
        ready += int(np.argmax(unstamped)) if unstamped.any() else unstamped.size
        if ready == 0:
            return
        ahead = _ahead(times, ready, self.skew_ms_max, final=final)
        if final:
            before = max(source.max_ms, int(times[:-1][~ahead[:-1]].max(initial=NEVER)))
            ahead[-1] |= before > NEVER and int(times[-1]) > before + LONELY_AHEAD_MS
        rest: list[tuple[Frame, int]] = []
        done = 0
        for frame, at in source.pending:
            rows = len(frame.positions) - at
            take = min(rows, max(0, ready - done))
            if take:
                self._apply(name, source, frame, at, at + take, ahead[done : done + take])
            if take < rows:
                rest.append((frame, at + take))
            done += rows
        source.pending = rest

    def _apply(
        self, name: str, source: Source, frame: Frame, start: int, stop: int, ahead: npt.NDArray[np.bool_]
    ) -> None:
        times = frame.numbers[start:stop, NUM.TIME]
        ingest = frame.numbers[start:stop, NUM.INGEST]
        bad = np.where(ingest >= 0, times > ingest + self.skew_ms_max, ahead)
        clock = np.maximum.accumulate(np.concatenate([[source.max_ms], np.where(bad, NEVER, times)]))
        late = ~bad & (times < np.maximum(clock[:-1] - self.lateness_ms, self.forced_ms))
        source.max_ms = int(clock[-1])
        dropped = bad | late
        if dropped.any():
            self.late += int(late.sum())
            for pane, n in zip(*np.unique(clock[:-1][late] // self.pane_ms, return_counts=True), strict=True):
                self.late_by_pane[int(pane)] = self.late_by_pane.get(int(pane), 0) + int(n)
            for i in np.flatnonzero(dropped).tolist():
                reason: RejectReason = "late" if late[i] else "future_time"
                self.refused.append(Refused(name, int(frame.positions[start + i]), reason))
        panes = times // self.pane_ms
        if not dropped.any() and (panes.size < 2 or bool((panes[1:] >= panes[:-1]).all())):
            cuts = [0, *(np.flatnonzero(panes[1:] != panes[:-1]) + 1).tolist(), panes.size]
            for a, b in pairwise(cuts):
                self._put(int(panes[a]), frame, start + a, start + b)
            return
        keep = np.flatnonzero(~dropped)
        keep = keep[np.argsort(panes[keep], kind="stable")]
        if keep.size == 0:
            return
        at = keep + start
        moved = frame._replace(
            ids=frame.ids[at],
            numbers=frame.numbers[at],
            positions=frame.positions[at],
            event_ids=frame.event_ids.take(at),
        )
        panes = panes[keep]
        cuts = [0, *(np.flatnonzero(panes[1:] != panes[:-1]) + 1).tolist(), panes.size]
        for a, b in pairwise(cuts):
            self._put(int(panes[a]), moved, a, b)

    def _put(self, pane: int, frame: Frame, start: int, stop: int) -> None:
        self.panes.setdefault(pane, []).append((frame, start, stop))
        self.rows += stop - start

    def put_away(self, *, rows_max: int) -> None:
        """Where more than `rows_max` rows are in memory, move those furthest in the future to the store."""
        if self.store is None or self.rows - self.rows_away <= rows_max:
            return
        blocks: list[tuple[int, str, int, bytes]] = []
        touched: set[int] = set()
        kept = self.rows - self.rows_away
        for pane in sorted(self.panes, reverse=True):
            if kept <= rows_max * KEPT_SHARE:
                break
            leaving = self.panes.pop(pane)
            touched |= {id(frame) for frame, _, _ in leaving}
            for source, frame in gathered_by_source(leaving):
                blocks.append((pane, source, len(frame.positions), wire(frame)))
                kept -= len(frame.positions)
        for (pane, source, rows, _), handle in zip(blocks, self.store.put([b[-1] for b in blocks]), strict=True):
            self.away.setdefault(pane, []).append(Away(source, rows, handle))
            self.rows_away += rows
        # A frame lives as long as one part of it: what stays of those gets memory of its own.
        for parts in self.panes.values():
            parts[:] = [own(part) if id(part[0]) in touched else part for part in parts]

    def open_panes(self) -> list[int]:
        """List the panes with rows, in order."""
        return sorted({*self.panes, *self.away})

    def parts_of(self, pane: int) -> list[Part]:
        """The rows of a pane, also those that are away, as parts that stand by source and position."""
        parts = list(self.panes.get(pane, ()))
        for held in self.away.get(pane, ()):
            assert self.store is not None, "rows are away, and there is no store"
            parts.append((unwire(self.store.get(held.handle)), 0, held.rows))
        # So that of equal rows the same one is the repeat however they came.
        return sorted(parts, key=lambda part: (part[0].source, int(part[0].positions[part[1]])))

    def closable(self) -> list[int]:
        """List the panes with rows, in order, whose end the watermark has passed."""
        mark = self.watermark_ms() // self.pane_ms
        return [p for p in self.open_panes() if p < mark]

    def force(self) -> int:
        """Name the oldest pane, to be closed before its time; its rows still to come will be late."""
        pane = min(self.open_panes())
        self.forced += 1
        self.forced_ms = (pane + 1) * self.pane_ms
        return pane

    def close(self, pane: int) -> Pane:
        """Take a pane's rows out, in canonical order, each event once."""
        parts = self.parts_of(pane)
        self.panes.pop(pane, None)
        away = self.away.pop(pane, [])
        if away and self.store is not None:
            self.rows_away -= sum(held.rows for held in away)
            self.store.drop([held.handle for held in away])
        ids = (
            parts[0][0].ids[parts[0][1] : parts[0][2]]
            if len(parts) == 1
            else np.concatenate([f.ids[a:b] for f, a, b in parts])
        )
        numbers = (
            parts[0][0].numbers[parts[0][1] : parts[0][2]]
            if len(parts) == 1
            else np.concatenate([f.numbers[a:b] for f, a, b in parts])
        )
        self.rows -= len(ids)
        order, doubled = canonical_order(ids, numbers, start_ms=pane * self.pane_ms)
        end_ms = (pane + 1) * self.pane_ms
        closed = Pane(end_ms, np.take(ids, order, axis=0), np.take(numbers, order, axis=0), parts, order)
        if doubled.size:
            repeats = closed._replace(order=doubled)
            for i in range(doubled.size):
                frame, at = repeats.origin(i)
                self.refused.append(Refused(frame.source, int(frame.positions[at]), "duplicate"))
        self.closed_ms = end_ms
        return closed

    def take_late(self, pane: int) -> int:
        """Take the number of rows that came late while `pane` or an earlier one was current."""
        return sum(self.late_by_pane.pop(p) for p in [p for p in self.late_by_pane if p <= pane])

    def take_refused(self) -> list[Refused]:
        """Hand over the refused rows seen since the last call."""
        refused, self.refused = self.refused, []
        return refused


def _ahead(times: I64, ready: int, skew_ms: int, *, final: bool) -> npt.NDArray[np.bool_]:
    """Mark rows that lie beyond the skew ahead of most of the next `LOOKAHEAD_ROWS` rows."""
    behind = np.zeros(ready, np.int64)
    followers = np.full(ready, LOOKAHEAD_ROWS, np.int64)
    for k in range(1, LOOKAHEAD_ROWS + 1):
        n = max(0, min(ready, times.size - k))
        behind[:n] += times[k : k + n] < times[:n] - skew_ms
    if final:
        followers = np.minimum(followers, times.size - 1 - np.arange(ready))
    return (behind * 2 > followers) & (followers > 0)


def canonical_order(ids: U64, numbers: I64, *, start_ms: int) -> tuple[I64, I64]:
    """Order rows by (time, event digest, row digest); returns (kept rows, repeats of an event).

    Time within a pane and the top bits of the event digest fit one 64-bit key; only
    when two keys are equal are the full keys compared.
    """
    events = ids[:, ID.EVENT]
    offset = (numbers[:, NUM.TIME] - start_ms).astype(np.uint64)
    key = (offset << np.uint64(40)) | (events >> np.uint64(24))
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    if ranked.size > 1 and bool((ranked[1:] == ranked[:-1]).any()):
        order = np.lexsort((ids[:, ID.ROW], events, numbers[:, NUM.TIME]))
    by_event = np.sort(events)
    if by_event.size < 2 or not bool((by_event[1:] == by_event[:-1]).any()):
        return order, np.zeros(0, np.int64)
    _, first = np.unique(events[order], return_index=True)
    kept = np.zeros(order.size, np.bool_)
    kept[first] = True
    return order[kept], order[~kept]

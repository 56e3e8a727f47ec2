"""Law 7: whatever comes, rows, bytes and open panes stay under their bounds, and what is dropped is counted."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.cases import RECENT_ROWS_MAX
from detector.judge import Judge
from detector.link_columns import SMALL_K
from detector.snapshot import restore, snapshot
from tests.laws.streams import KEY, MINUTE_MS, START_MS, TIGHT, Range, Stream, feed, hostile, judge_for

LAW = settings(deadline=None, derandomize=True, max_examples=12)
BUFFERED_MAX = 2_000
BOUNDED = msgspec.structs.replace(TIGHT, rows_buffered_max=BUFFERED_MAX, rows_spilled_max=0)


def bytes_of(judge: Judge) -> int:
    """All that the tables' arrays hold."""
    held = [judge.accounts, judge.links, judge.population]
    arrays = [a for part in held for a in vars(part).values() if isinstance(a, np.ndarray)]
    arrays += [*judge.links.small.arrays, *judge.links.large.arrays, *judge.links.sketches.values()]
    arrays += [judge.accounts.index.keys, judge.links.index.keys]
    return sum(a.nbytes for a in arrays)


def hold_bounds(judge: Judge) -> None:
    for index in (judge.accounts.index, judge.links.index):
        assert index.live() <= index.used <= index.rows_max
        assert len(index.names) == index.used
        assert len(index.free) == int((index.keys[: index.used] == 0).sum())
        assert index.slot_keys.size <= max(4_096, 8 * index.rows_max)
    assert judge.accounts.n_touched <= TIGHT.tables.accounts_max
    assert 0 <= judge.links.free[0] <= TIGHT.tables.promoted_max
    assert judge.links.small.columns.sizes.max() <= SMALL_K
    assert judge.buffer.rows <= BUFFERED_MAX
    assert sum(len(p.order) for p in judge.cases.recent.panes) <= RECENT_ROWS_MAX
    assert judge.buffer.rows == sum(b - a for parts in judge.buffer.panes.values() for _, a, b in parts)


@LAW
@given(
    accounts=st.integers(1, 8_000),
    sharing=st.integers(1, 60),
    step_ms=st.sampled_from([0, 3, 40, 5_000]),
    frame_rows=st.integers(100, 1_900),
)
def test_a_flood_of_accounts_stays_within_the_tables(
    accounts: int, sharing: int, step_ms: int, frame_rows: int
) -> None:
    rows = 8_000
    stream = Stream({"s-0": hostile(np.arange(rows) % accounts, sharing=sharing, step_ms=step_ms)})
    judge = judge_for(stream, settings=BOUNDED)
    size = bytes_of(judge)
    for first in range(0, rows, frame_rows):
        list(feed(judge, stream, [Range("s-0", first, min(first + frame_rows, rows))]))
        hold_bounds(judge)
        assert bytes_of(judge) == size
    judge.end("s-0")
    hold_bounds(judge)
    # Nothing is lost unsaid: every row was folded, or refused and named.
    assert judge.events + len(judge.take_refused()) == rows
    folded = int(judge.accounts.stats[:, 5].sum())
    seen = judge.accounts.index.live() + judge.accounts.evicted
    assert folded <= judge.events
    assert seen + judge.accounts.dropped >= min(accounts, judge.events)
    again = restore(snapshot(judge, key=KEY), settings=BOUNDED, key=KEY)
    hold_bounds(again)


def test_a_full_buffer_closes_the_oldest_pane_and_counts_it() -> None:
    # The second source never comes, so nothing else would ever close a pane.
    rows = 10_000
    flood, nothing = hostile(np.arange(rows) % 50, sharing=5, step_ms=600), hostile(np.arange(0), sharing=1, step_ms=1)
    stream = Stream({"s-0": flood, "s-1": nothing})
    judge = judge_for(stream, settings=BOUNDED)
    for first in range(0, rows, 500):
        list(feed(judge, stream, [Range("s-0", first, first + 500)]))
        hold_bounds(judge)
    assert judge.buffer.forced > 0
    assert judge.events + judge.buffer.rows == rows - 8  # eight rows await their followers
    assert judge.buffer.late == 0


def test_what_comes_for_a_pane_forced_closed_is_late_and_counted() -> None:
    rows = 4_000
    flood = hostile(np.arange(rows) % 50, sharing=5, step_ms=600)
    tardy = hostile(np.arange(100) % 50, sharing=5, step_ms=500, from_ms=START_MS + 1)
    stream = Stream({"s-0": flood, "s-1": tardy})
    judge = judge_for(stream, settings=BOUNDED)
    list(feed(judge, stream, [Range("s-0", 0, rows), Range("s-1", 0, 100)]))
    judge.end("s-1")
    refused = judge.take_refused()
    assert judge.buffer.forced > 0
    assert {(r.source, r.reason) for r in refused} == {("s-1", "late")}
    assert len(refused) == judge.buffer.late == 100
    assert judge.buffer.forced_ms >= START_MS + MINUTE_MS

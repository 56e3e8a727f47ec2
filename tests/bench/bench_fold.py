"""The whole fold: microseconds per event of `Judge.apply` on frames that are already encoded.

Floor: `numpy.add.at` of one to a table row for the account and for each link key of the same
frames: the memory that any fold has to touch, without finding where.
Measured: `Judge.apply`, that is watermark, panes, canonical order, duplicates, admission, both
tables, matching, discovery (every 60 s of event time, all signatures that the record's fields
allow, the population model) and decisions; dense at 20,000 events per second of event time, on
the thin, bench and full records, with about 10,000 and about a million live links (uniform:
no link is hotter than another), in the settings as shipped. `history`: newcomers among
accounts and links as the log grows; the cost of a span at ten times the history beside one at
the start. Processor time, so that a busy machine shows less.
Not measured: encoding, the wire form, files; the first pass over the links, which fills the
tables (printed, not held against a bar).
Run: `python -m tests.bench.bench_fold [--full] [--only bench] [--profile]`.
"""

import argparse
import time
from collections.abc import Iterable, Iterator

from detector.config import Settings
from detector.frames import Frame
from detector.judge import Judge
from tests.bench import floors, traffic
from tests.bench.measure import arguments, at_most, best_seconds, figure, headline, number, profiled

PER_SECOND = 20_000
SPAN_MS = 10_000
LAP_ROWS = PER_SECOND * SPAN_MS // 1000
LINKS = ((10_000, 100_000, 3.0), (1_000_000, 1_000_000, 8.0))  # live links, accounts, bar in us
QUICK_LINKS = 1_000_000  # with so many, the other records wait for --full
LAPS_TIMED = (6, 12)  # of 10 s: one discovery, two
HISTORY = (40_000, 200_000)  # rows of one minute
HISTORY_MINUTES = 2
FRESH = 0.05


def judge() -> Judge:
    """An empty judge of one source, in the settings as shipped."""
    return Judge(traffic.TENANT, (traffic.SOURCE,), Settings())


def laps(base: list[list[Frame]], *, first: int, count: int) -> Iterator[list[Frame]]:
    """The base laps over and over, each time as later events."""
    rows, span_ms = LAP_ROWS * len(base), SPAN_MS * len(base)
    for lap in range(first, first + count):
        turn, which = divmod(lap, len(base))
        yield [traffic.later(f, lap=turn, rows=rows, span_ms=span_ms) for f in base[which]]


def fold_seconds(held: Judge, frames: Iterable[Frame]) -> float:
    """Apply frames and hand their outputs over; processor time of it (the fold has one thread)."""
    start = time.process_time()
    for frame in frames:
        held.apply(frame)
    held.take_outputs()
    held.take_refused()
    return time.process_time() - start


def dense(name: str, options: argparse.Namespace, *, links: int, accounts: int, bar_us: float) -> None:
    """Print the fold's cost per event on one record with about so many live links."""
    shared = max(links // traffic.shared_columns(name), 1)
    mix = traffic.Mix(accounts=accounts, shared=shared, per_second=PER_SECOND)
    # Enough distinct rows to show every account, and each value to several of them.
    turns = max(2, min(10, 8 * shared // LAP_ROWS + 1), accounts // LAP_ROWS)
    base = [list(traffic.frames(name, mix, rows=LAP_ROWS, first=n * LAP_ROWS)) for n in range(turns)]
    floor_s = best_seconds(lambda: floors.touches(base[0]), passes=2) / LAP_ROWS
    held = judge()
    filled_s = sum(fold_seconds(held, frames) for frames in laps(base, first=0, count=max(turns, 6)))
    timed = LAPS_TIMED[options.full]
    rows, took_s = 0, 0.0
    with profiled(on=options.profile):
        for frames in laps(base, first=max(turns, 6), count=timed):
            took_s += fold_seconds(held, frames)
            rows += LAP_ROWS
    cost_s = took_s / rows
    title = f"{name} record, {traffic.link_keys(name)} link keys, {number(held.links.index.live())} live links"
    figure(title, cost_s * 1e6, "us/event", ratio=cost_s / floor_s, bar=at_most(bar_us))
    pools = int((held.links.pools[:, 3] > 0).sum())
    filling_us = filled_s / max(turns, 6) / LAP_ROWS * 1e6
    print(
        f"    accounts {held.accounts.index.live():,}, pools {pools:,}, timed {rows:,} events, "
        f"floor {floor_s * 1e6:.3f} us/event, filling the tables {filling_us:.2f} us/event"
    )


def history(options: argparse.Namespace) -> None:
    """Print the cost per event after ten times the history beside that at its start."""
    minute = HISTORY[options.full]
    mix = traffic.Mix(accounts=5_000, shared=400, per_second=minute // 60, fresh=FRESH)
    headline("ten times the history, bench record", events_per_minute=minute, new_accounts_per_event=FRESH)
    held, costs = judge(), []
    for number_ in range(10 * HISTORY_MINUTES):
        frames = list(traffic.frames("bench", mix, rows=minute, first=number_ * minute))
        costs.append(fold_seconds(held, frames) / minute)
        if number_ + 1 == HISTORY_MINUTES:
            early = (held.accounts.index.live(), held.links.index.live())
    first, last = min(costs[1 : 1 + HISTORY_MINUTES]), min(costs[-HISTORY_MINUTES:])
    late = (held.accounts.index.live(), held.links.index.live())
    print(f"    accounts {early[0]:,} -> {late[0]:,}, links {early[1]:,} -> {late[1]:,}")
    figure(f"at {number(HISTORY_MINUTES * minute)} events", first * 1e6, "us/event")
    figure(f"at {number(10 * HISTORY_MINUTES * minute)} events", last * 1e6, "us/event")
    figure("  ratio", last / first, "", bar=at_most(1.2))


def main() -> None:
    """Print the fold's cost, dense and over history."""
    options = arguments(__doc__)
    for links, accounts, bar_us in LINKS:
        headline(f"dense, about {links:,} live links", accounts=accounts, per_second=PER_SECOND)
        for name in traffic.RECORDS:
            few = name == "bench" or links < QUICK_LINKS
            if name.startswith(options.only) and (few or options.full):
                dense(name, options, links=links, accounts=accounts, bar_us=bar_us)
    if "history".startswith(options.only):
        history(options)


if __name__ == "__main__":
    main()

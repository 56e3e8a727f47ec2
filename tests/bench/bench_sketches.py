"""Nanoseconds per sketch update, as a ratio to a plain NumPy column add of the same run.

Floor: `numpy.add.at(totals, rows, weights)`, one integer added to one row per event.
Run: `python -m tests.bench.bench_sketches [--full] [--events N] [--rows N]`.
Each figure is the best of five passes over the same columns, after a first that
compiles and fills the sketches: so this is the steady state, and with many rows
mostly the price of memory. Compare ratios, not figures of other runs.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.sketches import bottom_k, count_min, histogram, hyperloglog, space_saving

PASSES = 5


class Columns(NamedTuple):
    """The events: which row, which item, which value."""

    rows: npt.NDArray[np.int64]
    distinct: npt.NDArray[np.uint64]
    repeated: npt.NDArray[np.uint64]
    values: npt.NDArray[np.int64]
    weights: npt.NDArray[np.int64]


def columns(events: int, *, rows: int) -> Columns:
    """Draw seeded columns; `repeated` has eight items for each row."""
    rng = np.random.default_rng(1)
    at = rng.integers(0, rows, events)
    mixed = (at.astype(np.uint64) * np.uint64(8) + rng.integers(1, 9, events).astype(np.uint64)) * np.uint64(
        0xD1342543DE82EF95
    )
    return Columns(
        rows=at,
        distinct=rng.integers(1, 2**64, events, np.uint64),
        repeated=mixed,
        values=rng.lognormal(6, 1.5, events).astype(np.int64),
        weights=np.ones(events, np.int64),
    )


def best_seconds(work: Callable[[], object]) -> float:
    """Best of some passes; the first, which compiles and fills the sketch, does not count."""
    work()
    times = []
    for _ in range(PASSES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def cases(c: Columns, *, rows: int) -> dict[str, Callable[[], object]]:
    """Each sketch under steady load, by the name that is printed."""
    found: dict[str, Callable[[], object]] = {}
    for m in (64, 1024):
        registers = hyperloglog.empty(max(1, rows * 64 // m), registers=m)
        at = c.rows % registers.shape[0]
        found[f"hyperloglog, {m} registers"] = lambda registers=registers, at=at: hyperloglog.add_column(
            registers, rows=at, digests=c.distinct
        )
    for k in (16, 128):
        for name, digests in (("new items", c.distinct), ("eight items a row", c.repeated)):
            column = bottom_k.empty(max(1, rows * 16 // k), k=k)
            at = c.rows % column.sizes.size
            found[f"bottom-k, k = {k}, {name}"] = lambda column=column, at=at, digests=digests: bottom_k.add_column(
                column, rows=at, digests=digests, weights=c.weights
            )
    for width in (2048, 1 << 20):
        cells = count_min.empty(depth=4, width=width)
        found[f"count-min, 4 x {width}"] = lambda cells=cells: count_min.add_column(
            cells, digests=c.distinct, weights=c.weights
        )
    bins = histogram.empty(rows, bins=40)
    found["histogram, 40 half octaves"] = lambda: histogram.add_column(
        bins, rows=c.rows, values=c.values, weights=c.weights
    )
    found["log2 to 1/256"] = lambda: histogram.log2_column(c.values)
    heavy = space_saving.empty(rows, k=16)
    found["space-saving, k = 16, new items"] = lambda: space_saving.add_column(
        heavy, rows=c.rows, digests=c.distinct, weights=c.weights
    )
    return found


def main() -> None:
    """Print the floor and each sketch's cost beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ten million events")
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    events = arguments.events or (10_000_000 if arguments.full else 1_000_000)
    c = columns(events, rows=arguments.rows)
    totals = np.zeros(arguments.rows, np.int64)
    floor = best_seconds(lambda: np.add.at(totals, c.rows, c.weights))
    print(f"{events:,} events over {arguments.rows:,} rows")
    print(f"{'NumPy column add (the floor)':36} {floor / events * 1e9:7.1f} ns   1.0")
    for name, work in cases(c, rows=arguments.rows).items():
        seconds = best_seconds(work)
        print(f"{name:36} {seconds / events * 1e9:7.1f} ns {seconds / floor:5.1f}")


if __name__ == "__main__":
    main()

"""Resident memory of a judge that knows a million accounts and a million links.

Floor: the same process with everything imported and an empty judge, whose tables are reserved
but not yet touched.
Measured: a fresh process that folds bench events (`Judge.apply`, settings as shipped) until
both tables are full, with the strings of every account and link that has one, the key maps,
the admission gate, every pool row and the panes under way; read from the kernel's own
counters, now and at most.
Not measured: the workers that decode (bench_replay prints theirs); buffered hours of a source
that runs ahead.
Run: `python -m tests.bench.bench_memory [--full] [--accounts N] [--links N]`.
"""

import argparse
from typing import NamedTuple

from detector.config import Settings
from detector.judge import Judge
from tests.bench import traffic
from tests.bench.measure import GIB, Memory, arguments, at_most, figure, headline, in_child, memory

ROWS = 1_000_000  # of each table; --full changes nothing here: less would say nothing
PER_SECOND = 20_000
EVENTS_PER_ACCOUNT = 2


class Held(NamedTuple):
    """What the process held at the end, and at the start."""

    empty: Memory
    end: Memory
    accounts: int
    links: int
    pools: int
    names: int  # bytes of the strings alone
    events: int


def fill(accounts: int, links: int) -> Held:
    """Fold events until the tables hold so much."""
    held = Judge(traffic.TENANT, (traffic.SOURCE,), Settings())
    empty = memory()
    mix = traffic.Mix(accounts=accounts, shared=links // traffic.shared_columns("bench"), per_second=PER_SECOND)
    for frame in traffic.frames("bench", mix, rows=accounts * EVENTS_PER_ACCOUNT):
        held.apply(frame)
        held.take_outputs()
        held.take_refused()
    held.end(traffic.SOURCE)
    names = sum(len(n) for index in (held.accounts.index, held.links.index) for n in index.names if n is not None)
    pools = held.links.pools.shape[0] - int(held.links.free[0])
    live = (held.accounts.index.live(), held.links.index.live())
    return Held(empty, memory(), *live, pools, names, held.events)


def main() -> None:
    """Print what the full judge holds."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--accounts", type=int, default=ROWS)
        parser.add_argument("--links", type=int, default=ROWS)

    options = arguments(__doc__, own)
    made = Held(*in_child(fill, options.accounts, options.links))
    headline(
        f"bench record: {traffic.link_keys('bench')} link keys per event", events=made.events, accounts=made.accounts,
        links=made.links, pools=made.pools, bytes_of_names=made.names,
    )  # fmt: skip
    empty, end = Memory(*made.empty), Memory(*made.end)
    figure("resident with an empty judge (the floor)", empty.now / GIB, "GiB", ratio=1.0)
    # The bar says GB: 10**9 bytes.
    figure("resident at the end", end.now / 1e9, "GB", ratio=end.now / empty.now, bar=at_most(3.0))
    figure("resident at most", end.peak / 1e9, "GB", ratio=end.peak / empty.now, bar=at_most(3.0))


if __name__ == "__main__":
    main()

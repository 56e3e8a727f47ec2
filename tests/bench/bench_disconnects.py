"""An enforcer through a thousand random disconnects from a real broker.

Bar: no lease that is stale, none that is missing, nothing flushed at a cut; and how soon it knows all again.
Measured: the time from the end of a cut, and what was written meanwhile, to every key's newest record.
Run: `python -m tests.bench.bench_disconnects [--full] [--rounds N] [--seed N]`.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np

from detector.config import Settings
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topics import create_topics
from tests.bench.measure import arguments, figure, headline
from tests.integration import brokers
from tests.integration.disconnects import endure


def main() -> None:
    """Cut, and print what came of it."""
    given = arguments(__doc__, options)
    rounds = given.rounds or (1_000 if given.full else 100)
    logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder, brokers.provided(Path(folder), said) as bootstrap:
        headline("an enforcer's disconnects", rounds=rounds, seed=given.seed)
        if bootstrap is None:
            print("; ".join(said))
            return
        connection = Connection(bootstrap=bootstrap)
        create_topics(connection, Settings())
        done = endure(connection, rounds=rounds, seed=given.seed)
    print(f"{done.rounds} disconnects, {done.connections} connections, {done.records} records written meanwhile")
    print(f"stale leases: {done.stale}; missing leases: {done.missing}; changed by a cut: {done.flushed}")
    for q in (0.5, 0.99, 1.0):
        figure(f"everything known again: p{q * 100:.0f}", float(np.quantile(done.recovered_s, q)), "s")


def options(parser: argparse.ArgumentParser) -> None:
    """This bench's own options."""
    parser.add_argument("--rounds", type=int, default=0, help="how often to cut")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")


if __name__ == "__main__":
    main()

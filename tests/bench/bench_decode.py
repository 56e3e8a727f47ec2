"""JSON lines in Zstandard through two workers, against one core that decodes the same bytes.

Floor: one core that decompresses the file and decodes each line into a typed struct with all
fields of `access.v1` (msgspec, lines in blocks, structs dropped): no check beyond types, no
columns, no digests.
Measured: `detector.runtime.feed.pieces` with two workers (read, decompress, cut, decode,
check, digest, frame, hand over), and the whole `replay`, judge and files included, dense at
20,000 events per second of event time. The rate leaves out the start of the worker processes
and the first and last blocks; the rate of the whole run stands beside it, and the processor
time of all processes, which a busy machine does not distort.
Not measured: gzip, plain text, Parquet and raw text (bench_replay has the last two).
Run: `python -m tests.bench.bench_decode [--full] [--events N] [--only bench] [--logs DIR]`.
"""

import argparse
from pathlib import Path

from tests.bench import floors, traffic
from tests.bench.measure import Pace, arguments, at_least, best_seconds, figure, folder, headline, number
from tests.bench.runs import feed_pace, fresh_replay, print_pace, write_log

SIZES = {"thin": (600_000, 4_000_000), "bench": (300_000, 1_500_000), "full": (150_000, 1_200_000)}
SHORT = 10_000
MIX = traffic.Mix(accounts=50_000, shared=400, per_second=20_000)


def record(name: str, options: argparse.Namespace, at: Path, *, short: tuple[Pace, Pace]) -> None:
    """Print the figures of one record."""
    events = options.events or SIZES[name][options.full]
    path = write_log(at / f"{name}-{events}.jsonl.zst", traffic.batches(name, MIX, rows=events))
    headline(
        f"{name} record: {traffic.link_keys(name)} link keys per event", events=events, accounts=MIX.accounts,
        per_second=MIX.per_second, compressed_bytes_per_event=path.stat().st_size // events,
    )  # fmt: skip
    kind = floors.access_struct()
    assert floors.typed_decode(path, kind) == events
    floor = events / best_seconds(lambda: floors.typed_decode(path, kind), passes=2)
    figure("one core, typed structs (the floor)", floor, "events/s", ratio=1.0)
    print_pace("feed, 2 workers", feed_pace(path), short=short[0], floor=floor, ratio_bar=at_least(0.5))
    run = fresh_replay(path, out=at / "out", profile=options.profile)
    title = f"replay, 2 workers, {number(run.links)} live links"
    print_pace(title, run.pace, short=short[1], floor=floor, ratio_bar=at_least(0.5))


def main() -> None:
    """Print every record's figures."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--events", type=int, default=0, help="events of each log")
        parser.add_argument("--logs", type=Path, default=None, help="keep the logs here, and use those that are there")

    options = arguments(__doc__, own)
    with folder(options.logs) as at:
        few = write_log(at / "short.jsonl.zst", traffic.batches("full", MIX, rows=SHORT))
        short = (feed_pace(few), fresh_replay(few, out=at / "out").pace)
        for name in traffic.RECORDS:
            if name.startswith(options.only):
                record(name, options, at, short=short)


if __name__ == "__main__":
    main()

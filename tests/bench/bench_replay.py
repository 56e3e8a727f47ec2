"""Replay with two workers: Parquet dense, Parquet at the letter's density, raw text.

Floors: for Parquet, one core reading all columns of the same file into memory; for raw text,
one core decoding the same compressed lines into typed structs.
Measured: the whole `replay` in a process of its own: reading, encoding, the judge with every
signature and the population model at its cadence, and the files. `dense`: the thin record at
20,000 events per second of event time. `letter`: the generator's templated harvest over its
benign population at 15 events per second, three days with --full (fewer otherwise, at the same
density), fingerprints of real texts in every event; its first tenth of events beside its last.
`raw`: published prompts of about 1.4 KB, no outputs, fingerprinted on the way, dense.
Not measured: making the logs; JSON lines with fingerprints (bench_decode); several inputs.
Run: `python -m tests.bench.bench_replay [--full] [--events N] [--only letter] [--profile] [--logs DIR]`.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import orjson
import pyarrow as pa
import zstandard

from detector.events import EventBatch
from detector.tuning.generate import generate
from tests.bench import floors, traffic
from tests.bench.bench_fingerprint import data_directory, rows_of
from tests.bench.measure import arguments, at_least, best_seconds, figure, folder, headline, number, seconds
from tests.bench.runs import Run, fresh_replay, print_memory, print_pace, write_log

DENSE = (1_500_000, 8_000_000)
LETTER = (300_000, 3_900_000)
SHORT = 60_000
RAW = (100_000, 600_000)
DENSE_MIX = traffic.Mix(accounts=100_000, shared=5_000, per_second=20_000)
PER_SECOND = 15.0
ACCOUNT_PER_SECOND = 15.0 / 53_000  # measured: 53,000 accounts of the generator send 15 events a second
RAW_CHARS = 1_400
GROWTH_DAYS_MIN = 2.0  # in less, night and day differ by more than history does


def short_log(at: Path) -> Path:
    """A log of few events, for what starting costs."""
    return write_log(at / "short.parquet", traffic.batches("thin", DENSE_MIX, rows=SHORT))


def dense(options: argparse.Namespace, at: Path) -> None:
    """Parquet, thin record, 20,000 events per second of event time."""
    events = options.events or DENSE[options.full]
    path = write_log(at / f"dense-{events}.parquet", traffic.batches("thin", DENSE_MIX, rows=events))
    short = short_log(at)
    headline(
        f"dense, Parquet, thin record: {traffic.link_keys('thin')} link keys per event", events=events,
        accounts=DENSE_MIX.accounts, per_second=DENSE_MIX.per_second, bytes_per_event=path.stat().st_size // events,
    )  # fmt: skip
    floor = events / best_seconds(lambda: floors.columns_read(path), passes=1)
    figure("one core, columns read (the floor)", floor, "events/s", ratio=1.0)
    run = fresh_replay(path, out=at / "out", profile=options.profile)
    title = f"replay, 2 workers, {number(run.links)} live links"
    print_pace(title, run.pace, short=fresh_replay(short, out=at / "out").pace, floor=floor, bar=at_least(200_000))
    print_memory(run)


def letter(options: argparse.Namespace, at: Path) -> None:
    """Parquet, the generator's world at 15 events per second."""
    events = options.events or LETTER[options.full]
    days = min(3.0, events / PER_SECOND / 86_400)
    accounts = round(PER_SECOND / ACCOUNT_PER_SECOND)
    made = (
        b
        for b in generate(
            "templated", texts_dir=data_directory(), part="validation", accounts=accounts, days=days
        ).batches()
    )
    path = write_log(at / f"letter-{events}.parquet", made)
    short = short_log(at)
    headline("letter density, Parquet, generated world with fingerprints", accounts=accounts, days=round(days, 2))
    rows = floors.columns_read(path)
    floor = rows / best_seconds(lambda: floors.columns_read(path), passes=1)
    figure("one core, columns read (the floor)", floor, "events/s", ratio=1.0)
    run = fresh_replay(path, out=at / "out", profile=options.profile)
    title = f"replay, 2 workers, {number(rows)} events, {number(run.links)} live links"
    print_pace(title, run.pace, short=fresh_replay(short, out=at / "out").pace, floor=floor, bar=at_least(100_000))
    if days >= GROWTH_DAYS_MIN:
        _growth(run)
    figure("  alerts", run.alerts, "")
    figure("  members of campaigns", run.members, "accounts")
    print_memory(run)


def _growth(run: Run) -> None:
    early, late = run.pace.cost(since=0.1, until=0.2), run.pace.cost(since=0.9, until=1.0)
    figure("  cost of the last tenth to that of the second", late / early, "")


def _raw_lines(events: int) -> Iterator[bytes]:
    """Bench events with published prompts of about 1.4 KB in place of fingerprints."""
    rng = random.Random(5)
    texts = [row["prompt"] for name in ("human_prompts", "benchmark_prompts") for row in rows_of(name)]
    row = traffic.example("thin")
    first = 0
    while first < events:
        batch: EventBatch = traffic.batch(row, DENSE_MIX, first=first, rows=min(traffic.BLOCK_ROWS, events - first))
        for fields in batch.to_pylist():
            said = rng.choice(texts)
            while len(said) < RAW_CHARS:
                said += "\n\n" + rng.choice(texts)
            kept = {k: v for k, v in fields.items() if v is not None and not k.endswith("_fp")}
            yield orjson.dumps(kept | {"content": {"prompt": said[:RAW_CHARS]}}) + b"\n"
        first += len(batch)


def _raw_log(path: Path, events: int) -> Path:
    if not path.exists():
        with path.open("wb") as file, zstandard.ZstdCompressor(3).stream_writer(file) as packed:
            for line in _raw_lines(events):
                packed.write(line)
    return path


def raw(options: argparse.Namespace, at: Path) -> None:
    """Raw prompts in compressed JSON lines."""
    events = options.events or RAW[options.full]
    path, short = _raw_log(at / f"raw-{events}.jsonl.zst", events), _raw_log(at / "raw-short.jsonl.zst", SHORT // 10)
    headline(
        "raw prompts, JSON lines in Zstandard", events=events, characters_per_prompt=RAW_CHARS,
        compressed_bytes_per_event=path.stat().st_size // events,
    )  # fmt: skip
    kind: type[msgspec.Struct] = floors.access_struct(text=True)
    assert floors.typed_decode(path, kind) == events
    floor = events / seconds(lambda: floors.typed_decode(path, kind))
    figure("one core, typed structs (the floor)", floor, "events/s", ratio=1.0)
    run = fresh_replay(path, out=at / "out", profile=options.profile)
    title = f"replay, 2 workers, {number(run.links)} live links"
    print_pace(title, run.pace, short=fresh_replay(short, out=at / "out").pace, floor=floor, bar=at_least(30_000))
    print_memory(run)


def main() -> None:
    """Print the figures of each part."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--events", type=int, default=0, help="events of each log")
        parser.add_argument("--logs", type=Path, default=None, help="keep the logs here, and use those that are there")

    options = arguments(__doc__, own)
    pa.set_cpu_count(1)
    with folder(options.logs) as at:
        for part in (dense, letter, raw):
            if part.__name__.startswith(options.only):
                part(options, at)


if __name__ == "__main__":
    main()

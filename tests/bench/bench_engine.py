"""The engine beside an earlier one: both fold the same log by turns, and the ratio of their speeds is printed.

Floor: the checkout of `--beside` (of the revision to compare with) on the same log, in the same
minutes. Each round both run once in a process of its own, who begins alternates.
Measured: processor time per event of judging (every signature on, the population model at its
cadence), of reading and encoding, and of both; `dense`: the thin and the bench record at
20,000 events per second; `letter`: the generator's templated harvest over its benign
population at its own density. Both in one process and thread, so that others on the machine
take no part of it; the first tenth of events is left out.
Not measured: worker processes, files of results, the live path.
Run: `python -m tests.bench.bench_engine --beside DIR [--full] [--rounds N] [--only letter] [--logs DIR]`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from detector.tuning.generate import generate
from tests.bench import traffic
from tests.bench.bench_fingerprint import data_directory
from tests.bench.bench_replay import ACCOUNT_PER_SECOND, DENSE_MIX, PER_SECOND
from tests.bench.measure import ROOT, arguments, at_least, figure, folder, headline
from tests.bench.runs import write_log

ROUNDS = 5
DENSE = (600_000, 3_000_000)
LETTER = (600_000, 3_900_000)
SHORT = 40_000  # compiles the kernels of both checkouts before anything is timed
BAR = at_least(0.75)
PARTS = {"judging": ("judge",), "reading and encoding": ("encode",), "both": ("judge", "encode")}


def folds(log: Path, checkout: Path) -> dict[str, float]:
    """Fold a log with a checkout's engine in a process of its own; microseconds per event of each part."""
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("engine_run.py")), str(log), str(checkout)],
        env={**os.environ, "PYTHONPATH": str(checkout)}, cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        sys.exit(f"the engine of {checkout} failed on {log}:\n{run.stderr}")
    took: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return {name: sum(took[k] for k in keys) / took["rows"] * 1e6 for name, keys in PARTS.items()}


def compare(log: Path, beside: Path, rounds: int) -> None:
    """Fold a log by turns and print the ratios of speeds."""
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    for number in range(rounds):
        turns = [(ROOT, ours), (beside, theirs)]
        for checkout, into in turns if number % 2 else reversed(turns):
            into.append(folds(log, checkout))
    for name in PARTS:
        ratios = [then[name] / now[name] for now, then in zip(ours, theirs, strict=True)]
        figure(f"{name}: speed to that of the other, median", statistics.median(ratios), "", bar=BAR)
        spans = ", ".join(f"{r:.2f}" for r in ratios)
        best = min(now[name] for now in ours), min(then[name] for then in theirs)
        print(f"    rounds {spans}; at best {best[0]:.2f} and {best[1]:.2f} us/event", flush=True)


def log_of(part: str, at: Path, *, events: int) -> Path:
    """Make a log, unless it is there."""
    path = at / f"engine-{part}-{events}.parquet"
    if part != "letter":
        return write_log(path, traffic.batches(part.removeprefix("dense-"), DENSE_MIX, rows=events))
    accounts, days = round(PER_SECOND / ACCOUNT_PER_SECOND), events / PER_SECOND / 86_400
    made = generate("templated", texts_dir=data_directory(), part="validation", accounts=accounts, days=days)
    return write_log(path, made.batches())


def main() -> None:
    """Print the ratios at each density."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--beside", type=Path, required=True, help="a checkout of the revision to compare with")
        parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often both fold each log")
        parser.add_argument("--events", type=int, default=0, help="events of each log")
        parser.add_argument("--logs", type=Path, default=None, help="keep the logs here, and use those that are there")

    options = arguments(__doc__, own)
    beside = options.beside.resolve()
    with folder(options.logs.resolve() if options.logs else None) as at:
        short = log_of("dense-bench", at, events=SHORT)
        for checkout in (ROOT, beside):
            folds(short, checkout)
        for part, sizes in (("letter", LETTER), ("dense-thin", DENSE), ("dense-bench", DENSE)):
            if part.startswith(options.only):
                events = options.events or sizes[options.full]
                headline(f"{part}, beside {beside.name}", events=events, rounds=options.rounds)
                compare(log_of(part, at, events=events), beside, options.rounds)


if __name__ == "__main__":
    main()

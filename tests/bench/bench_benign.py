"""Innocent traffic alone, in bulk: what the engine as installed says of logs in which nobody attacks.

Run: `python -m tests.bench.bench_benign [--seeds 1,2,3] [--events 10000000] [--part validation]
[--fields full] [--accounts 2000]`. `events` is the sum over the seeds. Each seed is a world with
every twin, written to Parquet and replayed as any log is; then the log is removed. The days that
this takes follow from the events asked for, so long runs have weeks of history. Whatever is alerted
is false, and is printed with its evidence and whom it names. Bars: no campaign, nobody contained.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detector.config import Settings
from detector.events import EventBatch
from detector.hashing import DEVELOPMENT_KEY
from detector.policy import contains
from detector.records import Alert
from detector.runtime.replay import replay
from detector.story import facts_of
from detector.tuning.generate import World, generate
from detector.tuning.generate.render import COVERAGE
from tests.bench.bench_fingerprint import data_directory
from tests.bench.bench_matrix import note_use
from tests.bench.measure import arguments, at_most, figure, headline, in_child
from tests.bench.runs import WORKERS, write_log

NONE = at_most(0.0)
DAY_MS = 86_400_000
# An ordinary account brings 59 to 94 events a day, its share of the twins' included; what is too much is cut off.
EVENTS_PER_ACCOUNT_DAY = 58
NAMED_SHOWN = 3


def options(parser: argparse.ArgumentParser) -> None:
    """The bench's own options."""
    parser.add_argument("--seeds", default="1,2,3", help="separated by commas")
    parser.add_argument("--events", type=int, default=10_000_000, help="of all seeds together")
    parser.add_argument("--part", default="validation", choices=("tuning", "validation", "test"))
    parser.add_argument("--fields", default="full", choices=COVERAGE)
    parser.add_argument("--accounts", type=int, default=2_000, help="ordinary accounts; twins come on top")


def _first(world: World, events: int) -> Iterator[EventBatch]:
    """The world's batches up to so many events."""
    for batch in world.batches():
        if events <= 0:
            return
        yield batch.slice(0, events)
        events -= len(batch)


def _said(alert: Alert, named: dict[str, Counter[str]]) -> list[str]:
    """A campaign's alert in lines: what it weighs, whom it names, why."""
    members = named.get(alert.campaign.id, Counter()) if alert.campaign else Counter[str]()
    weight = alert.verdict.log_odds if alert.verdict else 0.0
    whom = ", ".join(f"{name} {count}" for name, count in members.most_common(NAMED_SHOWN))
    why = [f"    {e.family} {e.signature} {e.log_odds:+.1f}: {facts_of(e)}" for e in alert.evidence if e.counted]
    return [f"  FALSE {alert.kind} {alert.severity} {alert.entity.value}, log-odds {weight:.1f}: {whom}", *why]


def judged(seed: int, events: int, part: str, fields: str, accounts: int) -> dict[str, Any]:
    """Make one seed's log, replay it, remove it; returns counts and what the alerts said."""
    world = generate(
        "benign",
        texts_dir=data_directory(),
        part=part,
        seed=seed,
        accounts=accounts,
        days=events / accounts / EVENTS_PER_ACCOUNT_DAY,
        fields=fields,
    )
    population = dict(zip(*(world.labels[c].to_pylist() for c in ("account_id", "population")), strict=True))
    with tempfile.TemporaryDirectory(prefix="stillwatch-benign-") as folder:
        log = write_log(Path(folder) / "events.parquet", _first(world, events))
        done = replay([str(log)], out=Path(folder), settings=Settings(), key=DEVELOPMENT_KEY, workers=WORKERS)
    named: dict[str, Counter[str]] = {}
    for member in done.members:
        named.setdefault(member.campaign_id, Counter())[population[member.account_id]] += 1
    campaigns = [a for a in done.alerts if a.campaign is not None]
    return {
        "events": done.rows,
        "accounts": done.accounts,
        "days": ((done.last_ms or 0) - (done.first_ms or 0)) / DAY_MS,
        "alerts": len(done.alerts),
        "campaigns": len(campaigns),
        "decisions": done.decisions,
        "contained": sum(contains(action) for action in done.strictest.values()),
        "said": [text for a in campaigns for text in _said(a, named)],
    }


def main() -> None:
    """Print every seed, then the sum."""
    read = arguments(__doc__, options)
    note_use(read.part)
    seeds = [int(seed) for seed in read.seeds.split(",")]
    total: Counter[str] = Counter()
    for seed in seeds:
        found = in_child(judged, seed, -(-read.events // len(seeds)), read.part, read.fields, read.accounts)
        said, days = found.pop("said"), found.pop("days")
        headline(f"seed {seed}, part {read.part}, {read.fields} fields, {days:.1f} days", **found)
        print("\n".join(said))
        total.update(found)
    headline(f"{len(seeds)} seeds", events=total["events"], alerts=total["alerts"], decisions=total["decisions"])
    figure("campaign alerts", total["campaigns"], "", bar=NONE)
    figure("accounts contained", total["contained"], "", bar=NONE)


if __name__ == "__main__":
    main()

"""Does the ground truth give itself away: rules on one field, and a classifier trained on the other scenarios.

Run: `python -m tests.bench.bench_leakage [--only FAMILY,...] [--part tuning] [--every] [--full]`.
For each family: the worst rules on one field that touch no innocent event (account), and the
classifier's recall where it touches 100 innocent events (1,000 accounts) in a million. A value,
a form of identifier or an order that only attackers have would show as recall near 1.
The traits that make a family what it is (one token with log probabilities, refusals) may be
rare among the innocent; nothing may be theirs alone.
"""

import argparse
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.tuning.generate import SCENARIOS, Size, generate
from tests.bench import leakage
from tests.bench.bench_fingerprint import data_directory
from tests.bench.leakage import Additive, Column, Fields
from tests.bench.measure import arguments, at_most, figure, headline

RULE = at_most(0.05)
CLASSIFIER = at_most(0.5)
SIZES = {True: (2_000, 2.0), False: (700, 1.0)}  # accounts and days, full or not
HOSTILE_MAX, INNOCENT_MAX = 6_000, 40_000  # events of one world that are looked at
ATTACKERS_MIN = 60  # of ten, any account that is the first in some field would be a tenth of the attack
LEARNT_MAX = 30_000  # rows that a classifier learns from
EVENT_PPM, ACCOUNT_PPM = 100, 1_000
SHOWN = 4
ALWAYS = ("templated", "relay", "cleaner", "reworded_request")  # what a classifier of few families learns from


def options(parser: argparse.ArgumentParser) -> None:
    """The bench's own options."""
    parser.add_argument("--part", default="tuning", choices=("tuning", "validation"))
    parser.add_argument("--every", action="store_true", help="print every field, not the worst only")


def sample(name: str, *, part: str, seed: int, full: bool) -> dict[str, tuple[Fields, Any]]:
    """Columns of a family's world, per event and per account, and which rows are hostile."""
    accounts, days = SIZES[full]
    world = generate(
        name,
        texts_dir=data_directory(),
        part=part,
        accounts=accounts,
        days=days,
        seed=seed,
        attack=Size(accounts=max(SCENARIOS[name].accounts, ATTACKERS_MIN)),
    )
    events = pa.Table.from_batches(list(world.batches())).combine_chunks()
    labels = world.labels
    members = labels.column("account_id").filter(pc.not_equal(labels.column("campaign"), "")).combine_chunks()
    hostile = pc.is_in(events.column("account_id"), value_set=members).to_numpy(zero_copy_only=False)
    truth_of, names = leakage.account_fields(events)
    of_account = pc.is_in(pa.array(names), value_set=members).to_numpy(zero_copy_only=False)
    rng = np.random.default_rng(seed)
    rows = np.sort(
        np.concatenate(
            [
                rng.permutation(np.flatnonzero(mask))[:most]
                for mask, most in ((hostile, HOSTILE_MAX), (~hostile, INNOCENT_MAX))
            ]
        )
    )
    return {
        "event": (leakage.event_fields(events.take(pa.array(rows))), hostile[rows]),
        "account": (truth_of, of_account),
    }


def joined(parts: list[tuple[Fields, Any]]) -> tuple[Fields, Any]:
    """Rows of several worlds under one another."""
    names = set.intersection(*(set(fields) for fields, _ in parts))
    out: Fields = {}
    for name in sorted(names):
        columns = [fields[name] for fields, _ in parts]
        words = tuple(sorted({word for c in columns for word in c.words}))
        table = {word: float(at) for at, word in enumerate(words)}
        values = [np.asarray([table[w] for w in c.words])[c.values.astype(int)] if words else c.values for c in columns]
        out[name] = Column(np.concatenate(values), words)
    return out, np.concatenate([hostile for _, hostile in parts])


def rules(fields: Fields, *, hostile: Any, every: bool) -> float:
    """Print the worst one-field rules; the worst one's recall."""
    found = sorted(
        ((leakage.best_rule(column, hostile=hostile), name) for name, column in fields.items()),
        key=lambda item: -item[0].recall,
    )
    for rule, name in found if every else found[:SHOWN]:
        figure(f"  {name} {rule.says}"[:52], rule.recall, "share", bar=RULE)
    return found[0][0].recall


def main() -> None:
    """Print every family, then the worst."""
    read = arguments(__doc__, options)
    names = [name for name in SCENARIOS if name in read.only.split(",") or not read.only]
    trained_on = dict.fromkeys([*names, *(ALWAYS if len(names) <= len(ALWAYS) else ())])
    held = {name: sample(name, part=read.part, seed=50 + at, full=read.full) for at, name in enumerate(trained_on)}
    worst = {"event": 0.0, "account": 0.0}
    for name in names:
        for unit, ppm in (("event", EVENT_PPM), ("account", ACCOUNT_PPM)):
            fields, hostile = held[name][unit]
            headline(f"{name}, per {unit}", hostile=int(hostile.sum()), innocent=int((~hostile).sum()))
            worst[unit] = max(worst[unit], rules(fields, hostile=hostile, every=read.every))
            others, theirs = joined([held[other][unit] for other in held if other != name])
            known = sorted(set(others) & set(fields))
            binned = leakage.bins_of(others, names=known)
            some = np.random.default_rng(1).permutation(theirs.size)[:LEARNT_MAX]
            codes = leakage.codes_of(others, binned=binned)[some]
            model = Additive(codes, hostile=theirs[some], width=binned.width)
            score = model.score(leakage.codes_of(fields, binned=binned))
            figure("  trained on the others: area under the curve", leakage.area(score, hostile=hostile), "")
            recall = leakage.recall_at(score, hostile=hostile, innocent_max=ppm / 1e6)
            figure(f"  and recall at {ppm:,} innocent per million", recall, "share", bar=CLASSIFIER)
    headline("worst rule on one field that touches no innocent")
    for unit, recall in worst.items():
        figure(f"per {unit}", recall, "share", bar=RULE)


if __name__ == "__main__":
    main()

"""A flood of distinct accounts with a campaign under way in it.

Floor: the same log without the flood, judged in the same run.
Measured: a benign population and the letter's pool (the generator's templated harvest, 100
accounts of 60 requests a day) as one source; a flood as another: every event a new account,
organisation and prompt, in runs of `SHARING` accounts that show one template, payment and
prefix, so that each gets past the gate and asks for a row. Both through `Judge.apply`. With
--full 10 million flood accounts over three days against the tables as shipped (a million
accounts); else tables and flood are a tenth and the log is one day. Bounds: rows, bytes of
arrays and resident memory. Pace: cost per event once the tables are full, late against early.
Quality: members found and wrong with and without the flood.
Not measured: decoding and encoding (the flood's frames are made as columns).
Run: `python -m tests.bench.bench_hostile [--full] [--flood N] [--days D] [--profile]`.
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.config import Settings, TableSettings
from detector.encode import encode
from detector.frames import COVERED_FIELDS, ID, IDS, NUM, NUMBERS, Frame
from detector.judge import Judge
from detector.tuning.generate import generate
from detector.tuning.generate.columns import hex_strings, mix64
from tests.bench import traffic
from tests.bench.bench_fingerprint import data_directory
from tests.bench.measure import GIB, arguments, at_least, at_most, figure, headline, in_child, memory, profiled

FLOOD, LOG = "flood", "log"
SHARING = 12
STEP_MS = 600_000  # the two sources come in turns of ten minutes
PARTS = 10
TENTH = msgspec.structs.replace(
    Settings(),
    tables=TableSettings(accounts_max=100_000, links_max=100_000, promoted_max=2_048, admission_cells=1 << 19),
)
DAY_MS = 86_400_000


class Outcome(NamedTuple):
    """What a run showed."""

    events: int
    cost_us: list[float]  # per event, by part of event time
    accounts: int
    links: int
    evicted: int
    dropped: int
    arrays: tuple[int, int]  # bytes of all arrays before and after
    resident: list[int]
    found: set[str]
    alerts: int


def flood_frame(first: int, rows: int, *, from_ms: int, span_ms: int) -> Frame:
    """Flood events `first` to `first + rows`, spread over a span, as the columns of a frame."""
    at = np.arange(first, first + rows).astype(np.uint64)

    def keys(of: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.uint64]:
        return mix64(of, seed=np.full(1, salt, np.uint64))

    ids, numbers = np.zeros((rows, IDS), np.uint64), np.full((rows, NUMBERS), -1, np.int64)
    group = at // np.uint64(SHARING)
    for salt, (column, of) in enumerate(
        [(ID.EVENT, at), (ID.ROW, at), (ID.ACCOUNT, at), (ID.ORG, at), (ID.PROMPT, at), (ID.MODEL, at % np.uint64(7)),
         (ID.SUBNET, group), (ID.PAYMENT, group), (ID.TEMPLATE, group), (ID.PROGRAM, group % np.uint64(99))]
    ):  # fmt: skip
        ids[:, column] = keys(of, 40 + salt)
    ids[:, ID.ORG_LINK] = ids[:, ID.ORG]
    numbers[:, NUM.TIME] = from_ms + np.arange(rows) * span_ms // max(rows, 1)
    numbers[:, NUM.INPUT], numbers[:, NUM.OUTPUT], numbers[:, NUM.FLAGS] = 200, 500, 0
    shown = ("org_id", "client_ip", "payment_fp", "template_fp", "prompt_fp", "input_tokens", "output_tokens")
    numbers[:, NUM.FIELDS] = sum(1 << COVERED_FIELDS.index(name) for name in shown)
    named = [(ids[:, c], p) for c, p in ((ID.ACCOUNT, "acct_"), (ID.ORG, "org_"))]
    named += [(np.unique(ids[:, c]), p) for c, p in ((ID.SUBNET, "net_"), (ID.PAYMENT, "card_"), (ID.TEMPLATE, "t_"))]
    digests = np.concatenate([d for d, _ in named])
    strings = pa.concat_arrays([hex_strings(d, prefix=p, digits=12) for d, p in named])
    order = np.argsort(digests)
    positions = np.arange(first, first + rows)
    events = hex_strings(ids[:, ID.EVENT], digits=16)
    return Frame(
        traffic.TENANT, FLOOD, first, first + rows, 0, ids, numbers, positions, events, digests[order],
        strings.take(pa.array(order)),
    )  # fmt: skip


def log_frames(days: float) -> tuple[Iterator[tuple[int, Frame]], set[str], int]:
    """The log as frames with their first event time; the attackers; the start."""
    made = generate("templated", texts_dir=data_directory(), part="validation", accounts=1_000, days=days, seed=3)
    labels = made.labels.to_pydict()
    bad = {a for a, c in zip(labels["account_id"], labels["campaign"], strict=True) if c}

    def frames() -> Iterator[tuple[int, Frame]]:
        at = 0
        for batch in made.batches():
            stop = at + len(batch)
            (frame,) = encode(batch, positions=np.arange(at, stop), source=LOG, first=at, stop=stop, key=traffic.KEY)
            at = stop
            yield int(frame.numbers[0, NUM.TIME]), frame

    return frames(), bad, made.setting.start_ms


def arrays_of(held: Judge) -> int:
    """Bytes of all arrays of the tables."""
    links = held.links
    parts = [a for part in (held.accounts, links, held.accounts.index, links.index) for a in vars(part).values()]
    arrays = [a for a in parts if isinstance(a, np.ndarray)]
    arrays += [*links.small.arrays, *links.large.arrays, *links.sketches.values()]
    return sum(a.nbytes for a in arrays)


def run(flood: int, days: float, full: bool, profile: bool) -> Outcome:
    """Judge the log, with so many flood accounts over its whole span."""
    held = Judge(traffic.TENANT, (FLOOD, LOG), Settings() if full else TENTH)
    frames, _, start_ms = log_frames(days)
    steps = int(days * DAY_MS) // STEP_MS
    before, took_s, events, resident, sent = arrays_of(held), [0.0] * PARTS, [0] * PARTS, [], 0
    alerts: set[str] = set()
    pending = next(frames, None)
    with profiled(on=profile):
        for step in range(steps):
            part, from_ms = step * PARTS // steps, start_ms + step * STEP_MS
            rows = flood * (step + 1) // steps - sent
            batch = [flood_frame(sent, rows, from_ms=from_ms, span_ms=STEP_MS)] if rows else []
            sent += rows
            while pending is not None and (pending[0] < from_ms + STEP_MS or step == steps - 1):
                batch.append(pending[1])
                pending = next(frames, None)
            start = time.process_time()
            for frame in batch:
                held.apply(frame)
            if rows == 0:
                held.tick(FLOOD, from_ms + STEP_MS)
            alerts |= {o.alert_id for o in held.take_outputs() if hasattr(o, "dedup_key")}
            held.take_refused()
            took_s[part] += time.process_time() - start
            events[part] += sum(len(f.positions) for f in batch)
            if (step + 1) * PARTS // steps > part:
                resident.append(memory().now)
    held.end(FLOOD)
    held.end(LOG)
    found = {m.account_id for m in held.members()}
    cost = [1e6 * s / max(n, 1) for s, n in zip(took_s, events, strict=True)]
    return Outcome(
        held.events, cost, held.accounts.index.live(), held.links.index.live(),
        held.accounts.evicted + held.links.evicted,
        held.accounts.dropped + held.links.dropped, (before, arrays_of(held)), resident, found, len(alerts),
    )  # fmt: skip


def main() -> None:
    """Print bounds, pace and what was found, with and without the flood."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--flood", type=int, default=0, help="accounts of the flood")
        parser.add_argument("--days", type=float, default=0.0, help="days of event time")

    options = arguments(__doc__, own)
    flood = options.flood or (10_000_000 if options.full else 1_000_000)
    days = options.days or (3.0 if options.full else 1.0)
    tables = (Settings() if options.full else TENTH).tables
    bad = log_frames(days)[1]
    headline(
        "flood of distinct accounts",
        flood=flood,
        days=days,
        accounts_max=tables.accounts_max,
        links_max=tables.links_max,
    )
    calm = Outcome(*in_child(run, 0, days, options.full, False))
    made = Outcome(*in_child(run, flood, days, options.full, options.profile))
    print("    cost in us/event by tenth of event time: " + " ".join(f"{c:.1f}" for c in made.cost_us))
    print(f"    events {made.events:,}, rows evicted {made.evicted:,}, dropped {made.dropped:,}")
    figure("accounts held", made.accounts, "rows", bar=at_most(tables.accounts_max))
    figure("links held", made.links, "rows", bar=at_most(tables.links_max))
    figure("bytes of arrays, after to before", made.arrays[1] / made.arrays[0], "")
    figure("resident, last tenth to third", made.resident[-1] / made.resident[2], "", bar=at_most(1.1))
    figure("resident at the end", made.resident[-1] / GIB, "GiB", ratio=made.resident[-1] / calm.resident[-1])
    figure("cost per event, last tenth to third", made.cost_us[-1] / made.cost_us[2], "", bar=at_most(1.2))
    recall = len(made.found & bad) / max(len(calm.found & bad), 1)
    figure("attackers found without the flood", len(calm.found & bad), f"of {len(bad)}")
    figure("attackers found in the flood", len(made.found & bad), f"of {len(bad)}", ratio=recall)
    figure("  share of those found without it", recall, "", bar=at_least(0.9))
    figure("others named as members, flood and benign", len(made.found - bad), "accounts")
    figure("campaign alerts", made.alerts, "")


if __name__ == "__main__":
    main()

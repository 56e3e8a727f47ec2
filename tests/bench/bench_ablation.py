"""What each signature is worth: which families are lost without it, how much later, and what it costs.

Run: `python -m tests.bench.bench_ablation [--part validation] [--only FAMILY,...] [--fields full] [--seeds N]`.
Each world is judged once with a threshold that nothing reaches, so that every pool is weighed at
every step of its growth and nobody is contained; what all signatures said of the pools that could
be accused is kept (`out/ablation`, by a digest of code and cell) and decided again without one
signature at a time, and with each shadow signature counted. A family is found when a pool most of
whose sampled accounts belong to it is accused; `leak` is the share of its requests before that;
a pool most of whose accounts are innocent is a false campaign. Membership, leases and what
containment changes are not part of it: those are the matrix's.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from detector.config import Settings, VerdictSettings
from detector.discovery import FAMILIES
from detector.encode import encode
from detector.hashing import DEVELOPMENT_KEY
from detector.judge import Judge
from detector.link_columns import FOUNDING_KINDS, KINDS, P
from detector.signatures.contract import Answer, LinkView, Signature
from detector.signatures.registry import SIGNATURES
from detector.tuning.generate import SCENARIOS, Size, generate
from detector.tuning.generate.render import COVERAGE, project
from detector.verdict import COUNTED
from tests.bench.bench_fingerprint import data_directory
from tests.bench.cells import code_digest
from tests.bench.measure import ROOT, arguments, headline

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FOLDER = ROOT / "out" / "ablation"
OUT_OF_REACH = 1e9
HOUR_MS = 3_600_000
IDS = [s.id for s in SIGNATURES]
FAMILY = np.array([FAMILIES.index(s.family) for s in SIGNATURES])
CROSS = np.array([s.cross_account for s in SIGNATURES])
COUNTING = np.array([s.maturity in COUNTED for s in SIGNATURES])
SHADOW = np.array([s.maturity == "shadow" for s in SIGNATURES])
FOUNDING = np.array([KINDS.index(kind) for kind in FOUNDING_KINDS])


class World(NamedTuple):
    """What signatures said in one world: of each weighed pool its time, link, hostile share and log-odds."""

    times_ms: list[int]
    links: list[int]
    hostile: list[float]
    said: list[list[float]]
    requests_ms: list[int]  # times of the hostile requests, in order


def options(parser: argparse.ArgumentParser) -> None:
    """The bench's own options."""
    parser.add_argument("--part", default="validation", choices=("tuning", "validation"))
    parser.add_argument("--fields", default="full", choices=tuple(COVERAGE))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--accounts", type=int, default=2_000, help="ordinary accounts")
    parser.add_argument("--days", type=float, default=3.0)


class Recorder:
    """Stands between the judge and its signatures, and keeps what they say of pools that could be accused."""

    def __init__(self, judge: Judge, hostile: set[str]) -> None:
        """Listen to a judge; `hostile` names the attackers' accounts."""
        self.judge, self.hostile = judge, hostile
        self.judged = judge.links.pools[:, P.JUDGED].copy()
        self.view: LinkView | None = None
        self.heard: dict[str, F64] = {}
        self.now_ms = 0
        self.out = World([], [], [], [], [])
        judge.ask = self.ask

    def ask(self, signature: Signature, judge: Any, view: Any) -> Answer:
        """Ask a signature and keep its answer about pools."""
        answer: Answer = judge(view)
        if not isinstance(view, LinkView):  # accounts come first, so the last discovery is over
            self.flush()
            return answer
        if view is not self.view:
            self.view, self.heard, self.now_ms = view, {}, self.judge.discovered_ms
        self.heard[signature.id] = answer.log_odds
        return answer

    def flush(self) -> None:
        """Write down the last discovery's pools that all signatures together could accuse."""
        links, pools = self.judge.links, self.judge.links.pools
        if self.view is None:
            return
        # What is judged is marked with its requests, so the marks that changed since are the view's rows, by key.
        rows = np.flatnonzero(pools[:, P.JUDGED] != self.judged)
        if rows.size == len(self.view.requests):
            rows = rows[np.argsort(links.index.keys[pools[rows, P.LINK]], kind="stable")]
            said = np.stack([self.heard.get(name, np.zeros(rows.size)) for name in IDS], axis=1)
            could = decided(said, counted=COUNTING | SHADOW) & np.isin(pools[rows, P.KIND], FOUNDING)
            for at in np.flatnonzero(could).tolist():
                self.out.times_ms.append(self.now_ms)
                self.out.links.append(int(pools[rows[at], P.LINK]))
                self.out.hostile.append(self.share(int(rows[at])))
                self.out.said.append(np.round(said[at], 3).tolist())
        self.judged = pools[:, P.JUDGED].copy()
        self.view, self.heard = None, {}

    def share(self, pool: int) -> float:
        """The hostile share of a pool's sampled accounts."""
        accounts, column = self.judge.accounts, self.judge.links.large.columns
        held = accounts.index.find(column.hashes[pool, : int(column.sizes[pool])])
        names = [accounts.index.name(row) for row in held[held >= 0].tolist()]
        return sum(name in self.hostile for name in names) / max(len(names), 1)


def decided(said: F64, *, counted: Bools) -> Bools:
    """Which rows (log-odds by signature, in the registry's order) are accused where only some signatures count."""
    rule = VerdictSettings()
    total, families = np.full(len(said), rule.prior), np.zeros(len(said), np.int64)
    crossed = np.zeros(len(said), bool)
    for family in range(len(FAMILIES)):
        columns = np.flatnonzero(counted & (family == FAMILY))
        if columns.size == 0:
            continue
        stacked = np.where(said[:, columns] == 0, -np.inf, said[:, columns])
        best = stacked.max(axis=1)
        top = columns[stacked.argmax(axis=1)]
        best = np.where(np.isfinite(best), np.minimum(best, rule.family_cap), 0.0)
        total += best
        families += best > 0
        crossed |= (best > 0) & CROSS[top]
    return np.asarray((total >= rule.threshold) & (families >= rule.families_min) & crossed)


def walk(family: str, *, read: argparse.Namespace, seed: int) -> World:
    """Judge one world and keep what was said."""
    world = generate(
        family, texts_dir=data_directory(), part=read.part, seed=seed, accounts=read.accounts, days=read.days,
        attack=Size(),
    )  # fmt: skip
    labels = world.labels.to_pydict()
    hostile = {name for name, campaign in zip(labels["account_id"], labels["campaign"], strict=True) if campaign}
    settings = msgspec.structs.replace(Settings(), verdict=VerdictSettings(threshold=OUT_OF_REACH))
    judge, at = Judge("default", ("log",), settings), 0
    recorder = Recorder(judge, hostile)
    named = pa.array(sorted(hostile), pa.string())
    for whole in world.batches():
        batch = project(whole, fields=read.fields)
        stop = at + len(batch)
        for frame in encode(
            batch, positions=np.arange(at, stop), source="log", first=at, stop=stop, key=DEVELOPMENT_KEY
        ):
            judge.apply(frame)
        at = stop
        mine = pc.is_in(batch.column("account_id"), value_set=named).to_numpy(zero_copy_only=False)
        times = batch.column("event_time").cast(pa.int64()).to_numpy(zero_copy_only=False)
        recorder.out.requests_ms.extend(times[mine].tolist())
    judge.end("log")
    recorder.flush()
    return recorder.out


def known(family: str, *, read: argparse.Namespace, seed: int) -> World:
    """The same, from the folder where it is known."""
    cell = [code_digest(), family, read.part, read.fields, seed, read.accounts, read.days, Path(__file__).read_text()]
    path = FOLDER / f"{family}-{hashlib.blake2b(orjson.dumps(cell), digest_size=12).hexdigest()}.json"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(walk(family, read=read, seed=seed)._asdict()))
    return World(**orjson.loads(path.read_bytes()))


class Outcome(NamedTuple):
    """One world under one set of signatures."""

    found: bool
    hours: float  # from the first hostile request
    leak: float  # the share of requests by then, 1 where it is missed
    false: int  # links of innocents that stand accused


def outcome(world: World, *, counted: Bools) -> Outcome:
    """Decide a world again."""
    times, hostile = np.array(world.times_ms, np.int64), np.array(world.hostile)
    said = np.array(world.said, np.float64).reshape(len(times), len(IDS))
    accused = decided(said, counted=counted)
    links = np.array(world.links, np.int64)
    false = len(set(links[accused & (hostile < 0.5)].tolist()))
    hits = times[accused & (hostile >= 0.5)]
    requests = np.array(world.requests_ms, np.int64)
    if hits.size == 0 or requests.size == 0:
        return Outcome(found=False, hours=float("nan"), leak=1.0, false=false)
    first = int(hits.min())
    return Outcome(
        found=True,
        hours=(first - int(requests.min())) / HOUR_MS,
        leak=float((requests <= first).mean()),
        false=false,
    )


def line(name: str, *, whole: list[Outcome], other: list[Outcome], families: list[str]) -> str:
    """One row: what changes in each world when the set of signatures does."""
    lost = [f for f, a, b in zip(families, whole, other, strict=True) if a.found and not b.found]
    won = [f for f, a, b in zip(families, whole, other, strict=True) if b.found and not a.found]
    later = [b.hours - a.hours for a, b in zip(whole, other, strict=True) if a.found and b.found]
    leak = float(np.mean([b.leak - a.leak for a, b in zip(whole, other, strict=True)]))
    false = sum(b.false for b in other) - sum(a.false for a in whole)
    said = ", ".join([*(f"-{f}" for f in lost), *(f"+{f}" for f in won)]) or "-"
    hours = f"{np.mean(later):+.1f}" if later else "-"
    return f"{name:<30}{leak:>+8.3f} {hours:>7} {false:>+6}  {said}"


def main() -> None:
    """Print the table."""
    read = arguments(__doc__, options)
    wanted = [name for name in read.only.split(",") if name] or list(SCENARIOS)
    runs = [(family, seed) for family in wanted for seed in range(1, read.seeds + 1)]
    headline(f"{len(runs)} attacks and the innocent alone, part {read.part}, fields {read.fields}")
    worlds = [known(family, read=read, seed=seed) for family, seed in runs]
    alone = [known("benign", read=read, seed=seed) for seed in range(1, read.seeds + 1)]
    names = [family for family, _ in runs]
    whole = [outcome(world, counted=COUNTING) for world in worlds]
    print(f"\n{'family':<30}{'found':>8} {'hours':>7} {'leak':>6}  false links")
    for family, made in zip(names, whole, strict=True):
        print(f"{family:<30}{'yes' if made.found else 'MISSED':>8} {made.hours:>7.1f} {made.leak:>6.3f}  {made.false}")
    print(f"innocent alone: {sum(outcome(world, counted=COUNTING).false for world in alone)} false links")
    print(f"\n{'changes without':<30}{'leak':>8} {'hours':>7} {'false':>6}  families lost or won")
    everyone = [*worlds, *alone]
    told = [*names, *["innocent alone"] * len(alone)]
    base = [outcome(world, counted=COUNTING) for world in everyone]
    for at in np.flatnonzero(COUNTING).tolist():
        less = COUNTING.copy()
        less[at] = False
        print(line(IDS[at], whole=base, other=[outcome(w, counted=less) for w in everyone], families=told))
    print("\nchanges with a shadow signature counted")
    for at in np.flatnonzero(SHADOW).tolist():
        more = COUNTING.copy()
        more[at] = True
        print(line(IDS[at], whole=base, other=[outcome(w, counted=more) for w in everyone], families=told))


if __name__ == "__main__":
    main()

"""The detection matrix: every family of attacks by coverage of fields, innocent traffic beside it.

Run: `python -m tests.bench.bench_matrix [--part validation] [--only FAMILY,...] [--fields full,lean]
[--attackers N] [--per-day N] [--cover 0.15] [--disguise settings] [--approve-after-min 15] [--seeds N]`.
Each family stands at its default cell (templated kinds 100 accounts x 60 requests a day, bare
replay 150 x 60, relay 150 x 14, slow 150 x 6, heavy 20 x 900, logit probe 10 x 900; three days,
no cover, more than ten innocent accounts to one attacker); options name other cells. Results are
kept in `out/matrix` by a digest of code and cell. Each use of the test part is written
to `tests/bench/test_part_uses.csv`. `leak` is the share of requests not contained, with its interval.
"""

import argparse
import csv
import shlex
import sys
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from detector.tuning.generate import SCENARIOS
from detector.tuning.generate.render import COVERAGE
from tests.bench.cells import Cell, results
from tests.bench.measure import ROOT, arguments, headline, revision

USES = Path(__file__).with_name("test_part_uses.csv")
FOLDER = ROOT / "out" / "matrix"
MINUTE_MS = 60_000
TWINS_SHOWN = 3


def options(parser: argparse.ArgumentParser) -> None:
    """The bench's own options."""
    parser.add_argument("--part", default="validation", choices=("tuning", "validation", "test"))
    parser.add_argument("--fields", default=",".join(COVERAGE), help="coverages, separated by commas")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--accounts", type=int, default=2_000, help="ordinary accounts")
    parser.add_argument("--days", type=float, default=3.0)
    parser.add_argument("--attackers", type=int)
    parser.add_argument("--per-day", type=float)
    parser.add_argument("--cover", type=float, default=0.0)
    parser.add_argument("--disguise", choices=("none", "settings", "sessions", "both"))
    parser.add_argument("--approve-after-min", type=int, default=-1, help="approve campaigns after so many minutes")


def note_use(part: str) -> None:
    """Write down that the test part is looked at."""
    if part != "test":
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with USES.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow([now, revision(), shlex.join(["python", "-m", *_command()])])


def _command() -> list[str]:
    return [f"tests.bench.{Path(sys.argv[0]).stem}", *sys.argv[1:]]


def cells_of(read: argparse.Namespace) -> list[Cell]:
    """The cells asked for: innocent traffic alone first."""
    wanted = [name for name in read.only.split(",") if name]
    unknown = set(wanted) - {"benign", *SCENARIOS}
    if unknown:
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: not a family; there are {', '.join(SCENARIOS)}")
    approve_ms = read.approve_after_min * MINUTE_MS if read.approve_after_min >= 0 else -1
    common: dict[str, Any] = {
        "part": read.part, "accounts": read.accounts, "days": read.days, "approve_after_ms": approve_ms,
    }  # fmt: skip
    attack: dict[str, Any] = {
        "attackers": read.attackers, "per_day": read.per_day, "cover": read.cover, "disguise": read.disguise,
    }  # fmt: skip
    seeds, fields = range(read.first, read.first + read.seeds), read.fields.split(",")
    families = [name for name in SCENARIOS if not wanted or name in wanted]
    return [
        *(Cell("benign", fields=f, seed=s, **common) for s, f in product(seeds, fields)),
        *(Cell(name, fields=f, seed=s, **common, **attack) for name, s, f in product(families, seeds, fields)),
    ]


def line(cell: Cell, scores: dict[str, Any]) -> str:
    """One cell as a line of the table."""
    benign, alerts = scores["benign"], scores["alerts"]
    campaign = scores["campaigns"].get(cell.family)
    said = f"{'':>49}"
    if campaign is not None:
        low, high = campaign["leak_interval"]
        hours = "-" if campaign["time_to_detect_s"] is None else f"{campaign['time_to_detect_s'] / 3600:.1f}"
        recall = "-" if campaign["member_recall"] is None else f"{campaign['member_recall']:.2f}"
        found = "found" if campaign["found"] else "MISSED"
        share = f"{campaign['leak']:6.3f} {low:5.3f}-{high:5.3f}"
        said = f"{found:>6} {share} {hours:>7} {recall:>6} {campaign['accounts']:>6}"
    touched = sorted(
        ((p["collateral_ppm"], name) for name, p in benign["populations"].items() if p["contained_requests"]),
        reverse=True,
    )
    worst = ", ".join(f"{name} {ppm:,.0f}" for ppm, name in touched[:TWINS_SHOWN]) or "-"
    return (
        f"{cell.family:<20}{cell.fields:<8} {said} {benign['collateral_ppm'] or 0:>9,.0f} "
        f"{alerts['campaign_false']:>5} {alerts['campaign_mixed']:>5} {alerts['per_day'] or 0:>7.1f}  {worst}"
    )


def main() -> None:
    """Print the matrix, then collateral by twin and totals."""
    read = arguments(__doc__, options)
    note_use(read.part)
    cells = cells_of(read)
    headline(f"{len(cells)} cells, part {read.part}")
    found: dict[Cell, dict[str, Any]] = {}
    for cell, scores in results(cells, folder=FOLDER):
        found[cell] = scores
        print(f"  {len(found)} of {len(cells)}: {cell.family} {cell.fields}", file=sys.stderr, flush=True)
    print(
        f"\n{'family':<20}{'fields':<8} {'':>6} {'leak':>6} {'95 %':>11} {'hours':>7} {'recall':>6} {'hostile':>6} "
        f"{'ppm':>9} {'false':>5} {'mixed':>5} {'a day':>7}  worst twins, ppm"
    )
    for cell in cells:
        print(line(cell, found[cell]))
    for fields in read.fields.split(","):
        attacks = [(c, s) for c, s in found.items() if c.fields == fields and c.family != "benign"]
        missed = sorted({c.family for c, s in attacks if not s["campaigns_found"]})
        worst = max((s["benign"]["collateral_ppm"] or 0 for c, s in found.items() if c.fields == fields), default=0)
        alone = [s for c, s in found.items() if c.fields == fields and c.family == "benign"]
        print(
            f"\n{fields}: {len(attacks)} attacks, missed: {', '.join(missed) or 'none'}; "
            f"worst collateral {worst:,.0f} ppm; innocent alone: {sum(s['events'] for s in alone):,} events,"
            f" {sum(s['alerts']['campaign_false'] + s['alerts']['campaign_mixed'] for s in alone)} campaign alerts"
        )


if __name__ == "__main__":
    main()

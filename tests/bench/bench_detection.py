"""What is found and who is touched: the letter's pool over innocent traffic, seed by seed, benign beside it.

Run: `python -m tests.bench.bench_detection [--seeds N] [--first SEED] [--part validation] [--lean]`.
Each seed is one world with a campaign and the same kind of world without. The parts of the
texts, wordings and templates (tuning, validation, test) share nothing; thresholds rest on
`tuning` and on published figures. `slowed` requests met a throttle only (a tier's ceiling or a
cap held back the challenge) and count as leaked. Bars: found, leak at most 10 %, no innocent
contained, no campaign alert in benign traffic.
"""

import argparse
import time

from tests.bench.bench_matrix import note_use
from tests.bench.measure import arguments, at_most, figure, headline
from tests.golden.worlds import scores

LEAK = at_most(0.10)
NONE = at_most(0.0)


def options(parser: argparse.ArgumentParser) -> None:
    """The bench's own options."""
    parser.add_argument("--seeds", type=int, default=0, help="how many worlds (default 1, with --full 8)")
    parser.add_argument("--first", type=int, default=31, help="the first seed")
    parser.add_argument("--part", default="validation", choices=("tuning", "validation", "test"))
    parser.add_argument("--lean", action="store_true", help="without payment, device, account age, ASN and JA4")


def main() -> None:
    """Print every seed, then the worst."""
    read = arguments(__doc__, options)
    note_use(read.part)
    seeds = range(read.first, read.first + (read.seeds or (8 if read.full else 1)))
    worst: dict[str, float] = {"leak": 0.0, "collateral": 0.0, "alerts": 0.0}
    for seed in seeds:
        start = time.process_time()
        found = scores("templated", seed=seed, part=read.part, fields="lean" if read.lean else "full")
        alone = scores("benign", seed=seed, part=read.part, fields="lean" if read.lean else "full")
        campaign = found["campaigns"]["templated"]
        headline(
            f"seed {seed}, part {read.part}{', lean' if read.lean else ''}",
            events=found["events"],
            innocent=found["benign"]["accounts"],
            attackers=campaign["accounts"],
        )
        figure("campaigns found of 1", found["campaigns_found"], "")
        figure("leak (requests not contained)", found["leak"], "share", bar=LEAK)
        figure("  of it slowed by a throttle", campaign["slowed_requests"] / campaign["requests"], "share")
        figure("time to detect", (campaign["time_to_detect_s"] or float("nan")) / 3600, "h")
        figure("false campaigns", found["campaigns_false"], "", bar=NONE)
        figure("innocent requests contained", found["collateral_ppm"], "ppm", bar=NONE)
        figure("benign only: campaign alerts", alone["campaign_alerts"], "", bar=NONE)
        figure("benign only: innocent requests contained", alone["collateral_ppm"], "ppm", bar=NONE)
        figure("processor time", time.process_time() - start, "s")
        worst["leak"] = max(worst["leak"], found["leak"])
        worst["collateral"] = max(worst["collateral"], found["collateral_ppm"], alone["collateral_ppm"])
        worst["alerts"] = max(worst["alerts"], found["campaigns_false"], alone["campaign_alerts"])
    headline(f"worst of {len(seeds)} seeds")
    figure("leak", worst["leak"], "share", bar=LEAK)
    figure("innocent requests contained", worst["collateral"], "ppm", bar=NONE)
    figure("false campaigns", worst["alerts"], "", bar=NONE)


if __name__ == "__main__":
    main()

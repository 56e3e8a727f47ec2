"""The ablation table decides as the engine does."""

import numpy as np

from detector.config import VerdictSettings
from detector.signatures.registry import SIGNATURES
from detector.verdict import COUNTED, weigh
from tests.bench.bench_ablation import COUNTING, IDS, Outcome, World, decided, outcome

SAID = np.round(np.random.default_rng(5).normal(1.2, 2.5, (300, len(SIGNATURES))), 3)


def engine(said: np.ndarray) -> bool:
    rule = VerdictSettings()
    items = [(s, float(x), {}) for s, x in zip(SIGNATURES, said, strict=True) if s.maturity in COUNTED]
    judged = weigh(items, rule)
    return judged.accuses and judged.families >= rule.families_min and judged.cross_account


def test_with_all_signatures_the_engine_decides_the_same() -> None:
    mine = decided(SAID, counted=COUNTING)
    assert mine.tolist() == [engine(row) for row in SAID]
    assert 0 < mine.sum() < len(mine)


def test_a_family_is_found_when_a_mostly_hostile_pool_is_accused_and_innocent_pools_are_false() -> None:
    sure = next(row.tolist() for row in SAID if engine(row))
    nothing = [0.0] * len(IDS)
    hours = [h * 3_600_000 for h in range(10)]
    world = World(
        times_ms=[hours[2], hours[4], hours[5]],
        links=[1, 2, 3],
        hostile=[1.0, 0.9, 0.1],
        said=[nothing, sure, sure],
        requests_ms=hours,
    )
    assert outcome(world, counted=COUNTING) == Outcome(found=True, hours=4.0, leak=0.5, false=1)
    assert not outcome(world, counted=np.zeros_like(COUNTING)).found

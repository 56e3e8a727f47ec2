"""The division of the ground truth into tuning, validation and test: written down here, held by test.

Purpose: what no two parts share, so that nothing is judged on what it was fitted to.

- Texts: a published row belongs to one part by a hash of its id (`texts.part_of`) and to one
  side by another (`texts.side_of`). `rows` and `digest` say what that gave on the published
  data; tests/unit/test_parts.py counts again.
- Wordings: our own fixed texts (`wording`, `rewording`) exist once per part.
- Seeds: a seed is offset by its part, so that no two parts ever draw the same world.
- Parameters: what attackers are free to choose is drawn from intervals that do not overlap. What
  a cell of the matrix fixes (accounts, requests a day, days) is the same in all parts.

Use: thresholds rest on `tuning`; `validation` is for choosing between finished candidates;
`test` is run on purpose, once for a closing revision, and the benches write each use to
tests/bench/test_part_uses.csv.
Limits: hours of the week and output lengths come from the same published traces in all parts.
"""

from typing import NamedTuple

import numpy as np

PARTS = ("tuning", "validation", "test")


class Ranges(NamedTuple):
    """Closed intervals of what attackers are free to choose."""

    gap_s: tuple[float, float]  # median gap between requests of a run
    run_requests: tuple[float, float]  # requests of a run
    templates: tuple[int, int]  # fixed texts of a templated pool
    young: tuple[float, float]  # share of accounts younger than a week
    places: tuple[float, float]  # addresses per account


class Part(NamedTuple):
    """One part: its seeds' offset, its intervals, how many rows it has and their digest."""

    seed_offset: int
    ranges: Ranges
    rows: int
    digest: str


DIVISION: dict[str, Part] = {
    "tuning": Part(
        seed_offset=0,
        ranges=Ranges(
            gap_s=(36.0, 50.0),
            run_requests=(12.0, 17.0),
            templates=(3, 3),
            young=(0.72, 0.85),
            places=(4.0, 6.0),
        ),
        rows=6_089,
        digest="7394b00a7a238743c7c7ae2c671bc29a",
    ),
    "validation": Part(
        seed_offset=1_000_000_000,
        ranges=Ranges(
            gap_s=(22.0, 34.0),
            run_requests=(18.0, 26.0),
            templates=(4, 5),
            young=(0.55, 0.7),
            places=(2.0, 3.8),
        ),
        rows=2_995,
        digest="5ce35b15aff27198d93927dbcb30c07c",
    ),
    "test": Part(
        seed_offset=2_000_000_000,
        ranges=Ranges(
            gap_s=(52.0, 75.0),
            run_requests=(6.0, 11.0),
            templates=(1, 2),
            young=(0.35, 0.52),
            places=(6.2, 9.0),
        ),
        rows=3_116,
        digest="94994a26547ba32fb15b2d3f0a71bd52",
    ),
}


class Free(NamedTuple):
    """One campaign's free parameters."""

    gap_s: float
    run_requests: float
    templates: int
    young: float
    places: float


def free_parameters(rng: np.random.Generator, *, ranges: Ranges) -> Free:
    """Draw a campaign's free parameters from its part's intervals."""
    return Free(
        gap_s=float(rng.uniform(*ranges.gap_s)),
        run_requests=float(rng.uniform(*ranges.run_requests)),
        templates=int(rng.integers(ranges.templates[0], ranges.templates[1] + 1)),
        young=float(rng.uniform(*ranges.young)),
        places=float(rng.uniform(*ranges.places)),
    )

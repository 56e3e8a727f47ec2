"""The division of the ground truth into tuning, validation and test, as `parts.toml` writes it down.

Purpose: read the intervals from which each part's attackers draw their free parameters, and
the offset of its seeds.
Invariants: intervals of different parts do not overlap; the file is read, never guessed.
"""

import tomllib
from importlib.resources import files
from typing import NamedTuple

import numpy as np

PARTS = ("tuning", "validation", "test")


class Ranges(NamedTuple):
    """Closed intervals of what attackers are free to choose."""

    gap_s: tuple[float, float]
    run_requests: tuple[float, float]
    templates: tuple[int, int]
    young: tuple[float, float]
    places: tuple[float, float]


class Part(NamedTuple):
    """One part: its seeds' offset, its intervals, and what its texts were when they were counted."""

    seed_offset: int
    ranges: Ranges
    rows: int
    digest: str


class Free(NamedTuple):
    """One campaign's free parameters."""

    gap_s: float
    run_requests: float
    templates: int
    young: float
    places: float


def read_parts() -> dict[str, Part]:
    """Every part by name."""
    held = tomllib.loads((files("detector.tuning.generate") / "parts.toml").read_text())
    return {
        name: Part(
            seed_offset=held[name]["seed_offset"],
            ranges=Ranges(**{key: tuple(value) for key, value in held[name]["ranges"].items()}),
            rows=held[name]["texts"]["rows"],
            digest=held[name]["texts"]["digest"],
        )
        for name in PARTS
    }


def free_parameters(rng: np.random.Generator, *, ranges: Ranges) -> Free:
    """Draw a campaign's free parameters from its part's intervals."""
    return Free(
        gap_s=float(rng.uniform(*ranges.gap_s)),
        run_requests=float(rng.uniform(*ranges.run_requests)),
        templates=int(rng.integers(ranges.templates[0], ranges.templates[1] + 1)),
        young=float(rng.uniform(*ranges.young)),
        places=float(rng.uniform(*ranges.places)),
    )

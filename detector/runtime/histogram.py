"""Values by bucket, as Prometheus counts them.

Purpose: what a process keeps of a duration until somebody scrapes it.
Invariants: counts only grow.
Limits: one thread adds; one that reads meanwhile may miss the newest value. Needs the standard library alone, since
clients of decisions run inside gateways.
Source: Prometheus' histograms: a bucket holds what lies at or below its bound.
"""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Values by bucket; the last bucket has no bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Start empty."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Pairs of (upper bound, how many values lie at or below it).

        >>> one = Histogram((1.0, 2.0)); one.add(1.0); one.add(9.0); one.cumulative()
        [('1.0', 1), ('2.0', 1), ('+Inf', 2)]
        """
        out, so_far = [], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            so_far += count
            out.append((bound, so_far))
        return out

"""Drift: what river's detectors say of short series, at discovery cadence.

Purpose: notice that a campaign's accounts were replaced while its rate stayed (a ban that failed),
and find the threshold that holds an alert budget.
Invariants: pure functions of integer series; a detector is built anew for each question and fed
the whole series, so the series is all the state that a snapshot needs. A budget only ever raises
a threshold.
Limits: series of at most `HOURS_KEPT` hours; a replacement is told from the second day on, because
a rate is held against the same hour of the day before.
Source: Page, "Continuous inspection schemes" (1954); Bifet and Gavalda, "Learning from time-changing
data with adaptive windowing" (2007); Jain and Chlamtac, "The P2 algorithm" (1985); all as in river.
"""

import math
from collections.abc import Iterable, Sequence

from river import drift, stats

HOURS_KEPT = 168
DAY_HOURS = 24
# In standard deviations of counts that come by chance: one an hour is ignored, ten together are none.
RISE_IGNORED, RISE = 1.0, 10.0
# Within a factor of two of the day before the rate is the same.
SAME_OCTAVES = 1.0


def replaced(hours: Sequence[tuple[int, int]]) -> bool:
    """Say of hours (requests, accounts that joined) whether the last saw more join than turnover, at an equal rate.

    >>> calm = [(100, 1)] * 40
    >>> replaced(calm), replaced([*calm, (105, 30)]), replaced([*calm, (900, 30), (900, 1)])
    (False, True, False)
    """
    if len(hours) <= DAY_HOURS:
        return False
    usual = math.sqrt(max(sum(joined for _, joined in hours[:-1]) / (len(hours) - 1), 1.0))
    rise = drift.PageHinkley(min_instances=DAY_HOURS, delta=RISE_IGNORED, threshold=RISE, mode="up")
    for _, joined in hours:
        rise.update(joined / usual)
    if not rise.drift_detected:
        return False
    rate = drift.ADWIN()
    for (before, _), (now, _) in zip(hours, hours[DAY_HOURS:], strict=False):
        rate.update(math.log2((now + 1) / (before + 1)))
    last = math.log2((hours[-1][0] + 1) / (hours[-1 - DAY_HOURS][0] + 1))
    return max(abs(last), abs(rate.estimation)) <= SAME_OCTAVES


def bar(log_odds: Iterable[float], *, threshold: float, allowed: int) -> float:
    """The threshold that at most `allowed` of what was weighed recently reaches, never under the given one.

    >>> bar([3.0, 4.0, 5.0, 6.0], threshold=2.5, allowed=10), bar(range(1, 101), threshold=2.5, allowed=10) > 80
    (2.5, True)
    """
    weighed = sorted(log_odds)
    if len(weighed) <= allowed:
        return threshold
    quantile = stats.Quantile(1.0 - allowed / len(weighed))
    for value in weighed:
        quantile.update(value)
    return max(threshold, round(float(quantile.get()), 6))

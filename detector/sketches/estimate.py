"""An estimate and its bounds, for one sketch or for a column of them.

Purpose: no approximation leaves a sketch without saying how far it can be off.
Invariants: `lower <= value <= upper`. `lower >= threshold` accuses,
`upper < threshold` acquits, anything between abstains; so the estimate of an
unknown is (0, 0, inf), which does neither.
Limits: statistical bounds are at `SIGMAS` standard errors, about 95 % two-sided;
each sketch says whether its bounds are statistical or certain.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

SIGMAS = 2.0


class Estimate(NamedTuple):
    """A value with the bounds between which the truth lies.

    >>> Estimate(value=512.0, lower=498.0, upper=540.0).lower >= 490
    True
    """

    value: float
    lower: float
    upper: float


class Estimates(NamedTuple):
    """A column of estimates: three float64 arrays of one shape."""

    value: F64
    lower: F64
    upper: F64


def pick(estimates: Estimates, *, row: int) -> Estimate:
    """Take one row of a one-dimensional column of estimates.

    >>> pick(Estimates(np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([2.0, 3.0])), row=1)
    Estimate(value=2.0, lower=1.0, upper=3.0)
    """
    return Estimate(float(estimates.value[row]), float(estimates.lower[row]), float(estimates.upper[row]))


def share(*, hits: F64, trials: F64) -> Estimates:
    """Estimate the probability behind `hits` of `trials`, with Wilson bounds at `SIGMAS`.

    Arrays of one shape, `0 <= hits <= trials`; without a trial nothing is known: (0, 0, 1).
    Source: Wilson, "Probable inference" (JASA 1927).

    >>> [round(float(x[0]), 3) for x in share(hits=np.array([8.0]), trials=np.array([10.0]))]
    [0.8, 0.484, 0.945]
    """
    n = np.maximum(trials, 1.0)
    p = hits / n
    z2 = SIGMAS * SIGMAS
    centre = (hits + z2 / 2) / (n + z2)
    reach = SIGMAS * np.sqrt(n * p * (1 - p) + z2 / 4) / (n + z2)
    known = trials > 0
    # The bounds meet the value at 0 and 1 up to rounding, so hold them to it.
    lower = np.where(known, np.clip(np.minimum(centre - reach, p), 0.0, 1.0), 0.0)
    upper = np.where(known, np.clip(np.maximum(centre + reach, p), 0.0, 1.0), 1.0)
    return Estimates(p, lower, upper)

"""Volume: how many tokens one account used in about a day, in one integer.

Purpose: what a cap on tokens weighs accounts by.
Invariants: a count fades by a twenty-fourth with each hour of event time that begins, so that a steady account shows
what it uses in 24 hours, and one that has just begun all that it used. Integers only; a count never overflows.
Limits: half of a burst is still there 17 hours later; what lies over `FADED_HOURS` back is gone.
Source: exponentially decaying counters, Cohen and Strauss 2003.
"""

import numba
import numpy as np
import numpy.typing as npt

from detector.sketches.columns import kernel

I64 = npt.NDArray[np.int64]

HOUR_MS = 3_600_000
HOURS = 24
FADED_HOURS = 256
TOKENS_MAX = 1 << 42  # far above any account's; a million of these still add up in 63 bits
_SHIFT = 16


def _kept() -> I64:
    """What is left after 0, 1, 2 ... hours, in 1/65536: exact integer powers, rounded down, the last one zero."""
    whole = [((HOURS - 1) ** h << _SHIFT) // HOURS**h for h in range(FADED_HOURS)]
    return np.array([*whole, 0], np.int64)


KEPT = _kept()


@kernel
def fade(tokens, hours):  # type: ignore[no-untyped-def]
    """What is left of a count after so many hours (a negative number is none).

    >>> int(fade(2_400, 1)), int(fade(2_400, 17)), int(fade(2_400, 1_000))
    (2299, 1164, 0)
    """
    return (tokens * KEPT[min(max(hours, 0), FADED_HOURS)]) >> _SHIFT


@kernel
def add(tokens, more):  # type: ignore[no-untyped-def]
    """Count what a request used; an unknown number (negative) counts nothing.

    >>> int(add(5, 7)), int(add(5, -1)), int(add(TOKENS_MAX, 1)) == TOKENS_MAX
    (12, 5, True)
    """
    return min(tokens + min(max(more, 0), TOKENS_MAX), TOKENS_MAX)


@numba.njit(cache=True)
def faded(tokens, hours, now_hour):  # type: ignore[no-untyped-def]
    """What is left at an hour of counts, each last touched in its own (int64 columns)."""
    out = np.empty(tokens.size, np.int64)
    for i in range(tokens.size):
        out[i] = fade(tokens[i], now_hour - hours[i])
    return out

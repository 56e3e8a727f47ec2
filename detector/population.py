"""The population: what accounts with as many requests look like, the accused left out.

Purpose: every tail is measured against the accounts' own history: per stratum of
request count, how many accounts fire each account signature, and how many are young.
Invariants: an account is counted once, under its current stratum and bits; what it
added is stored in its row, so a change or an accusation subtracts exactly that. All
counts are integers.
Limits: `STRATA` octaves of request count.
Source: stratified empirical tails; leave-one-out at the level of the accused pool.
"""

import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable

I64 = npt.NDArray[np.int64]

STRATA = 16
SIGNATURE_BITS = 24
JUDGED_BIT = 12  # bit b: account signature b fires; bit 12 + b: it could judge the account
YOUNG_MS = 7 * 86_400_000
MATURE_REQUESTS = 6

# Layout of `A.FIRED`: bits of signatures that fire, then what was counted.
STRATUM_SHIFT = 24
_BITS = np.arange(SIGNATURE_BITS)
_COUNTED, _YOUNG, _AGED = 1 << 40, 1 << 41, 1 << 42


class Population:
    """Counts per stratum; `accused` accounts are taken out and stay out."""

    def __init__(self) -> None:
        """Start empty."""
        self.accounts: I64 = np.zeros(STRATA, np.int64)
        self.fired: I64 = np.zeros((STRATA, SIGNATURE_BITS), np.int64)
        self.aged = 0
        self.young = 0
        self.elicited = 0
        self.elicitation_known = 0

    def _count(self, states: I64, sign: int) -> None:
        states = states[(states & _COUNTED) != 0]
        if states.size == 0:
            return
        strata = (states >> STRATUM_SHIFT) & 0xFF
        self.accounts += sign * np.bincount(strata, minlength=STRATA)
        row, bit = np.nonzero((states[:, None] >> _BITS) & 1)
        cells = strata[row] * SIGNATURE_BITS + bit
        self.fired += sign * np.bincount(cells, minlength=STRATA * SIGNATURE_BITS).reshape(STRATA, SIGNATURE_BITS)
        self.aged += sign * int(((states & _AGED) != 0).sum())
        self.young += sign * int(((states & _YOUNG) != 0).sum())

    def update(self, table: AccountTable, rows: I64, bits: I64) -> None:
        """Count accounts under what they show now: `bits` of signatures that fire."""
        stats = table.stats
        self._count(stats[rows, A.FIRED], -1)
        requests = stats[rows, A.REQUESTS]
        mature = (requests >= MATURE_REQUESTS) & (stats[rows, A.CAMPAIGN] == 0)
        strata = stratum(requests)
        aged = stats[rows, A.CREATED] >= 0
        young = aged & (stats[rows, A.LAST] - stats[rows, A.CREATED] < YOUNG_MS)
        states = bits | (strata << STRATUM_SHIFT)
        states |= np.where(mature, _COUNTED, 0) | np.where(aged, _AGED, 0) | np.where(young, _YOUNG, 0)
        stats[rows, A.FIRED] = states
        self._count(states, +1)

    def forget(self, table: AccountTable, rows: I64) -> None:
        """Take accounts out: they are evicted, or accused."""
        self._count(table.stats[rows, A.FIRED], -1)
        table.stats[rows, A.FIRED] &= ~_COUNTED


def stratum(requests: I64) -> I64:
    """Octave of the request count, below `STRATA`.

    >>> stratum(np.array([1, 2, 3, 64])).tolist()
    [0, 1, 1, 6]
    """
    return np.minimum(np.log2(np.maximum(requests, 1)).astype(np.int64), STRATA - 1)

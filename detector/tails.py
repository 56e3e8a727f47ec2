"""Tails: how far an account lies from accounts with as many requests, the accused left out.

Purpose: every 10 minutes of event time keep a reference of innocent accounts, and say of any
account which share of them lies at least as far out, statistic by statistic.
Invariants: the reference is a function of the tables alone: the accounts with the smallest
keys, at most `FEW` of any client program, system prompt, organisation or prefix, so that
neither an application nor a campaign is its own yardstick. All that is kept is integers.
Ranks count an account among its reference, so that they are never 0: with 99 others none
is below 1 %.
Limits: `REFERENCE_MAX` accounts; a stratum (octave of requests) is compared with its
neighbours too, and judges nobody while these are fewer than `STRATUM_MIN`.
Source: empirical tails.
"""

import numba
import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable
from detector.population import JUDGED_BIT, stratum
from detector.sketches.columns import kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

REFRESH_MS = 600_000
STRATA = 9  # octaves of requests; from 256 on a statistic is known well enough, and accounts are few
REFERENCE_MAX = 4_096
# One of each program would leave an eighth of the accounts, half of them without a program; of three, an application is
# still no yardstick, and every stratum has its thirty within hours.
FEW = 3
STRATUM_MIN = 30
REQUESTS_MIN = 8
POINTS = 256  # quantiles kept per stratum and statistic
BINS = 8  # of ranks, for profiles

# Statistics, each turned so that the suspicious side is up.
STATISTICS = (
    "lengths_alike",
    "marks_missing",
    "output_per_input",
    "single_turns",
    "steady_runs",
    "steady_gaps",
    "answers_alike",
    "input_length",
    "output_length",
    "verbs_first",
)
(_ALIKE, _MARKS, _RATIO, _SINGLES, _RUNS, _GAPS, _ANSWERS, _INPUT, OUTPUT, _VERBS) = range(10)
COUNT = len(STATISTICS)
UNKNOWN = np.iinfo(np.int64).min
ONE = 1 << 16  # a rank of one
_RUN_GAPS_MIN = 4
(
    _REQUESTS, _LOG_IN, _LOG_IN_SQ, _LOG_OUT, _LOG_OUT_SQ, _LOG_GAP, _LOG_GAP_SQ, _RUN_GAPS, _LOG_RUN, _LOG_RUN_SQ,
    _STYLE_KNOWN, _MARKED, _TURN_KNOWN, _SINGLE, _VERB_FIRST,
) = (
    int(a)
    for a in (
        A.REQUESTS, A.LOG_IN, A.LOG_IN_SQ, A.LOG_OUT, A.LOG_OUT_SQ, A.LOG_GAP, A.LOG_GAP_SQ, A.RUN_GAPS, A.LOG_RUN,
        A.LOG_RUN_SQ, A.STYLE_KNOWN, A.MARKED, A.TURN_KNOWN, A.SINGLE, A.VERB_FIRST,
    )
)  # fmt: skip


class Tails:
    """The reference as quantiles; `refresh` renews it, `rank` holds accounts against it."""

    def __init__(self) -> None:
        """Start without a reference: nobody is judged."""
        self.refreshed_ms = 0
        self.sizes: I64 = np.zeros(STRATA, np.int64)
        self.points: I64 = np.zeros((STRATA, COUNT, POINTS), np.int64)
        self.fired: I64 = np.zeros(2 * JUDGED_BIT, np.int64)  # of the reference: accounts that fire, that were judged
        self.bins: I64 = np.zeros((COUNT, BINS), np.int64)  # the reference by rank

    def refresh(self, accounts: AccountTable, *, now_ms: int) -> None:
        """Renew the reference if it is due at `now_ms`."""
        if now_ms - self.refreshed_ms < REFRESH_MS:
            return
        self.refreshed_ms = now_ms
        rows = reference(accounts)
        values, strata = _values(accounts.stats, rows), _strata(accounts.stats[rows, A.REQUESTS])
        self.sizes[:] = 0
        self.points[:] = 0
        self._learn(values, strata)
        ranks = self._ranked(values, strata)
        known = self.sizes[strata] >= STRATUM_MIN
        self.fired[:] = ((accounts.stats[rows, A.FIRED, None] >> np.arange(2 * JUDGED_BIT)) & 1).sum(axis=0)
        for column in range(COUNT):
            self.bins[column] = np.bincount(bins_of(ranks[known, column]), minlength=BINS)

    def _learn(self, values: I64, strata: I64) -> None:
        """Keep the quantiles of the statistics, each stratum with its neighbours."""
        for s in range(STRATA):
            near = np.abs(strata - s) <= 1
            self.sizes[s] = int(near.sum())
            if self.sizes[s] < STRATUM_MIN:
                continue
            for column in range(COUNT):
                held = np.sort(values[near, column])
                held = held[held != UNKNOWN]
                if held.size:
                    at = np.arange(POINTS) * held.size // POINTS
                    self.points[s, column] = held[at]

    def _ranked(self, values: I64, strata: I64) -> I64:
        out = np.full((strata.size, COUNT), ONE, np.int64)
        _rank(values, strata, self.sizes, self.points, out)
        return out

    def limit_of(self, column: int, requests: I64, *, share: float) -> F64:
        """What so small a share of the reference lies above, by statistic, in octaves; infinite where unknown."""
        strata = _strata(requests)
        limits = self.points[strata, column, int((1.0 - share) * POINTS)] / 1_024.0
        return np.where(self.sizes[strata] >= STRATUM_MIN, limits, np.inf)

    def taken_limits(self, *, share: float) -> I64:
        """Output to input that so small a share of the reference exceeds: int64[STRATA] in 1/1024 octaves."""
        return np.where(self.sizes >= STRATUM_MIN, self.points[:, _RATIO, int((1.0 - share) * POINTS)], UNKNOWN)

    def rank(self, accounts: AccountTable, rows: I64) -> tuple[I64, Bools]:
        """Hold account rows against the reference.

        Returns ranks (int64 in 1/65536, (rows, COUNT)) and whether each row could be judged.
        """
        strata = _strata(accounts.stats[rows, A.REQUESTS])
        ranks = self._ranked(_values(accounts.stats, rows), strata)
        judged = (self.sizes[strata] >= STRATUM_MIN) & (accounts.stats[rows, A.REQUESTS] >= REQUESTS_MIN)
        return ranks, judged


def bins_of(ranks: I64) -> I64:
    """The eighth that a rank lies in: 0 is furthest out."""
    return np.minimum(ranks * BINS // ONE, BINS - 1)


def reference(accounts: AccountTable) -> I64:
    """The rows of the reference, by key: judged by nobody, with requests enough, few of anything shared."""
    used = accounts.index.used
    stats = accounts.stats[:used]
    rows = np.flatnonzero((stats[:, A.REQUESTS] >= REQUESTS_MIN) & (stats[:, A.CAMPAIGN] == 0))
    keys = accounts.index.keys[rows]
    most = 4 * REFERENCE_MAX
    if rows.size > most:
        rows = rows[np.argpartition(keys, most)[:most]]
    rows = rows[np.argsort(accounts.index.keys[rows], kind="stable")]
    keep = np.ones(rows.size, bool)
    for column in (A.PROGRAM, A.SYSTEM, A.ORG, A.SUBNET):
        keep &= _few(stats[rows, column])
    return rows[keep][:REFERENCE_MAX]


def _strata(requests: I64) -> I64:
    return np.minimum(stratum(requests), STRATA - 1)


def _few(values: I64) -> Bools:
    """The first `FEW` of each value; 0 is no value."""
    order = np.argsort(values, kind="stable")
    held = values[order]
    first = np.flatnonzero(np.r_[True, held[1:] != held[:-1]]) if held.size else np.zeros(0, np.int64)
    place = np.arange(held.size) - np.repeat(first, np.diff(np.r_[first, held.size]))
    keep = np.empty(held.size, bool)
    keep[order] = (place < FEW) | (held == 0)
    return keep


def _values(stats: I64, rows: I64) -> I64:
    out = np.full((rows.size, COUNT), UNKNOWN, np.int64)
    _measure(stats, rows, out)
    return out


@kernel
def _spread(total, squares, count):  # type: ignore[no-untyped-def]
    mean = total / count
    return np.int64(np.rint(4.0 * np.sqrt(max(squares / count - mean * mean, 0.0))))


@numba.njit(cache=True)
def _measure(stats, rows, out):  # type: ignore[no-untyped-def]
    """Statistics of account rows in 1/1024, the suspicious side up; `UNKNOWN` where the log does not say."""
    for i in range(rows.size):
        s = stats[rows[i]]
        n = np.float64(s[_REQUESTS])
        out[i, _ALIKE] = -_spread(s[_LOG_IN], s[_LOG_IN_SQ], n)
        out[i, _RATIO] = np.int64(np.rint(4.0 * (s[_LOG_OUT] - s[_LOG_IN]) / n))
        out[i, _ANSWERS] = -_spread(s[_LOG_OUT], s[_LOG_OUT_SQ], n)
        out[i, _INPUT] = np.int64(np.rint(4.0 * s[_LOG_IN] / n))
        out[i, OUTPUT] = np.int64(np.rint(4.0 * s[_LOG_OUT] / n))
        out[i, _VERBS] = np.int64(np.rint(1024.0 * s[_VERB_FIRST] / n))
        if n > 1:
            out[i, _GAPS] = -_spread(s[_LOG_GAP], s[_LOG_GAP_SQ], n - 1)
        if s[_RUN_GAPS] >= _RUN_GAPS_MIN:
            out[i, _RUNS] = -_spread(s[_LOG_RUN], s[_LOG_RUN_SQ], np.float64(s[_RUN_GAPS]))
        if s[_STYLE_KNOWN] > 0:
            out[i, _MARKS] = -np.int64(np.rint(1024.0 * s[_MARKED] / s[_STYLE_KNOWN]))
        if s[_TURN_KNOWN] > 0:
            out[i, _SINGLES] = np.int64(np.rint(1024.0 * s[_SINGLE] / s[_TURN_KNOWN]))


@kernel
def _rank_of(value, points, size):  # type: ignore[no-untyped-def]
    """The share of a stratum's reference at or above a value, the account itself counted in, in 1/65536."""
    if value == UNKNOWN:
        return ONE // 2
    low, high = 0, POINTS
    while low < high:
        middle = (low + high) // 2
        if points[middle] < value:
            low = middle + 1
        else:
            high = middle
    share = (POINTS - low) / POINTS
    return np.int64(np.rint(ONE * (share * size + 1.0) / (size + 1.0)))


@numba.njit(cache=True)
def _rank(values, strata, sizes, points, out):  # type: ignore[no-untyped-def]
    for i in range(strata.size):
        s = strata[i]
        if sizes[s] < STRATUM_MIN:
            continue
        for c in range(COUNT):
            out[i, c] = _rank_of(values[i, c], points[s, c], sizes[s])

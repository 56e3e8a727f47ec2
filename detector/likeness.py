"""Likeness: whether the strangers of a pool behave as one source would make them behave.

Purpose: pools that share no text. What one source deals to many accounts has the same mix in
every account: of the variance of a prompt's length, what lies *between* accounts is what chance
leaves. People differ: each has tasks of his own. And a queue works its accounts evenly.
Invariants: of each organisation the first sampled account speaks, with at most `REQUESTS_MAX`
requests; those members are set aside that lie furthest out, of lengths a tenth, of rates a fifth,
because a pool of one client program holds innocents too. Sums follow the sample's order.
Limits: members with two requests; for what is taken, `MATURE_REQUESTS`.
Source: intraclass correlation from a one-way analysis of variance (Fisher 1925); trimming
after Tukey (1962).
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable
from detector.index import find
from detector.link_columns import POOL_K
from detector.links import LinkTable
from detector.population import MATURE_REQUESTS
from detector.sketches.columns import kernel
from detector.tails import STRATA, UNKNOWN, Tails

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

REQUESTS_MAX = 50.0
TRIMMED = 0.1
# What is left of a normal distribution without the fifth furthest out has 0.438 of its variance.
RATES_TRIMMED, RATES_VARIANCE = 0.2, 0.438
DAY_MS = 86_400_000
SPAN_MIN_MS = 3 * 3_600_000
# Below four sessions 1/sessions overstates the noise of a rate (who had none is not among the members), and what
# is left after taking it off looks even whoever they are.
PACED_SESSIONS_MIN = 4
SIGMAS = 2.0
TAKEN_SHARE = 0.25  # of innocents with as many requests take as much output to their input

(_ORG, _REQUESTS, _LOG_IN, _LOG_IN_SQ, _LOG_OUT, _SYSTEM, _SHARED, _SESSIONS, _FIRST, _LAST) = (
    int(a)
    for a in (
        A.ORG, A.REQUESTS, A.LOG_IN, A.LOG_IN_SQ, A.LOG_OUT, A.SYSTEM, A.SHARED, A.SESSIONS, A.FIRST, A.LAST,
    )
)  # fmt: skip
(
    _UNITS, _SHARED_SUM, _BARE, _TAKING, _TAKING_KNOWN, _COMPARED, _BETWEEN, _WITHIN, _SIZE, _PACED, _RATE_VARIANCE,
    _RATE_NOISE,
) = range(12)  # fmt: skip
_COLUMNS = 12


class Likeness(NamedTuple):
    """Float64 columns, a row a pool; NaN or a count of zero where nothing is known."""

    compared: F64  # organisations whose mean prompt lengths were compared, the trimmed ones aside
    between_share: F64  # of the variance of log prompt length: between accounts
    between_upper: F64
    shared_share: F64  # mean share of a member's requests whose user text a pool shares
    bare_share: F64  # organisations that send no system prompt
    taking: F64  # organisations that take more output to their input than three of four innocents
    taking_known: F64
    rate_members: F64  # accounts whose rates were compared, the fifth furthest out aside
    rate_log_sd: F64  # of ln(requests per day), as if none had been set aside, counting noise removed
    rate_noise: F64  # the variance that was removed as counting noise


@kernel
def first_of(org, seen):  # type: ignore[no-untyped-def]
    """Say whether an organisation's digest is new to `seen` (int64, open addressing, at most half full); note it."""
    at = org & (seen.size - 1)
    while seen[at] != 0:
        if seen[at] == org:
            return False
        at = (at + 1) & (seen.size - 1)
    seen[at] = org
    return True


@numba.njit(cache=True)
def _variances(counts, means, variances, kept, out):  # type: ignore[no-untyped-def]
    """Write the mean squares between and within the kept members, and their typical size."""
    total = squares = within = freedom = size_sq = 0.0
    mean = 0.0
    for k in kept:
        total += counts[k]
        mean += counts[k] * means[k]
    mean /= total
    for k in kept:
        squares += counts[k] * (means[k] - mean) ** 2
        within += (counts[k] - 1.0) * variances[k]
        freedom += counts[k] - 1.0
        size_sq += counts[k] * counts[k]
    out[_COMPARED] = kept.size
    out[_BETWEEN] = squares / (kept.size - 1)
    out[_WITHIN] = within / freedom
    out[_SIZE] = (total - size_sq / total) / (kept.size - 1)


@kernel
def paced(s, now_ms):  # type: ignore[no-untyped-def]
    """Say whether an account has worked for long enough and often enough to have a rate."""
    return s[_SESSIONS] >= PACED_SESSIONS_MIN and now_ms - s[_FIRST] >= SPAN_MIN_MS


@kernel
def log_rate(s):  # type: ignore[no-untyped-def]
    """The logarithm of an account's requests per day."""
    return np.log((s[_REQUESTS] - 1) / max(s[_LAST] - s[_FIRST], SPAN_MIN_MS) * DAY_MS)


@numba.njit(cache=True)
def _evenness(rates, noises, out):  # type: ignore[no-untyped-def]
    """Write how far rates lie apart without the fifth furthest from their median, made good for what that takes."""
    keep = rates.size - np.int64(RATES_TRIMMED * rates.size)
    if keep < 2:
        return
    kept = np.argsort(np.abs(rates - np.median(rates)), kind="mergesort")[:keep]
    out[_PACED] = keep
    out[_RATE_VARIANCE] = rates[kept].var() / RATES_VARIANCE
    out[_RATE_NOISE] = noises[kept].mean()


@numba.njit(cache=True)
def _measure(pools, sizes, hashes, slot_keys, slot_rows, stats, limits, now_ms, out):  # type: ignore[no-untyped-def]
    """Fill `out` (float64[pools, _COLUMNS]); `limits` (int64[STRATA], 1/1024 octaves): output to input, by stratum."""
    seen = np.empty(2 * POOL_K, np.int64)
    counts, means, variances = np.empty(POOL_K), np.empty(POOL_K), np.empty(POOL_K)
    rates, noises = np.empty(POOL_K), np.empty(POOL_K)
    for i in range(pools.size):
        o = out[i]
        n = rated = 0
        seen[:] = 0
        for k in range(np.int64(sizes[pools[i]])):
            row = find(slot_keys, slot_rows, hashes[pools[i], k])
            if row < 0:
                continue
            s = stats[row]
            if paced(s, now_ms):
                # Requests come in sessions: their number, not the requests', says how well a rate is known.
                rates[rated], noises[rated] = log_rate(s), 1.0 / s[_SESSIONS]
                rated += 1
            if not first_of(s[_ORG], seen):
                continue
            requests = np.float64(s[_REQUESTS])
            o[_UNITS] += 1
            o[_SHARED_SUM] += s[_SHARED] / requests
            o[_BARE] += s[_SYSTEM] == 0
            if s[_REQUESTS] >= MATURE_REQUESTS:
                limit = limits[min(np.int64(np.log2(requests)), STRATA - 1)]
                o[_TAKING_KNOWN] += limit != UNKNOWN
                o[_TAKING] += limit != UNKNOWN and 4 * (s[_LOG_OUT] - s[_LOG_IN]) > limit * s[_REQUESTS]
            if s[_REQUESTS] >= 2:
                counts[n] = min(requests, REQUESTS_MAX)
                means[n] = s[_LOG_IN] / requests
                variances[n] = max(s[_LOG_IN_SQ] - s[_LOG_IN] * means[n], 0.0) / (requests - 1.0)
                n += 1
        _evenness(rates[:rated], noises[:rated], o)
        keep = n - np.int64(TRIMMED * n)
        if keep < 3:
            continue
        mean = (counts[:n] * means[:n]).sum() / counts[:n].sum()
        out_of_line = counts[:n] * (means[:n] - mean) ** 2
        _variances(counts, means, variances, np.argsort(out_of_line, kind="mergesort")[:keep], o)


def likeness(links: LinkTable, pools: I64, accounts: AccountTable, tails: Tails, *, now_ms: int) -> Likeness:
    """Measure the given pools as of `now_ms` (event time)."""
    out = np.zeros((pools.size, _COLUMNS))
    column = links.large.columns
    _measure(
        pools, column.sizes, column.hashes, accounts.index.slot_keys, accounts.index.slot_rows, accounts.stats,
        tails.taken_limits(share=TAKEN_SHARE), now_ms, out,
    )  # fmt: skip
    units = np.where(out[:, _UNITS] > 0, out[:, _UNITS], np.nan)
    known = (out[:, _COMPARED] > 0) & (out[:, _WITHIN] > 0)
    ratio = np.divide(out[:, _BETWEEN], out[:, _WITHIN], out=np.full(pools.size, np.nan), where=known)
    # A mean square of k members is known to 1 in sqrt(k / 2).
    error = SIGMAS * np.sqrt(2.0 / np.maximum(out[:, _COMPARED] - 1.0, 1.0))

    def share(f: F64) -> F64:
        more = np.maximum(f - 1.0, 0.0)
        return np.where(np.isinf(f), 1.0, more / (np.where(np.isinf(f), 0.0, more) + out[:, _SIZE]))

    with np.errstate(divide="ignore", invalid="ignore"):
        upper = share(np.where(error < 1.0, ratio / np.maximum(1.0 - error, 0.0), np.inf))
        middle = share(ratio)
    return Likeness(
        compared=out[:, _COMPARED],
        between_share=np.where(known, middle, np.nan),
        between_upper=np.where(known, upper, np.nan),
        shared_share=out[:, _SHARED_SUM] / units,
        bare_share=out[:, _BARE] / units,
        taking=out[:, _TAKING],
        taking_known=out[:, _TAKING_KNOWN],
        rate_members=out[:, _PACED],
        rate_log_sd=np.sqrt(np.maximum(out[:, _RATE_VARIANCE] - out[:, _RATE_NOISE], 0.0)),
        rate_noise=out[:, _RATE_NOISE],
    )

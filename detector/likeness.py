"""Likeness: whether the strangers of a pool behave as one source would make them behave.

Purpose: pools that share no text. What one source deals to many accounts has the same mix in
every account: of the variance of a prompt's length, what lies *between* accounts is what chance
leaves. People differ: each has tasks of his own. And a queue loads its accounts evenly.
Invariants: of each organisation the first sampled account speaks, with at most `REQUESTS_MAX`
requests, of loads every account; those members are set aside that lie furthest out, of lengths a
tenth, of loads a twentieth, because a pool of one client program holds innocents too. Sums follow the sample's order.
Limits: members with two requests; for what is taken, `MATURE_REQUESTS`; for loads, three hours.
Source: intraclass correlation from a one-way analysis of variance (Fisher 1925); trimming
after Tukey (1962).
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.accounts import HOUR_MS, A, AccountTable
from detector.index import find
from detector.link_columns import POOL_K, L
from detector.links import LinkTable
from detector.population import MATURE_REQUESTS
from detector.sketches.columns import kernel
from detector.tails import STRATA, UNKNOWN, Tails

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

REQUESTS_MAX = 50.0
TRIMMED = 0.1
# What is left of a normal distribution without the twentieth furthest out has 0.759 of its variance.
LOADS_TRIMMED, LOADS_VARIANCE = 0.05, 0.759
DAY_MS = 86_400_000
# The first hour is why an account is seen and says nothing of its load; whoever is silent for a day has ended.
LOAD_SPAN_MIN_MS = 2 * HOUR_MS
SIGMAS = 2.0
# So many organisations that use a system prompt through other programs make it nobody's: it stood in a tutorial.
PUBLIC_ORGS_MIN = 8
TAKEN_SHARE = 0.25  # of innocents with as many requests take as much output to their input

(
    _ORG, _PROGRAM, _REQUESTS, _LOG_IN, _LOG_IN_SQ, _LOG_OUT, _SYSTEM, _SHARED, _SESSIONS, _FIRST, _LAST,
    _FIRST_HOUR_COUNT,
) = (
    int(a)
    for a in (
        A.ORG, A.PROGRAM, A.REQUESTS, A.LOG_IN, A.LOG_IN_SQ, A.LOG_OUT, A.SYSTEM, A.SHARED, A.SESSIONS, A.FIRST,
        A.LAST, A.FIRST_HOUR_COUNT,
    )
)  # fmt: skip
_UNITS, _SHARED_SUM, _BARE, _ALIKE, _TAKING, _TAKING_KNOWN, _COMPARED, _BETWEEN, _WITHIN, _SIZE = range(10)
_COLUMNS = 10
# Columns of what `load` writes of an account.
_SENT, _SPAN, _ALL, _RUNS = range(4)
LOAD_COLUMNS = 4


class Likeness(NamedTuple):
    """Float64 columns, a row a pool; NaN or a count of zero where nothing is known."""

    compared: F64  # organisations whose mean prompt lengths were compared, the trimmed ones aside
    between_share: F64  # of the variance of log prompt length: between accounts
    between_upper: F64
    shared_share: F64  # mean share of a member's requests whose user text a pool shares
    bare_share: F64  # organisations that send no system prompt, or the commonest one if it is public
    taking: F64  # organisations that take more output to their input than three of four innocents
    taking_known: F64


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
def load(s, now_ms, out):  # type: ignore[no-untyped-def]
    """Write what an account has sent after its first hour, in how long; say whether that was long enough."""
    out[_SENT] = s[_REQUESTS] - s[_FIRST_HOUR_COUNT]
    out[_SPAN] = (min(now_ms, s[_LAST] + DAY_MS) - s[_FIRST] - HOUR_MS) / DAY_MS
    out[_ALL] = s[_REQUESTS]
    out[_RUNS] = s[_SESSIONS]
    return out[_SPAN] * DAY_MS >= LOAD_SPAN_MIN_MS


@numba.njit(cache=True)
def evenness(loads):  # type: ignore[no-untyped-def]
    """How far rates lie apart: members compared, ln(1 + CV^2) without counting noise, and that noise.

    `loads` (float64[n, LOAD_COLUMNS]) is what `load` wrote. Whoever sent little counts like everybody, so those who
    work seldom are not left out; requests come in runs, so their noise is a run's length over the requests expected.
    """
    keep = loads.shape[0] - np.int64(LOADS_TRIMMED * loads.shape[0])
    if keep < 3:
        return keep, np.nan, np.nan
    usual = np.median(loads[:, _SENT] / loads[:, _SPAN])
    kept = loads[np.argsort(np.abs(loads[:, _SENT] - usual * loads[:, _SPAN]), kind="mergesort")[:keep]]
    if kept[:, _SENT].sum() == 0.0:
        return keep, np.nan, np.nan
    expected = kept[:, _SENT].sum() / kept[:, _SPAN].sum() * kept[:, _SPAN]
    whole = (expected**2).sum()
    noise = kept[:, _ALL].sum() / kept[:, _RUNS].sum() * expected.sum() / whole
    apart = ((kept[:, _SENT] - expected) ** 2).sum() / whole / LOADS_VARIANCE
    return keep, np.log1p(max(apart - noise, 0.0)), noise


@numba.njit(cache=True)
def _commonest(values):  # type: ignore[no-untyped-def]
    """The commonest value but 0, and how often it occurs; of equals the least."""
    ordered = np.sort(values)
    best, most, run = np.int64(0), 0, 0
    for k in range(ordered.size):
        run = run + 1 if k > 0 and ordered[k] == ordered[k - 1] else 1
        if ordered[k] != 0 and run > most:
            best, most = ordered[k], run
    return best, most


@numba.njit(cache=True)
def _elsewhere(pools, sizes, hashes, slot_keys, slot_rows, stats, out):  # type: ignore[no-untyped-def]
    """Count the organisations of each pool that use another client program than most do."""
    seen = np.empty(2 * POOL_K, np.int64)
    programs = np.empty(POOL_K, np.int64)
    for i in range(pools.size):
        seen[:] = 0
        n = 0
        for k in range(np.int64(sizes[pools[i]])):
            row = find(slot_keys, slot_rows, hashes[pools[i], k])
            if row >= 0 and stats[row, _PROGRAM] != 0 and first_of(stats[row, _ORG], seen):
                programs[n] = stats[row, _PROGRAM]
                n += 1
        out[i] = n - _commonest(programs[:n])[1]


@numba.njit(cache=True)
def _measure(pools, sizes, hashes, slot_keys, slot_rows, stats, limits, out, systems):  # type: ignore[no-untyped-def]
    """Fill `out` (float64[pools, _COLUMNS]) and the commonest of their system prompts (int64[pools], 0 for none).

    `limits` (int64[STRATA], 1/1024 octaves): output to input, by stratum.
    """
    seen, said = np.empty(2 * POOL_K, np.int64), np.empty(POOL_K, np.int64)
    counts, means, variances = np.empty(POOL_K), np.empty(POOL_K), np.empty(POOL_K)
    for i in range(pools.size):
        o = out[i]
        n = 0
        seen[:] = 0
        for k in range(np.int64(sizes[pools[i]])):
            row = find(slot_keys, slot_rows, hashes[pools[i], k])
            if row < 0:
                continue
            s = stats[row]
            if not first_of(s[_ORG], seen):
                continue
            requests = np.float64(s[_REQUESTS])
            said[np.int64(o[_UNITS])] = s[_SYSTEM]
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
        systems[i], o[_ALIKE] = _commonest(said[: np.int64(o[_UNITS])])
        keep = n - np.int64(TRIMMED * n)
        if keep < 3:
            continue
        mean = (counts[:n] * means[:n]).sum() / counts[:n].sum()
        out_of_line = counts[:n] * (means[:n] - mean) ** 2
        _variances(counts, means, variances, np.argsort(out_of_line, kind="mergesort")[:keep], o)


def _public(links: LinkTable, accounts: AccountTable, systems: I64) -> npt.NDArray[np.bool_]:
    """Say which system prompts are nobody's: many who are strangers to their commonest program use them too."""
    distinct, inverse = np.unique(systems, return_inverse=True)
    rows = links.index.find(distinct.view(np.uint64))
    pools = np.where(rows >= 0, links.stats[rows, L.POOL], 0) - 1
    column, out = links.large.columns, np.zeros(distinct.size, np.int64)
    at = np.flatnonzero((pools >= 0) & (distinct != 0))
    found = np.zeros(at.size, np.int64)
    _elsewhere(
        pools[at],
        column.sizes,
        column.hashes,
        accounts.index.slot_keys,
        accounts.index.slot_rows,
        accounts.stats,
        found,
    )
    out[at] = found
    return (out >= PUBLIC_ORGS_MIN)[inverse]


def likeness(links: LinkTable, pools: I64, accounts: AccountTable, tails: Tails) -> Likeness:
    """Measure the given pools."""
    out, systems = np.zeros((pools.size, _COLUMNS)), np.zeros(pools.size, np.int64)
    column = links.large.columns
    _measure(
        pools, column.sizes, column.hashes, accounts.index.slot_keys, accounts.index.slot_rows, accounts.stats,
        tails.taken_limits(share=TAKEN_SHARE), out, systems,
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
        bare_share=(out[:, _BARE] + out[:, _ALIKE] * _public(links, accounts, systems)) / units,
        taking=out[:, _TAKING],
        taking_known=out[:, _TAKING_KNOWN],
    )

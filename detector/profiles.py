"""Profiles: what the core of a campaign looks like against the rest, statistic by statistic.

Purpose: the second stage of membership. A pool of one client program holds innocents too, so
carrying its link makes nobody a member: an account must also behave as the core does.
The core are the sampled accounts that show at least half of the habits that accuse the pool.
Invariants: a profile is integers. It is a mixture of two kinds of accounts that carry the campaign's
links: the core's, learnt from them, and the rest, which is the reference of innocents. From the core
on both are told apart anew in `ROUNDS` steps, so that the profile rests on all that carry the links,
and their mixture says how likely one more of them is a member. Statistics by ranks go together,
so each is capped and their sum halved; four measures are held against the spread that as many
requests leave, so an account becomes more certain with every request. Age is added as it is.
Limits: accounts with few requests have no ranks; the measures alone then decide. Where ages are
unknown they say nothing. A profile learns again as its members double.
Source: naive Bayes on quantile bins, halved after Kish's design effect; expectation maximisation
(Dempster, Laird and Rubin 1977); random effects of accounts by the method of moments.
"""

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable
from detector.likeness import DAY_MS
from detector.population import MATURE_REQUESTS, YOUNG_MS
from detector.records import Evidence
from detector.signatures.registry import ACCOUNT_SIGNATURES
from detector.tails import BINS, COUNT, STRATUM_MIN, Tails, bins_of, reference

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

UNIT = 1_024
CAP = 2.0  # no statistic says more than e^2 for a member
MEASURE_AGAINST = 6.0  # whoever lies far from what all the core does is none of it, whatever else fits
# Four hundred to one that an account is of the core: what it does goes together, so the odds are bolder than they
# should be, and of what carries a client program hundreds are innocent on a large platform.
MEMBER = 6 * UNIT
# Whoever joined on few requests leaves when more of them leave him at less than twenty to one.
STAYS = 3 * UNIT
PRIOR = 4.0  # so many accounts of the reference are mixed into the core, so that a rare bin is not an impossible one
# Nine to one at most that whoever carries the links is of the core: the next may be the first innocent.
SHARE_MIN, SHARE_MAX = 0.05, 0.9
ROUNDS = 5
LEARN_AGAIN, CARRIERS_MAX = 2, 4_096
# A habit that this share of the core has in common vetoes when contradicted.
VETO_SHARE = 0.9
# No account speaks for the core by its many requests; accounts differ by a twentieth of what their own requests do.
REQUESTS_MAX = 50.0
BETWEEN_MIN = 0.05
# A rate is known by the runs it comes in, each about a factor of e either way; before three hours it is not one.
RATE_SPAN_MIN_MS = DAY_MS // 8
RUN_VARIANCE = np.log2(np.e) ** 2
_OCTAVE = 256.0

# How old an account was when it last acted.
YOUNG, AGED, UNDATED = range(3)


class Profile(msgspec.Struct):
    """What tells a campaign's core from the rest; all log-odds in 1/1024."""

    bins: list[list[int]]  # of each statistic, of each bin of ranks
    ages: list[int]
    # Of each measure, of the core and of the rest: mean and variances within and between accounts, 1/1024 octaves.
    measures: list[tuple[list[int], list[int]]]
    prior: int
    bare: bool = False  # of the core, nearly all send no system prompt
    single: bool = False  # and mostly single turns
    members: int = 0  # of the campaign, when this was learnt


class _Measure(NamedTuple):
    """One statistic of accounts as float64 columns: how often it was seen, its mean, the variance of what was seen."""

    seen: F64
    mean: F64
    within: F64


def _measures(stats: I64) -> list[_Measure]:
    """Prompt length, answer length, gap within a run, and rate, in octaves."""
    measures = []
    for times, total, squares in (
        (A.REQUESTS, A.LOG_IN, A.LOG_IN_SQ),
        (A.REQUESTS, A.LOG_OUT, A.LOG_OUT_SQ),
        (A.RUN_GAPS, A.LOG_RUN, A.LOG_RUN_SQ),
    ):
        n = np.maximum(stats[:, times], 1).astype(np.float64)
        mean = stats[:, total] / n / _OCTAVE
        variance = np.maximum(stats[:, squares] / n / _OCTAVE**2 - mean**2, 0.0) * n / np.maximum(n - 1.0, 1.0)
        measures.append(_Measure(np.minimum(stats[:, times], REQUESTS_MAX), mean, variance))
    days = np.maximum(stats[:, A.LAST] - stats[:, A.FIRST], RATE_SPAN_MIN_MS) / DAY_MS
    runs = np.maximum(stats[:, A.SESSIONS], 1).astype(np.float64)
    rate = np.log2(np.maximum(stats[:, A.REQUESTS], 1) / days)
    return [*measures, _Measure(runs, rate, np.full(runs.size, RUN_VARIANCE))]


def _spread(measure: _Measure, weight: F64) -> list[int]:
    """Fit a mean, a variance within and one between accounts to weighted accounts, by moments."""
    weight = np.where(measure.seen >= 2, weight, 0.0)
    inner, outer = weight * np.maximum(measure.seen - 1.0, 0.0), weight * measure.seen
    within = float((inner * measure.within).sum() / max(inner.sum(), 1e-9))
    mean = float((outer * measure.mean).sum() / max(outer.sum(), 1e-9))
    apart = (measure.mean - mean) ** 2 - within / np.maximum(measure.seen, 1.0)
    between = max(float((weight * apart).sum() / max(weight.sum(), 1e-9)), BETWEEN_MIN * within)
    return [round(UNIT * mean), max(round(UNIT * within), 1), max(round(UNIT * between), 1)]


def _likelihood(measure: _Measure, spread: list[int]) -> F64:
    mean, within, between = (value / UNIT for value in spread)
    variance = within / np.maximum(measure.seen, 1.0) + between
    likelihood: F64 = -0.5 * (np.log(variance) + (measure.mean - mean) ** 2 / variance)
    return likelihood


def _ages(stats: I64) -> I64:
    created, last = stats[:, A.CREATED], stats[:, A.LAST]
    return np.where(created < 0, UNDATED, np.where(last - created < YOUNG_MS, YOUNG, AGED))


def _weights(core: F64, rest: F64) -> list[int]:
    """Log-odds of each value by weighted counts of both kinds, in 1/1024."""
    rest = rest / rest.sum()
    share = (core + PRIOR * rest) / (core.sum() + PRIOR)
    return [int(w) for w in np.rint(UNIT * np.clip(np.log(share / rest), -CAP, CAP))]


def _counts(values: I64, weight: F64, size: int) -> F64:
    return np.bincount(values, weights=weight, minlength=size).astype(np.float64)


def _rest_ages(accounts: AccountTable, carriers: I64) -> F64:
    """How many of the accounts that nobody accuses are young, how many aged; half a one more of each."""
    stats = accounts.stats[: accounts.index.used]
    free = (stats[:, A.REQUESTS] >= MATURE_REQUESTS) & (stats[:, A.CAMPAIGN] == 0)
    free[carriers] = False
    return _counts(_ages(stats[free]), np.ones(int(free.sum())), UNDATED + 1)[:UNDATED] + 0.5


def learn(tails: Tails, accounts: AccountTable, rows: I64, core: F64) -> Profile:
    """Learn from the accounts that carry a campaign's links (rows in key order), each of the core to a degree.

    `core` (float64, 0 to 1) is where to start from; accounts that cannot be ranked teach nothing.
    """
    stats, rest = accounts.stats[rows], reference(accounts)
    ranks, judged = tails.rank(accounts, rows)
    bins, measures = bins_of(ranks[:, :COUNT]), _measures(stats)
    rest_measures = _measures(accounts.stats[rest])
    rest_spreads = [_spread(m, np.ones(rest.size)) for m in rest_measures] if rest.size >= STRATUM_MIN else []
    rest_bins = tails.bins + 0.5
    rest_ages, ages = _rest_ages(accounts, rows[core >= 0.5]), _ages(stats)
    weight = np.where(judged, core, 0.0)
    for _ in range(ROUNDS):
        share = np.clip((weight.sum() + 1.0) / (judged.sum() + 2.0), SHARE_MIN, SHARE_MAX)
        counted = [_counts(bins[:, c], weight, BINS) for c in range(COUNT)]
        spreads = [_spread(m, weight) for m in measures] if weight.sum() >= 1.0 else rest_spreads
        profile = Profile(
            bins=[_weights(counted[c], rest_bins[c]) for c in range(COUNT)],
            ages=[*_weights(_counts(ages, weight, UNDATED + 1)[:UNDATED], rest_ages), 0],
            measures=list(zip(spreads, rest_spreads, strict=False)),
            prior=round(UNIT * float(np.log(share / (1.0 - share)))),
        )
        weight = np.where(judged, _share(log_odds(profile, tails, accounts, rows)), 0.0)
    shown = [float(weight[habit].sum()) for habit in _habits(stats)]
    profile.bare, profile.single = (0.0 < VETO_SHARE * float(weight.sum()) <= share for share in shown)
    return profile


def _habits(stats: I64) -> tuple[Bools, Bools]:
    """Say of account rows whether they send no system prompt, and whether they mostly send single turns."""
    return stats[:, A.SYSTEM] == 0, 2 * stats[:, A.SINGLE] >= stats[:, A.TURN_KNOWN]


def learn_again(
    profile: Profile, tails: Tails, accounts: AccountTable, number: int, *, members: int
) -> tuple[Profile, I64]:
    """Learn from all that carry the links of a campaign by now; returns their rows, in key order, too."""
    stats = accounts.stats[: accounts.index.used]
    rows = np.flatnonzero((stats[:, A.HIT_OF] == number) | (stats[:, A.CAMPAIGN] == number))
    rows = rows[np.argsort(accounts.index.keys[rows], kind="stable")][:CARRIERS_MAX]
    learnt = learn(tails, accounts, rows, _share(log_odds(profile, tails, accounts, rows)))
    learnt.members = members
    return learnt, rows


def _share(log_odds: I64) -> F64:
    share: F64 = 1.0 / (1.0 + np.exp(-log_odds / UNIT))
    return share


def log_odds(profile: Profile, tails: Tails, accounts: AccountTable, rows: I64) -> I64:
    """Log-odds (int64, 1/1024) that accounts which carry the campaign's links are of its core."""
    stats = accounts.stats[rows]
    ranks, judged = tails.rank(accounts, rows)
    weights = np.array(profile.bins, np.int64)[np.arange(COUNT), bins_of(ranks[:, :COUNT])].sum(axis=1) // 2
    total = profile.prior + np.array(profile.ages, np.int64)[_ages(stats)] + np.where(judged, weights, 0)
    for measure, (core, rest) in zip(_measures(stats), profile.measures, strict=False):
        says = np.clip(_likelihood(measure, core) - _likelihood(measure, rest), -MEASURE_AGAINST, CAP)
        total += np.where(measure.seen >= 2, np.rint(UNIT * says), 0).astype(np.int64)
    return total


def fits(profile: Profile, tails: Tails, accounts: AccountTable, rows: I64, *, least: int = MEMBER) -> Bools:
    """Say of account rows that carry the campaign's links whether they behave as its core does, by `least` log-odds."""
    bare, single = _habits(accounts.stats[rows])
    fit: Bools = (log_odds(profile, tails, accounts, rows) >= least) & (bare | (not profile.bare))
    return fit & (single | (not profile.single))


def core_of(tails: Tails, accounts: AccountTable, rows: I64, evidence: tuple[Evidence, ...]) -> Bools:
    """Say which of a pool's accounts fire at least half of what accuses the pool."""
    accusing = {e.signature for e in evidence if e.counted and e.log_odds > 0}
    bits = sum(1 << bit for bit, signature in enumerate(ACCOUNT_SIGNATURES) if signature.id in accusing)
    _, judged = tails.rank(accounts, rows)
    core: Bools = judged & (2 * np.bitwise_count(accounts.stats[rows, A.FIRED] & bits) >= bits.bit_count())
    return core

"""Profiles: what the core of a campaign looks like against the rest, statistic by statistic.

Purpose: the second stage of membership. A pool of one client program holds innocents too, so
carrying its link makes nobody a member: an account must also behave as the core does.
The core are the sampled accounts that show at least half of the habits that accuse the pool.
Invariants: a profile is integers, learnt from the core's ranks and the reference's; an account
is weighed by the ratio of both, each statistic capped, and the sum halved, because the
statistics go together. The account's age is no habit: its weight is added as it is.
Limits: accounts that cannot be ranked yet (few requests) are no members yet. Where ages are
unknown they say nothing.
Source: naive Bayes on quantile bins; the halving after Kish's design effect.
"""

import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable
from detector.population import MATURE_REQUESTS, YOUNG_MS
from detector.records import Evidence
from detector.signatures.registry import ACCOUNT_SIGNATURES
from detector.tails import BINS, COUNT, Tails, bins_of

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNIT = 1_024
CAP = 2 * UNIT  # no statistic says more than e^2 either way
# Twenty to one that an account of the pool is of the core and not of the rest.
MEMBER = 3 * UNIT
PRIOR = 4.0  # so many accounts of the reference are mixed into the core, so that a rare bin is not an impossible one
VETO_SHARE = 0.9


# How old an account was when it last acted.
YOUNG, AGED, UNDATED = range(3)


def learn(tails: Tails, accounts: AccountTable, rows: I64, ranks: I64) -> list[list[int]]:
    """Weigh each bin of each statistic: ln(share of the core / share of the reference), in 1/1024; ages behind them."""
    weights = []
    for column in range(COUNT):
        rest = (tails.bins[column] + 0.5) / (tails.bins[column].sum() + 0.5 * BINS)
        core = np.bincount(bins_of(ranks[:, column]), minlength=BINS)
        share = (core + PRIOR * rest) / (core.sum() + PRIOR)
        weights.append(np.clip(np.rint(UNIT * np.log(share / rest)), -CAP, CAP).astype(np.int64).tolist())
    return [*weights, _learn_ages(accounts, rows)]


def _ages(accounts: AccountTable, rows: I64) -> I64:
    created, last = accounts.stats[rows, A.CREATED], accounts.stats[rows, A.LAST]
    return np.where(created < 0, UNDATED, np.where(last - created < YOUNG_MS, YOUNG, AGED))


def _learn_ages(accounts: AccountTable, core: I64) -> list[int]:
    """Weigh young and aged accounts: ln(share of the core / share of the accounts that nobody accuses), in 1/1024."""
    stats = accounts.stats[: accounts.index.used]
    free = (stats[:, A.REQUESTS] >= MATURE_REQUESTS) & (stats[:, A.CAMPAIGN] == 0)
    free[core] = False
    here, elsewhere = (
        np.bincount(_ages(accounts, rows), minlength=UNDATED + 1)[:UNDATED] for rows in (core, np.flatnonzero(free))
    )
    rest = (elsewhere + 0.5) / (elsewhere.sum() + 1.0)
    share = (here + PRIOR * rest) / (here.sum() + PRIOR)
    weights = np.clip(np.rint(UNIT * np.log(share / rest)), -CAP, CAP).astype(np.int64)
    return [*weights.tolist(), 0]


def scores(profile: list[list[int]], ranks: I64) -> I64:
    """Weigh what ranked accounts do (int64, 1/1024) against a profile."""
    weights = np.array(profile[:COUNT], np.int64)
    return weights[np.arange(COUNT), bins_of(ranks[:, :COUNT])].sum(axis=1) // 2


def fits(profile: list[list[int]], tails: Tails, accounts: AccountTable, rows: I64) -> Bools:
    """Say of account rows whether they behave as the core of the profile does."""
    ranks, judged = tails.rank(accounts, rows)
    ages = np.array(profile[COUNT], np.int64)[_ages(accounts, rows)]
    return judged & (scores(profile, ranks) + ages >= MEMBER)


def core_of(tails: Tails, accounts: AccountTable, rows: I64, evidence: tuple[Evidence, ...]) -> tuple[I64, I64]:
    """Pick those of a pool's accounts that fire at least half of what accuses the pool; returns rows and ranks."""
    accusing = {e.signature for e in evidence if e.counted and e.log_odds > 0}
    bits = sum(1 << bit for bit, signature in enumerate(ACCOUNT_SIGNATURES) if signature.id in accusing)
    ranks, judged = tails.rank(accounts, rows)
    core = judged & (2 * np.bitwise_count(accounts.stats[rows, A.FIRED] & bits) >= bits.bit_count())
    return rows[core], ranks[core]


def bare(accounts: AccountTable, rows: I64) -> bool:
    """Say whether nearly all of a core's accounts send no system prompt."""
    return bool(rows.size) and float((accounts.stats[rows, A.SYSTEM] == 0).mean()) >= VETO_SHARE

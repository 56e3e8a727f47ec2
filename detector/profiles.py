"""Profiles: what the core of a campaign looks like against the rest, statistic by statistic.

Purpose: the second stage of membership. A pool of one client program holds innocents too, so
carrying its link makes nobody a member: an account must also behave as the core does.
The core are the sampled accounts that show at least half of the habits that accuse the pool.
Invariants: a profile is integers, learnt from the core's ranks and the reference's; an account
is weighed by the ratio of both, each statistic capped, and the sum halved, because the
statistics go together.
Limits: accounts that cannot be ranked yet (few requests) are no members yet.
Source: naive Bayes on quantile bins; the halving after Kish's design effect.
"""

import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable
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


def learn(tails: Tails, ranks: I64) -> list[list[int]]:
    """Weigh each bin of each statistic: ln(share of the core / share of the reference), in 1/1024, half of it."""
    weights = []
    for column in range(COUNT):
        rest = (tails.bins[column] + 0.5) / (tails.bins[column].sum() + 0.5 * BINS)
        core = np.bincount(bins_of(ranks[:, column]), minlength=BINS)
        share = (core + PRIOR * rest) / (core.sum() + PRIOR)
        weights.append(np.clip(np.rint(UNIT * np.log(share / rest)), -CAP, CAP).astype(np.int64).tolist())
    return weights


def scores(profile: list[list[int]], ranks: I64) -> I64:
    """Weigh ranked accounts (int64, 1/1024) against a profile."""
    weights = np.array(profile, np.int64)
    return weights[np.arange(COUNT), bins_of(ranks[:, :COUNT])].sum(axis=1) // 2


def fits(profile: list[list[int]], tails: Tails, accounts: AccountTable, rows: I64) -> Bools:
    """Say of account rows whether they behave as the core of the profile does."""
    ranks, judged = tails.rank(accounts, rows)
    return judged & (scores(profile, ranks) >= MEMBER)


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

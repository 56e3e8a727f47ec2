"""N1: a pool of organisations crowds onto few prefixes.

Purpose: query volume seen from the network: organisations per /24 or /64 within a pool.
Misses: residential proxies, one address per account.
Confuses: carrier-grade NAT, campuses, an application's own servers: so it never counts above
1.5, and only of accounts that share a text or a client program.
Limits: organisations by their lower bound against prefixes by their upper bound.
Source: 66 k of 170 k spam accounts used one address (EvilCohort).
"""

import numpy as np

from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp

ORGS_MIN = 12.0
PER_PREFIX_MIN = 3.0
PER_PREFIX_FULL = 10.0
LOG_ODDS_MAX = 1.5


def judge(view: LinkView) -> Answer:
    """Weigh organisations per prefix of pools that share a text or a client program."""
    known = (view.subnets > 0) & (view.subnets_upper > 0)
    lower = np.divide(view.orgs_lower, view.subnets_upper, out=np.zeros(view.orgs.shape), where=known)
    per_prefix = np.divide(view.orgs, view.subnets, out=np.full(view.orgs.shape, np.nan), where=known)
    crowded = (view.is_text | view.is_program) & (view.orgs_lower >= ORGS_MIN)
    weight = LOG_ODDS_MAX * ramp(lower, low=PER_PREFIX_MIN, high=PER_PREFIX_FULL)
    facts = {"organisations_per_prefix": FactColumn(per_prefix, "organisations", PER_PREFIX_MIN, lower=lower)}
    return Answer(np.where(crowded, weight, 0.0).round(6), facts)


SIGNATURE = Signature(
    id="n1_crowded_prefix",
    title="A pool crowds onto few prefixes",
    family="network",
    unit="link",
    needs=("client_ip",),
    maturity="alert",
    version=3,
    cross_account=False,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)

"""N1: a pool of accounts crowds onto few prefixes.

Purpose: query volume seen from the network: accounts per /24 or /64 within a pool.
Misses: residential proxies, one address per account.
Confuses: carrier-grade NAT, campuses, cloud egress: so it never counts above 1.5 and
never without text.
Limits: accounts by their lower bound against prefixes by their estimate.
Source: 66 k of 170 k spam accounts used one address (EvilCohort).
"""

import numpy as np

from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp

ACCOUNTS_MIN = 12.0
PER_PREFIX_MIN = 3.0
PER_PREFIX_FULL = 10.0
LOG_ODDS_MAX = 1.5


def judge(view: LinkView) -> Answer:
    """Weigh accounts per prefix of pools that share text."""
    per_prefix = np.divide(view.accounts_lower, view.subnets, out=np.zeros_like(view.accounts), where=view.subnets > 0)
    crowded = view.is_text & (view.accounts_lower >= ACCOUNTS_MIN)
    weight = LOG_ODDS_MAX * ramp(per_prefix, low=PER_PREFIX_MIN, high=PER_PREFIX_FULL)
    facts = {"accounts_per_prefix": FactColumn(per_prefix, "accounts", PER_PREFIX_MIN, lower=per_prefix)}
    return Answer(np.round(np.where(crowded, weight, 0.0), 6), facts)


SIGNATURE = Signature(
    id="n1_crowded_prefix",
    title="A pool crowds onto few prefixes",
    family="network",
    unit="link",
    needs=("client_ip",),
    maturity="alert",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)

"""I1: others saw this link in a campaign of theirs.

Purpose: what another lab found and an operator took in, as a weak word about the pool of that link.
Misses: everything that nobody shared; settings that the campaign has changed since.
Confuses: a common program or prefix that a campaign happened to use, and an indicator that was given to do harm.
Limits: one pool, as long as the operator's record says; abstains where the link is ordinary here. It is never an
organisation, a payment or an account that is watched.
Source: shared findings are hearsay: one step on a scale where a verdict needs ten (Good 1950).
"""

import numpy as np

from detector.signatures.contract import Answer, FactColumn, LinkView, Signature

ORDINARY_SHARE = 0.25
LOG_ODDS_MAX = 1.0


def judge(view: LinkView) -> Answer:
    """Speak against a watched pool that few accounts here belong to."""
    share = np.minimum(view.accounts / max(view.population, 1.0), 1.0)
    named = (view.watched > 0) & (share <= ORDINARY_SHARE)
    facts = {"share_of_accounts": FactColumn(share, "share", ORDINARY_SHARE)}
    return Answer(np.where(named, LOG_ODDS_MAX, 0.0), facts)


SIGNATURE = Signature(
    id="i1_shared_indicator",
    title="Others saw this in a campaign of theirs",
    family="identity",
    unit="link",
    needs=(),
    maturity="alert",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)

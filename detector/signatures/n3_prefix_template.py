"""N3: the accounts of one prefix share one template.

Purpose: a subnet farm: unrelated organisations behind one prefix that all run the
same text.
Misses: proxies that mix unrelated customers onto a prefix.
Confuses: one firm behind NAT (one organisation, which does not count).
Limits: the chance that two sampled members' main templates agree (the second
frequency moment), by the lower bound of the share whose square it is; organisations by
their lower bound.
Source: collision statistics, Alon, Matias and Szegedy 1996.
"""

import numpy as np

from detector.link_columns import KINDS
from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp, wilson_lower

ORGS_MIN = 8.0
COLLISION_MIN = 0.3
COLLISION_FULL = 0.8
LOG_ODDS_MAX = 2.5


def judge(view: LinkView) -> Answer:
    """Weigh template collisions among the organisations of a prefix."""
    prefix = (view.kind == KINDS.index("subnet")) & (view.orgs_lower >= ORGS_MIN)
    collision = np.nan_to_num(view.template_collision)
    lower = wilson_lower(np.sqrt(collision) * view.units, view.units) ** 2
    weight = LOG_ODDS_MAX * ramp(lower, low=COLLISION_MIN, high=COLLISION_FULL)
    facts = {
        "template_collision": FactColumn(view.template_collision, "chance", COLLISION_MIN, lower=lower),
        "organisations": FactColumn(view.orgs, "organisations", ORGS_MIN, lower=view.orgs_lower),
    }
    return Answer(np.where(prefix, weight, 0.0).round(6), facts)


SIGNATURE = Signature(
    id="n3_prefix_template",
    title="One template across the accounts of a prefix",
    family="network",
    unit="link",
    needs=("client_ip", "template_fp"),
    maturity="enforce",
    version=2,
    cross_account=True,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)

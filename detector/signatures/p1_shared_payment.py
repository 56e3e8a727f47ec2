"""P1: many unrelated organisations behind one payment, device or sign-up address.

Purpose: identity shared where it should not be: on the attribute's own row, and as
organisations per payment within a pool that shares text.
Misses: unique virtual cards, residential sign-up addresses.
Confuses: agencies, families and resellers, which are few or run different text.
Limits: paying organisations by their lower bound against payments by their upper bound;
who pays nothing shares no payment.
Source: shared payment is a published indicator of coordinated accounts.
"""

import numpy as np

from detector.link_columns import KINDS
from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp, wilson_lower

_IDENTITY = np.array([KINDS.index(k) for k in ("payment_fp", "device_fp", "signup_ip_fp")])
ORGS_MIN = 8.0
ORGS_FULL = 40.0
PER_PAYMENT_MIN = 2.0
PER_PAYMENT_FULL = 5.0
LOG_ODDS_MAX = 3.0


def judge(view: LinkView) -> Answer:
    """Weigh organisations behind one identity; in a text pool, paying organisations per payment."""
    identity = np.isin(view.kind, _IDENTITY) & (view.orgs_lower >= ORGS_MIN)
    crowd = ramp(np.log2(np.maximum(view.orgs_lower, 1.0)), low=np.log2(ORGS_MIN / 2), high=np.log2(ORGS_FULL))
    # Free and trial accounts have no payment: counted as payers they would make a few cards look shared by all.
    payers = view.orgs_lower * wilson_lower(view.paying, view.units)
    per_payment = np.divide(
        payers,
        view.payments_upper,
        out=np.full(view.orgs.shape, np.nan),
        where=(view.payments_upper > 0) & (payers > 0),
    )
    reuse = view.is_text & (payers >= ORGS_MIN) & (per_payment >= PER_PAYMENT_MIN)
    log_odds = np.where(identity, LOG_ODDS_MAX * crowd, 0.0)
    shared = LOG_ODDS_MAX * ramp(per_payment, low=PER_PAYMENT_MIN / 2, high=PER_PAYMENT_FULL)
    log_odds = np.maximum(log_odds, np.where(reuse, shared, 0.0))
    facts = {
        "organisations": FactColumn(view.orgs, "organisations", ORGS_MIN, lower=view.orgs_lower),
        "organisations_per_payment": FactColumn(per_payment, "organisations", PER_PAYMENT_MIN, lower=per_payment),
    }
    return Answer(log_odds.round(6), facts)


SIGNATURE = Signature(
    id="p1_shared_payment",
    title="Many organisations behind one payment, device or sign-up address",
    family="identity",
    unit="link",
    needs=(),
    needs_any=("payment_fp", "device_fp", "signup_ip_fp"),
    maturity="enforce",
    version=2,
    cross_account=True,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)

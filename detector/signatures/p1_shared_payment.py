"""P1: many unrelated accounts behind one payment, device or sign-up address.

Purpose: identity shared where it should not be: on the attribute's own row, and as
accounts per payment within a pool that shares text.
Misses: unique virtual cards, residential sign-up addresses.
Confuses: agencies, families and resellers, which are few or run different text.
Limits: accounts by their lower bound against payments by their upper bound.
Source: shared payment is a published indicator of coordinated accounts.
"""

import numpy as np

from detector.links import KINDS
from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp

_IDENTITY = np.array([KINDS.index(k) for k in ("payment_fp", "device_fp", "signup_ip_fp")])
ACCOUNTS_MIN = 8.0
ACCOUNTS_FULL = 40.0
PER_PAYMENT_MIN = 2.0
PER_PAYMENT_FULL = 5.0
LOG_ODDS_MAX = 3.0


def judge(view: LinkView) -> Answer:
    """Weigh accounts behind one identity; in a text pool, accounts per payment."""
    identity = np.isin(view.kind, _IDENTITY) & (view.accounts_lower >= ACCOUNTS_MIN)
    crowd = ramp(
        np.log2(np.maximum(view.accounts_lower, 1.0)), low=np.log2(ACCOUNTS_MIN / 2), high=np.log2(ACCOUNTS_FULL)
    )
    per_payment = np.divide(
        view.accounts_lower, view.payments_upper, out=np.zeros_like(view.accounts), where=view.payments_upper > 0
    )
    reuse = view.is_text & (view.accounts_lower >= ACCOUNTS_MIN) & (per_payment >= PER_PAYMENT_MIN)
    log_odds = np.where(identity, LOG_ODDS_MAX * crowd, 0.0)
    shared = LOG_ODDS_MAX * ramp(per_payment, low=PER_PAYMENT_MIN / 2, high=PER_PAYMENT_FULL)
    log_odds = np.maximum(log_odds, np.where(reuse, shared, 0.0))
    facts = {
        "accounts": FactColumn(view.accounts, "accounts", ACCOUNTS_MIN, lower=view.accounts_lower),
        "accounts_per_payment": FactColumn(per_payment, "accounts", PER_PAYMENT_MIN, lower=per_payment),
    }
    return Answer(np.round(log_odds, 6), facts)


SIGNATURE = Signature(
    id="p1_shared_payment",
    title="Many accounts behind one payment, device or sign-up address",
    family="identity",
    unit="link",
    needs=(),
    needs_any=("payment_fp", "device_fp", "signup_ip_fp"),
    maturity="enforce",
    version=1,
    cross_account=True,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)

"""A9: an account works at its maximum from its first hour, without a ramp.

Purpose: query volume seen from one account: bought to be used, not to be tried.
Misses: warmed-up accounts; pools so slow that an hour holds one request.
Confuses: a workload moved to a new key (60 % of newcomers reach half their peak within a day).
Limits: needs the account's birth in the log (first seen within two days of its
creation); silent under 12 requests or a peak under 3 an hour.
Source: published indicator "maximum use at once, no ramp".
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature

REQUESTS_MIN = 12.0
PEAK_MIN = 3.0
FIRST_HOUR_SHARE_MIN = 0.75
NEW_MS = 2 * 86_400_000


def judge(view: AccountView) -> Answer:
    """Fire where the first hour already reached most of the account's busiest hour."""
    share = np.minimum(view.first_hour / np.maximum(view.hour_peak, 1.0), 1.0)
    new = np.nan_to_num(view.age_ms, nan=np.inf) <= NEW_MS
    fires = (view.requests >= REQUESTS_MIN) & (view.hour_peak >= PEAK_MIN) & new & (share >= FIRST_HOUR_SHARE_MIN)
    facts = {"first_hour_of_peak": FactColumn(share, "share", FIRST_HOUR_SHARE_MIN)}
    return Answer(np.where(fires, 1.0, 0.0), facts)


SIGNATURE = Signature(
    id="a9_instant_maximum",
    title="New accounts work at their maximum from the first hour",
    family="timing",
    unit="account",
    needs=("account_created_at",),
    maturity="alert",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=1.5,
)

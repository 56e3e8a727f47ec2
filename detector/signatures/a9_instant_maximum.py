"""A9: an account works at its maximum from its first hour, without a ramp.

Purpose: query volume seen from one account: bought to be used, not to be tried.
Misses: warmed-up accounts; pools so slow that an hour holds one request.
Confuses: a workload moved to a new key (60 % of newcomers reach half their peak within a day).
Limits: needs the account's birth in the log (first seen within two days of its
creation); cannot judge others, nor under 12 requests or a peak under 3 an hour, so that
new accounts are held against new accounts and youth itself is no evidence here.
Source: published indicator "maximum use at once, no ramp".
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet

REQUESTS_MIN = 12.0
PEAK_MIN = 3.0
FIRST_HOUR_SHARE_MIN = 0.75
NEW_MS = 2 * 86_400_000


def judge(view: AccountView) -> Answer:
    """Fire where the first hour already reached most of the account's busiest hour."""
    share = np.minimum(view.first_hour / np.maximum(view.hour_peak, 1.0), 1.0)
    new = np.nan_to_num(view.age_ms, nan=np.inf) <= NEW_MS
    judged = (view.requests >= REQUESTS_MIN) & (view.hour_peak >= PEAK_MIN) & new
    facts = {"first_hour_of_peak": FactColumn(share, "share", FIRST_HOUR_SHARE_MIN)}
    return Answer(fires_or_quiet(share >= FIRST_HOUR_SHARE_MIN, judged=judged), facts)


SIGNATURE = Signature(
    id="a9_instant_maximum",
    title="New accounts work at their maximum from the first hour",
    family="timing",
    unit="account",
    needs=("account_created_at",),
    maturity="alert",
    version=2,
    cross_account=False,
    judge=judge,
    log_odds_max=1.5,
)

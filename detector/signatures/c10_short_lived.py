"""C10: short-lived accounts, replaced at constant size.

Purpose: life cycle of a pool: its accounts are far younger than the population's, and
as some fall silent others of the same kind begin.
Misses: aged or bought accounts; lives of many months.
Confuses: trials, courses, hackathons and launches, which are young as well but end.
Limits: units are organisations; the base rate leaves the pool itself out; youth is
judged from eight organisations of known age, turnover from two days of history.
Source: reported turnover of about seven days' life at constant concurrency.
"""

import numpy as np

from detector.signatures.contract import BASE_RATE_MIN, Answer, FactColumn, LinkView, Signature, wilson_lower

UNITS_MIN = 8.0
YOUNG_RATE = 0.85
YOUNG_MAX = 3.0
TURNOVER_MIN = 0.15
HISTORY_MS = 2 * 86_400_000
TURNOVER_MAX = 3.0


def judge(view: LinkView) -> Answer:
    """Add the excess of young organisations and, given history, deaths that births replace."""
    p0 = np.clip(np.nan_to_num(view.young_base, nan=YOUNG_RATE), BASE_RATE_MIN, 0.8)
    k, n = np.nan_to_num(view.young), np.nan_to_num(view.age_known)
    ratio = k * np.log(YOUNG_RATE / p0) + (n - k) * np.log((1 - YOUNG_RATE) / (1 - p0))
    young = np.where(n >= UNITS_MIN, np.clip(ratio, -1.0, YOUNG_MAX), 0.0)
    members = np.maximum(view.members, 1.0)
    born, gone = wilson_lower(view.born, members), wilson_lower(view.gone, members)
    balanced = (np.minimum(view.born, view.gone) >= 0.5 * np.maximum(view.born, view.gone)) & (
        view.members >= UNITS_MIN
    )
    turnover = np.where(
        (view.span_ms >= HISTORY_MS) & balanced & (np.minimum(born, gone) >= TURNOVER_MIN) & view.is_text,
        TURNOVER_MAX,
        0.0,
    )
    share = np.divide(k, n, out=np.zeros_like(k), where=n > 0)
    facts = {
        "young_share": FactColumn(
            share, "organisations under 7 days old", YOUNG_RATE, lower=wilson_lower(k, n), baseline=p0
        ),
        "born_share": FactColumn(view.born / members, "members new in 24 h", TURNOVER_MIN, lower=born),
        "gone_share": FactColumn(view.gone / members, "members silent for 24 h", TURNOVER_MIN, lower=gone),
    }
    return Answer(np.round(np.maximum(young, turnover), 6), facts)


SIGNATURE = Signature(
    id="c10_short_lived",
    title="Short-lived accounts, replaced at constant size",
    family="lifecycle",
    unit="link",
    needs=("account_created_at",),
    maturity="enforce",
    version=1,
    cross_account=True,
    judge=judge,
    log_odds_max=TURNOVER_MAX,
)

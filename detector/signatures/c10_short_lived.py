"""C10: short-lived accounts, replaced at constant size.

Purpose: life cycle of a pool: its accounts are far younger than the population's, or
as some fall silent others of the same kind begin.
Misses: aged or bought accounts; lives of many months; accounts used for a single burst.
Confuses: trials, courses, hackathons and launches, which are young as well but end.
Limits: youth counts organisations of known age, from eight on, against a base rate that
leaves the pool itself out. Turnover counts accounts of a steady pace and needs no ages;
without them a new face may be an old visitor, so it waits for two weeks of history.
Source: reported turnover of about seven days' life at constant concurrency.
"""

import numpy as np

from detector.signatures.contract import (
    BASE_RATE_MAX,
    BASE_RATE_MIN,
    F64,
    OCCASION,
    Answer,
    FactColumn,
    LinkView,
    Signature,
    ratio,
    wilson_lower,
)

UNITS_MIN = 8.0
YOUNG_RATE = 0.85
# Or half is bought as a batch, as P2 has it, and half is as old as everybody.
BATCH_SHARE = 0.5
YOUNG_MAX = 3.0
SETTLED_AGAINST = 1.0
TURNOVER_MIN = 0.05
BALANCE_MIN = 0.5
HISTORY_MS = 2 * 86_400_000
UNDATED_HISTORY_MS = 14 * 86_400_000
DATED_SHARE_MIN = 0.9
TURNOVER_MAX = 3.0


def _excess(k: F64, n: F64, *, p0: F64, p1: F64) -> F64:
    """Log-likelihood ratio of `k` of `n` under `p1` against `p0`."""
    return k * np.log(p1 / p0) + (n - k) * np.log((1.0 - p1) / (1.0 - p0))


def _mixed_rate(p0: F64) -> F64:
    """Of a campaign half of which is a batch; on a platform where more are young youth tells nothing."""
    return np.maximum(np.minimum(BATCH_SHARE + (1.0 - BATCH_SHARE) * p0, YOUNG_RATE), p0)


def _youth(view: LinkView) -> F64:
    """Log-likelihood ratio of the young organisations, 0 where ages or the base rate are unknown.

    Of two kinds of campaign the likelier counts. A course or a fashion makes the young come too, so the
    members count as the strangers that `OCCASION` leaves.
    """
    known = (view.age_known >= UNITS_MIN) & np.isfinite(view.young) & np.isfinite(view.young_base)
    k, n = np.where(known, view.young, 0.0), np.where(known, view.age_known, 0.0)
    p0 = np.clip(np.where(known, view.young_base, 1.0), BASE_RATE_MIN, BASE_RATE_MAX)
    fresh = _excess(k, n, p0=p0, p1=np.maximum(YOUNG_RATE, p0))
    mixed = _excess(k, n, p0=p0, p1=_mixed_rate(p0))
    excess = np.maximum(fresh, mixed) / (1.0 + np.maximum(n - 1.0, 0.0) * OCCASION)
    return np.where(known, np.clip(excess, -SETTLED_AGAINST, YOUNG_MAX), 0.0)


def _even_share(view: LinkView) -> F64:
    """The share of young organisations that speaks neither way; NaN where the base rate is unknown."""
    p0 = np.clip(view.young_base, BASE_RATE_MIN, BASE_RATE_MAX)
    p1 = _mixed_rate(p0)
    against = np.log((1.0 - p0) / (1.0 - p1))
    return np.divide(against, against + np.log(p1 / p0), out=np.full(p0.shape, np.nan), where=p1 > p0)


def judge(view: LinkView) -> Answer:
    """Take the excess of young organisations or, given history, deaths that births replace."""
    young = _youth(view)
    born, gone = wilson_lower(view.born, view.alive), wilson_lower(view.gone, view.alive)
    balanced = np.minimum(view.born, view.gone) >= BALANCE_MIN * np.maximum(view.born, view.gone)
    dated = view.age_known >= DATED_SHARE_MIN * view.units
    seen = view.span_ms >= np.where(dated, HISTORY_MS, UNDATED_HISTORY_MS)
    turns = (
        (view.is_text | view.is_program)
        & seen
        & balanced
        & (view.alive >= UNITS_MIN)
        & (np.minimum(born, gone) >= TURNOVER_MIN)
    )
    weight = np.where(turns, np.maximum(young, TURNOVER_MAX), young)

    facts = {
        "young_share": FactColumn(
            ratio(view.young, view.age_known),
            "organisations of known age under 7 days old",
            _even_share(view),
            lower=wilson_lower(view.young, view.age_known),
            baseline=view.young_base,
        ),
        "age_known": FactColumn(view.age_known, "organisations", UNITS_MIN),
        "born_share": FactColumn(
            ratio(view.born, view.alive), "accounts per day of those active in 48 h", TURNOVER_MIN, lower=born
        ),
        "gone_share": FactColumn(
            ratio(view.gone, view.alive), "accounts per day of those active in 48 h", TURNOVER_MIN, lower=gone
        ),
    }
    return Answer(weight.round(6), facts)


SIGNATURE = Signature(
    id="c10_short_lived",
    title="Short-lived accounts, replaced at constant size",
    family="lifecycle",
    unit="link",
    needs=(),
    needs_any=("account_created_at", "template_fp", "anchor_fps", "run_fps", "system_prompt_fp"),
    maturity="enforce",
    version=5,
    cross_account=True,
    judge=judge,
    log_odds_max=TURNOVER_MAX,
)

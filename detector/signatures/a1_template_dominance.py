"""A1: a few templates fill an account, and their slots never repeat.

Purpose: prompt diversity seen from one account: a fixed skeleton over ever new items.
Misses: prompts paraphrased per request; text without a shared head.
Confuses: retrieval services and evaluations, which do the same for one organisation;
so it is pooled, and never decides alone.
Limits: a lower bound from Space-Saving and HyperLogLog; silent under 8 requests.
Source: self-instruct and evol-instruct pipelines share an 8-word prefix throughout.
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature

REQUESTS_MIN = 8.0
# A pipeline sends little else; people mix tasks even in one application.
TEMPLATE_SHARE_MIN = 0.8
# Work items are dealt out once; retries and greetings repeat.
DISTINCT_SHARE_MIN = 0.8


def judge(view: AccountView) -> Answer:
    """Fire where at most four templates hold most requests and prompts hardly repeat."""
    distinct = np.divide(view.prompts_distinct_lower, view.texts, out=np.zeros_like(view.texts), where=view.texts > 0)
    fires = (
        (view.requests >= REQUESTS_MIN)
        & (view.template_share_lower >= TEMPLATE_SHARE_MIN)
        & (distinct >= DISTINCT_SHARE_MIN)
    )
    facts = {
        "template_share": FactColumn(
            view.template_share_lower, "share", TEMPLATE_SHARE_MIN, lower=view.template_share_lower
        ),
        "distinct_prompt_share": FactColumn(distinct, "share", DISTINCT_SHARE_MIN, lower=distinct),
    }
    return Answer(np.where(fires, 1.0, 0.0), facts)


SIGNATURE = Signature(
    id="a1_template_dominance",
    title="A few templates with ever new items fill the account",
    family="content",
    unit="account",
    needs=("prompt_fp",),
    needs_any=("template_fp",),
    maturity="enforce",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=1.5,
)

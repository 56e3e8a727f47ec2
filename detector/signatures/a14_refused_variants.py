"""A14: most requests are refused, each time with another text.

Purpose: the search for a technique that gets through: one report counts over 12,000
requests, each with another one. It is seen in what the requests meet, whatever their texts share.
Misses: variants spread over very many accounts; searches on another model.
Confuses: red teams, which declare their use; so it is pooled, and never decides alone.
Limits: both shares count by their lower bounds, from 12 requests on.
Source: reported campaigns of refused variants; refusals are rare among people.
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, ratio, wilson_lower

REQUESTS_MIN = 12.0
REFUSED_SHARE_MIN = 0.3
DISTINCT_SHARE_MIN = 0.7


def judge(view: AccountView) -> Answer:
    """Fire where refusals are a habit and the texts differ."""
    refused = wilson_lower(view.refused, view.requests)
    distinct = ratio(view.prompts_distinct_lower, view.texts)
    facts = {
        "refused_share": FactColumn(
            view.refused / np.maximum(view.requests, 1.0), "share of requests", REFUSED_SHARE_MIN, lower=refused
        ),
        "distinct_share": FactColumn(np.minimum(distinct, 1.0), "share of prompts", DISTINCT_SHARE_MIN),
    }
    fires = (refused >= REFUSED_SHARE_MIN) & (distinct >= DISTINCT_SHARE_MIN)
    return Answer(fires_or_quiet(fires, judged=(view.requests >= REQUESTS_MIN) & (view.texts > 0)), facts)


SIGNATURE = Signature(
    id="a14_refused_variants",
    title="Most requests are refused, each time with another text",
    family="behaviour",
    unit="account",
    needs=("finish_reason", "prompt_fp"),
    maturity="enforce",
    version=2,
    cross_account=False,
    judge=judge,
    log_odds_max=3.0,
)

"""T4: strangers whose prompts come out of one source, without a text in common.

Purpose: bare replay of a prompt set. What a queue deals out has the same mix in every account, so of the variance of
a prompt's length nothing lies between accounts; people and businesses differ, each has tasks of his own.
Misses: accounts that are each given a topic of their own; system prompts put in front to look like an application.
Confuses: customers of one application that adds neither a text nor a system prompt to what its users write.
Limits: client programs, and texts that members met by chance, as accounts with copied settings do that replay one
set; twelve organisations, each with two requests. The share between accounts
accuses by its upper bound; a tenth of the members is set aside.
Source: published harvest and human prompt sets: SD of log length 1.0 within one person and 1.6 over many people, so
0.61 of the variance lies between people (1 - 1 / 1.6^2). Of 630 client programs in nine innocent worlds one has a sixth
of the weight, and none more.
"""

import numpy as np

from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, dealt_turns, ramp, ratio

MEMBERS_MIN = 12.0
BETWEEN_MAX = 0.3
BETWEEN_FULL = 0.15
BARE_MIN = 0.75
BARE_FULL = 0.9
SHARED_MAX = 0.6
SHARED_FULL = 0.4
DISTINCT_MIN = 0.5
DISTINCT_FULL = 0.65
BLIND_COST = 0.7


def judge(view: LinkView) -> Answer:
    """Accuse on the upper bound of what lies between accounts, where an application would have left its text."""
    blind = ~(view.texts > 0)
    distinct = ratio(view.prompts_lower, view.texts)
    dealt = np.where(blind, 1.0, ramp(distinct, low=DISTINCT_MIN, high=DISTINCT_FULL))
    weight = LOG_ODDS_MAX * (
        ramp(view.between_upper, low=BETWEEN_MAX, high=BETWEEN_FULL)
        * ramp(view.bare_share, low=BARE_MIN, high=BARE_FULL)
        * ramp(view.shared_share, low=SHARED_MAX, high=SHARED_FULL)
        * dealt
        * dealt_turns(view)
    )
    weight = np.where(blind, np.maximum(weight - BLIND_COST, 0.0), weight)
    facts = {
        "between_accounts_share": FactColumn(
            view.between_share, "share of the variance of ln(length)", BETWEEN_MAX, upper=view.between_upper
        ),
        "without_system_prompt_share": FactColumn(view.bare_share, "share of organisations", BARE_MIN),
        "shared_text_share": FactColumn(view.shared_share, "share of a member's requests", SHARED_MAX),
        "distinct_item_share": FactColumn(np.minimum(distinct, 1.0), "share", DISTINCT_MIN),
        "organisations_compared": FactColumn(view.compared, "organisations", MEMBERS_MIN),
    }
    return Answer(
        np.where((view.is_program | view.is_text) & (view.compared >= MEMBERS_MIN), weight, 0.0).round(6), facts
    )


LOG_ODDS_MAX = 4.7
SIGNATURE = Signature(
    id="t4_one_source",
    title="Prompts of strangers out of one source, without a text in common",
    family="content",
    unit="link",
    needs=(),
    maturity="enforce",
    version=2,
    cross_account=True,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)

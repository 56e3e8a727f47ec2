"""T1: prompts alike in length and bare of conversation, with more taken out than innocents take.

Purpose: bare replay of a prompt set, which shares no text: the part of the conjunction that
lies in what is sent.
Misses: prompt sets as uneven and as chatty as people; sessions that imitate people.
Confuses: users of published prompts and evaluations, which are few and unrelated; so it is
pooled, and never decides alone.
Limits: a conjunction at one innocent in fifty with as many requests; the other parts are T2's and T3's,
and of the common finding each counts a third. Cannot judge under 8 requests or without 30
innocents of like volume.
Source: conjunctions of account tails at 2 % carried bare replay in our trials.
"""

import numpy as np

from detector.signatures.contract import (
    ALIKE_JOINT,
    JOINT_RATE,
    AccountView,
    Answer,
    FactColumn,
    Signature,
    fires_or_quiet,
)


def judge(view: AccountView) -> Answer:
    """Fire where what is sent, what is taken and the pace lie out together."""
    facts = {"prompts_rank": FactColumn(view.sent_rank, "share of innocents", view.conjunction_limit)}
    return Answer(
        fires_or_quiet(view.conjunction > 0, judged=np.isfinite(view.conjunction) & (view.requests > 0)), facts
    )


SIGNATURE = Signature(
    id="t1_uniform_prompts",
    title="Prompts alike in length and bare of conversation",
    family="content",
    unit="account",
    needs=(),
    maturity="shadow",
    version=1,
    cross_account=True,
    judge=judge,
    log_odds_max=4.0,
    spans=3,
    alike=ALIKE_JOINT,
    campaign_rate=JOINT_RATE,
    by_reference=True,
)

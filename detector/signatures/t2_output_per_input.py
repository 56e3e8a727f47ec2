"""T2: far more output than input, one request per conversation, from prompts that are all alike.

Purpose: bare replay of a prompt set, which shares no text: the part of the conjunction that
lies in what is taken.
Misses: harvesters who ask for brevity or send long prompts; sessions that imitate people.
Confuses: report writing from short orders by script; so it is pooled, and never decides alone.
Limits: a conjunction at one innocent in fifty with as many requests; the other parts are T1's and T3's,
and of the common finding each counts a third. Cannot judge under 8 requests or without 30
innocents of like volume.
Source: output per input separates replayed prompt sets from benchmarks.
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
    facts = {"output_rank": FactColumn(view.taken_rank, "share of innocents", view.conjunction_limit)}
    return Answer(
        fires_or_quiet(view.conjunction > 0, judged=np.isfinite(view.conjunction) & (view.requests > 0)), facts
    )


SIGNATURE = Signature(
    id="t2_output_per_input",
    title="Far more output than input, one request per conversation",
    family="behaviour",
    unit="account",
    needs=("output_tokens",),
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

"""T3: runs of a machine's steady pace, of prompts that are all alike and take much.

Purpose: bare replay of a prompt set, which shares no text: the part of the conjunction that
lies in the pace.
Misses: gaps drawn at random; sessions that imitate people; many requests in parallel.
Confuses: scripts that work through a list of short orders; so it is pooled, and never decides alone.
Limits: a conjunction at one innocent in fifty with as many requests; the other parts are T1's and T2's,
and of the common finding each counts a third. Cannot judge under 8 requests or without 30
innocents of like volume.
Source: published pipelines' own logs: gaps' CV 0.15 to 0.33 within a run.
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
    facts = {"pace_rank": FactColumn(view.paced_rank, "share of innocents", view.conjunction_limit)}
    return Answer(
        fires_or_quiet(view.conjunction > 0, judged=np.isfinite(view.conjunction) & (view.requests > 0)), facts
    )


SIGNATURE = Signature(
    id="t3_steady_runs",
    title="Steady runs of uniform prompts",
    family="timing",
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

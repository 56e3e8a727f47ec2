"""M1: the population model (river half-space trees) finds an account unlike the rest.

Purpose: one eye without a hypothesis, over volume, diversity and extraction together.
Misses: attackers who are the majority; slow ramps.
Confuses: any rare but honest workload; so it is pooled, and never decides alone.
Limits: a bounded number of accounts is scored at each discovery; the rest abstain.
Source: Tan, Ting and Liu, "Fast anomaly detection for streaming data" (IJCAI 2011).
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature

SCORE_MIN = 0.9


def judge(view: AccountView) -> Answer:
    """Fire where the model's score lies above `SCORE_MIN`."""
    score = np.nan_to_num(view.model_score, nan=0.0)
    facts = {"model_score": FactColumn(score, "score", SCORE_MIN)}
    return Answer(np.where(score >= SCORE_MIN, 1.0, 0.0), facts)


SIGNATURE = Signature(
    id="m1_population_outlier",
    title="Accounts unlike the population",
    family="behaviour",
    unit="account",
    needs=(),
    maturity="alert",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=1.0,
)

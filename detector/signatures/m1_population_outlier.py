"""M1: the population model (river half-space trees) finds an account unlike the rest.

Purpose: one eye without a hypothesis, over volume, diversity and extraction together.
Misses: attackers who are the majority; slow ramps.
Confuses: any rare but honest workload; so it is pooled, and never decides alone.
Limits: a bounded number of accounts is scored at each discovery; the rest it cannot judge.
Source: Tan, Ting and Liu, "Fast anomaly detection for streaming data" (IJCAI 2011).
"""

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet

SCORE_MIN = 0.9


def judge(view: AccountView) -> Answer:
    """Fire where the model's score lies above `SCORE_MIN`."""
    facts = {"model_score": FactColumn(view.model_score, "score", SCORE_MIN)}
    return Answer(fires_or_quiet(view.model_score >= SCORE_MIN, judged=view.model_score > 0), facts)


SIGNATURE = Signature(
    id="m1_population_outlier",
    title="Accounts unlike the population",
    family="behaviour",
    unit="account",
    needs=(),
    maturity="alert",
    version=2,
    cross_account=False,
    judge=judge,
    log_odds_max=1.0,
)

"""A6: outputs are long against the population, or end at the cap.

Purpose: output extraction by volume: a harvester pays for tokens out, not in.
Misses: short labels (judging, classification); harvesters who ask for brevity.
Confuses: code generation, report writing.
Limits: the tail is the population's own ninth decile among accounts with as many
requests; silent under 8 requests.
Source: output per input separates replayed prompt sets from benchmarks.
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature

REQUESTS_MIN = 8.0
CAPPED_SHARE_MIN = 0.5


def judge(view: AccountView) -> Answer:
    """Fire where the mean log output is beyond the population's tail, or half the answers end at the cap."""
    capped = np.nan_to_num(view.capped_share, nan=0.0)
    long_answers = view.output_log_mean >= view.output_log_tail
    fires = (view.requests >= REQUESTS_MIN) & (long_answers | (capped >= CAPPED_SHARE_MIN))
    facts = {
        "output_tokens_mean": FactColumn(
            np.exp2(view.output_log_mean), "tokens (geometric mean)", np.exp2(view.output_log_tail)
        ),
        "capped_share": FactColumn(capped, "share", CAPPED_SHARE_MIN),
    }
    return Answer(np.where(fires, 1.0, 0.0), facts)


SIGNATURE = Signature(
    id="a6_long_outputs",
    title="Outputs are long or end at the cap",
    family="behaviour",
    unit="account",
    needs=("output_tokens",),
    maturity="enforce",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=2.5,
)

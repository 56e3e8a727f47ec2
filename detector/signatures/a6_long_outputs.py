"""A6: outputs are long against the population, or end at the cap.

Purpose: output extraction by volume: a harvester pays for tokens out, not in.
Misses: short labels (judging, classification); harvesters who ask for brevity.
Confuses: code generation, report writing.
Limits: the tail is the population's own ninth decile among accounts with as many
requests; the share that ends at the cap counts by its lower bound; cannot judge under
8 requests.
Source: output per input separates replayed prompt sets from benchmarks.
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, wilson_lower

REQUESTS_MIN = 8.0
CAPPED_SHARE_MIN = 0.5


def judge(view: AccountView) -> Answer:
    """Fire where the mean log output is beyond the population's tail, or half the answers end at the cap."""
    capped = wilson_lower(np.nan_to_num(view.capped_share, nan=0.0) * view.finish_known, view.finish_known)
    long_answers = view.output_log_mean >= view.output_log_tail
    fires = long_answers | (capped >= CAPPED_SHARE_MIN)
    facts = {
        "output_tokens_mean": FactColumn(
            np.exp2(view.output_log_mean), "tokens (geometric mean)", np.exp2(view.output_log_tail)
        ),
        "capped_share": FactColumn(view.capped_share, "share", CAPPED_SHARE_MIN, lower=capped),
    }
    return Answer(fires_or_quiet(fires, judged=view.requests >= REQUESTS_MIN), facts)


SIGNATURE = Signature(
    id="a6_long_outputs",
    title="Outputs are long or end at the cap",
    family="behaviour",
    unit="account",
    needs=("output_tokens",),
    maturity="enforce",
    version=3,
    cross_account=False,
    judge=judge,
    log_odds_max=2.5,
    by_reference=True,
)

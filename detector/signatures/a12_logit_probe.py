"""A12: answers of one token, with their probabilities: a logit probe.

Purpose: a model's last layer can be solved for from token probabilities; a probe asks for
them again and again and wants no text.
Misses: probes that hide among answers of ordinary length; probabilities taken elsewhere.
Confuses: classifiers with constrained decoding and evaluations by likelihood, which one
organisation runs; so it is pooled, and never decides alone.
Limits: both shares count by their lower bounds, from 20 requests on.
Source: published attacks on production models by logit bias and token probabilities.
"""

import numpy as np

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, wilson_lower

REQUESTS_MIN = 20.0
PROBED_SHARE_MIN = 0.5


def judge(view: AccountView) -> Answer:
    """Fire where most requests ask for probabilities and most answers are a single token."""
    logprobs, tiny = wilson_lower(view.logprobs, view.requests), wilson_lower(view.tiny, view.requests)
    probes = np.minimum(logprobs, tiny)
    share = np.minimum(view.logprobs, view.tiny) / np.maximum(view.requests, 1.0)
    facts = {"probe_share": FactColumn(share, "share of requests", PROBED_SHARE_MIN, lower=probes)}
    return Answer(fires_or_quiet(probes >= PROBED_SHARE_MIN, judged=view.requests >= REQUESTS_MIN), facts)


SIGNATURE = Signature(
    id="a12_logit_probe",
    title="Answers of one token, with their probabilities",
    family="behaviour",
    unit="account",
    needs=("logprobs_requested", "output_tokens"),
    maturity="enforce",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=5.0,
)

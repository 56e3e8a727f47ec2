"""A text's hash with a fixed threshold: block a template that too many accounts send.

Purpose: the rule that comes to mind first once templates have fingerprints.
Limits: popular harnesses and viral prompts have more accounts than any campaign; paraphrase has none.
Source: thresholds on counts of a hash, as in spam filters (Damiani et al. 2004).
"""

import numpy as np

from detector.tuning.peers.log import F64, Log

SCOPE = "template_fp"
NEEDS_TEXT = False


def levels(log: Log, reference: Log) -> F64:
    """How many accounts had sent the request's template before it; -inf without one."""
    del reference
    seen: list[set[int]] = [set() for _ in log.template.names]
    out = np.full(log.time_ms.size, -np.inf)
    pairs = zip(log.template.codes.tolist(), log.account.codes.tolist(), strict=True)
    for row, (template, account) in enumerate(pairs):
        if template >= 0:
            out[row] = len(seen[template])
            seen[template].add(account)
    return out

"""Nobody is ever contained.

Purpose: the floor: what a campaign takes where nothing is done.
Limits: none.
Source: NAB's null detector (Lavin and Ahmad 2015).
"""

import numpy as np

from detector.tuning.peers.log import F64, Log

SCOPE = "account"
NEEDS_TEXT = False


def levels(log: Log, reference: Log) -> F64:
    """Nothing."""
    del reference
    return np.full(log.time_ms.size, -np.inf)

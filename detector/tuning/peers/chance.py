"""Accounts are contained by lot.

Purpose: the other floor: what the same collateral buys without looking.
Limits: the lot is drawn by a fixed seed.
Source: NAB's random detector (Lavin and Ahmad 2015).
"""

import numpy as np

from detector.tuning.peers.log import F64, Log

SCOPE = "account"
NEEDS_TEXT = False


def levels(log: Log, reference: Log) -> F64:
    """The account's lot, from its first request on."""
    del reference
    return np.random.default_rng(17).random(len(log.account.names))[log.account.codes]

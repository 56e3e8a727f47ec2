"""SynchroTrap: accounts that do the same at the same time, day after day.

Purpose: the clustering that found coordinated accounts at a social network by Jaccard similarity of their actions.
Limits: actions are (prefix, hour) and (template, hour); a day's clusters act from the day after. In place of single
linkage an account's score is its similarity to the `NEIGHBOURS`th most similar account: the threshold at which it
sits in a dense cluster, without a clustering for each threshold. Actions of more than `CROWD` accounts are left out.
Source: Cao, Yang, Yu and Palow, "Uncovering Large Groups of Active Malicious Accounts in Online Social Networks",
CCS 2014.
"""

from collections import Counter, defaultdict

import numpy as np

from detector.tuning.peers.log import DAY_MS, F64, HOUR_MS, Log

SCOPE = "account"
NEEDS_TEXT = False
NEIGHBOURS = 4
CROWD = 200
ACTIONS_MIN = 3


def levels(log: Log, reference: Log) -> F64:
    """The account's similarity to its fourth nearest on its most suspicious day before this one."""
    del reference
    days = log.time_ms // DAY_MS
    highest = np.full(len(log.account.names), -np.inf)
    out = np.full(log.time_ms.size, -np.inf)
    for day in np.unique(days).tolist():
        rows = np.flatnonzero(days == day)
        out[rows] = highest[log.account.codes[rows]]
        for account, score in _day(log, rows).items():
            highest[account] = max(highest[account], score)
    return out


def _day(log: Log, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, float]:
    """Each account's similarity to its `NEIGHBOURS`th nearest, of one day."""
    hours = (log.time_ms[rows] // HOUR_MS).tolist()
    who = log.account.codes[rows].tolist()
    does: dict[int, set[tuple[int, int, int]]] = defaultdict(set)
    by: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for kind, keys in enumerate((log.subnet, log.template)):
        for account, hour, code in zip(who, hours, keys.codes[rows].tolist(), strict=True):
            if code >= 0:
                does[account].add((kind, code, hour))
                by[kind, code, hour].add(account)
    out = {}
    for account, actions in does.items():
        if len(actions) < ACTIONS_MIN:
            continue
        common: Counter[int] = Counter()
        for action in actions:
            if len(by[action]) <= CROWD:
                common.update(by[action] - {account})
        alike = sorted((n / (len(actions) + len(does[other]) - n) for other, n in common.items()), reverse=True)
        if len(alike) >= NEIGHBOURS:
            out[account] = alike[NEIGHBOURS - 1]
    return out

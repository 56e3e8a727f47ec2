"""A crowd of accounts whose behaviour is known: people, and a few that behave like a replay."""

import numpy as np

from detector.accounts import A, AccountTable

ORDINARY, ODD = 60, 12


def crowd() -> AccountTable:
    """Sixty people, each with a client of their own, and twelve alike that behave like a replay."""
    table = AccountTable(1_024)
    count = ORDINARY + ODD
    rng = np.random.default_rng(3)
    table.index.add(rng.integers(1, 1 << 62, count).astype(np.uint64), [b"account"] * count)
    stats = table.stats[:count]
    odd = np.arange(count) >= ORDINARY
    requests = 40
    stats[:, A.REQUESTS] = requests
    stats[:, A.ORG] = np.arange(count) + 1
    stats[:, A.PROGRAM] = np.where(odd, 7, 100 + np.arange(count))
    mean = 2_000 + 5 * np.arange(count)
    spread = np.where(odd, 20, 200 + 4 * np.arange(count))
    for total, squares, times in ((A.LOG_IN, A.LOG_IN_SQ, requests), (A.LOG_RUN, A.LOG_RUN_SQ, 20)):
        stats[:, total] = mean * times
        stats[:, squares] = (mean**2 + spread**2) * times
    stats[:, A.RUN_GAPS] = 20
    stats[:, A.LOG_OUT] = stats[:, A.LOG_IN] + np.where(odd, 900, 2 * np.arange(count)) * requests
    stats[:, A.STYLE_KNOWN], stats[:, A.TURN_KNOWN] = requests, requests
    stats[:, A.MARKED] = np.where(odd, 0, 10 + np.arange(count) % 20)
    stats[:, A.SINGLE] = np.where(odd, requests, np.arange(count) % 20)
    return table

"""PRADA: the distances of an account's queries to its own earlier ones, tested for normality.

Purpose: the best known detector of model extraction by one client.
Limits: of an account's last `HISTORY` queries; tested at every `WINDOW` of them. Classes are not told in free text,
so all queries are one class. Normality by Shapiro and Francia's W', which needs no table.
Source: Juuti, Szyller, Marchal and Asokan, "PRADA: Protecting against DNN Model Stealing Attacks", EuroS&P 2019.
"""

from statistics import NormalDist

import numpy as np

from detector.tuning.peers.log import F64, Log, after_windows, rows_of

SCOPE = "account"
NEEDS_TEXT = True
WINDOW = 50
HISTORY = 500
OUTLIERS_SD = 3.0  # as published: distances further out than this are set aside


def levels(log: Log, reference: Log) -> F64:
    """One less W' of the account's distances so far: 0 is a perfect normal distribution."""
    del reference
    out = np.full(log.time_ms.size, -np.inf)
    for rows in rows_of(log.account.codes):
        ends = list(range(WINDOW, rows.size + 1, WINDOW))
        if ends:
            nearest = _nearest(log, rows)
            after_windows(rows, ends, [1.0 - francia(nearest[max(1, e - HISTORY) : e]) for e in ends], out)
    return out


def _nearest(log: Log, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> F64:
    """Each query's distance to the nearest of the account's earlier ones, of the last `HISTORY`."""
    out = np.zeros(rows.size)
    for start in range(0, rows.size, WINDOW):
        block = log.vectors[rows[start : start + WINDOW]]
        first = max(0, start - HISTORY)
        past = log.vectors[rows[first : start + WINDOW]]
        near = block @ past.T
        own = np.arange(block.shape[0])[:, None] + (start - first)
        near[np.arange(past.shape[0])[None, :] >= own] = -1.0
        out[start : start + WINDOW] = np.sqrt(np.maximum(2.0 - 2.0 * near.max(axis=1), 0.0))
    return out


def francia(values: F64) -> float:
    """Shapiro and Francia's W': the squared correlation of ordered values with normal quantiles.

    >>> francia(np.array([NormalDist().inv_cdf((i - 0.375) / 40.25) for i in range(1, 41)])) > 0.999
    True
    """
    spread = values.std()
    kept = np.sort(values[np.abs(values - values.mean()) <= OUTLIERS_SD * spread]) if spread > 0 else values[:0]
    if kept.size < 3 or kept.std() == 0:
        return 0.0  # all distances equal: as far from normal as can be
    ranks = (np.arange(1, kept.size + 1) - 0.375) / (kept.size + 0.25)
    quantiles = np.array([NormalDist().inv_cdf(r) for r in ranks.tolist()])
    return float(np.corrcoef(kept, quantiles)[0, 1] ** 2)

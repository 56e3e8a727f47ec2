"""An isolation forest over what accounts did on a day.

Purpose: the anomaly detector that comes to hand for features of accounts.
Limits: fitted to the reference's accounts; a day acts from the day after. Features are counts and moments of one day.
Source: Liu, Ting and Zhou, "Isolation Forest", ICDM 2008; scikit-learn's, 200 trees.
"""

import numpy as np
from sklearn.ensemble import IsolationForest

from detector.tuning.peers.log import DAY_MS, F64, HOUR_MS, I64, Log, rows_of

SCOPE = "account"
NEEDS_TEXT = False
TREES = 200
REQUESTS_MIN = 5


def levels(log: Log, reference: Log) -> F64:
    """How isolated the account was on its strangest day before this one."""
    benign, _, _ = _days(reference)
    out = np.full(log.time_ms.size, -np.inf)
    shown, accounts, days = _days(log)
    if not len(benign) or not len(shown):
        return out
    forest = IsolationForest(n_estimators=TREES, random_state=13).fit(benign)
    scores = -forest.score_samples(shown)
    by: dict[int, list[tuple[int, float]]] = {}
    for account, day, score in zip(accounts, days, scores.tolist(), strict=True):
        by.setdefault(account, []).append((day, score))
    for rows in rows_of(log.account.codes):
        when = log.time_ms[rows] // DAY_MS
        for day, score in by.get(int(log.account.codes[rows[0]]), ()):
            out[rows[when > day]] = np.maximum(out[rows[when > day]], score)
    return out


def _days(log: Log) -> tuple[F64, list[int], list[int]]:
    """A row of features for each account and day with enough requests; whose and when."""
    features, accounts, days = [], [], []
    for rows in rows_of(log.account.codes):
        when = log.time_ms[rows] // DAY_MS
        for day in np.unique(when).tolist():
            mine = rows[when == day]
            if mine.size >= REQUESTS_MIN:
                features.append(_features(log, mine))
                accounts.append(int(log.account.codes[rows[0]]))
                days.append(day)
    return np.array(features).reshape(len(features), -1), accounts, days


def _features(log: Log, rows: I64) -> list[float]:
    gaps = np.log1p(np.diff(log.time_ms[rows]) / 1_000)
    sent, taken = (np.log1p(np.maximum(column[rows], 0)) for column in (log.input_tokens, log.output_tokens))
    hours = np.unique(log.time_ms[rows] // HOUR_MS).size
    distinct = (np.unique(keys.codes[rows]).size for keys in (log.subnet, log.template))
    moments = (sent.mean(), sent.std(), taken.mean(), taken.std(), gaps.mean(), gaps.std())
    return [float(np.log1p(rows.size)), *map(float, moments), float(hours), *map(float, distinct),
            float((log.turn[rows] <= 0).mean())]  # fmt: skip

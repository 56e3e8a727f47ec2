"""MMD: an account's windows of queries against benign ones, by random Fourier features.

Purpose: the detector that its published comparison found best: a two-sample test against benign traffic alone.
Limits: windows of `WINDOW` queries of one account; a kernel of the median distance. The published one embeds with a
sentence encoder; here texts are projected hashed words, which see vocabulary and no meaning.
Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 2012; Rahimi and Recht, NIPS 2007; the comparison of
detectors of model extraction that measures MMD at 100 % of pure windows of 1,500.
"""

import numpy as np

from detector.tuning.peers.log import F32, F64, WIDTH, Log, after_windows, rows_of

SCOPE = "account"
NEEDS_TEXT = True
WINDOW = 100
FEATURES = 256
PAIRS = 2_000
REFERENCE_MAX = 20_000


def levels(log: Log, reference: Log) -> F64:
    """The squared MMD of the account's windows so far, the highest of them."""
    rng = np.random.default_rng(11)
    rows = rng.permutation(reference.time_ms.size)[:REFERENCE_MAX]
    benign = reference.vectors[rows]
    half = benign[rng.integers(0, len(benign), PAIRS)] - benign[rng.integers(0, len(benign), PAIRS)]
    scale = float(np.median(np.linalg.norm(half, axis=1))) or 1.0
    weights = (rng.standard_normal((WIDTH, FEATURES)) / scale).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, FEATURES).astype(np.float32)

    def features(vectors: F32) -> F32:
        return np.sqrt(2.0 / FEATURES) * np.cos(vectors @ weights + phases)

    usual = features(benign).mean(axis=0)
    out = np.full(log.time_ms.size, -np.inf)
    for mine in rows_of(log.account.codes):
        ends = list(range(WINDOW, mine.size + 1, WINDOW))
        if ends:
            shown = features(log.vectors[mine[: ends[-1]]]).reshape(len(ends), WINDOW, FEATURES)
            # Unbiased: a sample differs from its own mean by its variance over its size.
            noise = (1.0 - np.square(shown.mean(axis=1)).sum(axis=1)) / (WINDOW - 1)
            apart = np.square(shown.mean(axis=1) - usual).sum(axis=1) - noise
            after_windows(mine, ends, apart.tolist(), out)
    return out

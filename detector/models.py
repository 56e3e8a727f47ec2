"""The population model: river half-space trees over account feature rows.

Purpose: an eye without a hypothesis. A bounded number of rows is scored at each
discovery and, unless accused, learnt after the score is taken.
Invariants: score, then learn; never learn from what stands accused; features lie in
fixed limits, so an attacker cannot stretch the range; rows come in key order. A score
is the share of earlier scores below it, in 1/65536.
Limits: `ROWS_MAX` rows a discovery at about 50 us each; silent in its first window.
Source: Tan, Ting and Liu, "Fast anomaly detection for streaming data" (IJCAI 2011);
river 0.26 `anomaly.HalfSpaceTrees`, whose node masses are all its state.
"""

import numpy as np
import numpy.typing as npt
from river import anomaly

from detector.signatures.contract import AccountView

I64 = npt.NDArray[np.int64]

ROWS_MAX = 8
TREES, HEIGHT, WINDOW = 10, 6, 250
SCORE_BINS = 1_024
# Fixed limits of each feature: (name, low, high); values outside are clipped.
_LIMITS = (
    ("requests_log", 0.0, 16.0),
    ("input_log_mean", 0.0, 16.0),
    ("input_log_sd", 0.0, 3.0),
    ("output_log_mean", 0.0, 14.0),
    ("gap_log_sd", 0.0, 8.0),
    ("template_share", 0.0, 1.0),
    ("distinct_share", 0.0, 1.0),
    ("single_share", 0.0, 1.0),
    ("elicited_share", 0.0, 1.0),
    ("hours", 0.0, 24.0),
)


class PopulationModel:
    """Half-space trees with their score distribution."""

    def __init__(self, seed: int) -> None:
        """Build the trees from the seed; the seed and the masses are the whole state."""
        self.trees = anomaly.HalfSpaceTrees(n_trees=TREES, height=HEIGHT, window_size=WINDOW, seed=seed)
        # The trees are laid out at the first row, whatever it holds: do it now, with an empty mass.
        self.trees.learn_one({name: 0.5 for name, _, _ in _LIMITS})
        self.restore(np.zeros((TREES, 2 ** (HEIGHT + 1) - 1, 2), np.int64), counter=0, first_window=True)
        self.scores: I64 = np.zeros(SCORE_BINS, np.int64)

    def score_then_learn(self, view: AccountView, chosen: I64, innocent: npt.NDArray[np.bool_]) -> I64:
        """Score the chosen rows of the view (int64 in 1/65536, 0 while silent), then learn the innocent ones."""
        rows = _features(view, chosen)
        out = np.zeros(chosen.size, np.int64)
        for i, row in enumerate(rows):
            if not self.trees._first_window:  # noqa: SLF001 - river says so nowhere else
                bin_ = min(int(self.trees.score_one(row) * SCORE_BINS), SCORE_BINS - 1)
                total = int(self.scores.sum())
                out[i] = max(1, int(self.scores[:bin_].sum()) * 65_536 // max(total, 1)) if total >= WINDOW else 0
                self.scores[bin_] += 1
        for row, clean in zip(rows, innocent.tolist(), strict=True):
            if clean:
                self.trees.learn_one(row)
        return out

    def masses(self) -> I64:
        """The node masses (trees, nodes, {reference, latest}): what a snapshot keeps."""
        return np.array([[(n.r_mass, n.l_mass) for n in tree.iter_dfs()] for tree in self.trees.trees], np.int64)

    def restore(self, masses: I64, *, counter: int, first_window: bool) -> None:
        """Put node masses back into trees built from the same seed."""
        for tree, rows in zip(self.trees.trees, masses.tolist(), strict=True):
            for node, (reference, latest) in zip(tree.iter_dfs(), rows, strict=True):
                node.r_mass, node.l_mass = reference, latest
        self.trees.counter = counter
        self.trees._first_window = first_window  # noqa: SLF001 - river has no other way to set it


def _features(view: AccountView, chosen: I64) -> list[dict[str, float]]:
    scored = np.maximum(view.elicitation_known, 1.0)
    columns = {
        "requests_log": np.log2(view.requests),
        "input_log_mean": view.input_log_mean,
        "input_log_sd": view.input_log_sd,
        "output_log_mean": view.output_log_mean,
        "gap_log_sd": view.gap_log_sd,
        "template_share": view.template_share_lower,
        "distinct_share": view.prompts_distinct_lower / np.maximum(view.texts, 1.0),
        "single_share": np.nan_to_num(view.single_share, nan=0.5),
        "elicited_share": view.elicited / scored,
        "hours": view.hours,
    }
    scaled = {
        name: np.round(np.clip((columns[name][chosen] - low) / (high - low), 0.0, 1.0), 6)
        for name, low, high in _LIMITS
    }
    return [{name: float(scaled[name][i]) for name in scaled} for i in range(chosen.size)]

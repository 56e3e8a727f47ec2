"""Scores: a run's scores.parquet, joined with the truth where there is one.

Purpose: pools that fell short of an alert, how often each signature fires on attackers and on the
innocent, and every account's verdict for the curves.
Invariants: an account that no pool holds has the lowest verdict of all; accounts of the log that
the tables forgot count as such. Functions of the files alone.
Limits: the tables as they stood at the end of the run.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from detector.link_columns import FOUNDING_KINDS
from detector.pages.run_files import RunFiles
from detector.signatures.registry import ACCOUNT_SIGNATURES

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class SignatureRates(NamedTuple):
    """The share of accounts on which a signature fires, of those that it could judge; None where there are none."""

    benign: float | None
    attack: float | None


class Judged(NamedTuple):
    """Every labelled account's verdict: natural log odds, and whether it belongs to a labelled campaign."""

    log_odds: F64
    attack: Bools


def pool_totals(run: RunFiles) -> list[float]:
    """Log odds of the pools that fell short: of a kind that founds campaigns, enough families, in no campaign."""
    if run.scores is None:
        return []
    own = run.manifest["settings"]["verdict"]
    field = pc.field
    short = (
        field("kind").isin(sorted(FOUNDING_KINDS))
        & ~field("in_campaign")
        & (field("families") >= own["families_min"])
        & (field("log_odds") < own["threshold"])
    )
    return sorted(run.scores.filter(short)["log_odds"].to_pylist())


def _joined(run: RunFiles) -> tuple[dict[str, int], Bools] | None:
    """Rows of the labelled accounts by name, and whether each is an attacker's."""
    if run.scores is None or run.accounts is None:
        return None
    names = run.accounts["account_id"].to_pylist()
    attack = np.asarray([bool(c) for c in run.accounts["campaign"].to_pylist()], bool)
    return {name: row for row, name in enumerate(names)}, attack


def rates(run: RunFiles) -> dict[str, SignatureRates]:
    """How often each account signature fires, on attackers and on the innocent; empty without labels."""
    joined = _joined(run)
    if joined is None or run.scores is None:
        return {}
    row_of, attack = joined
    mine = run.scores.filter(pc.equal(run.scores["kind"], "account"))
    rows = np.asarray([row_of.get(name, -1) for name in mine["value"].to_pylist()], np.int64)
    known = rows >= 0
    guilty = np.zeros(rows.size, bool)
    guilty[known] = attack[rows[known]]
    out = {}
    for signature in (s.id for s in ACCOUNT_SIGNATURES if s.id in mine.column_names):
        said = mine[signature].to_numpy()
        judged = known & np.isfinite(said) & (said != 0)

        def firing(side: Bools, said: F64 = said, judged: Bools = judged) -> float | None:
            those = judged & side
            return float((said[those] > 0).mean()) if those.any() else None

        out[signature] = SignatureRates(benign=firing(~guilty), attack=firing(guilty))
    return out


def judged(run: RunFiles) -> Judged | None:
    """Every labelled account's verdict; None without labels or scores."""
    joined = _joined(run)
    if joined is None or run.scores is None:
        return None
    row_of, attack = joined
    out = np.full(attack.size, np.nan)
    mine = run.scores.filter(pc.equal(run.scores["kind"], "account"))
    said = mine["log_odds"].to_numpy()
    for name, value in zip(mine["value"].to_pylist(), said.tolist(), strict=True):
        row = row_of.get(name)
        if row is not None:
            out[row] = np.fmax(out[row], value)
    lowest = np.nanmin(out) if np.isfinite(out).any() else 0.0
    return Judged(np.where(np.isfinite(out), out, lowest - 1.0), attack)


class Curve(NamedTuple):
    """Counts at every distinct threshold, from the strictest: flagged attackers and innocents."""

    thresholds: F64
    hits: F64
    false: F64
    attackers: int
    innocents: int


def curve(found: Judged) -> Curve:
    """Walk the thresholds from the highest to the lowest."""
    order = np.argsort(-found.log_odds, kind="stable")
    sorted_, guilty = found.log_odds[order], found.attack[order]
    last = np.append(np.flatnonzero(np.diff(sorted_) != 0), sorted_.size - 1)
    return Curve(
        thresholds=sorted_[last],
        hits=np.cumsum(guilty)[last].astype(np.float64),
        false=np.cumsum(~guilty)[last].astype(np.float64),
        attackers=int(found.attack.sum()),
        innocents=int((~found.attack).sum()),
    )


def recall_at(found: Curve, *, fpr: float) -> float | None:
    """The recall at a false positive rate; None where there are too few innocents to tell.

    >>> two = Curve(np.array([2.0, 1.0]), np.array([3.0, 4.0]), np.array([0.0, 5.0]), 4, 10_000)
    >>> recall_at(two, fpr=1e-3), recall_at(two, fpr=1e-5)
    (1.0, None)
    """
    if found.attackers == 0 or found.innocents * fpr < 1:
        return None
    fits = found.false <= fpr * found.innocents
    return float(found.hits[fits].max(initial=0.0) / found.attackers)

"""Verdict: evidence about one pool or campaign becomes one number.

Purpose: prior plus the best item of each family, capped, against a threshold.
Invariants: within a family the maximum counts, across families the sum; an item that
counts against (negative) is counted only where nothing in its family counts for;
re-adding the counted items of an alert gives its log-odds again. A signature in
`shadow` is shown and never counted; one at `alert` may raise an alert, but containment
must stand without it; what speaks against counts at either.
Limits: families are treated as independent, which they are not quite: hence the cap.
Source: naive Bayes with capped log-likelihood ratios, Good (1950).
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.config import VerdictSettings
from detector.records import Evidence, Fact, Verdict
from detector.signatures.contract import Answer, Signature

Item = tuple[Signature, float, dict[str, Fact]]


class Judged(NamedTuple):
    """A verdict with the evidence behind it."""

    verdict: Verdict
    evidence: tuple[Evidence, ...]
    families: int  # families with a positive counted item
    cross_account: bool  # one counted positive item comes from a cross-account signature
    contains: bool  # threshold, families and a cross-account item are reached without accusers below `enforce`

    @property
    def accuses(self) -> bool:
        """Say whether the log-odds reach the threshold."""
        return self.verdict.log_odds >= self.verdict.threshold


# Maturities whose items count for an alert.
COUNTED: frozenset[str] = frozenset({"alert", "enforce"})


def _at(column: npt.ArrayLike | None, row: int) -> float | None:
    """One row's number, rounded; None where it is not known."""
    if column is None:
        return None
    numbers = np.asarray(column, np.float64)
    value = float(numbers if numbers.ndim == 0 else numbers[row])
    return round(value, 6) if math.isfinite(value) else None


def facts_at(answer: Answer, row: int) -> dict[str, Fact]:
    """Take one row's facts out of an answer's columns, rounded, in the order in which they are written."""
    facts = {}
    for name, column in sorted(answer.facts.items()):
        value = _at(column.value, row)
        if value is not None:
            facts[name] = Fact(
                value=value,
                unit=column.unit,
                lower=_at(column.lower, row),
                upper=_at(column.upper, row),
                threshold=_at(column.threshold, row),
                baseline=_at(column.baseline, row),
            )
    return facts


def _counted(items: list[Item]) -> list[Item]:
    """Pick the best item of each family, ties by id: the greatest, so one against only where none is for."""
    best: dict[str, tuple[float, str]] = {}
    for signature, log_odds, _ in items:
        held = best.get(signature.family)
        if log_odds != 0 and (held is None or (log_odds, signature.id) > held):
            best[signature.family] = (log_odds, signature.id)
    ids = {sid for _, sid in best.values()}
    return [item for item in items if item[0].id in ids]


def _total(counted: list[Item], settings: VerdictSettings) -> float:
    ordered = sorted(counted, key=lambda item: item[0].id)
    return round(settings.prior + sum(round(min(x, settings.family_cap), 6) for _, x, _ in ordered), 6)


def weigh(items: list[Item], settings: VerdictSettings) -> Judged:
    """Combine (signature, log-odds, facts) items, at most one per signature."""
    eligible = [item for item in items if item[0].maturity in COUNTED]
    counted = _counted(eligible)
    # An accuser that has not earned containment is set aside; what speaks for the pool stays.
    earned = _counted([item for item in eligible if item[0].maturity == "enforce" or item[1] < 0])
    ids = {s.id for s, _, _ in counted}
    evidence = tuple(
        Evidence(
            signature=s.id,
            family=s.family,
            log_odds=round(min(log_odds, settings.family_cap), 6),
            counted=s.id in ids,
            facts=facts,
        )
        for s, log_odds, facts in sorted(items, key=lambda item: item[0].id)
        if log_odds != 0
    )
    for_it = [s for s, log_odds, _ in counted if log_odds > 0]
    enforced = [s for s, log_odds, _ in earned if log_odds > 0]
    return Judged(
        verdict=Verdict(
            log_odds=_total(counted, settings),
            prior=settings.prior,
            cap=settings.family_cap,
            threshold=settings.threshold,
        ),
        evidence=evidence,
        families=len(for_it),
        cross_account=any(s.cross_account for s in for_it),
        contains=(
            _total(earned, settings) >= settings.threshold
            and len(enforced) >= settings.families_min
            and any(s.cross_account for s in enforced)
        ),
    )

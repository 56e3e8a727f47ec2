"""Verdict: evidence about one pool or campaign becomes one number.

Purpose: prior plus the best item of each family, capped, against a threshold.
Invariants: within a family the maximum counts, across families the sum; an item that
counts against (negative) is counted only where nothing in its family counts for;
re-adding the counted items of an alert gives its log-odds again.
Limits: families are treated as independent, which they are not quite: hence the cap.
Source: naive Bayes with capped log-likelihood ratios, Good (1950).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.config import VerdictSettings
from detector.records import Evidence, Fact, Verdict
from detector.signatures.contract import Answer, Signature


class Judged(NamedTuple):
    """A verdict with the evidence behind it."""

    verdict: Verdict
    evidence: tuple[Evidence, ...]
    families: int  # families with a positive counted item
    cross_account: bool  # one counted positive item comes from a cross-account signature

    @property
    def accuses(self) -> bool:
        """Say whether the log-odds reach the threshold."""
        return self.verdict.log_odds >= self.verdict.threshold


def facts_at(answer: Answer, row: int) -> dict[str, Fact]:
    """Take one row's facts out of an answer's columns, rounded."""

    def at(column: npt.ArrayLike | None) -> float | None:
        if column is None:
            return None
        numbers = np.asarray(column, np.float64)
        value = float(numbers if numbers.ndim == 0 else numbers[row])
        return round(value, 6) if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN test

    facts = {}
    for name, column in answer.facts.items():
        value = at(column.value)
        if value is not None:
            facts[name] = Fact(
                value=value,
                unit=column.unit,
                lower=at(column.lower),
                upper=at(column.upper),
                threshold=at(column.threshold),
                baseline=at(column.baseline),
            )
    return facts


def weigh(items: list[tuple[Signature, float, dict[str, Fact]]], settings: VerdictSettings) -> Judged:
    """Combine (signature, log-odds, facts) items, at most one per signature."""
    best: dict[str, tuple[float, str]] = {}
    for signature, log_odds, _ in items:
        held = best.get(signature.family)
        if log_odds != 0 and (held is None or (log_odds, signature.id) > held):
            best[signature.family] = (log_odds, signature.id)
    counted = {sid for _, sid in best.values()}
    evidence = tuple(
        Evidence(
            signature=s.id,
            family=s.family,
            log_odds=round(min(log_odds, settings.family_cap), 6),
            counted=s.id in counted,
            facts=facts,
        )
        for s, log_odds, facts in sorted(items, key=lambda item: item[0].id)
        if log_odds != 0
    )
    total = settings.prior + sum(e.log_odds for e in evidence if e.counted)
    for_it = {s.id for s, log_odds, _ in items if log_odds > 0 and s.id in counted}
    return Judged(
        verdict=Verdict(
            log_odds=round(total, 6), prior=settings.prior, cap=settings.family_cap, threshold=settings.threshold
        ),
        evidence=evidence,
        families=len(for_it),
        cross_account=any(s.cross_account and s.id in for_it for s, _, _ in items),
    )

"""Calibrate: a threshold, and caps of signatures, that benign logs bear, without a label of an attack.

Purpose: `calibrate` takes scored benign logs (seeds, weeks) and an alert budget, and returns the lowest threshold that
keeps to it in every one of them, what the worst log comes to, and what a log says of the others' fit; `fragment`
writes it as settings.
Invariants: no log is pooled with another, the worst one decides; nothing here reads labels. A threshold is never
below `THRESHOLD_MIN`: under it a verdict calls likelier innocent what it accuses. Logs too short to show the budget
raise a threshold and never lower it.
Limits: a budget below what the logs can show (three per length of log, the rule of three) is met, not shown; the
report says so. Re-deciding is exact up to a log's first false case, so one false case is the engine's own, further
ones are near. Pools of one log are no independent draws: a cap rests on how logs differ, so give several.
Source: a likelihood ratio exceeds x for the innocent with a probability of at most 1/x (Markov; Ville 1939), whatever
the signature's model: so what benign pools reach more often is claimed too strongly. Rule of three: Hanley and
Lippman-Hand 1983.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from detector.config import Settings
from detector.signatures.registry import SIGNATURES
from detector.tuning.evaluate import count_interval
from detector.tuning.kept import Kept
from detector.tuning.redecide import limited
from detector.tuning.scored import Log
from detector.tuning.sweep import opened
from detector.verdict import COUNTED

THRESHOLD_MIN = 0.0
STEP = 0.25
CAP_MIN = 0.25


class Budget(NamedTuple):
    """What a benign log may show: cases a day, or the share of innocent accounts that cases hold."""

    per_day: float | None = None
    share: float | None = None


class Rate(NamedTuple):
    """What a threshold shows in one log."""

    cases: int
    per_day: float
    per_day_interval: list[float] | None
    innocents: int
    share: float


class Fit(NamedTuple):
    """One log: the lowest threshold that keeps to the budget in it, and what the chosen one and the others' show."""

    names: list[str]
    days: float
    accounts: int
    threshold: float
    at_chosen: Rate
    held_out: Rate | None  # at the threshold that the other logs give; None with one log


class Claim(NamedTuple):
    """How strongly a signature speaks of benign pools, and what they bear."""

    signature: str
    reached: float  # the most that any benign pool got
    share: float  # of pools that got as much, in the worst log
    bears: float  # log-odds that so frequent an answer can mean


class Calibration(NamedTuple):
    """What came out."""

    threshold: float
    log_odds_max: dict[str, float]
    fits: list[Fit]
    claims: list[Claim]
    shown: bool  # the logs are long enough to show the budget, not merely to meet it


def _with_threshold(settings: Settings, threshold: float) -> Settings:
    return msgspec.structs.replace(settings, verdict=msgspec.structs.replace(settings.verdict, threshold=threshold))


def rate(log: Log, settings: Settings) -> Rate:
    """What the settings show in a benign log: every case is false."""
    made = opened(log.kept, settings)
    held = {code for case in made for code in case.members}
    days = log.truth.days
    return Rate(
        cases=len(made),
        per_day=round(len(made) / days, 6),
        per_day_interval=count_interval(len(made), days),
        innocents=len(held),
        share=round(len(held) / max(len(log.truth.campaign_of), 1), 9),
    )


def _keeps(found: Rate, budget: Budget) -> bool:
    within_day = budget.per_day is None or found.per_day <= budget.per_day
    return within_day and (budget.share is None or found.share <= budget.share)


def fit(log: Log, settings: Settings, *, budget: Budget) -> float:
    """The lowest threshold, in steps of `STEP`, from which on a log keeps to the budget."""
    threshold = THRESHOLD_MIN
    top = THRESHOLD_MIN + STEP * np.ceil(max(_highest(log.kept, settings) - THRESHOLD_MIN, 0.0) / STEP) + STEP
    for candidate in np.arange(top, THRESHOLD_MIN - STEP / 2, -STEP).round(6).tolist():
        if not _keeps(rate(log, _with_threshold(settings, candidate)), budget):
            break
        threshold = candidate
    return threshold


def _highest(kept: Kept, settings: Settings) -> float:
    """No verdict of the log is above this."""
    odds = np.maximum(limited(kept.log_odds, settings.verdict), 0.0)
    return settings.verdict.prior + float(odds.sum(axis=1).max(initial=0.0))


def claims(logs: list[Log]) -> list[Claim]:
    """Hold each counted signature's answers about pools that could found a campaign against what they can mean.

    Of a pool its strongest answer counts. `bears` is the largest level x that at most a share exp(-x) of the pools
    reached, in the worst log; it is what was reached, where benign pools bear that.
    """
    out = []
    for at, signature in enumerate(SIGNATURES):
        if signature.maturity not in COUNTED:
            continue
        worst = Claim(signature.id, 0.0, 0.0, np.inf)
        for log in logs:
            best: dict[str, float] = {}
            kept = log.kept
            for row in np.flatnonzero(kept.founding).tolist():
                best[kept.pool[row]] = max(best.get(kept.pool[row], 0.0), float(kept.log_odds[row, at]))
            levels = np.sort(np.array([x for x in best.values() if x > 0]))
            if not levels.size:
                continue
            # Add one to both: a level reached by one pool of n is no rarer than 2 in n + 1.
            shares = (levels.size - np.searchsorted(levels, levels) + 1) / (len(best) + 1)
            bears = float(np.minimum(levels, -np.log(np.minimum(shares, 1.0))).max())
            if bears < worst.bears:
                worst = Claim(signature.id, round(float(levels[-1]), 6), round(float(shares[-1]), 6), round(bears, 6))
        if np.isfinite(worst.bears):
            out.append(worst)
    return out


def calibrate(logs: list[Log], settings: Settings, *, budget: Budget, cap: bool) -> Calibration:
    """Fit caps (where `cap`) and the threshold to benign logs. `logs` is not empty."""
    found = claims(logs)
    caps = dict(settings.verdict.log_odds_max)
    if cap:
        caps |= {c.signature: max(c.bears, CAP_MIN) for c in found if c.bears < c.reached}
    verdict = msgspec.structs.replace(settings.verdict, log_odds_max=caps)
    settings = msgspec.structs.replace(settings, verdict=verdict)
    thresholds = [fit(log, settings, budget=budget) for log in logs]
    shown = _shown(logs, budget)
    # What the logs are too short to show is no reason to lower a threshold.
    chosen = max([*thresholds, *([] if shown else [settings.verdict.threshold])])
    fits = []
    for at, log in enumerate(logs):
        others = thresholds[:at] + thresholds[at + 1 :]
        held_out = rate(log, _with_threshold(settings, max(others))) if others else None
        at_chosen = rate(log, _with_threshold(settings, chosen))
        accounts = len(log.truth.campaign_of)
        fits.append(Fit(log.names, round(log.truth.days, 3), accounts, thresholds[at], at_chosen, held_out))
    return Calibration(chosen, dict(sorted(caps.items())), fits, found, shown)


def _shown(logs: list[Log], budget: Budget) -> bool:
    """Say whether logs without a single false case would show the budget at 95 %."""
    by_day = budget.per_day is None or all(3 / log.truth.days <= budget.per_day for log in logs)
    by_share = budget.share is None or all(3 / max(len(log.truth.campaign_of), 1) <= budget.share for log in logs)
    return by_day and by_share


def fragment(made: Calibration, *, comment: str) -> str:
    r"""Write the outcome as TOML that settings take.

    >>> fragment(Calibration(2.5, {"a1_template_dominance": 1.5}, [], [], True), comment="by hand")
    '# by hand\n[verdict]\nthreshold = 2.5\n\n[verdict.log_odds_max]\na1_template_dominance = 1.5\n'
    """
    lines = [*(f"# {line}" for line in comment.splitlines()), "[verdict]", f"threshold = {made.threshold}"]
    if made.log_odds_max:
        lines += ["", "[verdict.log_odds_max]", *(f"{name} = {cap}" for name, cap in made.log_odds_max.items())]
    return "\n".join(lines) + "\n"

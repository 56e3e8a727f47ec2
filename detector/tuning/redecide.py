"""Redecide: the verdicts that other settings would have given, from kept answers.

Purpose: `cases` takes every kept row's verdict anew and lets accused pools open cases, as the engine does, in
milliseconds and not by another replay.
Invariants: a row's log-odds, families and cross-account item are what `discovery` and `verdict` compute of the same
answers (a test compares them). Up to the first accusation of a setting the outcome is the engine's own.
Limits: after it, an engine would feed back what it decided: members leave the population that others are held
against, pools that a campaign holds are judged less often, members join request by request, campaigns merge, close
and are resolved. None of that is re-decided here; a replay of the chosen setting says what it comes to.
Source: `detector.discovery`, `detector.cases`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.campaigns import FOUNDERS_MIN
from detector.config import VerdictSettings
from detector.discovery import FAMILIES
from detector.life import OVERLAP_ACCOUNTS_MIN, OVERLAP_MIN
from detector.signatures.registry import SIGNATURES
from detector.tuning.kept import Kept
from detector.verdict import COUNTED

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NOBODY = -1


class Verdicts(NamedTuple):
    """What a setting says of each kept row."""

    log_odds: F64
    families: I64
    cross_account: Bools
    accused: Bools


class Case(NamedTuple):
    """What an engine would have opened as a campaign."""

    opened_ms: int
    founder: int  # the row that founded it
    members: tuple[int, ...]  # codes of `Kept.accounts` in the order in which they came


def verdicts(kept: Kept, settings: VerdictSettings, *, off: frozenset[str] = frozenset()) -> Verdicts:
    """Take every row's verdict under `settings`, without the signatures in `off`."""
    odds = limited(kept.log_odds, settings)
    total = np.full(len(odds), settings.prior)
    families = np.zeros(len(odds), np.int64)
    cross = np.zeros(len(odds), bool)
    for family in FAMILIES:
        at = [i for i, s in enumerate(SIGNATURES) if s.family == family and s.maturity in COUNTED and s.id not in off]
        if not at or not len(odds):
            continue
        # Ties go to the greater id, as the verdict has it: only whether the item is a cross-account one depends on it.
        at.sort(key=lambda i: SIGNATURES[i].id, reverse=True)
        stacked = np.where(odds[:, at] == 0, -np.inf, odds[:, at])
        which = stacked.argmax(axis=1)
        best = stacked[np.arange(len(odds)), which]
        best = np.where(np.isfinite(best), np.minimum(best, settings.family_cap), 0.0)
        total += best
        families += best > 0
        cross |= (best > 0) & np.array([SIGNATURES[i].cross_account for i in at])[which]
    total = np.round(total, 6)
    return Verdicts(total, families, cross, (total >= settings.threshold) & (families >= settings.families_min))


def limited(log_odds: npt.NDArray[np.float32], settings: VerdictSettings) -> F64:
    """The answers under each signature's own cap, in natural log-odds rounded as the engine's."""
    held = dict(settings.log_odds_max)
    caps = np.array([held.get(s.id, np.inf) for s in SIGNATURES])
    return np.minimum(np.round(log_odds.astype(np.float64), 6), caps)


def cases(kept: Kept, taken: Verdicts) -> list[Case]:
    """Let accused pools join the case that enough of their members belong to, or found one, in order of time."""
    case_of: npt.NDArray[np.int64] = np.full(len(kept.accounts), NOBODY, np.int64)
    opened: list[tuple[int, int, list[int]]] = []
    accused = np.flatnonzero(taken.accused)
    order = np.lexsort((-taken.log_odds[accused], kept.at_ms[accused]))
    for row in accused[order].tolist():
        members = kept.members[row]
        held = case_of[members]
        counts = np.bincount(held[held >= 0], minlength=1)
        home = int(counts.argmax())
        if counts[home] < OVERLAP_ACCOUNTS_MIN or counts[home] < OVERLAP_MIN * kept.size[row]:
            if not (kept.founding[row] and taken.cross_account[row]) or (held < 0).sum() < FOUNDERS_MIN:
                continue
            home = len(opened)
            opened.append((int(kept.at_ms[row]), row, []))
        free = members[held < 0]
        case_of[free] = home
        opened[home][2].extend(free.tolist())
    return [Case(at_ms, row, tuple(codes)) for at_ms, row, codes in opened]

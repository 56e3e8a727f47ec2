"""Discovery: signatures over what was touched; which pools stand accused.

Purpose: at every discovery, judge touched accounts, then touched pools, and return
the pools whose verdict reaches the threshold with enough families.
Invariants: rows in key order; accounts are scored by the model before it learns;
floats are rounded before they are compared. A pool is judged anew only when it grew
by a part of itself, so the cost follows the traffic and not the history.
Whoever runs the judge may measure around a signature (`Ask`); the answer stays the signature's own.
Limits: pools of `REQUESTS_MIN` requests and `links.SMALL_K` accounts upwards.
Source: families and caps as in `verdict`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector import models
from detector.accounts import A, AccountTable
from detector.config import Settings
from detector.link_columns import P
from detector.links import LinkTable
from detector.population import JUDGED_BIT, MATURE_REQUESTS, STRATUM_SHIFT, Population, stratum
from detector.records import Fact
from detector.registrations import Registrations
from detector.signatures.contract import Answer, LinkView, Signature, pooled
from detector.signatures.registry import ACCOUNT_SIGNATURES, LINK_SIGNATURES, SIGNATURES
from detector.tails import Tails
from detector.verdict import COUNTED, Judged, facts_at, weigh
from detector.views import account_view, link_view

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

REQUESTS_MIN = 40
GROWTH_MIN = 10
# A pool is judged anew when it grew by a twentieth; by half where a campaign holds it, whose members are
# matched event by event: there it only refreshes the evidence and finds what belongs together.
GROWTH, HELD_GROWTH = 20, 2
FAMILIES = ("content", "timing", "network", "identity", "lifecycle", "behaviour")


# Calls the function with the view and hands on what it answers.
Ask = Callable[[Signature, Callable[[Any], Answer], Any], Answer]


def ask(signature: Signature, judge: Callable[[Any], Answer], view: Any) -> Answer:
    """Ask a signature and measure nothing."""
    del signature
    return judge(view)


# Told the judged pools (rows of the table), every signature's answer about them, and the time: a replay may keep them.
Note = Callable[[I64, list[tuple[Signature, Answer]], int], None]


def unnoted(pools: I64, answers: list[tuple[Signature, Answer]], now_ms: int) -> None:
    """Keep nothing."""


class Accused(NamedTuple):
    """A pool whose verdict reaches the threshold, or would if it were known to be likely (`kin`)."""

    pool: int
    judged: Judged
    kin: bool = False


def judge_accounts(
    accounts: AccountTable,
    population: Population,
    tails: Tails,
    model: models.PopulationModel,
    active: frozenset[str],
    *,
    ask: Ask = ask,
) -> I64:
    """Run the account signatures over touched accounts, refresh the population, feed the model; returns all touched."""
    touched = accounts.take_touched()
    rows = touched[accounts.stats[touched, A.REQUESTS] >= MATURE_REQUESTS]
    if rows.size == 0:
        return touched
    view = account_view(accounts, rows, population, tails)
    bits, firing = np.zeros(rows.size, np.int64), np.zeros(rows.size, np.int64)
    for bit, signature in enumerate(ACCOUNT_SIGNATURES):
        if signature.id in active:
            answer = ask(signature, signature.judge, view).log_odds
            bits |= ((answer > 0).astype(np.int64) << bit) | ((answer != 0).astype(np.int64) << (JUDGED_BIT + bit))
            firing += (answer > 0) & (signature.maturity in COUNTED)
    # Accounts that entered a new octave of requests, those that fire most first, ties by key.
    moved = stratum(accounts.stats[rows, A.REQUESTS]) != ((accounts.stats[rows, A.FIRED] >> STRATUM_SHIFT) & 0xFF)
    free = accounts.stats[rows, A.CAMPAIGN] == 0
    chosen = np.flatnonzero(moved & free)
    chosen = np.sort(chosen[np.argsort(-firing[chosen], kind="stable")][: models.ROWS_MAX])
    if chosen.size:
        scores = model.score_then_learn(view, chosen, firing[chosen] <= 1)
        accounts.stats[rows[chosen], A.MODEL_SCORE] = scores
    population.update(accounts, rows, bits)
    return touched


def _answers(view: LinkView, active: frozenset[str], ask: Ask) -> list[tuple[Signature, Answer]]:
    answers = [(s, ask(s, s.judge, view)) for s in LINK_SIGNATURES if s.id in active]
    # Of these the pools are judged together, which takes a tenth of one by one; whoever measures sees the answer.
    habits = tuple(s for s in ACCOUNT_SIGNATURES if s.id in active)
    given = zip(habits, pooled(habits, view), strict=True)
    return answers + [(s, ask(s, partial(_given, answer), view)) for s, answer in given]


def _given(answer: Answer, view: LinkView) -> Answer:
    del view
    return answer


def _capped(answers: list[tuple[Signature, Answer]], settings: Settings) -> list[tuple[Signature, Answer]]:
    """Hold the answers of signatures that have a cap of their own under it."""
    caps = dict(settings.verdict.log_odds_max)
    return [(s, a._replace(log_odds=np.minimum(a.log_odds, caps[s.id])) if s.id in caps else a) for s, a in answers]


def _totals(answers: list[tuple[Signature, Answer]], rows: int, settings: Settings) -> tuple[F64, I64]:
    """Add the best item of each family per row, shadow ones aside; count the families that accuse."""
    total, families = np.full(rows, settings.verdict.prior), np.zeros(rows, np.int64)
    for family in FAMILIES:
        columns = [a.log_odds for s, a in answers if s.family == family and s.maturity in COUNTED]
        if not columns:
            continue
        stacked = np.stack(columns)
        best = np.where(stacked == 0, -np.inf, stacked).max(axis=0)
        best = np.where(np.isfinite(best), np.minimum(best, settings.verdict.family_cap), 0.0)
        total += best
        families += best > 0
    return np.round(total, 6), families


def score_pools(
    view: LinkView, active: frozenset[str], settings: Settings
) -> tuple[list[tuple[Signature, Answer]], F64, I64]:
    """What the signatures say of pools, their log odds and accusing families: to be looked at, nothing follows."""
    answers = _answers(view, active, ask)
    return answers, *_totals(answers, view.requests.size, settings)


def items_at(answers: list[tuple[Signature, Answer]], row: int) -> list[tuple[Signature, float, dict[str, Fact]]]:
    """Collect one pool's (signature, log-odds, facts)."""
    return [(s, float(a.log_odds[row]), facts_at(a, row)) for s, a in answers if a.log_odds[row] != 0]


def judge_pools(
    links: LinkTable,
    accounts: AccountTable,
    population: Population,
    tails: Tails,
    registrations: Registrations,
    active: frozenset[str],
    settings: Settings,
    *,
    now_ms: int,
    related: bool = False,
    watched: frozenset[int] = frozenset(),
    ask: Ask = ask,
    note: Note = unnoted,
) -> list[Accused]:
    """Judge the touched pools that grew; returns the accused ones, strongest first, ties by key.

    With `related` also pools of text that no campaign holds and that only the prior acquits: they may be a
    known campaign's. `watched` are the keys of links that others named.
    """
    pools = links.take_touched()
    requests, judged = links.pools[pools, P.REQUESTS], links.pools[pools, P.JUDGED]
    held = links.pools[pools, P.CAMPAIGN] > 0
    step = np.where(held, judged // HELD_GROWTH, judged // GROWTH)
    grown = (requests >= REQUESTS_MIN) & (requests - judged >= np.maximum(GROWTH_MIN, step))
    pools = pools[grown]
    if pools.size == 0:
        return []
    links.pools[pools, P.JUDGED] = links.pools[pools, P.REQUESTS]
    view = link_view(links, pools, accounts, population, tails, registrations, now_ms=now_ms)
    named = np.isin(links.index.keys[links.pools[pools, P.LINK]], np.array(sorted(watched), np.uint64))
    view = view._replace(watched=named.astype(np.float64))
    answers = _answers(view, active, ask)
    note(pools, answers, now_ms)
    answers = _capped(answers, settings)
    total, families = _totals(answers, pools.size, settings)
    reaches, varied = total >= settings.verdict.threshold, families >= settings.verdict.families_min
    likely = related & view.is_text & ~reaches & (links.pools[pools, P.CAMPAIGN] == 0)
    likely &= total - settings.verdict.prior >= settings.verdict.threshold
    hot = np.flatnonzero((reaches | likely) & varied)
    accused = [
        Accused(int(pools[i]), weigh(items_at(answers, i), settings.verdict), not reaches[i]) for i in hot.tolist()
    ]
    keys = links.index.keys[links.pools[pools[hot], P.LINK]].tolist() if hot.size else []
    order = sorted(range(len(accused)), key=lambda i: (-accused[i].judged.verdict.log_odds, keys[i]))
    return [accused[i] for i in order]


def coverage(
    present: frozenset[str], off: tuple[str, ...]
) -> tuple[frozenset[str], tuple[tuple[str, tuple[str, ...]], ...]]:
    """Split the signatures into active ids and (id, missing fields) of those that are off."""
    active: set[str] = set()
    blind: list[tuple[str, tuple[str, ...]]] = []
    for signature in SIGNATURES:
        missing = signature.missing(present)
        if signature.id in off or signature.maturity == "retired":
            blind.append((signature.id, ("switched off",)))
        elif missing:
            blind.append((signature.id, missing))
        else:
            active.add(signature.id)
    return frozenset(active), tuple(blind)

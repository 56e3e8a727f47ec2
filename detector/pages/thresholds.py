"""Thresholds: how the number of campaigns would move, and what each signature does.

Purpose: campaigns over the threshold of an alert, pools that fell short of it, and per signature
what it says, how often only it decides, and whether it fires on the innocent.
Invariants: from the evidence of the last revisions; taking a signature away lets the next of its
family count, as the verdict does.
Limits: at a threshold below the run's own the line counts pools that no campaign holds, as the
tables stood at the end: several may be one campaign, so it is an upper bound. Other thresholds
would also have let campaigns open earlier or later: `stillwatch sweep` replays them.
"""

from collections.abc import Sequence

from detector.pages.blocks import Block, Note, Plots, Section, Table, columns
from detector.pages.overview import span_days
from detector.pages.plots import Axis, Mark, Series, lines
from detector.pages.run_files import RunFiles
from detector.pages.scores import SignatureRates, judged, pool_totals, rates
from detector.pages.truth import histogram
from detector.pages.words import UNKNOWN, count, number, share
from detector.records import Alert
from detector.signatures.registry import BY_ID

STEP = 0.25


def _verdicts(run: RunFiles) -> list[float]:
    return [a.verdict.log_odds for a in run.campaigns if a.verdict is not None]


def threshold_section(run: RunFiles) -> Section:
    """Alerts a day against the threshold."""
    own = run.manifest["settings"]["verdict"]["threshold"]
    held, short = _verdicts(run), pool_totals(run)
    days = max(span_days(run), 1e-9)
    everything = [*held, *short, own]
    start, stop = min(*everything, own - 3) // STEP * STEP, max(everything) + 1
    grid = [start + STEP * n for n in range(int((stop - start) / STEP) + 1)]
    over = [(t, sum(v >= t for v in held) / days) for t in grid if t >= own]
    series = [Series("campaigns of this run", over, steps=True)]
    if short:
        under = [(t, (len(held) + sum(v >= t for v in short)) / days) for t in grid if t <= own]
        series.append(Series("with pools that fell short (at most)", under, steps=True))
    blocks: list[Block] = []
    if not held and not short:
        blocks.append(Note("No pool came near a verdict, so there is no threshold to move.", "muted"))
    else:
        plot = lines(
            "threshold",
            title="Campaign alerts a day over the threshold",
            says=f"{len(held)} at the run's own threshold of {number(own)}, {len(short)} pools below it.",
            x=Axis("threshold, log odds"),
            y=Axis("campaign alerts a day"),
            series=series,
            marks=(Mark(own, "this run"),),
        )
        found = judged(run)
        blocks.append(Plots((plot, histogram(found, own)) if found is not None else (plot,)))
        if found is None:
            blocks.append(Note("How verdicts spread over the innocent and over attackers needs labels.", "muted"))
        if run.scores is None:
            blocks.append(Note("This run has no scores.parquet: what fell short of the threshold is unknown.", "muted"))
    return Section("thresholds", "Thresholds and verdicts", tuple(blocks))


def _without(alert: Alert, signature: str) -> float:
    """An alert's log odds without one signature: the next of its family counts."""
    assert alert.verdict is not None
    gone = next(e for e in alert.evidence if e.signature == signature)
    rest = [e.log_odds for e in alert.evidence if e.family == gone.family and not e.counted]
    return alert.verdict.log_odds - gone.log_odds + max(rest, default=0.0)


def _lost(alerts: Sequence[Alert], signature: str, families_min: int) -> int:
    """How many campaigns there would not be without a signature."""
    lost = 0
    for alert in alerts:
        item = next((e for e in alert.evidence if e.signature == signature and e.counted and e.log_odds > 0), None)
        if item is None or alert.verdict is None:
            continue
        families = {e.family for e in alert.evidence if e.log_odds > 0 and e.signature != signature}
        lost += _without(alert, signature) < alert.verdict.threshold or len(families) < families_min
    return lost


def _precision(run: RunFiles, signature: str) -> str:
    truth = run.truth
    if truth is None:
        return UNKNOWN
    false = set(truth["alerts"]["false_alert_ids"])
    named = {one for c in truth["campaigns"].values() for one in c["alert_ids"]}
    mine = [a for a in run.campaigns if signature in a.signature_ids]
    right, wrong = sum(a.alert_id in named for a in mine), sum(a.alert_id in false for a in mine)
    return f"{share(right / (right + wrong))} of {right + wrong}" if right + wrong else UNKNOWN


def _inverted(found: SignatureRates | None) -> str:
    if found is None or found.benign is None or found.attack is None:
        return UNKNOWN
    return "yes" if found.benign > found.attack else "no"


def signature_section(run: RunFiles) -> Section:
    """One row per signature."""
    families_min = run.manifest["settings"]["verdict"]["families_min"]
    active = {s for one in run.metrics["coverage"].values() for s in one["active"]}
    firing = rates(run)
    rows = []
    for signature in sorted({*active, *(e.signature for a in run.campaigns for e in a.evidence)}):
        items = [e for a in run.campaigns for e in a.evidence if e.signature == signature]
        for_, counted = sum(e.log_odds > 0 for e in items), sum(e.counted for e in items)
        weights = [e.log_odds for e in items if e.log_odds > 0]
        found = firing.get(signature)
        rows.append(
            (
                signature,
                BY_ID[signature].maturity if signature in BY_ID else UNKNOWN,
                count(for_),
                count(counted),
                number(sum(weights) / len(weights)) if weights else UNKNOWN,
                count(_lost(run.campaigns, signature, families_min)),
                _precision(run, signature),
                share(found.attack) if found is not None else UNKNOWN,
                share(found.benign) if found is not None else UNKNOWN,
                _inverted(found),
            )
        )
    heads = columns(
        *("signature", "maturity", "#fires on", "#counted in", "#mean log odds", "#campaigns lost without it"),
        *("#precision", "#of attackers' accounts", "#of benign accounts", "inverted on benign?"),
    )
    table = Table(
        "What each signature contributed",
        heads,
        tuple(rows),
        empty="no signature could judge",
        note="Fires on and counted in: campaigns of this run. Lost without it: campaigns that would stay under the "
        "threshold, or under the families that an alert needs. Shares are of accounts that it could judge by itself, "
        "at the end of the run; they need labels.",
    )
    return Section("signatures", "Signatures", (table,))

"""Truth: how a run did against its labels.

Purpose: the labelled campaigns, curves over all thresholds, the leak over time, and a histogram
of verdicts.
Invariants: nothing is drawn that the labels do not carry; a rate that the log is too small to
show is said to be unknown.
Limits: as far as the log's own labels go: an unlabelled account counts as benign.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc

from detector.pages.blocks import Block, Note, Plot, Plots, Section, Table, columns
from detector.pages.plots import Axis, Mark, Series, bars, lines
from detector.pages.run_files import RunFiles
from detector.pages.scores import Curve, Judged, curve, judged, recall_at
from detector.pages.words import UNKNOWN, count, duration, interval, number, plural, share

UNLABELLED = Note(
    "No labels were given: this cannot be known. `stillwatch evaluate DIR --labels FILE` adds it.", "muted"
)
LEAK_SHOWN, BINS = 4, 24
DECADES = tuple(float(np.log10(n + 1)) for n in (0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000))


def _scored(name: str, c: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        "found" if c["found"] else "missed",
        count(c["accounts"]),
        count(c["requests"]),
        duration(c["time_to_detect_s"]),
        count(c["requests_by_detection"]),
        f"{share(c['leak'])} ({interval(c['leak_interval'])})" if c["leak"] is not None else UNKNOWN,
        share(c["member_recall"]),
        share(c["member_precision"]),
    )


def _campaigns(truth: dict[str, Any]) -> Table:
    heads = columns(
        *("campaign", "outcome", "#accounts", "#requests", "#time to detect", "#requests by then", "#leak"),
        *("#member recall", "#member precision"),
    )
    rows = tuple(_scored(name, c) for name, c in truth["campaigns"].items())
    return Table("Labelled campaigns", heads, rows, empty="the labels name none")


def _curves(found: Curve, threshold: float) -> Plots:
    recall = found.hits / max(found.attackers, 1)
    precision = found.hits / np.maximum(found.hits + found.false, 1)
    fpr = found.false / max(found.innocents, 1)
    at = np.flatnonzero(found.thresholds >= threshold)
    own = int(at[-1]) if at.size else None
    where = f" At the run's threshold: recall {share(float(recall[own]))}," if own is not None else ""
    pr = lines(
        "precision-recall",
        title="Precision over recall, by account",
        says=f"{count(found.attackers)} attackers' accounts among {count(found.attackers + found.innocents)}."
        + (f"{where} precision {share(float(precision[own]))}." if own is not None else ""),
        x=Axis("recall", start=0, stop=1, shown=_percent),
        y=Axis("precision", start=0, stop=1, shown=_percent),
        series=(Series("accounts", list(zip(recall.tolist(), precision.tolist(), strict=True))),),
        marks=(Mark(float(recall[own]), "this run"),) if own is not None else (),
    )
    floor = 0.5 / max(found.innocents, 1)
    points = [(max(float(f), floor), float(r)) for f, r in zip(fpr, recall, strict=True)]
    roc = lines(
        "roc",
        title="Recall over the false positive rate, by account",
        says=f"{count(found.innocents)} innocent accounts: rates under {number(1 / max(found.innocents, 1))} "
        "cannot be told from nought, and stand at the left edge.",
        x=Axis("false positive rate", scale="log", start=floor, stop=1.0, shown=number),
        y=Axis("recall", start=0, stop=1, shown=_percent),
        series=(Series("accounts", [(floor, 0.0), *points]),),
    )
    return Plots((pr, roc))


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _recalls(found: Curve) -> Table:
    rows = []
    for rate in (1e-2, 1e-3, 1e-4):
        value = recall_at(found, fpr=rate)
        why = "" if value is not None else f"needs {count(1 / rate)} innocent accounts, there are {found.innocents:,}"
        rows.append((f"{rate:g}", share(value), why))
    return Table("Recall at a false positive rate", columns("rate", "#recall", "note"), tuple(rows))


def truth_section(run: RunFiles) -> Section:
    """How well it did."""
    heading = "Against the labels"
    if run.truth is None:
        return Section("truth", heading, (UNLABELLED,))
    blocks: list[Block] = [_campaigns(run.truth)]
    found = judged(run)
    if found is not None and found.attack.any() and not found.attack.all():
        steps = curve(found)
        blocks += [_curves(steps, run.manifest["settings"]["verdict"]["threshold"]), _recalls(steps)]
        said = "An account's verdict is that of the best pool or campaign that holds it, at the end of the run."
        blocks.append(Note(said, "muted"))
    else:
        blocks.append(Note("Curves need accounts of both kinds and the run's scores.parquet.", "muted"))
    benign = run.truth["benign"]
    rows = tuple(
        (
            name,
            *(count(p[key]) for key in ("accounts", "requests", "contained_requests", "slowed_requests")),
            count(p["accounts_acted_on"]),
            interval(p["collateral_ppm_interval"], scale=1.0, unit="").removeprefix("95 %: "),
        )
        for name, p in (*benign["populations"].items(), ("all benign", benign))
    )
    heads = columns(
        *("population", "#accounts", "#requests", "#contained", "#slowed", "#accounts acted on"),
        "#contained per million, 95 %",
    )
    blocks.append(Table("Benign populations", heads, rows, folded=True))
    return Section("truth", heading, tuple(blocks))


def _leak_series(run: RunFiles, name: str) -> tuple[Series, Series]:
    """Cumulative output tokens of a labelled campaign, and of them those not contained."""
    assert run.timeline is not None
    rows = run.timeline.filter(pc.equal(run.timeline["campaign"], name)).sort_by("window_start_ms")
    # A window's tokens are out when it ends.
    width = (run.truth or {}).get("timeline_window_ms", 0)
    ends = (rows["window_start_ms"].to_numpy() + width).tolist()
    taken = rows["output_tokens"].to_numpy()
    free = taken - rows["contained_output_tokens"].to_numpy()
    start = [(float(ends[0] - width), 0.0)] if ends else []

    def summed(values: Any) -> list[tuple[float, float]]:
        totals = np.cumsum(values).tolist()
        return start + [(float(end), float(total)) for end, total in zip(ends, totals, strict=True)]

    return Series("taken", summed(taken), steps=True), Series("not contained", summed(free), steps=True)


def _labelled_leaks(run: RunFiles, truth: dict[str, Any]) -> Iterator[Any]:
    detected = {a.alert_id: a.detected_at for a in run.alerts}
    largest = sorted(truth["campaigns"], key=lambda name: (-truth["campaigns"][name]["requests"], name))
    for place, name in enumerate(largest[:LEAK_SHOWN]):
        taken, free = _leak_series(run, name)
        if not taken.points:
            continue
        ids = [i for i in truth["campaigns"][name]["alert_ids"] if i in detected]
        total, left = taken.points[-1][1], free.points[-1][1]
        yield lines(
            f"leak-{place}",
            title=f"Tokens out: {name}",
            says=f"{count(left)} of {count(total)} output tokens left while nothing contained them"
            + ("." if ids else "; it was never found."),
            x=Axis("time (UTC)", scale="time"),
            y=Axis("output tokens", shown=_short),
            series=(taken, free),
            marks=tuple(Mark(detected[i], "detected") for i in ids[:1]),
        )


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def leak_section(run: RunFiles) -> Section:
    """What has left the building over time, with the moments of detection."""
    heading = "What left, over time"
    if run.truth is not None and run.timeline is not None:
        plots = tuple(_labelled_leaks(run, run.truth))
        blocks: tuple[Block, ...] = (
            (Plots(plots),) if plots else (Note("No labelled campaign sent anything.", "muted"),)
        )
        rest = len(run.truth["campaigns"]) - LEAK_SHOWN
        if rest > 0:
            blocks += (
                Note(f"The largest {LEAK_SHOWN} are drawn; {plural(rest, 'campaign')} more stand above.", "muted"),
            )
        return Section("leak", heading, blocks)
    grown = [(a, run.growth.get(a.alert_id, [])) for a in run.campaigns]
    drawn = sorted((g for g in grown if len(g[1]) > 1), key=lambda g: (-g[1][-1].output_tokens, g[0].alert_id))
    plots = tuple(
        lines(
            f"leak-{place}",
            title=f"Tokens that {alert.entity.value} took",
            says=f"{count(growth[-1].output_tokens)} output tokens of requests that matched the campaign.",
            x=Axis("time (UTC)", scale="time"),
            y=Axis("output tokens", shown=_short),
            series=(Series("taken", [(float(g.last_seen_ms), float(g.output_tokens)) for g in growth], steps=True),),
            marks=(Mark(alert.detected_at, "detected"),),
        )
        for place, (alert, growth) in enumerate(drawn[:LEAK_SHOWN])
    )
    if not plots:
        return Section("leak", heading, (Note("No campaign was found, so nothing is known to have left.", "muted"),))
    said = "Without labels only requests that matched a found campaign are counted; what went unseen is unknown."
    return Section("leak", heading, (Plots(plots), Note(said, "muted")))


def histogram(found: Judged, threshold: float) -> Plot:
    """Accounts by verdict, the innocent beside attackers."""
    low, high = float(found.log_odds.min()), float(found.log_odds.max())
    edges = np.linspace(low, max(high, low + 1.0), BINS + 1)
    at = lambda side: np.histogram(found.log_odds[side], bins=edges)[0]  # noqa: E731 - said once
    innocent, guilty = at(~found.attack), at(found.attack)
    place = (threshold - low) / (edges[1] - edges[0])
    return bars(
        "verdicts",
        title="Accounts by verdict",
        says="Log odds of the best pool that holds an account; accounts in no pool stand at the left edge. "
        "The scale of the counts is logarithmic.",
        labels=[f"{edge:.1f}" for edge in edges[:-1]],
        series=(("benign", np.log10(innocent + 1).tolist()), ("campaigns'", np.log10(guilty + 1).tolist())),
        x=Axis("log odds"),
        y=Axis("accounts", shown=lambda v: count(10**v - 1), ticks=DECADES),
        marks=(Mark(place, "this run"),) if 0 <= place <= BINS else (),
    )

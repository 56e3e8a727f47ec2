"""Decisions: what policy made of the verdicts: leases, caps, vetoes, and whom they would have hit.

Purpose: the decision simulation of a run: targets by strictest action, decisions over time, caps
and vetoes, and, with labels, the innocent by tier.
Invariants: counts of targets, each under its strictest action; shadow decisions count as computed.
Limits: of vetoes the run keeps counts, not whom they spared.
"""

from collections import Counter

import pyarrow.compute as pc

from detector.pages.blocks import Block, Note, Plots, Section, Table, columns
from detector.pages.plots import Axis, Series, lines
from detector.pages.run_files import HOUR_MS, RunFiles
from detector.pages.state import actions_table
from detector.pages.words import count, plural, share
from detector.records import ACTIONS

WORDS = {
    "allowlist": "exempt by the allow-list",
    "tier": "held back by a tier's ceiling",
    "approval": "waiting for a human's approval",
    "cap": "held back by a cap",
    "stale": "not blocked, the input lagged",
    "kill_switch": "not decided, enforcement was switched off",
    "lifted": "left alone, an operator lifted the lease",
}


def _over_time(run: RunFiles) -> Plots | None:
    hours = run.decided.by_hour
    if len(hours) < 2:
        return None
    every = range(min(hours), max(hours) + 1)
    used = [a for a in ACTIONS if any(c[a] for c in hours.values())]
    series = [
        Series(a, [(float(h * HOUR_MS), float(hours.get(h, Counter())[a])) for h in every], steps=True) for a in used
    ]
    return Plots(
        (
            lines(
                "decisions-over-time",
                title="Decision records an hour",
                says=f"{count(run.decided.records)} records in all, renewals included.",
                x=Axis("time (UTC)", scale="time"),
                y=Axis("records an hour"),
                series=series,
            ),
        )
    )


def _caps(run: RunFiles) -> Table:
    settings = run.manifest["settings"]["decision"]
    limits = (
        ("contained accounts, of those active in 24 h", share(settings["contained_share_max"])),
        ("blocked accounts, of those active in 24 h", share(settings["blocked_share_max"])),
        ("tokens of the blocked, of all tokens of about a day", share(settings["blocked_tokens_share_max"])),
        ("new blocks an hour", count(settings["blocks_per_hour_max"])),
        ("blocks of one campaign before approval", count(settings["blocks_per_campaign_max"])),
    )
    hits = sum(one["cap_hits"] for one in run.metrics["policy"].values())
    hit = sorted({a.title.partition(": ")[2] for a in run.alerts if a.kind == "operational" and ": " in a.title})
    said = f"Caps held {plural(hits, 'proposal')} back" + (f": {', '.join(hit)}." if hit else ".")
    return Table("Caps", columns("what is bounded", "#limit"), limits, note=said)


def _vetoes(run: RunFiles) -> Table:
    vetoes: Counter[str] = Counter()
    for one in run.metrics["policy"].values():
        vetoes.update(one["vetoes"])
    rows = tuple((WORDS.get(reason, reason), count(n)) for reason, n in sorted(vetoes.items()))
    return Table("Proposals held back, renewals included", columns("why", "#proposals"), rows, empty="none")


def _wrongly(run: RunFiles) -> Block:
    if run.accounts is None:
        return Note("Whether a decision was wrong only labels can tell.", "muted")
    innocent = run.accounts.filter(pc.equal(run.accounts["campaign"], ""))
    made = innocent.group_by("account_tier").aggregate(
        [("requests", "sum"), ("contained", "sum"), ("account_id", "count")]
    )
    rows = tuple(
        (
            row["account_tier"] or "unknown",
            count(row["account_id_count"]),
            count(row["requests_sum"]),
            count(row["contained_sum"]),
            share(row["contained_sum"] / row["requests_sum"]),
        )
        for row in made.sort_by("account_tier").to_pylist()
    )
    heads = columns("tier", "#innocent accounts", "#requests", "#wrongly contained", "#share")
    return Table("Innocent requests contained, by tier", heads, rows, empty="no innocent account was seen")


def decision_section(run: RunFiles) -> Section:
    """What would have been done."""
    shadow = run.manifest["settings"].get("mode") == "shadow"
    blocks: list[Block] = [
        Note(
            "Shadow mode: everything here was computed and nothing enforced."
            if shadow
            else "Enforce mode: these decisions were published to be applied.",
            "muted",
        ),
        actions_table(
            "Targets by the strictest action on them",
            Counter(run.decided.strictest.values()),
            done="nothing was decided",
        ),
    ]
    plots = _over_time(run)
    blocks += [plots] if plots is not None else []
    blocks += [_caps(run), _vetoes(run), _wrongly(run)]
    return Section("decisions", "Decisions, simulated", tuple(blocks))

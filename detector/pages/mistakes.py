"""Mistakes: whom a run hit wrongly, and what it missed, with what could be done and why.

Purpose: the innocent accounts that its decisions touched, by tier, SDK and network, with a remedy;
labelled campaigns that raised no alert, with what the run's own numbers say of them.
Invariants: only labels call a decision wrong; shadow decisions count as if enforced.
Limits: reasons are those that the files of a run can show; `explain account` says more of one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from detector.discovery import REQUESTS_MIN
from detector.link_columns import SMALL_K
from detector.pages.blocks import Note, Section, Table, columns
from detector.pages.run_files import RunFiles
from detector.pages.truth import UNLABELLED
from detector.pages.words import UNKNOWN, count, number, plural

FALSE_SHOWN = 20


def _remedy(row: dict[str, Any], *, together: int) -> str:
    if row["account_tier"] in ("internal", "enterprise"):
        return f"allow-list: stillwatch allow add, with its owner; a known {row['account_tier']} customer"
    if together > 2:
        return f"{together} of these share its network and SDK: allow-list that application, or raise the threshold"
    return "label its alert (alerts label ID fp); if it recurs, an allow-list entry with an expiry"


def false_section(run: RunFiles) -> Section:
    """Whom it hit wrongly."""
    heading = "Innocent accounts that were hit"
    if run.accounts is None:
        return Section("false", heading, (UNLABELLED,))
    hit = pc.and_(
        pc.equal(run.accounts["campaign"], ""),
        pc.or_(run.accounts["acted_on"], pc.greater(pc.add(run.accounts["contained"], run.accounts["slowed"]), 0)),
    )
    order = [("contained", "descending"), ("slowed", "descending"), ("account_id", "ascending")]
    rows = run.accounts.filter(hit).sort_by(order).to_pylist()
    alike: dict[tuple[str, str], int] = {}
    for row in rows:
        alike[row["sdk_name"], row["asn"]] = alike.get((row["sdk_name"], row["asn"]), 0) + 1
    shown = tuple(
        (
            row["account_id"],
            row["population"],
            *(row[name] or UNKNOWN for name in ("account_tier", "sdk_name", "asn")),
            *(count(row[name]) for name in ("requests", "contained", "slowed")),
            _remedy(row, together=alike[row["sdk_name"], row["asn"]] if row["sdk_name"] or row["asn"] else 0),
        )
        for row in rows[:FALSE_SHOWN]
    )
    heads = columns(
        *("account", "population", "tier", "SDK", "network (ASN)", "#requests", "#contained", "#slowed"),
        "what could be done",
    )
    innocent = pc.sum(pc.equal(run.accounts["campaign"], "")).as_py() or 0
    return Section(
        "false",
        heading,
        (
            Note(f"{plural(len(rows), 'innocent account')} of {innocent:,} hit.", "bad" if rows else "good"),
            Table("The most affected", heads, shown, empty="none", note=_by_tier(rows)),
        ),
    )


def _by_tier(rows: Sequence[dict[str, Any]]) -> str:
    tiers: dict[str, int] = {}
    for row in rows:
        tier = row["account_tier"] or "unknown tier"
        tiers[tier] = tiers.get(tier, 0) + 1
    return "By tier: " + ", ".join(f"{n:,} {tier}" for tier, n in sorted(tiers.items())) + "." if tiers else ""


def _why_missed(run: RunFiles, name: str, c: dict[str, Any]) -> str:
    """What can be said of why a labelled campaign raised no alert."""
    if c["accounts"] < SMALL_K or c["requests"] < REQUESTS_MIN:
        return (
            f"too small: no pool under {SMALL_K} accounts or {REQUESTS_MIN} requests is judged "
            f"({count(c['accounts'])} and {count(c['requests'])})"
        )
    best = _best_of(run, name)
    if best is None:
        return "its accounts share no attribute that the tables held as a pool: too few fields, or nothing in common"
    settings = run.manifest["settings"]["verdict"]
    if best >= settings["threshold"]:
        return f"a pool with its accounts reached {number(best)}, but most members of the alert were others"
    firing = ", ".join(_firing(run, name)) or "none"
    return f"its best pool reached {number(best)} of {number(settings['threshold'])}; signatures that fired: {firing}"


def _rows_of(run: RunFiles, name: str) -> pa.Table | None:
    if run.scores is None or run.accounts is None:
        return None
    mine = run.accounts.filter(pc.equal(run.accounts["campaign"], name))["account_id"]
    return run.scores.filter(
        pc.and_(pc.equal(run.scores["kind"], "account"), pc.is_in(run.scores["value"], value_set=mine.combine_chunks()))
    )


def _best_of(run: RunFiles, name: str) -> float | None:
    rows = _rows_of(run, name)
    found: float | None = pc.max(rows["log_odds"]).as_py() if rows is not None and rows.num_rows else None
    return found


def _firing(run: RunFiles, name: str) -> Iterator[str]:
    rows = _rows_of(run, name)
    if rows is None:
        return
    for column in rows.column_names[7:]:
        fires = pc.sum(pc.greater(rows[column], 0)).as_py() or 0
        if fires:
            yield f"{column} on {plural(fires, 'account')}"


def missed_section(run: RunFiles) -> Section:
    """What it did not find, and why as far as the run can tell."""
    heading = "Campaigns it missed"
    if run.truth is None:
        return Section("missed", heading, (UNLABELLED,))
    missed = {name: c for name, c in run.truth["campaigns"].items() if not c["found"]}
    off = sorted({item["signature"] for one in run.metrics["coverage"].values() for item in one["off"]})
    rows = tuple(
        (name, count(c["accounts"]), count(c["requests"]), _why_missed(run, name, c)) for name, c in missed.items()
    )
    blind = f"Signatures that were off may have seen them: {', '.join(off)}." if off and missed else ""
    table = Table(
        "Missed",
        columns("campaign", "#accounts", "#requests", "why"),
        rows,
        empty="none of the labelled ones",
        note=blind,
    )
    return Section("missed", heading, (table,))

"""Overview: what a run found, in numbers; its settings, its data, and how to get it again.

Purpose: the report's first and last sections: tiles, coverage, settings, data quality, and the
command with digests.
Invariants: what only labels can tell is said to be unknown where there are none.
"""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from detector.config import Settings
from detector.pages.blocks import Block, Code, Note, Section, Table, Tile, Tiles, Tone, columns
from detector.pages.run_files import RunFiles
from detector.pages.state import coverage_table, settings_table
from detector.pages.words import UNKNOWN, count, duration, interval, number, plural, share, sized
from detector.policy import contains
from detector.records import parse_time

NO_LABELS = "needs labels"
LATE_SHARE_MAX = 0.05
LEAK_MUCH = 0.5


def span_days(run: RunFiles) -> float:
    """The event time that a run covers, in days; nought where nothing was judged."""
    first, last = run.metrics["first_event"], run.metrics["last_event"]
    return (parse_time(last) - parse_time(first)) / 86_400_000 if first and last else 0.0


def wilson(part: int, whole: int) -> list[float] | None:
    """The 95 % interval of a share of independent trials (Wilson 1927).

    >>> [round(x, 3) for x in wilson(8, 8)]
    [0.676, 1.0]
    """
    if whole == 0:
        return None
    z, p = 1.959964, part / whole
    centre, spread = p + z * z / (2 * whole), z * (p * (1 - p) / whole + z * z / (4 * whole * whole)) ** 0.5
    scale = 1 + z * z / whole
    return [max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)]


def _found_tiles(run: RunFiles) -> Iterator[Tile]:
    days, events = span_days(run), run.metrics["events"]
    opened = len(run.alerts)
    campaigns = [a for a in run.campaigns if a.superseded_by is None]
    tokens = sum(a.damage.output_tokens for a in campaigns if a.damage is not None)
    per_day = opened / days if days else None
    tone: Tone = "bad" if campaigns else "plain"
    yield Tile("campaigns found", count(len(campaigns)), plural(sum(run.members.values()), "account"), tone)
    yield Tile("alerts a day", number(per_day), f"{plural(opened, 'alert')}, {plural(run.revisions, 'revision')}")
    yield Tile("events", count(events), f"{plural(run.metrics['accounts'], 'account')}, {duration(days * 86_400)}")
    taken = f"{share(run.requests_of_members / events)} of all requests" if events else ""
    yield Tile("output tokens they took", count(tokens), taken, "bad" if tokens else "plain")
    held = sum(contains(a) for (_, scope, _), a in run.decided.strictest.items() if scope == "account")
    slowed = sum(a == "throttle" for (_, scope, _), a in run.decided.strictest.items() if scope == "account")
    accounts = max(run.metrics["accounts"], 1)
    shadow = "computed only (shadow)" if run.manifest["settings"].get("mode") == "shadow" else "enforced"
    yield Tile("accounts challenged or blocked", share(held / accounts), f"{count(held)} accounts; {shadow}")
    yield Tile("accounts throttled at most", share(slowed / accounts), f"{count(slowed)} accounts; {shadow}")


def _truth_tiles(run: RunFiles) -> Iterator[Tile]:
    truth = run.truth
    if truth is None:
        for label in ("campaign recall", "alert precision", "time to detect", "leak before containment", "collateral"):
            yield Tile(label, UNKNOWN, NO_LABELS, "muted")
        return
    found, all_, alerts = truth["campaigns_found"], truth["campaigns_labelled"], truth["alerts"]
    right, wrong = alerts["campaign_named"], alerts["campaign_false"] + alerts["campaign_mixed"]
    missed: Tone = "bad" if found < all_ else "good"
    yield Tile(
        "campaign recall",
        share(found / all_ if all_ else None),
        f"{found} of {all_}; {interval(wilson(found, all_))}",
        missed,
    )
    precision = right / (right + wrong) if right + wrong else None
    if precision is None:
        yield Tile("alert precision", UNKNOWN, "no campaign alert", "muted")
    else:
        said = f"{right} of {right + wrong}; {interval(wilson(right, right + wrong))}"
        yield Tile("alert precision", share(precision), said, "bad" if wrong else "good")
    waited = [c["time_to_detect_s"] for c in truth["campaigns"].values() if c["time_to_detect_s"] is not None]
    if waited:
        middle, late = (float(np.quantile(waited, q)) for q in (0.5, 0.95))
        yield Tile("time to detect, median", duration(middle), f"p95 {duration(late)} over {len(waited)}")
    else:
        yield Tile("time to detect, median", UNKNOWN, "none was found", "bad" if all_ else "muted")
    most: Tone = "bad" if (truth["leak"] or 0) > LEAK_MUCH else "plain"
    yield Tile("leak", share(truth["leak"]), f"{count(truth['leaked_requests'])} requests not contained", most)
    leaked = truth.get("leaked_output_tokens_before_detection")
    if leaked is not None:
        yield Tile("tokens out before detection", count(leaked), "output tokens of labelled campaigns")
    harmed: Tone = "bad" if truth["collateral_ppm"] else "good"
    bounds = interval(truth["benign"]["collateral_ppm_interval"], scale=1.0, unit="")
    yield Tile("benign requests contained, per million", count(truth["collateral_ppm"]), bounds, harmed)


def overview(run: RunFiles) -> Section:
    """The answer: what was found, and how well, as far as that is known."""
    blocks: list[Block] = []
    if run.metrics["interrupted"]:
        reached = run.metrics["last_event"] or "no event"
        blocks.append(Note(f"The run was interrupted at {reached}. What it wrote is complete up to there.", "warn"))
    blocks.append(Tiles(tuple(_found_tiles(run))))
    blocks.append(Tiles(tuple(_truth_tiles(run))))
    if run.truth is None:
        blocks.append(
            Note(
                "No labels were given, so this report says what the detector found and not whether it is right: "
                "precision, recall, leak, time to detect and collateral are unknown. "
                "`stillwatch evaluate DIR --labels FILE` adds them.",
                "muted",
            )
        )
    blocks += coverage_table(run.metrics["coverage"])
    return Section("overview", "What was found", tuple(blocks))


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            yield from _flat(value, where)
        else:
            yield where, ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Settings that differ between two trees: name, before, after.

    >>> changed_settings({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    [('a.b', '1', '3')]
    """
    left, right = dict(_flat(before)), dict(_flat(after))
    names = sorted({*left, *right})
    pairs = ((name, left.get(name, UNKNOWN), right.get(name, UNKNOWN)) for name in names)
    return [(name, a, b) for name, a, b in pairs if a != b]


def settings_section(run: RunFiles) -> Section:
    """What was set other than by default."""
    defaults = msgspec.to_builtins(Settings())
    changed = changed_settings(defaults, run.manifest["settings"])
    return Section("settings", "Settings", (settings_table(changed, left="default", right="this run"),))


def data_section(run: RunFiles) -> Section:
    """What the input was like: what was refused, what came late, what was forgotten."""
    rejects = run.metrics["rejects"]
    events, lost = run.metrics["events"], sum(rejects.values())
    rows = tuple((reason, count(n), share(n / max(events + lost, 1))) for reason, n in sorted(rejects.items()))
    blocks: list[Block] = []
    late = rejects.get("late", 0) / events if events else 0.0
    if late > LATE_SHARE_MAX:
        blocks.append(Note(f"{share(late)} of the rows came late: sort the input by event_time and replay.", "warn"))
    blocks.append(
        Table(
            "Rejects, late rows and duplicates",
            columns("reason", "#records", "#share"),
            rows,
            empty="none",
            note="Positions stand in rejects.jsonl; what was refused is never kept.",
        )
    )
    state = tuple(
        (tenant, *(count(one.get(name)) for name in ("accounts", "accounts_evicted", "links", "links_evicted")))
        for tenant, one in sorted(run.metrics["state"].items())
    )
    heads = columns("tenant", "#accounts held", "#accounts forgotten", "#links held", "#links forgotten")
    blocks.append(Table("Memory at the end", heads, state, empty="nothing was judged"))
    if not run.manifest.get("staleness_checked"):
        blocks.append(Note("A file carries no ingest times, so whether the input was stale was not checked.", "muted"))
    if run.metrics["events_outside_window"]:
        said = plural(run.metrics["events_outside_window"], "event")
        blocks.append(Note(f"{said} lay outside --since and --until.", "muted"))
    return Section("data", "Data quality", tuple(blocks))


def reproduce_section(run: RunFiles) -> Section:
    """What it takes to get these files again, byte for byte."""
    about = run.manifest
    inputs = tuple(
        (item["path"], sized(item["bytes"]) if "bytes" in item else UNKNOWN, item.get("sha256", UNKNOWN))
        for item in about["inputs"]
    )
    facts = [
        ("version", about["version"]),
        ("settings' hash", about["config_hash"]),
        ("fingerprint key's name", about.get("hash_key", UNKNOWN)),
        ("seed", about.get("seed", 0)),
        ("format", about.get("format", "auto")),
        ("since", about.get("since") or "the start"),
        ("until", about.get("until") or "the end"),
        ("Python", about.get("python", UNKNOWN)),
    ]
    return Section(
        "reproduce",
        "How to get this again",
        (
            Code("The command of this run:", shlex.join(["stillwatch", *map(str, about["command"])])),
            Table("Inputs", columns("path", "#size", "SHA-256"), inputs),
            Table("Made by", columns("what", "value"), tuple((name, str(value)) for name, value in facts)),
        ),
    )

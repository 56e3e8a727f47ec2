"""Compare: two runs side by side: what a change of settings, of the log or of the program does.

Purpose: `stillwatch diff` and the report's section: alerts gone, new and changed; targets that are
treated otherwise; leak, collateral and the like where labels were given; settings.
Invariants: alerts are matched by id, then by what their campaigns share, since an id names the
moment of opening. A run compared with itself has no difference.
Limits: decisions are compared by the strictest action on each target. Scores are compared where
both runs have them; whether the labels were the same is not known.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from detector.pages.blocks import Block, Note, Table, columns
from detector.pages.overview import changed_settings
from detector.pages.run_files import RunFiles
from detector.pages.words import UNKNOWN, number, plural, share, when
from detector.records import ACTIONS, Alert
from detector.runtime.verify import changes, matched

TARGETS_SHOWN = 20
# name -> where it stands in metrics.json, and how it is written
NUMBERS = {
    "events": ("events",),
    "accounts": ("accounts",),
    "alerts": ("alerts",),
    "decisions": ("decisions",),
    "accounts_acted_on": ("accounts_acted_on",),
}
SCORES = {
    "leak": ("scores", "leak"),
    "leaked_requests": ("scores", "leaked_requests"),
    "campaigns_found": ("scores", "campaigns_found"),
    "campaigns_false": ("scores", "campaigns_false"),
    "time_to_detect_s_max": ("scores", "time_to_detect_s_max"),
    "member_precision": ("scores", "member_precision"),
    "collateral_ppm": ("scores", "collateral_ppm"),
    "alerts_per_day": ("scores", "alerts", "per_day"),
}
LABELS = {
    "time_to_detect_s_max": "longest time to detect, s",
    "collateral_ppm": "benign requests contained, per million",
    "campaigns_false": "false campaign alerts",
}
SHARES = frozenset({"leak", "member_precision"})


class Change(NamedTuple):
    """A number in both runs."""

    name: str
    before: float | None
    after: float | None

    @property
    def by(self) -> float | None:
        """How much it rose."""
        return None if self.before is None or self.after is None else round(self.after - self.before, 6)


class Difference(NamedTuple):
    """Where two runs differ; the first is `before`."""

    same_inputs: bool
    settings: list[tuple[str, str, str]]
    gone: list[Alert]
    new: list[Alert]
    changed: list[tuple[Alert, Alert, list[str]]]
    same_alerts: int
    targets: list[tuple[tuple[str, str, str], str, str]]  # (tenant, scope, value), before, after
    same_targets: int
    numbers: list[Change]

    @property
    def differences(self) -> int:
        """Alerts and targets that differ."""
        return len(self.gone) + len(self.new) + len(self.changed) + len(self.targets)


def _at(tree: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = tree
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None


def difference(before: RunFiles, after: RunFiles) -> Difference:
    """Compare two runs."""
    pairs = matched(before.campaigns, after.campaigns)
    both = [(was, now, list(changes(was, now))) for was, now in pairs if was is not None and now is not None]
    left, right = before.decided.strictest, after.decided.strictest
    keys = sorted({*left, *right})
    targets = [(key, left.get(key, "none"), right.get(key, "none")) for key in keys if left.get(key) != right.get(key)]
    both_scored = before.truth is not None and after.truth is not None
    wanted = NUMBERS | (SCORES if both_scored else {})
    digests = [[item.get("sha256", item["path"]) for item in run.manifest["inputs"]] for run in (before, after)]
    return Difference(
        same_inputs=digests[0] == digests[1],
        settings=changed_settings(before.manifest["settings"], after.manifest["settings"]),
        gone=[was for was, now in pairs if was is not None and now is None],
        new=[now for was, now in pairs if was is None and now is not None],
        changed=[pair for pair in both if pair[2]],
        same_alerts=sum(not said for _, _, said in both),
        targets=targets,
        same_targets=len(keys) - len(targets),
        numbers=[Change(name, _at(before.metrics, path), _at(after.metrics, path)) for name, path in wanted.items()],
    )


def _brief(alert: Alert) -> dict[str, Any]:
    return {
        "alert_id": alert.alert_id,
        "campaign": alert.entity.value,
        "title": alert.title,
        "detected_at": when(alert.detected_at),
    }


def as_tree(found: Difference) -> dict[str, Any]:
    """A comparison as plain values, for programs and for gates."""
    rose = sum(ACTIONS.index(b) > (ACTIONS.index(a) if a != "none" else -1) for _, a, b in found.targets if b != "none")
    return {
        "differences": found.differences,
        "same_inputs": found.same_inputs,
        "settings": [{"name": name, "before": a, "after": b} for name, a, b in found.settings],
        "alerts": {
            "gone": len(found.gone),
            "new": len(found.new),
            "changed": len(found.changed),
            "same": found.same_alerts,
        },
        "targets": {
            "stricter": rose,
            "milder": len(found.targets) - rose,
            "same": found.same_targets,
        },
        "numbers": {c.name: {"before": c.before, "after": c.after, "change": c.by} for c in found.numbers},
        "alerts_gone": [_brief(a) for a in found.gone],
        "alerts_new": [_brief(a) for a in found.new],
        "alerts_changed": [_brief(now) | {"was": was.alert_id, "changes": said} for was, now, said in found.changed],
        "targets_changed": [
            {"tenant": key[0], "scope": key[1], "value": key[2], "before": a, "after": b} for key, a, b in found.targets
        ],
    }


def _value(name: str, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return share(value) if name in SHARES else number(value)


def _rise(change: Change) -> str:
    if not change.by:
        return "same" if change.by == 0 else UNKNOWN
    if change.name in SHARES:
        return f"{100 * change.by:+.1f} points"
    return ("+" if change.by > 0 else "-") + number(abs(change.by))


def _alert_rows(found: Difference) -> tuple[tuple[str, ...], ...]:
    rows = [(a.entity.value, "gone", a.title) for a in found.gone]
    rows += [(a.entity.value, "new", a.title) for a in found.new]
    rows += [(now.entity.value, "changed", "; ".join(said)) for _, now, said in found.changed]
    return tuple(rows)


def compare_blocks(before: RunFiles, after: RunFiles) -> tuple[Block, ...]:
    """A comparison for a reader."""
    found = difference(before, after)
    said = (
        f"{plural(found.differences, 'difference')}: {plural(len(found.gone), 'alert')} gone, {len(found.new):,} new, "
    )
    said += f"{len(found.changed):,} changed; {plural(len(found.targets), 'target')} treated otherwise."
    shown = tuple((key[2], key[1], key[0], a, b) for key, a, b in found.targets[:TARGETS_SHOWN])
    rest = len(found.targets) - len(shown)
    blocks: list[Block] = [Note(said, "warn" if found.differences else "good")]
    if not found.same_inputs:
        blocks.append(Note("The two runs read different inputs: differences may come from the log.", "warn"))
    rows = tuple(
        (LABELS.get(c.name, c.name.replace("_", " ")), _value(c.name, c.before), _value(c.name, c.after), _rise(c))
        for c in found.numbers
    )
    blocks += [
        Table("Numbers", columns("number", "#before", "#this run", "#change"), rows),
        Table(
            "Settings that differ",
            columns("setting", "before", "this run"),
            tuple(found.settings),
            empty="none: equal settings",
        ),
        Table("Alerts that differ", columns("campaign", "what", "how"), _alert_rows(found), empty="none"),
        Table(
            "Targets treated otherwise",
            columns("target", "scope", "tenant", "before", "this run"),
            shown,
            empty="none",
            note=f"And {rest:,} more: stillwatch diff RUN_A RUN_B -o json." if rest > 0 else "",
            folded=len(shown) > 5,
        ),
    ]
    return tuple(blocks)

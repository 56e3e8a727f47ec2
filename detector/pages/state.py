"""State: coverage and decisions as tables, the same on the report and on the live page.

Purpose: which signatures could judge and which were blind; which leases there are, by what
they do and whom they touch.
Invariants: functions of records; counts are of targets, a target counts once under its
strictest action.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from detector.pages.blocks import Note, Table, columns
from detector.pages.cards import title_of
from detector.pages.words import count, plural
from detector.records import ACTIONS
from detector.signatures.registry import BY_ID

MEANS = {
    "observe": "watched, nothing limited",
    "throttle": "requests limited",
    "challenge": "refused until identity is verified",
    "block": "refused",
}

PAST = {"observe": "watched", "throttle": "throttled", "challenge": "challenged", "block": "blocked"}


def coverage_table(coverage: Mapping[str, Mapping[str, Any]]) -> tuple[Note, Table]:
    """What every tenant's signatures could see: `coverage` maps tenants to their active and blind ones."""
    rows = []
    on = total = 0
    for tenant, one in sorted(coverage.items()):
        lost = {item["signature"]: ", ".join(item.get("missing", ())) for item in one["off"]}
        on, total = on + len(one["active"]), total + len(one["active"]) + len(lost)
        for signature in sorted({*one["active"], *lost}):
            maturity = BY_ID[signature].maturity if signature in BY_ID else "unknown"
            state = f"off: no {lost[signature]}" if signature in lost else "on"
            state = "off: switched off" if lost.get(signature) == "switched off" else state
            rows.append((signature, title_of(signature), maturity, state, tenant))
    rows.sort(key=lambda row: (row[3] == "on", row))
    said = f"{on} of {total} signatures could judge." if total else "No coverage is known: nothing was judged yet."
    blind = total - on
    tail = f" {plural(blind, 'signature')} had no field to judge by; what only they see was not looked for."
    table = Table(
        "Signatures and what they could see",
        columns("signature", "looks for", "maturity", "state", "tenant"),
        tuple(rows),
        folded=True,
    )
    return Note(said + (tail if blind else ""), "warn" if blind else "good"), table


def actions_table(caption: str, strictest: Counter[str], *, done: str) -> Table:
    """Targets by the strictest action on them."""
    rows = tuple((a, MEANS[a], count(strictest[a])) for a in reversed(ACTIONS) if strictest[a])
    return Table(caption, columns("action", "means", "#targets"), rows, empty=done)


def done_words(by_action: Mapping[str, int], *, mode: str) -> str:
    """What was decided about a campaign's accounts, in one phrase."""
    held = [f"{plural(by_action[a], 'account')} {PAST[a]}" for a in reversed(ACTIONS) if by_action.get(a)]
    if not held:
        return "nothing"
    return ", ".join(held) + (" (shadow: computed, not enforced)" if mode == "shadow" else "")


def settings_table(changed: Sequence[tuple[str, str, str]], *, left: str, right: str) -> Table:
    """Settings that differ between two trees."""
    return Table(
        "Settings that differ", columns("setting", left, right), tuple(changed), empty="none, these are the defaults"
    )

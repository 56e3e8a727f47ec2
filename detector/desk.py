"""Desk: what operators have said that still holds: exemptions, the kill switch, lifted leases, watched links, labels.

Purpose: keep operators' records that wait for their time, and what the ones that acted
left behind. What they change is `orders`' matter.
Invariants: a range of operators' records delivered twice counts once, a hole is an error;
records wait in the order (ingest time, source, position), however they came in. A lease
that an operator lifted is not given again by the same campaign until an operator says so.
Limits: as many exemptions as operators write, `WATCHED_MAX` watched links, the newest `LABELLED_MAX` labels; what has
expired goes when it is next looked at.
Source: the operators' safety policy.
"""

import bisect
from collections.abc import Iterable

import msgspec

from detector.frames import Entry, OperatorFrame
from detector.operators import AllowEntry, Indicator, Label
from detector.panes import GapError
from detector.records import Approval
from detector.vocabulary import Enforcement, LabelVerdict

NEVER_DUE = 1 << 62
# Findings of others are few, and lists of addresses have no place here.
WATCHED_MAX = 4_096
# As many of the newest labels make the estimates of precision.
LABELLED_MAX = 4_096
# Of OCSF's verdicts those that say whether an alert was right; the others say nothing about a signature.
RIGHT, WRONG = frozenset({"true_positive"}), frozenset({"false_positive", "benign"})
# The attributes of an account's row that an exemption may name, beside its own name.
ATTRIBUTE_SCOPES = ("org", "payment_fp")


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """A recorded entry that has not acted yet; sorts by time, source and position."""

    ingest_ms: int
    source: str
    position: int
    entry: Entry


class Desk(msgspec.Struct):
    """Everything that operators' records left behind."""

    waiting: list[Waiting] = []
    stops: dict[str, int] = {}  # by source: where its records end
    exemptions: dict[tuple[str, str], AllowEntry] = {}  # by (scope, value)
    named: dict[tuple[str, int], str] = {}  # (scope, digest) of an exempt attribute -> its value
    lifted: dict[tuple[str, str], str] = {}  # (scope, value) -> the campaign that may not lease it again
    approvals: dict[str, Approval] = {}  # by campaign id
    enforcement: Enforcement = "on"
    watched: dict[int, Indicator] = {}  # by link key
    outcomes: dict[str, int] = {}
    labels: dict[str, int] = {}  # by verdict
    labelled: dict[str, tuple[LabelVerdict, tuple[str, ...]]] = {}  # by alert: the last word, and what had spoken
    approve_after_ms: int = -1  # replay's --approve-after; -1: nobody approves by the clock


def take(desk: Desk, frame: OperatorFrame) -> list[Waiting]:
    """Take in a frame; returns the entries that act at once. Raises `GapError` when it does not join."""
    stop = desk.stops.get(frame.source)
    if stop is not None and frame.first > stop:
        raise GapError(
            f"{frame.source}: operators' records end at {stop}, the next begin at {frame.first}: records are missing"
        )
    fresh = [
        Waiting(e.ingest_ms, frame.source, e.position, e) for e in frame.entries if stop is None or e.position >= stop
    ]
    desk.stops[frame.source] = max(frame.stop, stop if stop is not None else frame.stop)
    if not frame.timed:
        return fresh
    for item in fresh:
        wait(desk, item)
    return []


def wait(desk: Desk, item: Waiting) -> None:
    """Let an entry wait for its time, in order."""
    bisect.insort(desk.waiting, item, key=lambda held: (held.ingest_ms, held.source, held.position))


def due_ms(desk: Desk) -> int:
    """When the next entry acts."""
    return desk.waiting[0].ingest_ms if desk.waiting else NEVER_DUE


def count(desk: Desk, outcome: str) -> None:
    """Count what became of a record."""
    desk.outcomes[outcome] = desk.outcomes.get(outcome, 0) + 1


def exempt(
    desk: Desk,
    *,
    scope: str,
    value: str,
    attributes: dict[str, int],
    signature_ids: tuple[str, ...],
    now_ms: int,
) -> bool:
    """Say whether an exemption covers a lease: by its own key, or by an attribute's digest of its account.

    An entry that names signatures covers the leases to which one of them contributed.
    """
    keys = [(scope, value)]
    keys += [(s, desk.named[s, digest]) for s, digest in attributes.items() if (s, digest) in desk.named]
    for key in keys:
        entry = desk.exemptions.get(key)
        if entry is None:
            continue
        if entry.expires_at <= now_ms:
            withdraw(desk, key)
        elif not entry.signatures or set(entry.signatures) & set(signature_ids):
            return True
    return False


def grant(desk: Desk, entry: AllowEntry, *, digest: int) -> None:
    """Put an entry in the place of the one that its key had."""
    withdraw(desk, (entry.scope, entry.value))
    desk.exemptions[entry.scope, entry.value] = entry
    if digest and entry.scope in ATTRIBUTE_SCOPES:
        desk.named[entry.scope, digest] = entry.value


def withdraw(desk: Desk, key: tuple[str, str]) -> bool:
    """Take an exemption back; False where there is none."""
    desk.named = {named: value for named, value in desk.named.items() if (named[0], value) != key}
    return desk.exemptions.pop(key, None) is not None


def label(desk: Desk, record: Label, *, signature_ids: tuple[str, ...]) -> None:
    """Keep an analyst's word on an alert, in the place of an earlier one."""
    desk.labels[record.verdict] = desk.labels.get(record.verdict, 0) + 1
    desk.labelled.pop(record.alert_id, None)
    desk.labelled[record.alert_id] = record.verdict, signature_ids
    while len(desk.labelled) > LABELLED_MAX:
        del desk.labelled[next(iter(desk.labelled))]


def precision(desks: Iterable[Desk]) -> dict[str, float]:
    """The share of right alerts among those to which a signature contributed and whose label says right or wrong."""
    right: dict[str, int] = {}
    said: dict[str, int] = {}
    for verdict, signature_ids in (held for one in desks for held in one.labelled.values()):
        for signature in signature_ids if verdict in RIGHT | WRONG else ():
            said[signature] = said.get(signature, 0) + 1
            right[signature] = right.get(signature, 0) + (verdict in RIGHT)
    return {signature: round(right[signature] / number, 6) for signature, number in sorted(said.items())}


def watch(desk: Desk, indicator: Indicator, *, digest: int, now_ms: int) -> str:
    """Watch a link until the indicator expires, or end that watch; says what became of it."""
    if not digest:
        return "indicator_unknown"
    if indicator.expires_at <= now_ms:
        return "indicator_removed" if desk.watched.pop(digest, None) is not None else "indicator_expired"
    if digest not in desk.watched and len(desk.watched) >= WATCHED_MAX:
        return "indicator_refused"
    desk.watched[digest] = indicator
    return "indicator"


def watched(desk: Desk, *, now_ms: int) -> frozenset[int]:
    """The keys of the links that are watched now; those whose time is up are let go."""
    if any(held.expires_at <= now_ms for held in desk.watched.values()):
        desk.watched = {key: held for key, held in desk.watched.items() if held.expires_at > now_ms}
    return frozenset(desk.watched)

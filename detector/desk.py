"""Desk: what operators have said that still holds: exemptions, the kill switch, lifted leases, watched links.

Purpose: keep operators' records that wait for their time, and what the ones that acted
left behind. What they change is `orders`' matter.
Invariants: a range of operators' records delivered twice counts once, a hole is an error;
records wait in the order (ingest time, source, position), however they came in. A lease
that an operator lifted is not given again by the same campaign until an operator says so.
Limits: as many exemptions as operators write, `WATCHED_MAX` watched links; what has expired goes when it is next
looked at.
Source: the operators' safety policy.
"""

import bisect

import msgspec

from detector.frames import Entry, OperatorFrame
from detector.operators import AllowEntry, Indicator
from detector.panes import GapError
from detector.records import Approval
from detector.vocabulary import Enforcement

NEVER_DUE = 1 << 62
# Findings of others are few, and lists of addresses have no place here.
WATCHED_MAX = 4_096
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

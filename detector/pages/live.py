"""Live: what the topics say now, as the sections of a page.

Purpose: open campaigns, the leases that run, how near the caps are, what could be seen, and how
far the judges have come; the same blocks as the report.
Invariants: a function of the situation and of a time. What stands on no topic is said to be
unknown, and old news is marked as old.
Limits: the greatest 20 campaigns and the newest 50 leases are shown; the rest are counted.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from detector.hashing import content_digest
from detector.pages.blocks import Block, Cards, Note, Section, Table, Tile, Tiles, Tone, columns
from detector.pages.cards import card_of
from detector.pages.rendering import Page
from detector.pages.state import actions_table, coverage_table, done_words
from detector.pages.words import UNKNOWN, count, duration, plural, share, when
from detector.policy import contains
from detector.records import Alert, Decision
from detector.runtime.kafka.publishing import Progress
from detector.runtime.kafka.situation import CLOSED, HOUR_MS, Situation
from detector.runtime.kafka.watching import Seen

CAMPAIGNS_SHOWN, LEASES_SHOWN, CLOSED_SHOWN = 20, 50, 10
LATE_MS = 300_000
FAMILIES_MIN = 3  # where no judge has said under which settings it runs


def _open(seen: Seen) -> list[Alert]:
    """Open campaigns, the greatest risk first."""
    alerts = seen.situation.alerts.values()
    mine = [a for a in alerts if a.kind == "campaign" and a.status not in CLOSED and a.superseded_by is None]
    return sorted(mine, key=lambda a: (-a.risk_score, -a.detected_at, a.alert_id))


def _behind(judges: Sequence[Progress], now_ms: int) -> tuple[str, Tone]:
    ends = [judge.pane_end_ms for judge in judges if judge.pane_end_ms is not None]
    if not ends:
        return UNKNOWN, "muted"
    late_ms = now_ms - min(ends)
    return duration(max(late_ms, 0) / 1000), "warn" if late_ms > LATE_MS else "good"


def _news(seen: Seen) -> list[Block]:
    """Whether what stands here is current."""
    known = f"as of {when(seen.since_ms)} UTC" if seen.since_ms else "nothing was read yet"
    notes: list[Block] = []
    if seen.trouble:
        notes.append(Note(f"No word from the brokers ({seen.trouble}). What stands here is {known}.", "bad"))
    elif not seen.complete:
        notes.append(Note("The topics are still being read: what stands here is not all yet.", "warn"))
    control = seen.situation.control
    if control is not None and control.enforcement != "on":
        said = f"Kill switch: enforcement is {control.enforcement.replace('_', ' ')}"
        notes.append(Note(f"{said} since {when(control.since)} UTC, by {control.by}: {control.reason}", "bad"))
    lost = sum(seen.situation.unreadable.values())
    if lost:
        notes.append(Note(f"{plural(lost, 'record')} of these topics did not read as ours and were left out.", "warn"))
    return notes


def _now(seen: Seen, leases: list[Decision], now_ms: int) -> Section:
    opened = _open(seen)
    accounts = sum(a.campaign.accounts for a in opened if a.campaign is not None)
    enforced = [d for d in leases if d.mode == "enforce"]
    waiting = [d for d in leases if d.approval.state == "pending"]
    control = seen.situation.control
    switch = control.enforcement.replace("_", " ") if control is not None else "on"
    behind, tone = _behind(list(seen.situation.judges.values()), now_ms)
    tiles = (
        Tile("open campaigns", count(len(opened)), plural(accounts, "account"), "bad" if opened else "good"),
        Tile("leases enforced", count(len(enforced)), f"{count(sum(contains(d.action) for d in enforced))} contain"),
        Tile("leases in shadow", count(len(leases) - len(enforced)), "computed, not enforced"),
        Tile("awaiting approval", count(len(waiting)), "", "warn" if waiting else "plain"),
        Tile("enforcement", switch, "the kill switch", "good" if switch == "on" else "bad"),
        Tile("judged up to", behind, "behind the clock, in event time", tone),
    )
    return Section("now", "Now", (*_news(seen), Tiles(tiles)))


def _campaigns(seen: Seen, leases: list[Decision]) -> Section:
    opened = _open(seen)
    by_campaign: dict[str, Counter[str]] = {}
    for lease in leases:
        by_campaign.setdefault(lease.campaign_id or "", Counter())[lease.action] += 1
    judges = seen.situation.judges
    cards = tuple(
        card_of(
            alert,
            name=f"alert-{content_digest(alert.alert_id.encode())}",
            families_min=judges[alert.entity.tenant].settings.verdict.families_min
            if alert.entity.tenant in judges
            else FAMILIES_MIN,
            done=done_words(by_campaign.get(alert.campaign.id, {}), mode=alert.mode) if alert.campaign else "",
        )
        for alert in opened[:CAMPAIGNS_SHOWN]
    )
    rest = len(opened) - len(cards)
    more = (Note(f"{rest:,} more are open: stillwatch alerts list", "muted"),) if rest > 0 else ()
    closed = sorted(
        (a for a in seen.situation.alerts.values() if a.kind == "campaign" and a.status in CLOSED),
        key=lambda a: (-a.last_seen, a.alert_id),
    )
    rows = tuple((a.entity.value, a.title, a.status, a.status_reason or "", when(a.last_seen)) for a in closed)
    table = Table(
        "Closed in the last day",
        columns("campaign", "title", "status", "why", "last seen (UTC)"),
        rows[:CLOSED_SHOWN],
        empty="none",
        folded=True,
    )
    return Section("campaigns", "Open campaigns", (Cards(cards, "No campaign is open."), *more, table))


def _lease_rows(leases: Sequence[Decision], now_ms: int) -> tuple[tuple[str, ...], ...]:
    newest = sorted(leases, key=lambda d: (-d.issued_at, d.tenant, d.scope, d.value))[:LEASES_SHOWN]
    return tuple(
        (
            d.value,
            d.scope,
            d.action,
            d.mode,
            duration((d.expires_at - now_ms) / 1000),
            d.campaign_id or UNKNOWN,
            d.origin,
            d.reason_code,
        )
        for d in newest
    )


def _leases(leases: list[Decision], now_ms: int) -> Section:
    enforced: Counter[str] = Counter(d.action for d in leases if d.mode == "enforce")
    shadow: Counter[str] = Counter(d.action for d in leases if d.mode == "shadow")
    heads = columns("value", "scope", "action", "mode", "#runs for", "campaign", "origin", "reason")
    waiting = [d for d in leases if d.approval.state == "pending"]
    asked = tuple(
        (d.value, d.scope, d.action, d.approval.proposed_action or UNKNOWN, d.campaign_id or UNKNOWN)
        for d in sorted(waiting, key=lambda d: (d.campaign_id or "", d.value))[:LEASES_SHOWN]
    )
    rest = len(leases) - LEASES_SHOWN
    return Section(
        "leases",
        "Decisions in force",
        (
            actions_table("Enforced, by action", enforced, done="nothing is enforced"),
            actions_table("Shadow, by action", shadow, done="nothing is computed in shadow"),
            Table(
                "Awaiting approval", columns("value", "scope", "now", "proposed", "campaign"), asked, empty="nothing"
            ),
            Table(
                "Newest leases",
                heads,
                _lease_rows(leases, now_ms),
                empty="none",
                note=f"And {rest:,} more: stillwatch decisions list" if rest > 0 else "",
                folded=True,
            ),
        ),
    )


def _cap_rows(tenant: str, judge: Progress, situation: Situation, leases: list[Decision]) -> list[tuple[str, ...]]:
    limits = judge.newest_settings().decision
    now_ms = judge.pane_end_ms or 0
    blocks = sum(1 for t, at in situation.blocks.values() if t == tenant and at > now_ms - HOUR_MS)
    held = [d for d in leases if d.tenant == tenant and d.origin == "detector"]
    blocked = Counter(d.campaign_id for d in held if d.action == "block")
    contained = {(d.scope, d.value) for d in held if contains(d.action)}
    most = blocked.most_common(1)[0][1] if blocked else 0
    mine = f" ({tenant})" if tenant != "default" else ""
    return [
        (f"new blocks in the last hour{mine}", count(blocks), count(limits.blocks_per_hour_max)),
        (f"blocks of one campaign, the most{mine}", count(most), count(limits.blocks_per_campaign_max)),
        (f"contained targets{mine}", count(len(contained)), f"{share(limits.contained_share_max)} of active accounts"),
        (f"blocked targets{mine}", count(blocked.total()), f"{share(limits.blocked_share_max)} of active accounts"),
        (f"tokens of the blocked{mine}", UNKNOWN, f"{share(limits.blocked_tokens_share_max)} of a day's tokens"),
    ]


def _caps(seen: Seen, leases: list[Decision]) -> Section:
    situation = seen.situation
    rows = [row for t, judge in sorted(situation.judges.items()) for row in _cap_rows(t, judge, situation, leases)]
    alerts = [a for a in situation.alerts.values() if a.kind == "operational" and a.status not in CLOSED]
    newest = sorted(alerts, key=lambda a: (-a.detected_at, a.alert_id))[:CLOSED_SHOWN]
    hits = tuple((a.title, when(a.detected_at), a.summary) for a in newest)
    return Section(
        "caps",
        "Caps",
        (
            Table(
                "Used of what policy allows",
                columns("what is bounded", "#now", "at most"),
                tuple(rows),
                empty="no judge has said under which settings it runs",
                note="Of how many accounts and tokens, the judge alone knows: /status of a worker has the shares.",
            ),
            Table("Caps reached, storms", columns("what", "detected (UTC)", "says"), hits, empty="none"),
        ),
    )


def _coverage(seen: Seen) -> Section:
    newest: dict[str, Alert] = {}
    for alert in sorted(seen.situation.alerts.values(), key=lambda a: (a.last_seen, a.alert_id)):
        newest[alert.entity.tenant] = alert
    said = {tenant: msgspec.to_builtins(alert.coverage) for tenant, alert in newest.items()}
    silent = sorted(set(seen.situation.judges) - set(newest))
    blocks: list[Block] = list(coverage_table(said)) if said else []
    if silent:
        names = ", ".join(silent)
        blocks.append(Note(f"Not known for {names}: no alert has said it yet; /status of a worker does.", "muted"))
    if not blocks:
        blocks.append(Note("Not known: no alert has said it yet; /status of a worker does.", "muted"))
    return Section("coverage", "What could be seen", tuple(blocks))


def _judges(seen: Seen, now_ms: int) -> Section:
    rows = tuple(
        (
            tenant,
            when(judge.pane_end_ms),
            duration((now_ms - judge.pane_end_ms) / 1000) if judge.pane_end_ms is not None else UNKNOWN,
            count(len(judge.sources)),
            judge.newest_settings().mode,
            judge.config_hash,
            judge.version,
        )
        for tenant, judge in sorted(seen.situation.judges.items())
    )
    heads = columns("tenant", "judged up to (UTC)", "#behind", "#sources", "mode", "settings", "version")
    return Section("judges", "Judges", (Table("How far each tenant's judge has come", heads, rows, empty="none yet"),))


def live_page(seen: Seen, *, now_ms: int) -> Page:
    """The page at a time, epoch ms."""
    leases = seen.situation.active(now_ms)
    sections = (
        _now(seen, leases, now_ms),
        _campaigns(seen, leases),
        _leases(leases, now_ms),
        _caps(seen, leases),
        _coverage(seen),
        _judges(seen, now_ms),
    )
    return Page("stillwatch, live", "What the topics say now. Read-only.", sections)

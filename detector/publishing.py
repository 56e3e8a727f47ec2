"""Publishing: which alerts leave, and when: the noise rules.

Purpose: decide whether a campaign has news worth a revision, hold back what comes too
fast, and say operational things once an hour.
Invariants: a function of campaigns and event time; a suppressed alert is written all the
same, with that status, and decisions are never held back. What was suppressed stays so until an
hour has room for it, and then opens, or until it ends. An operational alert is resolved when its hour is over.
Limits: hours are those of event time (tumbling).
Source: the operators' noise rules: an update on doubled size, on a change of severity, or
every `update_interval_ms`; a bound on alerts opened per hour.
"""

import msgspec
import numpy as np

from detector import alerts, campaigns, records
from detector.accounts import AccountTable
from detector.alerts import Issuer
from detector.campaigns import Campaign
from detector.config import DecisionSettings, VerdictSettings
from detector.desk import Waiting
from detector.drift import bar
from detector.frames import ID, IDS, LINKS_FIRST, Entry
from detector.link_columns import L
from detector.links import LinkTable
from detector.operators import Command
from detector.policy import HOUR_MS
from detector.recent import Recent
from detector.records import SAMPLES_MAX, Alert, Member, Verdict
from detector.sketches import bottom_k

DAY_MS = 86_400_000
# A budget is held over a week, so that one bad day may use what quiet ones left.
BUDGET_DAYS = 7
WEIGHED_MAX = 4_096
LINK_COLUMNS = np.arange(LINKS_FIRST, IDS)


class Outlet(msgspec.Struct):
    """What has been said in the current hour."""

    hour: int = 0
    opened: int = 0
    warned: dict[str, Alert] = {}  # operational alerts that stand, by id
    weighed: dict[int, tuple[int, int]] = {}  # links that would found a campaign: last time, most log-odds / 1000


def within_budget(outlet: Outlet, link: int, verdict: Verdict, settings: VerdictSettings, *, now_ms: int) -> bool:
    """Say whether a pool that would found a campaign is among as many as the alert budget allows, if there is one."""
    if settings.alerts_per_day_max <= 0:
        return True
    most = max(round(1_000 * verdict.log_odds), outlet.weighed.get(link, (0, 0))[1])
    outlet.weighed.pop(link, None)
    since_ms = now_ms - BUDGET_DAYS * DAY_MS
    outlet.weighed = {key: held for key, held in outlet.weighed.items() if held[0] > since_ms}
    outlet.weighed[link] = (now_ms, most)
    while len(outlet.weighed) > WEIGHED_MAX:
        del outlet.weighed[next(iter(outlet.weighed))]
    recent = [log_odds / 1_000 for _, log_odds in outlet.weighed.values()]
    allowed = max(1, int(BUDGET_DAYS * settings.alerts_per_day_max))
    return verdict.log_odds >= bar(recent, threshold=verdict.threshold, allowed=allowed)


def has_news(outlet: Outlet, campaign: Campaign, settings: DecisionSettings, *, now_ms: int, final: bool) -> bool:
    """Say whether a campaign grew twofold, got worse, has news that is a while old, or may be heard at last."""
    if campaign.hushed and not campaign.closed and _room(outlet, settings, now_ms=now_ms):
        return True
    # Members may join by what they did before, so that their number grows without new requests.
    said, now = (campaign.alerted_requests, campaign.alerted_accounts), (campaign.requests, len(campaign.members))
    if campaign.revision == 0 or campaign.closed or said == now:
        return False
    grown = campaign.requests >= 2 * campaign.alerted_requests
    due = now_ms - campaign.alerted_ms >= settings.update_interval_ms
    return grown or due or final or campaign.severity != alerts.severity_of(campaign)


def _room(outlet: Outlet, settings: DecisionSettings, *, now_ms: int) -> bool:
    """Say whether one more alert may open in this hour."""
    opened = outlet.opened if now_ms // HOUR_MS == outlet.hour else 0
    return opened < settings.alerts_per_hour_max


def storms(outlet: Outlet, settings: DecisionSettings, *, now_ms: int) -> bool:
    """Count an opened alert; True beyond the hour's number."""
    if now_ms // HOUR_MS != outlet.hour:
        outlet.hour, outlet.opened = now_ms // HOUR_MS, 0
    outlet.opened += 1
    return outlet.opened > settings.alerts_per_hour_max


def once(outlet: Outlet, alert: Alert) -> list[Alert]:
    """Pass an operational alert on unless its hour has had it; those of hours before are over."""
    if alert.alert_id in outlet.warned:
        return []
    said = [*settled(outlet, now_ms=alert.first_seen), alert]
    outlet.warned[alert.alert_id] = alert
    return said


def settled(outlet: Outlet, *, now_ms: int) -> list[Alert]:
    """Resolve the operational alerts whose hour is over; what goes on has an alert of its own hour."""
    over = [alert for alert in outlet.warned.values() if alert.window.end <= now_ms]
    for alert in over:
        del outlet.warned[alert.alert_id]
    return [alerts.over(alert) for alert in over]


def revision(
    outlet: Outlet,
    campaign: Campaign,
    *,
    issuer: Issuer,
    links: LinkTable,
    decision_ids: tuple[str, ...],
    now_ms: int,
    absorbed_by: str | None = None,
) -> list[Alert]:
    """Write a campaign's next revision, with the storm's own alert before it where it is one too many."""
    opens = campaign.revision == 0
    unheard = (opens or campaign.hushed) and not campaign.closed
    campaign.hushed = unheard and storms(outlet, issuer.settings.decision, now_ms=now_ms)
    said = once(outlet, alerts.storm_alert(issuer, now_ms=now_ms)) if campaign.hushed and opens else []
    said.append(
        alerts.campaign_alert(
            campaign,
            issuer=issuer,
            link_sizes=link_sizes(campaign, links),
            decision_ids=decision_ids,
            absorbed_by=absorbed_by,
            suppressed=campaign.hushed,
        )
    )
    campaign.revision += 1
    campaign.remark = ""
    campaign.alerted_ms, campaign.alerted_requests = now_ms, campaign.requests
    campaign.alerted_accounts = len(campaign.members)
    campaign.severity = alerts.severity_of(campaign)
    return said


def samples_of(campaign: Campaign, recent: Recent) -> list[tuple[str, int, str]]:
    """Name recent events that carry the campaign's links, the latest first."""
    core = np.array(list(campaign.core), np.uint64)
    samples: list[tuple[str, int, str]] = []
    for pane in reversed(recent.panes):
        hits = np.flatnonzero(np.isin(pane.ids[:, LINK_COLUMNS], core).any(axis=1))
        for row in reversed(hits.tolist()):
            account = pane.names_of(pane.ids[row : row + 1, ID.ACCOUNT], np.array([row]))[0] or b""
            samples.append((pane.event_id(row), int(pane.numbers[row, 0]), account.decode()))
            if len(samples) >= SAMPLES_MAX:
                return samples
    return samples


def members_of(campaign: Campaign, accounts: AccountTable, *, tenant: str) -> list[Member]:
    """A campaign's members as records, by name."""
    return [
        Member(
            campaign_id=campaign.id,
            account_id=m.name,
            tenant=tenant,
            first_seen=m.first_ms,
            requests=m.requests,
            joined_at=m.joined_ms,
        )
        for m in campaigns.standing(campaign, accounts)
    ]


def approval(campaign: Campaign, *, tenant: str, due_ms: int) -> Waiting:
    """The command that approves a campaign at a time: a replay's stand-in for the operator."""
    command = Command(
        command="approve",
        tenant=tenant,
        alert_id=alerts.alert_id(campaign),
        by="approve-after",
        reason="approved by the clock",
        at=due_ms,
    )
    return Waiting(due_ms, "", campaign.number, Entry(due_ms, campaign.number, "command", 0, records.encode(command)))


def link_sizes(campaign: Campaign, links: LinkTable) -> dict[int, tuple[int, int]]:
    """Accounts and requests of each core link that still has a pool."""
    keys = list(campaign.core)
    rows = links.index.find(np.array(keys, np.uint64))
    pools = np.where(rows >= 0, links.stats[rows, L.POOL] - 1, -1)
    held = np.flatnonzero(pools >= 0)
    column = links.large.columns
    crowd = bottom_k.estimate(sizes=column.sizes[pools[held]], thetas=column.thetas[pools[held]]).value
    requests = links.stats[rows[held], L.REQUESTS]
    return {keys[i]: (round(float(n)), int(r)) for i, n, r in zip(held.tolist(), crowd, requests.tolist(), strict=True)}

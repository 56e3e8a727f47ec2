"""Score a run against ground truth, by the contract's definitions.

Purpose: `evaluate` takes events, labels and what a run said, and returns the scores:
leak, time to detect, member recall and precision, collateral, alert load, per campaign
and per benign population.
Invariants: shadow decisions count as if enforced; every request of an account that
belongs to a campaign counts as the campaign's, cover traffic too; equal input gives equal
scores (the bootstrap is seeded).
Limits: one pass over the events (two when labels name events), memory grows with accounts
and not with events. Intervals are 95 %: bootstraps over accounts, or, where none or all was
counted, what as many accounts could have hidden; Poisson for counts of alerts. They show
sampling noise inside one log, not what another log would give. One campaign has one time to
detect, which has no interval: run several seeds.
Account names are taken to be unique across tenants.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.records import Alert, Decision, Member
from detector.tuning.scores import CONTAINS, SLOWS, levels_of, targets, timelines

UNLABELLED = "unlabelled"
BOOTSTRAPS = 400
TAIL = 0.025
NORMAL = 1.959964  # the normal distribution's quantile of 1 - TAIL
DAY_MS = 86_400_000
I64 = npt.NDArray[np.int64]
Scores = dict[str, Any]
Truth = dict[str, tuple[str, str]]  # account -> (campaign, population)


class Labels(NamedTuple):
    """Ground truth by account or by event; `campaign` is empty for benign traffic."""

    by: str  # "account_id" or "event_id"
    ids: pa.StringArray
    campaigns: pa.StringArray
    populations: pa.StringArray


class Tally(NamedTuple):
    """What the log holds per account, as columns over `names`."""

    names: list[str]
    campaign: npt.NDArray[np.object_]
    population: npt.NDArray[np.object_]
    requests: I64
    contained: I64
    slowed: I64
    first_ms: I64
    last_ms: I64
    before_detection: I64


class Naming(NamedTuple):
    """What the campaign alerts turned out to be."""

    named: dict[str, list[Alert]]  # labelled campaign -> opening revisions, earliest first
    false: list[Alert]
    mixed: list[Alert]
    of_campaign_id: dict[str, str]  # the run's campaign id -> labelled campaign
    opened: list[Alert]


def labels_from(table: pa.Table) -> Labels:
    """Read a labels table. Raises `ValueError` when it names neither accounts nor events, or lacks `campaign`."""
    by = next((name for name in ("account_id", "event_id") if name in table.column_names), None)
    if by is None or "campaign" not in table.column_names:
        raise ValueError(
            f"labels have columns {table.column_names}; they need account_id or event_id, and campaign "
            "(empty when benign)"
        )
    text = {name: table.column(name).cast(pa.string()).combine_chunks() for name in table.column_names}
    campaigns = pc.fill_null(text["campaign"], "")
    populations = pc.fill_null(text["population"], "") if "population" in text else campaigns
    populations = pc.if_else(
        pc.equal(populations, ""), pc.if_else(pc.equal(campaigns, ""), "benign", campaigns), populations
    )
    return Labels(by=by, ids=text[by], campaigns=campaigns, populations=populations)


def truth_of(labels: Labels, *, events: Iterable[pa.RecordBatch]) -> Truth:
    """Label of each account. One labelled request makes the whole account the campaign's."""
    if labels.by == "account_id":
        pairs = zip(labels.campaigns.to_pylist(), labels.populations.to_pylist(), strict=True)
        return dict(zip(labels.ids.to_pylist(), pairs, strict=True))
    out: Truth = {}
    for batch in events:
        at = pc.index_in(batch.column("event_id"), value_set=labels.ids)
        known = at.drop_null()
        accounts = batch.column("account_id").filter(at.is_valid())
        rows = pa.table([accounts, labels.campaigns.take(known), labels.populations.take(known)], names=["a", "c", "p"])
        for row in rows.group_by(["a", "c", "p"]).aggregate([]).to_pylist():
            held = out.get(row["a"])
            # A campaign outranks a benign label; of two campaigns the alphabetically first, so that order is no matter.
            if held is None or (row["c"] == "", row["c"], row["p"]) < (held[0] == "", *held):
                out[row["a"]] = (row["c"], row["p"])
    return out


def _name_alerts(alerts: Iterable[Alert], *, members: Iterable[Member], truth: Truth) -> Naming:
    """Decide for each campaign alert, as it opened, whose accounts it names."""
    opened: dict[str, Alert] = {}
    for alert in alerts:
        held = opened.get(alert.alert_id)
        if held is None or alert.revision < held.revision:
            opened[alert.alert_id] = alert
    joined: dict[str, list[Member]] = {}
    for member in members:
        joined.setdefault(member.campaign_id, []).append(member)
    naming = Naming(named={}, false=[], mixed=[], of_campaign_id={}, opened=[])
    for alert in sorted(opened.values(), key=lambda a: (a.detected_at, a.alert_id)):
        naming.opened.append(alert)
        if alert.kind != "campaign" or alert.campaign is None:
            continue
        everyone = joined.get(alert.campaign.id, [])
        early = [m.account_id for m in everyone if m.joined_at <= alert.detected_at]
        accounts = early or [m.account_id for m in everyone] or list(alert.campaign.members_sample)
        counts: dict[str, int] = {}
        for account in accounts:
            campaign = truth.get(account, ("", UNLABELLED))[0]
            counts[campaign] = counts.get(campaign, 0) + 1
        top = max(sorted(counts), key=lambda c: counts[c], default="")
        if not counts or counts[top] * 2 <= len(accounts):
            naming.mixed.append(alert)
        elif top == "":
            naming.false.append(alert)
        else:
            naming.named.setdefault(top, []).append(alert)
            naming.of_campaign_id.setdefault(alert.campaign.id, top)
    return naming


def _tally(
    events: Iterable[pa.RecordBatch],
    *,
    truth: Truth,
    decisions: Sequence[Decision],
    detected_ms: dict[str, int],
) -> Tally:
    """Walk the log once and count per account."""
    by_scope = timelines(decisions)
    index: dict[str, int] = {}
    never = np.iinfo(np.int64).max
    counts: I64 = np.zeros((4, 0), np.int64)  # requests, contained, slowed, before detection
    spans: I64 = np.zeros((2, 0), np.int64)  # first, last
    detected: I64 = np.zeros(0, np.int64)
    for batch in events:
        coded = batch.column("account_id").dictionary_encode()
        names = coded.dictionary.to_pylist()
        new = [name for name in names if name not in index]
        for name in new:
            index[name] = len(index)
        if new:
            counts = np.concatenate([counts, np.zeros((4, len(new)), np.int64)], axis=1)
            spans = np.concatenate([spans, np.tile([[never], [-never]], (1, len(new)))], axis=1)
            times = [detected_ms.get(truth.get(name, ("", ""))[0], -never) for name in new]
            detected = np.concatenate([detected, np.asarray(times, np.int64)])
        local = np.asarray([index[name] for name in names], np.int64)
        account = local[coded.indices.to_numpy(zero_copy_only=False)]
        time_ms = batch.column("event_time").cast(pa.int64()).to_numpy(zero_copy_only=False)
        level = levels_of(batch, by_scope=by_scope)
        masks = (level >= 0, level >= CONTAINS, level == SLOWS, time_ms <= detected[account])
        for row, mask in enumerate(masks):
            counts[row] += np.bincount(account[mask], minlength=len(index))
        np.minimum.at(spans[0], account, time_ms)
        np.maximum.at(spans[1], account, time_ms)
    labels = [truth.get(name, ("", UNLABELLED)) for name in index]
    return Tally(
        names=list(index),
        campaign=np.asarray([label[0] for label in labels], object),
        population=np.asarray([label[1] for label in labels], object),
        requests=counts[0],
        contained=counts[1],
        slowed=counts[2],
        before_detection=counts[3],
        first_ms=spans[0],
        last_ms=spans[1],
    )


def _ratio(part: Any, whole: Any, *, scale: float = 1.0) -> float | None:
    return None if whole == 0 else round(float(scale * part / whole), 6)


def _interval(part: I64, whole: I64, *, seed: int, scale: float = 1.0) -> list[float] | None:
    """95 % interval of sum(part) / sum(whole) over accounts; None without a denominator."""
    if whole.sum() == 0:
        return None
    nothing, everything = not part.any(), bool((part == whole).all())
    if nothing or everything:
        # What n alike accounts could hide: (1 - p)^n = 2.5 %. Uneven ones count for fewer.
        alike = float(whole.sum()) ** 2 / float(np.square(whole.astype(np.float64)).sum())
        hidden = 1 - TAIL ** (1 / alike)
        low, high = (0.0, hidden) if nothing else (1 - hidden, 1.0)
        return [round(scale * low, 6), round(scale * high, 6)]
    rng = np.random.default_rng(seed)
    ratios: npt.NDArray[np.float64] = np.empty(BOOTSTRAPS)
    for draw in range(BOOTSTRAPS):
        # Poisson(1) weights: the bootstrap's multinomial without building its matrix.
        weight = rng.poisson(1.0, part.size)
        ratios[draw] = float(weight @ part) / max(float(weight @ whole), 1.0)
    low, high = np.quantile(ratios, (TAIL, 1 - TAIL))
    return [round(float(scale * low), 6), round(float(scale * high), 6)]


def count_interval(count: int, whole: float, *, scale: float = 1.0) -> list[float] | None:
    """95 % interval of a rate of independent events, by Byar's approximation of the Poisson limits."""
    if whole == 0:
        return None
    low = 0.0 if count == 0 else count * (1 - 1 / (9 * count) - NORMAL / (3 * math.sqrt(count))) ** 3
    more = count + 1
    high = more * (1 - 1 / (9 * more) + NORMAL / (3 * math.sqrt(more))) ** 3
    return [round(scale * max(low, 0.0) / whole, 6), round(scale * high / whole, 6)]


def _campaign_scores(
    tally: Tally, *, campaign: str, naming: Naming, acted: npt.NDArray[np.bool_], by_named: set[str]
) -> Scores:
    mine = tally.campaign == campaign
    alerts = naming.named.get(campaign, [])
    requests, contained = tally.requests[mine], tally.contained[mine]
    detected_ms = alerts[0].detected_at if alerts else None
    active = mine & (tally.last_ms > detected_ms) if detected_ms is not None else np.zeros_like(mine)
    targeted = np.asarray([name in by_named for name in tally.names], bool)
    began_ms = int(tally.first_ms[mine].min()) if mine.any() else None
    seconds = None if detected_ms is None or began_ms is None else round((detected_ms - began_ms) / 1000, 3)
    recalled = (acted & active)[active].astype(np.int64)
    return {
        "accounts": int(mine.sum()),
        "requests": int(requests.sum()),
        "found": bool(alerts),
        "alert_ids": [alert.alert_id for alert in alerts],
        "leak": _ratio(requests.sum() - contained.sum(), requests.sum()),
        "leak_interval": _interval(requests - contained, requests, seed=1),
        "leaked_requests": int(requests.sum() - contained.sum()),
        "slowed_requests": int(tally.slowed[mine].sum()),
        "time_to_detect_s": seconds,
        "requests_by_detection": int(tally.before_detection[mine].sum()) if alerts else None,
        "accounts_active_after_detection": int(active.sum()),
        "member_recall": _ratio(int((acted & active).sum()), int(active.sum())),
        "member_recall_interval": _interval(recalled, np.ones_like(recalled), seed=2),
        "member_precision": _ratio(int((targeted & mine).sum()), int(targeted.sum())),
        "member_precision_interval": _interval(
            mine[targeted].astype(np.int64), np.ones(int(targeted.sum()), np.int64), seed=4
        ),
    }


def _benign_scores(
    tally: Tally, *, mine: npt.NDArray[np.bool_], acted: npt.NDArray[np.bool_], span_days: float
) -> Scores:
    requests, contained, slowed = tally.requests[mine], tally.contained[mine], tally.slowed[mine]
    hit = acted[mine].astype(np.int64)
    return {
        "accounts": int(mine.sum()),
        "requests": int(requests.sum()),
        "contained_requests": int(contained.sum()),
        "collateral_ppm": _ratio(contained.sum(), requests.sum(), scale=1e6),
        "collateral_ppm_interval": _interval(contained, requests, seed=3, scale=1e6),
        "slowed_requests": int(slowed.sum()),
        "slowed_ppm": _ratio(slowed.sum(), requests.sum(), scale=1e6),
        "accounts_acted_on": int(hit.sum()),
        "accounts_acted_on_per_million_account_days": _ratio(hit.sum(), mine.sum() * span_days, scale=1e6),
        "accounts_acted_on_per_million_account_days_interval": (
            _interval(hit, np.ones_like(hit), seed=5, scale=1e6 / span_days) if span_days else None
        ),
    }


def evaluate(
    events: Iterable[pa.RecordBatch],
    *,
    labels: Labels,
    alerts: Iterable[Alert],
    decisions: Iterable[Decision],
    members: Iterable[Member],
    truth: Truth | None = None,
) -> Scores:
    """Compute the contract's scores; a JSON-ready dictionary.

    `events` can be walked twice (a list, a table's batches, an object whose `__iter__`
    starts over); each batch needs `event_time` (int64 ms), `account_id`, `request_model`,
    `tenant`, `event_id` when labels are by event, and the columns of the scopes decided on
    (`scores.SCOPE_COLUMNS`). Accounts without a label count as benign, population
    `unlabelled`. Account-days are accounts seen times the days that the log spans.
    `truth` is `truth_of(labels, events=events)` where that is known already.
    Top level: `leak`, `collateral_ppm` and the like over everything, then `campaigns`,
    `benign` (with `populations`) and `alerts`.
    """
    decided = list(decisions)
    if truth is None:
        truth = truth_of(labels, events=events)
    naming = _name_alerts(alerts, members=members, truth=truth)
    detected_ms = {campaign: found[0].detected_at for campaign, found in naming.named.items()}
    tally = _tally(events, truth=truth, decisions=decided, detected_ms=detected_ms)
    struck_for = targets(decided)
    struck = {account for account, _ in struck_for}
    acted = (tally.contained > 0) | np.asarray([name in struck for name in tally.names], bool)
    span_days = 0.0
    if tally.names:
        span_days = float(tally.last_ms.max() - tally.first_ms.min()) / DAY_MS
    campaigns = {}
    for campaign in sorted({label[0] for label in truth.values()} - {""}):
        ids = {found for found, named in naming.of_campaign_id.items() if named == campaign}
        by_named = {account for account, found in struck_for if found in ids}
        campaigns[campaign] = _campaign_scores(tally, campaign=campaign, naming=naming, acted=acted, by_named=by_named)
    innocent = tally.campaign == ""
    benign = _benign_scores(tally, mine=innocent, acted=acted, span_days=span_days)
    benign["populations"] = {
        population: _benign_scores(
            tally, mine=innocent & (tally.population == population), acted=acted, span_days=span_days
        )
        for population in sorted(set(tally.population[innocent]))
    }
    return _summary(tally, naming=naming, campaigns=campaigns, benign=benign, acted=acted, span_days=span_days)


def _summary(
    tally: Tally,
    *,
    naming: Naming,
    campaigns: Scores,
    benign: Scores,
    acted: npt.NDArray[np.bool_],
    span_days: float,
) -> Scores:
    """Put the totals in front: what a gate or a table reads."""
    events = int(tally.requests.sum())
    attack = tally.campaign != ""
    opened = naming.opened
    named = sum(len(found) for found in naming.named.values())
    waited = [c["time_to_detect_s"] for c in campaigns.values() if c["time_to_detect_s"] is not None]
    return {
        "events": events,
        "accounts": len(tally.names),
        "span_days": round(span_days, 6),
        "campaigns_labelled": len(campaigns),
        "campaigns_found": sum(c["found"] for c in campaigns.values()),
        "campaigns_false": len(naming.false),
        "leak": _ratio((tally.requests - tally.contained)[attack].sum(), tally.requests[attack].sum()),
        "leaked_requests": int((tally.requests - tally.contained)[attack].sum()),
        "time_to_detect_s_max": max(waited, default=None),
        "member_precision": _ratio(int((acted & attack).sum()), int(acted.sum())),
        "collateral_ppm": benign["collateral_ppm"],
        "accounts_acted_on_per_million_account_days": benign["accounts_acted_on_per_million_account_days"],
        "campaigns": campaigns,
        "benign": benign,
        "alerts": {
            "opened": len(opened),
            "by_kind": {kind: sum(a.kind == kind for a in opened) for kind in sorted({a.kind for a in opened})},
            "campaign_named": named,
            "campaign_false": len(naming.false),
            "campaign_mixed": len(naming.mixed),
            "false_alert_ids": [alert.alert_id for alert in naming.false],
            "per_day": _ratio(len(opened), span_days),
            "per_day_interval": count_interval(len(opened), span_days),
            "per_million_events": _ratio(len(opened), events, scale=1e6),
            "per_million_events_interval": count_interval(len(opened), events, scale=1e6),
            "per_day_without_attacks": _ratio(len(opened) - named, span_days),
            "per_day_without_attacks_interval": count_interval(len(opened) - named, span_days),
            "per_million_events_without_attacks": _ratio(
                len(opened) - named, int(tally.requests[~attack].sum()), scale=1e6
            ),
        },
    }

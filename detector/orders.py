"""Orders: what an operator's record changes, at once.

Purpose: carry out allow-list entries, commands and the kill switch over a tenant's cases.
Invariants: a record acts at its own time (`now_ms`), not at a pane end, and what it changes
is in force from then on; the outcome of every record is counted by name. A lifted lease
stays lifted for its campaign, a resolved campaign stays resolved while its accounts act.
The kill switch is for all tenants: each judge ends its own leases, and passes the record on.
Limits: an exemption by organisation or payment frees the members of open campaigns; other
attributes are held against a decision's own key only. Labels decide nothing: they are counted, for alerts of campaigns
that are still kept (open, watched, or resolved and acting).
Source: the operators' safety policy; the record contract's life of a decision.
"""

from collections.abc import Callable

import numpy as np

from detector import alerts, decision, desk
from detector.accounts import A
from detector.campaigns import Campaign
from detector.cases import Cases
from detector.config import Settings, config_hash
from detector.decision import Cause, Key
from detector.desk import Waiting
from detector.operators import KINDS, AllowEntry, Command, Control, Indicator, Label
from detector.policy import stricter
from detector.records import Approval, decode

LIFTED = "Lifted by an operator."
EXEMPTED = "Exempted by an operator."
SWITCHED_OFF = "Enforcement is switched off."
NARROWED = "Enforcement is limited to fewer accounts."
RESOLVED = "The case was resolved by an operator."


def carry_out(cases: Cases, item: Waiting, *, now_ms: int) -> None:
    """Carry out one entry as of `now_ms`."""
    record = decode(item.entry.raw, kind=KINDS[item.entry.kind])
    if isinstance(record, AllowEntry):
        outcome = _allow(cases, record, item.entry.digest, now_ms)
    elif isinstance(record, Control):
        outcome = _switch(cases, record, now_ms)
    elif isinstance(record, Indicator):
        outcome = desk.watch(cases.desk, record, digest=item.entry.digest, now_ms=now_ms)
    elif isinstance(record, Command) and record.command == "add":
        outcome = _add(cases, record, item.entry.digest, now_ms)
    elif isinstance(record, Command):
        outcome = _COMMANDS[record.command](cases, record, now_ms)
    else:
        outcome = _label(cases, record)
    desk.count(cases.desk, outcome)


def _allow(cases: Cases, entry: AllowEntry, digest: int, now_ms: int) -> str:
    if entry.expires_at <= now_ms:
        return "allow_removed" if desk.withdraw(cases.desk, (entry.scope, entry.value)) else "allow_expired"
    desk.grant(cases.desk, entry, digest=digest)
    attributes = _attributes(cases) if entry.scope in desk.ATTRIBUTE_SCOPES else {}
    for (scope, value), lease in sorted(cases.ledger.leases.items()):
        covered = desk.exempt(
            cases.desk,
            scope=scope,
            value=value,
            attributes=attributes.get(value, {}) if scope == "account" else {},
            signature_ids=lease.decision.signature_ids,
            now_ms=now_ms,
        )
        if covered:
            cases.revoke((scope, value), now_ms=now_ms, reason=EXEMPTED)
    return "allow"


def _label(cases: Cases, record: Label) -> str:
    """Keep a label of one of this tenant's alerts; labels name no tenant."""
    campaign = next((c for _, c in sorted(cases.campaigns.items()) if alerts.alert_id(c) == record.alert_id), None)
    if campaign is None:
        return "label_unmatched"
    desk.label(cases.desk, record, signature_ids=campaign.signature_ids)
    return "label"


def _attributes(cases: Cases) -> dict[str, dict[str, int]]:
    """The attributes of every open campaign's members, by name."""
    out = {}
    for _, campaign in sorted(cases.campaigns.items()):
        rows = cases.accounts.index.find(np.array(list(campaign.members), np.uint64)).tolist()
        for member, row in zip(campaign.members.values(), rows, strict=True):
            if row >= 0:
                out[member.name] = cases.attributes_of(row)
    return out


def _switch(cases: Cases, control: Control, now_ms: int) -> str:
    """Turn the kill switch and pass it on: off ends every lease, observe_only every enforced one."""
    cases.desk.enforcement = control.enforcement
    cases.outputs.append(control)
    if control.enforcement != "on":
        _lift(cases, now_ms, every=control.enforcement == "off")
    _ask_anew(cases)
    return f"kill_switch_{control.enforcement}"


def _kill_switch(cases: Cases, command: Command, now_ms: int) -> str:
    assert command.enforcement is not None
    control = Control(enforcement=command.enforcement, since=now_ms, by=command.by, reason=command.reason)
    return _switch(cases, control, now_ms)


def _lift(cases: Cases, now_ms: int, *, every: bool) -> None:
    """End every lease, or every enforced one."""
    for key, lease in sorted(cases.ledger.leases.items()):
        if every or lease.decision.mode == "enforce":
            cases.revoke(key, now_ms=now_ms, reason=SWITCHED_OFF)


def _ask_anew(cases: Cases) -> None:
    """Whoever acts next is held against policy anew."""
    stats = cases.accounts.stats[: cases.accounts.index.used]
    stats[stats[:, A.CAMPAIGN] > 0, A.RENEW_MS] = 0


def adopt(cases: Cases, settings: Settings, *, now_ms: int) -> None:
    """Go on under other settings: from enforce to shadow ends every enforced lease, as nobody would end it later.

    From shadow to enforce, a member's lease is enforced from its next request on; what an operator added in
    shadow stays there. A smaller canary ends the detector's enforced leases; who is still in it gets one when it acts.
    """
    turned = settings.mode != cases.settings.mode
    before, now = cases.settings.decision.canary_share, settings.decision.canary_share
    cases.settings, cases.config_hash = settings, config_hash(settings)
    if now < before:
        for key, lease in sorted(cases.ledger.leases.items()):
            if lease.decision.mode == "enforce" and lease.decision.origin == "detector":
                cases.revoke(key, now_ms=now_ms, reason=NARROWED)
    if now != before:
        _ask_anew(cases)
    if turned:
        if settings.mode == "shadow":
            _lift(cases, now_ms, every=False)
        _ask_anew(cases)


def _key_of(cases: Cases, command: Command) -> Key | None:
    """The key of the lease that a command names, by decision or by (scope, value); None without one."""
    leases = cases.ledger.leases
    if command.decision_id is not None:
        named = (k for k, lease in leases.items() if lease.decision.decision_id == command.decision_id)
        return next(named, None)
    key = (str(command.scope), str(command.value))
    return key if key in leases else None


def _campaign_of(cases: Cases, alert_id: str | None) -> Campaign | None:
    found = (c for _, c in sorted(cases.campaigns.items()) if alerts.alert_id(c) == alert_id and not c.closed)
    return next(found, None)


def _add(cases: Cases, command: Command, digest: int, now_ms: int) -> str:
    key = (str(command.scope), str(command.value))
    assert command.expires_at is not None
    if command.expires_at <= now_ms:
        return "add_expired"
    if cases.desk.enforcement == "off":
        decision.veto(cases.ledger, "kill_switch")
        return "add_refused"
    if desk.exempt(cases.desk, scope=key[0], value=key[1], attributes={}, signature_ids=(), now_ms=now_ms):
        decision.veto(cases.ledger, "allowlist")
        return "add_refused"
    cases.desk.lifted.pop(key, None)
    rows = cases.accounts.index.find(np.array([digest if command.scope == "account" else 0], np.uint64))
    tokens = int(cases.accounts.tokens(rows[rows >= 0], now_ms=now_ms).sum())
    at = cases.circumstances(now_ms, effective_ms=now_ms)
    cases.outputs.append(decision.add(cases.ledger, command, tokens=tokens, at=at))
    return "add"


def _revoke(cases: Cases, command: Command, now_ms: int) -> str:
    key = _key_of(cases, command)
    if key is None:
        return "revoke_unmatched"
    campaign = cases.ledger.leases[key].decision.campaign_id
    if campaign is not None:
        cases.desk.lifted[key] = campaign
    cases.revoke(key, now_ms=now_ms, reason=LIFTED)
    return "revoke"


def _approve(cases: Cases, command: Command, now_ms: int) -> str:
    if command.alert_id is not None:
        return _approve_alert(cases, command, now_ms)
    key = _key_of(cases, command)
    if key is None:
        return "approve_unmatched"
    return "approve" if _raise(cases, key, command, now_ms) else "approve_unmatched"


def _approve_alert(cases: Cases, command: Command, now_ms: int) -> str:
    """Approve a campaign: its members' leases are raised now where one waits for it, and from now on."""
    campaign = _campaign_of(cases, command.alert_id)
    if campaign is None:
        return "approve_unmatched"
    cases.desk.approvals[campaign.id] = Approval(
        required=True, state="approved", proposed_action=command.action, by=command.by, at=now_ms
    )
    for key, lease in sorted(cases.ledger.leases.items()):
        if lease.decision.campaign_id == campaign.id:
            _raise(cases, key, command, now_ms)
    rows = cases.accounts.index.find(np.array(list(campaign.members), np.uint64))
    rows = rows[rows >= 0]
    leased = np.array([("account", cases.accounts.index.name(r)) in cases.ledger.leases for r in rows.tolist()], bool)
    cases.accounts.stats[rows[~leased], A.RENEW_MS] = 0  # leased as soon as they act
    return "approve"


def _raise(cases: Cases, key: Key, command: Command, now_ms: int) -> bool:
    """Raise a lease to what was proposed, or to what the command says; False where neither asks for more."""
    held = cases.ledger.leases[key].decision
    asked = command.action or held.approval.proposed_action
    if asked is None or held.origin == "operator" or not stricter(asked, held.action):
        return False
    approval = Approval(required=True, state="approved", proposed_action=asked, by=command.by, at=now_ms)
    cause = Cause(
        campaign_id=held.campaign_id or "",
        alert_id=held.alert_ids[0],
        signature_ids=held.signature_ids,
        risk_score=held.risk_score or 0,
        confidence=held.confidence,
        contains=False,  # what is asked for stands in the approval
        approval=approval,
    )
    # The tier plays no part: the ceilings that a human may not lift never let a lease come about.
    at = cases.circumstances(now_ms, effective_ms=now_ms)
    if command.alert_id is not None and held.mode == "shadow":
        at = at._replace(mode="shadow")  # a campaign's approval leaves the control what it is; a decision's does not
    made, caps = decision.propose(
        cases.ledger, scope=held.scope, value=held.value, digest=None, tier_code=0, tokens=0, cause=cause, at=at
    )
    if made is not None:
        cases.outputs.append(made)
    campaign = next((c for _, c in sorted(cases.campaigns.items()) if c.id == held.campaign_id), None)
    if campaign is not None:
        cases.warn(caps, campaign, now_ms)
    return True


def _resolve(cases: Cases, command: Command, now_ms: int) -> str:
    """End a campaign's alert and its leases; its accounts stay with it, so that they do not found the next one."""
    campaign = _campaign_of(cases, command.alert_id)
    if campaign is None:
        return "resolve_unmatched"
    campaign.closed = f"resolved by {command.by}: {command.reason}"
    for key, lease in sorted(cases.ledger.leases.items()):
        if lease.decision.campaign_id == campaign.id and lease.decision.origin == "detector":
            cases.revoke(key, now_ms=now_ms, reason=RESOLVED)
    cases.publish(campaign, now_ms)
    return "resolve"


_COMMANDS: dict[str, Callable[[Cases, Command, int], str]] = {
    "revoke": _revoke,
    "approve": _approve,
    "resolve": _resolve,
    "kill_switch": _kill_switch,
}

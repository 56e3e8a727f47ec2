"""Decision: what policy allows becomes leases that lapse.

Purpose: the ledger of leases: issued, renewed, raised, ended, buried; one current decision
per (tenant, scope, value).
Invariants: `seq` grows with every record of a key and never resets; a lease is renewed
only for a member that acted since it was issued. A decision's id derives from its key and
first issue and survives renewals. An operator's lease stands until its end: the engine
neither renews nor replaces it. A key whose enforced lease ended gets a tombstone a day
later, unless it is enforced again by then.
Limits: of the keys without a lease the last `PAST_MAX` are remembered, with seq and strikes
(some 40 MB). A key older than these begins above the highest seq that was ever forgotten
(`seq_floor`), so that its seq has a gap but never falls; its strikes are forgotten. Of the
tombstones to come at most `ENDED_MAX` wait; beyond, the oldest comes early.
Source: the operators' safety policy; what may be done at all is `policy`'s matter.
"""

import heapq
from typing import NamedTuple

import msgspec

from detector import hashing, policy
from detector.config import DecisionSettings
from detector.operators import Command
from detector.policy import HOUR_MS, Counts, contains
from detector.records import Approval, Decision, DecisionParams
from detector.vocabulary import Action, DecisionState, Mode, Origin, Scope

Key = tuple[str, str]  # scope, value

PARAMS: dict[Action, DecisionParams] = {
    "observe": DecisionParams(),
    "throttle": DecisionParams(requests_per_minute=2, retry_after_s=60),
    "challenge": DecisionParams(require_kyc=True, http_status=403),
    "block": DecisionParams(http_status=403),
}
# Shown to the customer: what is asked of them, no evidence.
REASONS: dict[Action, str] = {
    "observe": "Observed.",
    "throttle": "Automated access pattern; requests are limited.",
    "challenge": "Automated access pattern; identity verification required.",
    "block": "Automated access pattern; access is suspended.",
}
RELEASED = "Access is restored."
OPERATOR_REASON = "Restricted by an operator."
TOMBSTONE_AFTER_MS = 86_400_000
PAST_MAX = ENDED_MAX = 1 << 17


class Lease(msgspec.Struct):
    """The current decision of one key, as the ledger keeps it."""

    decision: Decision
    end_ms: int
    tokens: int = 0  # of its account in about a day, the most that it had while the lease stood


class Past(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a key that has no lease."""

    seq: int
    strikes: int


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A key may leave the topic of current decisions: its last one ended a day ago."""

    tenant: str
    scope: str
    value: str


class Ledger(msgspec.Struct):
    """Every current decision, by (scope, value); and what was refused."""

    leases: dict[Key, Lease] = {}
    past: dict[Key, Past] = {}  # keys without a lease, in the order in which theirs ended
    seq_floor: int = 0  # the highest seq among the keys that were forgotten
    ended: dict[Key, int] = {}  # keys whose enforced lease ended, in that order: when their tombstone is due
    contained: int = 0
    blocked: int = 0
    blocked_of: dict[str, int] = {}  # by campaign
    blocked_tokens: int = 0
    hour: int = 0
    blocks_in_hour: int = 0
    cap_hits: int = 0
    vetoes: dict[str, int] = {}
    ends: list[tuple[int, str, str]] = []  # heap of (end, scope, value); entries of renewed leases are stale


class Circumstances(NamedTuple):
    """What holds for everything that is decided at one moment."""

    tenant: str
    now_ms: int
    effective_ms: int
    active_accounts: int
    active_tokens: int
    stale: bool
    mode: Mode
    settings: DecisionSettings
    config_hash: str


class Cause(NamedTuple):
    """Why: the campaign that an account is a member of, as its alert has it."""

    campaign_id: str
    alert_id: str
    signature_ids: tuple[str, ...]
    risk_score: int
    confidence: float | None
    contains: bool
    approval: Approval | None


def veto(ledger: Ledger, *reasons: str) -> None:
    """Count why something was not done."""
    for reason in reasons:
        ledger.vetoes[reason] = ledger.vetoes.get(reason, 0) + 1


def _ttl(settings: DecisionSettings, action: Action, strikes: int) -> int:
    base = settings.contain_ttl_ms if contains(action) else settings.throttle_ttl_ms
    return min(base << min(strikes, 16), settings.ttl_max_ms)


def _decision_id(tenant: str, key: Key, now_ms: int, seq: int) -> str:
    scope, value = key
    return f"d-{hashing.content_digest(f'{tenant}/{scope}/{value}/{now_ms}/{seq}'.encode())}"


def _seat(ledger: Ledger, decision: Decision, *, now_ms: int, tokens: int) -> None:
    """Make a decision the current one of its key."""
    key = (decision.scope, decision.value)
    held = ledger.leases.get(key)
    before = held.decision if held is not None else None
    # A lease that works makes its account's tokens vanish, not its weight.
    lease = Lease(decision, decision.expires_at, max(tokens, held.tokens if held is not None else 0))
    _count(ledger, held, -1)
    _count(ledger, lease, 1)
    if decision.action == "block" and (before is None or before.action != "block"):
        ledger.blocks_in_hour = blocks_in_hour(ledger, now_ms) + 1
        ledger.hour = now_ms // HOUR_MS
    ledger.past.pop(key, None)
    if decision.mode == "enforce":
        ledger.ended.pop(key, None)
    ledger.leases[key] = lease
    heapq.heappush(ledger.ends, (decision.expires_at, *key))


def _history(ledger: Ledger, key: Key) -> Past:
    """The seq and the strikes that a key's next record follows."""
    lease = ledger.leases.get(key)
    if lease is not None:
        return Past(lease.decision.seq, lease.decision.strike_count)
    return ledger.past.get(key) or Past(ledger.seq_floor, 0)


def _remember(ledger: Ledger, key: Key, past: Past) -> None:
    """Keep what a key without a lease has behind it, and let the oldest such key go where there are too many."""
    ledger.past[key] = past
    if len(ledger.past) > PAST_MAX:
        gone = ledger.past.pop(next(iter(ledger.past)))
        ledger.seq_floor = max(ledger.seq_floor, gone.seq)


def _count(ledger: Ledger, lease: Lease | None, sign: int) -> None:
    if lease is None:
        return
    decision = lease.decision
    ledger.contained += sign * contains(decision.action)
    if decision.action == "block":
        ledger.blocked += sign
        ledger.blocked_tokens += sign * lease.tokens
        campaign = decision.campaign_id or ""
        left = ledger.blocked_of.get(campaign, 0) + sign
        ledger.blocked_of[campaign] = left
        if not left:
            del ledger.blocked_of[campaign]


def blocks_in_hour(ledger: Ledger, now_ms: int) -> int:
    """How many new blocks this hour of event time has seen."""
    return ledger.blocks_in_hour if now_ms // HOUR_MS == ledger.hour else 0


def propose(
    ledger: Ledger,
    *,
    scope: Scope,
    value: str,
    digest: int | None,
    tier_code: int,
    tokens: int,
    cause: Cause,
    at: Circumstances,
) -> tuple[Decision | None, tuple[str, ...]]:
    """Issue or renew the lease of one member; None where policy says no. Also returns the caps that were hit.

    `digest` is the key's keyed hash: it tells the canary from the control; None where a human has chosen. `tokens` is
    what the member used in about a day; of a lease that stands the most that it was counts.
    """
    key = (scope, value)
    if digest is not None and not policy.in_canary(digest, at.settings):
        at = at._replace(mode="shadow")
    lease = ledger.leases.get(key)
    held = lease.decision if lease is not None else None
    if held is not None and held.origin == "operator":
        return None, ()
    approval = cause.approval
    if approval is None and held is not None and held.approval.state == "approved":
        approval = held.approval
    asked = policy.wanted(contains_campaign=cause.contains, confidence=cause.confidence, settings=at.settings)
    if approval is not None and approval.proposed_action and policy.stricter(approval.proposed_action, asked):
        asked = approval.proposed_action
    ruling = policy.rule(
        asked,
        held=held.action if held else None,
        tier_code=tier_code,
        approved=approval is not None,
        stale=at.stale,
        counts=Counts(
            contained=ledger.contained,
            blocked=ledger.blocked,
            blocked_of_campaign=ledger.blocked_of.get(cause.campaign_id, 0),
            blocks_in_hour=blocks_in_hour(ledger, at.now_ms),
            active=at.active_accounts,
            tokens=max(tokens, lease.tokens if lease is not None else 0),
            tokens_blocked=ledger.blocked_tokens,
            tokens_active=at.active_tokens,
        ),
        settings=at.settings,
    )
    veto(ledger, *ruling.vetoes)
    ledger.cap_hits += len(ruling.caps)
    if ruling.action == "observe":
        return None, ruling.caps
    pending = Approval(required=True, state="pending", proposed_action=ruling.proposed)
    decision = _leased(
        ledger,
        key,
        action=ruling.action,
        approval=approval or (pending if ruling.proposed else Approval()),
        cause=cause,
        at=at,
    )
    _seat(ledger, decision, now_ms=at.now_ms, tokens=tokens)
    return decision, ruling.caps


def _leased(
    ledger: Ledger, key: Key, *, action: Action, approval: Approval, cause: Cause, at: Circumstances
) -> Decision:
    """Write the next record of a key's lease, or the first of a new one."""
    scope, value = key
    lease = ledger.leases.get(key)
    held = lease.decision if lease is not None else None
    past = _history(ledger, key)
    return Decision(
        decision_id=held.decision_id if held else _decision_id(at.tenant, key, at.now_ms, past.seq + 1),
        seq=past.seq + 1,
        tenant=at.tenant,
        scope=scope,  # type: ignore[arg-type]  # keys are made of the contract's scopes
        value=value,
        action=action,
        params=PARAMS[action],
        issued_at=at.now_ms,
        effective_at=at.effective_ms,
        expires_at=at.effective_ms + _ttl(at.settings, action, past.strikes),
        renewals=held.renewals + 1 if held else 0,
        strike_count=past.strikes,
        reason_code="coordinated_extraction",
        reason=REASONS[action],
        alert_ids=(cause.alert_id,),
        campaign_id=cause.campaign_id,
        signature_ids=cause.signature_ids,
        confidence=cause.confidence,
        risk_score=cause.risk_score,
        mode=at.mode,
        approval=approval,
        config_hash=at.config_hash,
        fallback_action="throttle",
    )


def add(ledger: Ledger, command: Command, *, tokens: int, at: Circumstances) -> Decision:
    """Seat the lease that an operator's command asks for, in place of what the key has."""
    assert command.scope is not None
    assert command.value is not None
    assert command.action is not None
    assert command.expires_at is not None
    key = (command.scope, command.value)
    lease = ledger.leases.get(key)
    past = _history(ledger, key)
    decision = Decision(
        decision_id=_decision_id(at.tenant, key, at.now_ms, past.seq + 1),
        seq=past.seq + 1,
        tenant=at.tenant,
        scope=command.scope,
        value=command.value,
        action=command.action,
        params=PARAMS[command.action],
        issued_at=at.now_ms,
        effective_at=at.effective_ms,
        expires_at=command.expires_at,
        strike_count=past.strikes,
        reason_code="operator",
        reason=OPERATOR_REASON,
        origin="operator",
        mode=at.mode,
        approval=Approval(state="approved", proposed_action=command.action, by=command.by, at=at.now_ms),
        config_hash=at.config_hash,
        supersedes=lease.decision.decision_id if lease is not None else None,
        fallback_action="observe" if command.action == "observe" else "throttle",
    )
    _seat(ledger, decision, now_ms=at.now_ms, tokens=tokens)
    return decision


def end(
    ledger: Ledger,
    key: Key,
    *,
    state: DecisionState,
    now_ms: int,
    effective_ms: int,
    reason: str,
    origin: Origin | None = None,
) -> Decision:
    """Revoke or expire a lease: the record says so, and the next lease of this key is a strike more if it ran out."""
    past = _history(ledger, key)
    lease = ledger.leases.pop(key)
    _count(ledger, lease, -1)
    _remember(ledger, key, Past(past.seq + 1, past.strikes + (state == "expired")))
    if lease.decision.mode == "enforce":
        ledger.ended.pop(key, None)
        ledger.ended[key] = effective_ms + TOMBSTONE_AFTER_MS
    return msgspec.structs.replace(
        lease.decision,
        seq=past.seq + 1,
        state=state,
        issued_at=now_ms,
        effective_at=effective_ms,
        reason=reason,
        origin=origin or lease.decision.origin,
    )


def release(ledger: Ledger, accounts: list[str], campaign_id: str, *, at: Circumstances) -> list[Decision]:
    """Revoke what accounts have because they were thought to be a campaign's."""
    keys: list[Key] = [("account", name) for name in accounts]
    held = [k for k in keys if k in ledger.leases and ledger.leases[k].decision.campaign_id == campaign_id]
    return [
        end(ledger, key, state="revoked", now_ms=at.now_ms, effective_ms=at.effective_ms, reason=RELEASED)
        for key in held
    ]


def expire(ledger: Ledger, *, now_ms: int, effective_ms: int) -> list[Decision]:
    """End every lease that has run out, by end and key."""
    out = []
    while ledger.ends and ledger.ends[0][0] <= effective_ms:
        end_ms, scope, value = heapq.heappop(ledger.ends)
        lease = ledger.leases.get((scope, value))
        if lease is not None and lease.end_ms == end_ms:
            key = (scope, value)
            out.append(
                end(ledger, key, state="expired", now_ms=now_ms, effective_ms=effective_ms, reason="lease ended")
            )
    return out


def buried_ms(ledger: Ledger) -> int:
    """When the next tombstone is due; far ahead where none is."""
    return next(iter(ledger.ended.values()), 1 << 62)


def bury(ledger: Ledger, *, tenant: str, effective_ms: int) -> list[Tombstone]:
    """Write the tombstones that are due before a time, and those for which there is no room to wait."""
    out = []
    while buried_ms(ledger) < effective_ms or len(ledger.ended) > ENDED_MAX:
        scope, value = next(iter(ledger.ended))
        del ledger.ended[scope, value]
        out.append(Tombstone(tenant=tenant, scope=scope, value=value))
    return out

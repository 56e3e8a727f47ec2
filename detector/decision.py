"""Decision: a campaign's verdict becomes leases on its members, within policy.

Purpose: the ladder observe < throttle < challenge < block as leases that lapse, with
tier ceilings, caps, allow-lists and the kill switch.
Invariants: one current decision per (tenant, scope, value); `seq` grows with every
record of a key and never resets; a lease is renewed only for a member that acted
since it was issued. A decision's id derives from its key and first issue.
Limits: contained accounts are at most `contained_share_max` of the accounts that
acted in the last 24 h, beyond it throttle. Block needs a calibrated confidence or a
human, so the engine itself proposes challenge at most.
Source: the operators' safety policy (conservative defaults, shadow on install).
"""

import heapq

import msgspec

from detector import hashing
from detector.config import DecisionSettings
from detector.events import TIERS
from detector.operators import AllowEntry
from detector.records import ACTIONS, Decision, DecisionParams
from detector.vocabulary import Action, Mode, Scope

TIER_CEILING: dict[str, Action] = {"internal": "observe", "enterprise": "throttle"}
THROTTLE = DecisionParams(requests_per_minute=2, retry_after_s=60)
CHALLENGE = DecisionParams(require_kyc=True, http_status=403)
_PARAMS = {
    "observe": DecisionParams(),
    "throttle": THROTTLE,
    "challenge": CHALLENGE,
    "block": DecisionParams(http_status=403),
}
REASON = "Automated access pattern; identity verification required."


class Lease(msgspec.Struct):
    """The current decision of one account, as the ledger keeps it."""

    decision: Decision
    end_ms: int


class Ledger(msgspec.Struct):
    """Every current decision, by (scope, value); and what was refused."""

    leases: dict[tuple[str, str], Lease] = {}
    seqs: dict[tuple[str, str], int] = {}
    strikes: dict[tuple[str, str], int] = {}
    contained: int = 0
    cap_hits: int = 0
    vetoes: dict[str, int] = {}
    ends: list[tuple[int, str, str]] = []  # heap of (end, scope, value); entries of renewed leases are stale


def ceiling(tier_code: int) -> Action:
    """The strictest action that an account's tier allows; unknown tiers allow all."""
    return TIER_CEILING.get(TIERS[tier_code - 1], "block") if tier_code else "block"


def allowed(entries: list[AllowEntry], scope: str, value: str, now_ms: int) -> bool:
    """Say whether an unexpired allow entry covers a key."""
    return any(e.scope == scope and e.value == value and e.expires_at > now_ms for e in entries)


def _ttl(settings: DecisionSettings, action: Action, strikes: int) -> int:
    base = settings.throttle_ttl_ms if action == "throttle" else settings.contain_ttl_ms
    return min(base << min(strikes, 16), settings.ttl_max_ms)


def _is_containing(action: Action) -> bool:
    return ACTIONS.index(action) >= ACTIONS.index("challenge")


def propose(
    ledger: Ledger,
    *,
    scope: Scope,
    value: str,
    tenant: str,
    tier_code: int,
    active_accounts: int,
    now_ms: int,
    effective_ms: int,
    settings: DecisionSettings,
    mode: Mode,
    config_hash: str,
    alert_id: str,
    campaign_id: str,
    signature_ids: tuple[str, ...],
    risk_score: int,
    allow: list[AllowEntry],
) -> Decision | None:
    """Issue or renew the lease of one member, or None where policy says no."""
    if allowed(allow, scope, value, now_ms):
        ledger.vetoes["allowlist"] = ledger.vetoes.get("allowlist", 0) + 1
        return None
    key = (scope, value)
    held = ledger.leases.get(key)
    action: Action = "challenge"
    limit = ceiling(tier_code)
    if ACTIONS.index(action) > ACTIONS.index(limit):
        action = limit
        ledger.vetoes["tier"] = ledger.vetoes.get("tier", 0) + 1
    already = held is not None and _is_containing(held.decision.action)
    if _is_containing(action) and not already and ledger.contained + 1 > settings.contained_share_max * active_accounts:
        action = "throttle"
        ledger.cap_hits += 1
        ledger.vetoes["cap"] = ledger.vetoes.get("cap", 0) + 1
    if action == "observe":
        return None
    strikes = held.decision.strike_count if held else ledger.strikes.get(key, 0)
    seq = ledger.seqs.get(key, 0) + 1
    first = held.decision.decision_id if held else _decision_id(tenant, scope, value, now_ms)
    end_ms = effective_ms + _ttl(settings, action, strikes)
    decision = Decision(
        decision_id=first,
        seq=seq,
        tenant=tenant,
        scope=scope,
        value=value,
        action=action,
        params=_PARAMS[action],
        issued_at=now_ms,
        effective_at=effective_ms,
        expires_at=end_ms,
        renewals=held.decision.renewals + 1 if held else 0,
        strike_count=strikes,
        reason_code="coordinated_extraction",
        reason=REASON,
        alert_ids=(alert_id,),
        campaign_id=campaign_id,
        signature_ids=signature_ids,
        risk_score=risk_score,
        mode=mode,
        config_hash=config_hash,
        fallback_action="throttle",
    )
    if _is_containing(action) and not already:
        ledger.contained += 1
    ledger.seqs[key] = seq
    ledger.leases[key] = Lease(decision, end_ms)
    heapq.heappush(ledger.ends, (end_ms, scope, value))
    return decision


def _decision_id(tenant: str, scope: str, value: str, now_ms: int) -> str:
    return f"d-{hashing.content_digest(f'{tenant}/{scope}/{value}/{now_ms}'.encode())}"


def end(ledger: Ledger, key: tuple[str, str], *, state: str, now_ms: int, effective_ms: int, reason: str) -> Decision:
    """Revoke or expire a lease: the record says so, and the next lease of this key is a strike more if it ran out."""
    lease = ledger.leases.pop(key)
    ledger.seqs[key] += 1
    if _is_containing(lease.decision.action):
        ledger.contained -= 1
    if state == "expired":
        ledger.strikes[key] = lease.decision.strike_count + 1
    return msgspec.structs.replace(
        lease.decision,
        seq=ledger.seqs[key],
        state=state,
        issued_at=now_ms,
        effective_at=effective_ms,
        reason=reason,
    )


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

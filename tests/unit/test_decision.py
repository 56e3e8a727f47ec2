"""Policy and ledger: what may be done, and how leases live and end."""

from typing import Any

import msgspec
import numpy as np
import pytest

from detector import decision
from detector.config import DecisionSettings, Settings, settings_from
from detector.decision import Cause, Circumstances, Ledger
from detector.events import TIERS
from detector.frames import NUM, NUMBERS
from detector.operators import Command
from detector.policy import HOUR_MS, Counts, Freshness, Ruling, in_canary, rule, wanted
from detector.records import Approval, ConfigError, Decision

POLICY = DecisionSettings()
NOW_MS = 1_782_050_400_000
ENTERPRISE, INTERNAL, PAYGO = (TIERS.index(t) + 1 for t in ("enterprise", "internal", "paygo"))
COUNTS = Counts(
    contained=0,
    blocked=0,
    blocked_of_campaign=0,
    blocks_in_hour=0,
    active=100_000,
    tokens=0,
    tokens_blocked=0,
    tokens_active=1_000_000,
)


def ruling(asked: str, *, counts: Counts = COUNTS, **given: Any) -> Ruling:
    """Policy's answer to a plain request, as changed by `given`."""
    plain = {"held": None, "tier_code": PAYGO, "approved": False, "stale": False, "settings": POLICY}
    return rule(asked, counts=counts, **{**plain, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "given", "expected"),
    [
        ("challenge", {}, Ruling("challenge", None, (), ())),
        ("challenge", {"tier_code": 0}, Ruling("challenge", None, (), ())),
        ("challenge", {"tier_code": INTERNAL}, Ruling("observe", None, ("tier",), ())),
        ("challenge", {"tier_code": INTERNAL, "approved": True}, Ruling("observe", None, ("tier",), ())),
        ("challenge", {"tier_code": ENTERPRISE}, Ruling("throttle", "challenge", ("tier", "approval"), ())),
        ("challenge", {"tier_code": ENTERPRISE, "approved": True}, Ruling("challenge", None, (), ())),
        ("throttle", {"tier_code": ENTERPRISE}, Ruling("throttle", None, (), ())),
        ("block", {}, Ruling("block", None, (), ())),
        ("block", {"stale": True}, Ruling("challenge", None, ("stale",), ())),
        ("block", {"stale": True, "held": "block"}, Ruling("block", None, (), ())),
        ("challenge", {"stale": True}, Ruling("challenge", None, (), ())),
    ],
)
def test_ceilings_and_staleness(asked: str, given: dict[str, Any], expected: Ruling) -> None:
    assert ruling(asked, **given) == expected


@pytest.mark.parametrize(
    ("at_cap", "cap", "lifted"),
    [
        (COUNTS._replace(blocks_in_hour=50), "blocks_per_hour", False),
        (COUNTS._replace(tokens_blocked=19_991, tokens=10), "blocked_tokens_share", False),
        (COUNTS._replace(blocked=500), "blocked_share", False),
        (COUNTS._replace(blocked_of_campaign=200), "blocks_per_campaign", True),
    ],
)
def test_beyond_a_cap_a_block_becomes_a_challenge(at_cap: Counts, cap: str, lifted: bool) -> None:
    below = at_cap._replace(
        **{k: v - 1 for k, v in at_cap._asdict().items() if v and k not in ("active", "tokens_active")}
    )
    assert ruling("block", counts=below).action == "block"
    found = ruling("block", counts=at_cap)
    assert (found.action, found.caps, found.vetoes) == ("challenge", (cap,), ("cap",))
    assert found.proposed == ("block" if lifted else None)
    # An approval lifts the campaign's cap; those that bound one slip of a hand stay.
    assert (ruling("block", counts=at_cap, approved=True).action == "block") == lifted
    # Whoever is blocked already is not counted against the cap again.
    assert ruling("block", counts=at_cap, held="block").action == "block"


def test_beyond_the_cap_on_containing_a_challenge_becomes_a_throttle_until_approved() -> None:
    full = COUNTS._replace(contained=25, active=100)
    assert ruling("challenge", counts=full._replace(contained=24)).action == "challenge"
    assert ruling("challenge", counts=full) == Ruling("throttle", "challenge", ("cap",), ("contained_share",))
    assert ruling("challenge", counts=full, held="challenge").action == "challenge"
    assert ruling("challenge", counts=full, approved=True).action == "challenge"


@pytest.mark.parametrize(
    ("contains", "confidence", "action"),
    [(True, None, "challenge"), (True, 0.98, "challenge"), (True, 0.99, "block"), (False, 0.99, "throttle")],
)
def test_the_engine_asks_for_a_block_only_with_a_calibrated_confidence(
    contains: bool, confidence: float | None, action: str
) -> None:
    assert wanted(contains_campaign=contains, confidence=confidence, settings=POLICY) == action


def pane(lag_ms: int, rows: int = 4) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers of a pane's rows, each appended `lag_ms` after its event; negative: no ingest times."""
    numbers = np.full((rows, NUMBERS), -1, np.int64)
    numbers[:, NUM.TIME] = NOW_MS + np.arange(rows)
    numbers[:, NUM.INGEST] = numbers[:, NUM.TIME] + lag_ms if lag_ms >= 0 else -1
    return numbers


def test_input_is_stale_when_it_lags_or_comes_late_and_never_without_ingest_times() -> None:
    fresh = Freshness()
    fresh.add(pane(-1), late=100, end_ms=NOW_MS)
    assert not fresh.is_stale(POLICY)
    fresh = Freshness()
    fresh.add(pane(POLICY.stale_ms), late=0, end_ms=NOW_MS)
    assert not fresh.is_stale(POLICY)
    fresh.add(pane(POLICY.stale_ms + 1), late=0, end_ms=NOW_MS)
    assert fresh.is_stale(POLICY)
    # One row that was held up does not speak for its pane.
    mixed = pane(POLICY.stale_ms + 1)
    mixed[0, NUM.INGEST] = mixed[0, NUM.TIME]
    fresh.add(mixed, late=0, end_ms=NOW_MS)
    assert not fresh.is_stale(POLICY)


def test_late_rows_count_for_their_hour_and_the_next() -> None:
    fresh = Freshness()
    fresh.add(pane(0, rows=94), late=6, end_ms=NOW_MS)
    assert fresh.is_stale(POLICY)
    fresh.add(pane(0, rows=26), late=0, end_ms=NOW_MS + HOUR_MS)
    assert not fresh.is_stale(POLICY)
    fresh.add(pane(0, rows=4), late=1, end_ms=NOW_MS + 9 * HOUR_MS)
    assert fresh.is_stale(POLICY)


# --- the ledger ------------------------------------------------------------------


def at(now_ms: int = NOW_MS, **given: Any) -> Circumstances:
    """Ordinary circumstances at a time."""
    plain = Circumstances(
        tenant="default",
        now_ms=now_ms,
        effective_ms=now_ms + 5_000,
        active_accounts=100_000,
        active_tokens=1_000_000,
        stale=False,
        mode="shadow",
        settings=POLICY,
        config_hash="00",
    )
    return plain._replace(**given)


CAUSE = Cause(
    campaign_id="c-1",
    alert_id="a-1",
    signature_ids=("c1_shared_template",),
    risk_score=80,
    confidence=None,
    contains=True,
    approval=None,
)


def propose(
    ledger: Ledger, value: str, *, when: Circumstances, tier: int = PAYGO, cause: Cause = CAUSE, tokens: int = 0
) -> Decision:
    made, _ = decision.propose(
        ledger, scope="account", value=value, digest=0, tier_code=tier, tokens=tokens, cause=cause, at=when
    )
    assert made is not None
    return made


def test_a_lease_keeps_its_id_over_renewals_and_its_seq_grows_over_its_end() -> None:
    ledger = Ledger()
    first = propose(ledger, "a", when=at())
    again = propose(ledger, "a", when=at(NOW_MS + 1))
    assert (again.decision_id, again.seq, again.renewals) == (first.decision_id, 2, 1)
    assert again.expires_at == NOW_MS + 1 + 5_000 + POLICY.contain_ttl_ms
    assert decision.expire(ledger, now_ms=NOW_MS, effective_ms=first.expires_at) == []  # the renewed one runs on
    (over,) = decision.expire(ledger, now_ms=NOW_MS, effective_ms=again.expires_at)
    assert (over.state, over.seq, over.decision_id) == ("expired", 3, first.decision_id)
    anew = propose(ledger, "a", when=at(NOW_MS + 10 * HOUR_MS))
    assert (anew.seq, anew.strike_count) == (4, 1)
    assert anew.decision_id != first.decision_id
    assert anew.expires_at - anew.effective_at == 2 * POLICY.contain_ttl_ms


def test_repeated_offenders_wait_longer_up_to_a_limit() -> None:
    ledger = Ledger()
    lengths, now_ms = [], NOW_MS
    for _ in range(9):
        made = propose(ledger, "a", when=at(now_ms))
        lengths.append(made.expires_at - made.effective_at)
        now_ms = made.expires_at
        decision.expire(ledger, now_ms=now_ms, effective_ms=now_ms)
    hours = [length // HOUR_MS for length in lengths]
    assert hours == [4, 8, 16, 32, 64, 128, 168, 168, 168]


def test_contained_accounts_are_counted_down_again() -> None:
    ledger = Ledger()
    propose(ledger, "a", when=at())
    propose(ledger, "b", when=at(), tier=ENTERPRISE)
    propose(ledger, "a", when=at(NOW_MS + 1))
    assert ledger.contained == 1
    ended = decision.end(
        ledger, ("account", "a"), state="revoked", now_ms=NOW_MS, effective_ms=NOW_MS, reason="x", origin="operator"
    )
    assert (ledger.contained, ended.origin, ended.state) == (0, "operator", "revoked")
    assert propose(ledger, "a", when=at()).strike_count == 0  # a lifted lease is no strike


def test_whoever_is_no_member_after_all_is_let_go_and_others_are_not() -> None:
    ledger = Ledger()
    for value, campaign in (("a", "c-1"), ("b", "c-2"), ("c", "c-1")):
        propose(ledger, value, when=at(), cause=CAUSE._replace(campaign_id=campaign))
    (gone,) = decision.release(ledger, ["a", "b", "unknown"], "c-1", at=at(NOW_MS + 60_000))
    assert (gone.value, gone.state, gone.origin, gone.effective_at) == ("a", "revoked", "detector", NOW_MS + 65_000)
    assert sorted(ledger.leases) == [("account", "b"), ("account", "c")]
    assert propose(ledger, "a", when=at(NOW_MS + HOUR_MS)).strike_count == 0


def test_what_waits_for_a_human_says_so_and_stays_approved_over_renewals() -> None:
    ledger = Ledger()
    pending = propose(ledger, "a", when=at(), tier=ENTERPRISE)
    assert pending.action == "throttle"
    assert pending.approval == Approval(required=True, state="pending", proposed_action="challenge")
    assert ledger.vetoes == {"tier": 1, "approval": 1}
    said = Approval(required=True, state="approved", proposed_action="challenge", by="kim", at=NOW_MS)
    raised = propose(ledger, "a", when=at(), tier=ENTERPRISE, cause=CAUSE._replace(approval=said))
    assert (raised.action, raised.approval, raised.decision_id) == ("challenge", said, pending.decision_id)
    renewed = propose(ledger, "a", when=at(NOW_MS + 1), tier=ENTERPRISE)
    assert (renewed.action, renewed.approval) == ("challenge", said)


def test_blocks_are_counted_by_hour_share_and_campaign() -> None:
    ledger = Ledger()
    human = Approval(required=True, state="approved", proposed_action="block", by="kim", at=NOW_MS)
    blocked = CAUSE._replace(approval=human)
    made = [propose(ledger, f"a-{i}", when=at(), cause=blocked).action for i in range(52)]
    assert made == ["block"] * 50 + ["challenge"] * 2
    assert (ledger.blocked, ledger.blocked_of, ledger.cap_hits) == (50, {"c-1": 50}, 2)
    later = propose(ledger, "a-51", when=at(NOW_MS + HOUR_MS), cause=blocked)
    assert later.action == "block"  # the renewal in the next hour
    decision.end(ledger, ("account", "a-0"), state="revoked", now_ms=NOW_MS, effective_ms=NOW_MS, reason="x")
    assert (ledger.blocked, ledger.contained) == (50, 51)


def test_a_block_weighs_what_its_account_used_before_however_well_it_works() -> None:
    ledger = Ledger()
    human = Approval(required=True, state="approved", proposed_action="block", by="kim", at=NOW_MS)
    blocked = CAUSE._replace(approval=human)
    # Contained, an account uses nothing: what counts is what it used before.
    assert propose(ledger, "a", when=at(), tokens=15_000).action == "challenge"
    assert propose(ledger, "a", when=at(), cause=blocked, tokens=0).action == "block"
    assert propose(ledger, "b", when=at(), cause=blocked, tokens=5_000).action == "block"
    assert ledger.blocked_tokens == 20_000
    assert propose(ledger, "c", when=at(), cause=blocked, tokens=1).action == "challenge"
    assert propose(ledger, "d", when=at(), cause=blocked, tokens=0).action == "block"
    assert propose(ledger, "a", when=at(), cause=blocked, tokens=0).action == "block"  # a renewal
    decision.end(ledger, ("account", "a"), state="revoked", now_ms=NOW_MS, effective_ms=NOW_MS, reason="x")
    assert ledger.blocked_tokens == 5_000
    assert propose(ledger, "c", when=at(), cause=blocked, tokens=1).action == "block"


def test_internal_accounts_are_left_alone() -> None:
    made, caps = decision.propose(
        Ledger(), scope="account", value="a", digest=0, tier_code=INTERNAL, tokens=0, cause=CAUSE, at=at()
    )
    assert (made, caps) == (None, ())


def test_an_operators_lease_replaces_the_engines_and_stands() -> None:
    ledger = Ledger()
    first = propose(ledger, "a", when=at())
    order = Command(
        command="add",
        tenant="default",
        scope="account",
        value="a",
        action="throttle",
        expires_at=NOW_MS + HOUR_MS,
        by="kim",
        reason="",
        at=NOW_MS,
    )
    added = decision.add(ledger, order, tokens=0, at=at())
    assert (added.origin, added.supersedes, added.seq) == ("operator", first.decision_id, 2)
    assert ledger.contained == 0
    assert decision.propose(
        ledger, scope="account", value="a", digest=0, tier_code=PAYGO, tokens=0, cause=CAUSE, at=at()
    ) == (
        None,
        (),
    )
    (over,) = decision.expire(ledger, now_ms=NOW_MS, effective_ms=NOW_MS + HOUR_MS)
    assert (over.state, over.origin, over.seq) == ("expired", "operator", 3)


def test_a_key_is_buried_a_day_after_its_enforced_lease_ended_unless_it_is_enforced_again() -> None:
    ledger = Ledger()
    enforced = at()._replace(mode="enforce")
    for value in ("a", "b", "c"):
        propose(ledger, value, when=enforced)
    propose(ledger, "shadow", when=at())
    end_ms = NOW_MS + 5_000 + POLICY.contain_ttl_ms
    assert len(decision.expire(ledger, now_ms=end_ms, effective_ms=end_ms)) == 4
    propose(ledger, "a", when=enforced._replace(now_ms=end_ms, effective_ms=end_ms))
    propose(ledger, "b", when=at(end_ms))  # in shadow: the topic still has the record of the end
    due_ms = end_ms + decision.TOMBSTONE_AFTER_MS
    assert decision.buried_ms(ledger) == due_ms
    assert decision.bury(ledger, tenant="t", effective_ms=due_ms) == []
    buried = decision.bury(ledger, tenant="t", effective_ms=due_ms + 1)
    assert buried == [decision.Tombstone(tenant="t", scope="account", value=v) for v in "bc"]
    assert not ledger.ended
    assert propose(ledger, "c", when=at(due_ms)).seq == 3  # it survives the tombstone


def test_what_is_remembered_of_ended_keys_is_bounded_and_no_seq_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "PAST_MAX", 3)
    monkeypatch.setattr(decision, "ENDED_MAX", 2)
    ledger = Ledger()
    enforced = at()._replace(mode="enforce")
    seqs: dict[str, int] = {}
    for round_ in range(3):
        for value in "abcdefg":
            made = propose(ledger, value, when=enforced)
            assert made.seq > seqs.get(value, 0), (round_, value)
            over = decision.end(
                ledger, ("account", value), state="revoked", now_ms=NOW_MS, effective_ms=NOW_MS, reason="x"
            )
            seqs[value] = over.seq
            decision.bury(ledger, tenant="t", effective_ms=NOW_MS)
            assert (len(ledger.past), len(ledger.ended)) <= (3, 2)
    assert ledger.seq_floor > 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"contained_share_max": 0.0}, "contained_share_max=0.0"),
        ({"block_confidence_min": 1.5}, "block_confidence_min=1.5"),
        ({"blocked_share_max": 0.5}, "exceeds contained_share_max"),
        ({"blocked_tokens_share_max": 1.5}, "blocked_tokens_share_max=1.5"),
        ({"blocks_per_hour_max": -1}, "blocks_per_hour_max=-1"),
        ({"throttle_ttl_ms": 0}, "throttle_ttl_ms=0"),
        ({"contain_ttl_ms": POLICY.ttl_max_ms + 1}, "exceeds ttl_max_ms"),
    ],
)
def test_policys_numbers_must_agree(setting: dict[str, Any], said: str) -> None:
    assert isinstance(settings_from({}), Settings)
    with pytest.raises(ConfigError, match=said):
        settings_from({"decision": msgspec.to_builtins(setting)})


def test_outside_of_the_canary_a_lease_is_made_in_shadow() -> None:
    enforced = at()._replace(mode="enforce", settings=DecisionSettings(canary_share=0.25))
    modes = []
    for number, digest in enumerate((0, (1 << 62) - 1, 1 << 62, (1 << 64) - 1, None)):
        made, _ = decision.propose(
            Ledger(),
            scope="account",
            value=f"a-{number}",
            digest=digest,
            tier_code=PAYGO,
            tokens=0,
            cause=CAUSE,
            at=enforced,
        )
        assert made is not None
        modes.append(made.mode)
    assert modes == ["enforce", "enforce", "shadow", "shadow", "enforce"]  # the last is what a human chose


@pytest.mark.parametrize(("share", "enforced"), [(0.0, 0), (1.0, 2)])
def test_a_canary_of_nothing_enforces_nothing_and_one_of_all_everything(share: float, enforced: int) -> None:
    chosen = DecisionSettings(canary_share=share)
    assert sum(in_canary(digest, chosen) for digest in (0, (1 << 64) - 1)) == enforced

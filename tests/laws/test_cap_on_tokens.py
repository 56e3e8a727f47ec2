"""The cap on tokens: the detector never adds a block beyond it, and what is counted is what stands."""

from fractions import Fraction

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import decision, volume
from detector.config import DecisionSettings
from detector.decision import Cause, Circumstances, Ledger
from detector.operators import Command
from detector.records import Approval
from tests.laws.orders import START_MS, TENANT

LAW = settings(deadline=None, derandomize=True, max_examples=150)
HUMAN = Approval(required=True, state="approved", proposed_action="block", by="kim", at=START_MS)
CAUSE = Cause(
    campaign_id="c-1",
    alert_id="a-1",
    signature_ids=(),
    risk_score=80,
    confidence=None,
    contains=True,
    approval=None,
)
STEP = st.tuples(
    st.sampled_from(["member", "approved", "approved", "add", "end", "wait"]),
    st.integers(0, 9),  # whose
    st.integers(0, 400),  # what it used
    st.integers(0, 20_000),  # what all used
)


def circumstances(now_ms: int, tokens: int, share: float) -> Circumstances:
    policy = DecisionSettings(blocked_tokens_share_max=share, blocked_share_max=0.2)
    return Circumstances(
        tenant=TENANT,
        now_ms=now_ms,
        effective_ms=now_ms,
        active_accounts=10_000,
        active_tokens=tokens,
        stale=False,
        mode="shadow",
        settings=policy,
        config_hash="",
    )


def weight_of(ledger: Ledger) -> int:
    return sum(lease.tokens for lease in ledger.leases.values() if lease.decision.action == "block")


@LAW
@given(steps=st.lists(STEP, max_size=60), share=st.sampled_from([0.0, 0.02, 0.1, 1.0]))
def test_no_block_of_the_detectors_exceeds_the_cap(steps: list[tuple[str, int, int, int]], share: float) -> None:
    ledger, now_ms = Ledger(), START_MS
    for what, who, used, total in steps:
        key, at = ("account", f"a-{who}"), circumstances(now_ms, total, share)
        held = ledger.leases.get(key)
        before = weight_of(ledger)
        if what == "wait":
            now_ms += 3_600_000
            decision.expire(ledger, now_ms=now_ms, effective_ms=now_ms)
        elif what == "end" and held is not None:
            decision.end(ledger, key, state="revoked", now_ms=now_ms, effective_ms=now_ms, reason="")
        elif what == "add":
            order = Command(
                command="add", tenant=TENANT, scope="account", value=key[1], action="block",
                expires_at=now_ms + 7_200_000, by="kim", reason="", at=now_ms,
            )  # fmt: skip
            decision.add(ledger, order, tokens=used, at=at)
        elif what != "end":
            cause = CAUSE._replace(approval=HUMAN if what == "approved" else None)
            made, caps = decision.propose(
                ledger, scope="account", value=key[1], digest=0, tier_code=0, tokens=used, cause=cause, at=at
            )
            blocks_anew = made is not None and made.action == "block"
            blocks_anew &= held is None or held.decision.action != "block"
            if blocks_anew:
                assert weight_of(ledger) <= share * total
            if "blocked_tokens_share" in caps:
                assert made is not None
                assert made.action == "challenge"
                assert before + max(used, held.tokens if held is not None else 0) > share * total
        assert ledger.blocked_tokens == weight_of(ledger)
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger), type=Ledger)
        assert again.blocked_tokens == weight_of(again)  # as after a restart


@LAW
@given(tokens=st.integers(0, volume.TOKENS_MAX), hours=st.lists(st.integers(0, 90), min_size=1, max_size=8))
def test_a_count_fades_by_a_twenty_fourth_an_hour_in_however_many_steps(tokens: int, hours: list[int]) -> None:
    once, stepwise = int(volume.fade(tokens, sum(hours))), tokens
    for h in hours:
        stepwise = int(volume.fade(stepwise, h))
    exact = tokens * Fraction(23, 24) ** sum(hours)
    # Rounded down, each time by less than a part in 65,536 of what it was and one token.
    slack = len(hours) * (Fraction(tokens, 1 << 16) + 1)
    assert exact - slack <= stepwise <= exact
    assert exact - slack <= once <= exact


@LAW
@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(-5, 2**40), st.integers(-5, 2**40)), max_size=20))
def test_counts_stay_within_their_bound(drawn: list[tuple[int, int, int]]) -> None:
    columns = [np.array([d[i] for d in drawn], np.int64) for i in range(3)]
    held = np.array([int(volume.add(0, n)) for n in columns[0]], np.int64)
    left = volume.faded(held, columns[1], 2**41)
    assert ((left >= 0) & (left <= volume.TOKENS_MAX)).all()

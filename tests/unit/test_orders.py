"""Orders in the fold: what operators' records change in a campaign under way, and when."""

from functools import cache
from typing import Any

import msgspec
import pytest

from detector import desk
from detector.config import Settings, config_hash
from detector.decision import Tombstone
from detector.judge import DAY_MS, Judge
from detector.operators import Control, Label, Received
from detector.records import Alert, Decision
from detector.snapshot import restore, snapshot
from tests.laws.orders import command, exemption, label, switch
from tests.laws.streams import (
    HOUR_MS,
    KEY,
    MINUTE_MS,
    SETTINGS,
    START_MS,
    Range,
    frame_of,
    judge_for,
    orders_of,
    stamped,
    whole,
    world,
)

STREAM = world(0, sources=1, disturbed=False)
LATER = 4 * HOUR_MS + 7_001  # the campaign is under way, and this is no pane's end
ENDLESS = START_MS + 30 * 24 * HOUR_MS


class Ran:
    """What a run of the world left behind."""

    def __init__(self, orders: tuple[Received, ...], settings: Settings, approve_ms: int) -> None:
        """Run it to its end."""
        self.judge = judge_for(STREAM._replace(orders=orders), settings=settings)
        self.judge.cases.desk.approve_after_ms = approve_ms
        for step in whole(STREAM):
            self.judge.apply(frame_of(STREAM, step))
        self.judge.end("s-0")
        made = self.judge.take_outputs()
        self.alerts = [o for o in made if isinstance(o, Alert) and o.kind == "campaign"]
        self.operational = [o for o in made if isinstance(o, Alert) and o.kind == "operational"]
        self.decisions = [o for o in made if isinstance(o, Decision)]

    def of(self, value: str) -> list[Decision]:
        """The decisions on one account."""
        return [d for d in self.decisions if d.value == value]

    def outcomes(self) -> dict[str, int]:
        """What became of the orders."""
        return self.judge.cases.desk.outcomes


@cache
def ran(*orders: Received, settings: Settings = SETTINGS, approve_ms: int = -1) -> Ran:
    return Ran(orders, settings, approve_ms)


def alert_id() -> str:
    return ran().alerts[0].alert_id


def detected_ms() -> int:
    return ran().alerts[0].detected_at


def with_policy(**fields: Any) -> Settings:
    """The laws' settings with another policy."""
    return msgspec.structs.replace(SETTINGS, decision=msgspec.structs.replace(SETTINGS.decision, **fields))


def leased_at(time_ms: int) -> str:
    """A member whose lease runs for a good while on both sides of a time."""
    for d in ran().decisions:
        if d.state == "active" and d.effective_at < time_ms < d.expires_at - HOUR_MS // 4 and d.seq > 1:
            return d.value
    raise AssertionError("nobody is leased then")


def test_a_revoke_acts_at_its_own_time_and_sticks() -> None:
    at_ms = START_MS + LATER
    name = leased_at(at_ms)
    found = ran(command("revoke", at_ms, scope="account", value=name))
    last = found.of(name)[-1]
    assert (last.state, last.origin, last.issued_at, last.effective_at) == ("revoked", "operator", at_ms, at_ms)
    # It went on acting, as it does where nobody lifts its lease.
    assert ran().of(name)[-1].issued_at > at_ms
    assert found.judge.cases.ledger.vetoes["lifted"] > 0
    assert found.outcomes() == {"revoke": 1}
    # The others' decisions are what they were.
    assert [d for d in found.decisions if d.value != name] == [d for d in ran().decisions if d.value != name]


def test_a_revoke_by_decision_and_one_that_names_nothing() -> None:
    at_ms = START_MS + LATER
    name = leased_at(at_ms)
    found = ran(
        command("revoke", at_ms, decision_id=ran().of(name)[0].decision_id),
        command("revoke", at_ms, decision_id="d-unknown"),
    )
    assert found.of(name)[-1].state == "revoked"
    assert found.outcomes() == {"revoke": 1, "revoke_unmatched": 1}


def test_an_operator_may_lease_again_what_was_lifted() -> None:
    at_ms = START_MS + LATER
    name = leased_at(at_ms)
    end_ms = at_ms + 2 * HOUR_MS
    found = ran(
        command("revoke", at_ms, scope="account", value=name),
        command("add", at_ms + 1, scope="account", value=name, action="block", expires_at=end_ms),
    )
    added = next(d for d in found.of(name) if d.issued_at == at_ms + 1)
    assert (added.action, added.origin, added.expires_at, added.state) == ("block", "operator", end_ms, "active")
    assert "detector" not in {d.origin for d in found.of(name) if d.seq > added.seq}


@pytest.mark.parametrize(
    ("scope", "value", "spared"),
    [
        ("account", "h-3", {"h-3"}),
        ("org", "ho-3", {"h-3"}),
        ("payment_fp", "card-1", {f"h-{i}" for i in range(1, 20, 2)}),
        ("subnet", "198.51.3.0/24", set()),
    ],
)
def test_an_exemption_lifts_its_leases_at_once_until_it_ends(scope: str, value: str, spared: set[str]) -> None:
    at_ms = START_MS + 3 * HOUR_MS + 9 * MINUTE_MS + 1
    found = ran(exemption(scope, value, at_ms, end_ms=at_ms + HOUR_MS))
    lifted = {d.value for d in found.decisions if d.state == "revoked"}
    assert lifted == spared
    assert all(d.effective_at == at_ms for d in found.decisions if d.state == "revoked")
    during = [d for d in found.decisions if d.state == "active" and at_ms < d.issued_at < at_ms + HOUR_MS]
    assert not {d.value for d in during} & spared
    # Afterwards whoever still acts is leased anew.
    after = {d.value for d in found.decisions if d.state == "active" and d.issued_at > at_ms + HOUR_MS}
    assert spared <= after


def test_an_exemption_for_a_signature_covers_the_leases_that_it_helped_to_make() -> None:
    at_ms = START_MS + 3 * HOUR_MS + 9 * MINUTE_MS
    for signature, covers in (("c1_shared_template", True), ("n1_crowded_prefix", False)):
        found = ran(exemption("account", "h-3", at_ms, end_ms=ENDLESS, signatures=(signature,)))
        assert (found.of("h-3")[-1].state == "revoked") == covers


def test_an_exemption_is_taken_back_by_one_that_has_ended() -> None:
    at_ms = START_MS + 3 * HOUR_MS + 9 * MINUTE_MS
    given = exemption("account", "h-3", START_MS, end_ms=ENDLESS)
    found = ran(given, exemption("account", "h-3", at_ms, end_ms=at_ms))
    assert min(d.issued_at for d in found.of("h-3")) > at_ms
    assert found.outcomes() == {"allow": 1, "allow_removed": 1}
    assert ran(given).of("h-3") == []


def test_the_kill_switch_ends_every_lease_and_lets_them_begin_again() -> None:
    off_ms, on_ms = START_MS + LATER, START_MS + LATER + HOUR_MS // 4
    found = ran(switch("off", off_ms), switch("on", on_ms))
    ended = [d for d in found.decisions if d.state == "revoked"]
    assert ended
    assert {(d.effective_at, d.reason) for d in ended} == {(off_ms, "Enforcement is switched off.")}
    assert not [d for d in found.decisions if d.state == "active" and off_ms <= d.effective_at < on_ms]
    assert [d for d in found.decisions if d.state == "active" and on_ms <= d.effective_at < on_ms + HOUR_MS // 4]
    assert found.judge.cases.ledger.vetoes["kill_switch"] > 0


def test_observe_only_turns_enforcement_into_shadow() -> None:
    enforcing = msgspec.structs.replace(SETTINGS, mode="enforce")
    at_ms = START_MS + LATER
    found = ran(switch("observe_only", at_ms), settings=enforcing)
    assert {d.mode for d in found.decisions if d.issued_at < at_ms} == {"enforce"}
    assert {d.mode for d in found.decisions if d.state == "active" and d.issued_at > at_ms} == {"shadow"}
    assert [d for d in found.decisions if d.state == "revoked" and d.issued_at == at_ms]
    # In a shadow run nothing is enforced, so nothing ends.
    assert not [d for d in ran(switch("observe_only", at_ms)).decisions if d.state == "revoked"]


def test_resolving_an_alert_ends_it_and_its_leases_for_as_long_as_its_accounts_act() -> None:
    at_ms = START_MS + LATER
    found = ran(command("resolve", at_ms, alert_id=alert_id()))
    assert found.alerts[-1].status == "resolved"
    assert found.alerts[-1].status_reason == "resolved by kim: "
    assert found.alerts[-1].recommended_action == "observe"
    assert {a.alert_id for a in found.alerts} == {alert_id()}
    assert not [d for d in found.decisions if d.state == "active" and d.issued_at >= at_ms]
    assert not found.judge.cases.ledger.leases
    again = ran(command("resolve", at_ms, alert_id=alert_id()), command("resolve", at_ms + 1, alert_id=alert_id()))
    assert again.outcomes() == {"resolve": 1, "resolve_unmatched": 1}


def test_beyond_the_cap_members_are_throttled_until_the_alert_is_approved() -> None:
    tight = with_policy(contained_share_max=0.1)
    found = ran(settings=tight)
    held = {d.value: d for d in found.decisions if d.state == "active" and d.seq == 1}
    throttled = [d for d in held.values() if d.action == "throttle"]
    assert throttled
    assert {d.approval.state for d in throttled} == {"pending"}
    assert {d.approval.proposed_action for d in throttled} == {"challenge"}
    contained = sum(d.action == "challenge" for d in held.values() if d.issued_at == ran().decisions[0].issued_at)
    assert contained <= 0.1 * found.judge.cases.active_accounts + 1
    # Said once an hour, by an alert of its own kind.
    opened = [a for a in found.operational if a.status == "open"]
    assert len(opened) == len({(a.dedup_key, a.window.start) for a in opened}) > 0
    # And over with its hour, but for the hour in which the log ends.
    over = {a.alert_id for a in found.operational if (a.status, a.revision) == ("resolved", 1)}
    assert over >= {a.alert_id for a in opened if a.window.end <= found.judge.reached_ms()}
    assert {(a.severity, a.kind) for a in found.operational} == {("critical", "operational")}
    approve_ms = detected_ms() + 30 * MINUTE_MS
    approved = ran(command("approve", approve_ms, alert_id=alert_id()), settings=tight)
    raised = [d for d in approved.decisions if d.issued_at == approve_ms]
    assert raised
    assert {(d.action, d.approval.state, d.approval.by) for d in raised} == {("challenge", "approved", "kim")}
    assert "throttle" not in {d.action for d in approved.decisions if d.issued_at > approve_ms and d.state == "active"}


def test_approving_one_decision_raises_that_one() -> None:
    tight = with_policy(contained_share_max=0.1)
    name = next(d.value for d in ran(settings=tight).decisions if d.action == "throttle")
    approve_ms = detected_ms() + 5 * MINUTE_MS
    found = ran(command("approve", approve_ms, scope="account", value=name), settings=tight)
    assert [d.value for d in found.decisions if d.issued_at == approve_ms] == [name]
    assert found.of(name)[1].action == "challenge"
    assert {d.approval.by for d in found.decisions if d.value != name} == {None}


def test_only_a_human_blocks_and_no_more_than_the_caps_allow() -> None:
    approve_ms = detected_ms() + 5 * MINUTE_MS
    order = command("approve", approve_ms, alert_id=alert_id(), action="block")
    assert "block" not in {d.action for d in ran().decisions}
    # Half a per cent of the accounts of this small world is nobody.
    assert "block" not in {d.action for d in ran(order).decisions}
    wide = with_policy(blocked_share_max=0.5, blocked_tokens_share_max=1.0, blocks_per_hour_max=3)
    blocked = [d for d in ran(order, settings=wide).decisions if d.action == "block" and d.state == "active"]
    by_hour = {d.issued_at // HOUR_MS: set[str]() for d in blocked}
    seen: set[str] = set()
    for d in blocked:
        if d.value not in seen:
            by_hour[d.issued_at // HOUR_MS].add(d.value)
            seen.add(d.value)
    assert max(len(names) for names in by_hour.values()) == 3


def tokens_by(name: str | None, at_ms: int) -> float:
    """What an account, or all, used in about the day before a time, from the events themselves."""
    (batch,) = STREAM.batches.values()
    columns = ("account_id", "event_time", "input_tokens", "output_tokens")
    rows = zip(*(batch.column(c).to_pylist() for c in columns), strict=True)
    kept = ((at, went + came) for account, at, went, came in rows if at < at_ms and name in (None, account))
    return sum(used * (23 / 24) ** (at_ms // HOUR_MS - at // HOUR_MS) for at, used in kept)


def test_whom_a_human_blocks_used_no_more_than_their_share_of_the_tokens() -> None:
    approve_ms = detected_ms() + 5 * MINUTE_MS
    order = command("approve", approve_ms, alert_id=alert_id(), action="block")
    wide = {"blocked_share_max": 0.5, "contained_share_max": 0.9, "blocked_tokens_share_max": 0.25}
    found = ran(order, settings=with_policy(**wide))
    standing: dict[str, float] = {}
    fresh = 0
    for d in found.decisions:
        blocks = d.action == "block" and d.state == "active"
        if blocks and d.value not in standing:
            fresh += 1
            standing[d.value] = tokens_by(d.value, d.issued_at)
            # The whole is counted every ten minutes, so it may have been smaller.
            assert sum(standing.values()) <= 0.25 * tokens_by(None, d.issued_at) * 1.01
        elif not blocks:
            standing.pop(d.value, None)
    everybody = {d.value for d in found.decisions if d.campaign_id}
    assert 2 <= fresh < len(everybody)
    assert "Blast-radius cap reached: blocked_tokens_share" in {a.title for a in found.operational}
    assert found.judge.cases.ledger.vetoes["cap"] > 0


def test_a_replay_may_approve_every_campaign_after_a_while() -> None:
    tight = with_policy(contained_share_max=0.1)
    found = ran(settings=tight, approve_ms=15 * MINUTE_MS)
    raised = [d for d in found.decisions if d.approval.state == "approved"]
    assert min(d.issued_at for d in raised) == detected_ms() + 15 * MINUTE_MS
    assert found.outcomes() == {"approve": 1}


def test_more_alerts_than_people_can_read_are_written_but_suppressed() -> None:
    found = ran(settings=with_policy(alerts_per_hour_max=0))
    assert {a.status for a in found.alerts[:-1]} == {"suppressed"}
    assert found.alerts[-1].status == "resolved"
    assert [(a.title, a.status) for a in found.operational] == [("Alert storm", "open"), ("Alert storm", "resolved")]
    assert [(d.decision_id, d.seq, d.action) for d in found.decisions] == [
        (d.decision_id, d.seq, d.action) for d in ran().decisions
    ]


def test_labels_are_counted_and_the_last_word_on_an_alert_makes_the_estimate_of_precision() -> None:
    at_ms = detected_ms() + MINUTE_MS
    said = (label(alert_id(), "benign", at_ms), label("a-unknown", "true_positive", at_ms + 1))
    found = ran(*said)
    held = found.judge.cases.desk
    assert found.outcomes() == {"label": 1, "label_unmatched": 1}
    assert held.labels == {"benign": 1}
    spoke = ran().alerts[0].signature_ids
    assert spoke
    assert desk.precision([held]) == dict.fromkeys(sorted(spoke), 0.0)
    assert found.decisions == ran().decisions
    other = ran(*said, label(alert_id(), "true_positive", at_ms + 2)).judge.cases.desk
    assert other.labels == {"benign": 1, "true_positive": 1}
    assert set(desk.precision([other]).values()) == {1.0}
    again = ran(*said, label(alert_id(), "duplicate", at_ms + 2)).judge.cases.desk
    assert desk.precision([again]) == {}  # says nothing about a signature
    assert set(desk.precision([held, other]).values()) == {0.5}


def test_no_more_labels_are_kept_than_fit_and_the_oldest_leave() -> None:
    held = desk.Desk()
    for number in range(desk.LABELLED_MAX + 2):
        record = Label(alert_id=f"a-{number}", verdict="benign", by="kim", at=0)
        desk.label(held, record, signature_ids=("c1_shared_template",))
    assert len(held.labelled) == desk.LABELLED_MAX
    assert next(iter(held.labelled)) == "a-2"


def test_records_later_than_the_last_event_wait_on() -> None:
    found = ran(switch("off", ENDLESS))
    assert found.outcomes() == {}
    assert len(found.judge.cases.desk.waiting) == 1
    assert found.decisions == ran().decisions


def test_live_records_act_at_their_place_in_the_log_and_after_what_was_decided() -> None:
    judge: Judge = judge_for(STREAM)
    rows = len(STREAM.batches["s-0"])
    judge.apply(frame_of(STREAM, Range("s-0", 0, rows * 3 // 5)))
    before = judge.take_outputs()
    held = sorted(judge.cases.ledger.leases)
    assert held
    stopped = STREAM._replace(orders=(switch("off", START_MS),))
    judge.operate(msgspec.structs.replace(orders_of(stopped), source="live", timed=False))
    ended = [d for d in judge.take_outputs() if isinstance(d, Decision)]
    assert [(d.scope, d.value) for d in ended] == held
    # Its own clock was behind: it cannot come before what it ends.
    newest = max(d.effective_at for d in before if isinstance(d, Decision))
    assert min(d.effective_at for d in ended) >= newest


def test_alert_members_and_decisions_agree() -> None:
    for settings in (SETTINGS, with_policy(contained_share_max=0.1)):
        found = ran(settings=settings)
        members = found.judge.members()
        last = {a.campaign.id: a.campaign for a in found.alerts if a.campaign is not None}
        for identity, block in last.items():
            mine = {m.account_id for m in members if m.campaign_id == identity}
            assert block.accounts == len(mine) > 0
            assert set(block.members_sample) <= mine
        assert {d.value for d in found.decisions} <= {m.account_id for m in members}


ENFORCED = msgspec.structs.replace(SETTINGS, mode="enforce")
LATE_MS = START_MS + 9 * HOUR_MS


def worked(settings: Settings) -> tuple[Judge, list[Any]]:
    """A judge that has seen three fifths of the world, and what it made."""
    judge = judge_for(STREAM, settings=settings)
    judge.apply(frame_of(STREAM, Range("s-0", 0, len(STREAM.batches["s-0"]) * 3 // 5)))
    return judge, judge.take_outputs()


def rest(judge: Judge) -> list[Decision]:
    """The decisions of what is left of the world."""
    judge.apply(frame_of(STREAM, Range("s-0", judge.buffer.sources["s-0"].stop, len(STREAM.batches["s-0"]))))
    return [d for d in judge.take_outputs() if isinstance(d, Decision)]


def passed(step_ms: int, *, reborn: bool = False) -> list[tuple[int, Any]]:
    """The stamped outputs of the world and three days of silence, in steps of some length."""
    stream = stamped(STREAM)  # rows without an ingest time would wait for others
    judge = judge_for(stream, settings=ENFORCED)
    for step in whole(stream):
        judge.apply(frame_of(stream, step))
    made = judge.take_stamped()
    for time_ms in range(LATE_MS, LATE_MS + 3 * DAY_MS, step_ms):
        judge.tick("s-0", time_ms + step_ms)
        judge = restore(snapshot(judge, key=KEY), settings=ENFORCED, key=KEY) if reborn else judge
        made += judge.take_stamped()
    assert (judge.cases.ledger.leases, judge.cases.ledger.ended) == ({}, {})
    return made


def test_however_time_passes_every_ended_key_is_buried_once_a_day_later() -> None:
    made = passed(3 * DAY_MS)
    assert passed(7 * MINUTE_MS)[: len(made)] == passed(HOUR_MS, reborn=True) == made
    ends = {o.value: o.effective_at for _, o in made if isinstance(o, Decision)}
    buried = [(o.value, at_ms) for at_ms, o in made if isinstance(o, Tombstone)]
    assert sorted(value for value, _ in buried) == sorted(ends)
    for value, at_ms in buried:
        assert -SETTINGS.lateness_ms <= at_ms - ends[value] - DAY_MS <= SETTINGS.discovery_ms


def test_from_enforce_to_shadow_every_enforced_lease_is_revoked_and_none_comes_after() -> None:
    judge, _ = worked(ENFORCED)
    standing = {(d.scope, d.value): d.seq for d in (lease.decision for lease in judge.cases.ledger.leases.values())}
    judge.adopt(SETTINGS)
    revoked = [d for d in judge.take_outputs() if isinstance(d, Decision)]
    assert {(d.scope, d.value): d.seq - 1 for d in revoked} == standing
    assert {(d.state, d.mode) for d in revoked} == {("revoked", "enforce")}  # so they reach whoever enforces
    later = rest(judge)
    assert {d.mode for d in later} == {"shadow"}
    assert {d.value for d in later} & {value for _, value in standing}


def test_from_shadow_to_enforce_whoever_acts_on_is_enforced() -> None:
    judge, _ = worked(SETTINGS)
    standing = {lease.decision.value: lease.decision.decision_id for lease in judge.cases.ledger.leases.values()}
    judge.adopt(ENFORCED)
    assert judge.take_outputs() == []
    assert judge.config_hash == judge.cases.config_hash == config_hash(ENFORCED)
    later = rest(judge)
    assert {d.mode for d in later if d.state == "active"} == {"enforce"}
    assert {d.decision_id for d in later} & set(standing.values())  # a lease goes on under its id


def test_a_smaller_canary_ends_what_is_enforced_and_goes_on_with_those_in_it() -> None:
    judge, _ = worked(ENFORCED)
    standing = {lease.decision.value for lease in judge.cases.ledger.leases.values()}
    policy = msgspec.structs.replace(ENFORCED.decision, canary_share=0.5)
    judge.adopt(msgspec.structs.replace(ENFORCED, decision=policy))
    ended = [d for d in judge.take_outputs() if isinstance(d, Decision)]
    assert ({d.value for d in ended}, {d.state for d in ended}) == (standing, {"revoked"})
    modes = {d.value: d.mode for d in rest(judge) if d.state == "active"}
    assert set(modes.values()) == {"enforce", "shadow"}


def test_the_kill_switch_is_for_every_tenant_and_is_passed_on() -> None:
    judge, _ = worked(ENFORCED)
    order = command("kill_switch", LATE_MS, enforcement="off")
    order = order._replace(record=msgspec.structs.replace(order.record, tenant="another"))
    frame = orders_of(STREAM._replace(orders=(order,)))
    judge.operate(msgspec.structs.replace(frame, source="live", timed=False))
    passed, *ended = judge.take_outputs()
    assert passed == Control(enforcement="off", since=LATE_MS, by="kim", reason="")
    assert {d.state for d in ended if isinstance(d, Decision)} == {"revoked"}
    assert not judge.cases.ledger.leases

"""The scores, held against small worlds whose answers are counted by hand."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.events import event_batch
from detector.records import (
    Alert,
    CampaignBlock,
    Decision,
    Entity,
    Member,
    Producer,
    Window,
)
from detector.tuning import evaluate as evaluation
from detector.tuning.evaluate import Labels, evaluate, labels_from
from detector.tuning.scores import LEVELS, levels_of, timelines

HOUR_MS = 3_600_000
START_MS = 1_776_643_200_000


def decision(
    value: str,
    *,
    seq: int = 1,
    scope: str = "account",
    action: str = "block",
    start: int = 0,
    stop: int = 100,
    **more: Any,
) -> Decision:
    return Decision(
        decision_id=f"d-{scope}-{value}",
        seq=seq,
        tenant=more.pop("tenant", "default"),
        scope=scope,  # type: ignore[arg-type]
        value=value,
        action=action,  # type: ignore[arg-type]
        issued_at=start,
        effective_at=start,
        expires_at=stop,
        reason_code="r",
        reason="r",
        config_hash="c",
        **more,
    )


def alert(identity: str, *, campaign: str | None, detected_at: int, revision: int = 0) -> Alert:
    return Alert(
        alert_id=identity,
        revision=revision,
        dedup_key=identity,
        status="open",
        kind="account" if campaign is None else "campaign",
        signature_ids=("c1_shared_template",),
        config_hash="c",
        version="0",
        title="t",
        summary="s",
        severity="high",
        risk_score=90,
        entity=Entity(scope="campaign", value=campaign or "a", tenant="default"),
        campaign=None if campaign is None else CampaignBlock(id=campaign, accounts=1, requests=1),
        window=Window(start=0, end=1),
        first_seen=0,
        last_seen=1,
        detected_at=detected_at,
        producer=Producer(version="0"),
    )


def member(campaign: str, account: str, *, joined_at: int = 0) -> Member:
    return Member(
        campaign_id=campaign, account_id=account, tenant="default", first_seen=0, requests=1, joined_at=joined_at
    )


def events(rows: list[tuple[str, int]], **columns: Any) -> pa.RecordBatch:
    count = len(rows)
    made = {
        "event_id": pa.array([f"e{at}" for at in range(count)]),
        "event_time": pa.array([time_ms for _, time_ms in rows], pa.int64()),
        "account_id": pa.array([account for account, _ in rows]),
        "request_model": pa.array(["m"] * count),
    }
    return event_batch(made | {name: pa.array(values) for name, values in columns.items()}, rows=count)


def levels(decisions: list[Decision], batch: pa.RecordBatch) -> list[int]:
    return levels_of(batch, by_scope=timelines(decisions)).tolist()


def test_a_decision_acts_from_effective_at_until_just_before_expires_at() -> None:
    batch = events([("a", 9), ("a", 10), ("a", 19), ("a", 20), ("b", 15)])
    assert levels([decision("a", start=10, stop=20)], batch) == [0, 4, 4, 0, 0]


def test_the_highest_seq_governs_from_its_own_effective_at() -> None:
    batch = events([("a", 5), ("a", 15), ("a", 25), ("a", 95)])
    decisions = [
        decision("a", seq=2, action="throttle", start=10, stop=90),
        decision("a", seq=1, action="block", start=0, stop=100),
        decision("a", seq=3, action="block", start=20, stop=90, state="revoked"),
    ]
    assert levels(decisions, batch) == [4, 2, 0, 0]


def test_an_older_record_does_not_come_back_when_a_newer_one_expires() -> None:
    batch = events([("a", 5), ("a", 15), ("a", 30)])
    decisions = [decision("a", seq=1, start=0, stop=100), decision("a", seq=2, action="challenge", start=10, stop=20)]
    assert levels(decisions, batch) == [4, 3, 0]


def test_a_late_record_of_lower_seq_never_governs() -> None:
    decisions = [decision("a", seq=5, action="throttle", start=0, stop=100), decision("a", seq=4, start=50, stop=100)]
    assert levels(decisions, events([("a", 60)])) == [2]


def test_of_several_keys_the_strictest_counts_and_shadow_counts_as_enforced() -> None:
    batch = events([("a", 5)], org_id=["o"])
    decisions = [decision("a", action="throttle"), decision("o", scope="org", action="challenge", mode="shadow")]
    assert levels(decisions, batch) == [3]


def test_decisions_stay_inside_their_tenant() -> None:
    batch = events([("a", 5), ("a", 5)], tenant=[None, "other"])
    assert levels([decision("a", tenant="other")], batch) == [0, 4]


def test_decisions_for_named_models_touch_those_only() -> None:
    assert levels([decision("a", models=("other",))], events([("a", 5)])) == [0]
    assert levels([decision("a", models=("m", "other"))], events([("a", 5)])) == [4]


@pytest.mark.parametrize(
    ("address", "network", "level"),
    [
        ("10.1.2.3", "10.1.2.0/24", 4),
        ("10.1.3.3", "10.1.2.0/24", 0),
        ("10.1.2.0/24", "10.1.2.0/24", 4),
        ("10.1.0.0/16", "10.1.2.0/24", 0),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64", 4),
        ("2001:db8:1:2::9", "2001:db8:1::/48", 4),
        ("nonsense", "10.1.2.0/24", 0),
    ],
)
def test_a_subnet_decision_covers_the_addresses_in_it(address: str, network: str, level: int) -> None:
    assert levels([decision(network, scope="subnet")], events([("a", 5)], client_ip=[address])) == [level]


def test_an_anchor_decision_covers_requests_that_carry_the_anchor() -> None:
    batch = events([("a", 5), ("b", 5), ("c", 5)], anchor_fps=[[1, 255], [], [7]])
    assert levels([decision(f"{255:016x}", scope="anchor_fp")], batch) == [4, 0, 0]


@given(
    records=st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(0, 30),
            st.integers(1, 30),
            st.sampled_from(sorted(LEVELS)),
            st.sampled_from(["active", "revoked"]),
        ),
        max_size=8,
    )
)
def test_levels_equal_the_rule_read_word_for_word(records: list[tuple[str, int, int, str, str]]) -> None:
    decisions = [
        decision(account, seq=seq, action=action, start=start, stop=start + length, state=state)
        for seq, (account, start, length, action, state) in enumerate(records)
    ]
    rows = [(account, t) for account in ("a", "b", "c") for t in range(62)]
    expected = []
    for account, t in rows:
        come = [d for d in decisions if d.value == account and d.effective_at <= t]
        last = max(come, key=lambda d: d.seq, default=None)
        acts = last is not None and last.state == "active" and t < last.expires_at
        expected.append(LEVELS[last.action] if acts and last is not None else 0)
    assert levels(decisions[::-1], events(rows)) == expected


def small_world() -> dict[str, Any]:
    """Two attackers with ten requests each, hourly; two benign accounts likewise; blocked from hour 4."""
    rows = sorted(
        ((account, START_MS + hour * HOUR_MS) for account in ("x1", "x2", "b1", "b2") for hour in range(10)),
        key=lambda row: row[1],
    )
    at = START_MS + 4 * HOUR_MS
    return {
        "events": [events(rows[:17]), events(rows[17:])],
        "labels": labels_from(
            pa.table({"account_id": ["x1", "x2", "b1"], "campaign": ["k", "k", ""], "population": ["h", "h", "chat"]})
        ),
        "alerts": [alert("al", campaign="c", detected_at=at), alert("al", campaign="c", detected_at=at, revision=1)],
        "decisions": [
            decision("x1", start=at, stop=at + 100 * HOUR_MS, campaign_id="c"),
            decision("b2", start=at, stop=at + 2 * HOUR_MS, campaign_id="c"),
            decision("b1", action="throttle", start=at, stop=at + HOUR_MS),
        ],
        "members": [member("c", "x1"), member("c", "x2"), member("c", "b2")],
    }


def test_scores_of_a_small_world_are_those_counted_by_hand() -> None:
    scores = evaluate(**small_world())
    campaign = scores["campaigns"]["k"]
    assert campaign["found"]
    assert campaign["time_to_detect_s"] == 4 * 3600
    assert campaign["requests_by_detection"] == 10  # hours 0 to 4 of both accounts
    assert (campaign["requests"], campaign["leaked_requests"], campaign["leak"]) == (20, 14, 0.7)
    assert campaign["member_recall"] == 0.5
    assert campaign["member_precision"] == 0.5  # of x1 and b2
    low, high = campaign["leak_interval"]
    assert low <= 0.7 <= high
    benign = scores["benign"]
    assert (benign["requests"], benign["contained_requests"], benign["collateral_ppm"]) == (20, 2, 100_000)
    assert benign["slowed_requests"] == 1
    assert benign["accounts_acted_on"] == 1
    assert benign["accounts_acted_on_per_million_account_days"] == pytest.approx(1e6 / (2 * 9 / 24))
    assert benign["populations"]["chat"]["contained_requests"] == 0
    assert benign["populations"]["unlabelled"]["contained_requests"] == 2
    assert (scores["alerts"]["opened"], scores["alerts"]["campaign_named"]) == (1, 1)


def test_where_nothing_was_counted_the_interval_says_what_could_have_hidden() -> None:
    whole = np.full(100, 10)
    low, high = evaluation._interval(np.zeros(100, np.int64), whole, seed=1)
    assert (low, high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100), abs=1e-6))
    assert evaluation._interval(whole, whole, seed=1) == [pytest.approx(1 - high, abs=1e-6), 1.0]
    uneven = np.asarray([1_000, *[1] * 99])
    assert evaluation._interval(np.zeros(100, np.int64), uneven, seed=1)[1] > 0.9
    assert evaluation._interval(whole[:0], whole[:0], seed=1) is None


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 3.69), (1, 0.0253, 5.57), (10, 4.80, 18.39)])
def test_counts_have_the_exact_poisson_limits_nearly(count: int, low: float, high: float) -> None:
    assert evaluation.count_interval(count, 1.0) == [pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05)]


def test_every_score_that_can_has_an_interval_around_it() -> None:
    scores = evaluate(**small_world())
    campaign, benign, alerts = scores["campaigns"]["k"], scores["benign"], scores["alerts"]
    pairs = [(campaign, name) for name in ("leak", "member_recall", "member_precision")]
    counted = ("collateral_ppm", "accounts_acted_on_per_million_account_days")
    pairs += [(held, name) for held in (benign, *benign["populations"].values()) for name in counted]
    pairs += [(alerts, name) for name in ("per_day", "per_million_events", "per_day_without_attacks")]
    for held, name in pairs:
        low, high = held[f"{name}_interval"]
        assert low <= held[name] <= high, name


def test_scores_do_not_depend_on_how_events_are_cut() -> None:
    world = small_world()
    table = pa.Table.from_batches(world["events"])
    whole = evaluate(**(world | {"events": table.to_batches()}))
    single = evaluate(**(world | {"events": table.to_batches(max_chunksize=1)}))
    assert whole == single


def test_an_alert_whose_members_are_mostly_benign_is_false() -> None:
    world = small_world()
    scores = evaluate(**(world | {"members": [member("c", "b1"), member("c", "b2"), member("c", "x1")]}))
    assert scores["campaigns_false"] == 1
    assert not scores["campaigns"]["k"]["found"]
    assert scores["campaigns"]["k"]["member_recall"] is None


def test_members_that_joined_later_do_not_name_the_alert() -> None:
    world = small_world()
    late = START_MS + 9 * HOUR_MS
    members = [member("c", "x1"), member("c", "b1", joined_at=late), member("c", "b2", joined_at=late)]
    assert evaluate(**(world | {"members": members}))["campaigns"]["k"]["found"]


def test_labels_by_event_make_the_whole_account_the_campaigns() -> None:
    world = small_world()
    rows = pa.Table.from_batches(world["events"])
    # Both batches number their events from 0, so give them names of their own.
    ids = pa.array([f"u{at}" for at in range(rows.num_rows)])
    named = rows.set_column(0, "event_id", ids)
    first = named.column("event_id").filter(pc.equal(named.column("account_id"), "x1"))[0].as_py()
    labels = labels_from(pa.table({"event_id": [first], "campaign": ["k"]}))
    scores = evaluate(**(world | {"events": named.to_batches(), "labels": labels}))
    assert scores["campaigns"]["k"]["accounts"] == 1
    assert scores["campaigns"]["k"]["requests"] == 10


def test_a_log_without_attacks_has_no_leak_and_scores_stay_numbers() -> None:
    world = small_world()
    empty = Labels("account_id", pa.array([], pa.string()), pa.array([], pa.string()), pa.array([], pa.string()))
    scores = evaluate(**(world | {"labels": empty, "alerts": [], "decisions": [], "members": []}))
    assert scores["leak"] is None
    assert scores["collateral_ppm"] == 0
    assert scores["campaigns"] == {}


def test_labels_without_their_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="account_id or event_id"):
        labels_from(pa.table({"account": ["a"], "campaign": [""]}))


def test_an_empty_log_is_scored_without_complaint() -> None:
    world = small_world()
    scores = evaluate(**(world | {"events": []}))
    assert scores["events"] == 0
    assert scores["collateral_ppm"] is None
    assert np.isfinite(scores["span_days"])

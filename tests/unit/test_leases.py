"""The table of leases: sequence, time, tombstones, the kill switch, subnets, words of the future."""

import random

import orjson
import pytest

from detector.enforce.leases import CONTROL_KEY, LeaseTable
from detector.records import decision_key, encode
from tests.unit.leasing import HOUR, decision, put


def action(table: LeaseTable, now_ms: int, model: str = "m", **attributes: str | list[str]) -> str | None:
    found = table.lookup(attributes or {"account": "a-1"}, model=model, now_ms=now_ms)
    return found.action if found else None


def test_a_lease_acts_from_its_effect_to_its_end_and_no_longer() -> None:
    table = LeaseTable()
    put(table, decision(effective_at=1_000))
    assert [action(table, t) for t in (999, 1_000, 4 * HOUR - 1, 4 * HOUR)] == [None, "challenge", "challenge", None]
    assert table.lookup({"account": "a-1"}, tenant="other", now_ms=2_000) is None


def test_records_that_come_twice_or_late_change_nothing() -> None:
    first, renewed = decision(), decision(seq=2, issued_at=HOUR, effective_at=HOUR, expires_at=5 * HOUR)
    revoked = decision(seq=3, issued_at=2 * HOUR, effective_at=2 * HOUR, state="revoked")
    chance = random.Random(1)
    for _ in range(50):
        table, seen = LeaseTable(), [first, renewed, revoked] * 2
        chance.shuffle(seen)
        put(table, *seen)
        assert action(table, 3 * HOUR) is None
        held = table.get(tenant="default", scope="account", value="a-1")
        assert held is not None
        assert held.seq == 3


def test_until_a_renewal_acts_the_lease_before_it_does() -> None:
    table = LeaseTable()
    put(table, decision(expires_at=HOUR), decision(seq=2, issued_at=1, effective_at=1_000, action="block"))
    assert [action(table, t) for t in (999, 1_000, HOUR + 1)] == ["challenge", "block", "block"]


def test_after_a_tombstone_a_record_of_the_past_does_not_act_again() -> None:
    table = LeaseTable()
    first = decision()
    put(table, first)
    key = decision_key(tenant="default", scope="account", value="a-1")
    assert table.apply(key, None)
    assert not table.apply(key, None)
    assert put(table, first) == [False]
    assert action(table, 1) is None
    assert table.prune(now_ms=4 * HOUR) == 1
    assert len(table) == 0


def test_the_strictest_of_several_counts_and_only_for_its_models() -> None:
    table = LeaseTable()
    put(
        table,
        decision(action="throttle"),
        decision("o-1", scope="org", action="block", models=("large",)),
        decision("f" * 16, scope="anchor_fp", action="challenge"),
    )
    asked: dict[str, str | list[str]] = {"account": "a-1", "org": "o-1", "anchor_fp": ["0" * 16, "f" * 16]}
    assert action(table, 1, "large", **asked) == "block"
    assert action(table, 1, "small", **asked) == "challenge"
    assert action(table, 1, "small", account="a-1") == "throttle"
    assert action(table, 1, "small", account="a-2") is None


@pytest.mark.parametrize(
    ("held", "asked", "meant"),
    [
        ("10.1.2.0/24", "10.1.2.77", True),
        ("10.1.2.0/24", "10.1.2.0/24", True),
        ("10.1.2.0/24", "10.1.3.1", False),
        ("10.0.0.0/8", "10.9.9.0/24", True),
        ("10.1.2.0/24", "10.0.0.0/8", False),
        ("2001:db8:1:2::/64", "2001:db8:1:2::9", True),
        ("2001:db8:1:2::/64", "2001:db8:1:3::9", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("10.1.2.0/24", "not an address", False),
        ("10.1.2.0/24", "10.1.2.3/999x", False),
    ],
)
def test_a_subnet_holds_the_addresses_in_it(held: str, asked: str, *, meant: bool) -> None:
    table = LeaseTable()
    put(table, decision(held, scope="subnet"))
    assert (action(table, 1, subnet=asked) == "challenge") is meant


def test_the_kill_switch_is_obeyed_at_once_and_taken_back() -> None:
    table = LeaseTable()
    put(table, decision())
    seen = []
    for word in ("off", "observe_only", "on"):
        said = orjson.dumps({"enforcement": word, "since": 0, "by": "kim", "reason": "drill"})
        assert table.apply(CONTROL_KEY, said)
        seen.append(action(table, 1))
    assert seen == [None, "observe", "challenge"]
    table.apply(CONTROL_KEY, b'{"enforcement":"off","since":0,"by":"kim","reason":""}')
    assert table.apply(CONTROL_KEY, None)
    assert action(table, 1) == "challenge"


def test_words_of_the_future_fall_back_and_nonsense_is_counted() -> None:
    table = LeaseTable()
    tree = orjson.loads(encode(decision(fallback_action="throttle"))) | {"action": "tarpit", "colour": "red"}
    key = decision_key(tenant="default", scope="account", value="a-1")
    assert table.apply(key, orjson.dumps(tree))
    assert action(table, 1) == "throttle"
    assert not table.apply(key, orjson.dumps(tree | {"scope": "planet", "seq": 9}))
    for key_, value in ((b"x", b"{"), (None, b"[]"), (b"{", None), (CONTROL_KEY, b"1"), (b"k", b'{"seq": 1}')):
        assert not table.apply(key_, value)
    for odd in (b'[["default"],["account"],["a-1"]]', b'["default",["account"],"a-1"]', b'["default","subnet",["x"]]'):
        assert not table.apply(odd, None)
    assert not any(put(table, decision("10.0.0.x", scope="subnet")))
    assert table.unread == 10
    assert action(table, 1) == "throttle"


def test_a_record_under_another_key_than_its_own_changes_nothing() -> None:
    table = LeaseTable()
    for key in (None, b"", b"a-1", decision_key(tenant="default", scope="account", value="a-2")):
        assert not table.apply(key, encode(decision()))
    assert (len(table), table.unread) == (0, 4)


def test_a_kill_switch_of_the_past_switches_nothing_on_again() -> None:
    table = LeaseTable()
    put(table, decision())

    def turn(word: str, since: int) -> str | None:
        table.apply(CONTROL_KEY, orjson.dumps({"enforcement": word, "since": since, "by": "kim", "reason": ""}))
        return action(table, 1)

    assert turn("on", 10) == "challenge"
    assert turn("off", 20) is None
    assert turn("on", 10) is None  # the judge came back and passed on what it was told
    assert turn("observe_only", 15) is None
    assert turn("on", 21) == "challenge"
    assert turn("off", 5) is None  # whoever switches off is heard, whatever their clock says


def test_the_leases_in_force_are_listed_in_order() -> None:
    table = LeaseTable()
    put(table, decision("b"), decision("a"), decision("c", expires_at=5), decision("o", scope="org"))
    assert [lease.record.value for lease in table.leases(now_ms=10)] == ["a", "b", "o"]

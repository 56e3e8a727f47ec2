"""What an enforcer elsewhere is told: begin, change, end, and again after it was away."""

import random

from detector.enforce.leases import CONTROL_KEY, LeaseTable
from detector.enforce.transitions import Key, Transitions
from tests.unit.leasing import HOUR, decision, put

A1: Key = ("default", "account", "a-1")


class Copy:
    """A store elsewhere that applies what it is told, unless it is down."""

    def __init__(self) -> None:
        self.held: dict[Key, str] = {}

    def take(self, told: Transitions, now_ms: int, *, down: bool = False) -> int:
        made = told.due(now_ms=now_ms)
        for transition in [] if down else made:
            if transition.lease is None:
                del self.held[transition.key]
            else:
                self.held[transition.key] = transition.lease.action
            told.delivered(transition)
        return len(made)


def test_a_lease_is_told_when_it_begins_and_when_it_ends() -> None:
    table, copy = LeaseTable(), Copy()
    told = Transitions(table)
    put(table, decision(effective_at=1_000, expires_at=HOUR))
    told.touch(A1)
    seen = [(copy.take(told, t), dict(copy.held)) for t in (999, 1_000, 1_001, HOUR - 1, HOUR, HOUR + 1)]
    held = {A1: "challenge"}
    assert seen == [(0, {}), (1, held), (0, held), (0, held), (1, {}), (0, {})]


def test_an_order_that_was_not_delivered_is_replaced_by_the_truth() -> None:
    table, copy = LeaseTable(), Copy()
    told = Transitions(table)
    put(table, decision())
    told.touch(A1)
    assert copy.take(told, 1, down=True) == 1
    put(table, decision(seq=2, state="revoked"))
    told.touch(A1)
    assert copy.take(told, 2) == 0
    assert copy.held == {}


def test_the_kill_switch_takes_everything_back_and_gives_it_again() -> None:
    table, copy = LeaseTable(), Copy()
    told = Transitions(table)
    put(table, decision(), decision("o", scope="org", action="throttle"), decision("x", action="observe"))
    told.touch_all()
    seen = []
    for word in (b"on", b"off", b"observe_only", b"on"):
        table.apply(CONTROL_KEY, b'{"enforcement":"%s","since":0,"by":"kim","reason":""}' % word)
        told.touch_all()
        copy.take(told, 1)
        seen.append(sorted(copy.held.values()))
    assert seen == [["challenge", "throttle"], [], [], ["challenge", "throttle"]]


def test_a_copy_that_was_lost_is_made_again() -> None:
    table, copy = LeaseTable(), Copy()
    put(table, decision())
    told = Transitions(table)
    copy.take(told, 1)
    copy.held.clear()
    told.forget()
    copy.take(told, 2)
    assert copy.held == {A1: "challenge"}
    anew = LeaseTable()
    told.follow(anew)
    copy.take(told, 3)
    assert copy.held == {}
    assert told.shown == 0


def test_whatever_happens_the_copy_ends_as_the_table() -> None:
    chance = random.Random(7)
    for _ in range(30):
        table, copy = LeaseTable(), Copy()
        told = Transitions(table)
        now_ms = 0
        for seq in range(1, 120):
            now_ms += chance.randrange(50)
            made = decision(
                f"a-{chance.randrange(6)}",
                seq=seq,
                issued_at=now_ms,
                effective_at=now_ms + chance.randrange(40),
                expires_at=now_ms + chance.randrange(1, 400),
                state=chance.choice(["active", "active", "revoked"]),
                action=chance.choice(["block", "challenge", "observe"]),
            )
            put(table, made)
            told.touch(("default", "account", made.value))
            copy.take(told, now_ms, down=chance.random() < 0.5)
        copy.take(told, now_ms)
        expected = {(x.record.tenant, x.record.scope, x.record.value): x.action for x in table.leases(now_ms=now_ms)}
        assert copy.held == {key: word for key, word in expected.items() if word != "observe"}

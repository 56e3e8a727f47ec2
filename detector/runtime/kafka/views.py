"""Views: what the output topics say now.

Purpose: the alerts' latest revisions, the current decision of every key, the kill switch, and
what stands behind one decision.
Invariants: as every consumer of these topics must do it: of an alert the highest revision, of
a key the highest `seq`; a tombstone ends a key; what is not of its form is counted, never
guessed. Both are read as committed.
Limits: everything is held in memory.
Source: the contract's life of a decision.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from detector.operators import AllowEntry, Control, overrides
from detector.records import Alert, Decision, SchemaError, decision_key, decode
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.orders_out import CONTROL_KEY
from detector.runtime.kafka.publishing import ALERT_HEADER
from detector.runtime.kafka.reading import read_topic
from detector.runtime.revisions import alert_named, latest
from detector.runtime.sources import InputError


class Held(NamedTuple):
    """A decision as its topic has it now; `decision` is None after a tombstone."""

    decision: Decision | None
    partition: int
    offset: int
    appended_ms: int


class Board(NamedTuple):
    """The current state of the decisions' topic, by key."""

    held: dict[bytes, Held]
    control: Control | None
    unreadable: int

    def in_force(self, now_ms: int) -> list[Decision]:
        """The decisions that act now, as an enforcer would have them."""
        current = (held.decision for held in self.held.values())
        return [d for d in current if d is not None and d.state == "active" and d.expires_at > now_ms]


def board_of(records: Iterable[Any]) -> Board:
    """Fold the records of the decisions' topic."""
    held: dict[bytes, Held] = {}
    seqs: dict[bytes, int] = {}
    control, unreadable = None, 0
    for record in records:
        key, place = record.key or b"", (record.partition, record.offset, record.timestamp)
        try:
            if key == CONTROL_KEY:
                said = decode(record.value, kind=Control) if record.value is not None else None
                control = said if said is None or overrides(said, control) else control
            elif record.value is None:
                held[key] = Held(None, *place)
            else:
                decision = decode(record.value, kind=Decision)
                if decision.seq > seqs.get(key, -1):
                    held[key], seqs[key] = Held(decision, *place), decision.seq
        except SchemaError:
            unreadable += 1
    return Board(held, control, unreadable)


def board(connection: Connection) -> Board:
    """The current state of the decisions' topic."""
    return board_of(read_topic(connection, "decisions"))


def alerts(connection: Connection) -> dict[str, Alert]:
    """The latest revision of every alert that the topic still has, by id, oldest detection first."""
    read = map(alert_of, read_topic(connection, "alerts"))
    return latest(alert for alert in read if alert is not None)


def alert_of(record: Any) -> Alert | None:
    """Read a record of the alerts' topic, by its header where the value is in a foreign format; None for no alert."""
    native = dict(record.headers or ()).get(ALERT_HEADER)
    return _read(record.value if native is None else native, Alert)


def decision_of(record: Any) -> Decision | None:
    """Read a record of a decisions' topic; None for a tombstone, the kill switch, or what is no decision."""
    return _read(record.value, Decision) if record.key != CONTROL_KEY else None


def _read(value: bytes | None, kind: Any) -> Any:
    try:
        return decode(value, kind=kind) if value is not None else None
    except SchemaError:
        return None


def find_alert(connection: Connection, name: str) -> Alert:
    """The latest revision of one alert, by `alert_named`."""
    return alert_named(name, alerts(connection), place=f"on {connection.topic('alerts')}")


class Dossier(NamedTuple):
    """One key: what its topic says, what the log remembers (with offsets), what it came of, who exempts it."""

    key: bytes
    held: Held | None
    log: list[tuple[Decision, int]]
    alerts: list[Alert]
    exemptions: list[AllowEntry]
    control: Control | None


def dossier(connection: Connection, *, key: bytes) -> Dossier:
    """Gather what the topics say about one key."""
    current = board(connection)
    log = [item for item in history(connection) if key_of(item[0]) == key]
    named = {alert_id for decision, _ in log for alert_id in decision.alert_ids}
    known = alerts(connection) if named else {}
    return Dossier(
        key=key,
        held=current.held.get(key),
        log=log,
        alerts=[known[alert_id] for alert_id in sorted(named & set(known))],
        exemptions=[e for e in exemptions(connection).values() if any(covers(e, decision) for decision, _ in log)],
        control=current.control,
    )


def find_decision(connection: Connection, decision_id: str) -> Decision:
    """The newest record of a decision, by its id. Raises `InputError` where the log has none of that id."""
    found = [decision for decision, _ in history(connection) if decision.decision_id == decision_id]
    if not found:
        raise InputError(
            f"no decision {decision_id} on {connection.topic('decision-log')}; `stillwatch decisions list` has them, "
            "and --scope says that a value is meant"
        )
    return max(found, key=lambda decision: decision.seq)


def history(connection: Connection) -> list[tuple[Decision, int]]:
    """Every decision ever logged that is still kept, with its offset; shadow ones included."""
    read = ((decision_of(record), record.offset) for record in read_topic(connection, "decision-log"))
    return [(decision, offset) for decision, offset in read if decision is not None]


def exemptions(connection: Connection) -> dict[bytes, AllowEntry]:
    """The allow-list, by key: the last entry of each; tombstones take theirs away, expired ones stay listed."""
    held: dict[bytes, AllowEntry] = {}
    for record in read_topic(connection, "allow"):
        entry = _read(record.value, AllowEntry)
        held.pop(record.key, None)
        if entry is not None:
            held[record.key] = entry
    return held


def covers(entry: AllowEntry, decision: Decision) -> bool:
    """Whether an exemption covers a decision by its own key: its attributes are known to the judge alone."""
    same = (entry.tenant, entry.scope, entry.value) == (decision.tenant, decision.scope, decision.value)
    return same and (not entry.signatures or bool(set(entry.signatures) & set(decision.signature_ids)))


def touches(entry: AllowEntry, alert: Alert) -> bool:
    """Whether an alert names what an exemption is about: as its entity, a member of its sample, or a link."""
    if entry.tenant != alert.entity.tenant or (
        entry.signatures and not set(entry.signatures) & set(alert.signature_ids)
    ):
        return False
    block = alert.campaign
    named = (alert.entity.scope, alert.entity.value) == (entry.scope, entry.value)
    member = block is not None and entry.scope == "account" and entry.value in block.members_sample
    link = block is not None and any((x.kind, x.value) == (entry.scope, entry.value) for x in block.links)
    return named or member or link


def key_of(entry: AllowEntry | Decision) -> bytes:
    """The key of a record that is about a (tenant, scope, value)."""
    return decision_key(tenant=entry.tenant, scope=entry.scope, value=entry.value)

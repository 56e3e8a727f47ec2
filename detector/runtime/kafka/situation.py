"""Situation: what the topics say now, folded record by record, for a page that stays open.

Purpose: the latest revision of every alert, the newest decision of every key (shadow ones too),
the kill switch, and how far each tenant's judge has come and under which settings.
Invariants: of an alert the highest revision, of a key the highest `seq`; a record twice changes
nothing; what does not read is counted, never guessed. Closed alerts and ended leases leave
after `KEPT_MS`, and beyond the maxima the oldest leave, so memory is bounded.
Limits: what the judge alone knows, such as how many accounts were active, stands on no topic.
Source: the contract's topics and the life of a decision.
"""

import msgspec

from detector.operators import Control, overrides
from detector.records import Alert, Decision, DetectorError, SchemaError, decode
from detector.runtime.kafka.orders_out import CONTROL_KEY
from detector.runtime.kafka.publishing import Progress, read_progress

TOPICS = ("alerts", "decisions", "decision-log", "progress")
KEPT_MS = 86_400_000
HOUR_MS = 3_600_000
ALERTS_MAX = 2_000
DECISIONS_MAX = 200_000
CLOSED = frozenset({"resolved", "suppressed"})


class Situation(msgspec.Struct):
    """The fold; `apply` takes records of any of `TOPICS` in any order."""

    alerts: dict[str, Alert] = {}
    decisions: dict[bytes, Decision] = {}  # what is to be enforced, by key
    log: dict[bytes, Decision] = {}  # the newest of the log, by key: shadow ones too
    blocks: dict[str, tuple[str, int]] = {}  # decision id -> tenant, when it first blocked
    control: Control | None = None
    judges: dict[str, Progress] = {}  # by tenant
    unreadable: dict[str, int] = {}  # by topic

    def apply(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Fold one record; `topic` without prefix."""
        try:
            if topic == "progress" and value is not None:
                one = read_progress(value)
                self.judges[one.tenant] = one
            elif topic == "alerts" and value is not None:
                self._alert(decode(value, kind=Alert))
            elif topic in ("decisions", "decision-log"):
                self._decision(topic, key or b"", value)
        except (SchemaError, DetectorError, ValueError):
            self.unreadable[topic] = self.unreadable.get(topic, 0) + 1

    def _alert(self, alert: Alert) -> None:
        held = self.alerts.get(alert.alert_id)
        if held is None or alert.revision >= held.revision:
            self.alerts[alert.alert_id] = alert

    def _decision(self, topic: str, key: bytes, value: bytes | None) -> None:
        if key == CONTROL_KEY:
            said = decode(value, kind=Control) if value is not None else None
            if said is None or overrides(said, self.control):
                self.control = said
            return
        table = self.decisions if topic == "decisions" else self.log
        if value is None:
            table.pop(key, None)
            return
        decision = decode(value, kind=Decision)
        if key not in table or decision.seq > table[key].seq:
            table[key] = decision
        if decision.action == "block" and decision.state == "active" and decision.origin == "detector":
            self.blocks.setdefault(decision.decision_id, (decision.tenant, decision.issued_at))

    def prune(self, *, now_ms: int) -> None:
        """Let go of what ended long ago, and of the oldest beyond the bounds."""
        last_ms = now_ms - KEPT_MS
        self.alerts = {
            name: a
            for name, a in self.alerts.items()
            if a.status not in CLOSED or max(a.last_seen, a.detected_at) > last_ms
        }
        newest = sorted(
            self.alerts, key=lambda name: (self.alerts[name].status in CLOSED, -self.alerts[name].detected_at)
        )
        for name in newest[ALERTS_MAX:]:
            del self.alerts[name]
        for table in (self.decisions, self.log):
            for key in [key for key, d in table.items() if d.expires_at <= last_ms]:
                del table[key]
            soonest = sorted(table, key=lambda key: table[key].expires_at)
            for key in soonest[: max(0, len(table) - DECISIONS_MAX)]:
                del table[key]
        self.blocks = {name: (t, at) for name, (t, at) in self.blocks.items() if at > now_ms - 2 * HOUR_MS}

    def copy(self) -> "Situation":
        """The same, to be read while this one goes on."""
        return Situation(
            alerts=dict(self.alerts),
            decisions=dict(self.decisions),
            log=dict(self.log),
            blocks=dict(self.blocks),
            control=self.control,
            judges=dict(self.judges),
            unreadable=dict(self.unreadable),
        )

    def active(self, now_ms: int) -> list[Decision]:
        """The leases that run: what is enforced, and of keys that are not, what shadow mode computed."""
        merged = {key: d for key, d in self.log.items() if d.mode == "shadow"} | self.decisions
        return [d for d in merged.values() if d.state == "active" and d.expires_at > now_ms]

"""Metrics: what a process counts and holds, read when somebody scrapes.

Purpose: the one table of metric names, and the collector that fills it from the roles' plain
integers: no call of a metrics library stands in the fold.
Invariants: names and labels are those of `FAMILIES`, `SINK_FAMILIES` and `ENFORCER_FAMILIES`; a
label's values come from the topics, the configuration and closed sets of words, never from an
event, so their number is bounded. A scrape changes nothing.
Limits: a family that a process has nothing to say about has no sample.
Source: Prometheus' rules for names; the operators' handbook for the list.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from detector import __version__, alerts, desk
from detector.accounts import AccountTable
from detector.links import LinkTable, Sample
from detector.records import ACTIONS
from detector.runtime.histogram import Histogram
from detector.runtime.kafka.session import Session
from detector.runtime.kafka.status import Process, caps_of, waiting_for
from detector.runtime.kafka.tally import WORK_S
from detector.signatures.registry import SIGNATURES
from detector.vocabulary import LabelVerdict, RejectReason

PREFIX: Final = "stillwatch_"
KINDS: Final = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "summary": SummaryMetricFamily,
}


class Family(NamedTuple):
    """A metric: its kind, its labels, and what it says."""

    kind: str
    labels: tuple[str, ...]
    help: str


FAMILIES: Final[dict[str, Family]] = {
    "events": Family(
        "counter", ("source", "result"), "Records by source partition: ok, invalid, raw_content; of ok: late, duplicate"
    ),
    "raw_content_rejected": Family("counter", (), "Records refused because they carried text"),
    "events_dead_letter": Family("counter", ("reason",), "Records that went to the dead-letter topic"),
    "consumer_lag_records": Family("gauge", ("topic", "partition"), "Records that are not yet handed to a role"),
    "event_time_lag_seconds": Family("gauge", ("tenant",), "How far the watermark is behind the clock"),
    "watermark_timestamp_seconds": Family("gauge", ("tenant",), "No earlier event will be applied"),
    "late_events": Family("counter", (), "Rows that came too late for their pane"),
    "event_processing_seconds": Family("histogram", ("role",), "From a batch's delivery until it is worked off"),
    "rebalance": Family("counter", ("role",), "How often the group handed out partitions"),
    "signature_seconds": Family("summary", ("signature",), "Time spent in a signature, at discovery"),
    "signature_active": Family("gauge", ("signature", "tenant"), "1 where the log has the fields that it needs"),
    "signature_score": Family("gauge", ("signature",), "The strongest log-odds when it was last asked, 0 or more"),
    "state_keys": Family("gauge", ("store",), "Rows in use"),
    "state_bytes": Family("gauge", ("store",), "Bytes of the rows in use, names left out"),
    "state_evictions": Family("counter", (), "Rows that left a full table"),
    "checkpoint_age_seconds": Family("gauge", ("tenant",), "Since a snapshot was made, or the state was restored"),
    "alerts": Family("counter", ("signature", "severity", "mode"), "Alerts opened, by their strongest signature"),
    "alerts_open": Family("gauge", ("signature", "severity"), "Campaigns that are open and were alerted"),
    "alert_time_to_detect_seconds": Family("histogram", (), "Event time from a campaign's first request to its alert"),
    "labels": Family("counter", ("verdict",), "Analysts' words on alerts of campaigns that are still kept"),
    "precision_estimate": Family("gauge", ("signature",), "Right alerts of those that analysts called right or wrong"),
    "decisions": Family("counter", ("action", "scope", "mode", "origin"), "Decisions published"),
    "decisions_active": Family("gauge", ("action", "scope"), "Leases that stand"),
    "decisions_vetoed": Family("counter", ("reason",), "Times that policy or an operator held a decision back"),
    "blast_radius_ratio": Family("gauge", ("tenant",), "Accounts contained, of those that acted in 24 h"),
    "blocked_tokens_ratio": Family("gauge", ("tenant",), "What the blocked used before, of the tokens of about a day"),
    "blast_radius_cap_hits": Family("counter", (), "Times that a cap held a decision back"),
    "decision_publish_seconds": Family("histogram", (), "From a decision's making until it is committed"),
    "config_info": Family("gauge", ("hash",), "The settings that outcomes depend on"),
    "build_info": Family("gauge", ("version",), "The program"),
    "fingerprint_key_info": Family("gauge", ("key_id",), "A digest of the fingerprint key"),
    "ready": Family("gauge", (), "1 where this worker is ready"),
}
# Of the process that brings alerts to their receivers.
SINK_FAMILIES: Final[dict[str, Family]] = {
    "sink_alerts": Family("counter", ("sink", "result"), "Alerts taken, and parked: refused for good"),
    "sink_retries": Family("counter", ("sink",), "Tries that came to nothing and were, or will be, made again"),
    "sink_lag_records": Family("gauge", ("sink", "partition"), "Records of the alerts' topic that are not yet told"),
    "sink_failing": Family("gauge", ("sink",), "1 while the receiver does not take alerts"),
    "build_info": FAMILIES["build_info"],
    "ready": Family("gauge", (), "1 where every sink has joined its group"),
}
# Of a process that brings decisions to whoever enforces them.
ENFORCER_FAMILIES: Final[dict[str, Family]] = {
    "decision_apply_lag_seconds": Family(
        "histogram", (), "From the judge's sending of a change, or its time of effect, until it is applied"
    ),
    "enforcer_decisions_active": Family("gauge", ("action", "scope"), "Leases in force here"),
    "enforcer_decisions_applied": Family("counter", (), "Records that changed what is held"),
    "enforcer_decisions_unread": Family("counter", (), "Records that do not read, or of scopes unknown here"),
    "enforcer_connected": Family("gauge", (), "1 while the decisions' topic is heard"),
    "enforcer_lag_records": Family("gauge", (), "Records of the decisions' topic that are not yet applied"),
    "enforcer_clock_ahead_seconds": Family("gauge", (), "This machine's clock less the judge's, delivery included"),
    "enforcer_enforcement": Family("gauge", ("state",), "1 for where the kill switch stands"),
    "enforcer_answers": Family("counter", ("answer",), "Gateways' questions, by what they were answered"),
    "enforcer_copy_in_step": Family("gauge", (), "1 while the copy takes decisions"),
    "enforcer_copy_held": Family("gauge", (), "Leases that the copy holds"),
    "enforcer_copy_failures": Family("counter", (), "Tries that the copy did not take; they are made again"),
    "build_info": FAMILIES["build_info"],
    "ready": Family("gauge", (), "1 once decisions are loaded, and the copy was in step"),
}
STORES: Final = ("accounts", "links")
OPERATIONAL: Final = ("operational_cap", "operational_storm")
VETOES: Final = ("allowlist", "approval", "cap", "kill_switch", "lifted", "stale", "tier")


Measured = tuple[str, tuple[str, ...], Any]  # family, values of its labels, number


class Scraped(Collector):
    """Reads a process."""

    def __init__(self, families: Mapping[str, Family], measure: Callable[[], Iterable[Measured]]) -> None:
        """Call `measure` at every scrape."""
        self.families, self.measure = families, measure

    def collect(self) -> Iterable[Metric]:
        """Yield every family, those without samples too."""
        made = {name: KINDS[f.kind](PREFIX + name, f.help, labels=f.labels) for name, f in self.families.items()}
        for name, labels, value in self.measure():
            if isinstance(value, Histogram):
                made[name].add_metric(labels, buckets=value.cumulative(), sum_value=value.total)
            elif isinstance(value, tuple):
                made[name].add_metric(labels, count_value=value[0], sum_value=value[1])
            else:
                made[name].add_metric(labels, value)
        return made.values()


def registry(families: Mapping[str, Family], measure: Callable[[], Iterable[Measured]]) -> CollectorRegistry:
    """A registry of these families alone; `measure` is called at every scrape."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Scraped(families, measure))
    return made


def registry_of(process: Process) -> CollectorRegistry:
    """A worker's registry."""
    return registry(FAMILIES, lambda: samples(process))


def samples(process: Process) -> Iterator[Measured]:
    """Every sample of this moment."""
    tally = process.tally
    yield "config_info", (process.config_hash,), 1
    yield "build_info", (__version__,), 1
    yield "fingerprint_key_info", (process.key_digest,), 1
    yield "ready", (), int(not waiting_for(process))
    yield from _counted("events", tally.events)
    yield "raw_content_rejected", (), tally.dead["raw_content"]
    yield from _counted("events_dead_letter", {(r,): tally.dead[r] for r in get_args(RejectReason)})
    yield "late_events", (), tally.refused["late"]
    for role in process.roles:
        yield "rebalance", (role.name,), tally.rebalances[role.name]
        yield "event_processing_seconds", (role.name,), tally.work.get(role.name, Histogram(WORK_S))
        if process.running and role.application.settled:
            for at in role.application.readings():
                if at.end is not None and at.position is not None:
                    lag = max(0, at.end - at.position)
                    yield "consumer_lag_records", (at.topic, str(at.partition)), lag
    if any(role.name == "judge" for role in process.roles):
        yield from _judged(process)


def _from_zero(labels: Iterable[tuple[str, ...]], counts: Mapping[Any, int]) -> dict[tuple[str, ...], int]:
    """Counts with their zeros: a rate over a series that begins with its first event would miss that one."""
    return {**dict.fromkeys(labels, 0), **counts}


def _counted(name: str, counts: Mapping[Any, int]) -> Iterator[Measured]:
    for labels, number in sorted(counts.items()):
        yield name, labels, number


def _judged(process: Process) -> Iterator[Measured]:
    tally, sessions = process.tally, process.sessions()
    for signature in SIGNATURES:
        timed = tally.signatures.get(signature.id)
        if timed is not None:
            yield "signature_seconds", (signature.id,), (timed.asked, timed.seconds)
            yield "signature_score", (signature.id,), timed.score
    mode = process.settings.mode
    pages = [(s.id, severity) for s in SIGNATURES for severity in ("high", "critical")]
    pages += [(page, "critical") for page in OPERATIONAL]
    yield from _counted("alerts", _from_zero([(*page, mode) for page in pages], tally.alerts))
    actions = [(action, "account", mode, "detector") for action in ACTIONS]
    yield from _counted("decisions", _from_zero(actions, tally.decisions))
    yield "alert_time_to_detect_seconds", (), tally.detected
    yield "decision_publish_seconds", (), tally.published
    yield from _held(sessions)
    yield from labelled(sessions)
    for session in sessions:
        yield from _of_tenant(session)


def _of_tenant(session: Session) -> Iterator[Measured]:
    judge, tenant = session.judge, session.place.tenant
    active, _ = judge.coverage()
    for signature in SIGNATURES:
        yield "signature_active", (signature.id, tenant), int(signature.id in active)
    watermark_ms = judge.buffer.watermark_ms()
    if watermark_ms > 0:  # else no event has come
        yield "watermark_timestamp_seconds", (tenant,), watermark_ms / 1000
        if not all(source.ended for source in judge.buffer.sources.values()):
            yield "event_time_lag_seconds", (tenant,), time.time() - watermark_ms / 1000
    behind = session.next_offset > session.snapshot_offset
    yield "checkpoint_age_seconds", (tenant,), time.monotonic() - session.durable_s if behind else 0.0
    caps = caps_of(judge)
    yield "blast_radius_ratio", (tenant,), caps.contained_share
    yield "blocked_tokens_ratio", (tenant,), caps.blocked_tokens_share


def labelled(sessions: Sequence[Session]) -> Iterator[Measured]:
    """What analysts said of these judges' alerts."""
    desks = [session.judge.cases.desk for session in sessions]
    verdicts = {(verdict,): sum(one.labels.get(verdict, 0) for one in desks) for verdict in get_args(LabelVerdict)}
    yield from _counted("labels", verdicts)
    for signature, share in desk.precision(desks).items():
        yield "precision_estimate", (signature,), share


def _held(sessions: list[Session]) -> Iterator[Measured]:
    """What the judges hold together."""
    opened: Counter[tuple[str, str]] = Counter()
    leases: Counter[tuple[str, str]] = Counter()
    vetoes = dict.fromkeys(VETOES, 0)
    keys: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for judge in (session.judge for session in sessions):
        cases = judge.cases
        for campaign in cases.campaigns.values():
            if campaign.revision and not campaign.closed:
                opened[alerts.strongest(campaign) or "none", campaign.severity] += 1
        leases.update((lease.decision.action, lease.decision.scope) for lease in cases.ledger.leases.values())
        for reason, number in cases.ledger.vetoes.items():
            vetoes[reason] = vetoes.get(reason, 0) + number
        for store in STORES:
            table = getattr(judge, store)
            keys[store] += table.index.live()
            sizes[store] += _bytes_of(table)
    yield from _counted("alerts_open", opened)
    yield from _counted("decisions_active", leases)
    yield from _counted("decisions_vetoed", {(reason,): number for reason, number in vetoes.items()})
    for store in STORES:
        yield "state_keys", (store,), keys[store]
        yield "state_bytes", (store,), sizes[store]
    yield "state_evictions", (), sum(s.judge.accounts.evicted + s.judge.links.evicted for s in sessions)
    yield "blast_radius_cap_hits", (), sum(s.judge.cases.ledger.cap_hits for s in sessions)


def _bytes_of(table: AccountTable | LinkTable) -> int:
    """Bytes of a table's used rows; its other arrays count whole."""
    rows_max, used = table.index.rows_max, table.index.used
    arrays = [array for part in (table, table.index) for array in _arrays(part)]
    return sum(a.nbytes // rows_max * used if a.shape[0] == rows_max else a.nbytes for a in arrays)


def _arrays(part: object) -> Iterator[npt.NDArray[Any]]:
    for value in vars(part).values():
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, Sample):
            yield from value.arrays
        elif isinstance(value, dict):
            yield from value.values()

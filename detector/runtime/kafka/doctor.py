"""Doctor: everything that must be right for a worker to run, one line each, with what to do.

Purpose: `stillwatch doctor`.
Invariants: it changes nothing and joins no group; a check that cannot be made says so and
the others go on; no line holds a secret.
Limits: what is seen is the moment; lag and free disk have thresholds of their own below.
Source: the traps that operators of stream processors report.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError

from detector import __version__
from detector.config import Settings, config_hash
from detector.hashing import key_digest
from detector.records import DetectorError
from detector.runtime.kafka.connection import Connection, client_arguments
from detector.runtime.kafka.publishing import Progress, ProgressError, SnapshotPlace, read_progress
from detector.runtime.kafka.reading import (
    CONNECT_TIMEOUT_MS,
    bounds_of,
    make_consumer,
    newest,
    places_of,
    read_one,
    read_topic,
)
from detector.runtime.kafka.snapshots import read_manifest
from detector.runtime.kafka.topics import check_topics, group_offsets, tenants_of
from detector.snapshot import SnapshotError, header_of
from detector.snapshot.state import Header

CLIENTS: Final = ("faust-streaming", "mode-streaming", "aiokafka", "kafka-python", "crc32c", "cramjam")
ROLES: Final = ("encode", "judge")
NEEDED: Final = ("faust-streaming", "aiokafka", "kafka-python")
KAFKA_TRIED: Final = (4, 1)
CLOCK_WARN_MS, CLOCK_FAIL_MS = 2_000, 30_000
LAG_WARN: Final = 100_000
DISK_WARN_BYTES, DISK_FAIL_BYTES = 4 << 30, 512 << 20

Level = Literal["ok", "warn", "fail"]


class Line(NamedTuple):
    """One check: how it stands, what was found, and what to do."""

    check: str
    level: Level
    found: str
    advice: str = ""


def examine(connection: Connection, settings: Settings, *, key: bytes | None) -> Iterator[Line]:
    """Make every check; the first is the brokers, which the caller has reached. `key` None: none was given."""
    checks: tuple[tuple[str, Callable[[], Iterator[Line]]], ...] = (
        ("brokers", lambda: _brokers(connection)),
        ("libraries", _libraries),
        ("topics", lambda: _topics(connection, settings)),
        ("tenants", lambda: _tenants(connection, settings)),
        ("clock", lambda: _clock(connection)),
        ("schemas", lambda: _schemas(connection)),
        ("groups", lambda: _groups(connection)),
        ("state", lambda: _state(connection, settings, key)),
        ("disk", lambda: _disk(connection)),
    )
    for name, check in checks:
        try:
            yield from check()
        except (DetectorError, KafkaError, OSError) as wrong:
            yield Line(name, "fail", f"cannot be examined: {type(wrong).__name__}: {wrong}", "check ACLs and brokers")


def _admin(connection: Connection) -> Any:
    return closing(KafkaAdminClient(**client_arguments(connection), bootstrap_timeout_ms=CONNECT_TIMEOUT_MS))


def _brokers(connection: Connection) -> Iterator[Line]:
    with _admin(connection) as admin:
        brokers = [broker["broker_id"] for broker in admin.describe_cluster()["brokers"]]
        found = {tuple(admin.get_broker_version_data(broker).broker_version) for broker in brokers}
    versions = ", ".join(".".join(map(str, numbers)) for numbers in sorted(found))
    said = f"{len(brokers)} at {connection.bootstrap}, {connection.security_protocol}, Kafka {versions}"
    old = min(found) < KAFKA_TRIED
    yield Line("brokers", "warn" if old else "ok", said, "older than what this release is tried with" if old else "")


def _libraries() -> Iterator[Line]:
    held = {}
    for name in CLIENTS:
        try:
            held[name] = version(name)
        except PackageNotFoundError:
            held[name] = ""
    said = ", ".join(f"{name} {number or 'missing'}" for name, number in held.items())
    missing = [name for name in CLIENTS if not held[name]]
    level: Level = "ok" if not missing else "fail" if set(missing) & set(NEEDED) else "warn"
    yield Line("libraries", level, f"stillwatch {__version__}, {said}", "install stillwatch[kafka]" if missing else "")


def _topics(connection: Connection, settings: Settings) -> Iterator[Line]:
    for topic, faults in check_topics(connection, settings):
        advice = "`stillwatch topics create`, or alter the topic" if faults else ""
        yield Line(f"topic {topic}", "fail" if faults else "ok", "; ".join(faults) or "as it must be", advice)


def _tenants(connection: Connection, settings: Settings) -> Iterator[Line]:
    tenants = tenants_of(settings)
    with closing(make_consumer(connection)) as consumer:
        partitions = len(places_of(consumer, connection.topic("frames")))
    said = f"{len(tenants)} tenants, {partitions} partitions of {connection.topic('frames')}"
    advice = (
        "add partitions; a tenant's partition is its place in the list of tenants" if partitions < len(tenants) else ""
    )
    yield Line("tenants", "fail" if advice else "ok", said, advice)


def _clock(connection: Connection) -> Iterator[Line]:
    """The brokers' clock is seen in the newest record that they stamped themselves."""
    stamps = [record.timestamp for record in newest(connection, "access") if record.timestamp_type == 1]
    if not stamps:
        yield Line("clock", "ok", "the access topic has no record yet that the brokers stamped")
        return
    ahead_ms = max(stamps) - time.time_ns() // 1_000_000
    advice = "set the clocks by NTP" if ahead_ms > CLOCK_WARN_MS else ""
    level: Level = "fail" if ahead_ms > CLOCK_FAIL_MS else "warn" if advice else "ok"
    when = f"{-ahead_ms / 1000:.1f} s old by our clock" if ahead_ms <= 0 else f"{ahead_ms / 1000:.1f} s in our future"
    yield Line("clock", level, f"the newest access record is {when}", advice)


def _schemas(connection: Connection) -> Iterator[Line]:
    """Our own records' versions, and those of the newest ones on their topics."""
    for topic, ours in (("alerts", "alert.v1"), ("decision-log", "decision.v1")):
        found = {_version_of(record.value) for record in newest(connection, topic) if record.value is not None}
        other = ", ".join(sorted(found - {ours}))
        advice = "another release writes there, or alerts go out in another form" if other else ""
        yield Line(f"schema of {topic}", "warn" if other else "ok", other or f"{ours}, as this release writes", advice)


def _version_of(raw: bytes) -> str:
    try:
        said = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return "no JSON"
    return str(said.get("schema_version", "none")) if isinstance(said, dict) else "no object"


def _groups(connection: Connection) -> Iterator[Line]:
    begun = f"{connection.group}-"
    with _admin(connection) as admin, closing(make_consumer(connection)) as consumer:
        known = {group["group_id"] for group in admin.list_groups() if group["group_id"].startswith(begun)}
        for group in sorted(known | {f"{begun}{role}" for role in ROLES}):
            yield _group(group, group_offsets(admin, group) or {}, consumer)


def _group(group: str, committed: dict[TopicPartition, Any], consumer: Any) -> Line:
    check = f"group {group}"
    if not committed:
        return Line(check, "warn", "has committed nothing yet", "`stillwatch run` begins it")
    topics = sorted({place.topic for place in committed})
    bounds = bounds_of(consumer, [place for topic in topics for place in places_of(consumer, topic)])
    offsets = {place: max(said.offset, 0) for place, said in committed.items()}
    lag = sum(stop - max(offsets.get(place, first), first) for place, (first, stop) in bounds.items())
    lost = sum(max(first - offsets.get(place, first), 0) for place, (first, _) in bounds.items())
    if lost:
        return Line(
            check, "fail", f"{lost:,} records went before they were read", "keep the topic longer than an outage"
        )
    late = lag > LAG_WARN
    return Line(check, "warn" if late else "ok", f"{lag:,} records behind", "add workers, or wait" if late else "")


def _progress(connection: Connection) -> dict[int, Progress]:
    """The newest progress record of each partition."""
    return {
        record.partition: read_progress(record.value)
        for record in read_topic(connection, "progress")
        if record.value is not None
    }


def _state(connection: Connection, settings: Settings, key: bytes | None) -> Iterator[Line]:
    name = key_digest(key) if key is not None else ""
    if key is None:
        yield Line("key", "fail", "no fingerprint key", "set STILLWATCH_FINGERPRINT_KEY, or --key-file")
    else:
        yield Line("key", "ok", f"the fingerprint key's digest is {name}")
    try:
        found = _progress(connection)
    except ProgressError as wrong:
        yield Line("state", "fail", str(wrong), "run the release that wrote it, or start with new topics")
        return
    for partition, progress in sorted(found.items()):
        yield from _state_of(connection, partition, progress, settings, name)
    if not found:
        yield Line("state", "ok", "no judge has published yet")


def _state_of(
    connection: Connection, partition: int, progress: Progress, settings: Settings, name: str
) -> Iterator[Line]:
    check = f"state of {progress.tenant}"
    said = f"published up to frame {progress.frame_offset} by stillwatch {progress.version}"
    if progress.snapshot is None:
        yield Line(check, "ok", f"{said}, no snapshot yet")
        return
    try:
        maker = _maker(connection, partition, progress.snapshot)
    except SnapshotError as wrong:
        yield Line(check, "fail", f"{said}; {wrong}", "see the topic's retention; is this the release that runs?")
        return
    said += f"; snapshot {progress.snapshot.generation} with key {maker.key}, settings {maker.config_hash}"
    if name and maker.key != name:
        yield Line(check, "fail", said, f"use the fingerprint key that it was made with: yours is {name}")
    elif maker.config_hash != config_hash(settings):
        yield Line(
            check, "warn", said, f"your settings are {config_hash(settings)}: is this the worker's configuration?"
        )
    else:
        yield Line(check, "ok", said)


def _maker(connection: Connection, partition: int, place: SnapshotPlace) -> Header:
    """Who made the newest snapshot. Raises `SnapshotError` where it is not on its topic."""
    topic = connection.topic("snapshots")
    where = f"{topic}/{partition} at {place.manifest_offset}"
    said = read_one(connection, topic, partition=partition, offset=place.manifest_offset)
    newest = read_manifest(said and said.value, where=where).chain[-1]
    chunk = read_one(connection, topic, partition=partition, offset=newest.first_offset)
    if chunk is None or chunk.value is None:
        raise SnapshotError(f"generation {newest.number} is not on {topic}/{partition} at {newest.first_offset}")
    return header_of(chunk.value)


def _disk(connection: Connection) -> Iterator[Line]:
    place = Path(connection.state_directory).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    advice = "make room: snapshots are written here before they are sent" if free < DISK_WARN_BYTES else ""
    level: Level = "fail" if free < DISK_FAIL_BYTES else "warn" if advice else "ok"
    yield Line("disk", level, f"{free / (1 << 30):.1f} GiB free at {place}", advice)

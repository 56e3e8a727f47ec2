"""The topics: what each one must be like; to create them and to check them.

Purpose: one table of names, partitions and settings, held against a cluster.
Invariants: creating twice changes nothing; an existing topic is never altered, only
compared, because its records and its readers are somebody's.
Limits: replication is the brokers' default unless given.
Source: the contract's table of topics; Kafka's topic configuration.
"""

import time
from typing import Any, Final, NamedTuple

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import CoordinatorNotAvailableError, KafkaError

from detector.config import Settings
from detector.encode import DEFAULT_TENANT
from detector.records import DetectorError
from detector.runtime.kafka.connection import Connection, client_arguments

DAY_MS: Final = 86_400_000
ACCESS_PARTITIONS: Final = 8
BOOTSTRAP_TIMEOUT_MS: Final = 5_000
COORDINATOR_TRIES, COORDINATOR_WAIT_S = 40, 0.25
# A frame is split before it reaches this; a record of 1 MiB and its headers fit easily.
FRAME_RECORD_BYTES_MAX: Final = 8 << 20
ACCESS_RECORD_BYTES_MAX: Final = 2 << 20

_DELETE: Final = {"cleanup.policy": "delete"}
_COMPACT: Final = {"cleanup.policy": "compact"}


class TopicError(DetectorError):
    """The cluster cannot be reached, or refuses; the message says what."""


class TopicSpec(NamedTuple):
    """What a topic must be like."""

    name: str
    partitions: int
    configs: dict[str, str]


class Finding(NamedTuple):
    """One topic held against its specification; `faults` is empty where it fits."""

    topic: str
    faults: tuple[str, ...]


def tenants_of(settings: Settings) -> tuple[str, ...]:
    """The configured tenants, in the order of their partitions.

    >>> tenants_of(Settings())
    ('default',)
    """
    return settings.tenants or (DEFAULT_TENANT,)


def specifications(settings: Settings, *, access_partitions: int = ACCESS_PARTITIONS) -> tuple[TopicSpec, ...]:
    """The topics of an installation, without prefix."""
    tenants = len(tenants_of(settings))

    def kept(days: int, **more: str) -> dict[str, str]:
        return {**_DELETE, "retention.ms": str(days * DAY_MS), **{k.replace("_", "."): v for k, v in more.items()}}

    stamped = {"message_timestamp_type": "LogAppendTime"}
    small = {**_COMPACT, "segment.bytes": str(16 << 20)}
    return (
        TopicSpec("access", access_partitions, kept(7, max_message_bytes=str(ACCESS_RECORD_BYTES_MAX), **stamped)),
        # The broker's stamps on frames tell encode the broker's clock.
        TopicSpec("frames", tenants, kept(2, max_message_bytes=str(FRAME_RECORD_BYTES_MAX + (1 << 20)), **stamped)),
        TopicSpec("alerts", 1, kept(30)),
        TopicSpec("decisions", 1, {**_COMPACT, "delete.retention.ms": str(DAY_MS)}),
        TopicSpec("decision-log", 1, kept(30)),
        TopicSpec("dead-letter", 1, kept(7)),
        TopicSpec("allow", 1, {**_COMPACT, "message.timestamp.type": "LogAppendTime"}),
        TopicSpec("commands", 1, kept(30, **stamped)),
        TopicSpec("labels", 1, {**_COMPACT, "message.timestamp.type": "LogAppendTime"}),
        TopicSpec("progress", tenants, small),
        TopicSpec("snapshots", tenants, {**_COMPACT, "segment.bytes": str(64 << 20)}),
    )


def _admin(connection: Connection) -> KafkaAdminClient:
    try:
        return KafkaAdminClient(**client_arguments(connection), bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS)
    except KafkaError as wrong:
        raise TopicError(f"no broker answers at {connection.bootstrap}: {wrong}; check --bootstrap") from wrong


def create_topics(
    connection: Connection, settings: Settings, *, access_partitions: int = ACCESS_PARTITIONS, replication: int = -1
) -> list[str]:
    """Create the topics that are missing; returns their names. Raises `TopicError`."""
    admin = _admin(connection)
    try:
        held = set(admin.list_topics())
        wanted = {
            connection.topic(spec.name): {
                "num_partitions": spec.partitions,
                "replication_factor": replication,
                "configs": spec.configs,
            }
            for spec in specifications(settings, access_partitions=access_partitions)
            if connection.topic(spec.name) not in held
        }
        if wanted:
            admin.create_topics(wanted, wait_for_metadata=True)
    except KafkaError as wrong:
        raise TopicError(f"topics on {connection.bootstrap} cannot be created: {wrong}") from wrong
    finally:
        admin.close()
    return sorted(wanted)


def check_topics(connection: Connection, settings: Settings) -> list[Finding]:
    """Hold every topic against its specification. Raises `TopicError` where the cluster does not answer."""
    admin = _admin(connection)
    try:
        specs = {connection.topic(spec.name): spec for spec in specifications(settings)}
        held = set(admin.list_topics()) & set(specs)
        partitions = {t["name"]: len(t["partitions"]) for t in admin.describe_topics(sorted(held))} if held else {}
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(held)]
        configs = admin.describe_configs(asked, config_filter="all") if held else {}
    except KafkaError as wrong:
        raise TopicError(f"topics on {connection.bootstrap} cannot be described: {wrong}") from wrong
    finally:
        admin.close()
    found = {name: {k: str(v["value"]) for k, v in values.items()} for name, values in configs.get("topic", {}).items()}
    return [
        Finding(name, _faults(spec, partitions.get(name), found.get(name, {}))) for name, spec in sorted(specs.items())
    ]


def _faults(spec: TopicSpec, partitions: int | None, found: dict[str, str]) -> tuple[str, ...]:
    if partitions is None:
        return ("missing; `stillwatch topics create` makes it",)
    faults = []
    # The access topic is the gateway's: any number of partitions serves.
    if spec.name != "access" and partitions < spec.partitions:
        faults.append(f"{partitions} partitions, at least {spec.partitions} are needed (one for each tenant)")
    faults += [
        f"{key}={found.get(key)}, expected {spec.configs[key]}"
        for key in ("cleanup.policy", "message.timestamp.type")
        if key in spec.configs and found.get(key) != spec.configs[key]
    ]
    faults += [
        f"{key}={found.get(key)}, at least {spec.configs[key]} is needed"
        for key in ("max.message.bytes", "retention.ms")
        if key in spec.configs and 0 <= int(found.get(key) or 0) < int(spec.configs[key])
    ]
    return tuple(faults)


def group_offsets(admin: KafkaAdminClient, group: str) -> Any:
    """What a group has committed; a cluster that never had a group needs a moment to make room for one."""
    for _ in range(COORDINATOR_TRIES):
        try:
            return admin.list_group_offsets([group]).get(group)
        except CoordinatorNotAvailableError:
            time.sleep(COORDINATOR_WAIT_S)
    return admin.list_group_offsets([group]).get(group)


def begin_at_end(connection: Connection) -> None:
    """Let a new encode group begin at the end of the access topic; a group that has begun goes on where it was.

    The position is written down once, for every partition: left to each worker's start, the records
    between two starts would be nobody's. Raises `TopicError`.
    """
    group, topic = f"{connection.group}-encode", connection.topic("access")
    admin = _admin(connection)
    try:
        if not group_offsets(admin, group):
            (described,) = admin.describe_topics([topic])
            partitions = [TopicPartition(topic, p["partition_index"]) for p in described["partitions"]]
            admin.reset_group_offsets(group, dict.fromkeys(partitions, OffsetSpec.LATEST))
    except KafkaError as wrong:
        raise TopicError(f"group {group}: {wrong}; does {topic} exist?") from wrong
    finally:
        admin.close()

"""What operators write: commands, exemptions, labels, the kill switch.

Purpose: one record at a time onto the operators' topics, durable before the command ends.
Invariants: a record is what `schemas/` says, within the bounds that its readers keep; keys
are the contract's. `stillwatch.decisions` gets the kill switch from here and nothing else.
Limits: whoever may write these topics can switch enforcement off: ACLs hold that, not this program.
Source: the contract's table of topics.
"""

from contextlib import closing
from typing import Final

from kafka import KafkaProducer

from detector.operators import (
    RECORD_BYTES_MAX,
    VALUE_BYTES_MAX,
    AllowEntry,
    Command,
    Control,
    Indicator,
    Label,
    missing_fields,
)
from detector.records import SchemaError, decision_key, encode
from detector.runtime.kafka.connection import Connection, client_arguments

CONTROL_KEY: Final = b"__control__"
SEND_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_MS: Final = 10_000
Headers = list[tuple[str, bytes]]


def send(
    connection: Connection, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers | None = None
) -> tuple[int, int]:
    """Write one record to one of our topics; returns its partition and offset once every replica has it."""
    arguments = client_arguments(connection)
    producer = KafkaProducer(**arguments, bootstrap_timeout_ms=CONNECT_TIMEOUT_MS, acks="all", max_request_size=2 << 20)
    with closing(producer):
        sent = producer.send(connection.topic(topic), key=key, value=value, headers=headers or [])
        said = sent.get(timeout=SEND_TIMEOUT_S)
    return said.partition, said.offset


def _checked(record: AllowEntry | Label | Command | Control | Indicator) -> bytes:
    """A record's bytes, within bounds. Raises `SchemaError`."""
    value = getattr(record, "value", None) or ""
    if len(value.encode()) > VALUE_BYTES_MAX:
        raise SchemaError(f"the value has {len(value.encode())} bytes, at most {VALUE_BYTES_MAX} are taken")
    raw = encode(record)
    if len(raw) > RECORD_BYTES_MAX:
        raise SchemaError(f"the record has {len(raw)} bytes, at most {RECORD_BYTES_MAX} are taken")
    return raw


def command(connection: Connection, record: Command, *, key: tuple[str, str]) -> tuple[int, int]:
    """Ask the judge for something; `key` is the (scope, value) that it is about. Raises `SchemaError`."""
    missing = missing_fields(record)
    if missing:
        raise SchemaError(f"command {record.command} needs {', '.join(missing)}")
    scope, value = key
    named = decision_key(tenant=record.tenant, scope=scope, value=value)
    return send(connection, "commands", key=named, value=_checked(record))


def allow(connection: Connection, entry: AllowEntry) -> tuple[int, int]:
    """Put an exemption on the allow-list. Raises `SchemaError`."""
    key = decision_key(tenant=entry.tenant, scope=entry.scope, value=entry.value)
    return send(connection, "allow", key=key, value=_checked(entry))


def disallow(connection: Connection, *, tenant: str, scope: str, value: str) -> tuple[int, int]:
    """Take an exemption back: its tombstone."""
    return send(connection, "allow", key=decision_key(tenant=tenant, scope=scope, value=value), value=None)


def indicator(connection: Connection, record: Indicator) -> tuple[int, int]:
    """Ask the judge to watch a link that others named. Raises `SchemaError`."""
    key = decision_key(tenant=record.tenant, scope=record.kind, value=record.value)
    return send(connection, "commands", key=key, value=_checked(record))


def label(connection: Connection, record: Label) -> tuple[int, int]:
    """Write an analyst's word on an alert."""
    return send(connection, "labels", key=record.alert_id.encode(), value=_checked(record))


def switch(connection: Connection, record: Control) -> tuple[int, int]:
    """Turn the kill switch: straight on the topic that enforcers read, and for the judges among their commands.

    No judge is needed: the record on the decisions' topic is durable before the other is written.
    """
    raw = _checked(record)
    place = send(connection, "decisions", key=CONTROL_KEY, value=raw)
    send(connection, "commands", key=CONTROL_KEY, value=raw)
    return place

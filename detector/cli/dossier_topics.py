"""A campaign's case file out of the topics."""

from contextlib import suppress

from detector.cli.dossier import with_traffic
from detector.operators import Label
from detector.records import SchemaError, decode
from detector.runtime.kafka import views
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import read_topic
from detector.runtime.sources import InputError
from detector.tuning.dossier import CaseFile, case_file


def from_topics(alert_id: str, connection: Connection, *, events: list[str], key: bytes) -> CaseFile:
    """The case file of what the topics hold; the traffic comes from `events`, where there are any."""
    read = (views.alert_of(record) for record in read_topic(connection, "alerts"))
    decisions = [decision for decision, _ in views.history(connection)]
    case = case_file(
        alert_id, alerts=[a for a in read if a is not None], members=(), decisions=decisions, labels=_labels(connection)
    )
    if case is None:
        raise InputError(f"no alert {alert_id!r} on {connection.topic('alerts')}; `stillwatch alerts list` has them")
    return with_traffic(case, events, key=key)


def _labels(connection: Connection) -> list[Label]:
    """The labels that hold: of each alert the last one."""
    held: dict[bytes, Label] = {}
    for record in read_topic(connection, "labels"):
        held.pop(record.key or b"", None)
        with suppress(SchemaError):
            if record.value is not None:
                held[record.key or b""] = decode(record.value, kind=Label)
    return list(held.values())

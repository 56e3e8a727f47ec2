"""`stillwatch alerts show ID --dossier`: a campaign told in full, from a replay's directory or the topics."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from detector.cli.common import EXIT_INPUT, EXIT_USAGE, fail, of_run, read_key
from detector.cli.output import Listing
from detector.hashing import key_digest
from detector.operators import Label
from detector.records import DetectorError, SchemaError, decode
from detector.runtime.explain import NotFoundError, read_run
from detector.runtime.kafka import views
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.reading import read_topic
from detector.runtime.printing import json_text, printable
from detector.tuning.dossier import CaseFile, accounts_of, case_file, dossier
from detector.tuning.dossier_text import markdown
from detector.tuning.traffic import traffic, walk


def from_folder(alert_id: str, folder: Path, *, events: list[str], key: bytes) -> CaseFile:
    """The case file of a replay; the traffic comes from `events`, else from the inputs that its manifest names.

    Raises `DetectorError` or `OSError`.
    """
    run = read_run(folder)
    case = case_file(alert_id, alerts=run.alerts, members=run.members, decisions=run.decisions)
    if case is None:
        known = ", ".join(sorted({a.alert_id for a in run.alerts}))
        raise NotFoundError(f"no alert {alert_id!r} in this run; it has: {known or 'none'}")
    inputs = events or [name for name in run.inputs if Path(name).is_file()]
    if not events and inputs and run.hash_key != key_digest(key):
        raise NotFoundError(f"{folder} was made with another fingerprint key: give its --key-file")
    return _with_traffic(case, inputs, key=key)


def from_topics(alert_id: str, connection: Connection, *, events: list[str], key: bytes) -> CaseFile:
    """The case file of what the topics hold; the traffic comes from `events`, where there are any."""
    read = (views.alert_of(record) for record in read_topic(connection, "alerts"))
    decisions = [decision for decision, _ in views.history(connection)]
    case = case_file(
        alert_id, alerts=[a for a in read if a is not None], members=(), decisions=decisions, labels=_labels(connection)
    )
    if case is None:
        raise NotFoundError(f"no alert {alert_id!r} on {connection.topic('alerts')}; `stillwatch alerts list` has them")
    return _with_traffic(case, events, key=key)


def _labels(connection: Connection) -> list[Label]:
    """The labels that hold: of each alert the last one."""
    held: dict[bytes, Label] = {}
    for record in read_topic(connection, "labels"):
        held.pop(record.key or b"", None)
        with suppress(SchemaError):
            if record.value is not None:
                held[record.key or b""] = decode(record.value, kind=Label)
    return list(held.values())


def _with_traffic(case: CaseFile, inputs: list[str], *, key: bytes) -> CaseFile:
    if not inputs:
        return case
    tenant = case.alert.entity.tenant
    return case._replace(traffic=traffic(walk(inputs, key=key), tenant=tenant, members=accounts_of(case), key=key))


def write_dossier(case: CaseFile, output: Listing | None) -> None:
    """Write a dossier: Markdown, or JSON where it is asked for; another form ends the program with 2."""
    told = dossier(case)
    if output in (None, Listing.human):
        sys.stdout.write(markdown(told))
    elif output is Listing.csv:
        raise fail("a dossier is Markdown (-o human) or JSON (-o json)", code=EXIT_USAGE)
    else:
        sys.stdout.write(json_text(told, indent=output is Listing.json) + "\n")


def show_case(
    alert_id: str,
    *,
    folder: Path | None,
    events: list[str],
    key_file: Path | None,
    connect: Callable[[], Connection],
    output: Listing | None,
) -> None:
    """Write the dossier of an alert: from a replay's directory, else from the topics that `connect` reaches."""
    key, _ = read_key(key_file)
    if folder is not None:
        with of_run(folder):
            write_dossier(from_folder(alert_id, folder, events=events, key=key), output)
        return
    try:
        write_dossier(from_topics(alert_id, connect(), events=events, key=key), output)
    except (DetectorError, OSError) as wrong:
        raise fail(printable(str(wrong)), code=EXIT_INPUT) from wrong

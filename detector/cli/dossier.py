"""`stillwatch alerts show ID --dossier`: a campaign told in full, from a replay's directory or the topics."""

import sys
from pathlib import Path

from detector.cli.common import EXIT_USAGE, fail
from detector.cli.output import Listing
from detector.hashing import key_digest
from detector.runtime.explain import NotFoundError, read_run
from detector.runtime.printing import json_text
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
    return with_traffic(case, inputs, key=key)


def with_traffic(case: CaseFile, inputs: list[str], *, key: bytes) -> CaseFile:
    """The case file with what its accounts sent, where there is a log to read. Raises `DetectorError` or `OSError`."""
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

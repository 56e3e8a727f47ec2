"""Revisions: the newest word of every alert, wherever alerts were read from.

Purpose: what lists and pages show of a log of alerts, a topic's or a run's.
Invariants: of an alert the highest revision counts, however often it comes.
Limits: everything is held in memory.
Source: the record contract: `(alert_id, revision)` is idempotent.
"""

from collections.abc import Iterable, Mapping

from detector.records import Alert
from detector.runtime.sources import InputError


def latest(revisions: Iterable[Alert]) -> dict[str, Alert]:
    """The latest revision of every alert, by id, oldest detection first."""
    held: dict[str, Alert] = {}
    for alert in revisions:
        if alert.alert_id not in held or held[alert.alert_id].revision <= alert.revision:
            held[alert.alert_id] = alert
    return dict(sorted(held.items(), key=lambda item: (item[1].detected_at, item[0])))


def alert_named(name: str, known: Mapping[str, Alert], *, place: str) -> Alert:
    """An alert by its id, or a campaign's by the campaign's. Raises `InputError` where there is none at `place`."""
    campaigns = (a for a in known.values() if a.kind == "campaign" and a.entity.value == name)
    found = known.get(name) or next(campaigns, None)
    if found is None:
        raise InputError(f"no alert {name} {place}; `stillwatch alerts list --all` has them")
    return found

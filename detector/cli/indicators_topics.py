"""What `stillwatch indicators` reads from topics, and writes to them."""

from pathlib import Path

from detector.cli.dossier_topics import from_topics
from detector.cli.live import connect, exits
from detector.operators import Indicator
from detector.runtime.kafka import orders_out
from detector.tuning.dossier import CaseFile


def case_of(
    alert_id: str, *, events: list[str], key: bytes, config: Path | None, bootstrap: str | None, prefix: str | None
) -> CaseFile:
    """An alert's case file, out of the topics."""
    with exits():
        return from_topics(alert_id, connect(config, bootstrap=bootstrap, prefix=prefix), events=events, key=key)


def send(made: list[Indicator], *, config: Path | None, bootstrap: str | None, prefix: str | None) -> None:
    """Ask the judge to watch links."""
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    with exits():
        for record in made:
            orders_out.indicator(connection, record)

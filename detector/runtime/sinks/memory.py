"""What each sink was told, kept on disk.

Purpose: of each alert the newest revision that a sink took, and what the sink must know for the
next one (a Slack thread, an Alertmanager's labels).
Invariants: what is written is durable before the topic's offset is committed, so a revision that
comes again after a crash is known. One file for all sinks of an installation.
Limits: alerts that were last told of `KEPT_MS` ago are forgotten: the topic no longer has them.
Source: SQLite's write-ahead log.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

FILE: Final = "sinks.sqlite"
KEPT_MS: Final = 60 * 86_400_000


class Told(NamedTuple):
    """The newest revision that a sink took of an alert; `note` is the sink's own."""

    revision: int
    note: dict[str, Any]


class Memory:
    """One sink's part of the file."""

    def __init__(self, directory: Path, *, sink: str) -> None:
        """Open or make the file. Raises `OSError` or `sqlite3.Error` where that cannot be."""
        directory.mkdir(parents=True, exist_ok=True)
        self.sink = sink
        self._file = sqlite3.connect(directory / FILE, isolation_level=None, timeout=30)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=FULL")
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS told (sink TEXT, alert TEXT, revision INTEGER, note BLOB, at_ms INTEGER,"
            " PRIMARY KEY (sink, alert)) WITHOUT ROWID"
        )
        self._file.execute("DELETE FROM told WHERE at_ms < ?", (_now_ms() - KEPT_MS,))

    def get(self, alert_id: str) -> Told | None:
        """What the sink knows of an alert."""
        found = self._file.execute(
            "SELECT revision, note FROM told WHERE sink = ? AND alert = ?", (self.sink, alert_id)
        ).fetchone()
        return Told(found[0], orjson.loads(found[1])) if found is not None else None

    def put(self, alert_id: str, told: Told) -> None:
        """Remember; durable on return."""
        row = (self.sink, alert_id, told.revision, orjson.dumps(told.note), _now_ms())
        self._file.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?)", row)

    def all(self) -> dict[str, Told]:
        """Everything that the sink knows, by alert."""
        rows = self._file.execute("SELECT alert, revision, note FROM told WHERE sink = ? ORDER BY alert", (self.sink,))
        return {alert: Told(revision, orjson.loads(note)) for alert, revision, note in rows}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

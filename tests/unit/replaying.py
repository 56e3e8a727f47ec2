"""What the tests of the command line share: a small log with a campaign in it, and ways to run the program.

The log is the laws' world: nine hours of 24 ordinary accounts, over which 16 harvest for five.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from click.testing import Result
from typer.testing import CliRunner

from detector.__main__ import app
from detector.cli.common import KEY_VARIABLE
from detector.config import Settings, TableSettings, VerdictSettings
from detector.runtime.json_text import json_lines
from detector.runtime.writer import EventWriter
from tests.laws.streams import world

TABLES = TableSettings(accounts_max=2_048, links_max=4_096, promoted_max=256, admission_cells=1 << 12)
# Whatever is a candidate becomes a campaign: these tests ask how outcomes travel, not what is found.
SETTINGS = Settings(tables=TABLES, verdict=VerdictSettings(threshold=-20.0, families_min=1))
SMALL = (
    *(
        word
        for name in ("accounts_max", "links_max", "promoted_max", "admission_cells")
        for word in ("--set", f"tables.{name}={getattr(TABLES, name)}")
    ),
    *("--set", "verdict.threshold=-20.0", "--set", "verdict.families_min=1"),
)
OUTCOME = ("alerts.jsonl", "decisions.jsonl", "members.jsonl")
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")


@cache
def batch() -> pa.RecordBatch:
    """The log's events in time order."""
    return world(0, sources=1, disturbed=False).batches["s-0"]


@cache
def lines() -> tuple[bytes, ...]:
    """The log's events as lines without their ends."""
    return tuple(bytes(json_lines(batch())).splitlines())


def write_log(path: Path, rows: pa.RecordBatch | None = None) -> Path:
    """A log file by its ending; `rows` or the whole log."""
    with EventWriter(path) as writer:
        writer.write(batch() if rows is None else rows)
    return path


def write_lines(path: Path, content: tuple[bytes, ...] | list[bytes]) -> Path:
    """A log file of these lines."""
    path.write_bytes(b"".join(line + b"\n" for line in content))
    return path


def with_fields(line: bytes, **fields: Any) -> bytes:
    """The event of a line with fields added, replaced or (None) taken away."""
    event = json.loads(line) | fields
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


def run(*arguments: object, text: bytes = b"", **environment: str) -> Result:
    """The program, in this process."""
    words = [str(a) for a in arguments]
    return CliRunner().invoke(app, words, input=text, env={"COLUMNS": "200", KEY_VARIABLE: "", **environment})


def replay(*arguments: object, text: bytes = b"", **environment: str) -> Result:
    """`stillwatch replay` with small tables."""
    return run("replay", *arguments, "--no-progress", *SMALL, text=text, **environment)


def start(*arguments: object, **environment: str) -> "subprocess.Popen[bytes]":
    """The program as a process of its own, and its own process group, as a terminal's job is."""
    return subprocess.Popen(
        [sys.executable, "-m", "detector", *(str(a) for a in arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {KEY_VARIABLE: ""} | environment,
    )


def outcome(folder: Path) -> dict[str, bytes]:
    """The files of a run that are equal for equal input."""
    return {name: (folder / name).read_bytes() for name in OUTCOME}


def rejects(folder: Path) -> list[dict[str, Any]]:
    """A run's rejects."""
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_bytes().splitlines()]


def assert_one_sentence(result: Result, code: int) -> str:
    """The program ended with this code and one line on standard error; returns the line."""
    said = str(result.stderr)
    assert result.exit_code == code, said
    assert said.startswith("error: "), said
    assert said.count("\n") == 1, said
    return said

"""Scores of a run's directory, and the command that prints them."""

from pathlib import Path

import orjson
import pyarrow as pa
from typer.testing import CliRunner

from detector.__main__ import app
from detector.config import Settings
from detector.events import SCHEMA
from detector.hashing import DEVELOPMENT_KEY
from detector.records import encode, format_time
from detector.runtime.feed import ALWAYS
from detector.runtime.outcome import manifest
from detector.runtime.writer import EventWriter
from detector.tuning.evaluate import evaluate
from detector.tuning.scoring import score_run
from tests.unit.test_evaluate import HOUR_MS, START_MS, small_world


def run_directory(folder: Path) -> Path:
    """The small world's run as a replay leaves it, its events and its labels beside it."""
    world = small_world()
    rows = pa.Table.from_batches(world["events"])
    ids = pa.array([f"u{at}" for at in range(rows.num_rows)])
    with EventWriter(folder / "events.parquet") as writer:
        for batch in rows.set_column(0, "event_id", ids).to_batches():
            writer.write(pa.RecordBatch.from_arrays(batch.columns, schema=SCHEMA))
    for name, kept in (("alerts", world["alerts"]), ("decisions", world["decisions"]), ("members", world["members"])):
        (folder / f"{name}.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in kept))
    about = manifest(
        [str(folder / "events.parquet")],
        settings=Settings(),
        key=DEVELOPMENT_KEY,
        command=[],
        operators=None,
        window_ms=ALWAYS,
        approve_after_ms=-1,
    )
    (folder / "manifest.json").write_bytes(orjson.dumps(about))
    span = {"first_event": format_time(START_MS), "last_event": format_time(START_MS + 9 * HOUR_MS)}
    (folder / "metrics.json").write_bytes(orjson.dumps({"events": rows.num_rows, **span}))
    (folder / "labels.csv").write_text("account_id,campaign,population\nx1,k,h\nx2,k,h\nb1,,chat\n")
    return folder


def test_a_run_is_scored_from_its_files_and_keeps_its_scores(tmp_path: Path) -> None:
    folder = run_directory(tmp_path)
    scores = score_run(folder, labels=folder / "labels.csv", inputs=[], key=DEVELOPMENT_KEY)
    beside = {"leaked_output_tokens_before_detection", "timeline_window_ms"}
    assert {name: value for name, value in scores.items() if name not in beside} == evaluate(**small_world())
    assert beside <= set(scores)
    metrics = orjson.loads((folder / "metrics.json").read_bytes())
    assert metrics["events"] == 40
    assert metrics["scores"] == orjson.loads(orjson.dumps(scores))


def test_a_limited_run_is_scored_on_what_it_saw(tmp_path: Path) -> None:
    folder = run_directory(tmp_path)
    span = {"first_event": format_time(START_MS), "last_event": format_time(START_MS + 3 * HOUR_MS)}
    (folder / "metrics.json").write_bytes(orjson.dumps(span))
    scores = score_run(folder, labels=folder / "labels.csv", inputs=[], key=DEVELOPMENT_KEY)
    assert scores["events"] == 16
    assert scores["leak"] == 1.0


def test_a_run_is_scored_with_approval_beside_without(tmp_path: Path) -> None:
    runner, log = CliRunner(), tmp_path / "log"
    made = ["--accounts", "60", "--no-twins", "--days", "0.5", "--attackers", "20", "--per-day", "200"]
    assert runner.invoke(app, ["generate", "templated", "--out", str(log), "--format", "parquet", *made]).exit_code == 0
    out = tmp_path / "run"
    events, labels = str(log / "events.parquet"), str(log / "labels.csv")
    assert runner.invoke(app, ["replay", events, "--out", str(out), "--no-progress"]).exit_code == 0
    command = ["evaluate", str(out), "--labels", labels, "--approve-after", "5m"]
    done = runner.invoke(app, [*command, "-o", "json"])
    assert done.exit_code == 0, done.output
    scores = orjson.loads(done.stdout)
    assert scores["approved"]["leak"] <= scores["leak"]
    assert scores["approved"]["events"] == scores["events"]
    again = runner.invoke(app, ["evaluate", str(out / "approved-after-300s"), *command[2:]])
    assert again.exit_code == 3
    assert "--approve-after" in again.stderr


def test_the_command_prints_scores_and_says_what_is_wrong(tmp_path: Path) -> None:
    folder = run_directory(tmp_path)
    runner = CliRunner()
    done = runner.invoke(app, ["evaluate", str(folder), "--labels", str(folder / "labels.csv")])
    assert done.exit_code == 0
    assert "k: 2 accounts, 20 requests, found after 4.0 h and 10 requests; leak 70.0 %" in done.stdout.replace(
        "\n", " "
    )
    assert "note: no report: " in done.stderr  # the directory is not a whole run's
    machine = runner.invoke(app, ["evaluate", str(folder), "--labels", str(folder / "labels.csv"), "-o", "json"])
    assert orjson.loads(machine.stdout)["leak"] == 0.7
    (folder / "bad.csv").write_text("name\na\n")
    bad = runner.invoke(app, ["evaluate", str(folder), "--labels", str(folder / "bad.csv")])
    assert bad.exit_code == 3
    assert "account_id or event_id" in bad.stderr
    missing = runner.invoke(app, ["evaluate", str(tmp_path / "none"), "--labels", str(folder / "labels.csv")])
    assert missing.exit_code == 3

"""A replay's directory on a terminal: read without brokers, on narrow terminals, and when it is damaged."""

import json
from pathlib import Path

import pytest

from detector.cli.output import Listing, write_rows
from tests.unit.paging import labelled_run
from tests.unit.replaying import assert_one_sentence, run, start


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_run(tmp_path_factory.mktemp("runs"))


def test_alerts_of_a_replay_are_listed_and_shown_by_their_own_or_their_campaign_s_id(ran: Path) -> None:
    first, *_ = json.loads(run("alerts", "list", "--in", ran).stdout)
    known = [json.loads(line) for line in (ran / "alerts.jsonl").read_bytes().splitlines()]
    assert first["revision"] == max(a["revision"] for a in known if a["alert_id"] == first["alert_id"])
    page = run("alerts", "show", first["entity"]["value"], "--in", ran, "-o", "human")
    assert page.exit_code == 0, page.output
    assert f"{first['alert_id']} revision {first['revision']}" in page.stdout
    assert json.loads(run("alerts", "show", first["alert_id"], "--in", ran).stdout) == first
    said = assert_one_sentence(run("alerts", "show", "nobody", "--in", ran), 3)
    assert f"no alert nobody in {ran}" in said


def test_a_page_fits_a_narrow_terminal(ran: Path) -> None:
    first, *_ = json.loads(run("alerts", "list", "--in", ran).stdout)
    page = run("alerts", "show", first["alert_id"], "--in", ran, "-o", "human", COLUMNS="60").stdout
    assert max(len(line.rstrip()) for line in page.splitlines()) <= 60
    words = {line.split()[0] for line in page.splitlines() if "█" in line}
    assert words == {item["family"] for item in first["evidence"]}


def test_decisions_of_a_replay_are_held_against_its_log(ran: Path) -> None:
    log = ran.parent / "log.jsonl"
    told = json.loads(run("decisions", "simulate", log, "--in", ran).stdout)
    assert told["total"]["requests"] == sum(tier["requests"] for tier in told["tiers"])
    assert 0 < told["total"]["contained"] <= told["total"]["requests"]
    people = run("decisions", "simulate", log, "--in", ran, "--top", 1, "-o", "human").stdout
    assert f"{told['keys'] - 1} more keys: --top" in people
    assert f"{told['total']['contained']:,} contained" in people
    assert_one_sentence(run("decisions", "simulate", log, "--in", ran, "--current"), 2)


@pytest.mark.parametrize(
    "words", [("alerts", "list", "--in"), ("explain", "alert", "x", "--in"), ("report",), ("evaluate",)], ids=" ".join
)
def test_what_is_no_run_is_asked_about(tmp_path: Path, words: tuple[str, ...]) -> None:
    more = ("--labels", tmp_path / "labels.csv") if words == ("evaluate",) else ()
    for folder in (tmp_path, tmp_path / "none"):
        assert f"is {folder} a replay's directory?" in assert_one_sentence(run(*words, folder, *more), 3)


def test_a_damaged_file_is_named_with_its_line(ran: Path, tmp_path: Path) -> None:
    for path in ran.glob("*.json*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (tmp_path / "alerts.jsonl").read_bytes()
    (tmp_path / "alerts.jsonl").write_bytes(whole + b'{"schema_version"')
    said = assert_one_sentence(run("explain", "alert", "x", "--in", tmp_path), 3)
    assert f"{tmp_path / 'alerts.jsonl'} line {whole.count(bytes([10])) + 1}: not a record of Alert" in said


def test_explanations_are_for_programs_too(ran: Path) -> None:
    first, *_ = json.loads(run("alerts", "list", "--in", ran).stdout)
    told = json.loads(run("explain", "alert", first["alert_id"], "--in", ran, "-o", "json").stdout)
    human = run("explain", "alert", first["alert_id"], "--in", ran).stdout
    assert human == "\n".join(told["said"]) + "\n"


def test_a_listing_that_is_wider_than_the_terminal_is_written_record_by_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"a": "x" * 18, "n": 5, "m": "z"}, {"a": "y", "n": None, "m": None}]
    columns = {"name": "a", "count": "n", "word": "m"}
    for width, said in (
        ("40", f"name{' ' * 16}count  word\n{'x' * 18}      5  z\ny\n"),
        ("26", f"name   {'x' * 18}\ncount  5\nword   z\n\nname  y\n"),
    ):
        monkeypatch.setenv("COLUMNS", width)
        write_rows(rows, columns, Listing.human, nothing="")
        assert "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.splitlines()) == said


def test_progress_is_json_for_programs(ran: Path, tmp_path: Path) -> None:
    process = start("replay", ran.parent / "log.jsonl", "--out", tmp_path / "run")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    first = json.loads(errors.splitlines()[0])
    assert set(first) == {"share", "events", "events_per_s", "event_time", "alerts", "left_s"}
    assert first["events"] > 0

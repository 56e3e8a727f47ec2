"""The report of a run: what it says with labels and without, that it is sound, and that nothing becomes markup."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from detector.pages.report import report_page, write_report
from detector.pages.run_files import read_files
from detector.pages.scores import Judged, curve, recall_at
from detector.records import SchemaError
from detector.runtime.printing import printable
from tests.hostile_strings import HOSTILE
from tests.unit.paging import Read, chunks, hostile_run, labelled_run, report_of
from tests.unit.replaying import assert_one_sentence, batch, outcome, replay, run

PARTS = (
    *("overview", "alerts", "leak", "truth", "false", "missed", "thresholds", "signatures", "decisions", "data"),
    *("settings", "compared", "reproduce"),
)
BYTES_MAX = 5_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_run(tmp_path_factory.mktemp("report"))


@pytest.fixture
def unlabelled(folder: Path, tmp_path: Path) -> Path:
    """The same run, as if no labels had been given."""
    out = tmp_path / "plain"
    shutil.copytree(folder, out)
    (out / "accounts.parquet").unlink()
    metrics = json.loads((out / "metrics.json").read_bytes())
    del metrics["scores"]
    (out / "metrics.json").write_text(json.dumps(metrics))
    return out


def words_of(page: str) -> str:
    return " ".join("".join(Read(page).texts).split())


def test_a_replay_writes_its_report_with_every_part(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    sections = [dict(attributes)["id"] for tag, attributes in Read(page).elements if tag == "section"]
    assert sections == list(PARTS)
    assert len(page.encode()) < BYTES_MAX


def test_equal_files_give_an_equal_report_and_the_verb_writes_it_anew(folder: Path, tmp_path: Path) -> None:
    before = (folder / "report.html").read_bytes()
    result = run("report", folder, "--out", tmp_path / "again.html")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "again.html").read_bytes() == before


def test_the_file_loads_and_runs_nothing(folder: Path) -> None:
    elements = Read((folder / "report.html").read_text()).elements
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "img", "iframe", "link", "object", "embed", "form", "base", "audio", "video"}
    addresses = [value for _, attributes in elements for name, value in attributes if name in ("href", "src", "action")]
    assert all(value is not None and value.startswith("#") for value in addresses)
    assert not [
        name for _, attributes in elements for name, _ in attributes if name.startswith("on") or name == "style"
    ]
    policy = next(
        dict(a)["content"]
        for tag, a in elements
        if tag == "meta" and ("content" in dict(a)) and "http-equiv" in dict(a)
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_every_drawing_has_a_name_words_and_its_numbers(folder: Path) -> None:
    page = read_files(folder)
    plots = [p for s in report_page(page).sections for b in s.blocks if b.kind == "plots" for p in b.plots]
    assert {p.name for p in plots} >= {"precision-recall", "roc", "threshold", "verdicts", "decisions-over-time"}
    for plot in plots:
        assert plot.title in plot.svg.unescape()
        assert plot.says in plot.svg.unescape()
        assert plot.data.rows, plot.name
        assert all(len(row) == len(plot.data.columns) for row in plot.data.rows)


def test_headings_go_down_one_by_one_and_every_table_has_a_caption_and_headed_rows(folder: Path) -> None:
    elements = Read((folder / "report.html").read_text()).elements
    levels = [int(tag[1]) for tag, _ in elements if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit()]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    tags = [tag for tag, _ in elements]
    assert tags.count("table") == tags.count("caption") > 10
    assert all("scope" in dict(attributes) for tag, attributes in elements if tag == "th")
    names = [value for _, attributes in elements for name, value in attributes if name == "id"]
    assert len(names) == len(set(names))


def test_without_labels_it_says_what_cannot_be_known(unlabelled: Path) -> None:
    write_report(unlabelled)
    said = words_of((unlabelled / "report.html").read_text())
    assert "No labels were given, so this report says what the detector found and not whether it is right" in said
    assert "Whether a decision was wrong only labels can tell" in said
    assert said.count("No labels were given: this cannot be known") == 3
    for known in ("Against the labels", "Innocent accounts that were hit", "Campaigns it missed"):
        assert known in said


def test_what_the_labels_count_is_what_the_log_holds(folder: Path) -> None:
    accounts = pyarrow.parquet.read_table(folder / "accounts.parquet").to_pylist()
    names = batch().column("account_id").to_pylist()
    tokens = batch().column("output_tokens").to_pylist()
    for row in accounts:
        mine = [t for n, t in zip(names, tokens, strict=True) if n == row["account_id"]]
        assert (row["requests"], row["output_tokens"]) == (len(mine), sum(t or 0 for t in mine))
        assert row["campaign"] == ("harvest" if row["account_id"].startswith("h") else "")
    assert sum(row["requests"] for row in accounts) == len(names)
    line = pyarrow.parquet.read_table(folder / "timeline.parquet").to_pylist()
    whole = [row for row in line if row["campaign"] is None]
    assert (sum(row["requests"] for row in whole), sum(row["output_tokens"] for row in whole)) == (
        len(names),
        sum(t or 0 for t in tokens),
    )
    line = [row for row in line if row["campaign"] is not None]
    harvest = [row for row in accounts if row["campaign"] == "harvest"]
    assert sum(row["output_tokens"] for row in line) == sum(row["output_tokens"] for row in harvest)
    scores = json.loads((folder / "metrics.json").read_bytes())["scores"]
    assert (
        sum(row["contained"] for row in harvest) == sum(row["requests"] for row in harvest) - scores["leaked_requests"]
    )
    assert 0 < scores["leaked_output_tokens_before_detection"] <= sum(row["output_tokens"] for row in line)


def test_a_campaign_that_was_missed_is_listed_with_a_reason(folder: Path) -> None:
    said = words_of((folder / "report.html").read_text())
    assert "unseen" in said
    assert "too small: no pool under 8 accounts or 40 requests is judged (0 and 0)" in said


def test_scores_stand_beside_the_outcome_and_what_an_earlier_run_derived_does_not_stay(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    result = replay(folder.parent / "log.jsonl", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert outcome(out) == outcome(folder)
    assert (out / "scores.parquet").read_bytes() == (folder / "scores.parquet").read_bytes()
    assert not (out / "accounts.parquet").exists()
    # The time line is every run's; labels only add to it.
    plain, labelled = (pyarrow.parquet.read_table(at / "timeline.parquet").to_pylist() for at in (out, folder))
    known = ("window_start_ms", "requests", "output_tokens")
    assert plain
    assert [[row[name] for name in known] for row in plain] == [
        [row[name] for name in known] for row in labelled if row["campaign"] is None
    ]
    assert {row["contained_output_tokens"] for row in plain} == {None}
    assert "No labels were given" in (out / "report.html").read_text()


def test_scores_have_every_account_and_the_pools(folder: Path) -> None:
    rows = pyarrow.parquet.read_table(folder / "scores.parquet").to_pylist()
    accounts = {row["value"]: row for row in rows if row["kind"] == "account"}
    assert set(accounts) == set(batch().column("account_id").to_pylist())
    members = {json.loads(raw)["account_id"] for raw in (folder / "members.jsonl").read_bytes().splitlines()}
    assert members
    assert all(accounts[name]["log_odds"] is not None for name in members)
    assert any(row["kind"] != "account" and row["families"] is not None for row in rows)


def test_recall_is_known_only_where_there_are_innocents_enough() -> None:
    found = curve(Judged(np.array([5.0, 4.0, 3.0, 3.0, -1.0, -1.0]), np.array([True, True, False, True, False, False])))
    assert found.thresholds.tolist() == [5.0, 4.0, 3.0, -1.0]
    assert found.hits.tolist() == [1, 2, 3, 3]
    assert found.false.tolist() == [0, 0, 1, 3]
    assert recall_at(found, fpr=0.34) == 1.0
    assert recall_at(found, fpr=0.1) is None


def test_a_run_without_an_event_has_a_report_and_cannot_be_scored(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("nonsense\n")
    (tmp_path / "labels.csv").write_text("account_id,campaign\na-1,x\n")
    out, labels = tmp_path / "out", ("--labels", tmp_path / "labels.csv")
    result = replay(tmp_path / "bad.jsonl", "--out", out, *labels)
    assert result.exit_code == 3
    assert "no record was accepted" in result.stderr
    assert "not_json" in words_of((out / "report.html").read_text())
    assert "nothing to score" in assert_one_sentence(run("evaluate", out, *labels), 3)


# --- strings of strangers ------------------------------------------------------


@pytest.mark.parametrize(
    "texts", list(chunks([text for text in HOSTILE.values() if text], 40)), ids=["first", "second"]
)
def test_a_hostile_string_is_text_wherever_it_stands(folder: Path, texts: list[str]) -> None:
    held = read_files(folder)
    page = Read(report_of(hostile_run(held, texts)))
    harmless = Read(report_of(hostile_run(held, [f"plain {number}" for number in range(len(texts))])))
    assert page.open == []
    assert [element for element in page.elements if element[0] != "path"] == [
        element for element in harmless.elements if element[0] != "path"
    ]
    said = "".join(page.texts)
    assert all(printable(text).strip() in said for text in texts)
    assert printable(said.replace("\n", " ")) == said.replace("\n", " ")


def test_a_report_stays_small_whatever_the_log_names(folder: Path) -> None:
    held = read_files(folder)
    page = report_of(hostile_run(held, [f"{number:05d}{'<' * 251}" for number in range(600)]))
    assert len(page.encode()) < BYTES_MAX
    assert "The first 200 of 600 rows." in page


def test_a_damaged_or_missing_directory_is_an_error_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    for words in (("report", tmp_path), ("diff", folder, tmp_path)):
        result = run(*words)
        assert result.exit_code == 3, result.stderr
        assert "is " in result.stderr
        assert "a replay's directory?" in result.stderr
    out = tmp_path / "damaged"
    shutil.copytree(folder, out)
    (out / "alerts.jsonl").write_text("{")
    with pytest.raises(SchemaError, match="damaged"):
        read_files(out)
    assert run("report", out).exit_code == 3


# --- two runs ------------------------------------------------------------------


def test_a_run_does_not_differ_from_itself(folder: Path) -> None:
    result = run("diff", folder, folder, "-o", "json", "--fail-if", "differences>0")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["differences"] == 0
    assert said["settings"] == []
    assert all(one["change"] in (0, None) for one in said["numbers"].values())


def test_a_stricter_run_says_what_is_gone_and_what_leaks(folder: Path, tmp_path: Path) -> None:
    strict = labelled_run(tmp_path, "--set", "verdict.threshold=50.0")
    result = run("diff", folder, strict, "-o", "json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    alerts = {json.loads(raw)["alert_id"] for raw in (folder / "alerts.jsonl").read_bytes().splitlines()}
    assert {one["alert_id"] for one in said["alerts_gone"]} <= alerts
    assert said["alerts"]["gone"] == len(said["alerts_gone"]) > 0
    assert said["targets"]["milder"] == len(said["targets_changed"]) > 0
    assert {"name": "verdict.threshold", "before": "-20.0", "after": "50.0"} in said["settings"]
    assert said["numbers"]["leak"]["change"] > 0
    for gate, code in (("numbers.leak.change>0.01", 1), ("alerts.new>0", 0), ("leak>0", 2), ("nonsense", 2)):
        assert run("diff", folder, strict, "--fail-if", gate).exit_code == code, gate
    text = run("diff", folder, strict).stdout
    assert "gone" in text
    assert "points" in text
    result = run("report", strict, "--against", folder)
    assert result.exit_code == 0, result.stderr
    assert "verdict.threshold" in words_of((strict / "report.html").read_text())

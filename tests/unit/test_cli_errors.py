"""The command line's errors: one sentence, the exit code of the contract, no trace, nothing overwritten."""

import json
import re
from pathlib import Path

import pytest

from detector.runtime.replay import FILES
from tests.unit.replaying import assert_one_sentence, lines, outcome, replay, run, with_fields, write_lines, write_log

LOG = ("log.jsonl",)
BAD = b"account_id,colour\na,blue\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("none.jsonl", "--out", "run"), 3, r"input none\.jsonl: No such file or directory; check the path"),
        ((".", "--out", "run"), 3, r"input \. is a directory; name its files"),
        (("log.csv", "--out", "run"), 3, r"input log\.csv has an ending that says no format; expected one of \.jsonl"),
        (("no.parquet", "--out", "run"), 3, r"input no\.parquet does not begin as a Parquet file does"),
        (("kafka://b:9092/t?from=x", "--out", "run"), 3, r"from is neither an offset nor a time: time 'x'"),
        (("log.jsonl", "log.jsonl", "--out", "run"), 2, r"an input is named twice"),
        (("log.jsonl", "--out", "log.jsonl/run"), 4, r"log\.jsonl/run: Not a directory"),
        (("log.jsonl", "--out", "log.jsonl"), 4, r"log\.jsonl: File exists"),
        (("log.jsonl", "--out", "run", "--config", "none.toml"), 2, r"configuration none\.toml: No such file"),
        (("log.jsonl", "--out", "run", "--config", "bad.toml"), 2, r"bad\.toml: settings are not TOML: .*line 1"),
        (("log.jsonl", "--out", "run", "--config", "odd.toml"), 2, r"odd\.toml: settings: .*unknown field `colour`"),
        (("log.jsonl", "--out", "run", "--config", "log.csv"), 2, r"log\.csv: .*utf-8"),
        (("log.jsonl", "--out", "run", "--set", "tables.colour=1"), 2, r"unknown field `colour` - at `\$\.tables`"),
        (("log.jsonl", "--out", "run", "--set", "pane_ms"), 2, r"--set 'pane_ms' must look like a\.b=value"),
        (("log.jsonl", "--out", "run", "--set", "pane_ms=ten"), 2, r"Expected `int`, got `str` - at `\$\.pane_ms`"),
        (("log.jsonl", "--out", "run", "--set", "pane_ms=7000"), 2, r"discovery_ms=60_000 is not a multiple of pane"),
        (("log.jsonl", "--out", "run", "--set", "seed=1", "--set", "seed.a=1"), 2, r"seed is a value, not a table"),
        (("log.jsonl", "--out", "run", "--key-file", "log.jsonl"), 2, r"log\.jsonl must hold 64 hex digits"),
        (("log.jsonl", "--out", "run", "--labels", "none.csv"), 3, r"labels none\.csv: no such file; check the path"),
        (
            ("log.jsonl", "--out", "run", "--labels", "bad.csv"),
            3,
            r"labels bad\.csv: .*they need account_id or event_id",
        ),
        (("-", "--out", "run", "--labels", "bad.csv"), 2, r"--labels needs inputs that can be read twice"),
        (("empty.jsonl", "--out", "run"), 3, r"no record was accepted"),
        (
            ("log.jsonl", "--out", "run", "--since", "2099-01-01T00:00:00Z"),
            3,
            r"no event lies between --since and --until",
        ),
        (("log.jsonl", "--out", "run", "--since", "2099"), 2, r"--since: time '2099' is not RFC 3339"),
        (("refused.jsonl", "--out", "run"), 3, r"no record was accepted \(see rejects\.jsonl\)"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(Path("log.jsonl"), lines()[:3])
    write_lines(Path("refused.jsonl"), [b"x", b"[]"])
    for name, data in {
        "log.csv": b"\xff\xfe",
        "no.parquet": b"PK\3\4 and so on",
        "bad.toml": b"= 1",
        "odd.toml": b'colour = "blue"',
        "bad.csv": BAD,
        "empty.jsonl": b"",
    }.items():
        Path(name).write_bytes(data)
    assert re.search(said, assert_one_sentence(run("replay", *words, "--no-progress"), code))


@pytest.mark.parametrize(
    "words", [(), ("nothing",), ("replay",), ("replay", "x.jsonl"), ("replay", "x.jsonl", "--out", "r", "-o", "yaml")]
)
def test_wrong_usage_is_two(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert "Usage" in done.output
    assert "Traceback" not in done.output


def test_what_cannot_start_leaves_an_earlier_run_as_it_was(tmp_path: Path) -> None:
    log, out = write_log(tmp_path / "log.jsonl"), tmp_path / "run"
    assert replay(log, "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert sorted(before) == sorted(FILES)
    for words in ((tmp_path / "none.jsonl",), (log, "--set", "x=1"), (log, "--labels", tmp_path / "none.csv")):
        assert replay(*words, "--out", out).exit_code in {2, 3}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_gate_fails_with_one(tmp_path: Path) -> None:
    log = write_lines(tmp_path / "log.jsonl", lines()[:20])
    for gate, code in (("events>=20", 1), ("events>20", 0), ("rejects.not_json>0", 2), ("events", 2), ("alerts>x", 2)):
        done = replay(log, "--out", tmp_path / "run", "--fail-if", gate)
        assert done.exit_code == code, (gate, done.output)
        assert "Traceback" not in done.output


def test_a_program_reads_the_metrics(tmp_path: Path) -> None:
    log = write_lines(tmp_path / "log.jsonl", [*lines()[:20], b"x"])
    done = replay(log, "--out", tmp_path / "run", "-o", "json")
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)
    assert metrics == json.loads((tmp_path / "run" / "metrics.json").read_bytes())
    assert (metrics["events"], metrics["rejects"]) == (20, {"not_json": 1})


def test_strings_of_a_log_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2J[bold]x\u202e"
    content = []
    for line in lines():
        account = json.loads(line)["account_id"]
        content.append(with_fields(line, account_id=evil + account, tenant=evil))
    log = write_lines(tmp_path / "log.jsonl", content)
    done = replay(log, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert outcome(tmp_path / "run")["alerts.jsonl"]
    assert not {"\x1b", "\u202e"} & set(done.output)
    assert "[bold]x" in done.stdout


@pytest.mark.parametrize("manifest", [b"{", b"[]", b"{}", b'{"inputs": 7}'])
def test_a_folder_that_is_no_run_is_told_apart(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(manifest)
    said = assert_one_sentence(run("explain", "account", "a", "--in", tmp_path), 3)
    assert "is not a run's manifest" in said

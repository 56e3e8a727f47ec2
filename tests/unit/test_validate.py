"""Validate: counts that an operator can trust, from the command line too."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.fingerprint import Content, fingerprint
from detector.hashing import DEVELOPMENT_KEY
from detector.runtime import validate as subject
from detector.runtime.validate import coverage, survey
from detector.signatures.registry import BY_ID
from tests.unit.replaying import ENDINGS, batch, lines, run, write_log

START_MS = 1_795_269_600_000


class Needs(NamedTuple):
    """A signature, as far as coverage asks."""

    id: str
    needs: tuple[str, ...]

    def missing(self, present: frozenset[str]) -> tuple[str, ...]:
        """The fields that are not there."""
        return tuple(name for name in self.needs if name not in present)


SIGNATURES = (Needs("x1_none", ()), Needs("x2_ip", ("client_ip",)), Needs("x3_text", ("template_fp", "org_id")))


def event(seconds: float, account: str = "a", **more: object) -> dict[str, Any]:
    """An event some seconds after the start."""
    time_ms = START_MS + round(seconds * 1000)
    return {"event_id": f"{seconds}", "event_time": time_ms, "account_id": account, "request_model": "m", **more}


def log(path: Path, events: list[Any]) -> str:
    """A log of these events; strings are lines as they are."""
    path.write_text("".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in events))
    return str(path)


def test_a_survey_counts_fields_rejects_order_and_accounts(tmp_path: Path) -> None:
    one = log(
        tmp_path / "1.jsonl", [event(0), event(9, "b", client_ip="::1"), event(3.9), event(4, tenant="t"), "x", "y"]
    )
    two = log(tmp_path / "2.jsonl", [event(-60, "c"), "[]", event(0, client_ip="?")])
    report = survey([one, two]).report(SIGNATURES)
    assert report.rows == 5
    assert [(r.reason, r.records, [p.line for p in r.first]) for r in report.rejects] == [
        ("not_json", 2, [5, 6]),
        ("bad_value", 1, [3]),
        ("not_object", 1, [2]),
    ]
    assert (report.accounts, report.accounts_exact, report.tenants) == (3, True, ("default", "t"))
    assert (report.first_time, report.last_time) == ("2026-11-21T13:59:00.000Z", "2026-11-21T14:00:09.000Z")
    assert (report.late, report.backwards) == (1, 1)  # 3.9 s is more than 5 s behind 9 s, 4 s is not
    assert [(i.rows, i.rejects, i.late) for i in report.inputs] == [(4, 2, 1), (1, 2, 0)]
    assert (report.fill["client_ip"], report.fill["event_id"], report.fill["org_id"]) == (0.2, 1.0, 0.0)
    assert report.coverage.active == ("x1_none", "x2_ip")
    assert [(s.signature, s.missing) for s in report.coverage.off] == [("x3_text", ("template_fp", "org_id"))]


def test_raw_text_counts_as_what_it_will_become(tmp_path: Path) -> None:
    events = [event(0, content={"prompt": "p"}), event(1, content={"system": "s"}, system_prompt_fp="x"), event(2)]
    report = survey([log(tmp_path / "1.jsonl", events)]).report(SIGNATURES)
    assert report.raw_text_rows == 2
    assert report.fill["template_fp"] == report.fill["system_prompt_fp"] == round(1 / 3, 6)
    assert report.fill["output_run_fps"] == 0


def test_what_counts_as_filled_is_what_fingerprinting_fills() -> None:
    text = pa.array(["Write a short poem about the sea and the wind in the evening."])
    made = fingerprint(Content(text, text, text), key=DEVELOPMENT_KEY)
    assert sorted(made) == sorted(name for names in subject.FROM_TEXT.values() for name in names)


@pytest.mark.parametrize("records", [1, 2, 3, 4, 9])
def test_a_sample_reads_the_first_records(tmp_path: Path, records: int) -> None:
    name = log(tmp_path / "1.jsonl", [event(0), "x", event(1, content={"prompt": "p"}), "y", event(2)])
    seen = survey([name], sample=records)
    assert seen.records == min(records, 5)
    report = seen.report(())
    assert (report.rows, report.raw_text_rows) == ([1, 1, 2, 2, 3][min(records, 5) - 1], int(records > 2))
    assert report.sampled == (records < 5)


def test_accounts_beyond_the_bound_are_at_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "ACCOUNTS_MAX", 3)
    report = survey([log(tmp_path / "1.jsonl", [event(n, f"a{n}") for n in range(9)])]).report(())
    assert not report.accounts_exact
    assert report.accounts >= 3


def test_nothing_seen_is_no_coverage() -> None:
    report = survey([]).report(SIGNATURES)
    assert (report.rows, report.first_time, report.coverage.active) == (0, None, ("x1_none",))
    assert coverage({}, SIGNATURES).off[0].missing == ("client_ip",)


def test_the_command_prints_for_people_and_programs(tmp_path: Path) -> None:
    name = log(tmp_path / "1.jsonl", [event(0), "x", event(1, "b", client_ip="10.0.0.1")])
    human = run("validate", name)
    assert human.exit_code == 0, human.stderr
    for words in (
        b"2 events of 2 accounts, 1 rejects",
        b"not_json",
        b"line 2 byte 0",
        b"client_ip",
        b"signatures active",
    ):
        assert words in human.stdout_bytes
    machine = run("validate", "-", "-o", "json", "--sample", "1", text=Path(name).read_bytes())
    assert machine.exit_code == 0, machine.stderr
    answer = json.loads(machine.stdout)
    assert (answer["rows"], answer["sampled"], answer["fill"]["event_id"]) == (1, True, 1.0)


def test_the_command_says_what_is_wrong_with_an_input(tmp_path: Path) -> None:
    missing = run("validate", str(tmp_path / "none.jsonl"))
    assert (missing.exit_code, missing.stdout) == (3, "")
    assert b"No such file" in missing.stderr_bytes
    empty = run("validate", log(tmp_path / "1.jsonl", ["x"]))
    assert empty.exit_code == 3
    assert b"no record was accepted" in empty.stderr_bytes


def test_fingerprint_drops_the_text_and_warns_about_the_key(tmp_path: Path) -> None:
    words = "Write a short poem about the sea and the wind in the evening."
    name = log(tmp_path / "1.jsonl", [event(0, content={"prompt": words}), event(1), "x"])
    out = tmp_path / "out.parquet"
    done = run("fingerprint", name, "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert b"PUBLISHED DEVELOPMENT KEY" in done.stderr_bytes
    assert b"2 events, 1 with text fingerprinted, 1 rejects 1 not_json" in done.stderr_bytes
    assert b"poem" not in out.read_bytes()
    keyed = run("fingerprint", name, "--out", "-", STILLWATCH_FINGERPRINT_KEY="ab" * 32)
    assert b"WARNING" not in keyed.stderr_bytes
    first, second = (json.loads(line) for line in keyed.stdout.splitlines())
    assert len(first["template_fp"]) == 32
    assert first["prompt_chars"] == len(words)
    assert "content" not in first
    assert "prompt_fp" not in second
    rows = survey([str(out)]).report(())
    assert (rows.rows, rows.fill["template_fp"], rows.raw_text_rows) == (2, 0.5, 0)


def test_fingerprint_refuses_a_bad_key_or_output(tmp_path: Path) -> None:
    name = log(tmp_path / "1.jsonl", [event(0)])
    key = tmp_path / "key"
    key.write_text("12")
    for arguments, code in (
        (("--out", "-", "--key-file", str(key)), 2),
        (("--out", str(tmp_path / "x.csv")), 2),
        (("--out", "-", "--key-file", str(tmp_path / "none")), 2),
    ):
        assert run("fingerprint", name, *arguments).exit_code == code
    assert run("fingerprint", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "x.jsonl")).exit_code == 3
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize("ending", [*ENDINGS, "-"])
def test_every_kind_of_input_is_reported_equally(tmp_path: Path, ending: str) -> None:
    name = str(write_log(tmp_path / f"log{ending}")) if ending != "-" else "-"
    done = run("validate", name, "-o", "json", text=b"\n".join(lines()) if name == "-" else b"")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    (source,) = report["inputs"]
    assert source["source"] == name
    assert (report["rows"], source["rows"], report["rejects"]) == (len(batch()), len(batch()), [])
    assert report["accounts"] == len(set(batch().column("account_id").to_pylist()))
    filled = {n: round(1 - batch().column(n).null_count / len(batch()), 6) for n in batch().schema.names}
    filled["tenant"] = 1.0  # "default", where a log has none
    assert report["fill"] == filled
    present = frozenset(name for name, share in filled.items() if share > 0)
    blind = [signature.id for signature in BY_ID.values() if signature.missing(present)]
    assert [off["signature"] for off in report["coverage"]["off"]] == blind


def test_rejects_of_a_table_are_named_by_row(tmp_path: Path) -> None:
    events = [event(0), event(1), event(2, "x" * 300), event(3)]
    events[1]["account_id"] = None
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist([e | {"output_tokens": 1 - n} for n, e in enumerate(events)]), path)
    done = run("validate", str(path))
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "1 events of 1 accounts, 3 rejects (75.00%)" in said
    assert "missing_field 1 row 1 (account_id)" in said
    assert "row 2 (account_id)" in said
    assert "bad_value 1 row 3 (output_tokens)" in said


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst"])
def test_a_damaged_input_is_reported_as_far_as_it_reads_and_ends_with_three(tmp_path: Path, ending: str) -> None:
    log = write_log(tmp_path / f"log{ending}")
    whole = write_log(tmp_path / "whole.jsonl")
    log.write_bytes(log.read_bytes()[:-20])
    done = run("validate", str(log), str(whole))
    assert done.exit_code == 3
    assert "truncated_input" in done.stdout
    assert "truncated or corrupt" in done.stderr
    made = run("fingerprint", str(log), str(whole), "--out", str(tmp_path / "out.jsonl"))
    assert made.exit_code == 3
    assert "1 rejects 1 truncated_input" in made.stderr
    assert "what could be read was fingerprinted" in made.stderr
    assert survey([str(tmp_path / "out.jsonl")]).records >= len(batch())

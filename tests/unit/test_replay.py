"""Replay: equal events give equal outcomes, whatever they come in, and nothing is lost silently."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from detector.hashing import DEVELOPMENT_KEY
from detector.runtime import replay as engine
from detector.runtime import sources
from tests.unit.replaying import (
    ENDINGS,
    OUTCOME,
    SETTINGS,
    batch,
    lines,
    outcome,
    rejects,
    replay,
    run,
    with_fields,
    write_lines,
    write_log,
)

DEEP = b'{"ext":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
GOOD = lines()[300]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run of the log gives."""
    folder = tmp_path_factory.mktemp("expected")
    done = replay(write_log(folder / "log.jsonl"), "--out", folder / "run")
    assert done.exit_code == 0, done.output
    made = outcome(folder / "run")
    assert all(made.values())
    return made


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_events_give_equal_outcomes_from_every_kind_of_file(
    tmp_path: Path, ending: str, expected: dict[str, bytes]
) -> None:
    done = replay(write_log(tmp_path / f"log{ending}"), "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert outcome(tmp_path / "run") == expected
    assert rejects(tmp_path / "run") == []


def test_standard_input_is_a_log_too(tmp_path: Path, expected: dict[str, bytes]) -> None:
    text = b"\n".join(lines())
    for number, given in enumerate((text, gzip.compress(text, 1))):
        done = replay("-", "--out", tmp_path / str(number), text=given)
        assert done.exit_code == 0, done.output
        assert outcome(tmp_path / str(number)) == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_and_workers_change_nothing(
    tmp_path: Path, workers: int, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr("detector.runtime.sources_streams.PIECE_BYTES", 10_000)
    ranges = []
    engine.replay(
        [str(write_log(tmp_path / "log.jsonl"))],
        out=tmp_path / "run",
        settings=SETTINGS,
        key=DEVELOPMENT_KEY,
        workers=workers,
        progress=ranges.append,
    )
    assert len(ranges) > 10
    assert outcome(tmp_path / "run") == expected


def test_several_inputs_are_merged_in_event_time_in_whatever_order_they_are_named(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    owner = np.random.default_rng(1).integers(0, 3, len(batch()))
    owner[:60], owner[-60:] = 0, 1  # they neither begin nor end together
    names = [
        write_log(tmp_path / f"{number}{ending}", batch().take(pa.array(np.flatnonzero(owner == number))))
        for number, ending in enumerate((".jsonl", ".parquet", ".jsonl.zst"))
    ]
    for order in ((0, 1, 2), (2, 0, 1)):
        out = tmp_path / f"run{order}"
        done = replay(*(names[number] for number in order), "--out", out)
        assert done.exit_code == 0, done.output
        assert rejects(out) == []
        assert outcome(out) == expected


BAD: dict[str, tuple[bytes, ...]] = {
    "not_json": (b"once upon a time", with_fields(GOOD, temperature=1.5).replace(b"1.5", b"NaN"), GOOD[:-1]),
    "not_object": (b"[1, 2]", b"17", b'"text"'),
    "missing_field": (b"{}", with_fields(GOOD, account_id=None)),
    "bad_type": (with_fields(GOOD, output_tokens="many"), with_fields(GOOD, account_id=7)),
    "bad_value": (with_fields(GOOD, output_tokens=-1), with_fields(GOOD, client_ip="everywhere")),
    "bad_time": (with_fields(GOOD, event_time="yesterday"), with_fields(GOOD, event_time="2014-12-31T23:59:59Z")),
    "future_time": (with_fields(GOOD, event_id="ahead", event_time="2099-01-01T00:00:00Z"),),
    "too_large": (with_fields(GOOD, user_agent="x" * (1 << 20)),),
    "too_deep": (DEEP,),
    "identifier_too_long": (with_fields(GOOD, account_id="a" * 257),),
    "bad_encoding": (GOOD.replace(b"e-300", b"e-\xff"),),
    "duplicate_key": (GOOD[:-1] + b',"account_id":"someone else"}',),
    "unknown_schema": (with_fields(GOOD, schema_version="access.v9"),),
    "duplicate": (GOOD,),
    "late": (with_fields(lines()[0], event_id="late"),),
}


def test_every_bad_record_is_a_reject_with_line_and_reason_and_the_run_goes_on(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    content: list[bytes] = list(lines()[:301])
    wanted = []
    for reason, bad in BAD.items():
        for line in bad:
            content += [line, b""]  # an empty line is none, but counts
            wanted.append((len(content) - 1, reason))
    content += lines()[301:]
    log = write_lines(tmp_path / "log.jsonl", content)
    done = replay(log, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    found = rejects(tmp_path / "run")
    assert sorted((r["line"], r["reason"]) for r in found) == wanted
    assert {r["source"] for r in found} == {str(log)}
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_bytes())
    assert metrics["rejects"] == {reason: len(bad) for reason, bad in sorted(BAD.items())}
    assert all(f"{len(bad)} {reason}" in done.stdout for reason, bad in BAD.items())
    # Neither the bad records nor the wrong clock among them changed anything else.
    assert outcome(tmp_path / "run") == expected


def test_outputs_of_several_tenants_are_merged_however_the_log_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two tenants with the same events: every alert and decision has a twin, made at the same time.
    both = [with_fields(line, tenant=tenant) for line in lines() for tenant in ("b", "a")]
    log = write_lines(tmp_path / "log.jsonl", both)
    outcomes = []
    for block_bytes in (sources.BLOCK_BYTES, 1 << 12, 1 << 14):
        monkeypatch.setattr(sources, "BLOCK_BYTES", block_bytes)
        out = tmp_path / str(block_bytes)
        assert replay(log, "--out", out).exit_code == 0
        outcomes.append([(out / name).read_bytes() for name in OUTCOME])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    tenants = [json.loads(line)["tenant"] for line in outcomes[0][1].splitlines()]
    assert tenants[0] == "a"
    assert sorted(tenants) == ["a"] * (len(tenants) // 2) + ["b"] * (len(tenants) // 2)


def test_only_listed_tenants_are_known(tmp_path: Path) -> None:
    log = write_lines(tmp_path / "log.jsonl", [with_fields(GOOD, tenant=t, event_id=t) for t in ("a", "b", "c")])
    config = tmp_path / "settings.toml"
    config.write_text('tenants = ["a", "c"]\n')
    done = replay(log, "--out", tmp_path / "run", "--config", config)
    assert done.exit_code == 0, done.output
    assert [(r["line"], r["reason"], r["field"]) for r in rejects(tmp_path / "run")] == [
        (2, "unknown_tenant", "tenant")
    ]


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("damage", ["cut", "corrupt"])
def test_a_damaged_file_is_replayed_as_far_as_it_reads(tmp_path: Path, ending: str, damage: str) -> None:
    log = write_log(tmp_path / f"log{ending}")
    data = bytearray(log.read_bytes())
    if damage == "cut":
        del data[len(data) * 3 // 4 :]
    else:
        data[len(data) * 3 // 4 :] = data[len(data) * 3 // 4 :][::-1]
    log.write_bytes(data)
    whole = write_log(tmp_path / "whole.jsonl")
    done = replay(log, whole, "--out", tmp_path / "run")
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "truncated or corrupt; what could be read was replayed (see rejects.jsonl)" in done.stderr
    # Damage may decode to something before it is noticed: that is refused line by line.
    found = [r for r in rejects(tmp_path / "run") if r["reason"] != "duplicate"]
    (reject,) = (r for r in found if r["reason"] == "truncated_input")
    assert damage == "corrupt" or found == [reject]
    assert {r["source"] for r in found} == {str(log)}
    assert reject["line"] > 1
    assert reject["byte"] > 0
    assert "1 truncated_input" in done.stdout


def test_a_cut_file_loses_only_what_stands_behind_the_cut(tmp_path: Path) -> None:
    content = lines()[:400]
    log = tmp_path / "log.jsonl.gz"
    log.write_bytes(gzip.compress(b"\n".join([*content, b""]), 1) + gzip.compress(b"\n".join(lines()[400:]), 1)[:9])
    done = replay(log, "--out", tmp_path / "cut")
    assert done.exit_code == 3
    assert "400 events" in done.stdout
    (reject,) = rejects(tmp_path / "cut")
    assert reject["line"] == 401
    assert replay(write_lines(tmp_path / "400.jsonl", content), "--out", tmp_path / "whole").exit_code == 0
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_a_damaged_table_says_so(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.parquet")
    data = log.read_bytes()
    log.write_bytes(data[: len(data) // 2])
    done = replay(log, write_log(tmp_path / "log.jsonl"), "--out", tmp_path / "run")
    assert done.exit_code == 3
    assert f"{len(batch()):,} events" in done.stdout
    (reject,) = rejects(tmp_path / "run")
    assert (reject["source"], reject["reason"], reject["offset"]) == (str(log), "truncated_input", 0)
    alone = replay(log, "--out", tmp_path / "alone")
    assert alone.exit_code == 3
    assert "no record was accepted" in alone.stderr


def test_an_unsorted_log_says_what_to_do(tmp_path: Path) -> None:
    log = write_lines(tmp_path / "log.jsonl", [*lines()[300:], *lines()[:300]])
    done = replay(log, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "not in time order. Sort it by event_time" in done.stdout
    late = [r["line"] for r in rejects(tmp_path / "run") if r["reason"] == "late"]
    assert late == list(range(len(lines()) - 300 + 1, len(lines()) + 1))


def test_raw_text_is_fingerprinted_and_reaches_no_file(tmp_path: Path) -> None:
    marker = "zwieback"
    rng = np.random.default_rng(1)
    words = ["rivers", "mountains", "lakes", "cities", "roads", "birds", "plants", "stones", "clouds", "and", "or"]
    content: list[bytes] = []
    for number, line in enumerate(lines()[:200]):
        asked = (
            f"Please explain, step by step and in detail, how {marker} is baked in {' '.join(rng.choice(words, 20))}"
        )
        text: dict[str, Any] = {"prompt": asked, "system": f"You know {marker}", "output": f"{marker} {number} " * 30}
        bare = dict.fromkeys(("template_fp", "prompt_fp", "prompt_chars", "anchor_fps", "elicitation"))
        content.append(with_fields(line, content=text, **bare))
    content += [b"{" + content[0], content[0][:-1], with_fields(content[1], account_id=None)]
    log = write_lines(tmp_path / "log.jsonl", content)
    before = set(tmp_path.rglob("*"))
    done = replay(log, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "development key" in done.stderr
    made = set(tmp_path.rglob("*")) - before
    assert len(made) > 5
    assert not [path for path in made if path.is_file() and marker.encode() in path.read_bytes()]
    assert marker not in done.output
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_bytes())
    off = {s["signature"]: s["missing"] for s in metrics["coverage"]["default"]["off"]}
    assert "c1_shared_template" not in off
    # A run with a key of one's own says nothing loud, and makes other fingerprints.
    keyed = replay(log, "--out", tmp_path / "keyed", STILLWATCH_FINGERPRINT_KEY="ab" * 32)
    assert "WARNING" not in keyed.stderr
    # Fingerprinting first and replaying then is the same.
    assert run("fingerprint", log, "--out", tmp_path / "fp.jsonl.zst").exit_code == 0
    assert replay(tmp_path / "fp.jsonl.zst", "--out", tmp_path / "two").exit_code == 0
    assert outcome(tmp_path / "two") == outcome(tmp_path / "run")


SIX = ("event_id", "event_time", "account_id", "request_model", "input_tokens", "output_tokens")


def test_a_lean_log_names_the_signatures_that_are_off(tmp_path: Path) -> None:
    events = (json.loads(line) for line in lines())
    log = write_lines(tmp_path / "log.jsonl", [json.dumps({n: e[n] for n in SIX}).encode() for e in events])
    done = replay(log, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_bytes())
    coverage = metrics["coverage"]["default"]
    assert coverage["off"]
    assert len(coverage["active"]) > 0
    for signature in coverage["off"]:
        assert f"{signature['signature']} (no {', '.join(signature['missing'])})" in done.stdout
    # `validate` foretells it.
    told = json.loads(run("validate", log, "-o", "json").stdout)["coverage"]
    assert told == coverage


def test_settings_named_on_the_command_line_are_the_file_s(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl")
    config = tmp_path / "settings.toml"
    config.write_text("seed = 3\n[verdict]\nthreshold = 9.5\n")
    assert run("replay", log, "--out", tmp_path / "a", "--config", config).exit_code == 0
    overrides = ("--seed", 3, "--set", "verdict.threshold=9.5")
    assert run("replay", log, "--out", tmp_path / "b", *overrides).exit_code == 0
    one, two = (json.loads((tmp_path / name / "manifest.json").read_bytes()) for name in "ab")
    assert one["config_hash"] == two["config_hash"]
    assert one["settings"] == two["settings"]
    assert (one["seed"], one["settings"]["verdict"]["threshold"]) == (3, 9.5)
    assert [i["bytes"] for i in one["inputs"]] == [log.stat().st_size]

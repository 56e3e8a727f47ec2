"""`--format` on replay, validate and fingerprint: found out, named, wrong, mixed up; and the whole way to alerts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from detector.events import RECORD_BYTES_MAX
from detector.formats import FORMATS
from detector.runtime.sources import InputError, check_format, decode_block, open_input
from tests.unit.formats.reading import WHEN
from tests.unit.formats.test_azure import FULL as AZURE
from tests.unit.formats.test_kong import FULL as KONG
from tests.unit.formats.test_litellm import FULL as LITELLM
from tests.unit.formats.test_openrouter import FULL as OPENROUTER
from tests.unit.formats.test_otel import ATTRIBUTES, export, span
from tests.unit.formats.test_otel import FULL as OTEL
from tests.unit.replaying import OUTCOME, batch, lines, outcome, replay, run, write_lines

OURS = {"event_id": "e", "event_time": WHEN, "account_id": "a", "request_model": "m"}


def log(path: Path, *records: object) -> Path:
    return write_lines(path, [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records])


def read(path: Path, *, form: str = "auto") -> tuple[str, int, list[str]]:
    """The format of an input's blocks, its rows, and its rejects' reasons."""
    blocks = list(open_input(str(path), form=form))
    decoded = [decode_block(block) for block in blocks]
    (name,) = {block.form for block in blocks}
    return name, sum(d.batch.num_rows for d in decoded), [r.reason for d in decoded for r in d.rejects]


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ((KONG, KONG), ("kong", 2, [])),
        ((b"damaged", b"", KONG), ("kong", 1, ["not_json"])),
        ((KONG, LITELLM, KONG), ("kong", 2, ["unknown_schema"])),
        ((OURS, KONG, OURS), ("canonical", 2, ["missing_field"])),
        ((OTEL, OPENROUTER), ("otel", 2, [])),
        (([KONG, KONG], [KONG]), ("kong", 3, [])),
        ((b"damaged",), ("canonical", 0, ["not_json"])),
    ],
)
def test_the_first_lines_show_the_format(tmp_path: Path, records: Any, found: Any) -> None:
    assert read(log(tmp_path / "log.jsonl", *records)) == found


def test_a_named_format_is_read_as_such(tmp_path: Path) -> None:
    mixed = log(tmp_path / "log.jsonl", KONG, LITELLM)
    assert read(mixed, form="kong") == ("kong", 1, ["unknown_schema"])
    assert read(mixed, form="litellm") == ("litellm", 1, ["unknown_schema"])
    assert read(log(tmp_path / "or.jsonl", OPENROUTER), form="otel") == ("otel", 1, [])


@pytest.mark.parametrize(
    ("records", "form", "said"),
    [
        (
            (LITELLM,),
            "kong",
            r"to be read as kong, but its first records look like litellm \(1 of 1\); use --format",
        ),
        (
            (AZURE,),
            "canonical",
            r"as canonical, but its first records look like azure .* --format azure, or auto",
        ),
        ((OURS,), "vertex", r"look like canonical \(1 of 1\); use --format canonical, or auto"),
        ((KONG, LITELLM), "auto", r"mixes formats: its first records look like kong \(1 of 2\) and litellm \(1 of 2\)"),
        ((KONG, OURS), "auto", r"mixes formats: .* or name one with --format kong"),
        (
            ({"colour": 1, "size": 2},),
            "auto",
            r"no format that is known \(objects with 'colour', 'size'\); name it with",
        ),
    ],
)
def test_wrong_and_mixed_up_formats_are_said(tmp_path: Path, records: Any, form: str, said: str) -> None:
    path = log(tmp_path / "log.jsonl", *records)
    with pytest.raises(InputError, match=said):
        check_format(str(path), form=form)
    out = tmp_path / "run"
    for words in (("replay", "--out", str(out)), ("validate",), ("fingerprint", "--out", str(tmp_path / "o.jsonl"))):
        result = run(words[0], str(path), *words[1:], "--format", form)
        assert result.exit_code == 3
        assert "error: " in result.stderr
    assert not out.exists()


def test_parquet_holds_our_own_format_only(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"is Parquet, which holds access\.v1 only; export kong as JSON lines"):
        open_input(str(tmp_path / "log.parquet"), form="kong")


def test_batches_may_stand_in_lines_of_over_a_mebibyte(tmp_path: Path) -> None:
    spans = [span(ATTRIBUTES | {"gen_ai.response.id": f"r{n}", "user.id": f"u{n}"}) for n in range(800)]
    path = log(tmp_path / "log.jsonl", export(*spans), OTEL)
    assert path.stat().st_size > RECORD_BYTES_MAX
    assert read(path) == ("otel", 801, [])
    long = log(tmp_path / "long.jsonl", {**OURS, "user_agent": "x" * RECORD_BYTES_MAX}, OURS)
    assert read(long) == ("canonical", 1, ["too_large"])


def as_kong(event: dict[str, Any]) -> dict[str, Any]:
    """An event of ours as a gateway would have logged it, what it has no place for joined."""
    took = event.pop("latency_ms", 0)
    record = {
        "started_at": event.pop("event_time") - took,
        "latencies": {"request": took},
        "consumer": {"id": event.pop("account_id")},
        "request": {"id": event.pop("event_id")},
        "ai": {"proxy": {"meta": {"request_model": event.pop("request_model")}, "usage": {}}},
    }
    usage = {"prompt_tokens": event.pop("input_tokens", None), "completion_tokens": event.pop("output_tokens", None)}
    record["ai"]["proxy"]["usage"] = usage
    prints = {name: [f"{p:016x}" for p in event[name]] for name in ("anchor_fps", "run_fps") if name in event}
    return record | {"stillwatch": event | prints}


@pytest.fixture(scope="module")
def gateway_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    events = [{k: v for k, v in row.items() if v is not None} for row in batch().to_pylist()]
    path = tmp_path_factory.mktemp("kong") / "kong.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(json.dumps(as_kong(e)).encode() + b"\n" for e in events)))
    return path


@pytest.mark.parametrize("more", [(), ("--format", "kong", "--workers", "2")])
def test_a_gateways_log_leads_to_the_same_alerts_as_our_own(
    tmp_path: Path, gateway_log: Path, more: tuple[str, ...]
) -> None:
    ours = write_lines(tmp_path / "kong.jsonl", list(lines()))
    replay(ours, "--out", tmp_path / "ours")
    replay(gateway_log, *more, "--out", tmp_path / "theirs")
    found, expected = outcome(tmp_path / "theirs"), outcome(tmp_path / "ours")
    assert expected["alerts.jsonl"]
    assert {name: found[name] for name in OUTCOME} == {name: expected[name] for name in OUTCOME}
    assert json.loads((tmp_path / "theirs/manifest.json").read_bytes())["format"] == (more[1] if more else "auto")


def test_an_event_of_a_gateways_log_is_explained(tmp_path: Path, gateway_log: Path) -> None:
    replay(gateway_log, "--limit", 100, "--out", tmp_path / "run")
    event_id = batch().column("event_id")[0].as_py()
    said = run("explain", "event", event_id, "--in", str(tmp_path / "run"))
    assert said.exit_code == 0, said.stderr
    assert event_id in said.stdout


def test_validate_says_the_format_and_what_it_never_carries(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", AZURE, AZURE | {"category": "Audit"})
    said = run("validate", str(path)).stdout
    assert "format: azure, Azure OpenAI diagnostic log" in said
    assert "passed over: 1 records of no model call" in said
    assert "azure never carries: input_tokens, output_tokens" in said
    assert "off for that, in any such log: a1_template_dominance, " in said
    assert "to supply it: use Entra ID" in said
    report = json.loads(run("validate", str(path), "-o", "json").stdout)
    assert (report["passed"], report["inputs"][0]["format"]) == (1, "azure")
    assert {"payment_fp", "ja4"} <= set(report["formats"][0]["never"])


def test_validate_tells_the_inputs_formats_apart(tmp_path: Path) -> None:
    paths = [log(tmp_path / f"{name}.jsonl", record) for name, record in (("a", AZURE), ("k", KONG), ("o", OURS))]
    said = run("validate", *map(str, paths)).stdout
    assert "format: azure (1 of 3 inputs)" in said
    assert "format: canonical (1 of 3 inputs), access.v1" in said
    assert "kong never carries" in said
    assert "canonical never" not in said


def test_fingerprint_turns_a_gateways_text_into_fingerprints(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = run("fingerprint", str(log(tmp_path / "log.jsonl", KONG)), "--out", str(out))
    assert result.exit_code == 0
    (event,) = map(json.loads, out.read_bytes().splitlines())
    assert event["account_id"] == "acct-1"
    assert len(event["prompt_fp"]) == 32
    assert "Why?" not in out.read_text()


def test_standard_input_shows_its_format_too() -> None:
    data = json.dumps(KONG).encode() + b"\n"
    assert "format: kong" in run("validate", "-", text=data).stdout
    wrong = run("validate", "-", "--format", "litellm", text=data)
    assert wrong.exit_code == 3
    assert "look like kong (1 of 1); use --format kong" in wrong.stderr


@pytest.mark.parametrize("verb", ["replay", "validate", "fingerprint"])
def test_every_format_is_offered(verb: str) -> None:
    said = run(verb, "log.jsonl", "--out", "x", "--format", "csv").stderr
    if verb == "validate":
        said = run(verb, "log.jsonl", "--format", "csv").stderr
    assert all(f"'{name}'" in said for name in ("auto", "canonical", *FORMATS)), said

"""Writing event batches: what is read back is what was written, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.decode import decode_lines
from detector.events import event_batch
from detector.runtime.json_text import json_lines
from detector.runtime.sources import decode_block, open_input
from detector.runtime.writer import GROUP_ROWS, EventWriter, OutputError
from tests.conftest import ROOT

BENCH = json.loads((ROOT / "schemas" / "bench-event.json").read_text())
EVENTS = [
    {**BENCH, "event_id": "1", "elicitation": {"cot": 0.25, "rewrite": 0.0}, "user_agent": '"\\\n\x1f\u00e9😀'},
    {"event_id": "2", "event_time": 1_795_269_600_007, "account_id": "a", "request_model": "m", "elicitation": {}},
    {**BENCH, "event_id": "3", "anchor_fps": [], "seed": -(2**63), "cost_usd": 1e-9, "temperature": 1e21},
    {**BENCH, "event_id": "4", "seed": 2**63 - 1, "account_created_at": 0, "event_time": "2100-02-28T23:59:59.999Z"},
]
BATCH = decode_lines([json.dumps(event).encode() for event in EVENTS]).batch


def back(path: Path) -> pa.RecordBatch:
    """All rows of a file."""
    parts = [decode_block(block) for block in open_input(str(path))]
    assert not any(part.rejects for part in parts)
    return pa.Table.from_batches([part.batch for part in parts]).combine_chunks().to_batches()[0]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_every_form_reads_back_equal_however_it_was_cut(tmp_path: Path, ending: str) -> None:
    files = []
    for number, step in enumerate((1, 3, 4)):
        path = tmp_path / f"{number}{ending}"
        with EventWriter(path) as writer:
            for start in range(0, BATCH.num_rows, step):
                writer.write(BATCH.slice(start, step))
        assert writer.rows == 4
        assert back(path).equals(BATCH)
        files.append(path.read_bytes())
    if ending in (".jsonl", ".parquet"):
        assert files[0] == files[1] == files[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{number}{ending}" for number in range(3)]


def test_a_line_is_json_with_the_contract_s_names_and_times() -> None:
    first, second, *_ = (json.loads(line) for line in bytes(json_lines(BATCH)).splitlines())
    expected: dict[str, Any] = {**EVENTS[0], "event_time": "2026-11-21T14:03:27.418Z"}
    assert first == expected
    assert second == {
        "schema_version": "access.v1",
        **EVENTS[1],
        "event_time": "2026-11-21T14:00:00.007Z",
        "tenant": "default",
    }
    assert bytes(json_lines(BATCH.slice(0, 0))) == b""
    assert bytes(json_lines(BATCH.slice(1, 1))) == bytes(json_lines(BATCH)).splitlines(keepends=True)[1]


def test_text_that_needs_no_escape_is_copied_to_the_byte() -> None:
    words = ["x" * size for size in range(40)]
    batch = event_batch({"org_id": pa.array(words)}, rows=len(words))
    assert [json.loads(line)["org_id"] for line in bytes(json_lines(batch)).splitlines()] == words


def test_row_groups_are_filled(tmp_path: Path) -> None:
    rows = GROUP_ROWS + 10
    batch = event_batch({"n": pa.array(range(rows))}, rows=rows)
    with EventWriter(tmp_path / "x.parquet") as writer:
        for start in range(0, rows, 50_000):
            writer.write(batch.slice(start, 50_000))
    meta = pq.read_metadata(tmp_path / "x.parquet")
    assert [meta.row_group(group).num_rows for group in range(meta.num_row_groups)] == [GROUP_ROWS, 10]
    assert pq.read_schema(tmp_path / "x.parquet").field("event_time").type == pa.timestamp("ms", tz="UTC")


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_nothing_written_is_an_empty_log(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    EventWriter(path).close()
    assert [decode_block(block).batch.num_rows for block in open_input(str(path))] in ([], [0])


def test_an_interrupt_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("older")

    def interrupted() -> None:
        with EventWriter(path) as writer:
            writer.write(BATCH)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.jsonl", "older")]


def test_an_output_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x\.csv has an ending"):
        EventWriter(tmp_path / "x.csv")
    with pytest.raises(OutputError, match="check the directory"):
        EventWriter(tmp_path / "none" / "x.jsonl")

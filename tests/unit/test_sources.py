"""Inputs: every line arrives in some block with its number, whatever the file has been through."""

import gzip
import io
import json
import os
import pickle
import random
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from detector.decode import Decoded, decode_lines
from detector.events import RECORD_BYTES_MAX
from detector.runtime import sources, sources_parquet, sources_streams
from detector.runtime.sources import Block, InputError, check_input, decode_block, open_input, reject_record
from detector.runtime.sources_streams import Piece

LINES = [
    json.dumps(
        {"event_id": f"e{n}", "event_time": 1_763_733_600_000 + n, "account_id": f"a{n % 97}", "request_model": "m"}
        | {"org_id": random.Random(n).randbytes(90).hex()}
    ).encode()
    for n in range(20_000)
]
TEXT = b"".join(line + b"\n" for line in LINES)
BATCH = decode_lines(LINES).batch


def ids(parts: list[Decoded]) -> list[str]:
    """Event ids of all rows, in order."""
    return [event_id for part in parts for event_id in part.batch.column("event_id").to_pylist()]


def read(path: Path | str) -> tuple[list[Block], list[Decoded]]:
    """All blocks of an input, and what they decode to."""
    blocks = list(open_input(str(path)))
    return blocks, [decode_block(block) for block in blocks]


def rejects(parts: list[Decoded]) -> list[tuple[str, int, int | None]]:
    """Reason, position and byte of every reject."""
    return [(r.reason, r.position, r.byte) for part in parts for r in part.rejects]


def written(directory: Path, name: str, data: bytes) -> Path:
    """A file with these bytes."""
    path = directory / name
    path.write_bytes(data)
    return path


ALL = [f"e{n}" for n in range(len(LINES))]
FORMS = {
    "log.jsonl": TEXT,
    "log.jsonl.gz": gzip.compress(TEXT, 1),
    "log.jsonl.zst": zstandard.ZstdCompressor(write_checksum=True).compress(TEXT),
    "plain-inside.jsonl.gz": TEXT,
    "members.jsonl.gz": gzip.compress(TEXT[:1000], 1) + gzip.compress(TEXT[1000:], 1) + bytes(512),
    "frames.jsonl.zst": b"".join(zstandard.ZstdCompressor().compress(part) for part in (TEXT[:1000], TEXT[1000:])),
    "no-newline.jsonl": TEXT[:-1],
    "crlf.jsonl": b"\xef\xbb\xbf" + TEXT.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_line_arrives_once_with_its_number(tmp_path: Path, name: str) -> None:
    blocks, parts = read(written(tmp_path, name, FORMS[name]))
    assert ids(parts) == ALL
    assert [p for part in parts for p in part.positions.tolist()] == list(range(1, len(LINES) + 1))
    assert rejects(parts) == []
    assert len(blocks) > 1
    assert blocks[-1].share == 1.0
    assert all(len(block.data) <= 2 * sources.BLOCK_BYTES + sources_streams.PIECE_BYTES for block in blocks)


def test_blocks_travel_to_other_processes(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_batches([BATCH]), tmp_path / "log.parquet")
    for path in (written(tmp_path, "log.jsonl", TEXT), tmp_path / "log.parquet"):
        block = next(open_input(str(path)))
        sent = pickle.loads(pickle.dumps(block))  # noqa: S301 - our own bytes
        assert decode_block(sent).batch.equals(decode_block(block).batch)


def test_tables_count_rows_from_zero(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_batches([BATCH]), tmp_path / "log.parquet", row_group_size=6_000)
    blocks, parts = read(tmp_path / "log.parquet")
    assert ids(parts) == ALL
    assert [p for part in parts for p in part.positions.tolist()] == list(range(len(LINES)))
    assert blocks[-1].share == 1.0


def test_unknown_columns_are_not_read(tmp_path: Path) -> None:
    table = pa.Table.from_batches([BATCH.slice(0, 10)]).append_column("secret", pa.array(["x"] * 10))
    pq.write_table(table, tmp_path / "log.parquet")
    blocks, _ = read(tmp_path / "log.parquet")
    assert "secret" not in blocks[0].data.schema.names


@pytest.mark.parametrize(("name", "size"), [("log.jsonl.gz", -1), ("log.jsonl.gz", 0.5), ("log.jsonl.zst", 0.5)])
def test_a_cut_file_gives_what_it_holds_and_says_where_it_ends(tmp_path: Path, name: str, size: float) -> None:
    whole = FORMS[name]
    kept = whole[: int(len(whole) * size) if size > 0 else int(size)]
    _, parts = read(written(tmp_path, name, kept))
    found = ids(parts)
    assert len(found) > 0.4 * len(LINES)
    assert found == ALL[: len(found)]
    assert rejects(parts) == [("truncated_input", len(found) + 1, len(kept))]


@pytest.mark.parametrize("name", ["log.jsonl.gz", "log.jsonl.zst"])
def test_a_damaged_file_gives_what_stands_before_the_damage(tmp_path: Path, name: str) -> None:
    damaged = bytearray(FORMS[name])
    middle = len(damaged) // 2
    damaged[middle : middle + 64] = bytes(byte ^ 0xFF for byte in damaged[middle : middle + 64])
    _, parts = read(written(tmp_path, name, bytes(damaged)))
    found, refused = ids(parts), rejects(parts)
    intact = next((n for n, (a, b) in enumerate(zip(found, ALL, strict=False)) if a != b), len(found))
    assert intact > 0.4 * len(LINES)
    assert refused[-1][0] == "truncated_input"
    assert middle - sources_streams.FEED_BYTES <= refused[-1][2] <= len(damaged)


def test_a_wrong_checksum_at_the_end_is_reported_behind_all_lines(tmp_path: Path) -> None:
    damaged = bytearray(FORMS["log.jsonl.gz"])
    damaged[-7] ^= 1
    _, parts = read(written(tmp_path, "log.jsonl.gz", bytes(damaged)))
    assert ids(parts) == ALL
    assert [reason for reason, _, _ in rejects(parts)] == ["truncated_input"]


def test_an_empty_compressed_file_is_cut_off_and_an_empty_log_is_empty(tmp_path: Path) -> None:
    for name, magic in (("a.jsonl.gz", b"\x1f\x8b"), ("a.jsonl.zst", b"\x28\xb5\x2f\xfd")):
        _, parts = read(written(tmp_path, name, magic))
        assert [reason for reason, _, _ in rejects(parts)] == ["truncated_input"]
    for name, data in (("b.jsonl", b""), ("b.jsonl.gz", gzip.compress(b"")), ("c.jsonl", b"\n\n")):
        _, parts = read(written(tmp_path, name, data))
        assert (ids(parts), rejects(parts)) == ([], [])


def test_garbage_behind_a_gzip_member_is_reported(tmp_path: Path) -> None:
    _, parts = read(written(tmp_path, "log.jsonl.gz", FORMS["log.jsonl.gz"] + b"garbage"))
    assert ids(parts) == ALL
    assert [reason for reason, _, _ in rejects(parts)] == ["truncated_input"]


def test_a_bomb_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    pieces = sources_streams.pieces(io.BytesIO(bomb), magic=bomb[:4])
    assert max(len(piece.data) for piece in pieces) <= sources_streams.PIECE_BYTES
    blocks, parts = read(written(tmp_path, "bomb.jsonl.gz", gzip.compress(b"x" * 50_000_000 + b"\n" + TEXT)))
    assert rejects(parts) == [("too_large", 1, RECORD_BYTES_MAX)]
    assert ids(parts) == ALL
    assert parts[-1].positions[-1] == len(LINES) + 1
    assert all(len(block.data) <= 4 * sources.BLOCK_BYTES for block in blocks)


def test_a_zstd_bomb_is_fed_slowly() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(200_000_000))
    sizes = [len(piece.data) for piece in sources_streams.pieces(io.BytesIO(bomb), magic=bomb[:4])]
    assert sum(sizes) == 200_000_000
    assert max(sizes) <= 128 << 20


def test_a_window_over_the_limit_is_refused() -> None:
    form = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    wide = zstandard.ZstdCompressor(compression_params=form).compressobj()
    data = wide.compress(TEXT) + wide.flush()
    pieces = list(sources_streams.pieces(io.BytesIO(data), magic=data[:4]))
    assert [(piece.data, piece.broken) for piece in pieces] == [(b"", True)]


def test_an_over_long_last_line_is_named_once(tmp_path: Path) -> None:
    _, parts = read(written(tmp_path, "log.jsonl", LINES[0] + b"\n" + b"x" * 3_000_000))
    assert rejects(parts) == [("too_large", 2, RECORD_BYTES_MAX)]
    cut = gzip.compress(LINES[0] + b"\n" + random.Random(1).randbytes(3 * sources.BLOCK_BYTES).replace(b"\n", b" "))
    _, parts = read(written(tmp_path, "log.jsonl.gz", cut[:-100_000]))
    assert [r[:2] for r in rejects(parts)] == [("too_large", 2), ("truncated_input", 3)]


def test_pieces_may_cut_anywhere() -> None:
    text = b"".join(LINES[n] + b"\n" for n in range(5))
    for step in (1, 7, 64):
        parts = (Piece(text[at : at + step], at + step) for at in range(0, len(text), step))
        blocks = list(sources.line_blocks(parts, source="s", size=len(text)))
        assert b"".join(block.data for block in blocks if isinstance(block.data, bytes)) == text


def damaged_parquet(tmp_path: Path, damage: Any) -> tuple[Path, bytes]:
    """A Parquet file of four row groups, changed by `damage`."""
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_batches([BATCH]), path, row_group_size=5_000, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    return path, bytes(data)


def test_a_parquet_file_without_its_end_is_reported(tmp_path: Path) -> None:
    def cut(data: bytearray) -> None:
        del data[len(data) // 2 :]

    path, data = damaged_parquet(tmp_path, cut)
    _, parts = read(path)
    assert rejects(parts) == [("truncated_input", 0, len(data))]


def test_a_damaged_row_group_costs_only_itself(tmp_path: Path) -> None:
    def blot(data: bytearray) -> None:
        at = len(data) // 3
        data[at : at + 5_000] = bytes(5_000)

    path, _ = damaged_parquet(tmp_path, blot)
    _, parts = read(path)
    found, refused = ids(parts), rejects(parts)
    assert found[:5_000] == ALL[:5_000]
    assert found[-5_000:] == ALL[-5_000:]
    assert [r[:2] for r in refused] == [("truncated_input", 5_000)]


def test_a_page_that_declares_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = damaged_parquet(tmp_path, lambda _data: None)
    monkeypatch.setattr(sources_parquet, "PAGE_BYTES_MAX", 1_000)
    _, parts = read(path)
    assert [r[:2] for r in rejects(parts)] == [("too_large", group * 5_000) for group in range(4)]


def test_page_headers_are_walked_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_batches([BATCH]), path, data_page_size=10_000, write_statistics=True)
    chunk = pq.read_metadata(path).row_group(0).column(BATCH.schema.get_field_index("org_id"))
    start = sources_parquet._chunk_start(chunk)
    with path.open("rb") as file:
        sizes = list(sources_parquet.page_sizes(file, start=start, stop=start + chunk.total_compressed_size))
    assert len(sizes) > 10
    assert sum(sizes) <= chunk.total_uncompressed_size
    assert sum(sizes) > 0.9 * chunk.total_uncompressed_size


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 600, b"\x15\x01\x15\x02\x00", b"\x00", b"\x1c" * 2_000])
def test_garbage_is_no_page_header(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="byte 0"):
        list(sources_parquet.page_sizes(io.BytesIO(garbage), start=0, stop=10))


def test_an_input_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    csv = written(tmp_path, "log.csv", b"a,b")
    for name, words in (
        (str(tmp_path / "none.jsonl"), "No such file"),
        (str(tmp_path), "is a directory"),
        (str(csv), "expected one of .jsonl"),
        ("kafka://localhost:9092/topic", "export the topic"),
        (str(written(tmp_path, "x.parquet", b"{}")), "does not begin as a Parquet file"),
    ):
        with pytest.raises(InputError, match=words):
            open_input(name)
    with pytest.raises(InputError, match=r"ends in \.parquet"):
        next(open_input(str(written(tmp_path, "x.jsonl", b"PAR1PAR1"))))
    check_input("-")


def test_standard_input_is_recognised_by_its_first_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (FORMS["log.jsonl"], FORMS["log.jsonl.gz"], FORMS["log.jsonl.zst"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        blocks, parts = read("-")
        assert ids(parts) == ALL
        assert blocks[0].share is None


def test_a_pipe_is_read_as_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TEXT,))
    writer.start()
    _, parts = read(pipe)
    writer.join()
    assert ids(parts) == ALL


def test_rejects_name_lines_of_text_and_rows_of_tables(tmp_path: Path) -> None:
    blocks, parts = read(written(tmp_path, "log.jsonl", LINES[0] + b"\n\nx\n"))
    record = reject_record(parts[0].rejects[0], block=blocks[0])
    assert (record.line, record.offset, record.byte, record.reason) == (3, None, 0, "not_json")
    pq.write_table(pa.Table.from_batches([BATCH.select(["event_id"]).slice(0, 2)]), tmp_path / "log.parquet")
    blocks, parts = read(tmp_path / "log.parquet")
    record = reject_record(parts[0].rejects[1], block=blocks[0])
    assert (record.line, record.offset, record.reason, record.field) == (None, 1, "missing_field", "event_time")


def test_struct_sizes_in_headers_are_zigzag() -> None:
    header = b"\x15\x00" + b"\x15" + bytes([0x90, 0x4E]) + b"\x15" + bytes([0x08]) + b"\x00"
    assert list(sources_parquet.page_sizes(io.BytesIO(header + bytes(4)), start=0, stop=len(header) + 4)) == [5_000]

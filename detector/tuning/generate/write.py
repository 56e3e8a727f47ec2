"""A world's files: events and labels.

Purpose: `write` puts `events.<format>` and `labels.csv` into a folder.
Invariants: events are in order of event time; equal worlds give equal bytes; the files appear
when they are complete. Raw logs carry `content` in place of fingerprints.
Limits: raw logs are JSON lines only (plain, gzip, Zstandard).
"""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import orjson
import pyarrow.csv
import zstandard

from detector.runtime.json_text import json_lines
from detector.runtime.writer import EventWriter
from detector.tuning.generate.world import World

FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")
RAW_FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst")


class Written(NamedTuple):
    """What was written where."""

    events: Path
    labels: Path
    rows: int


def raw_lines(world: World) -> Iterator[bytes]:
    """The events of a raw world as JSON lines with their text, some thousand lines at a time."""
    for batch, content in world.contents():
        lines = bytes(json_lines(batch)).splitlines()
        texts = zip(content.system.to_pylist(), content.prompt.to_pylist(), strict=True)
        block = []
        for line, (system, prompt) in zip(lines, texts, strict=True):
            said = {"prompt": prompt} if system is None else {"system": system, "prompt": prompt}
            block.append(line[:-1] + b',"content":' + orjson.dumps(said) + b"}\n")
        yield b"".join(block)


def _compressed(file: BinaryIO, *, form: str, level: int) -> BinaryIO:
    """A stream that compresses into `file`; its bytes depend on nothing but what is written."""
    if form == "jsonl.zst":
        return zstandard.ZstdCompressor(level, write_checksum=True).stream_writer(file, closefd=False)
    if form == "jsonl.gz":
        zipped = gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=min(level, 9), mtime=0)
        return cast("BinaryIO", zipped)
    return file


def write(
    world: World,
    *,
    out: Path,
    form: str,
    level: int = 3,
    progress: Callable[[int, int], None] = lambda _rows, _time_ms: None,
) -> Written:
    """Write a world's events and labels into `out`, which is made if need be.

    `progress` is told rows so far and the event time reached. Raises `ValueError` for a format
    that is unknown or cannot hold raw text.
    """
    known = RAW_FORMATS if world.raw else FORMATS
    if form not in known:
        raise ValueError(f"format {form!r} is none of {', '.join(known)}" + (" (a raw log)" if world.raw else ""))
    out.mkdir(parents=True, exist_ok=True)
    events = out / f"events.{form}"
    rows = _write_raw(world, path=events, form=form, level=level, progress=progress) if world.raw else 0
    if not world.raw:
        with EventWriter(events) as writer:
            for batch in world.batches():
                writer.write(batch)
                progress(writer.rows, batch.column("event_time")[-1].as_py())
            rows = writer.rows
    labels = out / "labels.csv"
    pyarrow.csv.write_csv(
        world.labels, labels, pyarrow.csv.WriteOptions(quoting_style="none")
    )  # identifiers and names of ours hold no comma
    return Written(events=events, labels=labels, rows=rows)


def _write_raw(world: World, *, path: Path, form: str, level: int, progress: Callable[[int, int], None]) -> int:
    part = path.with_name(path.name + ".part")
    rows = 0
    with part.open("wb") as file:
        stream = _compressed(file, form=form, level=level)
        for block in raw_lines(world):
            stream.write(block)
            rows += block.count(b"\n")
            progress(rows, 0)
        if stream is not file:
            stream.close()
    part.replace(path)
    return rows

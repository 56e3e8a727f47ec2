"""Inputs: log files and standard input as blocks that any process can decode.

Purpose: one way in for `.jsonl`, `.jsonl.gz`, `.jsonl.zst`, `.parquet` and `-`, in access.v1 or
another format, which the first lines show; topics, which need their own clients, come in as
the same blocks by another `Opener`.
Invariants: blocks come in file order and cut at line ends; what cannot be read becomes a
reject of the block in which it stands, so nothing is lost silently. Every line belongs
to one block, and its number is absolute.
Limits: a text block has about `BLOCK_BYTES` and never more than one `Piece` beyond it; a
line over `RECORD_BYTES_MAX` (of a format that batches: `BATCH_BYTES_MAX`) is dropped while it
is read, never held whole.
"""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.decode import Decoded, Reject, decode_lines, decode_table, decode_text
from detector.events import RECORD_BYTES_MAX
from detector.formats import AUTO, BATCH_BYTES_MAX, CANONICAL, FORMATS, LOOK_LINES, Look, batches, convert, look
from detector.records import DetectorError
from detector.records import Reject as RejectRecord
from detector.runtime.sources_parquet import PARQUET_MAGIC, parquet_rows
from detector.runtime.sources_streams import Piece, pieces

BLOCK_BYTES: Final = 1 << 23
ENDINGS: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
STANDARD_INPUT: Final = "-"
TOPIC_SCHEME: Final = "kafka://"
# One is told from the other by its attributes alone, so either may be asked for.
_ALIKE: Final = {"otel", "openrouter"}


class InputError(DetectorError):
    """An input cannot be opened at all: exit code 3."""


class Records(NamedTuple):
    """Records of a topic's partition and their offsets: what they hold may have line ends of its own."""

    values: list[bytes]
    offsets: npt.NDArray[np.int64]


class Block(NamedTuple):
    """A run of lines, rows or records, raw.

    `first` is the number of the first line (from 1) or row (from 0), or the first offset; `data` are whole
    lines, a batch of rows, or a topic's records; `share` of the input read up to here, None where its size is
    unknown; `rejects` are those that the reader itself found, with absolute positions; `form` names the format
    of the lines.
    """

    source: str
    first: int
    data: bytes | pa.RecordBatch | Records
    share: float | None
    rejects: tuple[Reject, ...] = ()
    form: str = CANONICAL


def _decode_foreign(data: bytes, *, form: str) -> Decoded:
    """Convert lines of another format and decode them; what is refused keeps the number of its own line."""
    converted = convert(data, form=FORMATS[form])
    decoded = decode_text(converted.data)
    lines = converted.lines
    refused = [r._replace(position=int(lines[r.position]), byte=None) for r in decoded.rejects]
    return decoded._replace(
        positions=lines[decoded.positions], rejects=[*converted.rejects, *refused], passed=converted.passed
    )


Opener = Callable[[str], Iterator[Block]]


def decode_block(block: Block) -> Decoded:
    """Decode a block, in any process: `positions` and rejects carry absolute line or row numbers, or offsets."""
    if isinstance(block.data, Records):
        at = block.data.offsets
        decoded = decode_lines(block.data.values)
        rejects = [r._replace(position=int(at[r.position])) for r in decoded.rejects]
        return decoded._replace(positions=at[decoded.positions], rejects=sorted(rejects, key=lambda r: r.position))
    if not isinstance(block.data, bytes):
        decoded = decode_table(block.data)
    elif block.form == CANONICAL:
        decoded = decode_text(block.data)
    else:
        decoded = _decode_foreign(block.data, form=block.form)
    rejects = [*block.rejects, *(r._replace(position=r.position + block.first) for r in decoded.rejects)]
    rejects.sort(key=lambda reject: reject.position)
    return decoded._replace(positions=decoded.positions + block.first, rejects=rejects)


def reject_record(reject: Reject, *, block: Block) -> RejectRecord:
    """A reject of a block as a line of rejects.jsonl: lines of text count from 1, rows of a table from 0."""
    text = isinstance(block.data, bytes)
    return RejectRecord(
        source=block.source,
        line=reject.position if text else None,
        offset=None if text else reject.position,
        byte=reject.byte,
        reason=reject.reason,  # type: ignore[arg-type]  # decode.REASONS holds the contract's words
        field=reject.field,
        tenant=reject.tenant,
    )


def check_input(name: str) -> None:
    """Raise `InputError` where an input is missing, unreadable, a directory or of an unknown ending."""
    if name == STANDARD_INPUT:
        return
    if name.startswith(TOPIC_SCHEME):
        raise InputError("topics are read by replay, validate and fingerprint only; export the topic to a file first")
    try:
        mode = Path(name).stat().st_mode
    except OSError as wrong:
        raise InputError(f"input {name}: {wrong.strerror or wrong}; check the path") from wrong
    if stat.S_ISDIR(mode):
        raise InputError(f"input {name} is a directory; name its files, such as {name.rstrip('/')}/*.jsonl.gz")
    if stat.S_ISREG(mode) and not name.endswith(ENDINGS):
        raise InputError(f"input {name} has an ending that says no format; expected one of {' '.join(ENDINGS)}")
    if not os.access(name, os.R_OK):
        raise InputError(f"input {name}: no permission to read it")


def _standard_input() -> BinaryIO:
    """Standard input behind a buffer of its own: at exit Python locks the usual one, which a thread may be reading."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except OSError:  # it is no file: a test's, or a caller's
        return sys.stdin.buffer


def open_input(name: str, *, form: str = AUTO) -> Iterator[Block]:
    """Read an input (a path, or `-`: standard input) as blocks in the format `form`.

    `InputError` is raised here, or at the first block where its lines are not what `form` says.
    """
    check_input(name)
    if name == STANDARD_INPUT:
        return _text_blocks(_standard_input(), name, size=None, form=form)
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - closed by the generator that reads it
    except OSError as wrong:
        raise InputError(f"input {name}: {wrong.strerror or wrong}; check the path and its permissions") from wrong
    status = os.fstat(file.fileno())
    if name.endswith(".parquet"):
        if file.read(len(PARQUET_MAGIC)) != PARQUET_MAGIC:
            file.close()
            raise InputError(f"input {name} does not begin as a Parquet file does; rename it if it is another format")
        if form not in {AUTO, CANONICAL}:
            file.close()
            raise InputError(f"input {name} is Parquet, which holds access.v1 only; export {form} as JSON lines")
        return _table_blocks(file, name)
    return _text_blocks(file, name, size=status.st_size if stat.S_ISREG(status.st_mode) else None, form=form)


def _table_blocks(file: BinaryIO, name: str) -> Iterator[Block]:
    with closing(file):
        for rows in parquet_rows(file):
            rejects = (Reject(rows.reason, rows.first, rows.byte),) if rows.reason else ()
            yield Block(name, rows.first, rows.batch, rows.share, rejects)


class _Prefixed:
    """A stream whose first bytes were read already: pipes cannot be rewound."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + self._file.read(size - len(head))


def check_format(name: str, *, form: str) -> None:
    """Raise `InputError` where the first lines of a file are not in the format `form`, or (auto) in none that is known.

    What can be read only once (a pipe, standard input) is not looked at here.
    """
    if not Path(name).is_file() or name.endswith(".parquet"):
        return
    first = next(open_input(name, form=form), None)
    found = _look(first) if first is not None else None
    if form == AUTO and found is not None and found.keys and not found.formats:
        keys = ", ".join(map(repr, found.keys))
        raise InputError(
            f"input {name}: its first records are in no format that is known (objects with {keys}); "
            f"name it with --format: {CANONICAL}, {', '.join(sorted(FORMATS))}"
        )


def _look(block: Block) -> Look:
    """What the first lines of a block are."""
    assert isinstance(block.data, bytes)
    return look(block.data.split(b"\n", LOOK_LINES)[:LOOK_LINES])


def _settle(block: Block, *, form: str) -> str:
    """The format of an input whose first lines are in `block`, if that is what was asked for."""
    found = _look(block).formats
    names = " and ".join(f"{name} ({count} of {found.total()})" for name, count in found.most_common())
    if form != AUTO:
        if found and form not in found and {form, *found} != _ALIKE:
            raise InputError(
                f"input {block.source} was to be read as {form}, but its first records look like {names}; "
                f"use --format {found.most_common(1)[0][0]}, or auto"
            )
        return form
    if found.keys() >= _ALIKE:
        return "otel"
    name, count = found.most_common(1)[0] if found else (CANONICAL, 1)
    if 2 * count <= found.total():
        raise InputError(
            f"input {block.source} mixes formats: its first records look like {names}; give each format a file of its "
            f"own, or name one with --format {name}: records of the others are then rejects"
        )
    return name


def _settled(blocks: Iterator[Block], *, form: str) -> Iterator[Block]:
    """Give all blocks the format that `form` names, or that the first lines show."""
    settled = ""
    for block in blocks:
        if not settled and block.data:
            settled = _settle(block, form=form)
        yield block._replace(form=settled or CANONICAL)


def _text_blocks(file: BinaryIO, name: str, *, size: int | None, form: str) -> Iterator[Block]:
    with closing(file):
        head = file.read(4)
        if head == PARQUET_MAGIC:
            raise InputError(f"input {name} is Parquet; give it as a file that ends in .parquet")
        stream: BinaryIO = _Prefixed(head, file)  # type: ignore[assignment]  # of which `read` alone is used
        parts = pieces(stream, magic=head)
        first = next(parts, None)
        if first is None:
            return
        line_max = BATCH_BYTES_MAX if form != CANONICAL and batches(first.data) else RECORD_BYTES_MAX
        blocks = line_blocks(chain((first,), parts), source=name, size=size, line_max=line_max)
        yield from _settled(blocks, form=form)


def line_blocks(
    parts: Iterator[Piece], *, source: str, size: int | None, line_max: int = RECORD_BYTES_MAX
) -> Iterator[Block]:
    """Cut decompressed pieces into blocks of whole lines; over-long lines and damage become rejects."""
    held = bytearray()
    line = 1
    skipping = broken = False
    share: float | None = None if size is None else 0.0
    position = 0
    for piece in parts:
        position, broken = piece.position, piece.broken
        share = None if size is None else min(position / max(size, 1), 1.0)
        data = piece.data
        if skipping:
            end = data.find(b"\n")
            if end < 0:
                continue
            data, skipping, line = data[end + 1 :], False, line + 1
        held += data
        if len(held) >= BLOCK_BYTES and (end := held.rfind(b"\n") + 1) > 0:
            yield Block(source, line, bytes(held[:end]), share)
            line += held.count(b"\n", 0, end)
            del held[:end]
        if len(held) > line_max and b"\n" not in held:
            yield Block(source, line, b"", share, (Reject("too_large", line, line_max),))
            held.clear()
            skipping = True
    end = held.rfind(b"\n") + 1
    if skipping:
        line += 1  # the over-long line was reported under its own number
    if broken:
        lines = line + held.count(b"\n", 0, end)
        yield Block(source, line, bytes(held[:end]), share, (Reject("truncated_input", lines, position),))
    elif held:
        yield Block(source, line, bytes(held), None if size is None else 1.0)

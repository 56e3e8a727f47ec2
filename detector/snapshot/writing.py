"""Writing a snapshot: the state as bytes that do not tell how it came about.

Purpose: gather what the judge holds, or what changed since a generation, piece by piece.
Invariants: rows that are not folded yet stand by pane, source and position, with the
names they need and no others; the rest is a function of closed panes already. A generation
holds every row that differs from its base's, and all of what is no table.
Limits: a few MiB are in memory beside the state, or the rows of one source's pane. Rows of
open panes go whole each time: minutes of traffic, nearly all of it new.
Source: `state`; Zstandard (RFC 8878).
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import zstandard

from detector import __version__, hashing
from detector.frames import ID, LINKS_FIRST, NUM, empty_frame, wire
from detector.index import KeyIndex
from detector.judge import Judge
from detector.snapshot.changes import RowDigests, digests_of
from detector.snapshot.state import (
    INTEGERS,
    LAYOUT,
    MAGIC,
    VERSION,
    Header,
    HeldIndex,
    HeldOutput,
    HeldSource,
    State,
    Table,
    columns_said,
    empty_table,
    parts_of,
    tables_of,
)
from detector.spill import gather, gathered_by_source, names_for

Release = Callable[[npt.NDArray[Any]], None]

# State is mostly small integers and digests: higher levels cost more than they save.
_LEVEL = 1
BLOCK_BYTES = 4 << 20


def _sources(judge: Judge) -> list[HeldSource]:
    return [
        HeldSource(
            name=name,
            max_ms=source.max_ms,
            stop=source.stop,
            ended=source.ended,
            pending=wire(
                gather([(f, at, len(f.positions)) for f, at in source.pending], tenant=judge.tenant, source=name)
            )
            if source.pending
            else b"",
        )
        for name, source in sorted(judge.buffer.sources.items())
    ]


def _recent(judge: Judge) -> bytes:
    """The rows from which samples are named: time, event, account and links, nothing else."""
    panes = judge.cases.recent.panes
    if not panes:
        return b""
    ids = np.concatenate([p.ids for p in panes])
    ids[:, [c for c in range(LINKS_FIRST) if c != ID.ACCOUNT]] = 0
    numbers = np.full((len(ids), len(NUM)), -1, np.int64)
    numbers[:, NUM.TIME] = np.concatenate([p.numbers[:, NUM.TIME] for p in panes])
    digests, names = names_for(ids[:, ID.ACCOUNT], [f for p in panes for f, _, _ in p.parts])
    events = [pa.concat_arrays([f.event_ids[a:b] for f, a, b in p.parts]).take(pa.array(p.order)) for p in panes]
    frame = empty_frame(judge.tenant, "", first=0, stop=0)._replace(
        ids=ids,
        numbers=numbers,
        positions=np.zeros(len(ids), np.int64),
        event_ids=pa.concat_arrays(events),
        name_digests=digests,
        names=names,
    )
    return wire(frame)


def _index(index: KeyIndex) -> HeldIndex:
    return HeldIndex(used=index.used, free=index.free)


def _state(judge: Judge) -> State:
    trees = judge.model.trees
    return State(
        integers={part: {n: int(getattr(held, n)) for n in INTEGERS[part]} for part, held in parts_of(judge).items()},
        sources=_sources(judge),
        refused=sorted(judge.buffer.refused),
        accounts=_index(judge.accounts.index),
        links=_index(judge.links.index),
        pools_free=judge.links.free[1 : judge.links.free[0] + 1].tolist(),
        masses=judge.model.masses().tolist(),
        model_counter=trees.counter,
        model_first_window=trees._first_window,  # noqa: SLF001 - river has no other way to say so
        # A sorted list is a heap, and tuples leave a heap in their own order, whatever its layout.
        ledger=msgspec.structs.replace(judge.cases.ledger, ends=sorted(judge.cases.ledger.ends)),
        campaigns=list(judge.cases.campaigns.values()),
        desk=judge.cases.desk,
        freshness=judge.cases.freshness,
        outlet=judge.cases.outlet,
        late_by_pane=dict(sorted(judge.buffer.late_by_pane.items())),
        recent=_recent(judge),
        stamps=judge.cases.stamps,
        outputs=[HeldOutput(**{type(o).__name__.lower(): o}) for o in judge.cases.outputs],  # type: ignore[arg-type]  # by type
        closed_members=judge.cases.closed_members,
    )


def _piece(kind: str, name: str, parts: list[Any]) -> Iterator[Any]:
    """Frame a piece: the length of its head, its head, its parts (buffers) one after the other."""
    views = [memoryview(part).cast("B") if memoryview(part).nbytes else b"" for part in parts]
    head = msgspec.msgpack.encode((kind, name, [len(view) for view in views]))
    yield len(head).to_bytes(4, "little") + head
    yield from views


def _names(index: KeyIndex, rows: npt.NDArray[np.int64]) -> list[Any]:
    """Lengths (int32, -1 for none) and bytes of the names of rows."""
    names = [index.names[row] for row in rows.tolist()]
    lengths = np.array([-1 if name is None else len(name) for name in names], np.int32)
    return [lengths, b"".join(name for name in names if name)]


def _rows(table: Table, *, key: bytes, since: RowDigests | None, now: RowDigests | None, release: Release) -> Any:
    """The pieces of a table: rows that differ from `since`, from empty ones where it is None."""
    width = sum(array[0].nbytes for array in table.columns.values())
    step = max(1, BLOCK_BYTES // width)
    empty = digests_of(empty_table(table), 0, 1, key=key)
    for first in range(0, table.used, step):
        stop = min(first + step, table.used)
        fresh = digests_of(table, first, stop, key=key)
        rows = first + np.flatnonzero(fresh != (empty if since is None else since[table.name][first:stop]))
        if now is not None:
            now[table.name][first:stop] = fresh
        if rows.size:
            parts = [rows, *(array[rows] for array in table.columns.values())]
            parts += [] if table.named is None else _names(table.named, rows)
            yield from _piece("rows", table.name, parts)
        for array in table.columns.values():
            release(array[:stop])


def _panes(judge: Judge) -> Iterator[Any]:
    """The pieces of the rows that await their pane's close."""
    for pane in judge.buffer.open_panes():
        for source, frame in gathered_by_source(judge.buffer.parts_of(pane)):
            yield from _piece("pane", source, [wire(frame)])


def _pieces(judge: Judge, *, key: bytes, base: str, **rows: Any) -> Iterator[Any]:
    tables = tables_of(judge)
    header = Header(
        program=__version__,
        layout=LAYOUT,
        config_hash=judge.config_hash,
        key=hashing.key_digest(key),
        tenant=judge.tenant,
        sources=tuple(judge.buffer.sources),
        base=base,
        columns=columns_said(tables),
    )
    yield from _piece("header", "", [msgspec.msgpack.encode(header)])
    for table in tables:
        yield from _rows(table, key=key, **rows)
    yield from _panes(judge)
    yield from _piece("state", "", [msgspec.msgpack.encode(_state(judge))])


def _keep(_: npt.NDArray[Any]) -> None:
    """Release nothing."""


def generation(
    judge: Judge,
    *,
    key: bytes,
    since: RowDigests | None = None,
    base: str = "",
    now: RowDigests | None = None,
    release: Release = _keep,
) -> Iterator[bytes]:
    """Write a generation piece by piece; `key` is the hash key under which the judge's frames were encoded.

    `since` holds the row digests that generation `base` (its digest in hex) saw: rows that have them
    still are left out; None writes a whole generation. The digests of this moment go to `now`, which
    may not be `since`. `release` is told of stretches of columns that will not be read again.
    Outputs and refused rows that nobody has taken yet are part of the state.
    """
    hasher = hashing.file_hasher()
    pack = zstandard.ZstdCompressor(level=_LEVEL).compressobj()

    def packed() -> Iterator[bytes]:
        yield MAGIC + VERSION.to_bytes(4, "little")
        for piece in _pieces(judge, key=key, base=base, since=since, now=now, release=release):
            yield pack.compress(piece)
        yield pack.flush()

    for data in packed():
        if data:
            hasher.update(data)
            yield data
    yield hasher.digest()


def snapshot(judge: Judge, *, key: bytes) -> bytes:
    """Write a judge's state as one whole generation, in memory."""
    return b"".join(generation(judge, key=key))

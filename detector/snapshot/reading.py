"""Reading a snapshot: the judge that wrote it, or a `SnapshotError` that names both sides.

Purpose: refuse whatever is not this judge's own state; rebuild what follows from it.
Invariants: columns have exactly the shapes that the tree implies; what compiled loops
rely on (sketch registers, sample sizes, row numbers) is checked before they run.
Limits: a digest finds damage, not forgery.
Source: `state`.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import zstandard

from detector import __version__, hashing
from detector.accounts import PROMPT_REGISTERS, A
from detector.config import Settings, config_hash
from detector.frames import NUM, FrameError, unwire
from detector.index import KeyIndex
from detector.judge import Judge
from detector.link_columns import POOL_K, POOL_REGISTERS, SMALL_K, L, P
from detector.panes import Pane
from detector.snapshot.state import (
    DIGEST_BYTES,
    INTEGERS,
    LAYOUT,
    MAGIC,
    VERSION,
    Header,
    HeldIndex,
    SnapshotError,
    State,
    columns_of,
    parts_of,
    shapes_of,
)


def _open(data: bytes) -> tuple[Header, bytes]:
    """Check the envelope; returns the header and the compressed body."""
    if data[:4] != MAGIC:
        raise SnapshotError(f"not a snapshot: starts with {data[:4]!r}, expected {MAGIC!r}")
    version = int.from_bytes(data[4:8], "little")
    if version != VERSION:
        raise SnapshotError(f"snapshot has version {version}, this program reads {VERSION}: start from the log instead")
    said, found = data[-DIGEST_BYTES:], hashing.content_digest(data[:-DIGEST_BYTES]).encode()
    if said != found:
        raise SnapshotError(
            f"snapshot is cut short or damaged: its {len(data)} bytes end with {said!r}, their digest is {found!r}"
        )
    stop = 12 + int.from_bytes(data[8:12], "little")
    try:
        return msgspec.msgpack.decode(data[12:stop], type=Header), data[stop:-DIGEST_BYTES]
    except msgspec.DecodeError as wrong:
        raise SnapshotError(f"snapshot header of {stop - 12} bytes does not decode: {wrong}") from wrong


def _admit(header: Header, settings: Settings, key: bytes) -> None:
    """Refuse a snapshot of another key, other settings or another layout, naming both."""
    for what, said, ours, advice in (
        ("hash key", header.key, hashing.key_digest(key), "use the key that it was made with"),
        ("settings hash", header.config_hash, config_hash(settings), "use its settings, or start from the log"),
        (
            "state layout",
            header.layout,
            LAYOUT,
            f"it was written by stillwatch {header.program}, this is {__version__}",
        ),
    ):
        if said != ours:
            raise SnapshotError(f"snapshot of tenant {header.tenant!r} has {what} {said}, this judge {ours}: {advice}")


def _exactly(reader: Any, size: int) -> bytes:
    data: bytes = reader.read(size)
    if len(data) != size:
        raise SnapshotError(f"snapshot's body ends after {len(data)} of {size} bytes of a part")
    return data


def _restore_index(index: KeyIndex, held: HeldIndex, label: str) -> None:
    if held.used > index.rows_max or len(held.names) != held.used or not all(0 <= row < held.used for row in held.free):
        said = f"{held.used} rows with {len(held.names)} names and {len(held.free)} free rows"
        raise SnapshotError(f"snapshot has {said} of {label}, this judge at most {index.rows_max} rows")
    index.used, index.free, index.names = held.used, held.free, held.names


def _restore_buffer(judge: Judge, state: State) -> None:
    buffer = judge.buffer
    for held in state.sources:
        source = buffer.sources[held.name]
        source.max_ms, source.stop, source.ended = held.max_ms, held.stop, held.ended
        source.pending = [(unwire(held.pending), 0)] if held.pending else []
        if not held.buffered:
            continue
        frame = unwire(held.buffered)
        panes = frame.numbers[:, NUM.TIME] // buffer.pane_ms
        for a, b in pairwise([0, *(np.flatnonzero(panes[1:] != panes[:-1]) + 1).tolist(), panes.size]):
            buffer.panes.setdefault(int(panes[a]), []).append((frame, a, b))
        buffer.rows += panes.size
    if state.recent:
        frame = unwire(state.recent)
        rows = len(frame.positions)
        judge.cases.recent.add(Pane(buffer.closed_ms, frame.ids, frame.numbers, [(frame, 0, rows)], np.arange(rows)))


def _restore_tree(judge: Judge, state: State) -> None:
    for part, held in parts_of(judge).items():
        for name in INTEGERS[part]:
            setattr(held, name, state.integers[part][name])
    _restore_index(judge.accounts.index, state.accounts, "accounts")
    _restore_index(judge.links.index, state.links, "links")
    pools, free = judge.links.pools.shape[0], state.pools_free
    if len(set(free)) != len(free) or not all(0 <= row < pools for row in free):
        raise SnapshotError(
            f"snapshot has free pools {free[:5]} ..., which are not distinct rows of this judge's {pools}"
        )
    judge.links.free[: len(free) + 1] = [len(free), *free]
    judge.model.restore(
        np.array(state.masses, np.int64), counter=state.model_counter, first_window=state.model_first_window
    )
    judge.cases.ledger, judge.cases.desk, judge.cases.outlet = state.ledger, state.desk, state.outlet
    judge.cases.freshness, judge.cases.closed_members = state.freshness, state.closed_members
    judge.buffer.late_by_pane = state.late_by_pane
    judge.cases.campaigns = {c.number: c for c in state.campaigns}
    judge.cases.stamps = state.stamps
    judge.cases.outputs = [
        o for h in state.outputs for o in (h.alert, h.decision, h.tombstone, h.control) if o is not None
    ]
    judge.buffer.refused = state.refused
    _restore_buffer(judge, state)


def _restore_columns(judge: Judge, reader: Any, said: list[tuple[str, str, list[int]]]) -> None:
    columns = columns_of(judge)
    for ours, theirs in zip(shapes_of(columns), said, strict=True):
        if ours != theirs:
            raise SnapshotError(f"snapshot has column {theirs}, this judge {ours}")
    for (_, array, rows), (_, dtype, shape) in zip(columns, said, strict=True):
        size = int(np.prod(shape)) * array.itemsize
        if size:
            array[rows] = np.frombuffer(_exactly(reader, size), dtype).reshape(shape)


def _checked(judge: Judge) -> Iterator[tuple[str, int, int]]:
    """What compiled loops rely on, as (name, largest value, largest allowed)."""
    accounts, links = judge.accounts, judge.links
    registers: dict[str, tuple[npt.NDArray[Any], int]] = {
        "accounts.prompts": (accounts.prompts, PROMPT_REGISTERS),
    }
    registers |= {f"links.{name}": (array, POOL_REGISTERS) for name, array in links.sketches.items()}
    for name, (array, count) in registers.items():
        used = array[: accounts.index.used] if name.startswith("accounts") else array
        yield f"a register of {name}", int(used.max(initial=0)), 65 - (count.bit_length() - 1)
    linked = slice(0, links.index.used)
    yield "a size of links.small", int(links.small.columns.sizes[linked].max(initial=0)), SMALL_K
    yield "a size of links.large", int(links.large.columns.sizes.max(initial=0)), POOL_K
    yield "a pool of links.stats", int(links.stats[linked, L.POOL].max(initial=0)), links.pools.shape[0]
    yield "a link of links.pools", int(links.pools[:, P.LINK].max(initial=0)), max(links.index.used - 1, 0)


def _derive(judge: Judge) -> None:
    """Make what follows from the columns: the slots of the indexes, the lists of touched rows."""
    for index in (judge.accounts.index, judge.links.index):
        index.rebuild()
    accounts, links = judge.accounts, judge.links
    for table, flags in (
        (accounts, accounts.stats[: accounts.index.used, A.TOUCHED]),
        (links, links.pools[:, P.TOUCHED]),
    ):
        touched = np.flatnonzero(flags)
        table.touched[: touched.size], table.n_touched = touched, touched.size


def restore(data: bytes, *, settings: Settings, key: bytes) -> Judge:
    """Make the judge that wrote these bytes; the next frames must join its sources' positions.

    Raises `SnapshotError` for other bytes, a damaged or cut snapshot, another version, key,
    settings or layout, and for values out of bounds; the message names both sides.
    """
    header, body = _open(data)
    _admit(header, settings, key)
    reader = zstandard.ZstdDecompressor().stream_reader(body)
    try:
        state = msgspec.msgpack.decode(_exactly(reader, header.tree_bytes), type=State)
        judge = Judge(header.tenant, tuple(s.name for s in state.sources), settings)
        _restore_tree(judge, state)
        _restore_columns(judge, reader, header.columns)
    except (msgspec.DecodeError, zstandard.ZstdError, FrameError, KeyError, ValueError) as wrong:
        raise SnapshotError(f"snapshot of tenant {header.tenant!r} does not decode: {wrong}") from wrong
    for what, value, limit in _checked(judge):
        if value > limit:
            raise SnapshotError(f"snapshot of tenant {header.tenant!r}: {what} is {value}, at most {limit} fits")
    _derive(judge)
    return judge

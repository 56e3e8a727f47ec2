"""Writing a snapshot: the state as bytes that do not tell how it came about.

Purpose: gather what the judge holds, in an order that frames and their cuts do not show.
Invariants: rows that are not folded yet stand by source, pane and position, with the
names they need and no others; the rest is a function of closed panes already.
Limits: the bytes are built in memory, beside the state itself.
Source: `state`.
"""

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import zstandard

from detector import __version__, hashing
from detector.frames import ID, LINKS_FIRST, NUM, Frame, empty_frame, wire
from detector.index import KeyIndex
from detector.judge import Judge
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
    columns_of,
    parts_of,
    shapes_of,
)

U64 = npt.NDArray[np.uint64]

# Level 3 is Zstandard's default; state is mostly small integers and digests.
_LEVEL = 3


def _gather(parts: list[tuple[Frame, int, int]], *, tenant: str, source: str) -> bytes:
    """Join rows of frames into one frame with the names that they need; empty for no rows."""
    if not parts:
        return b""
    ids = np.concatenate([f.ids[a:b] for f, a, b in parts])
    digests, names = _names_for(ids, [f for f, _, _ in parts])
    return wire(
        empty_frame(tenant, source, first=0, stop=0)._replace(
            ids=ids,
            numbers=np.concatenate([f.numbers[a:b] for f, a, b in parts]),
            positions=np.concatenate([f.positions[a:b] for f, a, b in parts]),
            event_ids=pa.concat_arrays([f.event_ids[a:b] for f, a, b in parts]),
            name_digests=digests,
            names=names,
        )
    )


def _names_for(ids: U64, frames: list[Frame]) -> tuple[U64, pa.StringArray]:
    """Find the names of the digests in `ids` in the frames' dictionaries; digests strictly increasing."""
    wanted = np.unique(ids)
    found, names = [np.zeros(0, np.uint64)], [pa.array([], pa.string())]
    for frame in {id(f): f for f in frames}.values():
        if frame.name_digests.size:
            at = np.minimum(np.searchsorted(frame.name_digests, wanted), frame.name_digests.size - 1)
            hits = frame.name_digests[at] == wanted
            found.append(wanted[hits])
            names.append(frame.names.take(pa.array(at[hits])))
            wanted = wanted[~hits]
    digests = np.concatenate(found)
    order = np.argsort(digests, kind="stable")
    return digests[order], pa.concat_arrays(names).take(pa.array(order))


def _sources(judge: Judge) -> list[HeldSource]:
    buffered: dict[str, list[tuple[Frame, int, int]]] = {name: [] for name in judge.buffer.sources}
    for _, parts in sorted(judge.buffer.panes.items()):
        for part in sorted(parts, key=lambda p: int(p[0].positions[p[1]])):
            buffered[part[0].source].append(part)
    return [
        HeldSource(
            name=name,
            max_ms=source.max_ms,
            stop=source.stop,
            ended=source.ended,
            pending=_gather([(f, at, len(f.positions)) for f, at in source.pending], tenant=judge.tenant, source=name),
            buffered=_gather(buffered[name], tenant=judge.tenant, source=name),
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
    digests, names = _names_for(ids[:, ID.ACCOUNT], [f for p in panes for f, _, _ in p.parts])
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
    return HeldIndex(used=index.used, free=index.free, names=index.names)


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


def snapshot(judge: Judge, *, key: bytes) -> bytes:
    """Write a judge's state; `key` is the hash key under which its frames were encoded.

    Outputs and refused rows that nobody has taken yet are part of the state.
    """
    tree, columns = msgspec.msgpack.encode(_state(judge)), columns_of(judge)
    header = msgspec.msgpack.encode(
        Header(
            program=__version__,
            layout=LAYOUT,
            config_hash=judge.config_hash,
            key=hashing.key_digest(key),
            tenant=judge.tenant,
            tree_bytes=len(tree),
            columns=shapes_of(columns),
        )
    )
    pack = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    pieces = [MAGIC, VERSION.to_bytes(4, "little"), len(header).to_bytes(4, "little"), header, pack.compress(tree)]
    for _, array, rows in columns:
        used = np.ascontiguousarray(array[rows])
        if used.size:
            pieces.append(pack.compress(used.data.cast("B")))
    data = b"".join([*pieces, pack.flush()])
    return data + hashing.content_digest(data).encode()

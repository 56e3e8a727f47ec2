"""Snapshot: a judge's whole state as bytes, and back.

Purpose: stop anywhere, start again from the bytes, and go on as if nothing had happened.
Invariants: equal settings, key and applied events give equal bytes, however the events
were cut into frames and however sources interleaved; `restore(snapshot(j))` continues
with byte-equal outputs and later snapshots. Buffered rows stand by source, pane and
position with the names they need and no others; everything else is a function of
closed panes already, so it is written in its own order: slots of samples and free
rows too, because floats are summed and rows handed out in that order.
Limits: the hash key's digest, the settings' hash and the layout of the state must be
those of the writer; another version is refused, never guessed. A digest finds damage,
not forgery: whoever may write the bytes is trusted.
Source: magic, version, header (msgpack), one Zstandard frame of the tree (msgpack) and
the used rows of every column (raw, little-endian), content digest. RFC 8878.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import zstandard

from detector import __version__, hashing
from detector.accounts import PROMPT_REGISTERS, SUBNET_REGISTERS, A
from detector.campaigns import Campaign, Follower
from detector.config import Settings, config_hash
from detector.decision import Lease, Ledger
from detector.frames import COVERED_FIELDS, ID, LINKS_FIRST, NUM, Flag, Frame, FrameError, empty_frame, unwire, wire
from detector.index import KeyIndex
from detector.judge import Judge
from detector.links import KINDS, POOL_K, POOL_REGISTERS, SMALL_K, L, P
from detector.operators import AllowEntry
from detector.panes import Pane, Refused
from detector.records import Alert, Decision, DetectorError, Member
from detector.signatures.registry import ACCOUNT_SIGNATURES

U64 = npt.NDArray[np.uint64]
Column = tuple[str, npt.NDArray[Any], Any]  # name, array, the rows of it that are used

VERSION = 1
_MAGIC = b"SWSN"
_DIGEST_BYTES = 16
# Level 3 is Zstandard's default; state is mostly small integers and digests.
_LEVEL = 3

# The integers of each part of the judge; what is no integer, column or table has a field in `_State`.
INTEGERS: dict[str, tuple[str, ...]] = {
    "judge": (
        "campaigns_opened",
        "present",
        "events",
        "first_ms",
        "last_ms",
        "active_accounts",
        "active_counted_ms",
        "discovered_ms",
    ),
    "buffer": ("closed_ms", "forced_ms", "late", "forced"),
    "population": ("aged", "young", "elicited", "elicitation_known"),
    "accounts": ("evicted", "dropped"),
    "links": ("generation", "generation_start_ms", "evicted", "dropped"),
}


class SnapshotError(DetectorError):
    """Bytes are no snapshot that this judge may start from."""


class _Header(msgspec.Struct, frozen=True, array_like=True):
    program: str
    layout: str
    config_hash: str
    key: str
    tenant: str
    tree_bytes: int
    columns: list[tuple[str, str, list[int]]]


class _Source(msgspec.Struct, kw_only=True):
    name: str
    max_ms: int
    stop: int
    ended: bool
    pending: bytes  # a frame's wire form: rows that await their lookahead
    buffered: bytes  # the same: rows that await the close of their pane


class _Index(msgspec.Struct, kw_only=True):
    used: int
    free: list[int]
    names: list[bytes | None]


class _Output(msgspec.Struct, kw_only=True, omit_defaults=True):
    alert: Alert | None = None
    decision: Decision | None = None


class _State(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    integers: dict[str, dict[str, int]]
    sources: list[_Source]
    refused: list[Refused]
    accounts: _Index
    links: _Index
    pools_free: list[int]
    masses: list[list[tuple[int, int]]]
    model_counter: int
    model_first_window: bool
    ledger: Ledger
    campaigns: list[Campaign]
    allow: list[AllowEntry]
    recent: bytes
    outputs: list[_Output]
    closed_members: list[Member]


# Whoever renames, adds or moves one of these changes what the stored numbers mean.
_NAMED = (A, L, P, ID, NUM, Flag)
_STRUCTS = (_State, _Source, _Index, Campaign, Follower, Lease, Ledger, Alert, Decision, Member, AllowEntry)
LAYOUT = hashing.content_digest(
    repr(
        [
            *([*names.__members__] for names in _NAMED),
            *(struct.__struct_fields__ for struct in _STRUCTS),
            *(KINDS, COVERED_FIELDS, INTEGERS, [s.id for s in ACCOUNT_SIGNATURES]),
        ]
    ).encode()
)


def _parts(judge: Judge) -> dict[str, Any]:
    return {
        "judge": judge,
        "buffer": judge.buffer,
        "population": judge.population,
        "accounts": judge.accounts,
        "links": judge.links,
    }


def _columns(judge: Judge) -> list[Column]:
    """Name every column with its array and the rows of it that are used: a slice or row numbers."""
    accounts, links, population = judge.accounts, judge.links, judge.population
    held, linked, whole = slice(0, accounts.index.used), slice(0, links.index.used), slice(None)
    pooled = np.setdiff1d(np.arange(links.pools.shape[0]), links.free[1 : links.free[0] + 1])
    columns: list[Column] = [
        ("accounts.keys", accounts.index.keys, held),
        ("accounts.stats", accounts.stats, held),
        ("accounts.prompts", accounts.prompts, held),
        ("accounts.subnets", accounts.subnets, held),
        ("accounts.template_keys", accounts.template_keys, held),
        ("accounts.template_counts", accounts.template_counts, held),
        ("accounts.template_errors", accounts.template_errors, held),
        ("links.keys", links.index.keys, linked),
        ("links.stats", links.stats, linked),
        ("links.pools", links.pools, pooled),
        ("links.hours", links.hours, pooled),
        ("links.gate", links.gate, whole),
        ("links.gate_load", links.gate_load, whole),
        ("population.accounts", population.accounts, whole),
        ("population.fired", population.fired, whole),
        ("population.outputs", population.outputs, whole),
        ("model.scores", judge.model.scores, whole),
    ]
    for label, sample, rows in (("small", links.small, linked), ("large", links.large, pooled)):
        names = (*sample.columns._fields, "firsts", "lasts")
        columns += [(f"links.{label}.{name}", a, rows) for name, a in zip(names, sample.arrays, strict=True)]
    columns += [(f"links.{name}", registers, pooled) for name, registers in sorted(links.sketches.items())]
    return columns


def _shapes(columns: list[Column]) -> list[tuple[str, str, list[int]]]:
    return [
        (
            name,
            array.dtype.str,
            [len(range(*rows.indices(len(array)))) if isinstance(rows, slice) else rows.size, *array.shape[1:]],
        )
        for name, array, rows in columns
    ]


# --- writing -------------------------------------------------------------------


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


def _sources(judge: Judge) -> list[_Source]:
    buffered: dict[str, list[tuple[Frame, int, int]]] = {name: [] for name in judge.buffer.sources}
    for _, parts in sorted(judge.buffer.panes.items()):
        for part in sorted(parts, key=lambda p: int(p[0].positions[p[1]])):
            buffered[part[0].source].append(part)
    return [
        _Source(
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
    if not judge.recent:
        return b""
    ids = np.concatenate([p.ids for p in judge.recent])
    ids[:, [c for c in range(LINKS_FIRST) if c != ID.ACCOUNT]] = 0
    numbers = np.full((len(ids), len(NUM)), -1, np.int64)
    numbers[:, NUM.TIME] = np.concatenate([p.numbers[:, NUM.TIME] for p in judge.recent])
    digests, names = _names_for(ids[:, ID.ACCOUNT], [f for p in judge.recent for f, _, _ in p.parts])
    events = [pa.concat_arrays([f.event_ids[a:b] for f, a, b in p.parts]).take(pa.array(p.order)) for p in judge.recent]
    frame = empty_frame(judge.tenant, "", first=0, stop=0)._replace(
        ids=ids,
        numbers=numbers,
        positions=np.zeros(len(ids), np.int64),
        event_ids=pa.concat_arrays(events),
        name_digests=digests,
        names=names,
    )
    return wire(frame)


def _index(index: KeyIndex) -> _Index:
    return _Index(used=index.used, free=index.free, names=index.names)


def _state(judge: Judge) -> _State:
    trees = judge.model.trees
    return _State(
        integers={part: {n: int(getattr(held, n)) for n in INTEGERS[part]} for part, held in _parts(judge).items()},
        sources=_sources(judge),
        refused=sorted(judge.buffer.refused),
        accounts=_index(judge.accounts.index),
        links=_index(judge.links.index),
        pools_free=judge.links.free[1 : judge.links.free[0] + 1].tolist(),
        masses=judge.model.masses().tolist(),
        model_counter=trees.counter,
        model_first_window=trees._first_window,  # noqa: SLF001 - river has no other way to say so
        # A sorted list is a heap, and tuples leave a heap in their own order, whatever its layout.
        ledger=msgspec.structs.replace(judge.ledger, ends=sorted(judge.ledger.ends)),
        campaigns=list(judge.campaigns.values()),
        allow=judge.allow,
        recent=_recent(judge),
        outputs=[_Output(alert=o) if isinstance(o, Alert) else _Output(decision=o) for o in judge.outputs],
        closed_members=judge.closed_members,
    )


def snapshot(judge: Judge, *, key: bytes) -> bytes:
    """Write a judge's state; `key` is the hash key under which its frames were encoded.

    Outputs and refused rows that nobody has taken yet are part of the state.
    """
    tree, columns = msgspec.msgpack.encode(_state(judge)), _columns(judge)
    header = msgspec.msgpack.encode(
        _Header(
            program=__version__,
            layout=LAYOUT,
            config_hash=judge.config_hash,
            key=hashing.key_digest(key),
            tenant=judge.tenant,
            tree_bytes=len(tree),
            columns=_shapes(columns),
        )
    )
    pack = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    pieces = [_MAGIC, VERSION.to_bytes(4, "little"), len(header).to_bytes(4, "little"), header, pack.compress(tree)]
    for _, array, rows in columns:
        used = np.ascontiguousarray(array[rows])
        if used.size:
            pieces.append(pack.compress(used.data.cast("B")))
    data = b"".join([*pieces, pack.flush()])
    return data + hashing.content_digest(data).encode()


# --- reading -------------------------------------------------------------------


def _open(data: bytes) -> tuple[_Header, bytes]:
    """Check the envelope; returns the header and the compressed body."""
    if data[:4] != _MAGIC:
        raise SnapshotError(f"not a snapshot: starts with {data[:4]!r}, expected {_MAGIC!r}")
    version = int.from_bytes(data[4:8], "little")
    if version != VERSION:
        raise SnapshotError(f"snapshot has version {version}, this program reads {VERSION}: start from the log instead")
    said, found = data[-_DIGEST_BYTES:], hashing.content_digest(data[:-_DIGEST_BYTES]).encode()
    if said != found:
        raise SnapshotError(
            f"snapshot is cut short or damaged: its {len(data)} bytes end with {said!r}, their digest is {found!r}"
        )
    stop = 12 + int.from_bytes(data[8:12], "little")
    try:
        return msgspec.msgpack.decode(data[12:stop], type=_Header), data[stop:-_DIGEST_BYTES]
    except msgspec.DecodeError as wrong:
        raise SnapshotError(f"snapshot header of {stop - 12} bytes does not decode: {wrong}") from wrong


def _admit(header: _Header, settings: Settings, key: bytes) -> None:
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


def _restore_index(index: KeyIndex, held: _Index, label: str) -> None:
    if held.used > index.rows_max or len(held.names) != held.used or not all(0 <= row < held.used for row in held.free):
        raise SnapshotError(
            f"{label}: {held.used} rows with {len(held.names)} names and {len(held.free)} free, at most {index.rows_max} rows"
        )
    index.used, index.free, index.names = held.used, held.free, held.names


def _restore_buffer(judge: Judge, state: _State) -> None:
    buffer = judge.buffer
    for held in state.sources:
        source = buffer.sources[held.name]
        source.max_ms, source.stop, source.ended = held.max_ms, held.stop, held.ended
        source.pending = [(unwire(held.pending), 0)] if held.pending else []
        if not held.buffered:
            continue
        frame = unwire(held.buffered)
        panes = frame.numbers[:, NUM.TIME] // buffer.pane_ms
        cuts = [0, *(np.flatnonzero(panes[1:] != panes[:-1]) + 1).tolist(), panes.size]
        for a, b in zip(cuts, cuts[1:], strict=False):
            buffer.panes.setdefault(int(panes[a]), []).append((frame, a, b))
        buffer.rows += panes.size
    if state.recent:
        frame = unwire(state.recent)
        rows = len(frame.positions)
        judge.recent = [Pane(buffer.closed_ms, frame.ids, frame.numbers, [(frame, 0, rows)], np.arange(rows))]


def _restore_tree(judge: Judge, state: _State) -> None:
    for part, held in _parts(judge).items():
        for name in INTEGERS[part]:
            setattr(held, name, state.integers[part][name])
    _restore_index(judge.accounts.index, state.accounts, "accounts")
    _restore_index(judge.links.index, state.links, "links")
    pools, free = judge.links.pools.shape[0], state.pools_free
    if len(set(free)) != len(free) or not all(0 <= row < pools for row in free):
        raise SnapshotError(f"links: free pools {free[:5]} ... are not distinct rows of {pools}")
    judge.links.free[: len(free) + 1] = [len(free), *free]
    judge.model.restore(
        np.array(state.masses, np.int64), counter=state.model_counter, first_window=state.model_first_window
    )
    judge.ledger, judge.allow, judge.closed_members = state.ledger, state.allow, state.closed_members
    judge.campaigns = {c.number: c for c in state.campaigns}
    judge.outputs = [o for held in state.outputs for o in (held.alert, held.decision) if o is not None]
    judge.buffer.refused = state.refused
    _restore_buffer(judge, state)


def _restore_columns(judge: Judge, reader: Any, said: list[tuple[str, str, list[int]]]) -> None:
    columns = _columns(judge)
    for ours, theirs in zip(_shapes(columns), said, strict=True):
        if ours != theirs:
            raise SnapshotError(f"snapshot has column {theirs}, this judge {ours}")
    for (_, array, rows), (_, dtype, shape) in zip(columns, said, strict=True):
        size = int(np.prod(shape)) * array.itemsize
        if size:
            array[rows] = np.frombuffer(_exactly(reader, size), dtype).reshape(shape)


def _checked(judge: Judge) -> Iterator[tuple[str, int, int]]:
    """What compiled loops rely on, as (name, largest value, largest allowed)."""
    accounts, links = judge.accounts, judge.links
    registers = {
        "accounts.prompts": (accounts.prompts, PROMPT_REGISTERS),
        "accounts.subnets": (accounts.subnets, SUBNET_REGISTERS),
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
        state = msgspec.msgpack.decode(_exactly(reader, header.tree_bytes), type=_State)
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

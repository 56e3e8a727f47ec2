"""Reading snapshots: the judge that wrote them, or a `SnapshotError` that names both sides.

Purpose: refuse whatever is not this judge's own state; rebuild what follows from it.
Invariants: bytes are read once, in order, and applied piece by piece: nothing holds them whole.
Columns have exactly the shapes of this judge's; what compiled loops rely on (sketch
registers, sample sizes, row numbers) is checked before they run.
Limits: a digest finds damage, not forgery; it stands at the end, so a judge is built from
damaged bytes before they are refused.
Source: `state`, `writing`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

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
    Table,
    columns_said,
    parts_of,
    tables_of,
)
from detector.spill import Store

_ENVELOPE_BYTES = len(MAGIC) + 4


class _Piece(NamedTuple):
    """One piece of a generation."""

    kind: str
    name: str
    parts: list[bytes]


class _Body:
    """The bytes of one generation, unpacked as they are asked for; knows their digest when they end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks, self.hasher = iter(chunks), hashing.file_hasher()
        self.held, self.open = bytearray(), bytearray()
        self.size = 0
        self.unpack = zstandard.ZstdDecompressor().decompressobj()
        while len(self.held) < _ENVELOPE_BYTES + DIGEST_BYTES and self._fetch():
            pass
        envelope = bytes(self.held[:_ENVELOPE_BYTES])
        del self.held[:_ENVELOPE_BYTES]
        self.hasher.update(envelope)
        if envelope[:4] != MAGIC:
            raise SnapshotError(f"not a snapshot: starts with {envelope[:4]!r}, expected {MAGIC!r}")
        version = int.from_bytes(envelope[4:], "little")
        if version != VERSION:
            raise SnapshotError(f"snapshot has version {version}, this program reads {VERSION}: start from the log")

    def _fetch(self) -> bool:
        chunk = next(self.chunks, None)
        self.held += chunk or b""
        self.size += len(chunk or b"")
        return chunk is not None

    def _more(self) -> bool:
        """Unpack what came, but for the last bytes, which may be the digest."""
        came = self._fetch()
        fresh = bytes(self.held[:-DIGEST_BYTES])
        del self.held[: len(fresh)]
        self.hasher.update(fresh)
        if fresh and not self.unpack.eof:
            self.open += self.unpack.decompress(fresh)
        return came or bool(fresh)

    def take(self, size: int) -> bytes:
        """The next bytes; fewer where the generation ends."""
        while len(self.open) < size and self._more():
            pass
        out = bytes(self.open[:size])
        del self.open[:size]
        return out

    def finish(self) -> bytes:
        """Read to the end and hold the bytes against their digest, which is returned."""
        while self._more():
            pass
        said, found = bytes(self.held), self.hasher.digest()
        if said != found:
            raise SnapshotError(
                f"snapshot is cut short or damaged: its {self.size} bytes end with {said.hex()}, "
                f"their digest is {found.hex()}"
            )
        return found


def _pieces(body: _Body) -> Iterator[_Piece]:
    while head := body.take(4):
        kind, name, sizes = msgspec.msgpack.decode(
            body.take(int.from_bytes(head, "little")), type=tuple[str, str, list[int]]
        )
        parts = [body.take(size) for size in sizes]
        if [len(part) for part in parts] != sizes:
            raise SnapshotError(f"snapshot is cut short or damaged: it ends within a piece {kind!r} of {name!r}")
        yield _Piece(kind, name, parts)


def _admit(header: Header, settings: Settings, key: bytes, base: str, *, last: bool) -> None:
    """Refuse a generation of another key, layout or base, the last one also of other settings, naming both."""
    for what, said, ours, advice in (
        ("hash key", header.key, hashing.key_digest(key), "use the key that it was made with"),
        ("settings hash", header.config_hash, config_hash(settings), "use its settings, or start from the log"),
        (
            "state layout",
            header.layout,
            LAYOUT,
            f"it was written by stillwatch {header.program}, this is {__version__}",
        ),
        ("base", header.base or "none", base or "none", "give the generations in their order, a whole one first"),
    ):
        if said != ours and (last or what != "settings hash"):
            raise SnapshotError(f"snapshot of tenant {header.tenant!r} has {what} {said}, this judge {ours}: {advice}")


def _restore_index(index: KeyIndex, held: HeldIndex, label: str) -> None:
    named = len(index.names)
    if not named <= held.used <= index.rows_max or not all(0 <= row < held.used for row in held.free):
        said = f"{held.used} rows, {named} of them with names, and {len(held.free)} free rows"
        raise SnapshotError(f"snapshot has {said} of {label}, this judge at most {index.rows_max} rows")
    index.used, index.free = held.used, held.free
    index.names += [None] * (held.used - named)


def _restore_rows(tables: dict[str, Table], piece: _Piece) -> None:
    """Put rows into their table, and their names."""
    table = tables[piece.name]
    rows = np.frombuffer(piece.parts[0], np.int64)
    if rows.size and not 0 <= int(rows[0]) <= int(rows[-1]) < len(next(iter(table.columns.values()))):
        raise SnapshotError(f"snapshot has rows {rows[0]}..{rows[-1]} of {table.name}, which has fewer here")
    for array, part in zip(table.columns.values(), piece.parts[1:], strict=False):
        array[rows] = np.frombuffer(part, array.dtype).reshape(rows.size, *array.shape[1:])
    if table.named is None:
        return
    names, (lengths, text) = table.named.names, piece.parts[-2:]
    names += [None] * (int(rows[-1]) + 1 - len(names))
    at = 0
    for row, length in zip(rows.tolist(), np.frombuffer(lengths, np.int32).tolist(), strict=True):
        names[row] = text[at : at + length] if length >= 0 else None
        at += max(length, 0)


def _restore_pane(judge: Judge, raw: bytes, source: str) -> None:
    frame = unwire(raw)._replace(source=source)
    buffer, rows = judge.buffer, len(frame.positions)
    buffer.panes.setdefault(int(frame.numbers[0, NUM.TIME]) // buffer.pane_ms, []).append((frame, 0, rows))
    buffer.rows += rows
    buffer.put_away(rows_max=judge.settings.rows_buffered_max)


def _restore_sources(judge: Judge, state: State) -> None:
    for held in state.sources:
        source = judge.buffer.sources[held.name]
        source.max_ms, source.stop, source.ended = held.max_ms, held.stop, held.ended
        source.pending = [(unwire(held.pending), 0)] if held.pending else []
    if state.recent:
        frame = unwire(state.recent)
        rows = len(frame.positions)
        judge.cases.recent.add(
            Pane(judge.buffer.closed_ms, frame.ids, frame.numbers, [(frame, 0, rows)], np.arange(rows))
        )


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
    _restore_sources(judge, state)


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


def header_of(chunk: bytes) -> Header:
    """Read who made a generation, and for what, out of its first chunk. Raises `SnapshotError`."""
    try:
        return _header(_pieces(_Body([chunk])))
    except (msgspec.DecodeError, zstandard.ZstdError) as wrong:
        raise SnapshotError(f"the snapshot's header does not decode: {wrong}") from wrong


def _header(pieces: Iterator[_Piece]) -> Header:
    first = next(pieces, None)
    if first is None or first.kind != "header":
        raise SnapshotError(f"snapshot begins with {first and first.kind!r}, expected its header")
    return msgspec.msgpack.decode(first.parts[0], type=Header)


def _begin(
    body: _Body,
    *,
    settings: Settings,
    key: bytes,
    base: str,
    last: bool,
    judge: Judge | None,
    store: Store | None,
) -> tuple[Judge, Iterator[_Piece]]:
    """Read a generation's header: the judge to be filled, and the pieces that follow."""
    pieces = _pieces(body)
    header = _header(pieces)
    _admit(header, settings, key, base, last=last)
    made = judge or Judge(header.tenant, header.sources, settings, store=store)
    for ours, theirs in zip(columns_said(tables_of(made)), header.columns, strict=True):
        if ours != theirs:
            raise SnapshotError(f"snapshot has column {theirs}, this judge {ours}")
    return made, pieces


def restore_chain(
    generations: Sequence[Iterable[bytes]], *, settings: Settings, key: bytes, store: Store | None = None
) -> Judge:
    """Make the judge that wrote the last of these generations, each given in chunks of any size.

    The first is a whole one, each further one names the one before. The next frames must join
    the judge's sources' positions. Raises `SnapshotError` for other bytes, a damaged or cut
    generation, another version, key, settings or layout, and for values out of bounds; the
    message names both sides.
    """
    judge: Judge | None = None
    base = ""
    try:
        for number, chunks in enumerate(generations, 1):
            body, last = _Body(chunks), number == len(generations)
            judge, pieces = _begin(body, settings=settings, key=key, base=base, last=last, judge=judge, store=store)
            tables = {table.name: table for table in tables_of(judge)}
            for piece in pieces:
                if piece.kind == "rows":
                    _restore_rows(tables, piece)
                elif not last:
                    continue  # rows of panes and the rest stand whole in the last
                elif piece.kind == "pane":
                    _restore_pane(judge, piece.parts[0], piece.name)
                else:
                    _restore_tree(judge, msgspec.msgpack.decode(piece.parts[0], type=State))
            base = body.finish().hex()
        if judge is None:
            raise SnapshotError("no generation to restore from")
    except (msgspec.DecodeError, zstandard.ZstdError, FrameError, KeyError, IndexError, ValueError) as wrong:
        raise SnapshotError(f"snapshot does not decode: {wrong}") from wrong
    for what, value, limit in _checked(judge):
        if value > limit:
            raise SnapshotError(f"snapshot of tenant {judge.tenant!r}: {what} is {value}, at most {limit} fits")
    _derive(judge)
    return judge


def restore(data: bytes, *, settings: Settings, key: bytes, store: Store | None = None) -> Judge:
    """Make the judge that wrote these bytes; see `restore_chain`."""
    return restore_chain([[data]], settings=settings, key=key, store=store)

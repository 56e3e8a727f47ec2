"""Feed: inputs -> frames, in worker processes or here, merged in event time.

Purpose: the file side of encode. Blocks of an input are decoded, fingerprinted where
they hold raw text, and encoded by a pure function; the frames of several inputs come
out so that the input furthest behind is served first.
Invariants: frames of one input join and keep its order; with any number of workers
the same frames come out. Raw text never leaves `encode_block`. An interrupt (Ctrl-C,
SIGTERM) is raised between ranges, never inside the fold of one; the second one is raised
at once. No worker outlives this process, however it ends.
Limits: `AHEAD` blocks per worker are in flight.
"""

import errno
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.decode import Decoded
from detector.encode import encode
from detector.events import EventBatch
from detector.fingerprint import Content, fingerprint
from detector.frames import NUM, Frame, unwire, wire
from detector.records import Reject
from detector.runtime.sources import Block, Opener, decode_block, open_input, reject_record

AHEAD = 3
BLOCKS_READ_AHEAD = 2
ALWAYS = (-(1 << 62), 1 << 62)
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class Encoded(NamedTuple):
    """One encoded range of an input: frames by tenant (wire form), rejects, rows and whether text was there."""

    frames: list[bytes]
    rejects: list[Reject]
    rows: int
    raw_text: bool
    share: float | None
    outside: int


class Piece(NamedTuple):
    """One range as the judge's side sees it."""

    source: str
    first: int
    stop: int
    frames: list[Frame]
    rejects: list[Reject]
    rows: int
    raw_text: bool
    share: float | None
    end_ms: int
    outside: int = 0


def with_fingerprints(batch: EventBatch, content: Content, *, key: bytes) -> EventBatch:
    """Fill the fingerprint columns of rows that carry text; what the log already states stays.

    A row's own fields win, so a gateway's fingerprints are never replaced.
    """
    made = fingerprint(content, key=key)
    columns = list(batch.columns)
    for name, column in made.items():
        at = batch.schema.get_field_index(name)
        held = columns[at]
        if held.null_count == len(batch):
            columns[at] = column.cast(held.type) if column.type != held.type else column
        elif held.null_count:
            rows = np.where(
                held.is_valid().to_numpy(zero_copy_only=False),
                np.arange(len(batch)),
                np.arange(len(batch)) + len(batch),
            )
            columns[at] = pa.concat_arrays([held, column.cast(held.type)]).take(pa.array(rows))
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _within(decoded: Decoded, window_ms: tuple[int, int]) -> Decoded:
    """Keep the rows whose event time lies in [start, end)."""
    times = decoded.batch.column("event_time").to_numpy(zero_copy_only=False)
    inside = (times >= window_ms[0]) & (times < window_ms[1])
    if inside.all():
        return decoded
    keep = pa.array(inside)
    content = decoded.content
    return decoded._replace(
        batch=decoded.batch.filter(keep),
        positions=decoded.positions[inside],
        content=Content(*(column.filter(keep) for column in content)) if content is not None else None,
    )


def encode_block(
    block: Block,
    *,
    first: int,
    stop: int,
    key: bytes,
    tenants: tuple[str, ...],
    window_ms: tuple[int, int] = ALWAYS,
) -> Encoded:
    """Decode, fingerprint and encode one block; a pure map, run in any process."""
    whole = decode_block(block)
    decoded = _within(whole, window_ms) if window_ms != ALWAYS else whole
    batch, positions = decoded.batch, decoded.positions
    rejects = [reject_record(r, block=block) for r in decoded.rejects]
    if decoded.content is not None:
        batch = with_fingerprints(batch, decoded.content, key=key)
    if tenants:
        known = pc.is_in(batch.column("tenant").fill_null("default"), value_set=pa.array(tenants))
        if not pc.all(known).as_py() and len(batch):
            stays = known.to_numpy(zero_copy_only=False)
            text = isinstance(block.data, bytes)
            rejects += [
                Reject(
                    source=block.source,
                    reason="unknown_tenant",
                    field="tenant",
                    line=p if text else None,
                    offset=None if text else p,
                )
                for p in positions[~stays].tolist()
            ]
            batch, positions = batch.filter(known), positions[stays]
    frames = encode(
        batch,
        positions=positions,
        source=block.source,
        first=first,
        stop=stop,
        key=key,
        rejects=len(rejects),
        tenants=tenants,
    )
    outside = len(whole.batch) - len(decoded.batch)
    return Encoded([wire(f) for f in frames], rejects, len(batch), decoded.content is not None, block.share, outside)


class _Blocks:
    """An input's blocks, read when they are asked for."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self.blocks = blocks

    def take(self, *, wait: bool) -> Block | None:
        """The next block, None at the end. Raises `queue.Empty` where there is none yet and `wait` is false."""
        del wait
        return next(self.blocks, None)

    def leave(self) -> None:
        """No more blocks are wanted."""


class _BlocksAhead(_Blocks):
    """The same, read ahead in a thread: reading Parquet takes a good part of what judging takes, a pipe may be slow."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        super().__init__(blocks)
        self.waiting: queue.Queue[Block | Exception | None] = queue.Queue(BLOCKS_READ_AHEAD)
        self.left = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for block in self.blocks:
                self._put(block)
                if self.left.is_set():
                    return
            self._put(None)
        except Exception as wrong:  # noqa: BLE001 - it is raised where the blocks are used
            self._put(wrong)

    def _put(self, item: Block | Exception | None) -> None:
        while not self.left.is_set():
            with suppress(queue.Full):
                self.waiting.put(item, timeout=0.1)
                return

    def take(self, *, wait: bool) -> Block | None:
        item = self.waiting.get(block=wait)
        if isinstance(item, Exception):
            raise item
        return item

    def leave(self) -> None:
        self.left.set()


class _Input:
    """One input's blocks, some of them in flight."""

    def __init__(self, name: str, submit: Callable[..., "Future[Encoded]"], *, ahead: int, opener: Opener) -> None:
        self.name, self.submit, self.ahead = name, submit, ahead
        self.blocks = _Blocks(opener(name)) if ahead == 1 else _BlocksAhead(opener(name))
        self.held = self.blocks.take(wait=True)
        self.flight: deque[tuple[int, int, Future[Encoded]]] = deque()
        self.start = self.held.first if self.held is not None else 0
        self.end_ms = -(1 << 62)
        self._fill()

    def _fill(self) -> None:
        while self.held is not None and len(self.flight) < self.ahead:
            block = self.held
            try:
                self.held = self.blocks.take(wait=not self.flight)
            except queue.Empty:
                return  # a slow pipe: what is in flight need not wait for it
            # The range reaches to where the next block starts, so ranges always join.
            stop = self.held.first if self.held is not None else (1 << 62)
            self.flight.append((self.start, stop, self.submit(block, first=self.start, stop=stop)))
            self.start = stop

    def take(self) -> Piece | None:
        """The next range, or None at the end."""
        if not self.flight:
            return None
        first, stop, future = self.flight.popleft()
        done = future.result()
        self._fill()
        frames = [unwire(raw) for raw in done.frames]
        times = [int(f.numbers[:, NUM.TIME].max()) for f in frames if len(f.positions)]
        self.end_ms = max([self.end_ms, *times])
        return Piece(
            source=self.name,
            first=first,
            stop=stop,
            frames=frames,
            rejects=done.rejects,
            rows=done.rows,
            raw_text=done.raw_text,
            share=done.share,
            end_ms=self.end_ms,
            outside=done.outside,
        )


class _Interrupts:
    """Holds an interrupt back while the reader of `pieces` folds a range: half a fold is no state to report."""

    def __init__(self) -> None:
        self.folding = self.pending = False
        self.before: dict[int, Any] = {}

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.pending or not self.folding:
            raise KeyboardInterrupt
        self.pending = True

    def resumed(self) -> None:
        """The reader is back for more: raise what was held."""
        self.folding = False
        if self.pending:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in INTERRUPTS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & leave it
                    self.before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _begin_worker() -> None:
    """In a worker: end with the parent, whatever ended that."""
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_worker)


def _at_once(piece: Piece) -> Iterable[Piece]:
    return (piece,)


def pieces(
    inputs: list[str],
    *,
    key: bytes,
    tenants: tuple[str, ...],
    workers: int,
    window_ms: tuple[int, int] = ALWAYS,
    paced: Callable[[Piece], Iterable[Piece]] = _at_once,
    opener: Opener = open_input,
) -> Iterator[Piece | str]:
    """Yield the ranges of all inputs, the input furthest behind first; an input's name when it has ended.

    `paced` may cut a range and wait; an interrupt ends its waiting at once.
    Raises `InputError` where an input cannot be opened, `ChildProcessError` where a worker died.
    """
    pool = _pool(workers) if workers > 1 else None
    common: dict[str, Any] = {"key": key, "tenants": tenants, "window_ms": window_ms}

    def submit(block: Block, *, first: int, stop: int) -> "Future[Encoded]":
        if pool is not None:
            # A worker starts here, and inherits the mask: a terminal's Ctrl-C reaches all processes of
            # a job, and theirs is not to answer it.
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
            try:
                return pool.submit(encode_block, block, first=first, stop=stop, **common)
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        done: Future[Encoded] = Future()
        done.set_result(encode_block(block, first=first, stop=stop, **common))
        return done

    ahead = AHEAD * workers if workers > 1 else 1
    opened: list[_Input] = []
    try:
        with _Interrupts() as interrupts:
            opened.extend(_Input(name, submit, ahead=ahead, opener=opener) for name in inputs)
            live = list(opened)
            while live:
                behind = min(live, key=lambda i: (i.end_ms, i.name))
                piece = behind.take()
                if piece is None:
                    live.remove(behind)
                for part in (behind.name,) if piece is None else paced(piece):
                    interrupts.folding = True
                    yield part
                    interrupts.resumed()
    except BrokenProcessPool as wrong:
        message = "a worker process died (was memory short?); replay again with fewer workers"
        raise ChildProcessError(errno.ECHILD, message, "encode") from wrong
    finally:
        for item in opened:
            item.blocks.leave()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

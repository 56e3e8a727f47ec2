"""Generations of snapshots as files: written beside the fold, checked, read back.

Purpose: make what changed in a judge a file without stopping it, and know which files are sound.
Invariants: the process that forks goes on folding, its child writes the state as it was at
the fork and gives back the pages that it has read, so that the fold copies few of them. A
file counts only if it is the one that the chain names, to the byte.
Limits: the child shares memory with its parent and copies what the fold changes meanwhile.
Source: fork and copy-on-write as Redis does it; digests find damage.
"""

import asyncio
import contextlib
import ctypes
import gc
import mmap
import os
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from detector import hashing
from detector.judge import Judge
from detector.snapshot import DIGEST_BYTES, SnapshotError, blank_digests, generation, take_digests

READ_BYTES: Final = 900_000  # below the brokers' default of a MiB for a record
NICENESS: Final = 10
# A chain is read whole by whoever takes over: it ends when what changed since is half of a
# whole generation, or when there are so many files.
CHANGED_SHARE: Final = 0.5
GENERATIONS_MAX: Final = 64

_LIBC: Final = ctypes.CDLL(None)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A file and what it must be."""

    path: Path
    size: int
    digest: str


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of a chain: its number, where its chunks begin on the topic, and what they make."""

    number: int
    first_offset: int
    chunks: int
    size: int
    digest: str


class Past:
    """What the durable generations hold: the chain, and the digests of the rows that they saw."""

    def __init__(self, judge: Judge, chain: tuple[Generation, ...] = (), *, key: bytes) -> None:
        """Begin with a judge as `chain` restored it."""
        self.chain, self.key = chain, key
        self.seen = blank_digests(judge, key=key, allocate=_shared)
        self.fresh = blank_digests(judge, key=key, allocate=_shared)
        take_digests(judge, self.seen, key=key)  # loads the kernels too: a child must not compile

    def whole_due(self) -> bool:
        """Whether the next generation begins a new chain."""
        changed = sum(g.size for g in self.chain[1:])
        full = len(self.chain) >= GENERATIONS_MAX
        return full or not self.chain or changed > self.chain[0].size * CHANGED_SHARE

    async def write(self, judge: Judge, path: Path, *, whole: bool) -> Written:
        """Write what changed, or all, of the judge's state of this moment. Raises `SnapshotError` if it fails."""
        since, base = (None, "") if whole else (self.seen, self.chain[-1].digest)
        await _write_beside(judge, path, key=self.key, since=since, base=base, now=self.fresh)
        return await asyncio.to_thread(_described, path)

    def keep(self, made: Generation, *, whole: bool) -> list[Generation]:
        """What was written last is durable: the next one goes on from it. Returns generations that are not needed."""
        gone = list(self.chain) if whole else []
        self.chain = (made,) if whole else (*self.chain, made)
        self.seen, self.fresh = self.fresh, self.seen
        return gone


def _shared(rows: int) -> npt.NDArray[np.uint64]:
    """Memory that a child writes and its parent reads."""
    return np.frombuffer(mmap.mmap(-1, 8 * rows), np.uint64)


async def _write_beside(judge: Judge, path: Path, **more: Any) -> None:
    os.makedirs(path.parent, exist_ok=True)  # noqa: PTH103 - a path's method would count as blocking
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python 3.12 warns of fork beside threads; the child runs none of their code and takes none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(judge, path, parent, more)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    if status:
        raise SnapshotError(f"the process that wrote {path} ended with status {status}; is the disk full?")


def _child(judge: Judge, path: Path, parent: int, more: dict[str, Any]) -> None:
    """Write and end, whatever happens: nothing of the parent's may run here."""
    status = 1
    try:
        gc.disable()  # a collection would touch, and so copy, every object
        os.nice(NICENESS)
        with path.open("wb") as file:
            for data in generation(judge, release=_give_back, **more):
                file.write(data)
                if os.getppid() != parent:  # nobody waits for this file any more
                    os._exit(status)
            file.flush()
            os.fsync(file.fileno())
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    finally:
        os._exit(status)


def _give_back(array: npt.NDArray[Any]) -> None:
    """Let whole pages go that this process has read: the parent then need not copy them when it writes."""
    start = -(-array.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (array.ctypes.data + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - start
    if size > 0:
        _LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def _described(path: Path) -> Written:
    with path.open("rb") as file:
        size = file.seek(-DIGEST_BYTES, os.SEEK_END) + DIGEST_BYTES
        return Written(path=path, size=size, digest=file.read().hex())


def chunks_of(path: Path) -> Iterator[bytes]:
    """Read a file in chunks, as they are sent too."""
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


def chunk_count(size: int) -> int:
    """How many chunks a file of `size` bytes makes.

    >>> chunk_count(900_001)
    2
    """
    return -(-size // READ_BYTES)


def is_sound(path: Path, made: Generation) -> bool:
    """Whether the file at `path` is this generation, to the byte."""
    hasher, last = hashing.file_hasher(), b""
    with contextlib.suppress(OSError):
        if path.stat().st_size != made.size:
            return False
        for chunk in chunks_of(path):
            held = last + chunk
            hasher.update(held[:-DIGEST_BYTES])
            last = held[-DIGEST_BYTES:]
        return last == hasher.digest() == bytes.fromhex(made.digest)
    return False


def forget_files(directory: Path, partition: int, *, but: set[Path]) -> None:
    """Remove the files of a partition that no generation needs, also those that a crash left behind."""
    for path in directory.glob(f"{partition}.*"):
        if path not in but and path.suffix in {".snapshot", ".part"}:
            path.unlink(missing_ok=True)

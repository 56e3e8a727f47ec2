"""Rows that wait on disk: the store of a judge's far panes, as files that nobody else sees.

Purpose: hours of a source that runs ahead must not fill memory.
Invariants: a file has no name once it is open, so a crash leaves nothing behind, and a child
that was forked to write a snapshot still reads what its parent has dropped since.
Limits: what is here is gone with the process: snapshots hold these rows as well. A file goes
when the last of its blocks is dropped; a call of `put` makes one.
Source: `spill.Store`; unlinked files of POSIX.
"""

import logging
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import zstandard

_LEVEL = 1

log = logging.getLogger("stillwatch.judge")


class _Place(NamedTuple):
    """Where a block stands."""

    file: int  # descriptor
    offset: int
    size: int


class SpillFiles:
    """Blocks in files of a directory."""

    def __init__(self, directory: Path) -> None:
        """Begin with no file; the directory is made when it is needed."""
        self.directory = directory
        self.places: dict[int, _Place] = {}
        self.blocks: dict[int, int] = {}  # descriptor -> its blocks that are kept
        self.made = 0

    def put(self, blocks: list[bytes]) -> list[int]:
        """Write blocks to a new file. Raises `OSError` where the disk does not take them."""
        self.directory.mkdir(parents=True, exist_ok=True)
        handles = []
        with tempfile.TemporaryFile(dir=self.directory, prefix="spill-") as file:
            kept = os.dup(file.fileno())
            for block in blocks:
                packed = zstandard.compress(block, _LEVEL)
                self.places[self.made] = _Place(kept, file.tell(), len(packed))
                handles.append(self.made)
                self.made += 1
                file.write(packed)
        self.blocks[kept] = len(blocks)
        log.info("rows of far panes wait on disk: %d blocks in %d files", len(self.places), len(self.blocks))
        return handles

    def get(self, handle: int) -> bytes:
        """Read a block; at its place, because a child shares the file's position."""
        file, offset, size = self.places[handle]
        packed = b""
        while len(packed) < size and (more := os.pread(file, size - len(packed), offset + len(packed))):
            packed += more
        return zstandard.decompress(packed)

    def drop(self, handles: list[int]) -> None:
        """Forget blocks; a file without any is closed, and so gone."""
        for handle in handles:
            file = self.places.pop(handle).file
            self.blocks[file] -= 1
            if not self.blocks[file]:
                del self.blocks[file]
                os.close(file)

    def close(self) -> None:
        """Forget everything."""
        self.drop(list(self.places))

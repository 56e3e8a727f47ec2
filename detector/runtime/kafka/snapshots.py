"""Snapshots on their topic: written beside the fold, read back by whoever takes over.

Purpose: make a judge's state durable without stopping it, and find it again.
Invariants: the process that forks goes on folding, its child writes the state as it was at
the fork; chunks come first, the manifest and the progress record that names it last and
together, all by the judge's own transactional producer, so that a fenced judge can leave
nothing behind that anybody reads. A local copy counts only if it is the manifest's.
Limits: each generation is whole. The child shares memory with its parent and copies what
the fold changes meanwhile.
Source: fork and copy-on-write as Redis does it; digests find damage.
"""

import asyncio
import contextlib
import gc
import hashlib
import os
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from detector.judge import Judge
from detector.runtime.kafka.clients import ReadError, make_reader, read_stretch
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.publishing import SnapshotPlace
from detector.snapshot import SnapshotError, snapshot

CHUNK_BYTES: Final = 900_000  # below the brokers' default of a MiB for a record
NICENESS: Final = 10


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot consists of; it stands after its chunks."""

    generation: int
    frame_offset: int
    chunks: int
    size: int
    sha256: str


def chunk_key(partition: int, generation: int, number: int) -> bytes:
    """The key of a chunk."""
    return b"%d/%d/%d" % (partition, generation, number)


def manifest_key(partition: int) -> bytes:
    """The key of a partition's newest manifest."""
    return b"%d/manifest" % partition


async def write_beside(judge: Judge, path: Path, *, key: bytes) -> None:
    """Write the judge's state of this moment to `path`, in a child process. Raises `SnapshotError` if it fails."""
    os.makedirs(path.parent, exist_ok=True)  # noqa: PTH103 - a path's method would count as blocking
    with warnings.catch_warnings():
        # Python 3.12 warns of fork beside threads; the child runs none of their code and takes none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(judge, path, key)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    if status:
        raise SnapshotError(f"the process that wrote {path} ended with status {status}; is the disk full?")


def _child(judge: Judge, path: Path, key: bytes) -> None:
    """Write and end, whatever happens: nothing of the parent's may run here."""
    status = 1
    try:
        gc.disable()  # a collection would touch, and so copy, every object
        os.nice(NICENESS)
        with path.open("wb") as file:
            file.write(snapshot(judge, key=key))
            file.flush()
            os.fsync(file.fileno())
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    finally:
        os._exit(status)


def chunks_of(path: Path) -> Iterator[bytes]:
    """Cut a file into chunks."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def manifest_of(path: Path, *, generation: int, frame_offset: int) -> Manifest:
    """Describe a written snapshot."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Manifest(
        generation=generation, frame_offset=frame_offset, chunks=-(-size // CHUNK_BYTES), size=size, sha256=digest
    )


async def fetch(connection: Connection, partition: int, place: SnapshotPlace, local: Path) -> tuple[Manifest, bytes]:
    """Read the snapshot at `place`: from the local copy if it is that one, else from the topic.

    Raises `SnapshotError` where the topic does not hold what the progress record names.
    """
    stretch = TopicPartition(connection.topic("snapshots"), partition)
    async with make_reader(connection) as reader:
        try:
            manifest = await _manifest(reader, stretch, place)
            held = await asyncio.to_thread(_local, local, manifest)
            if held is not None:
                return manifest, held
            parts: dict[int, bytes] = {}
            prefix = chunk_key(partition, manifest.generation, 0)[:-1]
            async for record in read_stretch(reader, stretch, first=place.first_offset, stop=place.manifest_offset):
                if record.key.startswith(prefix) and record.value is not None:
                    parts[int(record.key[len(prefix) :])] = record.value
        except ReadError as wrong:
            raise SnapshotError(f"snapshot {place}: {wrong}") from wrong
    data = b"".join(parts[number] for number in sorted(parts))
    if len(parts) != manifest.chunks or hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise SnapshotError(
            f"snapshot {manifest.generation} of {stretch.topic}/{partition}: {len(parts)} of {manifest.chunks} chunks, "
            f"{len(data)} of {manifest.size} bytes, or other bytes than its manifest says"
        )
    return manifest, data


async def _manifest(reader: AIOKafkaConsumer, stretch: TopicPartition, place: SnapshotPlace) -> Manifest:
    async for record in read_stretch(reader, stretch, first=place.manifest_offset, stop=place.manifest_offset + 1):
        return msgspec.json.decode(record.value, type=Manifest)
    raise SnapshotError(f"{stretch.topic}/{stretch.partition} has no manifest at {place.manifest_offset}")


def _local(path: Path, manifest: Manifest) -> bytes | None:
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == manifest.sha256:
            return data
    return None

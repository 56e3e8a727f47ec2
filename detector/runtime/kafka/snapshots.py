"""Snapshots on their topic: chunks of generations, the manifest that names them, and the way back.

Purpose: make a judge's state durable, and find it again with or without a disk.
Invariants: every chunk has a key of its own, which is never written again, so compaction takes
none that the newest manifest needs; tombstones come only after a manifest that does without.
Chunks come first, the manifest and the progress record that names it last and together, all
by the judge's own transactional producer, so that a fenced judge can leave nothing behind
that anybody reads. What an upload that failed left is known by its number and forgotten.
Limits: what changed since the last generation goes, in a chain that begins with a whole one.
Source: `generations`; compaction as Kafka's documentation has it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import IO, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from detector.runtime.kafka.clients import ReadError, make_reader, read_stretch
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.generations import Generation, Written, chunks_of, is_sound
from detector.runtime.kafka.publishing import Message, SnapshotPlace, Stale
from detector.snapshot import SnapshotError

VERSION: Final = 2
# A transaction carries as many chunks of a snapshot as a second's outputs can wait for.
CHUNKS_PER_TRANSACTION: Final = 8
TOMBSTONES_PER_TRANSACTION: Final = 1_000

Transact = Callable[[list[Message]], Awaitable[list[int]]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The generations that make a state, the frame that it stands at; it comes after their chunks."""

    version: int = 1
    frame_offset: int
    chain: tuple[Generation, ...] = ()


def chunk_key(partition: int, generation: int, number: int) -> bytes:
    """The key of a chunk."""
    return b"%d/%d/%d" % (partition, generation, number)


def manifest_message(manifest: Manifest, *, partition: int) -> Message:
    """The record of a partition's newest manifest."""
    return Message("snapshots", b"%d/manifest" % partition, msgspec.json.encode(manifest), [])


def local_path(directory: Path, partition: int, number: int) -> Path:
    """Where a generation's local copy is."""
    return directory / f"{partition}.{number}.snapshot"


async def upload(written: Written, *, partition: int, number: int, transact: Transact) -> int:
    """Send a generation's chunks; returns the offset of the first."""
    first, at, chunks = -1, 0, chunks_of(written.path)
    while group := await asyncio.to_thread(lambda: list(islice(chunks, CHUNKS_PER_TRANSACTION))):
        keys = [chunk_key(partition, number, at + i) for i in range(len(group))]
        offsets = await transact([Message("snapshots", k, chunk, []) for k, chunk in zip(keys, group, strict=True)])
        first, at = (offsets[0] if first < 0 else first), at + len(group)
    return first


async def forget(stale: tuple[Stale, ...], *, partition: int, transact: Transact) -> None:
    """Let compaction take the chunks of generations that no manifest needs."""
    keys = [chunk_key(partition, old.generation, number) for old in stale for number in range(old.chunks)]
    for at in range(0, len(keys), TOMBSTONES_PER_TRANSACTION):
        await transact([Message("snapshots", key, None, []) for key in keys[at : at + TOMBSTONES_PER_TRANSACTION]])


async def fetch(
    connection: Connection, partition: int, place: SnapshotPlace, directory: Path
) -> tuple[Manifest, list[Path]]:
    """Have the files of the snapshot at `place`: local copies where they are sound, else from the topic.

    Raises `SnapshotError` where the topic does not hold what the progress record names, and says what is missing.
    """
    stretch = TopicPartition(connection.topic("snapshots"), partition)
    async with make_reader(connection) as reader:
        try:
            manifest = await _manifest(reader, stretch, place)
            paths = {g.number: local_path(directory, partition, g.number) for g in manifest.chain}
            sound = await asyncio.to_thread(lambda: {g.number for g in manifest.chain if is_sound(paths[g.number], g)})
            missing = [g for g in manifest.chain if g.number not in sound]
            if missing:
                await _download(reader, stretch, missing, paths, stop=place.manifest_offset)
        except ReadError as wrong:
            raise SnapshotError(f"snapshot {place}: {wrong}") from wrong
        except OSError as wrong:
            raise SnapshotError(f"snapshot {place} cannot be kept in {directory}: {wrong}") from wrong
    return manifest, [paths[g.number] for g in manifest.chain]


def read_manifest(raw: bytes | None, *, where: str) -> Manifest:
    """Read a manifest. Raises `SnapshotError`."""
    try:
        manifest = msgspec.json.decode(raw or b"", type=Manifest)
    except msgspec.DecodeError as wrong:
        raise SnapshotError(f"manifest on {where} does not read: {wrong}") from wrong
    if manifest.version != VERSION:
        raise SnapshotError(
            f"manifest on {where} has version {manifest.version}, this program reads {VERSION}: "
            "run the program that wrote it, or start this tenant from an empty state"
        )
    return manifest


async def _manifest(reader: AIOKafkaConsumer, stretch: TopicPartition, place: SnapshotPlace) -> Manifest:
    where = f"{stretch.topic}/{stretch.partition} at {place.manifest_offset}"
    async for record in read_stretch(reader, stretch, first=place.manifest_offset, stop=place.manifest_offset + 1):
        return read_manifest(record.value, where=where)
    raise SnapshotError(f"{where}: there is no manifest")


async def _download(
    reader: AIOKafkaConsumer, stretch: TopicPartition, missing: list[Generation], paths: dict[int, Path], *, stop: int
) -> None:
    """Write the chunks of generations to their files, in one pass over the topic."""
    await asyncio.to_thread(paths[missing[0].number].parent.mkdir, parents=True, exist_ok=True)
    files: dict[int, IO[bytes]] = {g.number: await asyncio.to_thread(paths[g.number].open, "wb") for g in missing}
    found = dict.fromkeys(files, 0)
    try:
        async for record in read_stretch(reader, stretch, first=min(g.first_offset for g in missing), stop=stop):
            generation, _, number = record.key.partition(b"/")[2].partition(b"/")
            file = files.get(int(generation)) if generation.isdigit() else None
            if file is not None and record.value is not None and int(number) == found[int(generation)]:
                await asyncio.to_thread(file.write, record.value)
                found[int(generation)] += 1
    finally:
        for file in files.values():
            file.close()
    for g in missing:
        said = f"{stretch.topic}/{stretch.partition}: generation {g.number} from offset {g.first_offset}"
        if found[g.number] != g.chunks:
            raise SnapshotError(
                f"{said} has its first {found[g.number]} of {g.chunks} chunks, then one is missing; "
                "was the topic's retention changed, or were records deleted?"
            )
        if not await asyncio.to_thread(is_sound, paths[g.number], g):
            raise SnapshotError(f"{said} has other bytes than its manifest says: {g.size} bytes of digest {g.digest}")

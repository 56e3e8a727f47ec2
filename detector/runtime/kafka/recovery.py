"""Taking over a tenant: fence whoever had it, read how far it published, have its state.

Purpose: the way from an empty process to a session that continues.
Invariants: the predecessor is fenced before anything is read; state is read as a stream, from
local copies where they are sound, else from the topic, beside the event loop.
Limits: what this program cannot continue is an error that says what to do.
Source: the design's section on recovery.
"""

import asyncio
import logging
import time

from detector import __version__
from detector.config import config_hash
from detector.judge import Judge
from detector.runtime.kafka import snapshots
from detector.runtime.kafka.clients import last_record, make_producer, partitions_of
from detector.runtime.kafka.encoding import source_of
from detector.runtime.kafka.generations import Generation, Past, chunks_of, forget_files
from detector.runtime.kafka.publishing import Progress, SourcePlace, read_progress
from detector.runtime.kafka.session import Place, Session
from detector.runtime.spill_files import SpillFiles
from detector.snapshot import restore_chain

log = logging.getLogger("stillwatch.judge")


async def recover(place: Place, *, first: int) -> Session:
    """Take over a tenant: fence the predecessor, read how far it published, restore its snapshot.

    `first` is where the frames begin for a tenant that nobody has judged yet.
    Raises `SnapshotError` and `ProgressError` for state that this program cannot continue.
    """
    producer = make_producer(place.connection, transactional_id=f"{place.connection.group}-judge-{place.partition}")
    await producer.start()
    try:
        await producer.begin_transaction()  # asks for the producer's epoch, which fences whoever had it
        await producer.abort_transaction()
        record = await last_record(place.connection, "progress", place.partition)
        progress = read_progress(record.value) if record is not None and record.value else await _begin(place, first)
        begun_s = time.monotonic()
        store = SpillFiles(place.directory)
        judge, offset, chain = await _state(place, progress, store)
        past = await asyncio.to_thread(Past, judge, chain, key=place.key)
    except BaseException:
        await producer.stop()
        raise
    session = Session(place, producer, judge, progress=progress, past=past, store=store)
    session.next_offset = session.snapshot_offset = offset
    log.info(
        "partition %d: state of frame %d in %.2f s, published up to %d",
        *(place.partition, offset, time.monotonic() - begun_s, progress.frame_offset),
    )
    return session


async def _state(place: Place, progress: Progress, store: SpillFiles) -> tuple[Judge, int, tuple[Generation, ...]]:
    """The judge of the newest snapshot, or an empty one; the frame at which it stands; what it was made from."""
    if progress.snapshot is None:
        judge = Judge(place.tenant, tuple(progress.sources), place.settings, store=store)
        return judge, progress.origin, ()
    manifest, paths = await snapshots.fetch(place.connection, place.partition, progress.snapshot, place.directory)
    judge = await asyncio.to_thread(
        restore_chain, [chunks_of(path) for path in paths], settings=place.settings, key=place.key, store=store
    )
    await asyncio.to_thread(forget_files, place.directory, place.partition, but=set(paths))
    return judge, manifest.frame_offset, manifest.chain


async def _begin(place: Place, first: int) -> Progress:
    partitions = await partitions_of(place.connection, "access")
    return Progress(
        tenant=place.tenant,
        origin=first,
        frame_offset=first,
        pane_end_ms=None,
        sources={source_of(p): SourcePlace(position=-1) for p in partitions},
        config_hash=config_hash(place.settings),
        version=__version__,
    )

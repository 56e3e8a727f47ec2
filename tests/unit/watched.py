"""A worker process as probes and scrapes see it, without Kafka: its judge has folded the laws' world."""

import asyncio
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaProducer

from detector.frames import wire
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encode_role import EncodeRole
from detector.runtime.kafka.generations import Past
from detector.runtime.kafka.judge_role import JudgeRole
from detector.runtime.kafka.publishing import Progress, SourcePlace
from detector.runtime.kafka.session import Place, Session
from detector.runtime.kafka.status import Process
from detector.runtime.spill_files import SpillFiles
from tests.laws.streams import KEY, TENANT, judge_for, world
from tests.laws.streams import Range as Stretch
from tests.laws.streams import frame_of as law_frame
from tests.unit.replaying import SETTINGS


def record(offset: int, value: bytes) -> Any:
    return SimpleNamespace(offset=offset, value=value)


@cache
def process() -> Process:
    """Both roles; one tenant with an open campaign, two late rows, three dead letters. Read it only."""
    return asyncio.run(_process())


async def _process() -> Process:
    made = Process(SETTINGS, key=KEY)
    connection = Connection()
    encode = EncodeRole(connection, SETTINGS, key=KEY, tally=made.tally)
    judge = JudgeRole(connection, SETTINGS, key=KEY, tally=made.tally)
    stream = world(0, sources=2, disturbed=False)
    place = Place(tenant=TENANT, partition=0, settings=SETTINGS, key=KEY, connection=connection, tally=made.tally)
    progress = Progress(
        tenant=TENANT,
        origin=0,
        frame_offset=0,
        pane_end_ms=None,
        sources={name: SourcePlace(position=-1) for name in stream.batches},
        config_hash=made.config_hash,
        version="0",
    )
    producer: Any = object.__new__(AIOKafkaProducer)  # nothing is sent
    folding = judge_for(stream, settings=SETTINGS)
    store = SpillFiles(Path(tempfile.gettempdir()))  # nothing is put there
    session = Session(place, producer, folding, progress=progress, past=Past(folding, key=KEY), store=store)
    for offset, (source, batch) in enumerate(stream.batches.items()):
        session.fold(record(offset, wire(law_frame(stream, Stretch(source, 0, len(batch))))))
        made.tally.encoded(source, rows=len(batch), reasons=["not_json", "raw_content", "unknown_tenant"])
    made.tally.publish(session.pending, partition=0, seconds=0.02)
    for role in ("encode", "judge"):
        made.tally.worked(role, 0.004)
        made.tally.rebalances[role] += 1
    judge.sessions[0] = session
    made.roles = [encode, judge]
    return made

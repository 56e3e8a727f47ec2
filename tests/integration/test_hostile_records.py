"""Whatever arrives on the access topic is an event or a dead letter, and the worker goes on.

STILLWATCH_FUZZ_COUNT and STILLWATCH_FUZZ_SEED lengthen the first test; its memory does not grow with the count.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import crc32c
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.produce import send_end
from tests.integration.hostile import PARTITIONS, Sent, became, good, send
from tests.integration.live import all_ended, committed, progress, wait_until, worker

COUNT = int(os.environ.get("STILLWATCH_FUZZ_COUNT", "6000"))
SEED = int(os.environ.get("STILLWATCH_FUZZ_SEED", "7"))
RECORDS_PER_S_MIN = 500


@pytest.mark.timeout(120 + COUNT // RECORDS_PER_S_MIN)
def test_every_record_is_an_event_or_a_dead_letter(installation: Callable[..., Connection], tmp_path: Path) -> None:
    connection = installation(partitions=PARTITIONS)
    sent = asyncio.run(send(connection, seed=SEED, count=COUNT))

    def read() -> bool:
        found = progress(connection)
        positions = sorted(place.position for place in found.sources.values()) if found is not None else []
        return all_ended(connection) and positions == sorted(n + 1 for n in sent.records)

    with worker(connection, tmp_path) as live:
        limit_s = 60 + COUNT / RECORDS_PER_S_MIN
        wait_until(lambda: live.process.poll() is not None or read(), what="the end", timeout_s=limit_s)
        assert live.stop() == 0, live.said()
        refused = [line.partition("rows refused so far: ")[2] for line in live.said().splitlines()]
    out = asyncio.run(became(connection, sent))
    for partition in range(PARTITIONS):
        either = out.rows[partition] + out.dead[partition]
        marks = sorted(sent.marks[partition])
        assert either[marks].tolist() == [0] * len(marks)
        either[marks] = 1
        assert either.tolist() == [1] * sent.records[partition]
    assert not out.wrong
    assert {"not_json", "missing_field", "bad_type", "unknown_tenant", "raw_content", "future_time"} <= set(out.reasons)
    assert committed(connection, "encode", "access", PARTITIONS) == [n + 1 for n in sent.records]
    rows, dead = (sum(int(one.sum()) for one in parts) for parts in (out.rows, out.dead))
    ends = sum(map(len, sent.marks))
    said = next((line for line in reversed(refused) if line), "none")
    print(  # noqa: T201 - the figures are what `make fuzz` is for
        f"seed {SEED}: {COUNT:,} records = {rows:,} events + {dead:,} dead letters + {ends:,} end markers; "
        f"events that the judge refused: {said}; dead letters: {dict(out.reasons.most_common())}"
    )


async def send_nameless(connection: Connection) -> None:
    """Send three records in one batch; the middle one has a header whose name is no UTF-8."""
    topic, event = connection.topic("access"), orjson.dumps(good(1, int(time.time() * 1000) - 10_000))
    async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
        batch = producer.create_batch()
        for headers in ([], [("NAME", b"v")], []):
            assert batch.append(key=None, value=event, timestamp=None, headers=headers)
        raw = batch._build()  # the bytes that will be sent
        raw[raw.index(b"NAME")] = 0xFF
        raw[17:21] = crc32c.crc32c(raw[21:]).to_bytes(4, "big")
        await (await producer.send_batch(batch, topic, partition=0))
        await send_end(producer, topic, [0])


def test_a_header_whose_name_is_no_text_stops_nothing(installation: Callable[..., Connection], tmp_path: Path) -> None:
    connection = installation(partitions=1)
    asyncio.run(send_nameless(connection))
    with worker(connection, tmp_path) as live:
        wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end")
        assert live.stop() == 0, live.said()
    out = asyncio.run(became(connection, Sent([3], [set()])))
    assert [out.rows[0].tolist(), out.dead[0].tolist()] == [[1, 0, 0], [0, 1, 1]]
    assert out.reasons == {"bad_encoding": 2}  # what stands behind it in its batch cannot be told apart

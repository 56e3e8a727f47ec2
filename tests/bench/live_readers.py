"""Readers that `bench_live` stands beside: each consumes a topic from its beginning and does nothing.

Run as a program of its own, by whichever interpreter has the library:
`live_readers.py NAME BOOTSTRAP TOPIC PARTITIONS RECORDS`. It prints the records per second
between the first tenth of the records and the last, and the processor seconds of that span.
Nothing of the project is imported. All fetch up to 4 MiB of a partition at a time, as ours does.
"""

import asyncio
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

FETCH_BYTES = 4 << 20
TAKEN = 1_000  # of stock Faust and confluent-kafka at a time


def cpu_s() -> float:
    """Processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Count:
    """Counts records; says the rate and ends the process when all are there."""

    def __init__(self, records: int) -> None:
        """Count up to so many."""
        self.records, self.seen, self.begun = records, 0, (0, 0.0, 0.0)

    def add(self, more: int) -> None:
        """Count further records; does not return at the last."""
        self.seen += more
        if not self.begun[0] and self.seen >= self.records // 10:
            self.begun = (self.seen, time.perf_counter(), cpu_s())
        if self.seen >= self.records:
            seen, at_s, used_s = self.begun
            span_s, rows = time.perf_counter() - at_s, self.seen - seen
            print(json.dumps({"rate": rows / span_s, "cpu_us": (cpu_s() - used_s) / rows * 1e6}), flush=True)
            os._exit(0)  # none of them needs to leave in order


def read_aiokafka(bootstrap: str, topic: str, partitions: int, count: Count) -> None:
    """Bare aiokafka: `getmany`."""
    kafka = importlib.import_module("aiokafka")

    async def read() -> None:
        async with kafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
        ) as consumer:  # fmt: skip
            consumer.assign([kafka.TopicPartition(topic, p) for p in range(partitions)])
            while True:
                for records in (await consumer.getmany(timeout_ms=1_000)).values():
                    count.add(len(records))

    asyncio.run(read())


def read_kafka_python(bootstrap: str, topic: str, partitions: int, count: Count) -> None:
    """kafka-python: `poll`, with crc32c installed."""
    importlib.import_module("crc32c")
    kafka = importlib.import_module("kafka")
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES, max_poll_records=10_000,
    )  # fmt: skip
    consumer.assign([kafka.TopicPartition(topic, p) for p in range(partitions)])
    while True:
        for records in consumer.poll(timeout_ms=1_000).values():
            count.add(len(records))


def read_confluent(bootstrap: str, topic: str, partitions: int, count: Count) -> None:
    """confluent-kafka: `consume`."""
    kafka = importlib.import_module("confluent_kafka")
    consumer = kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": f"confluent-{os.getpid()}", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "max.partition.fetch.bytes": FETCH_BYTES,
    })  # fmt: skip
    consumer.assign([kafka.TopicPartition(topic, p, kafka.OFFSET_BEGINNING) for p in range(partitions)])
    while True:
        count.add(len(consumer.consume(TAKEN, 1.0)))


def read_quix(bootstrap: str, topic: str, partitions: int, count: Count) -> None:
    """Quix Streams: a dataframe that counts."""
    del partitions
    quix = importlib.import_module("quixstreams")
    application = quix.Application(
        broker_address=bootstrap, consumer_group=f"quix-{os.getpid()}", auto_offset_reset="earliest",
        auto_create_topics=False, use_changelog_topics=False, loglevel="ERROR",
        consumer_extra_config={"max.partition.fetch.bytes": FETCH_BYTES},
    )  # fmt: skip
    frame = application.dataframe(application.topic(topic, key_deserializer="bytes", value_deserializer="bytes"))
    frame.update(lambda _: count.add(1))
    application.run()


def read_faust(bootstrap: str, topic: str, partitions: int, count: Count) -> None:
    """Stock Faust: an agent that takes a thousand at a time."""
    del partitions
    faust = importlib.import_module("faust")
    application = faust.App(
        f"faust-{os.getpid()}", broker=f"aiokafka://{bootstrap}", value_serializer="raw", key_serializer="raw",
        consumer_auto_offset_reset="earliest", consumer_max_fetch_size=FETCH_BYTES, web_enabled=False,
        topic_allow_declare=False, topic_disable_leader=True, worker_redirect_stdouts=False,
    )  # fmt: skip

    async def consume(stream: Any) -> None:
        async for taken in stream.take(TAKEN, within=0.1):
            count.add(len(taken))

    application.agent(application.topic(topic, value_serializer="raw"))(consume)

    async def run() -> None:
        application.finalize()
        await application.start()
        await asyncio.Event().wait()

    asyncio.run(run())


READERS: dict[str, Callable[[str, str, int, Count], None]] = {
    "aiokafka": read_aiokafka,
    "faust": read_faust,
    "quix": read_quix,
    "kafka-python": read_kafka_python,
    "confluent": read_confluent,
}

if __name__ == "__main__":
    name, address, of, width, number = sys.argv[1:]
    READERS[name](address, of, int(width), Count(int(number)))

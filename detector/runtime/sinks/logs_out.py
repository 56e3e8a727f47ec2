"""Files and topics: alerts as lines, for whoever collects them.

Purpose: `take` for a file that is appended to, and for another topic.
Invariants: a line, or a record, is there once: after a crash the end of the file, or of the topic, is
looked at before the next one is written. A line is whole: what a crash cut off is removed.
Limits: others that write to the same place hide our last line from us. A file may be moved away at
any time; it is opened for each line.
Source: JSON Lines; Kafka's idempotent producer.
"""

import os
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from detector.records import Alert
from detector.runtime.kafka.clients import ReadError, last_record, make_producer, partitions_of
from detector.runtime.kafka.connection import Connection
from detector.runtime.sinks import settings
from detector.runtime.sinks.memory import Memory, Told
from detector.runtime.sinks.posting import TAKEN, Outcome
from detector.sinks.lines import line_of

BLOCK: Final = 1 << 16
UID_HEADER: Final = "stillwatch.uid"


class LinesSink:
    """A file."""

    def __init__(self, given: settings.Lines) -> None:
        """Nothing is opened yet."""
        self.given, self.path = given, Path(given.path)

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        """Append a line, durable on return."""
        line = line_of(alert, form=self.given.format, runbooks=self.given.runbooks)
        try:
            if mended(self.path) != line:
                with self.path.open("ab") as file:
                    file.write(line + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as wrong:
            return Outcome("later", f"{self.path}: {wrong.strerror}")
        memory.put(alert.alert_id, Told(alert.revision, {}))
        return TAKEN

    async def remind(self, memory: Memory) -> Outcome:
        """Nothing is due."""
        del memory
        return TAKEN


def mended(path: Path) -> bytes:
    """Cut off what stands behind a file's last line end; returns the last line. Raises `OSError`."""
    if not path.exists():
        return b""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        tail, start = b"", size
        # The last line begins behind the line end before the last one.
        while start > 0 and tail.count(b"\n") < 2:
            start = max(0, start - BLOCK)
            file.seek(start)
            tail = file.read(size - start)
        whole = tail.rpartition(b"\n")
        if whole[2]:
            file.truncate(size - len(whole[2]))
        return whole[0].rpartition(b"\n")[2]


class TopicSink:
    """Another topic of the same brokers."""

    def __init__(self, given: settings.Topic, connection: Connection) -> None:
        """Nothing connects yet."""
        self.given, self.connection = given, connection
        self._producer: AIOKafkaProducer | None = None
        self._last: set[bytes] = set()

    async def _connected(self) -> AIOKafkaProducer:
        """The producer; the first time it is also seen which records are the topic's last."""
        if self._producer is None:
            for partition in await partitions_of(self.connection, self.given.topic):
                record = await last_record(self.connection, self.given.topic, partition)
                self._last.add(dict(record.headers).get(UID_HEADER, b"") if record is not None else b"")
            producer = make_producer(self.connection)
            await producer.start()
            self._producer = producer
        return self._producer

    async def take(self, alert: Alert, memory: Memory) -> Outcome:
        """Write a record under the alert's key."""
        uid = f"{alert.alert_id}:{alert.revision}".encode()
        try:
            producer = await self._connected()
            if uid not in self._last:
                await producer.send_and_wait(
                    self.connection.topic(self.given.topic),
                    line_of(alert, form=self.given.format, runbooks=self.given.runbooks),
                    key=alert.dedup_key.encode(),
                    headers=[(UID_HEADER, uid)],
                )
        except (KafkaError, ReadError) as wrong:
            return Outcome("later", type(wrong).__name__)
        self._last.clear()
        memory.put(alert.alert_id, Told(alert.revision, {}))
        return TAKEN

    async def remind(self, memory: Memory) -> Outcome:
        """Nothing is due."""
        del memory
        return TAKEN

    async def close(self) -> None:
        """Let the producer go."""
        if self._producer is not None:
            await self._producer.stop()

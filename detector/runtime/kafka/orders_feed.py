"""The operators' side of the encode worker: allow-list, commands and labels into every tenant's frames, at once.

Purpose: an operator's word must not queue behind events: a consumer group, a stream and a
producer of its own, so that it waits for no batch of theirs.
Invariants: a range is acknowledged when its frames and letters are durable; what comes
again is trimmed by its position. Operators' frames carry no clock.
Limits: one range after the other; the judges' own lag behind their log is not ours.
Source: the design's law on time: a revoke, an allow entry or the kill switch waits for nothing.
"""

import asyncio
import time

from aiokafka import AIOKafkaProducer

from detector.runtime.kafka.application import Acknowledge, Application
from detector.runtime.kafka.batches import Batch
from detector.runtime.kafka.clients import make_producer
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encoding import Options, reason_of
from detector.runtime.kafka.ordering import TOPICS, encode_orders
from detector.runtime.kafka.tally import Tally


class OrdersFeed:
    """The sequencing of this worker's partitions of the operators' topics."""

    def __init__(self, connection: Connection, options: Options, *, tally: Tally) -> None:
        """Build; nothing connects before `start`."""
        self.connection, self.options = connection, options
        self.names = {connection.topic(name): name for name in TOPICS}
        self.sent = self.dead = 0
        self._producer: AIOKafkaProducer | None = None
        self.tally = tally
        self.application = Application("operators", tuple(TOPICS), connection, tally=tally, work=self._work)

    async def start(self) -> None:
        """Join the group."""
        self._producer = make_producer(self.connection)
        await self._producer.start()
        await self.application.start()

    async def stop(self) -> None:
        """Leave the group; what is not acknowledged comes again."""
        await self.application.stop()
        if self._producer is not None:
            await self._producer.stop()

    async def _work(self, batch: Batch, acknowledge: Acknowledge) -> None:
        assert self._producer is not None
        frames, letters = self.connection.topic("frames"), self.connection.topic("dead-letter")
        options = self.options._replace(topic=batch.topic)
        now_ms = int(time.time() * 1000)
        for made in encode_orders(batch, options, name=self.names[batch.topic], now_ms=now_ms):
            sent = [await self._producer.send(frames, raw, partition=tenant) for tenant, raw in enumerate(made.frames)]
            sent += [
                await self._producer.send(letters, letter.value, key=letter.key, headers=letter.headers)
                for letter in made.dead
            ]
            await asyncio.gather(*sent)
            self.sent += len(made.frames)
            self.dead += len(made.dead)
            self.tally.encoded(
                f"{self.names[batch.topic]}/{batch.partition}", rows=0, reasons=map(reason_of, made.dead)
            )
        batch.records.clear()
        await acknowledge()

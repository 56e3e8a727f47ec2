"""Record-batch delivery through Faust against a real broker: offsets, commits, rebalances, Faust's traps."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detector.runtime.kafka.application import Acknowledge, Application
from detector.runtime.kafka.batches import Batch
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.tally import Tally

Installation = Callable[..., Connection]


class Log:
    """The access topic as a test writes it."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.topic = connection, connection.topic("access")

    async def write(self, count: int, *, partition: int = 0, **more: Any) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.connection.bootstrap, **more) as producer:
            if "transactional_id" in more:
                async with producer.transaction():
                    await self._send(producer, count, partition)
            else:
                await self._send(producer, count, partition)

    async def _send(self, producer: AIOKafkaProducer, count: int, partition: int) -> None:
        await asyncio.gather(*[await producer.send(self.topic, b"x", partition=partition) for _ in range(count)])

    async def committed(self, *, partition: int = 0) -> int | None:
        client = AIOKafkaConsumer(bootstrap_servers=self.connection.bootstrap, group_id=f"{self.connection.group}-test")
        await client.start()
        try:
            return await client.committed(TopicPartition(self.topic, partition))
        finally:
            await client.stop()

    async def committed_becomes(self, offset: int, *, partition: int = 0) -> None:
        async with asyncio.timeout(20):
            while await self.committed(partition=partition) != offset:
                await asyncio.sleep(0.2)


class Reader:
    """Work that notes which offsets it was given."""

    def __init__(self) -> None:
        self.seen: dict[int, list[int]] = {}
        self.batches: list[Batch] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.acknowledges = True

    async def __call__(self, batch: Batch, acknowledge: Acknowledge) -> None:
        await self.hold.wait()
        self.batches.append(batch._replace(records=[]))
        self.seen.setdefault(batch.partition, []).extend(r.offset for r in batch.records)
        if self.acknowledges:
            await acknowledge()

    def count(self) -> int:
        return sum(map(len, self.seen.values()))

    async def reaches(self, count: int, *others: "Reader") -> None:
        async with asyncio.timeout(30):
            while sum(r.count() for r in (self, *others)) < count:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def application(connection: Connection, work: Callable[..., Awaitable[None]]) -> Any:
    made = Application("test", ("access",), connection, tally=Tally(), work=work)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def test_every_offset_comes_once_and_each_batch_is_committed_to_its_end(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=2)
        log, reader = Log(connection), Reader()
        await log.write(1)  # one record alone at offset 0: stock gap bookkeeping never commits past it
        async with application(connection, reader):
            await reader.reaches(1)
            await log.committed_becomes(1)
            for written, count in ((6, 5), (8, 2), (1_008, 1_000)):
                await log.write(count)
                await log.committed_becomes(written)
            await log.write(3, partition=1)
            await log.committed_becomes(3, partition=1)
        assert reader.seen == {0: list(range(1_008)), 1: [0, 1, 2]}
        assert len(reader.batches) < 200  # batches, not records
        ends = {0: 0, 1: 0}
        for batch in reader.batches:
            assert batch.first == ends[batch.partition]
            ends[batch.partition] = batch.stop

    asyncio.run(body())


def test_one_commit_passes_over_all_batches_that_are_acknowledged(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=1)
        log, reader = Log(connection), Reader()
        async with application(connection, reader):
            for count in range(40):  # stock bookkeeping would commit one batch a second
                await log.write(2)
                await reader.reaches(2 * count + 2)
            assert len(reader.batches) >= 40
            async with asyncio.timeout(8):
                await log.committed_becomes(80)

    asyncio.run(body())


def test_a_batch_acknowledged_before_an_earlier_one_is_not_passed_over(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=1)
        log, held = Log(connection), []

        async def work(batch: Batch, acknowledge: Acknowledge) -> None:
            held.append((batch, acknowledge))

        async with application(connection, work):
            for count in range(3):
                await log.write(5)
                async with asyncio.timeout(20):
                    while sum(len(batch.records) for batch, _ in held) < 5 * count + 5:
                        await asyncio.sleep(0.05)
            await held[-1][1]()
            await asyncio.sleep(1.5)  # longer than the interval of commits
            assert await log.committed() is None
            for _, acknowledge in held[:-1]:
                await acknowledge()
            await log.committed_becomes(15)

    asyncio.run(body())


def test_a_restart_begins_at_the_committed_offset(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=1)
        log, first, second = Log(connection), Reader(), Reader()
        await log.write(100)
        async with application(connection, first):
            await first.reaches(100)
        assert await log.committed() == 100  # the stop commits what was acknowledged
        await log.write(50)
        async with application(connection, second):
            await second.reaches(50)
        assert second.seen == {0: list(range(100, 150))}
        assert second.batches[0].first == 100

    asyncio.run(body())


def test_what_is_not_acknowledged_comes_again(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=1)
        log, first, second = Log(connection), Reader(), Reader()
        await log.write(100)
        first.acknowledges = False
        async with application(connection, first):
            await first.reaches(100)
            await asyncio.sleep(1.5)  # longer than the interval of commits
        assert await log.committed() is None
        async with application(connection, second):
            await second.reaches(100)
        assert second.seen == {0: list(range(100))}

    asyncio.run(body())


def test_records_are_the_parsers_own_and_say_what_aiokafkas_say(installation: Installation) -> None:
    def said(record: Any) -> tuple[Any, ...]:
        stamp = (record.timestamp, record.timestamp_type)
        return record.offset, record.key, record.value, tuple(record.headers), *stamp

    async def body() -> None:
        connection = installation(partitions=1)
        topic, records = connection.topic("access"), []

        async def work(batch: Batch, acknowledge: Acknowledge) -> None:
            records.extend(batch.records)
            await acknowledge()

        async with application(connection, work):
            for turn, packing in enumerate((None, "gzip", "lz4")):
                async with AIOKafkaProducer(
                    bootstrap_servers=connection.bootstrap, compression_type=packing
                ) as producer:
                    for key, value, headers in (
                        (b"k", None, []),
                        (None, b"v", [("a", b"1"), ("a", b"\xff")]),
                        (b"", b"", []),
                    ):
                        await producer.send(topic, value, key=key, headers=headers)
                async with asyncio.timeout(30):
                    while len(records) < 3 * (turn + 1):
                        await asyncio.sleep(0.05)
        reader = AIOKafkaConsumer(topic, bootstrap_servers=connection.bootstrap, auto_offset_reset="earliest")
        async with reader:
            stock = [await reader.getone() for _ in range(9)]
        assert list(map(said, records)) == list(map(said, stock))
        assert not {type(r) for r in records} & {type(r) for r in stock}

    asyncio.run(body())


def test_holes_of_transactions_belong_to_the_batches_around_them(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=1)
        log, reader = Log(connection), Reader()
        async with application(connection, reader):
            for _ in range(4):  # each transaction leaves a marker at an offset of its own
                await log.write(1, transactional_id=f"{connection.group}-gateway")
            await log.write(2)
            await reader.reaches(6)
            await log.committed_becomes(10)
        stops = [0, *(b.stop for b in reader.batches)]
        assert [b.first for b in reader.batches] == stops[:-1]
        assert reader.seen == {0: [0, 2, 4, 6, 8, 9]}

    asyncio.run(body())


def test_an_exception_stops_the_application_with_nothing_committed(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=1)
        log, second = Log(connection), Reader()
        await log.write(100)

        async def work(batch: Batch, acknowledge: Acknowledge) -> None:
            del batch, acknowledge
            raise ValueError("a bug")

        async with application(connection, work) as broken:
            wrong = await asyncio.wait_for(broken.wait_crashed(), 20)
            assert str(wrong) == "a bug"
        assert await log.committed() is None
        async with application(connection, second):
            await second.reaches(100)
        assert second.seen == {0: list(range(100))}

    asyncio.run(body())


def test_a_paused_partition_loses_nothing(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=2)
        log, reader = Log(connection), Reader()
        await log.write(10)
        await log.write(10, partition=1)
        async with application(connection, reader) as running:
            await reader.reaches(20)
            for _ in range(10):  # pauses that fall into a fetch, too
                waiting = {tp for tp in running.assignment() if tp.partition == 0}
                running.hold(waiting)
                await log.write(7)
                await log.write(1, partition=1)
                running.hold(set())
            await reader.reaches(100)
        assert reader.seen == {0: list(range(80)), 1: list(range(20))}

    asyncio.run(body())


def test_a_rebalance_in_the_middle_of_a_batch_loses_nothing(installation: Installation) -> None:
    async def body() -> None:
        connection = installation(partitions=4)
        log, first, second = Log(connection), Reader(), Reader()
        for partition in range(4):
            await log.write(100, partition=partition)
        first.hold.clear()  # the first worker is in its first batch when the second one comes
        async with application(connection, first) as one:
            async with asyncio.timeout(20):
                while len(one.assignment()) < 4:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            async with application(connection, second) as two:
                asyncio.get_running_loop().call_later(1.0, first.hold.set)
                async with asyncio.timeout(30):
                    while len(two.assignment()) != 2 or len(one.assignment()) != 2:
                        await asyncio.sleep(0.05)
                for partition in range(4):
                    await log.write(10, partition=partition)
                for partition in range(4):
                    await log.committed_becomes(110, partition=partition)
        for partition in range(4):
            seen = first.seen.get(partition, []) + second.seen.get(partition, [])
            assert set(seen) == set(range(110))
        # Only what had been begun may come twice.
        assert first.count() + second.count() <= 440 + 400

    asyncio.run(body())

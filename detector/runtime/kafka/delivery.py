"""Record-batch delivery: Faust's aiokafka driver, handing over fetched batches as single messages.

Purpose: at one message a record Faust moves some thousand records a second, at one message
a fetched batch some hundred thousand, with its assignment, acknowledgement and commits.
Invariants: a message's offset is that of its last record; acknowledging it lets the commit
pass over all of its offsets, once everything delivered before it is acknowledged too.
What was fetched is delivered or fetched again, never skipped; what cannot be parsed is
delivered as `Unread`.
Limits: overrides named internals of faust-streaming 0.15.3 and aiokafka 0.14.0, which are pinned.
Source: `faust.transport.consumer`, `faust.transport.drivers.aiokafka`, `aiokafka.consumer.fetcher`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, Final, NamedTuple, cast

from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.errors import CorruptRecordException, IllegalStateError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerMessage

from detector.runtime.kafka.batches import Batch

# A batch costs some milliseconds whatever its size: brokers hold an answer back until it is worth that, or late.
LINGER_BYTES: Final = 64 << 10

# How often to see whether a partition whose batches filled the queue may be read again.
ROOM_AGAIN_S: Final = 0.005

UNREADABLE: Final = b'"\xff"'  # what the decoder refuses as badly encoded


class Unread(NamedTuple):
    """Stands for a record that the parser cannot read, or that stands behind one in a producer's batch."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: None = None
    value: bytes = UNREADABLE
    headers: tuple[tuple[str, bytes], ...] = ()


class _Unpacked:
    """What `PartitionRecords` holds, as the parser's own records: aiokafka makes another object of each."""

    def __init__(self, fetched: Any) -> None:
        of = vars(fetched)
        self._records, self._check_crcs, self._tp = of["_records"], of["_check_crcs"], of["_tp"]
        self.next_fetch_offset: int = fetched.next_fetch_offset

    def __iter__(self) -> Iterator[Any]:
        """Yield the records; only when all are taken does `next_fetch_offset` say where the next fetch begins."""
        first = self.next_fetch_offset
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"{self._tp.topic}/{self._tp.partition}: wrong checksum at {first}")
            if not batch.is_control_batch:
                read = max(first, batch.base_offset) - 1
                try:
                    for record in batch:
                        read = record.offset
                        if read >= first:
                            yield record
                except UnicodeDecodeError:  # the name of a header: the parser goes no further in this batch
                    for unread in range(max(first, read + 1), batch.next_offset):
                        yield Unread(unread, batch.max_timestamp, batch.timestamp_type)
            first = batch.next_offset
        self.next_fetch_offset = first


def _lighten(fetcher: Fetcher) -> None:
    """Have what was fetched unpacked by `_Unpacked`."""
    for result in fetcher._records.values():  # noqa: SLF001 - no way in that is public
        held = vars(result).get("_partition_records")  # an error has none, what is taken has None
        if isinstance(held, PartitionRecords):
            vars(result)["_partition_records"] = _Unpacked(held)


class BatchThread(AIOKafkaConsumerThread):
    """Faust's fetching thread, whose records are the parser's own."""

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's
        max_records: int | None = None,
    ) -> Any:
        """Take all that is there, else wait for more: only between fetches can records be made light."""
        del max_records  # a fetch is taken whole
        fetcher = consumer._fetcher  # noqa: SLF001 - as Faust does
        linger_ms = cast("BatchTransport", self.transport).linger_ms
        if linger_ms:
            # aiokafka's own options; Faust leaves no way to give them.
            fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = LINGER_BYTES, linger_ms  # noqa: SLF001 - see above
        _lighten(fetcher)
        fetched = await super()._fetch_records(consumer, active_partitions, timeout=0)
        if fetched or not timeout or not self.consumer.flow_active:
            return fetched
        waiter = fetcher._create_fetch_waiter()  # noqa: SLF001 - as aiokafka itself waits
        done, _ = await asyncio.wait([waiter], timeout=timeout)
        if not done:
            waiter.cancel()
            return {}
        waiter.result()  # raises where we may not read
        _lighten(fetcher)
        return await super()._fetch_records(consumer, active_partitions, timeout=0)

    async def seek_to_committed(self) -> dict[TP, int]:
        """Go back to what is committed; nowhere when a rebalance has taken all partitions meanwhile."""
        found: dict[TP, int] = await self.call_thread(self._seek_assigned)
        return found

    async def _seek_assigned(self) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        try:
            return dict(await consumer.seek_to_committed()) if consumer.assignment() else {}
        except IllegalStateError:  # taken while we asked: whoever is given partitions seeks them then
            return {}


class BatchConsumer(Consumer):
    """A consumer whose messages are batches of records."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start at no position."""
        super().__init__(*args, **kwargs)
        self._stops: dict[TP, int] = {}  # the offset after what was delivered; only where it is known
        self._delivered: dict[TP, deque[int]] = {}  # last offsets of batches that are not committed, in order

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Go back to the committed offsets: after a rebalance nothing that was fetched counts."""
        await super().perform_seek()
        self._delivered.clear()
        self._acked_index.clear()
        # Right after this, and only then, Faust's read offset is the next offset to read.
        self._stops = {tp: offset for tp, offset in self._read_offset.items() if offset is not None}

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        """Fetch; while every partition waits for room, look again soon: Faust would look again after a second."""
        if self.flow_active and not self._get_active_partitions():
            await asyncio.sleep(ROOM_AGAIN_S)
            return {}, set()
        return await super()._wait_next_records(timeout)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 - Faust's
        """Fetch, and yield what came from each partition as one message."""
        fetched, _ = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if fetched is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for tp, records in fetched.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                break  # partitions are being moved: all of them are read again from the committed offsets
            # A partition paused meanwhile is delivered too: dropping it would leave a hole that counts as read.
            if records:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, await self._message(tp, records)

    async def _message(self, tp: TP, records: list[Any]) -> ConsumerMessage:
        first = min(self._stops.get(tp, records[0].offset), records[0].offset)
        if first < records[0].offset:
            # A hole in the log belongs to the batch; what the log's retention took away does not.
            first = max(first, min((await self.log_starts(tp))[tp], records[0].offset))
        last = records[-1]
        self._stops[tp] = last.offset + 1
        self._delivered.setdefault(tp, deque()).append(last.offset)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,
            None,
            Batch(tp.partition, first, last.offset + 1, records, tp.topic),  # type: ignore[arg-type]  # the codec is raw
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Register nothing: a batch answers for the offsets before its last one.

        Faust's own gaps hold the message's offset too, so that it counts twice, and one commit reaches one batch.
        """

    def _new_offset(self, tp: TP) -> int | None:
        """The offset that can be committed: behind the last of the batches that are acknowledged without a gap."""
        delivered, acknowledged = self._delivered.get(tp), self._acked_index[tp]
        self._acked[tp].clear()  # the index says the same
        offset = None
        while delivered and delivered[0] in acknowledged:
            last = delivered.popleft()
            acknowledged.discard(last)
            offset = last + 1
        return offset

    def end_of_log(self, tp: TP) -> tuple[int, int] | None:
        """The offset after the partition's last record, and when a fetch said so (epoch ms); None: unknown."""
        client = self._thread._ensure_consumer()  # noqa: SLF001 - Faust has no other way to it
        if tp not in client.assignment():
            return None
        end, polled_ms = client.highwater(tp), client.last_poll_timestamp(tp)
        return None if end is None or not polled_ms else (end, polled_ms)

    @property
    def buffered(self) -> set[TP]:
        """Partitions that wait because their batches are not worked off."""
        return set(self._buffered_partitions)

    def stop_of(self, tp: TP) -> int | None:
        """The offset after the last delivered record, or the committed offset; None where neither is known."""
        return self._stops.get(tp)

    async def seek_back(self, tp: TP, offset: int) -> None:
        """Read again from `offset`; what was fetched beyond it comes again too."""
        await self.seek(tp, offset)
        self._stops[tp] = offset
        self._delivered.pop(tp, None)

    async def log_starts(self, *tps: TP) -> dict[TP, int]:
        """The first offsets that the log still has."""
        return dict(await self._thread.earliest_offsets(*tps))


class BatchTransport(Transport):
    """Faust's transport, with that consumer; `linger_ms`: how long a fetch may wait for more than a little."""

    linger_ms = 0
    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer

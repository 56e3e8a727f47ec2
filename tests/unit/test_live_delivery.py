"""What the consumer of batches does without brokers."""

import asyncio

from faust.types import TP

from detector.runtime.kafka.delivery import BatchConsumer


class Waiting(BatchConsumer):
    """A consumer that is never connected, and whose second of sleep is an error."""

    def __init__(self, *active: TP) -> None:
        self.flow_active, self._active_partitions = True, set(active)

    async def sleep(self, *_: object, **__: object) -> None:
        raise AssertionError("Faust's second of sleep")


def test_a_partition_that_waits_for_room_costs_no_second_of_sleep() -> None:
    """Else an operator's order would wait it out behind a batch that takes long to fold."""
    assert asyncio.run(Waiting()._wait_next_records(1.0)) == ({}, set())

"""A record batch: what one fetch brought from one partition, as one value.

Purpose: the unit in which records pass from the consumer to encode and judge.
Invariants: `[first, stop)` are the offsets that the batch answers for: batches of a
partition join, also where the log has holes (markers of transactions, compaction).
Limits: a batch is as large as a fetch; `records` is emptied once they were folded, because
a batch stays referenced until it is acknowledged.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Record(Protocol):
    """What is read of a consumed record; times are epoch milliseconds."""

    @property
    def offset(self) -> int: ...  # noqa: D102 - Kafka's word
    @property
    def key(self) -> bytes | None: ...  # noqa: D102 - Kafka's word
    @property
    def value(self) -> bytes | None: ...  # noqa: D102 - Kafka's word
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102 - Kafka's word
    @property
    def timestamp(self) -> int: ...  # noqa: D102 - Kafka's word
    @property
    def timestamp_type(self) -> int: ...  # noqa: D102 - Kafka's word: 0 of the producer, 1 of the broker


class Batch(NamedTuple):
    """The records of `[first, stop)` of a partition; `topic` with its prefix."""

    partition: int
    first: int
    stop: int
    records: list[Any]  # of Record
    topic: str = ""

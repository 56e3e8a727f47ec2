"""Run every configured sink, each in a loop of its own, until told to stop.

Purpose: make sinks of their settings, and end all of them together.
Invariants: a sink that fails in a way that nobody foresaw ends the program, loudly: it would
otherwise be silent for good while the others make it look well.
Limits: one event loop for all.
Source: asyncio's task groups.
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from detector.runtime.kafka.clients import partitions_of
from detector.runtime.kafka.connection import Connection, client_arguments
from detector.runtime.kafka.http import OFF, HttpSettings, serving
from detector.runtime.sinks import settings
from detector.runtime.sinks.conversations import AlertmanagerSink, SlackSink
from detector.runtime.sinks.delivery import Delivery
from detector.runtime.sinks.logs_out import LinesSink, TopicSink
from detector.runtime.sinks.memory import Memory
from detector.runtime.sinks.receivers import PagerDutySink, Sink, WebhookSink, session_of
from detector.runtime.sinks.settings import SinkSettings
from detector.runtime.sinks.standing import told_of

CHECK_S: Final = 0.2
NOWHERE: Final = HttpSettings(bind=OFF)

log = logging.getLogger("stillwatch.sinks")


async def sink_of(given: SinkSettings, connection: Connection, stack: AsyncExitStack) -> Sink:
    """Make a sink that ends with the stack. Raises `ConfigError` where a secret is missing."""
    if isinstance(given, settings.Lines):
        return LinesSink(given)
    if isinstance(given, settings.Topic):
        topic = TopicSink(given, connection)
        stack.push_async_callback(topic.close)
        return topic
    session = await stack.enter_async_context(session_of())
    if isinstance(given, settings.PagerDuty):
        return PagerDutySink(given, session)
    if isinstance(given, settings.Alertmanager):
        return AlertmanagerSink(given, session)
    if isinstance(given, settings.Slack):
        return SlackSink(given, session)
    return WebhookSink(given, session)


async def run(
    chosen: Sequence[SinkSettings],
    connection: Connection,
    *,
    from_beginning: bool = False,
    once: bool = False,
    signals: bool = True,
    http: HttpSettings = NOWHERE,
) -> dict[str, tuple[int, int]]:
    """Deliver until SIGTERM or SIGINT (`signals`); with `once` up to where the topic ended at the start.

    Returns, by sink, how many alerts it took and how many it refused. Raises `ConfigError` where a secret is
    missing or `http` cannot be listened on, and `KafkaError` where the brokers cannot be reached.
    """
    stops = await _ends(connection) if once else {}
    async with AsyncExitStack() as stack:
        deliveries = []
        for given in chosen:
            memory = Memory(Path(connection.state_directory), sink=given.name)
            stack.callback(memory.close)
            sink = await sink_of(given, connection, stack)
            deliveries.append(Delivery(given, sink, memory, connection, from_beginning=from_beginning))
        address = await stack.enter_async_context(serving(http, told_of(deliveries)))
        if address is not None:
            log.info("http://%s/status", address, extra={"action": "http.listening"})
        if signals:
            _listen(deliveries)
        async with asyncio.TaskGroup() as group:
            for delivery in deliveries:
                group.create_task(delivery.run())
                if once:
                    group.create_task(_end_at(delivery, stops))
    return {d.given.name: (d.taken, d.parked) for d in deliveries}


def _listen(deliveries: Sequence[Delivery]) -> None:
    """End all loops when the program is told to."""

    def stop() -> None:
        for delivery in deliveries:
            delivery.stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _ends(connection: Connection) -> dict[TopicPartition, int]:
    """Where each partition of the alerts' topic ends now."""
    places = [TopicPartition(connection.topic("alerts"), n) for n in await partitions_of(connection, "alerts")]
    async with AIOKafkaConsumer(**client_arguments(connection), isolation_level="read_committed") as reader:
        return dict(await reader.end_offsets(places))


async def _end_at(delivery: Delivery, stops: dict[TopicPartition, int]) -> None:
    """Stop a loop that has come to these offsets."""
    while not delivery.stopped.is_set():
        if all(delivery.reached.get(place, 0) >= stop for place, stop in stops.items()):
            delivery.stopped.set()
        await asyncio.sleep(CHECK_S)

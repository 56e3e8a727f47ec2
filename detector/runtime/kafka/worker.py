"""The live worker: its roles, from start to an orderly stop.

Purpose: what `stillwatch run` runs.
Invariants: a role that fails is stopped with nothing acknowledged that was not finished;
brokers that are away are waited for, anything else ends the worker with its reason. Told to
stop, the process ends within `STOP_S`: what is not finished by then is done again by whoever
comes next, as after a crash.
Limits: roles of one process share one thread; for speed run them in processes of their own.
Source: the shape that loses nothing stands in `application`.
"""

import asyncio
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Final

from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)

from detector import alerts
from detector.alerts import Issuer
from detector.config import Settings
from detector.records import DetectorError
from detector.runtime.kafka.clients import make_producer
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encode_role import EncodeRole
from detector.runtime.kafka.http import HttpSettings, serving, worker_told
from detector.runtime.kafka.judge_role import JudgeRole
from detector.runtime.kafka.publishing import messages_of
from detector.runtime.kafka.status import Process, Role
from detector.runtime.kafka.topics import begin_at_end
from detector.runtime.kafka.warming import warm_beside
from detector.runtime.logs import name_of

log = logging.getLogger("stillwatch.worker")

ROLES: Final = ("encode", "judge")
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
ROLES_STOP_S: Final = 7.0
STOP_S: Final = 9.0  # operators give ten
EXIT_UNFINISHED: Final = 4
RETRY_FIRST_S, RETRY_LAST_S = 1.0, 30.0
# Waiting does not mend what the brokers refuse.
REFUSALS: Final = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)
GARBAGE_OBJECTS: Final = 100_000


def make_roles(
    names: Iterable[str], connection: Connection, settings: Settings, *, key: bytes, process: Process
) -> list[Role]:
    """Build the roles, encode first."""
    kinds: dict[str, type[Role]] = {"encode": EncodeRole, "judge": JudgeRole}
    return [kinds[name](connection, settings, key=key, tally=process.tally) for name in ROLES if name in set(names)]


async def run(
    names: tuple[str, ...],
    connection: Connection,
    settings: Settings,
    *,
    key: bytes,
    http: HttpSettings,
    from_beginning: bool,
) -> None:
    """Run until SIGTERM or SIGINT. Raises what ended a role, unless the brokers were away."""
    # Each record is an object for a moment. Python would look for cycles after every 700, among all that is loaded too:
    # a quarter of the time that encode takes.
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    warm_beside()
    stopping, told, stopped = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def told_to_stop(_number: int, _frame: FrameType | None) -> None:
        # Not a handler of the loop's: it would wait while a frame is folded or a state restored.
        if told.is_set():
            os._exit(EXIT_UNFINISHED)
        told.set()
        loop.call_soon_threadsafe(stopping.set)
        late = threading.Timer(STOP_S, lambda: os._exit(0 if stopped.is_set() else EXIT_UNFINISHED))
        late.daemon = True
        late.start()

    before = {number: signal.signal(number, told_to_stop) for number in STOP_SIGNALS}
    process = Process(settings, key=key)

    async def test_alert() -> list[str]:
        return await publish_test_alerts(process, connection)

    try:
        async with serving(http, worker_told(process, test_alert=test_alert)) as address:
            if address is not None:
                log.info("http://%s/status", address, extra={"action": "http.listening"})
            if "encode" in names and not from_beginning:
                await asyncio.to_thread(begin_at_end, connection)
            await _run_again_and_again(names, connection, settings, key=key, process=process, stopping=stopping)
        stopped.set()
        log.info("stopped", extra={"action": "worker.stopped"})
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _run_again_and_again(
    names: tuple[str, ...],
    connection: Connection,
    settings: Settings,
    *,
    key: bytes,
    process: Process,
    stopping: asyncio.Event,
) -> None:
    pause_s = RETRY_FIRST_S
    while not stopping.is_set():
        begun_s = time.monotonic()
        process.roles = make_roles(names, connection, settings, key=key, process=process)
        wrong = await run_once(process, stopping)
        if wrong is None:
            return
        if isinstance(wrong, DetectorError) or not _of_the_brokers(wrong):
            raise wrong
        pause_s = RETRY_FIRST_S if time.monotonic() - begun_s > RETRY_LAST_S else min(pause_s * 2, RETRY_LAST_S)
        said = (name_of(wrong), pause_s)
        log.warning("brokers: %s; trying again in %.0f s", *said, extra={"action": "brokers.away"})
        await _wait(stopping, pause_s)


def _of_the_brokers(wrong: BaseException) -> bool:
    return isinstance(wrong, KafkaError | ConnectionError | TimeoutError) and not isinstance(wrong, REFUSALS)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def run_once(process: Process, stopping: asyncio.Event) -> BaseException | None:
    """Run the roles until one fails or `stopping` is set; returns the failure."""
    started: list[Role] = []
    asked = asyncio.create_task(stopping.wait())
    failing: list[asyncio.Task[BaseException]] = []
    try:
        for role in process.roles:
            started.append(role)
            starting = asyncio.create_task(role.start())
            await asyncio.wait([asked, starting], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return None
            starting.result()
        process.running = True
        log.info("running: %s", ", ".join(role.name for role in process.roles), extra={"action": "worker.running"})
        failing = [asyncio.create_task(role.wait_failed()) for role in process.roles]
        done, _ = await asyncio.wait([asked, *failing], return_when=asyncio.FIRST_COMPLETED)
        return next((task.result() for task in failing if task in done), None)
    except Exception as wrong:  # noqa: BLE001 - run() decides what it means
        return wrong
    finally:
        process.running = False
        for task in (asked, *failing):
            task.cancel()
        await asyncio.gather(asked, *failing, return_exceptions=True)
        await asyncio.gather(*map(_stop, started))


async def _stop(role: Role) -> None:
    try:
        await asyncio.wait_for(role.stop(), ROLES_STOP_S)
    except Exception as wrong:  # noqa: BLE001 - what cannot stop in order is left to the group's timeout
        log.warning("%s did not stop in order: %s", role.name, wrong, extra={"action": "role.unfinished"})


async def publish_test_alerts(process: Process, connection: Connection) -> list[str]:
    """Publish a test alert for every tenant that is judged here; returns the alerts' ids.

    By a producer of its own: no session, no progress record and no state knows of it, so what the judge publishes
    stays what a replay writes.
    """
    now_ms = int(time.time() * 1000)
    made = [
        alerts.test_alert(
            Issuer(session.place.tenant, process.settings, process.config_hash, session.judge.coverage()[1]),
            now_ms=now_ms,
        )
        for session in process.sessions()
    ]
    if not made:
        return []
    async with make_producer(connection) as producer:
        for alert in made:
            (message,) = messages_of(alert, frame_partition=-1, frame_offset=-1, form=connection.alert_format)
            await producer.send_and_wait(
                connection.topic(message.topic), message.value, key=message.key, headers=message.headers
            )
            log.info("test alert published", extra={"action": "alert.tested", "alert_id": alert.alert_id})
    return [alert.alert_id for alert in made]
